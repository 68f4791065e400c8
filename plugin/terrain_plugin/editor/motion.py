"""Where the hand is: a pointer with glide, or a trajectory that is played back."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from terrain_core.trajectories import arc_lengths

MODES: Final = ("once", "loop", "ping-pong")


@dataclass(frozen=True)
class Trajectory:
    """A path in the unit square, shape (points, 2), with a name for people."""

    id: int
    name: str
    points: NDArray[np.float64]

    def as_json(self) -> dict[str, Any]:
        """For the page and for the library's file."""
        return {"id": self.id, "name": self.name, "points": np.round(self.points, 5).tolist()}


@dataclass(frozen=True)
class Way:
    """How a trajectory is played.

    Attributes:
        mode: "once", "loop" or "ping-pong".
        seconds: from end to end at speed 1, where `beats` is 0.
        beats: from end to end at speed 1, locked to the song; 0: not locked.
        speed: above 0.
        reverse: from its end to its beginning.
    """

    mode: str = "loop"
    seconds: float = 4.0
    beats: float = 0.0
    speed: float = 1.0
    reverse: bool = False


class Playback:
    """A trajectory that is being played, at constant speed along its length.

    Its place follows from the time since it began (or the song's beat), nothing is added up: a loop of four beats is
    where it began after four beats, always.
    """

    def __init__(self, trajectory: Trajectory, way: Way, seconds: float, beat: float) -> None:
        """Begins at a time of the session, and a beat."""
        self.trajectory = trajectory
        self.way = way
        self._lengths = arc_lengths(trajectory.points)
        self._from_seconds, self._from_beat, self._phase = seconds, beat, 0.0

    def change(self, way: Way, seconds: float, beat: float) -> None:
        """Go on in another way, from where it is."""
        self._phase = self._turns(seconds, beat)
        self._from_seconds, self._from_beat = seconds, beat
        self.way = replace(way)

    def ended(self, seconds: float, beat: float) -> bool:
        """Whether it was to be played once and is over."""
        return self.way.mode == "once" and self._turns(seconds, beat) >= 1

    def at(self, seconds: float, beat: float) -> tuple[float, float]:
        """X and Y in 0..1."""
        turns = self._turns(seconds, beat)
        if self.way.mode == "once":
            part = min(max(turns, 0.0), 1.0)
        elif self.way.mode == "loop":
            part = turns % 1.0
        else:
            part = 1 - abs(turns % 2.0 - 1)
        if self.way.reverse:
            part = 1 - part
        along = part * self._lengths[-1]
        x, y = (float(np.interp(along, self._lengths, axis)) for axis in self.trajectory.points.T)
        return x, y

    def _turns(self, seconds: float, beat: float) -> float:
        if self.way.beats > 0:
            return self._phase + (beat - self._from_beat) / self.way.beats * self.way.speed
        return self._phase + (seconds - self._from_seconds) / self.way.seconds * self.way.speed


class Cursor:
    """Approaches where the hand points exponentially: after the time constant, 63 % of the way is done."""

    def __init__(self) -> None:
        self.target = np.array([0.5, 0.5])
        self.place = self.target.copy()
        self.glide_ms = 0.0

    def point_at(self, x: float, y: float) -> None:
        """Where to go, in 0..1."""
        self.target = np.array([x, y])

    def go_on(self, seconds: float) -> tuple[float, float]:
        """The place after some time more."""
        step = 1.0 if self.glide_ms <= 0 else -math.expm1(-1000 * seconds / self.glide_ms)
        self.place = self.place + (self.target - self.place) * step
        if np.abs(self.target - self.place).max() < 1e-4:
            self.place = self.target.copy()
        x, y = self.place.tolist()
        return x, y
