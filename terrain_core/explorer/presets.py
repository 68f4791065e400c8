"""What a player keeps: points, paths, settings and scenes, by name; in an instrument, or in a file of their own."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from terrain_core.autoencoders.protocol import Autoencoder, Latents
from terrain_core.errors import FileError, InputError
from terrain_core.explorer.collection import Sound, encode_sound, locate
from terrain_core.explorer.morph import Morph, MorphSettings, between
from terrain_core.safe_write import replacing

FORMAT: Final = "latent-terrain presets"
VERSION: Final = 1
LARGEST_FILE = 64 << 20

Kind = Literal["point", "path", "parameters", "scene"]
KINDS: Final = ("point", "path", "parameters", "scene")


@dataclass(frozen=True)
class Preset:
    """A point (one latent), a path (a trajectory), settings of parameters, or a scene: a point or path with settings.

    Attributes:
        latents: (1, D) of a point, (frames, D) of a path; None of parameters alone.
        place: (X, Y) on the map; None if it is nowhere.
        parameters: key -> plain value; keys that this version does not know are kept.
        description, tags: to find it by.
        sound: the name of the sound it came from, empty if from none; `path` and `sha256` are that sound's file: with
            another autoencoder its latents are made again from that.
    """

    name: str
    kind: Kind
    latents: Latents | None = None
    place: tuple[float, float] | None = None
    parameters: Mapping[str, float] = field(default_factory=dict)
    description: str = ""
    tags: tuple[str, ...] = ()
    sound: str = ""
    path: str = ""
    sha256: str = ""

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise InputError("a preset without a name: expected one")
        if self.kind not in KINDS:
            raise InputError(f"the preset {self.name!r} is a {self.kind!r}: expected {', '.join(KINDS)}")
        if self.latents is not None:
            rows = np.array(self.latents, np.float32)
            if rows.ndim != 2 or 0 in rows.shape or not np.isfinite(rows).all():
                raise InputError(f"the preset {self.name!r} has latents of shape {rows.shape}: expected (frames, D)")
            rows.setflags(write=False)
            object.__setattr__(self, "latents", rows)
        rows_needed = {"point": 1, "path": 2}.get(self.kind, 0)
        found = 0 if self.latents is None else len(self.latents)
        if found < rows_needed or (self.kind == "point" and found > 1):
            raise InputError(f"the preset {self.name!r} has {found} latents, which is no {self.kind}")
        if self.kind == "parameters" and not self.parameters:
            raise InputError(f"the preset {self.name!r} sets no parameter: expected at least one")
        for key, value in self.parameters.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise InputError(f"the preset {self.name!r} sets {key} to {value!r}: expected a finite number")
        if self.place is not None and not all(math.isfinite(v) and 0 <= v <= 1 for v in self.place):
            raise InputError(f"the preset {self.name!r} is at {self.place}: expected X and Y in 0..1")

    @classmethod
    def of_sound(cls, sound: Sound, name: str = "", *, held: bool = False, **labels: Any) -> Preset:
        """A sound as a path; or its held frame as a point."""
        point = held or len(sound) == 1
        return cls(
            name or sound.name,
            "point" if point else "path",
            sound.latent[np.newaxis] if point else sound.latents,
            sound=sound.name,
            path=sound.path,
            sha256=sound.sha256,
            **labels,
        )

    def as_dict(self) -> dict[str, Any]:
        """JSON values; what is empty is left out."""
        facts: dict[str, Any] = {"name": self.name, "kind": self.kind}
        if self.latents is not None:
            facts["latents"] = [[float(np.format_float_positional(v, trim="-")) for v in row] for row in self.latents]
        if self.place is not None:
            facts["place"] = list(self.place)
        facts |= {"parameters": dict(self.parameters), "description": self.description, "tags": list(self.tags)}
        facts |= {"sound": self.sound, "path": self.path, "sha256": self.sha256}
        return {key: value for key, value in facts.items() if value not in ("", [], {})}

    @classmethod
    def from_dict(cls, facts: Any) -> Preset:
        """
        Raises:
            InputError: what is there is no preset.
        """
        try:
            latents = facts.get("latents")
            place = facts.get("place")
            return cls(
                str(facts["name"]),
                facts["kind"],
                None if latents is None else np.array(latents, np.float32),
                None if place is None else (float(place[0]), float(place[1])),
                dict(facts.get("parameters", {})),
                str(facts.get("description", "")),
                tuple(str(tag) for tag in facts.get("tags", ())),
                *(str(facts.get(key, "")) for key in ("sound", "path", "sha256")),
            )
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"a preset that is none ({error!r})") from error


class PresetBook:
    """Presets in an order, each name once, with undo and redo without end (while the book is open)."""

    def __init__(self, presets: Iterable[Preset] = ()) -> None:
        self._presets = tuple(presets)
        names = [preset.name for preset in self._presets]
        if len(set(names)) < len(names):
            raise InputError(f"two presets are called {next(n for n in names if names.count(n) > 1)!r}")
        self._before: list[tuple[Preset, ...]] = []
        self._after: list[tuple[Preset, ...]] = []

    def __len__(self) -> int:
        return len(self._presets)

    def __iter__(self) -> Iterator[Preset]:
        return iter(self._presets)

    @property
    def names(self) -> list[str]:
        return [preset.name for preset in self._presets]

    def get(self, name: str) -> Preset:
        """
        Raises:
            InputError: no such preset.
        """
        found = next((preset for preset in self._presets if preset.name == name), None)
        if found is None:
            raise InputError(f"no preset is called {name!r}: expected one of {self._listed()}")
        return found

    def search(self, text: str = "", *, tag: str = "", kind: str = "") -> list[Preset]:
        """Those with all the words of a text in name, description, tags or sound, in capitals or not."""
        words = text.casefold().split()

        def fits(preset: Preset) -> bool:
            said = " ".join([preset.name, preset.description, preset.sound, *preset.tags]).casefold()
            tagged = not tag or tag.casefold() in (own.casefold() for own in preset.tags)
            return all(word in said for word in words) and tagged and kind in ("", preset.kind)

        return [preset for preset in self._presets if fits(preset)]

    def put(self, preset: Preset) -> None:
        """Add a preset, or take the place of the one of its name."""
        if preset.name in self.names:
            self._change(tuple(preset if own.name == preset.name else own for own in self._presets))
        else:
            self._change((*self._presets, preset))

    def remove(self, name: str) -> None:
        gone = self.get(name)
        self._change(tuple(preset for preset in self._presets if preset is not gone))

    def rename(self, name: str, new: str) -> None:
        """
        Raises:
            InputError: no such preset, or the new name is taken.
        """
        old = self.get(name)
        if new != name and new in self.names:
            raise InputError(f"a preset is called {new!r} already: choose another name")
        self._change(tuple(replace(old, name=new) if preset is old else preset for preset in self._presets))

    def undo(self) -> bool:
        """Take back the last change; False if there is none."""
        return self._go(self._before, self._after)

    def redo(self) -> bool:
        """Take back the last `undo`; False if there is none."""
        return self._go(self._after, self._before)

    def similar(self, name: str, count: int = 5) -> list[tuple[str, float]]:
        """The presets nearest to one by the mean of their latents: names and distances."""
        mine = self.get(name)
        if mine.latents is None:
            raise InputError(f"the preset {name!r} has no latents to compare")
        target = mine.latents.mean(axis=0)
        away = [
            (other.name, float(np.linalg.norm(other.latents.mean(axis=0) - target)))
            for other in self._presets
            if other is not mine and other.latents is not None
        ]
        return sorted(away, key=lambda pair: pair[1])[:count]

    def morph(self, first: str, second: str, progress: float, centre: NDArray[Any] | float = 0.0) -> Preset:
        """Something between two presets: latents, place and the parameters that both set; at 0 and 1 the presets'.

        What only one of them has, comes from the nearer one.
        """
        return morphed(self.get(first), self.get(second), progress, centre)

    def after_retrain(self, autoencoder: Autoencoder, folders: Sequence[Path] = ()) -> tuple[PresetBook, list[str]]:
        """The book for another autoencoder: latents are made again from the sounds that presets came from.

        Returns:
            the book, and a line for each preset whose latents could not be made again and were dropped: settings stay,
            points and paths without a sound go.
        """
        kept, lost = [], []
        for preset in self._presets:
            if preset.latents is None:
                kept.append(preset)
                continue
            file = locate(Sound(preset.name, preset.latents, 0, "", preset.path, preset.sha256), folders)
            if file is not None and preset.path:
                fresh = Preset.of_sound(encode_sound(file, autoencoder), held=len(preset.latents) == 1)
                kept.append(replace(preset, latents=fresh.latents))
                continue
            lost.append(f"{preset.name}: " + (f"{preset.path} is not there" if preset.path else "came from no sound"))
            if preset.parameters:
                kept.append(replace(preset, kind="parameters", latents=None))
        return PresetBook(kept), lost

    def save(self, path: str | PathLike[str], autoencoder: str = "") -> None:
        """Write all presets as JSON; `autoencoder` is the identity (SHA-256) of what their latents are for."""
        facts = {"format": FORMAT, "version": VERSION, "autoencoder": autoencoder, "presets": self.as_list()}
        with replacing(path) as beside:
            beside.write_text(json.dumps(facts, ensure_ascii=False, indent=1, allow_nan=False), encoding="utf-8")

    def as_list(self) -> list[dict[str, Any]]:
        """JSON values; `from_list` reads them."""
        return [preset.as_dict() for preset in self._presets]

    @classmethod
    def from_list(cls, facts: Any) -> PresetBook:
        """
        Raises:
            InputError: what is there are no presets.
        """
        if not isinstance(facts, list):
            raise InputError("the presets are no list")
        return cls(Preset.from_dict(fact) for fact in facts)

    @classmethod
    def load(cls, path: str | PathLike[str], autoencoder: str = "") -> PresetBook:
        """Read what `save` wrote.

        Args:
            autoencoder: if both this and the file name one, and they differ, the file is refused.
        Raises:
            FileError: missing, damaged, for another autoencoder, or from a newer version.
        """
        file = Path(path)
        try:
            if file.stat().st_size > LARGEST_FILE:
                raise FileError(file, f"has more than {LARGEST_FILE:,} bytes")
            facts = json.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise FileError(file, f"cannot be opened ({error.strerror or error})") from None
        except (ValueError, RecursionError) as error:
            raise FileError(file, f"is not JSON ({error})") from None
        if not isinstance(facts, dict) or facts.get("format") != FORMAT:
            raise FileError(file, f'holds no presets: expected an object with "format": "{FORMAT}"')
        if not isinstance(facts.get("version"), int) or facts["version"] > VERSION:
            raise FileError(
                file, f"has version {facts.get('version')!r}, expected up to {VERSION}", hint="update Latent Terrain"
            )
        theirs = facts.get("autoencoder") or ""
        if autoencoder and theirs and theirs != autoencoder:
            raise FileError(
                file, "was made with another autoencoder", hint="presets that came from sounds can be encoded again"
            )
        try:
            return cls.from_list(facts.get("presets"))
        except InputError as error:
            raise FileError(file, str(error)) from error

    def _change(self, presets: tuple[Preset, ...]) -> None:
        self._before.append(self._presets)
        self._after.clear()
        self._presets = presets

    def _go(self, source: list[tuple[Preset, ...]], target: list[tuple[Preset, ...]]) -> bool:
        if not source:
            return False
        target.append(self._presets)
        self._presets = source.pop()
        return True

    def _listed(self) -> str:
        names = self.names[:8] + (["…"] if len(self) > 8 else [])
        return ", ".join(names) or "(there are none)"


def morphed(first: Preset, second: Preset, progress: float, centre: NDArray[Any] | float = 0.0) -> Preset:
    """Between two presets; see `PresetBook.morph`."""
    t = float(np.clip(progress, 0.0, 1.0))
    nearer = first if t < 0.5 else second
    latents = nearer.latents
    if first.latents is not None and second.latents is not None:
        mode: Literal["linear", "spherical"] = "spherical" if np.any(centre) else "linear"
        latents = Morph(first.latents, second.latents, MorphSettings(mode=mode), centre).at(t)
    place = nearer.place
    if first.place is not None and second.place is not None:
        x, y = between(first.place, second.place, t)
        place = (float(x), float(y))
    parameters = {
        key: float((1 - t) * first.parameters[key] + t * second.parameters[key])
        for key in first.parameters
        if key in second.parameters
    }
    parameters = dict(nearer.parameters) | parameters
    kind: Kind = "parameters"
    if latents is not None:
        kind = "scene" if parameters else "point" if len(latents) == 1 else "path"
    return Preset(f"{first.name} to {second.name} {t:.0%}", kind, latents, place, parameters)
