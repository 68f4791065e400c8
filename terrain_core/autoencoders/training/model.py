"""The built-in autoencoder in torch: one encoder, and the three decoders that were tried against each other.

Encoder and decoder trunks are causal convolutions over latent frames whose caches go in and out as one tensor, so that
the exported graph's state is a value. (The package cached-conv keeps its caches inside the module, one stream a module;
an engine that shares weights between voices wants the opposite.)

The harmonic-plus-noise decoder follows DDSP (Engel et al., ICLR 2020) with three changes: the pitch is a latent of its
own, read by a tracker instead of learned; a second bank of partials stands at the ratios of bars, bells and membranes;
and the noise is drawn in the frequency domain with unit magnitude and random phase, so that its level is exactly the
level asked for.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

from terrain_core.autoencoders import features
from terrain_core.autoencoders.features import HOP, SAMPLE_RATE, SUBFRAMES, SUBHOP

OCTAVES_PER_PITCH_UNIT = 1.5
"""Latent 0 is log2(f0 / middle C) over this, which gives it about unit variance on the corpus."""

HARMONICS = 60
MODES = (
    0.5, 1.183, 1.5, 1.593, 2.135, 2.295, 2.51, 2.66, 2.756, 2.917, 3.155, 3.48, 3.598, 3.932, 4.06, 4.16, 5.42, 6.16,
    8.933, 9.538, 10.29, 13.344, 16.688, 18.64, 24.566,
)  # fmt: skip
"""Ratios of the second bank: those of bars, bells, tubes and membranes (Fletcher and Rossing) that are not whole."""

COLOUR_BANDS = 64
NOISE_BANDS = 64
NOISE_WINDOW = 2 * SUBHOP
NOISE_BINS = NOISE_WINDOW // 2 + 1
ENVELOPE_STEPS = 16
LOG_LEVEL_RANGE = (-16.0, 3.0)
"""Natural logarithms of the smallest and largest amplitude a control can ask for."""
PITCH_JUMP_OCTAVES = 0.125
"""Between two frames further apart than this the pitch jumps; nearer, it glides."""


@dataclass(frozen=True)
class ModelConfig:
    """Everything that fixes the network's shape; stored beside the weights."""

    head: str = "harmonic"  # "harmonic", "istft" or "multiband"
    latent_size: int = 8
    width: int = 192
    encoder_dilations: tuple[int, ...] = (1, 2, 4)
    decoder_dilations: tuple[int, ...] = (1, 2, 4, 1)

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


class CausalStack(nn.Module):
    """Linear in, residual dilated convolutions of kernel 3, linear out; (batch, frames, channels) throughout."""

    def __init__(self, inputs: int, width: int, outputs: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.dilations = dilations
        self.width = width
        self.enter = nn.Linear(inputs, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in dilations)
        self.convs = nn.ModuleList(nn.Conv1d(width, width, 3, dilation=d) for d in dilations)
        self.mixes = nn.ModuleList(nn.Linear(width, width) for _ in dilations)
        self.leave = nn.Linear(width, outputs)

    @property
    def cache_frames(self) -> int:
        """Rows of the cache: two frames per unit of dilation and layer."""
        return 2 * sum(self.dilations)

    def empty_cache(self, batch: int, device: torch.device | None = None) -> Tensor:
        return torch.zeros(batch, self.cache_frames, self.width, device=device)

    def forward(self, x: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        """x (batch, frames, inputs), cache (batch, cache_frames, width) -> output and the next call's cache."""
        hidden = self.enter(x)
        kept, at = [], 0
        for norm, conv, mix, dilation in zip(self.norms, self.convs, self.mixes, self.dilations, strict=True):
            past = cache[:, at : at + 2 * dilation]
            at += 2 * dilation
            window = torch.cat([past, norm(hidden)], dim=1)
            kept.append(window[:, -2 * dilation :])
            hidden = hidden + mix(nnf.silu(conv(window.transpose(1, 2)).transpose(1, 2)))
        return self.leave(nnf.silu(hidden)), torch.cat(kept, dim=1)


class Encoder(nn.Module):
    """Features with one frame of look-ahead -> posterior mean and log-variance; latent 0 is the tracked pitch."""

    feature_mean: Tensor
    feature_std: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.register_buffer("feature_mean", torch.zeros(features.FEATURES))
        self.register_buffer("feature_std", torch.ones(features.FEATURES))
        self.free = config.latent_size - 1
        self.stack = CausalStack(features.FEATURES, config.width, 2 * self.free, config.encoder_dilations)

    def forward(self, feature: Tensor, cache: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(batch, frames + 1, FEATURES) -> mean (batch, frames, D), log-variance (batch, frames, D - 1), cache."""
        octave = feature[..., features.PITCH_COLUMN]
        here, following = octave[:, :-1], octave[:, 1:]
        # The decoder reaches a frame's pitch at the frame's end, half-way to the next frame's centre.
        near = (following - here).abs() < PITCH_JUMP_OCTAVES
        pitch = torch.where(near, 0.5 * (here + following), here) / OCTAVES_PER_PITCH_UNIT
        normalised = (feature[:, 1:] - self.feature_mean) / self.feature_std
        out, cache = self.stack(normalised, cache)
        mean, log_variance = out.split(self.free, dim=-1)
        return torch.cat([pitch[..., None], mean], dim=-1), log_variance.clamp(-10.0, 2.0), cache


def _interpolation(positions: np.ndarray, knots: np.ndarray) -> Tensor:
    """Weights (len(knots), len(positions)) of linear interpolation between knots; ends are held."""
    return torch.from_numpy(
        np.stack([np.interp(positions, knots, row) for row in np.eye(len(knots))]).astype(np.float32)
    )


def _inverse_dft(size: int) -> Tensor:
    """The inverse real DFT as a matrix (size + 2, size), for rows [real parts, imaginary parts]."""
    bins = size // 2 + 1
    turns = np.arange(bins)[:, None] * np.arange(size)[None] / size
    weight = np.full((bins, 1), 2.0 / size)
    weight[[0, -1]] = 1.0 / size
    basis = np.concatenate([weight * np.cos(2 * np.pi * turns), -weight * np.sin(2 * np.pi * turns)])
    return torch.from_numpy(basis.astype(np.float32))


def mel(hz: np.ndarray | float) -> np.ndarray:
    return np.asarray(2595.0 * np.log10(1.0 + np.asarray(hz) / 700.0))


def hz_of_octave(octave: Tensor) -> Tensor:
    """Octaves from middle C -> Hz in double precision, or a rounding error in the pitch would grow in the phase.

    (exp2 would read better, but the ONNX operator set has none.)
    """
    return features.MIDDLE_C_HZ * torch.exp(octave.double() * math.log(2.0))


class HarmonicHead(nn.Module):
    """Partials at whole multiples and at modal ratios of the latent pitch, plus filtered noise with a fine envelope."""

    controls_per_subframe = HARMONICS + COLOUR_BANDS + len(MODES) + NOISE_BANDS
    outputs = SUBFRAMES * controls_per_subframe + ENVELOPE_STEPS

    ratios: Tensor
    noise_interpolation: Tensor
    audible: Tensor
    grain_basis: Tensor
    ramp: Tensor
    fine_ramp: Tensor

    def __init__(self) -> None:
        super().__init__()
        ratios = torch.cat(
            [torch.arange(1, HARMONICS + 1, dtype=torch.float64), torch.tensor(MODES, dtype=torch.float64)]
        )
        self.register_buffer("ratios", ratios, persistent=False)
        bins_hz = np.arange(NOISE_BINS) * SAMPLE_RATE / NOISE_WINDOW
        knots = np.linspace(mel(40.0), mel(20000.0), NOISE_BANDS)
        self.register_buffer("noise_interpolation", _interpolation(mel(bins_hz), knots), persistent=False)
        audible = torch.ones(NOISE_BINS)
        audible[[0, -1]] = 0.0  # noise at 0 Hz would be a random step per grain
        self.register_buffer("audible", audible, persistent=False)
        half_sine = torch.sin(torch.pi * (torch.arange(NOISE_WINDOW) + 0.5) / NOISE_WINDOW)
        self.register_buffer(
            "grain_basis", _inverse_dft(NOISE_WINDOW) * half_sine * NOISE_WINDOW**0.5, persistent=False
        )
        ramp = (torch.arange(SUBHOP) + 1.0) / SUBHOP
        self.register_buffer("ramp", ramp, persistent=False)
        step = HOP // ENVELOPE_STEPS
        self.register_buffer("fine_ramp", (torch.arange(step) + 1.0) / step, persistent=False)

    def amplitudes(self, raw: Tensor, pitch_hz: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Network output -> amplitudes of all partials (B, 4T, P), noise magnitudes (B, 4T, bins), envelope (B, 16T).

        Args:
            raw: (batch, frames, outputs).
            pitch_hz: (batch, frames).
        """
        batch, frames, _ = raw.shape
        fine = raw[..., -ENVELOPE_STEPS:].reshape(batch, frames * ENVELOPE_STEPS).clamp(-8.0, 3.0).exp()
        spectral = raw[..., :-ENVELOPE_STEPS].reshape(batch, frames * SUBFRAMES, self.controls_per_subframe)
        sizes = [HARMONICS, COLOUR_BANDS, len(MODES), NOISE_BANDS]
        partial, colour, modal, noise = torch.split(spectral, sizes, dim=-1)
        held = pitch_hz[..., None].expand(-1, -1, SUBFRAMES).reshape(batch, frames * SUBFRAMES, 1)
        hz = held * self.ratios.float()
        log_level = torch.cat([partial, modal], dim=-1) + self._colour_at(colour, hz) - 6.0
        level = log_level.clamp(*LOG_LEVEL_RANGE).exp() * ((20000.0 - hz) / 2000.0).clamp(0.0, 1.0)
        magnitude = ((noise - 8.0).clamp(*LOG_LEVEL_RANGE) @ self.noise_interpolation).exp() * self.audible
        return level, magnitude, fine

    def _colour_at(self, colour: Tensor, hz: Tensor) -> Tensor:
        """The envelope, given at COLOUR_BANDS points of the mel scale, read off at the partials' frequencies."""
        low, high = float(mel(40.0)), float(mel(20000.0))
        place = (2595.0 * torch.log10(1.0 + hz / 700.0) - low) * ((COLOUR_BANDS - 1) / (high - low))
        place = place.clamp(0.0, COLOUR_BANDS - 1.001)
        index = place.floor()
        fraction = place - index
        below = torch.gather(colour, -1, index.long())
        above = torch.gather(colour, -1, index.long() + 1)
        return below + fraction * (above - below)

    def forward(self, raw: Tensor, pitch: Tensor, noise_phase: Tensor, state: HeadState) -> tuple[Tensor, HeadState]:
        """Synthesise.

        Args:
            raw: (batch, frames, outputs).
            pitch: (batch, frames), latent 0.
            noise_phase: (batch, frames * SUBFRAMES, NOISE_BINS), in turns, uniform in 0..1.
            state: of the frame before.
        Returns:
            audio (batch, frames * HOP) and the next call's state.
        """
        pitch = pitch.detach()  # a spectral loss has no useful gradient towards frequency; the tracker knows it
        octave = (pitch * OCTAVES_PER_PITCH_UNIT).clamp(-3.5, 4.5)
        level, magnitude, fine = self.amplitudes(raw, hz_of_octave(octave).float())
        tonal, phase = self._partials(level, octave, state)
        noise, tail = self._noise(magnitude, fine, noise_phase, state)
        following = HeadState(phase, octave[:, -1:], level[:, -1:], tail, fine[:, -1:])
        return tonal + noise, following

    def _partials(self, level: Tensor, octave: Tensor, state: HeadState) -> tuple[Tensor, Tensor]:
        batch, frames = octave.shape
        before = torch.cat([state.octave, octave[:, :-1]], dim=1)
        jumps = (octave - before).abs() > PITCH_JUMP_OCTAVES
        start = hz_of_octave(torch.where(jumps, octave, before)) / SAMPLE_RATE
        end = hz_of_octave(octave) / SAMPLE_RATE
        # Turns of the fundamental: cumulated over frames in double precision, a closed parabola within a frame.
        per_frame = HOP * 0.5 * (start + end)
        turns = state.phase[:, :1] + torch.cumsum(per_frame, dim=1)
        started = torch.cat([state.phase[:, :1], turns[:, :-1]], dim=1)
        # Each sub-frame starts from a wrapped phase per partial, so that single precision is enough inside it.
        n = torch.arange(HOP, dtype=torch.float64, device=level.device)
        inside = start[..., None] * n + (0.5 / HOP) * (end - start)[..., None] * n * n
        inside = inside.reshape(batch, frames, SUBFRAMES, SUBHOP)
        anchor = (started[..., None] + inside[..., 0]).reshape(batch, frames * SUBFRAMES, 1) * self.ratios
        anchor = (anchor - anchor.floor()).float()
        local = (inside - inside[..., :1]).reshape(batch, frames * SUBFRAMES, SUBHOP, 1).float()
        turns_inside = torch.addcmul(anchor[:, :, None], local, self.ratios.float())
        bank = turns_inside.mul_(2 * torch.pi).sin_()
        earlier = torch.cat([state.level, level[:, :-1]], dim=1)
        both = torch.matmul(bank, torch.stack([earlier, level], dim=-1))
        audio = both[..., 0] * (1 - self.ramp) + both[..., 1] * self.ramp
        return audio.reshape(batch, frames * HOP), turns[:, -1:]

    def _noise(self, magnitude: Tensor, fine: Tensor, phase: Tensor, state: HeadState) -> tuple[Tensor, Tensor]:
        batch = len(magnitude)
        angle = 2 * torch.pi * phase
        spectrum = torch.cat([magnitude * torch.cos(angle), magnitude * torch.sin(angle)], dim=-1)
        grains = spectrum @ self.grain_basis
        halves = torch.cat([state.noise_tail, grains[:, :-1, SUBHOP:]], dim=1)
        noise = (grains[..., :SUBHOP] + halves).reshape(batch, -1, HOP // ENVELOPE_STEPS)
        earlier = torch.cat([state.envelope, fine[:, :-1]], dim=1)
        gain = earlier[..., None] * (1 - self.fine_ramp) + fine[..., None] * self.fine_ramp
        return (noise * gain).reshape(batch, -1), grains[:, -1:, SUBHOP:]


@dataclass
class HeadState:
    """What the harmonic head carries from frame to frame.

    Attributes:
        phase: (batch, 1) float64, turns of the fundamental since the start.
        octave: (batch, 1), pitch in octaves from middle C.
        level: (batch, 1, partials).
        noise_tail: (batch, 1, SUBHOP), the second half of the last grain.
        envelope: (batch, 1).
    """

    phase: Tensor
    octave: Tensor
    level: Tensor
    noise_tail: Tensor
    envelope: Tensor

    @staticmethod
    def initial(batch: int, device: torch.device | None = None) -> HeadState:
        def zeros(*shape: int) -> Tensor:
            return torch.zeros(batch, *shape, device=device)

        silent = zeros(1, HARMONICS + len(MODES))
        return HeadState(zeros(1).double(), zeros(1), silent, zeros(1, SUBHOP), zeros(1))


class IstftHead(nn.Module):
    """Magnitude and phase of overlapping frames, as in Vocos (Siuzdak, ICLR 2024), causal."""

    fft_size = 1024
    inner = 128
    outputs = SUBFRAMES * inner
    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.stack = CausalStack(self.inner, 160, self.fft_size + 2, (1, 2, 4))
        self.register_buffer("window", torch.hann_window(self.fft_size), persistent=False)

    def forward(self, raw: Tensor) -> Tensor:
        batch, frames, _ = raw.shape
        hidden = raw.reshape(batch, frames * SUBFRAMES, self.inner)
        out, _ = self.stack(hidden, self.stack.empty_cache(batch, raw.device))
        log_magnitude, angle = out.split(self.fft_size // 2 + 1, dim=-1)
        magnitude = (log_magnitude - 2.0).clamp(-12.0, 6.0).exp()
        grains = torch.fft.irfft(torch.polar(magnitude, angle), self.fft_size, dim=-1) * self.window
        folded = nnf.fold(
            grains.transpose(1, 2),
            (1, (grains.shape[1] - 1) * SUBHOP + self.fft_size),
            (1, self.fft_size),
            stride=(1, SUBHOP),
        )
        return folded[:, 0, 0, : frames * HOP]


def _pqmf(bands: int, taps: int) -> Tensor:
    """Synthesis filters (bands, 1, taps) of a near-perfect cosine-modulated bank (Nguyen, IEEE TSP 1994)."""
    from scipy import signal

    prototype = signal.firwin(taps, 0.5 / bands * 1.15, window=("kaiser", 9.0))
    n = np.arange(taps) - (taps - 1) / 2
    k = np.arange(bands)[:, None]
    bank = 2 * prototype * np.cos((2 * k + 1) * np.pi / (2 * bands) * n - (-1.0) ** k * np.pi / 4)
    return torch.from_numpy((bank * bands).astype(np.float32))[:, None]


class MultibandHead(nn.Module):
    """A waveform in 16 bands, upsampled by strided convolutions, in the manner of RAVE (Caillon and Esling, 2021)."""

    bands = 16
    channels = (128, 64, 32)
    outputs = 128
    synthesis: Tensor

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = self.outputs
        for channels in self.channels:
            layers += [
                nn.LeakyReLU(0.2),
                nn.ConvTranspose1d(width, channels, 8, stride=4, padding=2),
                _Residual(channels, 1),
                _Residual(channels, 3),
            ]
            width = channels
        self.body = nn.Sequential(*layers, nn.LeakyReLU(0.2), nn.Conv1d(width, 2 * self.bands, 7, padding=3))
        self.register_buffer("synthesis", _pqmf(self.bands, 256), persistent=False)

    def forward(self, raw: Tensor) -> Tensor:
        out = self.body(raw.transpose(1, 2))
        signal, loudness = out.split(self.bands, dim=1)
        subbands = torch.tanh(signal) * torch.sigmoid(loudness)
        audio = nnf.conv_transpose1d(subbands, self.synthesis, stride=self.bands, padding=120)
        return audio[:, 0, : raw.shape[1] * HOP]


class _Residual(nn.Module):
    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LeakyReLU(0.2),
            nn.Conv1d(channels, channels, 3, dilation=dilation, padding=dilation),
            nn.LeakyReLU(0.2),
            nn.Conv1d(channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        deviation: Tensor = self.layers(x)
        return x + deviation


Head = HarmonicHead | IstftHead | MultibandHead
HEADS: dict[str, type[Head]] = {"harmonic": HarmonicHead, "istft": IstftHead, "multiband": MultibandHead}


class Autoencoder(nn.Module):
    """Encoder, decoder trunk and one of the heads."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.head: Head = HEADS[config.head]()
        self.decoder = CausalStack(config.latent_size, config.width, self.head.outputs, config.decoder_dilations)
        nn.init.normal_(self.decoder.leave.weight, std=0.02)
        nn.init.zeros_(self.decoder.leave.bias)

    def encode(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        """From a clean state: posterior mean (batch, frames, D) and log-variance (batch, frames, D - 1)."""
        cache = self.encoder.stack.empty_cache(len(feature), feature.device)
        mean, log_variance, _ = self.encoder(feature, cache)
        return mean, log_variance

    def decode(self, latents: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """From a clean state: (batch, frames, D) -> audio (batch, frames * HOP)."""
        batch, frames, _ = latents.shape
        raw, _ = self.decoder(latents, self.decoder.empty_cache(batch, latents.device))
        if isinstance(self.head, HarmonicHead):
            shape = (batch, frames * SUBFRAMES, NOISE_BINS)
            noise = torch.rand(shape, generator=generator, device=latents.device)
            audio: Tensor = self.head(raw, latents[..., 0], noise, HeadState.initial(batch, latents.device))[0]
        else:
            audio = self.head(raw)
        return audio
