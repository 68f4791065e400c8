"""Chains as TOML files, for the command line and for people.

    mode = "parallel"                 # series, parallel, song
    weights = { drums = 0.6 }         # parallel: how much of each
    routes = { drums = [1, 4] }       # which latents it drives
    song = [["verse", 4], ["sweep", 2]]
    parts = ["wash", "verse"]         # the order; without it loopers, effects, chains, as they come

    [[looper]]
    name = "drums"
    beats = 4                         # or "7/3"
    gesture = "circle"                # what is recorded into it: a gesture, or a file with lanes
    at = "1.1"
    speed = 0.5                       # and any other setting of a looper

    [[effects]]                       # the instrument's latent effects once more, at a place in the chain
    name = "wash"
    glide = 300

    [[chain]]                         # parts that are one part
    name = "verse"
    parts = ["drums", "sweep"]
    mode = "series"
    beats = 8                         # how long a pass of it takes in a song

    [[action]]
    beat = 8
    looper = "drums"
    do = "overdub"

    [[bind]]
    note = 36                         # or controller = 20; note = "any" is every note
    looper = "drums"
    do = "record"                     # or, of a controller, set = "mix"
    hold = true

    [scenes.break.drums]
    muted = true

    [automation.drums]
    mix = [[0, 1.0], [16, 0.0, "smooth"]]   # beat, value, and how it goes on from there

`write_chain` writes such a file; what the loopers hold goes beside it, into FILE.safetensors, which `loops` names.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from os import PathLike
from pathlib import Path
from typing import Any, Final

import safetensors
import safetensors.numpy
import tomli_w
from numpy.typing import NDArray

from terrain_core.errors import FileError, InputError
from terrain_core.instrument import Instrument
from terrain_core.lanes import Lane
from terrain_core.looper.chain import (
    LatentEffects,
    LooperChain,
    Part,
    binding_facts,
    binding_of,
    lane_facts,
    lane_of,
)
from terrain_core.looper.layer import Layer
from terrain_core.looper.looper import Action, Looper, fraction
from terrain_core.safe_write import replacing

LARGEST_FILE: Final = 4 << 20
LARGEST_LOOPS: Final = 1 << 30
SETTINGS: Final = {field.name for field in fields(Looper)} - {"layer"}
RECORDING: Final = {"gesture", "at", "tempo"}
OF_A_CHAIN: Final = {"mode", "weights", "routes", "song", "soloed", "beats", "parts"}
TOP: Final = OF_A_CHAIN - {"beats"} | {
    "scenes", "automation", "loops", "looper", "effects", "chain", "action", "bind"
}  # fmt: skip

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

    def __post_init__(self) -> None:
        self._loops: dict[str, NDArray[Any]] = {}
        self._automation: dict[str, dict[str, Lane]] = {}

    def chain_file(self, facts: dict[str, Any]) -> ChainFile:
        self._known("the file", facts, TOP)
        self._loops = self._layers(facts.get("loops"))
        self._automation = self._lanes(facts.get("automation", {}))
        parts: dict[str, Part] = {}
        for number, row in enumerate(self._tables(facts, "looper"), start=1):
            looper = self._looper(number, row)
            parts[self._fresh(looper.name, parts)] = looper
        for number, row in enumerate(self._tables(facts, "effects"), start=1):
            effects = self._effects(number, row)
            parts[self._fresh(effects.name, parts)] = effects
        for number, row in enumerate(self._tables(facts, "chain"), start=1):
            place = f"chain {row.get('name', number)!r}"
            self._known(place, row, OF_A_CHAIN | {"name"})
            name = self._fresh(row.get("name"), parts)
            parts[name] = self._chain(place, {"parts": [], **row}, parts, name=name)
        outermost = {"parts": list(parts), **{key: facts[key] for key in TOP & OF_A_CHAIN if key in facts}}
        bindings = [self._binding(number, row) for number, row in enumerate(self._tables(facts, "bind"), start=1)]
        chain = self._chain("", outermost, parts, scenes=facts.get("scenes"), bindings=bindings)
        left = [*parts, *(name for name in self._automation if name not in parts)]
        if left:
            raise FileError(self.path, f"names {left[0]!r}, which is no part of the chain")
        try:
            for scene in chain.scenes:
                chain.with_scene(scene)
        except InputError as error:
            raise FileError(self.path, str(error)) from None
        actions = [
            self._action(number, row, chain) for number, row in enumerate(self._tables(facts, "action"), start=1)
        ]
        return ChainFile(chain, tuple(actions))

    def _fresh(self, name: Any, parts: Mapping[str, Part]) -> str:
        if not isinstance(name, str) or not name or name in parts:
            raise FileError(self.path, f"has a part called {name!r}, expected a name of its own for each")
        return name

    def _chain(self, place: str, row: Mapping[str, Any], parts: dict[str, Part], **options: Any) -> LooperChain:
        """A chain of parts, which are taken out of `parts`."""
        names = row["parts"]
        if not isinstance(names, list):
            raise FileError(self.path, f"has parts={names!r}, expected a list of names", position=place)
        for name in names:
            if name not in parts:
                here = ", ".join(parts) or "(none are left)"
                raise FileError(self.path, f"names the part {name!r}, expected one of {here}", position=place)
        chosen = [parts.pop(name) for name in dict.fromkeys(names)]
        automation = {part.name: self._automation.pop(part.name) for part in chosen if part.name in self._automation}
        settings = {key: row[key] for key in ("mode", "weights", "routes", "song", "soloed") if key in row}
        try:
            if "beats" in row:
                settings["beats"] = fraction(row["beats"])
            return LooperChain(*chosen, automation=automation, **settings, **options)
        except InputError as error:
            raise FileError(self.path, str(error), position=place) from None
        except (TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
            wrong = ", ".join(settings)
            raise FileError(self.path, f"has {wrong} that make no sense ({error})", position=place) from None

    def _effects(self, number: int, row: dict[str, Any]) -> LatentEffects:
        values = dict(row)
        try:
            return LatentEffects(values.pop("name", ""), values)
        except (InputError, TypeError, ValueError) as error:
            raise FileError(self.path, str(error), position=f"effects {row.get('name', number)!r}") from None

    def _binding(self, number: int, row: dict[str, Any]) -> Any:
        try:
            return binding_of(row)
        except (InputError, TypeError) as error:
            raise FileError(self.path, str(error), position=f"bind {number}") from None

    def _lanes(self, table: Any) -> dict[str, dict[str, Lane]]:
        try:
            return {name: {setting: lane_of(rows) for setting, rows in lanes.items()} for name, lanes in table.items()}
        except (InputError, TypeError, ValueError, AttributeError) as error:
            raise FileError(self.path, f"has lanes that make no sense ({error})", position="automation") from None

    def _layers(self, name: Any) -> dict[str, NDArray[Any]]:
        """What the loopers hold, from the file beside."""
        if name is None:
            return {}
        if not isinstance(name, str) or Path(name).name != name:
            raise FileError(self.path, f"has loops={name!r}, expected the name of a file beside it")
        path = self.path.parent / name
        try:
            if path.stat().st_size > LARGEST_LOOPS:
                raise FileError(path, f"has more than {LARGEST_LOOPS:,} bytes, expected loops")
            return dict(safetensors.numpy.load(path.read_bytes()))
        except OSError as error:
            raise FileError(path, f"cannot be opened ({error.strerror or error})") from None
        except (safetensors.SafetensorError, ValueError, KeyError) as error:
            raise FileError(path, f"is damaged ({error})") from None

    def _looper(self, number: int, row: dict[str, Any]) -> Looper:
        place = f"looper {row.get('name', number)!r}"
        self._known(place, row, SETTINGS | RECORDING)
        values = {name: value for name, value in row.items() if name in SETTINGS}
        if not isinstance(values.get("name"), str):
            raise FileError(self.path, "has no name", position=place)
        try:
            if isinstance(values.get("beats"), str):
                values["beats"] = fraction(values["beats"])
            for name in ("transpose", "slices", "frozen"):
                if name in values:
                    values[name] = tuple(values[name])
            looper = Looper(**values)
            if f"{looper.name}.phases" in self._loops:
                arrays = (self._loops.get(f"{looper.name}.{array}") for array in ("phases", "vectors", "loudness"))
                looper = looper.holding(Layer.of(*arrays), looper.beats or 0, looper.origin)  # type: ignore[arg-type]
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


def write_chain(chain: LooperChain, path: str | PathLike[str]) -> list[Path]:
    """Write a chain as TOML; what its loopers hold goes beside it, into a file of the same name and `.safetensors`.

    Returns:
        the files that were written.
    Raises:
        FileError: they cannot be written.
    """
    file = Path(path)
    arrays: dict[str, NDArray[Any]] = {}
    tables: dict[str, list[dict[str, Any]]] = {"looper": [], "effects": [], "chain": []}
    automation: dict[str, dict[str, Any]] = {}
    default = Looper("").settings()

    def take(part: Part) -> None:
        if isinstance(part, LooperChain):
            take_chain(part)
            tables["chain"].append({"name": part.name, **_plain(part)})
        elif isinstance(part, LatentEffects):
            tables["effects"].append({"name": part.name, **part.values})
        else:
            settings = {key: value for key, value in part.settings().items() if value != default[key]}
            tables["looper"].append(settings)
            if part.layer is not None:
                arrays[f"{part.name}.phases"], arrays[f"{part.name}.vectors"] = part.layer.phases, part.layer.vectors
                if part.layer.loudness is not None:
                    arrays[f"{part.name}.loudness"] = part.layer.loudness

    def take_chain(of: LooperChain) -> None:
        for part in of.parts:
            take(part)
        for name, lanes in of.automation.items():
            automation[name] = {setting: lane_facts(lane) for setting, lane in lanes.items()}

    take_chain(chain)
    beside = file.with_suffix(".safetensors")
    facts: dict[str, Any] = _plain(chain) | ({"loops": beside.name} if arrays else {})
    facts |= {name: rows for name, rows in tables.items() if rows}
    facts |= {"bind": [binding_facts(binding) for binding in chain.bindings]} if chain.bindings else {}
    facts |= {"scenes": chain.scenes} if chain.scenes else {}
    facts |= {"automation": automation} if automation else {}
    contents = {file: tomli_w.dumps(facts).encode()}
    if arrays:
        contents[beside] = safetensors.numpy.save(arrays)
    for target, data in contents.items():
        with replacing(target) as fresh:
            fresh.write_bytes(data)
    return list(contents)


def _plain(chain: LooperChain) -> dict[str, Any]:
    """A chain's own settings, as TOML has them."""
    facts: dict[str, Any] = {"mode": chain.mode, "parts": [part.name for part in chain.parts]}
    if chain.weights:
        facts["weights"] = chain.weights
    if chain.routes:
        facts["routes"] = {name: list(route) for name, route in chain.routes.items()}
    if chain.song:
        facts["song"] = [list(section) for section in chain.song]
    if chain.soloed:
        facts["soloed"] = sorted(chain.soloed)
    if chain.beats is not None:
        facts["beats"] = str(chain.beats)
    return facts
