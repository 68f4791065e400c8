"""Ableton Link as a transport, for playing without a host: the tempo and the beat of whoever is in the session.

Needs the extra `link` (`pip install latent-terrain[link]`). Nothing here talks to the network but Link itself, and only
while a `LinkTransport` is open.
"""

from __future__ import annotations

import math
from types import TracebackType
from typing import Any

from terrain_core.engine import Transport
from terrain_core.errors import InputError

MICRO = 1e-6


class LinkTransport:
    """A member of the Link session; use it in a `with` statement."""

    def __init__(self, bpm: float = 120.0, *, beats_a_bar: int = 4, follow_start_and_stop: bool = False) -> None:
        """
        Args:
            bpm: the tempo while nobody else is there, 20 to 999.
            beats_a_bar: Link's quantum: bars begin together with those of the others.
            follow_start_and_stop: play only while the session plays; else always.
        Raises:
            InputError: the extra is not installed, or a tempo that Link does not have.
        """
        if not 20 <= bpm <= 999 or beats_a_bar < 1:
            raise InputError(
                f"a Link session of {bpm} bpm and {beats_a_bar} beats a bar, expected 20 to 999, 1 or more"
            )
        self._link: Any = _module().Link(bpm)
        self._link.startStopSyncEnabled = follow_start_and_stop
        self._follows = follow_start_and_stop
        self._bar = beats_a_bar
        self._begin: float | None = None

    def open(self) -> None:
        """Join the session."""
        self._link.enabled = True

    def __enter__(self) -> LinkTransport:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._link.enabled = False

    @property
    def peers(self) -> int:
        """How many others are in the session."""
        return int(self._link.numPeers())

    def set_tempo(self, bpm: float) -> None:
        """Change the session's tempo, for everybody."""
        state = self._link.captureSessionState()
        state.setTempo(bpm, self._link.clock().micros())
        self._link.commitSessionState(state)

    def transport(self, ahead: float = 0.0) -> Transport:
        """The session's transport.

        Args:
            ahead: seconds from now until the block is heard (the output's latency).
        """
        state = self._link.captureSessionState()
        at = self._link.clock().micros() + round(ahead / MICRO)
        beat = float(state.beatAtTime(at, self._bar))
        bar_beat = math.floor(beat / self._bar) * float(self._bar)
        playing = bool(state.isPlaying()) if self._follows else True
        return Transport(playing, beat, float(state.tempo()), bar_beat=bar_beat, meter=(self._bar, 4))


def _module() -> Any:
    try:
        import link
    except ImportError:
        raise InputError("Ableton Link is not installed: pip install latent-terrain[link]") from None
    return link
