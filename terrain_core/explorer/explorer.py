"""What an instrument carries so that its sounds can be explored: collection, projection, attributes, presets, pins."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from terrain_core.autoencoders.protocol import Latents
from terrain_core.errors import InputError
from terrain_core.explorer.attributes import Attribute
from terrain_core.explorer.collection import FRAMES, Collection, Sound, with_own_names
from terrain_core.explorer.presets import Preset, PresetBook
from terrain_core.explorer.projection import Projection, ProjectionSettings, given, lattice, project
from terrain_core.explorer.space import LatentSpace, Vectors
from terrain_core.explorer.steering import Pin
from terrain_core.sound_map import SoundMap

if TYPE_CHECKING:
    from terrain_core.instrument import Instrument

By = Literal["sounds", "frames"]
Mode = Literal["data", "model", "synth"]
MODES: Final = ("data", "model", "synth")

DRAWS = "draws"
PREFIX: Final = ("sounds.", "map.")
VECTORS = PREFIX[1] + "vectors"
SYNTH_POINTS = 48 * 48
MOST_CHANGES = 16
"""Changes of the presets that an instrument's file remembers."""


@dataclass
class Explorer:
    """An instrument's sounds, and what was learned and kept of them.

    Attributes:
        collection: the sounds.
        projection: where they are on the map; None before there is one.
        by: whether the map shows whole sounds (each its held frame) or each frame of each.
        attributes: by name.
        presets: points, paths, scenes.
        pins: what the terrain is steered by.
        history: the presets before each of the last changes, the latest last: what `undo` goes back to.
        draws: latents (n, D) that the model was asked for by chance, kept so that they stay the same; None: not yet.
    """

    collection: Collection
    projection: Projection | None = None
    by: By = "sounds"
    attributes: dict[str, Attribute] = field(default_factory=dict)
    presets: PresetBook = field(default_factory=PresetBook)
    pins: tuple[Pin, ...] = ()
    draws: Latents | None = None
    history: list[tuple[Preset, ...]] = field(default_factory=list)

    @cached_property
    def space(self) -> LatentSpace:
        """Of all frames of all sounds."""
        return LatentSpace.of(self.collection.frames())

    def change(self, how: Callable[[PresetBook], None]) -> None:
        """Change the presets such that it can be taken back, even after the instrument was saved and loaded."""
        before = tuple(self.presets)
        how(self.presets)
        self.history = [*self.history, before][-MOST_CHANGES:]

    def keep(self, preset: Preset) -> None:
        """Put a preset into the book; see `change`."""
        self.change(lambda book: book.put(preset))

    def undo(self) -> bool:
        """Take back the last `change` that is remembered; False if none is."""
        if not self.history:
            return False
        self.presets = PresetBook(self.history.pop())
        return True

    def vectors(self, sounds: Iterable[Sound] | None = None) -> Vectors:
        """What the map compares: portraits of sounds, or frames."""
        chosen = self.collection.sounds if sounds is None else tuple(sounds)
        if self.by == "sounds":
            return np.stack([sound.portrait for sound in chosen])
        return np.concatenate([sound.latents for sound in chosen]).astype(np.float64)

    def project(self, settings: ProjectionSettings | None = None) -> None:
        """Lay the map out anew."""
        self.projection = project(self.vectors(), settings)

    def place(self, places: Any) -> None:
        """Take a layout that somebody made: (n, 2) in 0..1, a place for each sound (or frame)."""
        self.projection = given(self.vectors(), places)

    def add(self, sounds: Iterable[Sound]) -> int:
        """More sounds: they are placed on the map, and those that were there stay where they are.

        Returns:
            how many were new.
        """
        before = len(self.collection)
        self.collection = self.collection.with_sounds(sounds)
        fresh = self.collection.sounds[before:]
        if fresh and self.projection is not None:
            self.projection = self.projection.with_vectors(self.vectors(fresh))
        self.__dict__.pop("space", None)
        return len(fresh)

    def sound_map(self, mode: Mode = "data", *, count: int = 500, seed: int = 0) -> SoundMap:
        """The map to be played.

        Args:
            mode: "data": the sounds. "model": latents as the model has them by chance, drawn once and kept. "synth":
                an even pattern of points, each decoded from its own place: with PCA what the plane says there, with
                other methods a blend of the sounds around.
            count: of draws.
            seed: of draws.
        Raises:
            InputError: there is no projection yet, or no such mode.
        """
        projection = self._projected()
        if mode == "data":
            lengths = self.collection.lengths()
            if self.by == "sounds":
                return SoundMap(projection.places, self.collection.held(), self.collection.names)
            names = np.repeat(self.collection.names, lengths).tolist()
            return SoundMap(projection.places, self.collection.frames(), names)
        if mode == "model":
            if self.draws is None or len(self.draws) != count:
                self.draws = self.space.draw(count, seed)
            return SoundMap(projection.place(self._as_vectors(self.draws)), self.draws)
        if mode != "synth":
            raise InputError(f"map mode {mode!r}; expected {', '.join(MODES)}")
        cells = lattice(SYNTH_POINTS, "grid")
        if projection.axes.size:
            latents = projection.vectors_at(cells)[:, : self.collection.latent_size]
            return SoundMap(cells, latents)
        data = self.sound_map("data")
        return SoundMap(cells, data.blend(cells, np.full(len(cells), 8)))

    def place_of(self, name: str) -> Vectors:
        """Where a sound is on the map, (2,); of a map of frames, its held frame.

        Raises:
            InputError: no such sound, or no map yet.
        """
        index = self.collection.index(name)
        row = index
        if self.by == "frames":
            row = int(self.collection.lengths()[:index].sum()) + self.collection.sounds[index].held
        place: Vectors = self._projected().places[row]
        return place

    def place_table(self) -> Vectors:
        """All places on the map, (n, 2).

        Raises:
            InputError: there is no map yet.
        """
        return self._projected().places

    def groups(self) -> list[str]:
        """The group of each place on the map."""
        if self.by == "sounds":
            return self.collection.groups
        return [
            group
            for group, n in zip(self.collection.groups, self.collection.lengths(), strict=True)
            for _ in range(int(n))
        ]

    def _projected(self) -> Projection:
        if self.projection is None:
            raise InputError("there is no map yet: project the sounds first")
        return self.projection

    def _as_vectors(self, latents: Latents) -> Vectors:
        rows = latents.astype(np.float64)
        if self.by == "frames":
            return rows
        # A draw is one latent; as a sound it would move as the sounds do on average.
        course = self.collection.portraits()[:, self.collection.latent_size :].mean(axis=0)
        return np.concatenate([rows, np.tile(course, (len(rows), 1))], axis=1)

    def to_parts(self, sound_map: SoundMap | None = None) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """JSON values and tensors for an instrument's file; `from_parts` reads them.

        What the sound map beside it has, frame by frame, is not written twice; nor what frames say of themselves.
        """
        sounds, arrays = self.collection.to_parts()
        packed = {PREFIX[0] + name: array for name, array in arrays.items()}
        facts: dict[str, Any] = {
            "by": self.by,
            "sounds": sounds,
            "attributes": [attribute.as_dict() for attribute in self.attributes.values()],
            "presets": self.presets.as_list(),
            "pins": [pin.as_dict() for pin in self.pins],
        }
        if self.history:
            facts["history"] = [[preset.as_dict() for preset in presets] for presets in self.history]
        if self.projection is not None:
            facts["projection"], arrays = self.projection.to_parts()
            packed |= {PREFIX[1] + name: array for name, array in arrays.items()}
        if self.by == "frames":
            packed.pop(VECTORS, None)
            for name, shared in _shared(sound_map).items():
                if name in packed and np.array_equal(packed[name], shared):
                    del packed[name]
        if self.draws is not None:
            packed[DRAWS] = self.draws
        return facts, packed

    @classmethod
    def from_parts(
        cls, facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], sound_map: SoundMap | None = None
    ) -> Explorer:
        """
        Raises:
            InputError: what is there does not belong together.
        """

        def own(prefix: str) -> dict[str, NDArray[Any]]:
            return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}

        def listed(key: str) -> list[Any]:
            value = facts.get(key, [])
            if not isinstance(value, list):
                raise InputError(f"{key} of the explorer are no list")
            return value

        by = facts.get("by", "sounds")
        if by not in ("sounds", "frames"):
            raise InputError(f"the explorer's map is by {by!r}: expected sounds or frames")
        if by == "frames":
            arrays = {**_shared(sound_map), **arrays}
        collection = Collection.from_parts(listed("sounds"), own(PREFIX[0]))
        projection = None
        if "projection" in facts:
            if not isinstance(facts["projection"], Mapping):
                raise InputError("the explorer's projection is no object")
            if by == "frames":
                arrays = {VECTORS: collection.frames().astype(np.float64), **arrays}
            projection = Projection.from_parts(facts["projection"], own(PREFIX[1]))
            rows = len(collection) if by == "sounds" else int(collection.lengths().sum())
            if len(projection.places) != rows:
                raise InputError(f"the map has {len(projection.places)} places for {rows} {by}")
        attributes = [Attribute.from_dict(fact) for fact in listed("attributes")]
        pins = tuple(Pin.from_dict(fact) for fact in listed("pins"))
        sizes = {len(a.direction) for a in attributes} | {len(pin.latent) for pin in pins} | {collection.latent_size}
        draws = arrays.get(DRAWS)
        if draws is not None:
            if draws.ndim != 2 or not np.isfinite(draws).all():
                raise InputError(f"the explorer's draws have the shape {draws.shape}: expected (n, D), finite")
            sizes.add(draws.shape[1])
        if len(sizes) > 1:
            raise InputError(f"the explorer's parts have {sorted(sizes)} latents; expected the same number in all")
        return cls(
            collection,
            projection,
            by,
            {attribute.name: attribute for attribute in attributes},
            PresetBook.from_list(listed("presets")),
            pins,
            None if draws is None else np.asarray(draws, np.float32),
            [tuple(PresetBook.from_list(presets)) for presets in listed("history")],
        )


def _shared(sound_map: SoundMap | None) -> dict[str, NDArray[Any]]:
    """What a map of frames and an explorer by frames both have, by the explorer's names."""
    if sound_map is None:
        return {}
    return {PREFIX[0] + FRAMES: sound_map.latents, PREFIX[1] + "places": sound_map.positions}


def explorer_of(instrument: Instrument) -> Explorer:
    """What an instrument carries; or, made of the sounds on its map, each the frames of one name in their order, at the
    places that they have.

    Raises:
        InputError: it has neither an explorer nor a sound map.
    """
    if instrument.explorer is not None:
        return instrument.explorer
    known = instrument.sound_map
    if known is None:
        raise InputError("this instrument knows no sounds: make a map of some first, with terrain map --from")
    names = np.array(known.names or [f"sound {n}" for n in range(1, len(known) + 1)])
    cuts = np.flatnonzero(names[1:] != names[:-1]) + 1
    firsts = [0, *cuts.tolist()]
    sounds = [
        Sound(str(names[first]), rows, len(rows) // 2)
        for first, rows in zip(firsts, np.split(known.latents, cuts), strict=True)
    ]
    found = Explorer(Collection(with_own_names(sounds)), by="frames")
    found.place(np.clip(known.positions, 0.0, 1.0))
    return found
