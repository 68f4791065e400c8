"""EnCodec, DAC, Mimi and Oobleck (Stable Audio Open) as graphs with state, from the modules of their own packages.

The packages give the layers and the weights; how to walk them so that blocks join is here. The original's own forward
pass is what every graph is checked against (`convert_torch`).
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # torch's own name for it

from terrain_core.autoencoders.codecs.walk_torch import StreamedGraph, Transformer, Walk, plain

NORM_WINDOW_S = 1.0
"""EnCodec at 48 kHz normalises over a chunk of a second: here over the second that has just passed."""


FRAMES_PER_CALL = 8
"""These decoders' weights are many times larger than any cache: a frame alone costs several times as much."""


class Codec(ABC):
    """A loaded model, and what its card says.

    Attributes:
        family: for people.
        model: the original, in evaluation mode, its weight norms multiplied out.
        context: frames on each side that a frame of latents depends on, in an encoder that looks ahead; 0 if causal.
        settles: frames after a clean start from which the streamed decoder equals the original; None if it is never
            equal: then the difference is a seam error, to be stated.
        encoder_settles: the same for the encoder.
    """

    family = ""
    context = 0
    settles: int | None = 0
    encoder_settles = 0
    frames_per_call = FRAMES_PER_CALL
    noise_per_frame: tuple[int, ...] = ()
    compared_from = 0
    """Frame from which the seam error is measured, where the decoder never equals the original."""
    encoder_is_ours = False
    """Whether the encoder gives, by its windows, something else than the original would."""
    most_error: float | None = None
    """What is allowed between graph and torch, of a model that cannot be computed in double precision."""
    latents_from_zero = False
    """Whether the last latent is a loudness."""
    most_codebooks = 0
    statistics_from = "of the codebooks, as though each code were as likely as any; not measured on any sounds"

    @property
    def checked_frames(self) -> int:
        """How many frames a conversion is checked with."""
        return max(self.settles or self.compared_from, self.encoder_settles) + 2 * self.context + 24

    def decode_with(self, latents: Tensor, noise: Tensor) -> Tensor:
        """As `decode`, with these draws, where it draws any."""
        return self.decode(latents)

    def __init__(self, model: Any, codebooks: int) -> None:
        self.model, self.codebooks = plain(model), codebooks
        if codebooks:  # where two codes are equally near, rounding decides: it shall not depend on the block
            self.frames_per_call = 1

    model: Any
    sample_rate: int
    channels: int
    hop: int
    latent_size: int

    @abstractmethod
    def decoder(self) -> StreamedGraph:
        """latents (n, D), caches -> audio (channels, n · hop), caches"""

    @abstractmethod
    def encoder(self) -> StreamedGraph:
        """audio (channels, n · hop), caches -> latents (n, D), caches"""

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """What the original makes of a whole trajectory (n, D): (channels, samples)."""

    @abstractmethod
    def encode(self, audio: Tensor) -> Tensor:
        """What the original makes of a whole sound (channels, n · hop): (n, D)."""

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation of the latents, each (D,)."""
        return torch.zeros(self.latent_size), torch.ones(self.latent_size)

    def double(self) -> Codec:
        """The same in double precision."""
        exact = copy.deepcopy(self)
        exact.model = exact.model.double()
        for module in exact.model.modules():
            if hasattr(module, "_embed"):  # Mimi's codebooks remember their quotient
                module._embed = None
        return exact


def _spread(parts: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and deviation of a sum of codes, as though each were as likely as any: parts of shape (codes, D)."""
    mean = torch.stack([part.mean(0) for part in parts]).sum(0)
    std = torch.stack([part.var(0, correction=0) for part in parts]).sum(0).sqrt()
    return mean, torch.where(std > 1e-6, std, torch.ones_like(std))


def _nearest(x: Tensor, codes: Tensor) -> Tensor:
    """Of rows (n, D), the nearest of the codes (m, D) each."""
    return codes[(2 * x @ codes.T - codes.square().sum(1)).argmax(1)]


def _snapped(x: Tensor, books: list[Tensor]) -> Tensor:
    """Rows (n, D), each as the sum of one code of every book, chosen one after the other."""
    total = torch.zeros_like(x)
    for codes in books:
        total = total + _nearest(x - total, codes)
    return total


# EnCodec


class EncodecCodec(Codec):
    def __init__(self, model: Any, codebooks: int) -> None:
        super().__init__(model, codebooks)
        config = model.config
        self.causal = bool(config.use_causal_conv)
        self.family = f"EnCodec, {config.sampling_rate / 1000:g} kHz"
        self.sample_rate, self.channels = int(config.sampling_rate), int(config.audio_channels)
        self.hop = math.prod(config.upsampling_ratios)
        # A model that normalises its sound says how loud it was in one latent more.
        self.scaled = bool(config.normalize)
        self.latent_size = int(config.hidden_size) + self.scaled
        self.normed = config.norm_type == "time_group_norm"
        self.window = max(1, round(NORM_WINDOW_S * self.sample_rate / self.hop)) if self.normed else 0
        self.latents_from_zero = self.scaled
        self.most_codebooks = len(model.quantizer.layers)
        if self.normed or not self.causal:
            self.settles, self.encoder_is_ours = None, True
            self.context = self.window // 2 if self.normed else 16
            self.compared_from = self.window
        if self.normed:
            for module in model.encoder.modules():
                if hasattr(module, "norm"):
                    module.norm = SteadyNorm(module.norm)
        for module in model.modules():
            # The original begins with its own mirror image, which is not known yet when a stream begins.
            if type(module).__name__ == "EncodecConv1d":
                module.pad_mode = "constant"

    def books(self) -> list[Tensor]:
        return [layer.codebook.embed for layer in self.model.quantizer.layers]

    def decoder(self) -> StreamedGraph:
        return EncodecDecoderGraph(self)

    def encoder(self) -> StreamedGraph:
        return EncodecEncoderGraph(self) if self.causal and not self.normed else WindowedEncoder(self)

    def decode(self, latents: Tensor) -> Tensor:
        if not self.scaled:
            return self._decoded(latents)
        audio = self._decoded(latents[:, :-1])
        return audio * latents[:, -1].clamp(min=0).repeat_interleave(self.hop)[: audio.shape[1]]

    def _decoded(self, latents: Tensor) -> Tensor:
        if self.codebooks:
            latents = _snapped(latents, self.books()[: self.codebooks])
        audio: Tensor = self.model.decoder(latents.T[None])[0]
        return audio

    def encode(self, audio: Tensor) -> Tensor:
        if not self.scaled:
            latents: Tensor = self.model.encoder(audio[None])[0].T
            return latents
        scale = audio.mean(0).square().mean().sqrt() + 1e-8
        latents = self.model.encoder(audio[None] / scale)[0].T
        return torch.cat([latents, scale * torch.ones_like(latents[:, :1])], 1)

    def statistics(self) -> tuple[Tensor, Tensor]:
        mean, std = _spread(self.books())
        if self.scaled:  # a usual loudness, -20 dB
            mean, std = torch.cat([mean, torch.tensor([0.1])]), torch.cat([std, torch.tensor([0.05])])
        return mean, std


class SteadyNorm(nn.Module):
    """A GroupNorm of one group, summed in two steps: ONNX Runtime adds up millions of values in one go, and its
    rounding is then a hundred times torch's.
    """

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, x: Tensor) -> Tensor:
        apart = x - x.mean(2, keepdim=True).mean(1, keepdim=True)
        scale = torch.rsqrt(apart.square().mean(2, keepdim=True).mean(1, keepdim=True) + self.eps)
        return apart * scale * self.weight[:, None] + self.bias[:, None]


class EncodecDecoderGraph(StreamedGraph):
    def __init__(self, codec: EncodecCodec) -> None:
        super().__init__()
        self.codec, self.layers = codec, codec.model.decoder.layers

    def walk(self, walk: Walk, *inputs: Tensor) -> Tensor:
        (latents,) = inputs
        codec = self.codec
        scale = latents[:, -1:].T[None].clamp(min=0) if codec.scaled else None
        if codec.scaled:
            latents = latents[:, :-1]
        if codec.codebooks:
            latents = _snapped(latents, codec.books()[: codec.codebooks])
        frames = latents.T[None]
        x = frames
        for layer in self.layers:
            x = _seanet(walk, layer, x, frames, codec.window)
        if scale is not None:
            steady = scale.repeat_interleave(codec.hop, 2)
            x = x * walk.late(steady, walk.lag)
        return x[0]


class EncodecEncoderGraph(StreamedGraph):
    def __init__(self, codec: EncodecCodec) -> None:
        super().__init__()
        self.layers = codec.model.encoder.layers

    def walk(self, walk: Walk, *inputs: Tensor) -> Tensor:
        x = inputs[0][None]
        for layer in self.layers:
            x = _seanet(walk, layer, x, x, 0)
        return x[0].T


def _seanet(walk: Walk, layer: Any, x: Tensor, frames: Tensor, window: int) -> Tensor:
    """A layer of EnCodec's or Mimi's convolutional parts."""
    kind = type(layer).__name__.removeprefix("Encodec").removeprefix("Mimi")
    if kind == "Conv1d":
        span = (layer.conv.kernel_size[0] - 1) * layer.conv.dilation[0] + 1 - layer.conv.stride[0]
        x = walk.conv(x, layer.conv, 0 if layer.causal else span // 2)
        return walk.group_norm(x, layer.norm, frames, window) if window else x
    if kind == "ConvTranspose1d":
        over = layer.conv.kernel_size[0] - layer.conv.stride[0]
        right = math.ceil(over * getattr(layer, "trim_right_ratio", 1.0)) if layer.causal else over // 2
        x = walk.up(x, layer.conv, over - right)
        return walk.group_norm(x, layer.norm, frames, window) if window else x
    if kind == "ResnetBlock":
        before, way = walk.lag, x
        for part in layer.block:
            x = _seanet(walk, part, x, frames, window)
        waited = walk.lag - before
        short = way if isinstance(layer.shortcut, nn.Identity) else _seanet(walk, layer.shortcut, way, frames, window)
        return walk.late(short, waited) + x
    if kind == "LSTM":
        return walk.lstm(x, layer.lstm) + x
    if isinstance(layer, nn.ELU):
        return F.elu(x, layer.alpha)
    raise NotImplementedError(f"a layer {type(layer).__name__}")


class WindowedEncoder(StreamedGraph):
    """An encoder that looks ahead, over the audio of `context` frames on both sides: late by those after."""

    def __init__(self, codec: Codec) -> None:
        super().__init__()
        self.codec, self.model = codec, codec.model

    def walk(self, walk: Walk, *inputs: Tensor) -> Tensor:
        codec = self.codec
        both = 2 * codec.context * codec.hop
        whole = walk.remembered(inputs[0][None], both)
        walk.lag = codec.context * codec.hop
        return codec.encode(whole[0])[codec.context : -codec.context]


# DAC and Oobleck, which share their shape


class DacCodec(Codec):
    def __init__(self, model: Any, codebooks: int) -> None:
        super().__init__(model, codebooks)
        config = model.config
        self.family = "DAC"
        self.sample_rate, self.channels = int(config.sampling_rate), 1
        self.hop, self.latent_size = math.prod(config.downsampling_ratios), int(config.hidden_size)
        self.context = _context(config.downsampling_ratios, self.hop)
        self.settles = self.encoder_settles = 2 * self.context
        self.most_codebooks = len(model.quantizer.quantizers)

    def decoder(self) -> StreamedGraph:
        return SnakeDecoderGraph(self)

    def encoder(self) -> StreamedGraph:
        return WindowedEncoder(self)

    def decode(self, latents: Tensor) -> Tensor:
        audio: Tensor = self.model.decoder(self.snapped(latents).T[None])[0]
        return audio

    def encode(self, audio: Tensor) -> Tensor:
        latents: Tensor = self.model.encoder(audio[None])[0].T
        return latents

    def snapped(self, latents: Tensor) -> Tensor:
        """DAC compares directions in eight dimensions, not distances in all of them."""
        total = torch.zeros_like(latents)
        for book in list(self.model.quantizer.quantizers)[: self.codebooks]:
            small = F.normalize(book.in_proj((latents - total).T[None])[0].T)
            codes = book.codebook.weight
            chosen = codes[(small @ F.normalize(codes).T).argmax(1)]
            total = total + book.out_proj(chosen.T[None])[0].T
        return total if self.codebooks else latents

    def statistics(self) -> tuple[Tensor, Tensor]:
        books = self.model.quantizer.quantizers
        return _spread([book.out_proj(book.codebook.weight.T[None])[0].T for book in books])


class OobleckCodec(Codec):
    statistics_from = "0 and 1, what the kind of model has by construction; not measured on any sounds"

    def __init__(self, model: Any, codebooks: int) -> None:
        super().__init__(model, codebooks)
        config = model.config
        self.family = "Stable Audio Open's autoencoder (Oobleck)"
        self.sample_rate, self.channels = int(config.sampling_rate), int(config.audio_channels)
        self.hop = math.prod(config.downsampling_ratios)
        self.latent_size = int(config.decoder_input_channels)
        self.context = _context(config.downsampling_ratios, self.hop)
        self.settles = self.encoder_settles = 2 * self.context

    def decoder(self) -> StreamedGraph:
        return SnakeDecoderGraph(self)

    def encoder(self) -> StreamedGraph:
        return WindowedEncoder(self)

    def decode(self, latents: Tensor) -> Tensor:
        audio: Tensor = self.model.decoder(latents.T[None])[0]
        return audio

    def encode(self, audio: Tensor) -> Tensor:
        """The posterior's mean."""
        both: Tensor = self.model.encoder(audio[None])[0].T
        return both[:, : self.latent_size]


def _context(strides: Any, hop: int) -> int:
    """Frames on each side that one frame can depend on: residual units of reach 3 + 9 + 27 before each stride."""
    reach, rate = 3, 1
    for stride in strides:
        reach += rate * (39 + stride)
        rate *= int(stride)
    return -(-(reach + 3 * rate) // hop)


class SnakeDecoderGraph(StreamedGraph):
    """Both decoders: a convolution, blocks of an upsampling and three residual units, a convolution."""

    def __init__(self, codec: DacCodec | OobleckCodec) -> None:
        super().__init__()
        self.codec, self.model = codec, codec.model.decoder

    def walk(self, walk: Walk, *inputs: Tensor) -> Tensor:
        (latents,) = inputs
        if isinstance(self.codec, DacCodec):
            latents = self.codec.snapped(latents)
        model = self.model
        x = walk.conv(latents.T[None], model.conv1, model.conv1.padding[0])
        for block in model.block:
            x = walk.up(block.snake1(x), block.conv_t1, block.conv_t1.padding[0])
            for unit in (block.res_unit1, block.res_unit2, block.res_unit3):
                before, way = walk.lag, x
                x = walk.conv(unit.snake1(x), unit.conv1, unit.conv1.padding[0])
                x = walk.conv(unit.snake2(x), unit.conv2)
                x = walk.late(way, walk.lag - before) + x
        x = walk.conv(model.snake1(x), model.conv2, model.conv2.padding[0])
        if hasattr(model, "tanh"):
            x = torch.tanh(x)
        return x[0]


# Mimi


class MimiCodec(Codec):
    """Its latents are what its two quantisers (semantic and acoustic) are about to quantise, one beside the other."""

    def __init__(self, model: Any, codebooks: int) -> None:
        super().__init__(model, codebooks)
        config = model.config
        self.family = "Mimi"
        self.sample_rate, self.channels = int(config.sampling_rate), int(config.audio_channels)
        self.hop = int(config.frame_size)
        self.quantisers = [
            model.quantizer.semantic_residual_vector_quantizer,
            model.quantizer.acoustic_residual_vector_quantizer,
        ]
        self.width = int(config.vector_quantization_hidden_dimension)
        self.latent_size = 2 * self.width
        self.most_codebooks = int(config.num_quantizers)
        self.window = int(config.sliding_window)
        if not config.use_causal_conv:
            raise NotImplementedError("convolutions that look ahead")

    def decoder(self) -> StreamedGraph:
        return MimiDecoderGraph(self)

    def encoder(self) -> StreamedGraph:
        return MimiEncoderGraph(self)

    @property
    def checked_frames(self) -> int:
        """Enough to fill the transformer's window (two steps a frame) and to go beyond it."""
        return self.window // 2 + 24

    def to_model(self, latents: Tensor) -> Tensor:
        """Latents (n, D) -> what the decoder takes, (1, C, n)."""
        semantic = int(self.model.quantizer.num_semantic_quantizers)
        counts = (min(self.codebooks, semantic), max(self.codebooks - semantic, 0))
        total = None
        for quantiser, part, count in zip(self.quantisers, latents.chunk(2, 1), counts, strict=True):
            if self.codebooks:
                part = _snapped(part, self.books(quantiser)[:count])
            x = part.T[None] if quantiser.output_proj is None else quantiser.output_proj(part.T[None])
            total = x if total is None else total + x
        assert total is not None
        return total

    def from_model(self, embedded: Tensor) -> Tensor:
        """What the encoder gives, (1, C, n) -> latents (n, D)."""
        parts = [embedded if q.input_proj is None else q.input_proj(embedded) for q in self.quantisers]
        return torch.cat(parts, 1)[0].T

    def books(self, quantiser: Any) -> list[Tensor]:
        return [layer.codebook.embed for layer in quantiser.layers]

    def decode(self, latents: Tensor) -> Tensor:
        audio: Tensor = self.model.decoder(self.to_model(latents)).audio_values[0]
        return audio

    def encode(self, audio: Tensor) -> Tensor:
        return self.from_model(self.model.encoder(audio[None]).latents)

    def statistics(self) -> tuple[Tensor, Tensor]:
        both = [_spread(self.books(quantiser)) for quantiser in self.quantisers]
        return torch.cat([mean for mean, _ in both]), torch.cat([std for _, std in both])


class MimiDecoderGraph(StreamedGraph):
    def __init__(self, codec: MimiCodec) -> None:
        super().__init__()
        self.codec, self.model = codec, codec.model.decoder
        self.transformer = Transformer(self.model.decoder_transformer)

    def walk(self, walk: Walk, *inputs: Tensor) -> Tensor:
        x = self.codec.to_model(inputs[0])
        if self.model.upsample is not None:
            x = walk.up(x, self.model.upsample.conv)
        filled = walk.take(1)
        walk.put((filled + x.shape[2]).clamp(max=float(self.transformer.past)))
        x = self.transformer(x, filled, walk)
        for layer in self.model.decoder_seanet.layers:
            x = _seanet(walk, layer, x, x, 0)
        return x[0]


class MimiEncoderGraph(StreamedGraph):
    def __init__(self, codec: MimiCodec) -> None:
        super().__init__()
        self.codec, self.model = codec, codec.model.encoder
        self.transformer = Transformer(self.model.encoder_transformer)

    def walk(self, walk: Walk, *inputs: Tensor) -> Tensor:
        x = inputs[0][None]
        for layer in self.model.encoder_seanet.layers:
            x = _seanet(walk, layer, x, x, 0)
        filled = walk.take(1)
        walk.put((filled + x.shape[2]).clamp(max=float(self.transformer.past)))
        x = self.transformer(x, filled, walk)
        if self.model.downsample is not None:
            layer = self.model.downsample
            span = layer.conv.kernel_size[0] - layer.conv.stride[0]
            past = walk.take(1, x.shape[1], span)
            if layer.pad_mode == "replicate":  # before the beginning there was more of it
                past = torch.where(filled > 0, past, x[..., :1].expand(-1, -1, span))
            whole = torch.cat([past, x], 2)
            walk.put(whole[..., -span:])
            x = F.conv1d(whole, layer.conv.weight, layer.conv.bias, layer.conv.stride, groups=layer.conv.groups)
        return self.codec.from_model(x)


def open_model(kind: str, folder: Path, codebooks: int) -> Codec:
    """A checkpoint's folder as a codec; nothing is ever downloaded.

    Raises:
        OSError, ValueError, RuntimeError, KeyError: as the packages raise them about damaged files.
    """
    if kind == "oobleck":
        from diffusers import AutoencoderOobleck

        model = AutoencoderOobleck.from_pretrained(str(folder), local_files_only=True, low_cpu_mem_usage=False)
        return OobleckCodec(model.float(), codebooks)
    import transformers

    transformers.utils.logging.disable_progress_bar()
    classes = {
        "encodec": (transformers.EncodecModel, EncodecCodec),
        "dac": (transformers.DacModel, DacCodec),
        "mimi": (transformers.MimiModel, MimiCodec),
    }
    original, codec = classes[kind]
    extra = {"attn_implementation": "eager"} if kind == "mimi" else {}
    model = original.from_pretrained(str(folder), local_files_only=True, **extra)
    made: Codec = codec(model.float(), codebooks)
    return made
