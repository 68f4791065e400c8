"""Where in the song a block is, and whether that follows from where the last one ended."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from terrain_core.engine.events import Transport

DEFAULT_BPM = 120.0
LOWEST_SYNC_BPM = 20.0
"""Below it, Sync BPM means "as the host says"."""

SYNC_DECIMALS = 3
"""Of Sync BPM: hosts hold parameters as float32, and 120 bpm should be 120."""

FASTEST_TAP = 400.0
"""Beats a minute."""

TAPS = 4
"""Intervals that a tapped tempo is the mean of."""

FARTHEST = 1e9
"""Beats, seconds and beats a minute beyond which a host talks nonsense."""

SLOWEST = 1e-3
"""Beats a minute; what is slower is no tempo."""

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

    def enter(self, transport: Transport | None, sync_bpm: float, tapped_bpm: float | None = None) -> bool:
        """Take in what the host says at a block's start. Returns whether the song starts or jumps here.

        Where the host says no tempo, it is Sync BPM, or what was tapped, or 120. Where it renders and stands still all
        the same (pedalboard's does), and Sync BPM is set, the song runs on its own too.
        """
        stands = transport is not None and transport.offline and not transport.playing
        alone = transport is None or (stands and sync_bpm >= LOWEST_SYNC_BPM)
        host = Transport(playing=True) if transport is None or alone else transport
        started = self._fresh or (host.playing and not self.playing)
        host_bpm = _known(host.bpm)
        self.bpm = host_bpm if host_bpm is not None and host_bpm >= SLOWEST else _free_bpm(sync_bpm, tapped_bpm)
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
    return value if value is not None and abs(value) <= FARTHEST else None  # NaN is not


def _free_bpm(sync_bpm: float, tapped_bpm: float | None) -> float:
    if sync_bpm >= LOWEST_SYNC_BPM:
        return round(sync_bpm, SYNC_DECIMALS)
    return DEFAULT_BPM if tapped_bpm is None else tapped_bpm


class TapTempo:
    """The tempo of a switch that is switched on in the beat: the mean of the last intervals."""

    def __init__(self, host_rate_hz: float) -> None:
        self._rate = host_rate_hz
        self._now = 0  # samples, of the block's start
        self._on = False
        self._taps: list[int] = []

    def take_in(self, points: Iterable[tuple[int, float]]) -> None:
        """The switch's values in this block, each (offset, value)."""
        for offset, value in points:
            on = value >= 0.5
            if on and not self._on:
                self._tap(self._now + offset)
            self._on = on

    def _tap(self, sample: int) -> None:
        if self._taps and not 60 / FASTEST_TAP <= (sample - self._taps[-1]) / self._rate <= 60 / LOWEST_SYNC_BPM:
            self._taps.clear()  # a new beginning
        self._taps = [*self._taps[-TAPS:], sample]

    def go_on(self, samples: int) -> None:
        """The block is over."""
        self._now += samples

    @property
    def bpm(self) -> float | None:
        """Beats a minute; None before the second tap."""
        if len(self._taps) < 2:
            return None
        return 60 * self._rate * (len(self._taps) - 1) / (self._taps[-1] - self._taps[0])
