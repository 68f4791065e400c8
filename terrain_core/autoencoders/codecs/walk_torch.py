"""Convolutions, memories and attention that are given their state and give it back: what a stream of blocks is made of.

A `Walk` goes through a model layer by layer. Each layer that needs the past takes its cache from the walk and leaves
the next one there, so that the whole becomes one graph with state in and out. All caches are zero at a clean start.

A layer that looks ahead is made to wait: it sees its whole kernel's worth of the past, and `lag` counts by how many
samples (at the rate where the walk is) the walk is late because of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # torch's own name for it


class Walk:
    """One pass through a model.

    Attributes:
        shapes: of the caches, in the order in which they are taken.
        after: the caches for the next pass.
        lag: samples, see above.
    """

    def __init__(self, caches: Sequence[Tensor] | None = None, dtype: torch.dtype = torch.float32) -> None:
        self._caches = None if caches is None else list(caches)
        self._dtype = dtype
        self.shapes: list[tuple[int, ...]] = []
        self.after: list[Tensor] = []
        self.lag = 0

    def take(self, *shape: int) -> Tensor:
        """The next cache; zeros if the walk was given none."""
        self.shapes.append(shape)
        if self._caches is None:
            return torch.zeros(shape, dtype=self._dtype)
        return self._caches[len(self.shapes) - 1]

    def put(self, cache: Tensor) -> None:
        """What `take` shall give next time; in the same order."""
        self.after.append(cache)

    def remembered(self, x: Tensor, samples: int) -> Tensor:
        """x (1, C, n) with the last samples of the pass before in front: (1, C, samples + n)."""
        if not samples:
            return x
        whole = torch.cat([self.take(1, x.shape[1], samples), x], 2)
        self.put(whole[..., -samples:])
        return whole

    def late(self, x: Tensor, samples: int) -> Tensor:
        """x (1, C, n), late by so many samples."""
        return self.remembered(x, samples)[..., :-samples] if samples else x

    def conv(self, x: Tensor, layer: nn.Conv1d, ahead: int = 0) -> Tensor:
        """A convolution, of which the original looks `ahead` samples ahead (1, C, n) -> (1, C', n / stride)."""
        span = (layer.kernel_size[0] - 1) * layer.dilation[0]
        whole = self.remembered(x, span + 1 - layer.stride[0])
        self.lag += ahead
        return F.conv1d(whole, layer.weight, layer.bias, layer.stride, 0, layer.dilation, layer.groups)

    def up(self, x: Tensor, layer: nn.ConvTranspose1d, cut: int = 0) -> Tensor:
        """A transposed convolution, of which the original cuts `cut` samples from its beginning: (1, C, n) -> (1, C', n
        · stride).
        """
        stride, over = layer.stride[0], layer.kernel_size[0] - layer.stride[0]
        raw = F.conv_transpose1d(x, layer.weight, None, layer.stride, 0, 0, layer.groups)
        if over:
            # What the frames before still have to say is added to the beginning.
            tail = self.take(1, layer.out_channels, over)
            raw = torch.cat([raw[..., :over] + tail, raw[..., over:]], 2)
            self.put(raw[..., -over:])
            raw = raw[..., :-over]
        self.lag = self.lag * stride + cut
        return raw if layer.bias is None else raw + layer.bias[:, None]

    def lstm(self, x: Tensor, layer: nn.LSTM) -> Tensor:
        """A recurrent layer of one direction, (1, C, n) -> (1, C, n)."""
        shape = (layer.num_layers, 1, layer.hidden_size)
        out, (hidden, cell) = layer(x.permute(2, 0, 1), (self.take(*shape), self.take(*shape)))
        self.put(hidden)
        self.put(cell)
        result: Tensor = out.permute(1, 2, 0)
        return result

    def group_norm(self, x: Tensor, layer: nn.GroupNorm, frames: Tensor, window: int) -> Tensor:
        """One group over all channels and time, whose mean and variance are those of the last `window` latent frames
        (the frame itself among them; fewer at the start).

        Args:
            frames: any tensor (1, C, frames) of the latents' rate; says how many frames x (1, C, n) is long.
        """
        count = frames.shape[2]
        per_frame = x.reshape(1, x.shape[1], count, -1)
        sums = torch.stack(
            [per_frame.mean((1, 3)), per_frame.square().mean((1, 3)), torch.ones_like(frames[:, 0])], 1
        )  # (1, 3, frames)
        totals = F.avg_pool1d(self.remembered(sums, window - 1), window, 1)
        mean, square = totals[:, :1] / totals[:, 2:], totals[:, 1:2] / totals[:, 2:]
        scale = torch.rsqrt((square - mean.square()).clamp(min=0) + layer.eps)
        normal = ((per_frame - mean[..., None]) * scale[..., None]).reshape(x.shape)
        return normal * layer.weight[:, None] + layer.bias[:, None]


class StreamedGraph(nn.Module):
    """A model as a function of an input and caches. Subclasses say how to walk it."""

    model: Any
    """The original's modules, of other packages' classes."""
    layers: Any

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []
        self.lag = 0

    def measure(self, example: Sequence[Tensor]) -> None:
        """Walk once, to learn the caches' shapes and the lag."""
        walk = Walk(dtype=example[0].dtype)
        with torch.no_grad():
            self.walk(walk, *example)
        self.shapes, self.lag = walk.shapes, walk.lag

    def walk(self, walk: Walk, *inputs: Tensor) -> Tensor:
        """From the inputs (latents or audio, perhaps noise) to the output."""
        raise NotImplementedError

    inputs = 1
    """How many inputs come before the caches."""

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        walk = Walk(tensors[self.inputs :])
        out = self.walk(walk, *tensors[: self.inputs])
        return (out, *walk.after)

    def empty(self, dtype: torch.dtype = torch.float32) -> list[Tensor]:
        """Caches of a clean start."""
        return [torch.zeros(shape, dtype=dtype) for shape in self.shapes]


class Transformer(nn.Module):
    """Mimi's transformer over a sliding window, with its keys and values kept outside.

    The keys are kept as they were before the rotation: positions count from the window's first, which is the same to
    an attention that knows differences only, and never grows.
    """

    model: Any

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.past = int(model.config.sliding_window) - 1
        self.heads, self.groups = int(model.config.num_key_value_heads), 1
        self.groups = int(model.config.num_attention_heads) // self.heads
        self.size = int(model.config.head_dim)

    def forward(self, x: Tensor, filled: Tensor, walk: Walk) -> Tensor:
        """x (1, C, n) after `filled` (1,) frames of past -> (1, C, n)."""
        count = x.shape[2]
        keys = torch.arange(self.past + count)
        queries = torch.arange(count)[:, None]
        seen = (keys <= queries + self.past) & (keys >= queries) & (keys >= self.past - filled)
        mask = torch.zeros_like(seen, dtype=x.dtype).masked_fill(~seen, -1e30)
        angles = keys[:, None].to(x.dtype) * self.model.rotary_emb.inv_freq.to(x.dtype)
        angles = torch.cat([angles, angles], 1)
        cos, sin = angles.cos(), angles.sin()
        hidden = x.transpose(1, 2)
        for layer in self.model.layers:
            hidden = hidden + layer.self_attn_layer_scale(
                self._attention(layer.self_attn, layer.input_layernorm(hidden), mask, cos, sin, walk)
            )
            hidden = hidden + layer.mlp_layer_scale(layer.mlp(layer.post_attention_layernorm(hidden)))
        return hidden.transpose(1, 2)

    def _attention(self, layer: Any, x: Tensor, mask: Tensor, cos: Tensor, sin: Tensor, walk: Walk) -> Tensor:
        query = layer.q_proj(x).reshape(1, -1, self.heads * self.groups, self.size).transpose(1, 2)
        key = self._kept(layer.k_proj(x), walk)
        value = self._kept(layer.v_proj(x), walk)
        query = _rotated(query, cos[self.past :], sin[self.past :])
        key = _rotated(key, cos, sin)
        if self.groups > 1:
            key, value = key.repeat_interleave(self.groups, 1), value.repeat_interleave(self.groups, 1)
        weights = torch.softmax(query @ key.transpose(2, 3) * layer.scaling + mask, -1)
        out: Tensor = layer.o_proj((weights @ value).transpose(1, 2).reshape(1, -1, query.shape[1] * self.size))
        return out

    def _kept(self, x: Tensor, walk: Walk) -> Tensor:
        whole = walk.remembered(x.transpose(1, 2), self.past).transpose(1, 2)
        return whole.reshape(1, -1, self.heads, self.size).transpose(1, 2)


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin


def plain(model: nn.Module) -> nn.Module:
    """Multiply out all weight norms, in place: the same function, without the arithmetic in every call."""
    from torch.nn.utils import parametrize, remove_weight_norm

    for module in model.modules():
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight")
        elif hasattr(module, "weight_g"):
            remove_weight_norm(module)
    return model.eval().requires_grad_(False)
