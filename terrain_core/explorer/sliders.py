"""Every latent as a slider: ranges from the corpus, chance by temperature, zero, mean, locks, principal directions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from terrain_core.errors import InputError
from terrain_core.explorer.space import LatentSpace, Vectors


@dataclass(frozen=True)
class Sliders:
    """Positions of the sliders. A value: moving one gives others, and what is locked stays, whatever is done.

    No position is rounded or limited: the ranges are what a slider shows, not what a latent may be.

    Attributes:
        space: whose ranges they have.
        values: one for each slider; latents, or positions along the principal directions, in standard deviations.
        locked: indices of the sliders that stay.
        principal: along the principal directions (the widest first) rather than latent by latent.
        rest: (D,), what a latent has outside the principal directions; zeros otherwise.
    """

    space: LatentSpace
    values: Vectors
    locked: frozenset[int] = frozenset()
    principal: bool = False
    rest: Vectors = field(default_factory=lambda: np.zeros(0))

    @classmethod
    def of(cls, space: LatentSpace, latent: ArrayLike | None = None, *, principal: bool = False) -> Sliders:
        """Sliders that show a latent (D,); the mean if None."""
        target = space.mean if latent is None else np.asarray(latent, np.float64)
        if target.shape != (space.latent_size,) or not np.isfinite(target).all():
            raise InputError(f"a latent of shape {target.shape}: expected {space.latent_size} finite numbers")
        if not principal:
            return cls(space, target.copy(), rest=np.zeros(space.latent_size))
        along = space.whitened(target)
        return cls(space, along, principal=True, rest=target - space.latents(along))

    def __len__(self) -> int:
        return len(self.values)

    @property
    def latent(self) -> NDArray[np.float32]:
        """(D,): what the sliders say."""
        if self.principal:
            return (self.space.latents(self.values) + self.rest).astype(np.float32)
        return self.values.astype(np.float32)

    @property
    def ranges(self) -> Vectors:
        """(sliders, 2): low and high, between which 98 % of the corpus lie."""
        if not self.principal:
            return np.stack([self.space.low, self.space.high], axis=1)
        return np.tile([-2.5, 2.5], (len(self), 1))

    def move(self, index: int, value: float) -> Sliders:
        """With one slider elsewhere.

        Raises:
            InputError: no such slider, a locked one, or not a number.
        """
        self._require(index)
        if index in self.locked:
            raise InputError(f"slider {index} is locked: unlock it first")
        if not np.isfinite(value):
            raise InputError(f"slider {index} cannot be at {value}: expected a finite number")
        values = self.values.copy()
        values[index] = value
        return replace(self, values=values)

    def lock(self, indices: Iterable[int]) -> Sliders:
        """With these locked, too."""
        wanted = frozenset(indices)
        for index in wanted:
            self._require(index)
        return replace(self, locked=self.locked | wanted)

    def unlock(self, indices: Iterable[int] | None = None) -> Sliders:
        """With these free again; all if None."""
        return replace(self, locked=frozenset() if indices is None else self.locked - frozenset(indices))

    def zero(self) -> Sliders:
        """All that are free at 0."""
        return self._with(np.zeros(len(self)))

    def mean(self) -> Sliders:
        """All that are free at the corpus' mean."""
        return self._with(np.zeros(len(self)) if self.principal else self.space.mean)

    def random(self, temperature: float = 1.0, seed: int = 0) -> Sliders:
        """All that are free as the corpus has them by chance (`LatentSpace.draw`).

        Drawn as a whole and then kept where they are free: a slider's place does not depend on what else is locked.
        """
        drawn = self.space.draw(1, seed, temperature)[0]
        return self._with(self.space.whitened(drawn) if self.principal else drawn)

    def _with(self, values: ArrayLike) -> Sliders:
        free = np.array([index not in self.locked for index in range(len(self))])
        return replace(self, values=np.where(free, np.asarray(values, np.float64), self.values))

    def _require(self, index: int) -> None:
        if not 0 <= index < len(self):
            raise InputError(f"there is no slider {index}: expected 0..{len(self) - 1}")
