"""What a page may ask for: one table, and the check of a message against it. Nothing in a message is a path."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from terrain_core.errors import InputError
from terrain_core.looper import Action
from terrain_core.parameters import PARAMETERS, by_key

LARGEST: Final = 256 << 10
"""Bytes of a message."""

MOST_POINTS: Final = 4096
"""Of a path that is drawn."""

Check = Callable[[Any], Any]


@dataclass(frozen=True)
class Ask:
    """A message that was understood: what is asked for, and with what."""

    kind: str
    fields: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]


@dataclass(frozen=True)
class Maybe:
    """A field that may be left out."""

    check: Check
    default: Any


def number(low: float, high: float) -> Check:
    """A finite number, brought into its range: a pen that leaves the pad is at its edge."""

    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise InputError(f"expected a number from {low:g} to {high:g}")
        return min(max(float(value), low), high)

    return check


def whole(low: int, high: int) -> Check:
    """A whole number within its range."""

    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise InputError(f"expected a whole number from {low} to {high}")
        return value

    return check


def text(longest: int) -> Check:
    """A text that is not empty."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or not value.strip() or len(value) > longest or not value.isprintable():
            raise InputError(f"expected a text of 1 to {longest} characters")
        return value.strip()

    return check


def one_of(*choices: str) -> Check:
    """One of a few words."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in choices:
            raise InputError(f"expected one of {', '.join(choices)}")
        return value

    return check


def switch(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise InputError("expected true or false")
    return value


def path(value: Any) -> list[tuple[float, float]]:
    """A path in the unit square, as it was drawn."""
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_POINTS:
        raise InputError(f"expected 1 to {MOST_POINTS} points")
    if not all(isinstance(point, list) and len(point) == 2 for point in value):
        raise InputError("expected points [x, y]")
    unit = number(0, 1)
    return [(unit(x), unit(y)) for x, y in value]


def curve(value: Any) -> list[tuple[float, float]]:
    """A path of cubic Bézier segments: anchor, handle, handle, anchor, … Handles may stand outside the square."""
    if not isinstance(value, list) or not 4 <= len(value) <= MOST_POINTS or len(value) % 3 != 1:
        raise InputError(f"expected 4, 7, 10, … points, at most {MOST_POINTS}")
    if not all(isinstance(point, list) and len(point) == 2 for point in value):
        raise InputError("expected points [x, y]")
    near, unit = number(-1, 2), number(0, 1)
    return [(near(x), near(y)) if n % 3 else (unit(x), unit(y)) for n, (x, y) in enumerate(value)]


def or_nothing(check: Check) -> Check:
    """What must be there, and may be null."""
    return lambda value: None if value is None else check(value)


SETTABLE: Final = frozenset(parameter.key for parameter in PARAMETERS if not parameter.read_only)


def values(value: Any) -> dict[str, float]:
    """Parameters' plain values by key."""
    if not isinstance(value, dict) or not 1 <= len(value) <= len(PARAMETERS) or not value.keys() <= SETTABLE:
        raise InputError("expected parameters that can be set")
    return {key: by_key(key).clamp(number(-1e6, 1e6)(item)) for key, item in value.items()}


UNIT: Final = number(0, 1)
ID: Final = whole(1, 1 << 31)
NAME: Final = text(80)

ASKS: Final[Mapping[str, Mapping[str, Check | Maybe]]] = {
    "pointer": {
        "x": UNIT,
        "y": UNIT,
        "pressure": or_nothing(UNIT),
        "seq": Maybe(whole(0, 1 << 53), 0),
        "held": Maybe(switch, False),
    },
    "set": {"values": values, "held": Maybe(switch, False)},
    "choose": {"instance": text(32)},
    "cursor_glide": {"ms": number(0, 5000)},
    "lock": {"latent": whole(0, 1023), "value": Maybe(number(-1e4, 1e4), None)},
    "unlock": {"latent": Maybe(whole(0, 1023), None)},
    "transport": {
        "playing": Maybe(switch, None),
        "bpm": Maybe(number(20, 400), None),
        "locate": Maybe(number(0, 1e6), None),
    },
    "preset": {"name": NAME},
    "loop": {"slot": whole(1, 64), "action": one_of(*(action.value for action in Action))},
    "record": {"on": switch},
    "gesture_rename": {"id": ID, "name": NAME},
    "gesture_delete": {"id": ID},
    "gesture_trajectory": {"id": ID},
    "trajectory_add": {"name": NAME, "points": path},
    "trajectory_rename": {"id": ID, "name": NAME},
    "trajectory_redraw": {"id": ID, "points": path},
    "trajectory_delete": {"id": ID},
    "trajectory_play": {
        "id": ID,
        "mode": Maybe(one_of("once", "loop", "ping-pong"), "loop"),
        "seconds": Maybe(number(0.05, 600), 4.0),
        "beats": Maybe(number(0, 256), 0.0),
        "speed": Maybe(number(0.01, 16), 1.0),
        "reverse": Maybe(switch, False),
    },
    "trajectory_stop": {},
    "build_encode": {},
    "build_cancel": {},
    "build_layout": {"method": one_of("map", "packed")},
    "build_path": {"id": ID, "points": path, "freehand": Maybe(switch, False)},
    "build_curve": {"id": ID, "controls": curve},
    "build_move": {"id": ID, "dx": number(-1, 1), "dy": number(-1, 1)},
    "build_remove_path": {"id": ID},
    "build_remove": {"id": ID},
    "build_undo": {},
    "build_redo": {},
    "build_train": {
        "epochs": Maybe(whole(1, 100_000), 300),
        "rate": Maybe(number(1e-5, 1e-1), 2e-3),
        "width": Maybe(whole(16, 512), 128),
        "fresh": Maybe(switch, True),
    },
    "build_stop": {},
    "build_play": {},
    "build_save": {"name": NAME},
    "open": {"name": NAME},
    "ping": {"at": number(0, 1e15)},
}
"""Kind -> field -> what it must be. Every field must be there unless it says Maybe, and no other."""


def parse(data: str | bytes) -> Ask:
    """A message as it came, checked.

    Raises:
        InputError: it is not JSON, not in the table, or a field is not what it must be.
    """
    if len(data) > LARGEST:
        raise InputError(f"a message of more than {LARGEST >> 10} KiB")
    try:
        message = json.loads(data, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise InputError("a message that is not JSON") from None
    kind = message.get("type") if isinstance(message, dict) else None
    if not isinstance(kind, str) or kind not in ASKS:
        raise InputError("a message of no known type")
    table = ASKS[kind]
    given = {name: value for name, value in message.items() if name != "type"}
    if unknown := given.keys() - table.keys():
        raise InputError(f"{kind}: no field {min(unknown)[:40]!r}")
    fields: dict[str, Any] = {}
    for name, rule in table.items():
        if isinstance(rule, Maybe):
            check, missing = rule.check, rule.default
            if given.get(name) is None:
                fields[name] = missing
                continue
        else:
            check = rule
            if name not in given:
                raise InputError(f"{kind}: {name} is missing")
        try:
            fields[name] = check(given[name])
        except (InputError, OverflowError) as error:
            raise InputError(f"{kind}: {name}: {error}") from None
    return Ask(kind, fields)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")
