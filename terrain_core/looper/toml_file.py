"""Chains as TOML files, for the command line and for people.

mode = "parallel"                 # series, parallel, song
weights = { drums = 0.6 }         # parallel: how much of each
routes = { drums = [1, 4] }       # which latents it drives
song = [["drums", 4], ["sweep", 2]]

[[looper]]
name = "drums"
beats = 4                         # or "7/3"
gesture = "circle"                # what is recorded into it: a gesture, or a file with lanes
at = "1.1"
speed = 0.5                       # and any other setting of a looper

[[action]]
beat = 8
looper = "drums"
do = "overdub"

[scenes.break.drums]
muted = true
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import Any, Final

from terrain_core.errors import FileError, InputError
from terrain_core.instrument import Instrument
from terrain_core.lanes import Lane
from terrain_core.looper.chain import LooperChain
from terrain_core.looper.looper import Action, Looper

LARGEST_FILE: Final = 4 << 20
SETTINGS: Final = {field.name for field in fields(Looper)} - {"layer", "origin"}
RECORDING: Final = {"gesture", "at", "tempo"}
TOP: Final = {"mode", "weights", "routes", "song", "soloed", "scenes", "looper", "action"}

Gestures = Callable[[str, float], Iterable[Lane]]
"""Finds the lanes of a gesture by its name (or file) and its length in beats."""


@dataclass(frozen=True)
class ChainFile:
    """A chain, and what is done to it when: (beat, looper, action)."""

    chain: LooperChain
    actions: tuple[tuple[float, str, Action], ...]


def read_chain(path: str | PathLike[str], instrument: Instrument, gestures: Gestures) -> ChainFile:
    """Read a chain; gestures are recorded on the instrument's terrain.

    Raises:
        FileError: missing, no TOML (with the line), a key that is not known, or a value that cannot be; says which.
    """
    file = Path(path)
    try:
        if file.stat().st_size > LARGEST_FILE:
            raise FileError(file, f"has more than {LARGEST_FILE:,} bytes, expected a chain of loopers")
        facts = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(file, f"cannot be opened ({error.strerror or error})") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise FileError(file, f"is not TOML ({error})") from None
    reader = _Reader(file, instrument, gestures)
    return reader.chain_file(facts)


@dataclass
class _Reader:
    path: Path
    instrument: Instrument
    gestures: Gestures

    def chain_file(self, facts: dict[str, Any]) -> ChainFile:
        self._known("the file", facts, TOP)
        parts = [self._looper(number, row) for number, row in enumerate(self._tables(facts, "looper"), start=1)]
        options = {
            name: facts[name] for name in ("mode", "weights", "routes", "song", "soloed", "scenes") if name in facts
        }
        try:
            chain = LooperChain(*parts, **options)
            for scene in chain.scenes:
                chain.with_scene(scene)
        except InputError as error:
            raise FileError(self.path, str(error)) from None
        except (TypeError, ValueError, AttributeError) as error:
            raise FileError(self.path, f"has {', '.join(options)} that make no sense ({error})") from None
        actions = [
            self._action(number, row, chain) for number, row in enumerate(self._tables(facts, "action"), start=1)
        ]
        return ChainFile(chain, tuple(actions))

    def _looper(self, number: int, row: dict[str, Any]) -> Looper:
        place = f"looper {row.get('name', number)!r}"
        self._known(place, row, SETTINGS | RECORDING)
        values = {name: value for name, value in row.items() if name in SETTINGS}
        if not isinstance(values.get("name"), str):
            raise FileError(self.path, "has no name", position=place)
        try:
            if isinstance(values.get("beats"), str):
                values["beats"] = Fraction(values["beats"])
            for name in ("transpose", "slices", "frozen"):
                if name in values:
                    values[name] = tuple(values[name])
            looper = Looper(**values)
            if "gesture" in row:
                lanes = self.gestures(str(row["gesture"]), float(looper.beats or 0))
                looper = looper.record(self.instrument, lanes, row.get("at", "1.1"), float(row.get("tempo", 120.0)))
        except FileError:
            raise
        except InputError as error:
            raise FileError(self.path, str(error), position=place) from None
        except (TypeError, ValueError, ZeroDivisionError) as error:
            raise FileError(self.path, f"has a value of the wrong kind ({error})", position=place) from None
        return looper

    def _action(self, number: int, row: dict[str, Any], chain: LooperChain) -> tuple[float, str, Action]:
        place = f"action {number}"
        self._known(place, row, {"beat", "looper", "do"})
        beat, name, do = row.get("beat", 0.0), row.get("looper"), row.get("do")
        if isinstance(beat, bool) or not isinstance(beat, (int, float)) or not math.isfinite(beat):
            raise FileError(self.path, f"has beat={beat!r}, expected a number", position=place)
        if do not in {action.value for action in Action}:
            expected = ", ".join(action.value for action in Action)
            raise FileError(self.path, f"has do={do!r}, expected one of {expected}", position=place)
        try:
            chain[str(name)]
        except InputError as error:
            raise FileError(self.path, str(error), position=place) from None
        return float(beat), str(name), Action(do)

    def _tables(self, facts: dict[str, Any], name: str) -> list[dict[str, Any]]:
        rows = facts.get(name, [])
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise FileError(self.path, f"has {name} that is no [[{name}]] table")
        return rows

    def _known(self, place: str, row: dict[str, Any], known: Iterable[str]) -> None:
        for name in row:
            if name not in known:
                raise FileError(self.path, f"has {name!r}, expected one of {', '.join(sorted(known))}", position=place)
