"""Several loopers and other latent effects as one value: one after the other, side by side, or in the order of a song.

`chain_effect` plays it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from terrain_core.errors import InputError
from terrain_core.lanes import Lane
from terrain_core.looper.layer import Layer
from terrain_core.looper.looper import LONGEST, RANGES, SHORTEST, Action, Looper, fraction
from terrain_core.parameters import LATENT_KNOBS, LOOP_SLOTS, by_key

if TYPE_CHECKING:
    from terrain_core.instrument import Instrument
    from terrain_core.looper.chain_effect import ChainEffect

Mode = Literal["series", "parallel", "song"]
MODES: Final = ("series", "parallel", "song")
MOST_PARTS: Final = 256
EMPTY_SLOTS: Final = 8
"""Loopers of an instrument that has no chain of its own."""

EFFECT_KEYS: Final = frozenset(
    {
        "glide",
        "intensity",
        "noise",
        *(f"offset_{n}" for n in range(1, LATENT_KNOBS + 1)),
        *(f"scale_{n}" for n in range(1, LATENT_KNOBS + 1)),
    }
)
"""Parameters that a `LatentEffects` in a chain may have values of its own for."""

LOOPER_LANES: Final = frozenset({name for name, _, _ in RANGES} | {"muted"})
"""Settings of a looper that can be automated; `weight` in a parallel chain can be too."""


@dataclass(frozen=True)
class LatentEffects:
    """The effects that every instrument has (Glide, Offset, Scale, Intensity, Noise), once more, at a place in a chain.

    Attributes:
        name: unique within the chain.
        values: parameter key -> plain value; those that are not named do nothing.
    """

    name: str
    values: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for key, value in self.values.items():
            if key not in EFFECT_KEYS:
                raise InputError(f"effect {self.name!r} has {key!r}, expected one of {', '.join(sorted(EFFECT_KEYS))}")
            parameter = by_key(key)
            if not parameter.low <= value <= parameter.high:
                raise InputError(
                    f"effect {self.name!r} has {key}={value}, expected {parameter.low:g} to {parameter.high:g}"
                )
        object.__setattr__(self, "values", MappingProxyType({key: float(v) for key, v in self.values.items()}))


@dataclass(frozen=True)
class Binding:
    """What a MIDI note or controller does to a looper.

    Attributes:
        looper: its name.
        do: an action: a note does it when it begins, a controller when it rises to 64 or more.
        set: or a setting, which a controller moves from `low` (0) to `high` (127).
        note: 0..127; -1: any note, which then also plays as notes do (retrigger on note). None: a controller.
        controller: 0..127. None: a note.
        channel: 1..16; None: all.
        hold: the action lasts as long as the note, or while the controller is at 64 or more (record, overdub, …).
        low, high: of `set`.
    """

    looper: str
    do: Action | None = None
    set: str | None = None
    note: int | None = None
    controller: int | None = None
    channel: int | None = None
    hold: bool = False
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        where = f"a binding of looper {self.looper!r}"
        if (self.do is None) == (self.set is None):
            raise InputError(f"{where} should either do an action or set a setting")
        if (self.note is None) == (self.controller is None):
            raise InputError(f"{where} should name either a note or a controller")
        number = self.controller if self.note is None else self.note
        lowest = 0 if self.note is None else -1
        if number is None or not lowest <= number <= 127:
            raise InputError(f"{where} names number {number}, expected {lowest} to 127")
        if self.channel is not None and not 1 <= self.channel <= 16:
            raise InputError(f"{where} has channel {self.channel}, expected 1 to 16")
        if self.set is not None and (self.set not in LOOPER_LANES or self.note is not None):
            raise InputError(f"{where} sets {self.set!r}, expected a controller and one of {_names(LOOPER_LANES)}")
        if self.hold and self.do not in HOLDABLE:
            raise InputError(f"{where} holds, expected {_names(action.value for action in HOLDABLE)}")


HOLDABLE: Final = (
    Action.RECORD,
    Action.OVERDUB,
    Action.REPLACE,
    Action.SUBSTITUTE,
    Action.MULTIPLY,
    Action.INSERT,
)
"""Actions that go on until they are ended."""


class LooperChain:
    """Loopers and other latent effects, as one value.

    Args:
        parts: loopers, latent effects, and chains; each with a name of its own, unique in the whole tree.
        mode: "series": each gets what the one before gives. "parallel": all get what comes in, and are mixed by their
            weights; where those come to less than 1, the rest is what comes in. "song": one at a time, see `song`.
        weights: name -> how much of it is in a parallel mix; 1 for those that are not named.
        routes: name -> first and last latent that it drives, counted from 1; all of them for those that are not named.
        song: (name, how many times its loop is played), from beat 0 on, over and over.
        soloed: names of those that alone are heard; empty: all that are not muted.
        scenes: scene -> looper -> setting -> value; see `with_scene`.
        automation: part -> setting -> lane over beats, in the setting's own values: `LOOPER_LANES` of a looper,
            `EFFECT_KEYS` of an effect, and the `weight` of any part of a parallel chain.
        bindings: what MIDI does; of the outermost chain.
        name: of a chain within another.
        beats: how long one pass of a chain takes in a song.

    Raises:
        InputError: two parts of one name, a name that none has, or a mode that there is not.
    """

    def __init__(
        self,
        *parts: Part,
        mode: Mode = "series",
        weights: Mapping[str, float] | None = None,
        routes: Mapping[str, tuple[int, int]] | None = None,
        song: Sequence[tuple[str, int]] = (),
        soloed: Iterable[str] = (),
        scenes: Mapping[str, Mapping[str, Mapping[str, Any]]] | None = None,
        automation: Mapping[str, Mapping[str, Lane]] | None = None,
        bindings: Sequence[Binding] = (),
        name: str = "",
        beats: Fraction | float | int | None = None,
    ) -> None:
        self.parts = tuple(parts)
        self.mode: Mode = mode
        self.weights = dict(weights or {})
        self.routes = {name: (int(first), int(last)) for name, (first, last) in (routes or {}).items()}
        self.song = tuple((name, int(times)) for name, times in song)
        self.soloed = frozenset(soloed)
        self.scenes = {name: {k: dict(v) for k, v in scene.items()} for name, scene in (scenes or {}).items()}
        self.automation = {part: dict(lanes) for part, lanes in (automation or {}).items()}
        self.bindings = tuple(bindings)
        self.name = name
        self.beats = None if beats is None else fraction(beats)
        self._check()

    @classmethod
    def empty(cls) -> LooperChain:
        """What an instrument without a chain of its own has: empty loopers side by side, called 1, 2, 3 …"""
        return cls(*(Looper(str(n)) for n in range(1, EMPTY_SLOTS + 1)), mode="parallel")

    def _check(self) -> None:
        names = [part.name for part in self._tree()]
        if len(set(names)) < len(names) or not all(names):
            raise InputError(f"a chain has parts called {', '.join(map(repr, names))}, expected a name for each")
        if not 1 <= len(names) <= MOST_PARTS:
            raise InputError(f"a chain of {len(names)} parts, expected 1 to {MOST_PARTS}")
        if self.mode not in MODES:
            raise InputError(f"a chain has mode={self.mode!r}, expected one of {', '.join(MODES)}")
        self._check_names(names)
        for name, weight in self.weights.items():
            if not 0 <= weight <= 1:
                raise InputError(f"{name!r} has the weight {weight}, expected 0 to 1")
        for name, (first, last) in self.routes.items():
            if not 1 <= first <= last:
                raise InputError(f"{name!r} drives latents {first} to {last}, expected 1 or more, in order")
        if (self.mode == "song") != bool(self.song):
            raise InputError("a chain has an order of a song if, and only if, its mode is song")
        for name, times in self.song:
            if not 1 <= times <= 10_000 or self.pass_of(name) is None:
                raise InputError(f"{name!r} is played {times} times in a song, expected 1 to 10,000, and a length")
        if self.beats is not None and not SHORTEST <= self.beats <= LONGEST:
            raise InputError(f"a chain has {self.beats} beats, expected {SHORTEST} to {LONGEST}")
        self._check_automation()

    def _check_names(self, names: Sequence[str]) -> None:
        own = [part.name for part in self.parts]
        used = [*self.weights, *self.routes, *(name for name, _ in self.song), *self.soloed]
        for name in used:
            if name not in own:
                raise InputError(f"a chain names {name!r}, expected one of its parts: {', '.join(own)}")
        loopers = [looper.name for looper in self.loopers]
        for name in [*(name for scene in self.scenes.values() for name in scene), *(b.looper for b in self.bindings)]:
            if name not in loopers:
                raise InputError(f"a chain names {name!r}, expected one of its loopers: {', '.join(loopers)}")
        for name in self.automation:
            if name not in names:
                raise InputError(f"a chain automates {name!r}, expected one of {', '.join(names)}")

    def _check_automation(self) -> None:
        for name, lanes in self.automation.items():
            part = next(part for part in self._tree() if part.name == name)
            known = LOOPER_LANES if isinstance(part, Looper) else EFFECT_KEYS
            known = frozenset() if isinstance(part, LooperChain) else known
            for setting, lane in lanes.items():
                if setting not in known | {"weight"}:
                    raise InputError(
                        f"a chain automates {setting!r} of {name!r}, expected {_names(known | {'weight'})}"
                    )
                if lane.unit != "beats":
                    raise InputError(f"a chain automates {setting!r} of {name!r} over seconds, expected beats")

    def _tree(self) -> Iterator[Part]:
        """All parts, those within others after them."""
        for part in self.parts:
            yield part
            if isinstance(part, LooperChain):
                yield from part._tree()

    @property
    def loopers(self) -> list[Looper]:
        """All loopers, also of chains within, in order: the plugin's slots 1, 2, 3 …"""
        return [part for part in self._tree() if isinstance(part, Looper)]

    def __getitem__(self, name: str) -> Looper:
        """The looper of that name."""
        found = next((looper for looper in self.loopers if looper.name == name), None)
        if found is None:
            raise InputError(f"no looper {name!r}, expected one of {_names(part.name for part in self.loopers)}")
        return found

    def pass_of(self, name: str) -> Fraction | None:
        """How many beats one pass of a part takes in a song; None if it does not say."""
        part = next(part for part in self.parts if part.name == name)
        return None if isinstance(part, LatentEffects) or part.beats is None else Fraction(part.beats)

    def with_scene(self, name: str) -> LooperChain:
        """The chain with a scene's settings.

        Raises:
            InputError: no such scene, or a setting that a looper does not have.
        """
        if name not in self.scenes:
            raise InputError(f"no scene {name!r}, expected one of {', '.join(self.scenes) or '(there are none)'}")
        scene = self.scenes[name]
        return self.with_loopers(part.with_settings(scene.get(part.name, {})) for part in self.loopers)

    def with_loopers(self, loopers: Iterable[Looper]) -> LooperChain:
        """The chain with other loopers in the places of those of the same name."""
        by_name = {looper.name: looper for looper in loopers}

        def other(part: Part) -> Part:
            if isinstance(part, LooperChain):
                return part.with_loopers(by_name.values())
            return by_name.get(part.name, part) if isinstance(part, Looper) else part

        return LooperChain(*(other(part) for part in self.parts), **self._options())

    def _options(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in OPTIONS}

    def to_parts(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """The chain as JSON values and arrays, as an instrument's file keeps it; undone by `from_parts`."""
        arrays: dict[str, NDArray[Any]] = {}
        for index, looper in enumerate(self.loopers):
            if looper.layer is not None:
                arrays[f"{index}.phases"], arrays[f"{index}.vectors"] = looper.layer.phases, looper.layer.vectors
                if looper.layer.loudness is not None:
                    arrays[f"{index}.loudness"] = looper.layer.loudness
        return self._facts(), arrays

    def _facts(self) -> dict[str, Any]:
        """All but the loops."""

        def of_part(part: Part) -> dict[str, Any]:
            if isinstance(part, LooperChain):
                return {"chain": part._facts()}
            if isinstance(part, LatentEffects):
                return {"effects": {"name": part.name, **part.values}}
            return part.settings()

        return {
            "mode": self.mode,
            "loopers": [of_part(part) for part in self.parts],
            "weights": self.weights,
            "routes": {name: list(route) for name, route in self.routes.items()},
            "song": [list(section) for section in self.song],
            "soloed": sorted(self.soloed),
            "scenes": self.scenes,
            "automation": {
                name: {setting: lane_facts(lane) for setting, lane in lanes.items()}
                for name, lanes in self.automation.items()
            },
            "bindings": [binding_facts(binding) for binding in self.bindings],
            "name": self.name,
            "beats": None if self.beats is None else str(self.beats),
        }

    @classmethod
    def from_parts(cls, facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> LooperChain:
        """The chain of `to_parts`.

        Raises:
            InputError: something is missing, or makes no sense.
        """
        loopers = iter(range(LOOP_SLOTS * MOST_PARTS))

        def part(settings: Mapping[str, Any]) -> Part:
            if "chain" in settings:
                return chain(settings["chain"])
            if "effects" in settings:
                values = dict(settings["effects"])
                return LatentEffects(values.pop("name"), values)
            index = next(loopers)
            phases, vectors = arrays.get(f"{index}.phases"), arrays.get(f"{index}.vectors")
            layer = None
            if phases is not None and vectors is not None:
                layer = Layer.of(phases, vectors, arrays.get(f"{index}.loudness"))
            return Looper.from_settings(settings, layer)

        def chain(facts: Mapping[str, Any]) -> LooperChain:
            options = {name: facts[name] for name in OPTIONS if name in facts}
            options["automation"] = {
                name: {setting: lane_of(row) for setting, row in lanes.items()}
                for name, lanes in facts.get("automation", {}).items()
            }
            options["bindings"] = [binding_of(row) for row in facts.get("bindings", [])]
            return cls(*(part(settings) for settings in facts["loopers"]), **options)

        try:
            return chain(facts)
        except InputError:
            raise
        except (TypeError, ValueError, KeyError, AttributeError, ZeroDivisionError, RecursionError) as error:
            raise InputError(f"a chain of loopers makes no sense ({error})") from None

    def effect(self, instrument: Instrument) -> ChainEffect:
        """What plays the chain with an instrument."""
        from terrain_core.looper.chain_effect import ChainEffect

        return ChainEffect(self, instrument)


Part: TypeAlias = "Looper | LatentEffects | LooperChain"
OPTIONS: Final = (
    "mode",
    "weights",
    "routes",
    "song",
    "soloed",
    "scenes",
    "automation",
    "bindings",
    "name",
    "beats",
)
"""What `LooperChain` takes besides its parts."""


def lane_facts(lane: Lane) -> list[list[Any]]:
    """A lane over beats as JSON values: its points, each beat, value, shape and tension."""
    return [[point.time, point.value, point.shape.value, point.tension] for point in lane.points]


def lane_of(rows: Iterable[Sequence[Any]]) -> Lane:
    """The lane of points [beat, value], with shape and tension where they are given; undone by `lane_facts`.

    Raises:
        InputError: no points, or some that make no sense.
    """
    points = [(*row, *("linear", 0.0)[len(row) - 2 :]) for row in rows]
    if any(len(point) != 4 for point in points):
        raise InputError("a lane has points that are not [beat, value], or [beat, value, shape, tension]")
    times, values, shapes, tensions = zip(*points, strict=True) if points else ((), (), (), ())
    return Lane(times, values, list(shapes), np.array(tensions, dtype=np.float64))


def binding_facts(binding: Binding) -> dict[str, Any]:
    """A binding as JSON values, those that are not the default; undone by `binding_of`."""
    plain = asdict(binding)
    plain["do"] = binding.do.value if binding.do is not None else None
    return {name: value for name, value in plain.items() if value != getattr(Binding, name, None)}


def binding_of(row: Mapping[str, Any]) -> Binding:
    """The binding of `binding_facts`; a note may be "any".

    Raises:
        InputError: something that a binding does not have, or that cannot be.
    """
    known = Binding.__dataclass_fields__
    for name in row:
        if name not in known:
            raise InputError(f"a binding has {name!r}, expected one of {_names(known)}")
    values = dict(row)
    if values.get("do") is not None:
        if values["do"] not in {action.value for action in Action}:
            raise InputError(f"a binding has do={values['do']!r}, expected one of {_names(a.value for a in Action)}")
        values["do"] = Action(values["do"])
    if values.get("note") == "any":
        values["note"] = -1
    return Binding(**values)


def _names(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
