"""How an instrument of one-shots answers notes: its pads, voices and envelope. Part of the instrument file."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Self

from terrain_core.errors import InputError

MOST_VOICES: Final = 128


@dataclass(frozen=True)
class Pad:
    """A key with a sound of its own.

    Attributes:
        key: MIDI note number.
        x, y: where its sound is, 0..1, while X and Y rest in their middle.
        name: what a musician calls it.
        choke: number of a group in which a new hit cuts off the others; 0 for none.
        tune: semitones.
        gain_db: dB.
        decay: seconds in which it falls by another 60 dB; 0 for as it is.
    """

    key: int
    x: float
    y: float
    name: str = ""
    choke: int = 0
    tune: float = 0.0
    gain_db: float = 0.0
    decay: float = 0.0

    def __post_init__(self) -> None:
        _whole("a pad's key", self.key, 0, 127)
        _whole("a pad's choke", self.choke, 0, 127)
        for name, low, high in (("x", 0, 1), ("y", 0, 1), ("tune", -48, 48), ("gain_db", -60, 12), ("decay", 0, 60)):
            _number(f"the pad on key {self.key}: {name}", getattr(self, name), low, high)
        if not isinstance(self.name, str):
            raise InputError(f"the pad on key {self.key}: name is {self.name!r}: expected a text")


@dataclass(frozen=True)
class Kit:
    """What notes do.

    Attributes:
        pads: keys with a sound of their own. Any other key plays what X and Y point to.
        voices: hits at once; one more, and the oldest fades out within 3 ms.
        reach: how far X and Y move a pad's sound, from end to end, in map widths.
        root: the key at which sounds without a pad have their own pitch; -1 for all keys alike.
        attack: seconds of fade-in.
        gated: whether a hit ends with its note, within `release` seconds; else it rings out.
        velocity: 0 for none, 1 for the square of velocity / 127, 2 for its fourth power.
        variation: standard deviations by which the rounds of a pad differ.
        rounds: different hits of a pad before the first comes again.
    """

    pads: tuple[Pad, ...] = ()
    voices: int = 16
    reach: float = 0.25
    root: int = -1
    attack: float = 0.0
    gated: bool = False
    release: float = 0.05
    velocity: float = 1.0
    variation: float = 0.0
    rounds: int = 4

    def __post_init__(self) -> None:
        _whole("voices", self.voices, 1, MOST_VOICES)
        _whole("rounds", self.rounds, 1, 64)
        _whole("root", self.root, -1, 127)
        for name, low, high in (("reach", 0, 2), ("attack", 0, 10), ("release", 0.001, 10), ("velocity", 0, 4)):
            _number(name, getattr(self, name), low, high)
        _number("variation", self.variation, 0, 4)
        if not isinstance(self.gated, bool):
            raise InputError(f"gated is {self.gated!r}: expected true or false")
        keys = [pad.key for pad in self.pads]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise InputError(f"two pads are on key {twice[0]}: expected one pad for a key")

    @cached_property
    def by_key(self) -> dict[int, Pad]:
        return {pad.key: pad for pad in self.pads}

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return dataclasses.asdict(self) | {"pads": [dataclasses.asdict(pad) for pad in self.pads]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Names that this version does not know are left out.

        Raises:
            InputError: a value is out of its range, or is no object where one belongs.
        """
        pads = values.get("pads", [])
        if not isinstance(pads, list) or not all(isinstance(pad, dict) for pad in pads):
            raise InputError("pads is no list of objects")
        known = {f.name for f in dataclasses.fields(cls)} - {"pads"}
        names = {f.name for f in dataclasses.fields(Pad)}
        try:
            parts = tuple(Pad(**{key: value for key, value in pad.items() if key in names}) for pad in pads)
        except TypeError:
            raise InputError("a pad lacks its key, x or y") from None
        return cls(parts, **{key: value for key, value in values.items() if key in known})


def _number(name: str, value: object, low: float, high: float) -> None:
    fine = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not fine or not low <= value <= high:  # type: ignore[operator]  # a number, as `fine` says
        raise InputError(f"{name} is {value!r}: expected {low:g} to {high:g}")


def _whole(name: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise InputError(f"{name} is {value!r}: expected a whole number from {low} to {high}")
