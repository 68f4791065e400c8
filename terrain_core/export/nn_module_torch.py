"""The module that is scripted for nn~: terrain, latent effects, decoder, ceiling and level, and the state of all that.

TorchScript compiles this file's source: hence plain loops and types, and annotations that are no strings.
"""

import math
from typing import Any  # what TorchScript understands everywhere

import torch
from torch import Tensor, nn


def philox(seed: int, first: int, count: int) -> Tensor:
    """The generator's output for the counts `first` .. `first + count`, (count, 4) words of 64 bits: numpy's Philox,
    which advances its counter before each (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011).

    Words are signed here, since torch has no arithmetic of unsigned ones; the bits are the same.
    """
    even = torch.zeros([2, count], dtype=torch.int64)
    even[0] = torch.arange(first + 1, first + count + 1, dtype=torch.int64)
    odd = torch.zeros([2, count], dtype=torch.int64)
    multiplier = torch.tensor([[-3249550476889527149], [-3865633965929787049]], dtype=torch.int64)
    step = torch.tensor([[-7046029254386353131], [-4942790177534073029]], dtype=torch.int64)
    key = torch.tensor([[seed], [0]], dtype=torch.int64)
    low_factor, high_factor = multiplier & 0xFFFFFFFF, (multiplier >> 32) & 0xFFFFFFFF
    for turn in range(10):
        if turn > 0:
            key = key + step
        # The upper 64 bits of a product of 64-bit numbers, from products of their halves.
        low, high = even & 0xFFFFFFFF, (even >> 32) & 0xFFFFFFFF
        left, right = high * low_factor, low * high_factor
        middle = ((low * low_factor) >> 32 & 0xFFFFFFFF) + (left & 0xFFFFFFFF) + (right & 0xFFFFFFFF)
        upper = high * high_factor + (left >> 32 & 0xFFFFFFFF) + (right >> 32 & 0xFFFFFFFF) + (middle >> 32)
        lower = even * multiplier
        even = upper.flip(0) ^ odd ^ key
        odd = lower.flip(0)
    return torch.stack([even[0], odd[0], even[1], odd[1]], dim=1)


def draws(seed: int, first: int, frames: int, normals: int, uniforms: int) -> Tensor:
    """What the decoder is given: see `terrain_core.autoencoders.noise.mixed`; (frames, normals + uniforms)."""
    pairs = (normals + 1) // 2
    wanted = 2 * pairs + uniforms
    counts = (wanted + 7) // 8
    words = philox(seed, first * counts, frames * counts)
    halves = torch.stack([words & 0xFFFFFFFF, (words >> 32) & 0xFFFFFFFF], dim=2).reshape(frames, -1)[:, :wanted]
    drawn = (halves >> 8).to(torch.float32) * (2.0**-24)
    if normals == 0:
        return drawn
    radius = torch.sqrt(-2 * torch.log1p(-drawn[:, :pairs].double()))
    angle = 2 * math.pi * drawn[:, pairs : 2 * pairs].double()
    normal = torch.cat([radius * torch.cos(angle), radius * torch.sin(angle)], dim=1)[:, :normals]
    return torch.cat([normal.to(torch.float32), drawn[:, 2 * pairs :]], dim=1)


def normal_by_frame(seed: int, first: int, frames: int, size: int) -> Tensor:
    """What the effect Noise adds: see `terrain_core.engine.effects.normal_by_frame`; (frames, size)."""
    blocks = (size + 7) // 8
    words = philox(seed, first * blocks, frames * blocks).reshape(-1)
    radius = torch.sqrt(-2 * torch.log((((words >> 32) & 0xFFFFFFFF).double() + 1.0) / 4294967296.0))
    angle = (words & 0xFFFFFFFF).double() * (2 * math.pi / 4294967296.0)
    pairs = torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], dim=1)
    return pairs.reshape(frames, -1)[:, :size].to(torch.float32)


class Cache(nn.Module):
    """State of each voice (nn~'s batch), under a name by which hosts know what to set to zero: `….cache`."""

    cache: Tensor

    def __init__(self, size: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.register_buffer("cache", torch.zeros(1, size, dtype=dtype))

    def grow(self, voices: int) -> None:
        """Room for so many voices, new ones at a clean start."""
        if voices > self.cache.shape[0]:
            more = torch.zeros([voices - self.cache.shape[0], self.cache.shape[1]], dtype=self.cache.dtype)
            self.cache = torch.cat([self.cache, more])


class TerrainModule(nn.Module):
    """Positions (n, C) in 0..1, float64 -> latents (n, D) float32; see `terrain_core.terrain.network`."""

    low: Tensor
    span: Tensor
    cycles: Tensor

    def __init__(self, terrain: Any) -> None:
        super().__init__()
        bounds = torch.from_numpy(terrain.bounds.copy())
        self.register_buffer("low", bounds[:, 0].clone())
        self.register_buffer("span", bounds[:, 1] - bounds[:, 0])
        weights = {name: torch.from_numpy(tensor.astype("float64")) for name, tensor in terrain.weights.items()}
        self.fourier = "B_T" in weights
        self.register_buffer("cycles", weights.get("B_T", torch.zeros(0, 0, dtype=torch.float64)))
        layers = terrain.architecture.linear_layers
        self.layers = nn.ModuleList()
        for number, layer in enumerate(layers, start=1):
            slope = weights[f"prelu{number}.weight"] if layer != layers[-1] else torch.ones(1, dtype=torch.float64)
            self.layers.append(LayerModule(weights[f"{layer}.weight"], weights[f"{layer}.bias"], slope))

    def forward(self, unit: Tensor) -> Tensor:
        hidden = self.low + unit * self.span
        if self.fourier:
            cycles = hidden @ self.cycles
            phases = 2 * math.pi * (cycles - torch.round(cycles))
            hidden = torch.cat([torch.sin(phases), torch.cos(phases)], dim=1)
        for layer in self.layers:
            hidden = layer(hidden)
        return hidden.to(torch.float32).clamp(-100.0, 100.0)


class LayerModule(nn.Module):
    """Linear and PReLU; a slope of 1 leaves the linear part as it is."""

    weight: Tensor
    bias: Tensor
    slope: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, slope: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        self.register_buffer("slope", slope)

    def forward(self, x: Tensor) -> Tensor:
        out = x @ self.weight.T + self.bias
        return out.clamp(min=0.0) + self.slope * out.clamp(max=0.0)


class NnModule(nn.Module):
    """An instrument by the convention of nn~: methods play, forward (the same), terrain and decode.

    Getters and setters of its attributes are added by `nn_export_torch`, from the table of parameters.
    """

    mean: Tensor
    std: Tensor
    offsets: Tensor
    scales: Tensor
    ramp: Tensor

    def __init__(self, terrain: Any, card: Any, decoder: Any, state_sizes: tuple[int, int], played: int) -> None:
        super().__init__()
        self.terrain_map = TerrainModule(terrain)
        self.decoder = decoder
        self.sr: int = card.sample_rate
        self.hop: int = card.hop
        self.channels: int = card.channels
        self.latent_size: int = card.latent_size
        self.control_size: int = terrain.control_size
        self.played: int = played
        self.delay: int = card.delay
        self.normals: int = card.normals_per_frame
        draws_per_frame = math.prod(card.noise_per_frame) if card.noise_per_frame else 0
        self.uniforms: int = draws_per_frame - card.normals_per_frame
        self.noise_shape: list[int] = list(card.noise_per_frame) or [0]
        knobs = min(8, card.latent_size)
        self.knobs: int = knobs
        self.level: float = 0.0
        self.glide: float = 0.0
        self.intensity: float = 1.0
        self.noise: float = 0.0
        self.pressure_target: int = 0
        self.seed: int = 0
        self.register_buffer("offsets", torch.zeros(knobs, dtype=torch.float64))
        self.register_buffer("scales", torch.ones(knobs, dtype=torch.float64))
        self.register_buffer("mean", torch.tensor(card.latent_mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(card.latent_std, dtype=torch.float32))
        self.register_buffer("ramp", (torch.arange(1, card.hop + 1, dtype=torch.float64) / card.hop).to(torch.float32))
        self.single_state = Cache(state_sizes[0], torch.float32)
        self.double_state = Cache(state_sizes[1], torch.float64)
        self.glided = Cache(1 + card.latent_size, torch.float32)  # whether there was a frame before, and its latents
        self.gain = Cache(2, torch.float32)  # the same of its gain
        self.gains = Cache(card.delay, torch.float32)  # of samples that the decoder has yet to give
        self.frame = Cache(1, torch.int64)  # the number of the next frame

    def _room(self, voices: int) -> None:
        self.single_state.grow(voices)
        self.double_state.grow(voices)
        self.glided.grow(voices)
        self.gain.grow(voices)
        self.gains.grow(voices)
        self.frame.grow(voices)

    def _positions(self, controls: Tensor) -> Tensor:
        """Controls (rows, n) -> positions (n, C) in 0..1, what is not played in the middle."""
        unit = torch.full([controls.shape[1], self.control_size], 0.5, dtype=torch.float64)
        known = torch.where(torch.isfinite(controls), controls, torch.full_like(controls, 0.5))
        unit[:, : self.played] = known[: self.played].T.double().clamp(0.0, 1.0)
        return unit

    def _effects(self, voice: int, latents: Tensor, pressure: Tensor) -> Tensor:
        """Latents (n, D) through glide, offset and scale, intensity and noise, as in the engine."""
        if self.glide > 0.0:
            step = torch.tensor(-math.expm1(-(1000.0 * self.hop / self.sr) / self.glide), dtype=torch.float32)
            kept = self.glided.cache[voice]
            last = kept[1:].clone() if float(kept[0]) > 0.5 else latents[0]
            rows: list[Tensor] = []
            for k in range(latents.shape[0]):
                last = last + step * (latents[k] - last)
                rows.append(last)
            latents = torch.stack(rows)
        self.glided.cache[voice, 0] = 1.0
        self.glided.cache[voice, 1:] = latents[-1]
        knobs = self.knobs
        mean, std = self.mean[:knobs], self.std[:knobs]
        moved = mean + (latents[:, :knobs] - mean).double() * self.scales + self.offsets * std
        latents = torch.cat([moved.to(torch.float32), latents[:, knobs:]], dim=1)
        intensity = torch.full_like(pressure, self.intensity)
        if self.pressure_target == 1:
            intensity = intensity * pressure
        latents = self.mean + (latents - self.mean) * intensity.to(torch.float32)[:, None]
        if self.noise > 0.0:
            first = int(self.frame.cache[voice, 0])
            drawn = normal_by_frame(self.seed, first, latents.shape[0], latents.shape[1])
            latents = latents + self.noise * self.std * drawn
        return latents

    def _decode(self, voice: int, latents: Tensor) -> Tensor:
        """Latents (n, D) -> audio (channels, n * hop), frame by frame: no cutting makes a difference."""
        frames, first = latents.shape[0], int(self.frame.cache[voice, 0])
        drawn = torch.zeros([frames, 0])
        if self.normals + self.uniforms > 0:
            drawn = draws(self.seed, first, frames, self.normals, self.uniforms)
        single, double = self.single_state.cache[voice], self.double_state.cache[voice]
        parts: list[Tensor] = []
        for k in range(frames):
            noise = drawn[k].reshape([1] + self.noise_shape)  # noqa: RUF005  # TorchScript knows no star
            audio, single, double = self.decoder(latents[k : k + 1], noise, single, double)
            parts.append(audio)
        self.single_state.cache[voice] = single
        self.double_state.cache[voice] = double
        self.frame.cache[voice, 0] = first + frames
        return torch.cat(parts, dim=1)

    def _level(self, voice: int, audio: Tensor, gains: Tensor) -> Tensor:
        """Audio (channels, n * hop) times a line over each frame from the gain before it to its own, gains (n,)."""
        kept = self.gain.cache[voice]
        known = float(kept[0]) > 0.5
        start = kept[1:2].clone() if known else gains[:1]
        before = torch.cat([start, gains[:-1]])
        line = (before[:, None] + (gains - before)[:, None] * self.ramp).reshape(-1)
        if self.delay > 0:
            pending = self.gains.cache[voice] if known else start.expand(self.delay)
            curve = torch.cat([pending, line])
            line = curve[: line.shape[0]]
            self.gains.cache[voice] = curve[curve.shape[0] - self.delay :]
        self.gain.cache[voice, 0] = 1.0
        self.gain.cache[voice, 1] = gains[-1]
        return audio * line

    def _play(self, voice: int, controls: Tensor) -> Tensor:
        """Controls (rows, n): x, y, pressure, perhaps z -> audio (channels, n * hop)."""
        pressure = controls[2]
        pressure = torch.where(torch.isfinite(pressure), pressure, torch.ones_like(pressure)).double().clamp(0.0, 1.0)
        third = controls[2:3] if self.pressure_target == 2 else controls[3:4]
        unit = self._positions(torch.cat([controls[:2], third]))
        latents = self._effects(voice, self.terrain_map(unit), pressure)
        audio = self._decode(voice, latents)
        size = audio.abs()
        audio = torch.where(size > 1.0, torch.sign(audio) * (1.0 + torch.tanh(size - 1.0)), audio)
        if not bool(torch.isfinite(audio).all()):
            self.single_state.cache[voice] = 0.0
            self.double_state.cache[voice] = 0.0
            audio = torch.zeros_like(audio)
        gain = 0.0 if self.level <= -60.0 else 10.0 ** (self.level / 20.0)
        loudness = pressure if self.pressure_target == 0 else torch.ones_like(pressure)
        return self._level(voice, audio, (loudness * gain).to(torch.float32))

    @torch.jit.export
    def play(self, x: Tensor) -> Tensor:
        """Controls (voices, rows, n) -> audio (voices, channels, n * hop)."""
        self._room(x.shape[0])
        parts: list[Tensor] = []
        for voice in range(x.shape[0]):
            parts.append(self._play(voice, x[voice]))
        return torch.stack(parts)

    def forward(self, x: Tensor) -> Tensor:
        """The same: what nn~ plays where no method is named."""
        return self.play(x)

    @torch.jit.export
    def terrain(self, x: Tensor) -> Tensor:
        """Positions (voices, rows, n) in 0..1 -> latents (voices, D, n), as they come from the terrain."""
        parts: list[Tensor] = []
        for voice in range(x.shape[0]):
            parts.append(self.terrain_map(self._positions(x[voice])).T)
        return torch.stack(parts)

    @torch.jit.export
    def decode(self, x: Tensor) -> Tensor:
        """Latents (voices, D, n) -> audio (voices, channels, n * hop): the decoder alone."""
        self._room(x.shape[0])
        parts: list[Tensor] = []
        for voice in range(x.shape[0]):
            latents = x[voice].T
            parts.append(self._decode(voice, torch.where(torch.isfinite(latents), latents, self.mean)))
        return torch.stack(parts)

    @torch.jit.export
    def reset(self) -> int:
        """Forget the past."""
        for kept in (self.single_state, self.double_state, self.glided, self.gain, self.gains, self.frame):
            kept.cache.zero_()
        return 0
