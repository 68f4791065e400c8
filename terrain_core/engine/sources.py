"""Where latents come from: the terrain, the sound map, or incoming audio."""

from __future__ import annotations

import math
from collections import deque
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from terrain_core.autoencoders.protocol import Audio, Autoencoder, Latents
from terrain_core.engine.controls import COLUMN, Controls
from terrain_core.engine.effects import Frames
from terrain_core.engine.resampling import Resampler
from terrain_core.errors import InputError
from terrain_core.parameters import Blend, PressureTarget, Source
from terrain_core.sound_map import Blending, BlendingInTime, SoundMap

MIDDLE = 0.5
"""Where control dimensions stay that no parameter moves (the fourth and on)."""


BLENDING = slice(COLUMN["blend"], COLUMN["blend_radius"] + 1)
"""The controls' columns that say how the map blends; all 0: as it says itself."""


class TerrainLike(Protocol):
    """What the engine needs of a `terrain_core.terrain.Terrain`."""

    @property
    def control_size(self) -> int:
        """C"""
        ...

    @property
    def latent_size(self) -> int:
        """D"""
        ...

    def at(self, unit: NDArray[np.float64]) -> Latents:
        """Latents (n, D) at positions (n, C), given as 0..1 of the bounds."""
        ...


class EncoderStream(Protocol):
    """An encoder with state: audio in, latents out. What an autoencoder's `stream_encoder()` gives, where it has
    one.
    """

    delay: int
    """Samples of audio beyond a frame's end that must be known before its latents come out."""

    def encode(self, audio: Audio) -> Latents:
        """Take in the next audio (channels, samples), any number of samples; give the latents (frames, D) that have
        become known.
        """
        ...

    def reset(self) -> None:
        """Forget the past."""
        ...


def stream_encoder(autoencoder: Autoencoder) -> EncoderStream | None:
    """A fresh streaming encoder; None if the autoencoder has none."""
    if not hasattr(autoencoder, "stream_encoder"):
        return None
    try:
        stream: EncoderStream = autoencoder.stream_encoder()
    except InputError:  # its file came without an encoder
        return None
    return stream


def unit_coordinates(controls: Controls, control_size: int) -> NDArray[np.float64]:
    """(frames, C) positions in 0..1: X, Y, Z (or pressure in its place), then the middle of whatever dimensions are
    left.
    """
    coordinates = np.full((len(controls), control_size), MIDDLE)
    for dimension, values in enumerate((controls["x"], controls["y"], _third(controls))[:control_size]):
        coordinates[:, dimension] = values
    return coordinates


def _third(controls: Controls) -> NDArray[np.float64]:
    target = controls.steady("pressure_target")
    if target is not None:
        return controls["pressure"] if target == PressureTarget.Z else controls["z"]
    return np.where(controls["pressure_target"] == PressureTarget.Z, controls["pressure"], controls["z"])


class Sources:
    """All of an instrument's sources behind the one parameter that chooses among them."""

    def __init__(
        self, autoencoder: Autoencoder, terrain: TerrainLike | None, sound_map: SoundMap | None, *, hears: bool
    ) -> None:
        """`hears`: whether incoming audio gets encoded."""
        self._mean = autoencoder.latent_mean
        self._terrain = terrain
        self._sound_map = sound_map
        if sound_map is not None:
            sound_map.prepare()  # not in the middle of a note
        self._reasons = _missing(autoencoder, terrain, sound_map, hears)
        self._available = np.array([source not in self._reasons for source in Source])

    def prepare(self, values: NDArray[np.float64]) -> None:
        """Make ahead what these control values (one a parameter) will want, not in the middle of a note."""
        if self._sound_map is not None and values[COLUMN["blend"]] == Blend.NATURAL:
            self._sound_map.prepare(natural=True)

    def problem(self, source: Source) -> str:
        """Why a source cannot be played, fit to be shown to a musician; empty if it can."""
        return self._reasons.get(source, "")

    def playable(self, controls: Controls) -> NDArray[np.bool_] | bool:
        """(frames,): whether the chosen source is there; True if it is at all frames. Where it is not, the latents mean
        nothing.
        """
        playable: NDArray[np.bool_] = self._available[controls["source"].astype(np.intp)]
        return True if playable.all() else playable

    def latents(self, frames: Frames) -> Latents:
        """(frames, D), a source's own values: they may be of any size, even NaN."""
        controls = frames.controls
        steady = controls.steady("source")
        if steady is not None and self._available[int(steady)]:
            return self._of(Source(int(steady)), controls, slice(None), frames.incoming)
        chosen = controls["source"]
        latents = np.repeat(self._mean[np.newaxis], len(frames), axis=0)
        for source in set(chosen.tolist()) - set(self._reasons):
            rows = chosen == source
            latents[rows] = self._of(Source(int(source)), Controls(controls.values[rows]), rows, frames.incoming)
        return latents

    def _of(
        self, source: Source, controls: Controls, rows: NDArray[np.bool_] | slice, incoming: Latents | None
    ) -> Latents:
        if source is Source.TERRAIN and self._terrain is not None:
            return self._terrain.at(unit_coordinates(controls, self._terrain.control_size))
        if source is Source.MAP and self._sound_map is not None:
            return _on_map(self._sound_map, controls)
        return np.repeat(self._mean[np.newaxis], len(controls), axis=0) if incoming is None else incoming[rows]


def _on_map(sound_map: SoundMap, controls: Controls) -> Latents:
    neighbours = np.where(controls["snap"] > 0, 1, controls["neighbours"]).astype(np.int64)
    points = np.stack([controls["x"], controls["y"]], axis=1)
    return sound_map.blend(points, neighbours, _blending(sound_map.blending, controls))


def _blending(own: Blending, controls: Controls) -> BlendingInTime | None:
    """What Blend, Blend Power and Blend Radius say, frame by frame; None where they leave it to the map."""
    if controls.rest_at(BLENDING, 0.0):
        return None
    kind, power, radius = controls["blend"], controls["blend_power"], controls["blend_radius"]
    own_radius = math.inf if own.radius is None else own.radius
    return BlendingInTime(
        np.where(kind == Blend.OWN, own.method == "natural", kind == Blend.NATURAL),
        np.where(power > 0, power, own.power),
        np.where(radius > 0, radius, own_radius),
    )


def _missing(
    autoencoder: Autoencoder, terrain: TerrainLike | None, sound_map: SoundMap | None, hears: bool
) -> dict[Source, str]:
    """The sources that an instrument does not have, and what to say about each."""
    reasons = {}
    if terrain is None:
        reasons[Source.TERRAIN] = "this instrument has no terrain; set Source to Map"
    if sound_map is None:
        reasons[Source.MAP] = "this instrument has no sound map; set Source to Terrain"
    if not hears:
        reasons[Source.INPUT] = (
            f"there is no incoming audio that the autoencoder {autoencoder.name} could encode; "
            "set Source to Terrain or Map"
        )
    return reasons


class InputEncoder:
    """Incoming host audio to latents, one frame at a time.

    A frame is complete only when its last sample has come, and resampler and encoder hold some back: the latents used
    at a frame's start are those of the audio `delay_frames` frames earlier, always the same number. Before the first is
    there, they are the mean.
    """

    def __init__(self, autoencoder: Autoencoder, stream: EncoderStream, host_rate_hz: float) -> None:
        self._channels = autoencoder.channels
        self._mean = autoencoder.latent_mean
        self._hop = autoencoder.hop
        self._stream = stream
        self._resampler = Resampler(host_rate_hz, autoencoder.sample_rate, autoencoder.channels)
        self.delay_frames = 1 + math.ceil((self._resampler.latency + stream.delay) / autoencoder.hop)
        self.reset()

    def reset(self) -> None:
        """Forget the past."""
        self._stream.reset()
        self._resampler.reset()
        self._latents = deque([self._mean] * self.delay_frames)
        self._peaks = deque([0.0] * self.delay_frames)
        self._tail = np.zeros(0, np.float32)  # of the frame that is not whole yet, as loud as its loudest channel

    def feed(self, audio: Audio) -> None:
        """Take in host audio (channels, samples), channels being whatever the host has; NaN and infinity count as
        silence.
        """
        audio = np.nan_to_num(audio, nan=0.0, posinf=0.0, neginf=0.0)
        resampled = self._resampler.process(self._to_model_channels(audio))
        self._latents.extend(self._stream.encode(resampled))
        loud = np.concatenate([self._tail, np.abs(resampled).max(axis=0)])
        whole = len(loud) // self._hop
        self._peaks.extend(loud[: whole * self._hop].reshape(whole, self._hop).max(axis=1).tolist())
        self._tail = loud[whole * self._hop :]

    def next_frame(self) -> tuple[NDArray[np.float32], float]:
        """The latent (D,) for the frame that starts now, and the peak of the audio that it was made of."""
        # The audio is known before its latents are: the two stay in step by their numbers.
        return self._latents.popleft(), self._peaks.popleft()

    def _to_model_channels(self, audio: Audio) -> Audio:
        if audio.shape[0] == self._channels:
            return audio
        return np.repeat(audio.mean(axis=0, keepdims=True, dtype=np.float32), self._channels, axis=0)
