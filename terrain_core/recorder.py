"""Recording latents or coordinates live, frame by frame: the job of nn.terrain.record."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from terrain_core.errors import InputError
from terrain_core.terrain.network import LIMITS, checked_setting
from terrain_core.trajectories.kinds import LatentTrajectory, SpatialTrajectory

SIZES = {"latents": "latent_size", "coordinates": "control_size"}


class Recorder:
    """Collects vectors into trajectories.

    `start` begins a trajectory, `push` adds to it, `stop` ends it; `poke` records a trajectory of a single vector.
    The memory of a trajectory is taken at `start`, so `push` may be called from where the engine makes its frames.
    """

    def __init__(self, size: int, kind: Literal["latents", "coordinates"] = "latents", *, limit: int = 2048) -> None:
        """
        Args:
            size: of a vector: D up to 1024 for latents, C up to 6 for coordinates.
            kind: what the trajectories will be.
            limit: vectors per trajectory, 1..2^20; recording stops by itself when it is reached.
        """
        if kind not in SIZES:
            raise InputError(f"cannot record {kind!r}; expected {' or '.join(SIZES)}")
        if not 1 <= limit <= 1 << 20:
            raise InputError(f"limit is {limit}; expected 1..{1 << 20} vectors per trajectory")
        self.size = int(checked_setting(SIZES[kind], size, LIMITS[SIZES[kind]]))
        self.kind = kind
        self.limit = limit
        self._finished: list[NDArray[Any]] = []
        self._current: NDArray[Any] | None = None
        self._filled = 0

    @property
    def recording(self) -> bool:
        return self._current is not None

    @property
    def recorded(self) -> int:
        """Vectors in the trajectory that is being recorded; 0 if none is."""
        return self._filled

    def __len__(self) -> int:
        """Finished trajectories."""
        return len(self._finished)

    def start(self) -> None:
        """Begin a trajectory; one that is being recorded is finished first."""
        self.stop()
        self._current = np.empty((self.limit, self.size), np.float32 if self.kind == "latents" else np.float64)

    def push(self, vectors: ArrayLike) -> bool:
        """Add vectors (n, size) if a trajectory is being recorded, as many as the limit leaves room for.

        Returns:
            Whether recording goes on; False when the limit ended it, or when none was going on.
        """
        rows = self._checked(vectors)
        if self._current is None:
            return False
        taken = min(len(rows), self.limit - self._filled)
        self._current[self._filled : self._filled + taken] = rows[:taken]
        self._filled += taken
        if self._filled == self.limit:
            self.stop()
        return self.recording

    def stop(self) -> None:
        """End the trajectory; an empty one leaves nothing behind."""
        if self._current is not None and self._filled:
            self._finished.append(self._current[: self._filled].copy())
        self._current, self._filled = None, 0

    def poke(self, vector: ArrayLike) -> None:
        """Record one vector (size,) as a trajectory of its own; refused while another is being recorded."""
        if self.recording:
            raise InputError("a trajectory is being recorded; stop it before poking single points")
        self._finished.append(self._checked(np.asarray(vector)[np.newaxis]))

    def clear(self) -> None:
        """Forget everything, the trajectory that is being recorded too."""
        self._finished.clear()
        self._current, self._filled = None, 0

    def latent_trajectories(self, frame_rate: float | None = None) -> list[LatentTrajectory]:
        """The finished trajectories, named "1", "2", …; InputError if coordinates are recorded."""
        self._require("latents")
        return [LatentTrajectory(str(number), rows, frame_rate) for number, rows in enumerate(self._finished, start=1)]

    def spatial_trajectories(self) -> list[SpatialTrajectory]:
        """The finished trajectories, named "1", "2", …; InputError if latents are recorded."""
        self._require("coordinates")
        return [SpatialTrajectory(str(number), rows) for number, rows in enumerate(self._finished, start=1)]

    def _require(self, kind: str) -> None:
        if self.kind != kind:
            raise InputError(f"this recorder holds {self.kind}, not {kind}")

    def _checked(self, vectors: ArrayLike) -> NDArray[Any]:
        rows = np.asarray(vectors, np.float32 if self.kind == "latents" else np.float64)
        if rows.ndim != 2 or rows.shape[1] != self.size:
            raise InputError(f"vectors of shape {rows.shape}; expected (n, {self.size})")
        if not np.isfinite(rows).all():
            raise InputError("vectors hold NaN or infinity")
        return rows
