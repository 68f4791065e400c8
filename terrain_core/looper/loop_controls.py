"""The plugin's loop parameters: what their values, frame by frame, ask of which loop.

Switches work by their edges, knobs from the moment they move, both on the slot that is chosen then: a slot keeps what
it was set to while another is worked on. Every knob has a value that leaves the loop as it is, so that a loop whose
knobs were never moved is what its chain says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import numpy as np

from terrain_core.engine.controls import COLUMN, Controls
from terrain_core.looper.looper import (
    CHOICES,
    FASTEST,
    LONGEST,
    RANGES,
    SHORTEST,
    SILENT_DB,
    Action,
    Looper,
)
from terrain_core.looper.voice import Hold
from terrain_core.parameters import DEFAULTS, by_key

FINEST: Final = 192
"""Parts of a beat that Loop Length is rounded to: binary fractions and triplets of them."""

KNOBS: Final = (
    "loop_length",
    "loop_quantise",
    "loop_speed",
    "loop_reverse",
    "loop_feedback",
    "loop_mix",
    "loop_mute",
    "loop_blend",
    "loop_level",
)
SWITCHES: Final = (
    "loop_record",
    "loop_play",
    "loop_overdub",
    "loop_undo",
    "loop_redo",
    "loop_clear",
    "loop_action",
)
KEYS: Final = ("loop_slot", *KNOBS, *SWITCHES)
COLUMNS: Final = [COLUMN[key] for key in KEYS]
AT_REST: Final = tuple(float(DEFAULTS[key]) for key in KEYS)
NEUTRAL: Final = MappingProxyType({key: float(DEFAULTS[key]) for key in KNOBS})

ACTIONS: Final = tuple(Action)
"""Loop Action's choices after None."""


class Knob(NamedTuple):
    """A knob's new value."""

    key: str
    value: float


class Wish(NamedTuple):
    """What is asked of a slot (counted from 0) at a frame."""

    row: int
    slot: int
    what: Action | Hold | Knob


@dataclass
class LoopControls:
    """Follows the loop parameters. `seen` are their last values, in the order of `KEYS`."""

    seen: tuple[float, ...] = AT_REST
    _bytes: bytes = field(default=b"", repr=False)

    @property
    def slot(self) -> int:
        """The chosen slot, from 0."""
        return int(self.seen[0]) - 1

    @property
    def knobs(self) -> dict[str, float]:
        """The knobs' last values."""
        return dict(zip(KNOBS, self.seen[1 : 1 + len(KNOBS)], strict=True))

    def moved(self, controls: Controls) -> bool:
        """Whether any of them moves in these frames; quick where none does."""
        values = controls.values
        if len(values) == 1:
            return bytes(values[0, COLUMNS].data) != self._known()
        return bool((values[:, COLUMNS] != self.seen).any())

    def _known(self) -> bytes:
        if not self._bytes:
            self._bytes = np.array(self.seen).tobytes()
        return self._bytes

    def follow(self, controls: Controls) -> Iterator[Wish]:
        """The wishes of these frames, in their order."""
        before = self.seen
        for row, now in enumerate(controls.values[:, COLUMNS].tolist()):
            if (here := tuple(now)) == before:
                continue
            slot = int(now[0]) - 1
            for key, old, new in zip(KEYS[1:], before[1:], now[1:], strict=True):
                if new == old:
                    continue
                what = Knob(key, new) if key in NEUTRAL else SWITCHED[key](new)
                if what is not None:
                    yield Wish(row, slot, what)
            before = here
        self.seen, self._bytes = before, b""


def _once(action: Action) -> Callable[[float], Action | None]:
    return lambda value: action if value else None


SWITCHED: Final[Mapping[str, Callable[[float], Action | Hold | None]]] = {
    "loop_record": lambda value: Hold(Action.RECORD, bool(value)),
    "loop_play": lambda value: Action.PLAY if value else Action.STOP,
    "loop_overdub": lambda value: Hold(Action.OVERDUB, bool(value)),
    "loop_undo": _once(Action.UNDO),
    "loop_redo": _once(Action.REDO),
    "loop_clear": _once(Action.CLEAR),
    "loop_action": lambda value: ACTIONS[int(value) - 1] if value else None,
}
"""What a switch's new value asks for."""

LOW_HIGH: Final = {name: (low, high) for name, low, high in RANGES}


@dataclass
class Desk:
    """One looper's settings: its own (which automation and MIDI move), and the knobs over them."""

    looper: Looper
    own: dict[str, Any] = field(default_factory=dict)
    knobs: dict[str, float] = field(default_factory=lambda: dict(NEUTRAL))

    def turn(self, knob: str, value: float) -> dict[str, Any]:
        """A knob's new value; gives the settings that follow."""
        self.knobs[knob] = by_key(knob).clamp(value)
        return self._settings(*MOVED_BY[knob])

    def move(self, setting: str, value: float) -> dict[str, Any]:
        """Another value of a looper's own setting; gives the settings that follow."""
        if setting == "muted":
            self.own[setting] = value >= 0.5
        else:
            low, high = LOW_HIGH[setting]
            self.own[setting] = min(max(value, low), high)
        return self._settings(setting)

    def _settings(self, *names: str) -> dict[str, Any]:
        return {name: self._value(name) for name in names}

    def _value(self, name: str) -> Any:
        own = self.own.get(name, getattr(self.looper, name))
        if name not in COMBINED:
            return own
        return COMBINED[name](own, self.knobs)


MOVED_BY: Final[Mapping[str, tuple[str, ...]]] = {
    "loop_length": ("beats",),
    "loop_quantise": ("quantise",),
    "loop_speed": ("speed",),
    "loop_reverse": ("speed",),
    "loop_feedback": ("feedback",),
    "loop_mix": ("mix",),
    "loop_mute": ("muted",),
    "loop_blend": ("overdub",),
    "loop_level": ("level",),
}


def _beats(own: Fraction | None, knobs: Mapping[str, float]) -> Fraction | None:
    wanted = Fraction(knobs["loop_length"]).limit_denominator(FINEST)
    return min(max(wanted, SHORTEST), LONGEST) if wanted > 0 else own


def _speed(own: float, knobs: Mapping[str, float]) -> float:
    speed = own * knobs["loop_speed"] * (-1 if knobs["loop_reverse"] else 1)
    return min(max(speed, -FASTEST), FASTEST)


def _level(own: float, knobs: Mapping[str, float]) -> float:
    knob = knobs["loop_level"]
    if knob <= SILENT_DB or own <= SILENT_DB:
        return SILENT_DB
    low, high = LOW_HIGH["level"]
    return min(max(own + knob, low), high)


COMBINED: Final[Mapping[str, Callable[[Any, Mapping[str, float]], Any]]] = {
    "beats": _beats,
    "quantise": lambda own, knobs: (
        CHOICES["quantise"][int(knobs["loop_quantise"]) - 1] if knobs["loop_quantise"] else own
    ),
    "speed": _speed,
    "feedback": lambda own, knobs: own * knobs["loop_feedback"],
    "mix": lambda own, knobs: own * knobs["loop_mix"],
    "muted": lambda own, knobs: bool(own) != bool(knobs["loop_mute"]),
    "overdub": lambda own, knobs: knobs["loop_blend"] or own,
    "level": _level,
}
"""What a setting becomes of the looper's own value and its knobs."""
