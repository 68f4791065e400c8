"""Where in the song a block is, and whether that follows from where the last one ended."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from terrain_core.engine.events import Transport

DEFAULT_BPM = 120.0
LOWEST_SYNC_BPM = 20.0
"""Below it, Sync BPM means "as the host says"."""

JUMP_SECONDS = 0.005
JUMP_BEATS = 0.05
"""Smaller deviations are the host's rounding."""


class SongPosition:
    """Follows the host's transport, or runs on its own where the host has none (it then always plays)."""

    def __init__(self, host_rate_hz: float) -> None:
        self._rate = host_rate_hz
        self.reset(0.0)

    def reset(self, seconds: float) -> None:
        """Start anew at a position that holds unless the next block's transport knows better."""
        self.seconds = seconds
        self.beat = 0.0
        self.bpm = DEFAULT_BPM
        self.playing = True
        self._fresh = True
        self._stride_beats = 0.0  # how far the last block went

    def enter(self, transport: Transport | None, sync_bpm: float) -> bool:
        """Take in what the host says at a block's start. Returns whether the song starts or jumps here."""
        host = Transport(playing=True) if transport is None else transport
        started = self._fresh or (host.playing and not self.playing)
        host_bpm = _known(host.bpm)
        self.bpm = host_bpm if host_bpm is not None and host_bpm > 0 else _free_bpm(sync_bpm)
        if self._fresh:
            self.beat = self.seconds * self.bpm / 60
        beat = _known(host.beat)
        slip = self._slip_seconds(_known(host.seconds), beat)
        jumped = abs(slip) > JUMP_SECONDS
        self.seconds += slip
        self.beat = self.beat + slip * self.bpm / 60 if beat is None else beat
        self.playing = host.playing
        self._fresh = False
        return started or (self.playing and jumped)

    def _slip_seconds(self, seconds: float | None, beat: float | None) -> float:
        """How far the host's position is from the expected one.

        Seconds tell exactly. Beats alone do not: the tempo may have changed within the last block, up to double or down
        to nothing.
        """
        if seconds is not None:
            return seconds - self.seconds
        if beat is None or abs(beat - self.beat) <= max(JUMP_BEATS, self._stride_beats):
            return 0.0
        return (beat - self.beat) * 60 / self.bpm

    def beats_at(self, offsets: NDArray[np.int64]) -> NDArray[np.float64]:
        """Song position in quarter notes at offsets (n,) from the block's start; it stands still while the host does
        not play.
        """
        return self.beat + self._speed_beats * offsets.astype(np.float64)

    def leave(self, samples: int) -> None:
        """The block is over: where the next one is expected."""
        self._stride_beats = self._speed_beats * samples
        self.beat += self._stride_beats
        if self.playing:
            self.seconds += samples / self._rate

    @property
    def _speed_beats(self) -> float:
        """Quarter notes per host sample."""
        return self.bpm / 60 / self._rate if self.playing else 0.0


def _known(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _free_bpm(sync_bpm: float) -> float:
    return sync_bpm if sync_bpm >= LOWEST_SYNC_BPM else DEFAULT_BPM
