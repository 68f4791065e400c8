"""The one-shot VAE: a convolutional encoder and decoder with a small dense part in between.

    audio ─► 16 ─► 4 ─► 4 ─► 4 ─► narrow ─► mean, log-variance ─► z ─► wide ─► 4 ─► 4 ─► 4 ─► 16 ─► 0.9 tanh
              │    │    │                                         │            ▲    ▲    ▲
              └────┴────┴── skips (training)      skip generator ─┘────────────┴────┴────┘

The numbers are strides. What plays knows z alone: the skips then come from the skip generator. In training, part of
each batch is decoded with generated skips, the rest with the encoder's, and generated skips are held to the encoder's.
Every length is a multiple of the whole stride, so that skips meet their layers sample by sample.
Two ideas of this network: fixed noise, the same for every sound, goes into the last stage, where the decoder gives each
of its channels an envelope (a convolution that sees no noise can only repeat itself, and drums hiss); and residual
blocks begin as almost nothing (a small factor on each), so that no layer normalises a decay away. Every other layer
begins such that it keeps a signal's power: with torch's own beginnings four strides leave a thousandth of it, the
latents drown in their own noise, and the decoder learns to do without them.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from terrain_core.one_shots.config import STRIDES, ModelConfig

OUTPUT = 0.9
"""What the last tanh is multiplied by."""
REACH = 0.8
"""What a sample of full scale is for the network: tanh reaches 0.8 / 0.9 with a gradient left, 1.0 never."""
NOISE_SEED = 20251
FIRST_SCALE = 0.1
QUIET_GAIN, ASINH_SPAN = 100.0, 3.0
FIRST_LOG_VARIANCE = -4.0
SILU_GAIN = 1.4


class Residual(nn.Module):
    """x + scale * conv(silu(conv(silu(x)))): (batch, width, n) -> the same."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(width, width, 5, padding=2 * dilation, dilation=dilation)
        self.second = nn.Conv1d(width, width, 3, padding=1)
        self.scale = nn.Parameter(torch.full((width, 1), FIRST_SCALE))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * cast(Tensor, self.second(functional.silu(self.first(functional.silu(x)))))


def _blocks(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(Residual(width, 3**i) for i in range(count)))


def _up(inside: int, outside: int, stride: int) -> nn.ConvTranspose1d:
    """Exactly `stride` times as long: kernels overlap by half."""
    return nn.ConvTranspose1d(inside, outside, 2 * stride, stride, stride // 2)


def _keep_power(layer: nn.Module) -> None:
    """A layer's first weights, drawn such that what comes out is as strong as what went in through a silu."""
    if isinstance(layer, nn.Conv1d | nn.ConvTranspose1d | nn.Linear):
        inputs = layer.weight[0].numel()
        if isinstance(layer, nn.ConvTranspose1d):
            inputs = layer.in_channels * layer.kernel_size[0] // layer.stride[0]
        nn.init.normal_(layer.weight, std=SILU_GAIN / inputs**0.5)
        assert layer.bias is not None
        nn.init.zeros_(layer.bias)


def _asinh(x: Tensor) -> Tensor:
    """ONNX has one, the exporter does not know it."""
    size = x.abs()
    return x.sign() * torch.log(size + (size.square() + 1).sqrt())


class Encoder(nn.Module):
    """(batch, channels, samples) -> mean and log-variance (batch, D), and three skips, the longest first."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        widths = (config.channels, *config.widths)
        self.downs = nn.ModuleList(
            nn.Conv1d(a, b, 2 * s, s, s // 2) for a, b, s in zip(widths, widths[1:], STRIDES, strict=False)
        )
        self.blocks = nn.ModuleList(_blocks(width, config.blocks) for width in config.widths)
        self.skips = nn.ModuleList(nn.Conv1d(width, config.skip, 1) for width in config.widths[:-1])
        self.narrow = nn.Conv1d(config.widths[-1], config.bottleneck_channels, 1)
        flat = config.bottleneck_channels * config.frames
        self.mean = _dense(flat, config.hidden, config.latent_size)
        self.log_variance = _dense(flat, config.hidden, config.latent_size)
        self.even = nn.LayerNorm(flat)
        self.floor = config.lowest_log_variance

    def forward(self, audio: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        # A logarithm of sorts: tails and attacks count alike, as they do to the ear.
        x, skips = _asinh(audio * QUIET_GAIN) / ASINH_SPAN, []
        for level, (down, blocks) in enumerate(zip(self.downs, self.blocks, strict=True)):
            x = blocks(down(x))
            if level < len(self.skips):
                skips.append(self.skips[level](x))
        flat = self.even(self.narrow(functional.silu(x)).flatten(1))
        log_variance = self.floor + functional.softplus(self.log_variance(flat) - self.floor)
        return self.mean(flat), log_variance, skips


def _dense(inside: int, hidden: int, outside: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inside, hidden), nn.SiLU(), nn.Linear(hidden, outside))


class SkipGenerator(nn.Module):
    """(batch, D) -> three skips like the encoder's, the longest first: one trunk that grows, a tap at each length."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = 2 * config.skip
        self.width, self.frames = width, config.frames
        self.enter = nn.Sequential(
            nn.Linear(config.latent_size, config.hidden),
            nn.SiLU(),
            nn.Linear(config.hidden, config.bottleneck_channels * config.frames),
        )
        self.open = nn.Conv1d(config.bottleneck_channels, width, 3, padding=1)
        self.ups = nn.ModuleList(_up(width, width, stride) for stride in STRIDES[:0:-1])
        self.blocks = nn.ModuleList(_blocks(width, 1) for _ in self.ups)
        self.taps = nn.ModuleList(nn.Conv1d(width, config.skip, 1) for _ in self.ups)

    def forward(self, z: Tensor) -> list[Tensor]:
        x = self.open(self.enter(z).unflatten(1, (-1, self.frames)))
        skips = []
        for up, blocks, tap in zip(self.ups, self.blocks, self.taps, strict=True):
            x = blocks(up(functional.silu(x)))
            skips.append(tap(x))
        return skips[::-1]


class Decoder(nn.Module):
    """(batch, D) and three skips, or none in the simple variant -> (batch, channels, samples)."""

    noise: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.frames = config.frames
        widths = config.widths[::-1]
        self.enter = _dense(config.latent_size, config.hidden, config.bottleneck_channels * config.frames)
        self.open = nn.Conv1d(config.bottleneck_channels, widths[0], 3, padding=1)
        self.first = _blocks(widths[0], config.blocks)
        self.ups = nn.ModuleList(_up(a, b, s) for a, b, s in zip(widths, widths[1:], STRIDES[:0:-1], strict=False))
        extra = config.skip if config.variant == "unet" else 0
        self.joins = nn.ModuleList(nn.Conv1d(width + extra, width, 1) for width in widths[1:])
        self.blocks = nn.ModuleList(_blocks(width, config.blocks) for width in widths[1:])
        self.envelopes = nn.Conv1d(widths[-1], config.noise, 3, padding=1)
        self.channels = config.channels
        # A convolution that gives whole runs of samples: the same as a transposed one, and many times faster on a CPU.
        self.leave = nn.Conv1d(widths[-1] + config.noise, STRIDES[0] * config.channels, 5, padding=2)
        generator = torch.Generator().manual_seed(NOISE_SEED)
        self.register_buffer(
            "noise", torch.randn(1, config.noise, config.samples // STRIDES[0], generator=generator), persistent=False
        )

    def forward(self, z: Tensor, skips: list[Tensor] | None) -> Tensor:
        x = self.first(self.open(self.enter(z).unflatten(1, (-1, self.frames))))
        for level, (up, join, blocks) in enumerate(zip(self.ups, self.joins, self.blocks, strict=True)):
            x = up(functional.silu(x))
            x = blocks(join(x if skips is None else torch.cat([x, skips[-1 - level]], dim=1)))
        shaped = self.envelopes(functional.silu(x)) * self.noise
        runs = self.leave(torch.cat([x, shaped], dim=1)).unflatten(1, (self.channels, STRIDES[0]))
        return OUTPUT * torch.tanh(runs.transpose(2, 3).flatten(2))


class OneShotModel(nn.Module):
    """Encoder, decoder and, in the variant "unet", the skip generator.

    Audio outside the network is at full scale 1; the network's own output is `REACH` times that.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.skip_generator = SkipGenerator(config) if config.variant == "unet" else None
        self.apply(_keep_power)
        with torch.no_grad():
            self.decoder.leave.weight.mul_(0.1)  # tanh begins where it is straight
            # Little noise to begin with: a decoder that hears nothing but noise learns to ignore its latents.
            last = cast(nn.Linear, self.encoder.log_variance[-1])
            last.weight.mul_(0.1)
            last.bias.fill_(FIRST_LOG_VARIANCE)

    def encode(self, audio: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """(batch, channels, samples) -> mean, log-variance (batch, D), skips."""
        return cast(tuple[Tensor, Tensor, list[Tensor]], self.encoder(audio))

    def generate_skips(self, z: Tensor) -> list[Tensor] | None:
        """(batch, D) -> the skips that z means; None in the simple variant."""
        return None if self.skip_generator is None else cast(list[Tensor], self.skip_generator(z))

    def raw(self, z: Tensor, skips: list[Tensor] | None) -> Tensor:
        """What the loss compares with `REACH` times the target, (batch, channels, samples)."""
        return cast(Tensor, self.decoder(z, skips))

    def decode(self, z: Tensor) -> Tensor:
        """(batch, D) -> (batch, channels, samples), from z alone: what plays."""
        return self.raw(z, self.generate_skips(z)) / REACH

    @property
    def parameter_count(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())
