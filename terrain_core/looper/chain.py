"""Several loopers as one latent effect: one after the other, side by side, or in the order of a song."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from terrain_core.autoencoders.protocol import Latents
from terrain_core.breakpoints import Doubles
from terrain_core.engine.effects import Frames
from terrain_core.engine.sources import unit_coordinates
from terrain_core.errors import InputError
from terrain_core.looper.layer import Layer
from terrain_core.looper.looper import Action, Looper, State, Statistics
from terrain_core.looper.voice import JUMP, Cue, Voice

if TYPE_CHECKING:
    from terrain_core.instrument import Instrument

Mode = Literal["series", "parallel", "song"]
MODES: Final = ("series", "parallel", "song")
MOST_LOOPERS: Final = 256
FOUR_FOUR: Final = 4.0


class LooperChain:
    """Loopers, as one value.

    Args:
        parts: loopers, with names of their own.
        mode: "series": each gets what the one before gives. "parallel": all get what comes in, and are mixed by their
            weights; where those come to less than 1, the rest is what comes in. "song": one at a time, see `song`.
        weights: name -> how much of it is in a parallel mix; 1 for those that are not named.
        routes: name -> first and last latent that it drives, counted from 1; all of them for those that are not named.
        song: (name, how many times its loop is played), from beat 0 on, over and over.
        soloed: names of those that alone are heard; empty: all that are not muted.
        scenes: scene -> looper -> setting -> value; see `with_scene`.

    Raises:
        InputError: two loopers of one name, a name that none has, or a mode that there is not.
    """

    def __init__(
        self,
        *parts: Looper,
        mode: Mode = "series",
        weights: Mapping[str, float] | None = None,
        routes: Mapping[str, tuple[int, int]] | None = None,
        song: Sequence[tuple[str, int]] = (),
        soloed: Iterable[str] = (),
        scenes: Mapping[str, Mapping[str, Mapping[str, Any]]] | None = None,
    ) -> None:
        self.parts = tuple(parts)
        self.mode: Mode = mode
        self.weights = dict(weights or {})
        self.routes = {name: (int(first), int(last)) for name, (first, last) in (routes or {}).items()}
        self.song = tuple((name, int(times)) for name, times in song)
        self.soloed = frozenset(soloed)
        self.scenes = {name: {k: dict(v) for k, v in scene.items()} for name, scene in (scenes or {}).items()}
        self._check()

    def _check(self) -> None:
        names = [part.name for part in self.parts]
        if len(set(names)) < len(names) or not all(names):
            raise InputError(f"a chain has loopers called {', '.join(map(repr, names))}, expected a name for each")
        if not 1 <= len(names) <= MOST_LOOPERS:
            raise InputError(f"a chain of {len(names)} loopers, expected 1 to {MOST_LOOPERS}")
        if self.mode not in MODES:
            raise InputError(f"a chain has mode={self.mode!r}, expected one of {', '.join(MODES)}")
        used = [*self.weights, *self.routes, *(name for name, _ in self.song), *self.soloed]
        used += [name for scene in self.scenes.values() for name in scene]
        for name in used:
            if name not in names:
                raise InputError(f"a chain names {name!r}, expected one of its loopers: {', '.join(names)}")
        for name, weight in self.weights.items():
            if not 0 <= weight <= 1:
                raise InputError(f"looper {name!r} has the weight {weight}, expected 0 to 1")
        for name, (first, last) in self.routes.items():
            if not 1 <= first <= last:
                raise InputError(f"looper {name!r} drives latents {first} to {last}, expected 1 or more, in order")
        if (self.mode == "song") != bool(self.song):
            raise InputError("a chain has an order of a song if, and only if, its mode is song")
        for name, times in self.song:
            if not 1 <= times <= 10_000 or self[name].beats is None:
                raise InputError(
                    f"looper {name!r} is played {times} times in a song, expected 1 to 10,000, and a length"
                )

    def __getitem__(self, name: str) -> Looper:
        """The looper of that name."""
        found = next((part for part in self.parts if part.name == name), None)
        if found is None:
            raise InputError(f"no looper {name!r}, expected one of {', '.join(part.name for part in self.parts)}")
        return found

    def with_scene(self, name: str) -> LooperChain:
        """The chain with a scene's settings.

        Raises:
            InputError: no such scene, or a setting that a looper does not have.
        """
        if name not in self.scenes:
            raise InputError(f"no scene {name!r}, expected one of {', '.join(self.scenes) or '(there are none)'}")
        scene = self.scenes[name]
        return self.with_parts(part.with_settings(scene.get(part.name, {})) for part in self.parts)

    def with_parts(self, parts: Iterable[Looper]) -> LooperChain:
        """The chain with other loopers in it."""
        return LooperChain(
            *parts,
            mode=self.mode,
            weights=self.weights,
            routes=self.routes,
            song=self.song,
            soloed=self.soloed,
            scenes=self.scenes,
        )

    def to_parts(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """The chain as JSON values and arrays, as an instrument's file keeps it; undone by `from_parts`."""
        arrays: dict[str, NDArray[Any]] = {}
        for index, part in enumerate(self.parts):
            if part.layer is not None:
                arrays[f"{index}.phases"], arrays[f"{index}.vectors"] = part.layer.phases, part.layer.vectors
        facts = {
            "mode": self.mode,
            "loopers": [part.settings() for part in self.parts],
            "weights": self.weights,
            "routes": {name: list(route) for name, route in self.routes.items()},
            "song": [list(section) for section in self.song],
            "soloed": sorted(self.soloed),
            "scenes": self.scenes,
        }
        return facts, arrays

    @classmethod
    def from_parts(cls, facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> LooperChain:
        """The chain of `to_parts`.

        Raises:
            InputError: something is missing, or makes no sense.
        """
        options = {
            name: facts[name] for name in ("mode", "weights", "routes", "song", "soloed", "scenes") if name in facts
        }
        try:
            parts = []
            for index, settings in enumerate(facts["loopers"]):
                phases, vectors = arrays.get(f"{index}.phases"), arrays.get(f"{index}.vectors")
                layer = Layer.of(phases, vectors) if phases is not None and vectors is not None else None
                parts.append(Looper.from_settings(settings, layer))
            return cls(*parts, **options)
        except InputError:
            raise
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise InputError(f"a chain of loopers makes no sense ({error})") from None

    def effect(self, instrument: Instrument) -> ChainEffect:
        """What plays the chain with an instrument."""
        return ChainEffect(self, instrument)


class ChainEffect:
    """A chain at work: a latent effect for `render_batch(effects=[…])` or an `Engine`."""

    def __init__(self, chain: LooperChain, instrument: Instrument) -> None:
        self.chain = chain
        self._terrain = instrument.terrain
        self._size = instrument.autoencoder.latent_size
        latents = Statistics.of(instrument.autoencoder)
        control_size = self._terrain.control_size if self._terrain is not None else 0
        middle = Statistics(np.full(control_size, 0.5, np.float32), np.full(control_size, 0.25, np.float32))
        for part in chain.parts:
            if part.kind == "coordinates" and self._terrain is None:
                raise InputError(f"looper {part.name!r} holds coordinates, and the instrument has no terrain")
            wanted = control_size if part.kind == "coordinates" else self._size
            if part.layer is not None and part.layer.size != wanted:
                raise InputError(f"looper {part.name!r} holds vectors of {part.layer.size}, expected {wanted}")
        self.voices = {
            part.name: Voice(part, middle if part.kind == "coordinates" else latents) for part in chain.parts
        }
        self._actions: list[tuple[float, str, Action]] = []

    def do(self, name: str, action: Action, beat: float = -math.inf) -> None:
        """Have a looper do something, at the first frame from `beat` on; it may then wait for its own quantisation.

        Raises:
            InputError: no such looper.
        """
        if name not in self.voices:
            raise InputError(f"no looper {name!r}, expected one of {', '.join(self.voices)}")
        self._actions.append((beat, name, action))

    @property
    def states(self) -> dict[str, State]:
        """What each looper is doing."""
        return {name: voice.state for name, voice in self.voices.items()}

    def reset(self) -> None:
        """A stream begins anew: the loops stay."""

    def process(self, latents: Latents, frames: Frames) -> Latents:
        """The next frames; see `LatentEffect`."""
        if not len(latents):
            return latents
        bars = frames.bars if frames.bars is not None else _four_four(frames.beats)
        due = self._due(frames.beats)
        if self.chain.mode == "series":
            for name in self.voices:
                latents, _ = self._through(name, latents, frames, bars, due)
            return latents
        if self.chain.mode == "song":
            return self._song(latents, frames, bars, due)
        return self._parallel(latents, frames, bars, due)

    def _due(self, beats: Doubles) -> dict[str, list[Cue]]:
        """Which action falls on which of these frames."""
        due: dict[str, list[Cue]] = {}
        waiting = []
        for beat, name, action in self._actions:
            reached = np.flatnonzero(beats >= beat)
            if reached.size:
                row = int(reached[0])
                meant = beat if beats[row] - beat <= JUMP else None
                due.setdefault(name, []).append(Cue(row, action, meant))
            else:
                waiting.append((beat, name, action))
        self._actions = waiting
        return due

    def _through(
        self, name: str, latents: Latents, frames: Frames, bars: Doubles, due: Mapping[str, list[Cue]]
    ) -> tuple[Latents, Doubles]:
        """A looper's latents, and how much of them is the loop: 0 where it is silent."""
        voice = self.voices[name]
        actions = sorted(due.get(name, ()), key=lambda cue: cue.row)
        loudness = np.asarray(frames.controls["pressure"])
        if voice.looper.kind == "coordinates":
            assert self._terrain is not None
            unit = unit_coordinates(frames.controls, self._terrain.control_size).astype(np.float32)
            moved, presence = voice.process(unit, frames.beats, bars, actions, loudness)
            heard = presence > 0
            out = latents.copy()
            if heard.any():
                out[heard] = self._terrain.at(moved[heard].astype(np.float64))
        else:
            out, presence = voice.process(latents, frames.beats, bars, actions, loudness)
        if self.chain.soloed and name not in self.chain.soloed:
            return latents, np.zeros(len(latents))
        columns = self._columns(name)
        if columns != slice(None):
            routed = latents.copy()
            routed[:, columns] = out[:, columns]
            out = routed
        return out, presence

    def _columns(self, name: str) -> slice:
        if name not in self.chain.routes:
            return slice(None)
        first, last = self.chain.routes[name]
        return slice(first - 1, last)

    def _parallel(self, latents: Latents, frames: Frames, bars: Doubles, due: Mapping[str, list[Cue]]) -> Latents:
        total = np.zeros(latents.shape, np.float64)
        mixed = np.zeros(latents.shape, np.float64)
        for name in self.voices:
            out, presence = self._through(name, latents, frames, bars, due)
            columns = self._columns(name)
            share = ((presence > 0) * self.chain.weights.get(name, 1.0))[:, np.newaxis]
            mixed[:, columns] += share * out[:, columns]
            total[:, columns] += share
        rest = np.maximum(1 - total, 0)
        return ((mixed + rest * latents) / np.maximum(total, 1)).astype(np.float32)

    def _song(self, latents: Latents, frames: Frames, bars: Doubles, due: Mapping[str, list[Cue]]) -> Latents:
        """Each section's loop begins with the section."""
        lengths = [float(self.chain[name].beats or Fraction(1)) * times for name, times in self.chain.song]
        edges = np.concatenate([[0.0], np.cumsum(lengths)])
        position = frames.beats % edges[-1]
        section = np.clip(np.searchsorted(edges, position + 1e-9, side="right") - 1, 0, len(lengths) - 1)
        out = latents.copy()
        for index, (name, _) in enumerate(self.chain.song):
            rows = np.flatnonzero(section == index)
            if rows.size:
                voice = self.voices[name]
                beats = position[rows] - edges[index] + voice.looper.origin
                out[rows], _ = voice.process(latents[rows], beats, bars[rows])
        return out

    # --- as bytes -------------------------------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """Everything that the loopers remember; undone by `restore`."""
        parts = {name: voice.to_bytes() for name, voice in self.voices.items()}
        head = json.dumps({name: len(data) for name, data in parts.items()}).encode()
        return len(head).to_bytes(8, "little") + head + b"".join(parts.values())

    def restore(self, data: bytes) -> None:
        """Become what `to_bytes` was taken of; of no bytes, what the chain itself says.

        Raises:
            InputError: damaged, or of a chain with other loopers; nothing was changed.
        """
        if not data:
            self.voices = {name: Voice(self.chain[name], voice.statistics) for name, voice in self.voices.items()}
            return
        try:
            size = int.from_bytes(data[:8], "little")
            sizes = json.loads(data[8 : 8 + size])
            if list(sizes) != list(self.voices):
                raise InputError(f"a state of the loopers {', '.join(sizes)}, expected {', '.join(self.voices)}")
            restored = {}
            position = 8 + size
            for name, voice in self.voices.items():
                fresh = Voice(voice.looper, voice.statistics)
                fresh.restore(data[position : position + int(sizes[name])])
                restored[name] = fresh
                position += int(sizes[name])
        except (ValueError, TypeError, OverflowError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"a chain's state is damaged ({error})") from None
        self.voices = restored


def _four_four(beats: Doubles) -> Doubles:
    return np.stack([np.floor(beats / FOUR_FOUR) * FOUR_FOUR, np.full(len(beats), FOUR_FOUR)], axis=1)
