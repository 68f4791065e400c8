"""Latent effects: latents in, latents out, at the frame rate.

Each keeps what it needs from frame to frame, so that any cutting of a trajectory into runs of frames gives the same
result. Means and standard deviations are the autoencoder's (`latent_mean`, `latent_std`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from terrain_core.autoencoders.protocol import Autoencoder, Latents
from terrain_core.engine.controls import COLUMN, Controls
from terrain_core.parameters import LATENT_KNOBS, PressureTarget


class TimedMessage(NamedTuple):
    """A MIDI message at a song position in beats; `row` is the first frame at which it has come."""

    row: int
    beat: float
    data: bytes


@dataclass(frozen=True)
class Frames:
    """A run of consecutive frames, and what is known at their starts.

    Attributes:
        first: number of the first frame, counted from the song's beginning where the song position is known; may be
            negative.
        controls: every parameter at every frame.
        beats: (frames,) song position in quarter notes.
        incoming: (frames, D) latents of incoming audio; None where there is none.
        bars: (frames, 2) the beat at which each frame's bar began, and the bar's length in quarter notes; None where
            that is not known.
        loudness: (frames,) how loud each frame is before Level: Pressure where it goes to Level, 0 where the source is
            not there; None for 1.
        heard: (frames,) the peak of the incoming audio that each frame was encoded of; None where there is none.
        midi: messages that came since the frame before.
    """

    first: int
    controls: Controls
    beats: NDArray[np.float64]
    incoming: Latents | None = None
    bars: NDArray[np.float64] | None = None
    loudness: NDArray[np.float64] | None = None
    heard: NDArray[np.float64] | None = None
    midi: Sequence[TimedMessage] = ()

    def __len__(self) -> int:
        return len(self.controls)


class LatentEffect(Protocol):
    """What stands between source and decoder. Called on the audio thread's behalf: quick, and never raising for odd
    values.

    An effect may also have `loudness`, (frames,) after each `process`: what becomes of `Frames.loudness`; and `claims`,
    which says of a MIDI message (bytes) whether the effect keeps it from being played.
    """

    def process(self, latents: Latents, frames: Frames) -> Latents:
        """The next frames: shape (frames, D) in and out. The input must not be changed in place."""
        ...

    def reset(self) -> None:
        """Forget the past."""
        ...


class Glide:
    """Latents approach their target exponentially: after the time constant, 63 % of the way is done.

    y[k] = y[k-1] + (1 - exp(-T / glide)) (x[k] - y[k-1]), T being a frame's length. In the latent domain rather than in
    coordinates, so that a jump across the terrain goes straight to the new sound instead of passing through all that
    lies between.
    """

    def __init__(self, frame_rate: float) -> None:
        self._frame_ms = 1000 / frame_rate
        self._last: Latents | None = None

    def process(self, latents: Latents, frames: Frames) -> Latents:
        if not len(latents):
            return latents
        if frames.controls.steady("glide") != 0:
            latents = self._approach(latents, frames.controls["glide"])
        self._last = latents[-1]
        return latents

    def _approach(self, targets: Latents, glide_ms: NDArray[np.float64]) -> Latents:
        with np.errstate(divide="ignore", over="ignore"):
            steps = -np.expm1(-self._frame_ms / glide_ms)  # 1 where there is no glide
        out = np.empty_like(targets)
        last = targets[0] if self._last is None else self._last
        for row, step in enumerate(steps.astype(np.float32)):
            last = last + step * (targets[row] - last)
            out[row] = last
        return out

    def reset(self) -> None:
        self._last = None


class OffsetAndScale:
    """Knobs for the first eight latents: mean + (z - mean) * scale + offset * std."""

    def __init__(self, autoencoder: Autoencoder) -> None:
        knobs = min(LATENT_KNOBS, autoencoder.latent_size)
        self._mean = autoencoder.latent_mean[:knobs]
        self._std = autoencoder.latent_std[:knobs]
        # The knobs of each kind stand side by side in the table, scales after offsets.
        self._offsets = slice(COLUMN["offset_1"], COLUMN["offset_1"] + knobs)
        self._scales = slice(COLUMN["scale_1"], COLUMN["scale_1"] + knobs)

    def process(self, latents: Latents, frames: Frames) -> Latents:
        controls = frames.controls
        if controls.rest_at(self._offsets, 0.0) and controls.rest_at(self._scales, 1.0):
            return latents
        offset, scale = controls.values[:, self._offsets], controls.values[:, self._scales]
        knobs = len(self._mean)
        out = latents.copy()
        out[:, :knobs] = self._mean + (latents[:, :knobs] - self._mean) * scale + offset * self._std
        return out

    def reset(self) -> None:
        """There is no past to forget."""


class Intensity:
    """Distance from the latent mean: mean + (z - mean) * intensity, times pressure where Pressure To says so."""

    def __init__(self, autoencoder: Autoencoder) -> None:
        self._mean = autoencoder.latent_mean

    def process(self, latents: Latents, frames: Frames) -> Latents:
        controls = frames.controls
        target = controls.steady("pressure_target")
        if controls.steady("intensity") == 1 and target is not None and target != PressureTarget.INTENSITY:
            return latents
        pressed = controls["pressure_target"] == PressureTarget.INTENSITY
        intensity = controls["intensity"] * np.where(pressed, controls["pressure"], 1.0)
        moved: Latents = self._mean + (latents - self._mean) * intensity[:, np.newaxis].astype(np.float32)
        return moved

    def reset(self) -> None:
        """There is no past to forget."""


class Noise:
    """Gaussian noise, fresh at every frame, of `noise` standard deviations.

    Drawn from (seed, frame number) alone: any frame can be drawn at any time, and a song position always sounds the
    same.
    """

    def __init__(self, autoencoder: Autoencoder, seed: int) -> None:
        self._std = autoencoder.latent_std
        self._seed = seed

    def process(self, latents: Latents, frames: Frames) -> Latents:
        if frames.controls.steady("noise") == 0:
            return latents
        amount = frames.controls["noise"]
        noise = normal_by_frame(self._seed, frames.first, len(frames), latents.shape[1])
        moved: Latents = latents + amount[:, np.newaxis].astype(np.float32) * self._std * noise
        return moved

    def reset(self) -> None:
        """There is no past to forget."""


WORDS_PER_BLOCK = 4
"""64-bit words that Philox gives for one value of its counter."""


def normal_by_frame(seed: int, first: int, frames: int, size: int) -> NDArray[np.float32]:
    """Standard normal numbers (frames, size) that depend on the seed and each frame's number only.

    Philox is a random function of a counter (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", 2011): each
    frame has a stretch of the counter to itself. Each 64-bit word makes two normals by Box and Muller's method.
    """
    blocks = -(-size // (2 * WORDS_PER_BLOCK))  # per frame
    generator = np.random.Philox(key=seed, counter=(first * blocks) % (1 << 256))
    words = generator.random_raw(frames * blocks * WORDS_PER_BLOCK)
    radius = np.sqrt(-2 * np.log(((words >> np.uint64(32)) + 1.0) / 2**32))  # of a uniform number in (0, 1]
    angle = (words & np.uint64(0xFFFF_FFFF)) * (2 * np.pi / 2**32)
    pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
    return pairs.reshape(frames, -1)[:, :size].astype(np.float32)


def standard_effects(autoencoder: Autoencoder, seed: int) -> list[LatentEffect]:
    """The effects that every engine has, in their order.

    Glide comes first, so that it smooths the gesture and leaves the knobs after it immediate; noise comes last, so that
    nothing dulls it.
    """
    return [
        Glide(autoencoder.sample_rate / autoencoder.hop),
        OffsetAndScale(autoencoder),
        Intensity(autoencoder),
        Noise(autoencoder, seed),
    ]
