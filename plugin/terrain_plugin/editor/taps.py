"""Two latent effects of the editor's own: one lets a hand hold latents, the other tells what was played."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from terrain_core.autoencoders.protocol import Latents
from terrain_core.engine.effects import Frames
from terrain_plugin.shown import Played


class Locks:
    """Holds single latents at values that a slider says; the others pass."""

    def __init__(self) -> None:
        self._held: Mapping[int, float] = MappingProxyType({})
        self.last: NDArray[np.float32] | None = None
        """The latents of the last frame before anything was held, shape (D,)."""

    @property
    def held(self) -> Mapping[int, float]:
        """Latent (from 0) -> its value."""
        return self._held

    def hold(self, latent: int, value: float | None) -> None:
        """Hold a latent at a value; None: where it is."""
        if value is None:
            value = self._held.get(latent, 0.0 if self.last is None else float(self.last[latent]))
        self._held = MappingProxyType({**self._held, latent: value})

    def release(self, latent: int | None = None) -> None:
        """Let one go, or all."""
        self._held = MappingProxyType({} if latent is None else {n: v for n, v in self._held.items() if n != latent})

    def process(self, latents: Latents, frames: Frames) -> Latents:
        """See `LatentEffect`."""
        if not len(latents):
            return latents
        self.last = latents[-1]
        held = self._held
        if not held:
            return latents
        out = latents.copy()
        for latent, value in held.items():
            if latent < out.shape[1]:
                out[:, latent] = value
        return out

    def reset(self) -> None:
        """There is no past to forget."""


class Probe:
    """Remembers the frames since it was last asked. It stands last, so that they are what is heard."""

    def __init__(self, on: bool = True) -> None:
        """
        Args:
            on: whether it remembers anything; may be changed at any time.
        """
        self.on = on
        self._frames: list[Played] = []

    def process(self, latents: Latents, frames: Frames) -> Latents:
        """See `LatentEffect`."""
        for row in range(len(latents) if self.on else 0):
            self._frames.append(Played(float(frames.beats[row]), frames.controls.values[row].copy(), latents[row]))
        return latents

    def take(self) -> list[Played]:
        """The frames since the last call."""
        taken, self._frames = self._frames, []
        return taken

    def reset(self) -> None:
        """Forget the past."""
        self._frames = []
