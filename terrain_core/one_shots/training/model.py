"""The one-shot VAE: a convolutional encoder and decoder with a small dense part in between.

    audio ─► 16 ─► 4 ─► 4 ─► 4 ─► narrow ─► mean, log-variance ─► z ─► wide ─► 4 ─► 4 ─► 4 ─► 16 ─► 0.9 tanh
              │    │    │                                         │            ▲    ▲    ▲
              └────┴────┴── skips (training)      skip generator ─┘────────────┴────┴────┘

The numbers are strides. What plays knows z alone: the skips then come from the skip generator. In training, part of
each batch is decoded with generated skips, the rest with the encoder's, and generated skips are held to the encoder's.
Every length is a multiple of the whole stride, so that skips meet their layers sample by sample.
Two ideas of this network. The decoder plays a fixed bank of tones and noise bands (`Bank`), the same for every sound:
it gives each an envelope, and what it makes itself, run by run of samples, is only added. A network that has to make a
long tone must know its phase at every sample, which cannot be told from the latents, and makes it quieter instead; one
that sees no noise can only repeat itself, and drums hiss. And residual blocks begin as almost nothing (a small factor
on each), so that no layer normalises a decay away. Every other layer begins such that it keeps a signal's power: with
torch's own beginnings four strides leave a thousandth of it, the latents drown in their own noise, and the decoder
learns to do without them.
"""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from terrain_core.one_shots.config import STRIDE, STRIDES, ModelConfig

OUTPUT = 0.9
"""What the last tanh is multiplied by."""
REACH = 0.8
"""What a sample of full scale is for the network: tanh reaches 0.8 / 0.9 with a gradient left, 1.0 never."""
NOISE_SEED = 20251
FIRST_SCALE = 0.1
QUIET_GAIN, ASINH_SPAN = 100.0, 3.0
FIRST_LOG_VARIANCE = -4.0
SILU_GAIN = 1.4
LEVEL_SPAN, FIRST_LEVEL = 4.0, -6.0
"""Of the bank's levels, in nepers: how far the first weights spread them, and where they begin."""
EAR_TONES, QUIETEST = 96, 1e-4
BANK_STRIDE = STRIDES[0] * STRIDES[1]
"""Samples per frame of the bank's levels: 1.5 ms, at 44.1 kHz."""


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


class Ear(nn.Module):
    """What the dense layers hear beside the convolutions: (batch, channels, samples) -> logarithms of the magnitudes at
    `EAR_TONES` frequencies, (batch, EAR_TONES, frames). Pitch and level of a long tone are plain here; an encoder that
    has to find them in the waveform spends most of its training on that.
    """

    filters: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        hz = spread_hz(EAR_TONES, 40.0, 0.4 * config.sample_rate, 900.0)
        turns = np.exp(2j * np.pi * hz[:, np.newaxis] / config.sample_rate * np.arange(2 * STRIDE))
        turns *= np.hanning(2 * STRIDE + 1)[:-1] * (2 / STRIDE)
        filters = np.concatenate([turns.real, turns.imag])[:, np.newaxis].astype(np.float32)
        self.register_buffer("filters", torch.from_numpy(filters), persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        parts = functional.conv1d(audio.mean(dim=1, keepdim=True), self.filters, stride=STRIDE, padding=STRIDE // 2)
        real, imaginary = parts.chunk(2, dim=1)
        magnitudes = (real.square() + imaginary.square() + QUIETEST**2).sqrt()
        return 1 + 2 * torch.log(magnitudes) / abs(math.log(QUIETEST))


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
        self.ear = Ear(config)
        self.narrow = nn.Conv1d(config.widths[-1] + EAR_TONES, config.bottleneck_channels, 1)
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
        flat = self.even(self.narrow(torch.cat([functional.silu(x), self.ear(audio)], dim=1)).flatten(1))
        log_variance = self.floor + functional.softplus(self.log_variance(flat) - self.floor)
        return self.mean(flat), log_variance, skips


def _dense(inside: int, hidden: int, outside: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inside, hidden), nn.SiLU(), nn.Linear(hidden, outside))


class Bank(nn.Module):
    """Fixed sounds with envelopes: levels (batch, K, frames), a frame being `BANK_STRIDE`, and between frames a
    straight line -> (batch, frames * BANK_STRIDE).

    Each sound is a carrier, turned from frame to frame by a phase: a tone's stands still, a noise band's walks at
    random. It is all phase and no amplitude, so that noise at an even level is more even than by chance.
    """

    now: Tensor
    then: Tensor
    wave: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        stride, frames, rate = BANK_STRIDE, config.samples // BANK_STRIDE, config.sample_rate
        rng = np.random.default_rng(NOISE_SEED)
        tones = spread_hz(config.tones, 35.0, min(5000.0, 0.4 * rate), 900.0)
        bands = spread_hz(config.noise, 100.0, 0.45 * rate, 4000.0)
        hz = np.concatenate([tones, bands])
        # A phase that walks makes a line as wide as the square of its steps: here as wide as from band to band.
        steps = np.sqrt(2 * np.pi * np.gradient(bands) * stride / rate) if len(bands) > 1 else np.ones(len(bands))
        walk = rng.uniform(-np.pi, np.pi, (len(bands), 1)) + np.cumsum(
            steps[:, np.newaxis] * rng.standard_normal((len(bands), frames + 1)), axis=1
        )
        walk = np.concatenate([np.full((len(tones), frames + 1), -np.pi / 2), walk])
        turn = 2 * np.pi * hz / rate
        carrier = turn[:, np.newaxis] * stride * np.arange(frames)
        now, then = np.exp(1j * (carrier + walk[:, :-1])), np.exp(1j * (carrier + walk[:, 1:]))
        inside, between = np.exp(1j * turn[:, np.newaxis] * np.arange(stride)), np.arange(stride) / stride
        parts = [
            inside.real * (1 - between),
            -inside.imag * (1 - between),
            inside.real * between,
            -inside.imag * between,
        ]
        for name, values in (
            ("now", np.concatenate([now.real, now.imag])),
            ("then", np.concatenate([then.real, then.imag])),
            ("wave", np.concatenate(parts)),
        ):
            self.register_buffer(name, torch.from_numpy(values.astype(np.float32)), persistent=False)

    def forward(self, levels: Tensor) -> Tensor:
        later = torch.cat([levels[:, :, 1:], levels[:, :, -1:]], dim=2)
        turned = torch.cat([levels.repeat(1, 2, 1) * self.now, later.repeat(1, 2, 1) * self.then], dim=1)
        return (turned.transpose(1, 2) @ self.wave).flatten(1)


def spread_hz(count: int, lowest: float, highest: float, corner: float) -> NDArray[np.float64]:
    """(count,) frequencies: by equal ratios well below the corner, by equal differences well above it."""
    hz = np.geomspace(lowest, highest, 4096)
    scale = np.log(hz) + hz / corner
    return np.asarray(np.interp(np.linspace(scale[0], scale[-1], count), scale, hz))


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
        self.channels = config.channels
        self.bank = Bank(config)
        # For each channel a level for each sound of the bank, and one for what the network itself makes.
        self.levels = nn.Conv1d(widths[-2], (config.tones + config.noise) * config.channels, 3, padding=1)
        self.own_level = nn.Conv1d(widths[-1], config.channels, 3, padding=1)
        # A convolution that gives whole runs of samples: the same as a transposed one, and many times faster on a CPU.
        self.leave = nn.Conv1d(widths[-1], STRIDES[0] * config.channels, 5, padding=2)

    def forward(self, z: Tensor, skips: list[Tensor] | None) -> Tensor:
        x = self.first(self.open(self.enter(z).unflatten(1, (-1, self.frames))))
        stages = []
        for level, (up, join, blocks) in enumerate(zip(self.ups, self.joins, self.blocks, strict=True)):
            x = up(functional.silu(x))
            x = blocks(join(x if skips is None else torch.cat([x, skips[-1 - level]], dim=1)))
            stages.append(functional.silu(x))
        levels = _level(self.levels(stages[-2]))
        # The bank knows no channels: each is a row of its own.
        bank = self.bank(levels.reshape(-1, levels.shape[1] // self.channels, levels.shape[2]))
        runs = self.leave(x).unflatten(1, (self.channels, STRIDES[0]))
        own = (runs * _level(self.own_level(stages[-1]))[:, :, None]).transpose(2, 3).flatten(2)
        return OUTPUT * torch.tanh(own + bank.reshape(own.shape))


def _level(x: Tensor) -> Tensor:
    """0..1, a logarithm where it is low: a decay is a straight line, and silence no harder than any other level."""
    return torch.sigmoid(LEVEL_SPAN * x + FIRST_LEVEL)


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
            self.decoder.levels.weight.mul_(0.3)
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
