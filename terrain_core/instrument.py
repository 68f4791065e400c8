"""The instrument: everything that is needed to play, and its file, `.terrain` (docs/instrument_file.md).

The file is a zip with `instrument.json`, arrays as safetensors, perhaps a picture and perhaps the autoencoder; nothing
in it is ever executed or unpickled. Keys and members that this version does not know are kept and written back.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from terrain_core import autoencoders
from terrain_core.archive import Archive, write_archive
from terrain_core.autoencoders.protocol import Autoencoder
from terrain_core.errors import FileError, InputError
from terrain_core.one_shots.kit import Kit
from terrain_core.parameters import DEFAULTS
from terrain_core.safe_write import replacing
from terrain_core.sound_map import Blending, SoundMap
from terrain_core.terrain import Terrain

if TYPE_CHECKING:
    from terrain_core.explorer.explorer import Explorer
    from terrain_core.looper.chain import LooperChain

FORMAT: Final = "latent-terrain instrument"
VERSION: Final = 1

INFO = "instrument.json"
TERRAIN = "terrain.safetensors"
SOUND_MAP = "sound_map.safetensors"
PREVIEW = "preview.png"
AUTOENCODER = "autoencoder.zip"
"""The embedded autoencoder's bundle, as `terrain_core.autoencoders.load_bytes` reads it."""

LOOPS = "loops.safetensors"
CHAIN = "chain"
"""In the description's `loops`: the loopers whose loops `LOOPS` has."""

EXPLORER = "explorer.safetensors"
"""Latents and places of the sounds that `instrument.json` has under `explorer`."""

MEMBERS: Final = frozenset({INFO, TERRAIN, SOUND_MAP, PREVIEW, AUTOENCODER, LOOPS, EXPLORER})
KEYS: Final = frozenset(
    {"format", "version", "autoencoder", "terrain", "sound_map", "presets", "loops", "metadata", "explorer", "kit"}
)

Resolve = Callable[[str], Autoencoder]
"""Finds an autoencoder by a name ("builtin") or by the path of its file."""

Preview = bytes | Callable[["Instrument"], bytes]


class Instrument:
    """An autoencoder, a terrain and/or a sound map, presets and loops.

    Attributes:
        autoencoder: shared, read-only.
        terrain: None if there is only a map.
        sound_map: None if there is only a terrain.
        presets: name -> parameter key -> plain value. Keys that this version does not know are kept.
        loops: what else a looper remembers, as JSON values.
        chain: loopers that play with it, and their loops; None if there are none.
        explorer: the sounds that it was made from, and what was learned and kept of them; None if it has none.
        kit: how notes play one-shots; None for an autoencoder that makes none, or a plain kit.
        metadata: whatever describes the instrument (title, author, licence, …), as JSON values.
        preview: a PNG, or None.
    """

    def __init__(
        self,
        autoencoder: Autoencoder,
        terrain: Terrain | None,
        sound_map: SoundMap | None = None,
        presets: Mapping[str, Mapping[str, float]] | None = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        loops: Mapping[str, Any] | None = None,
        chain: LooperChain | None = None,
        explorer: Explorer | None = None,
        kit: Kit | None = None,
        preview: bytes | None = None,
    ) -> None:
        """
        Raises:
            InputError: terrain or map give latents of another size than the autoencoder takes, or a preset is not
                numbers by key.
        """
        self.autoencoder = autoencoder
        self.terrain = terrain
        self.sound_map = sound_map
        self.presets = _checked_presets(presets or {})
        self.loops = dict(loops or {})
        self.chain = chain
        self.explorer = explorer
        self.kit = kit
        self.metadata = dict(metadata or {})
        self.preview = preview
        self._embedded = False
        self._unknown_keys: dict[str, Any] = {}
        self._unknown_members: dict[str, bytes] = {}
        collection = explorer.collection if explorer is not None else None
        for what, part in (("terrain", terrain), ("sound map", sound_map), ("collection of sounds", collection)):
            if part is not None and part.latent_size != autoencoder.latent_size:
                raise InputError(
                    f"the {what} gives {part.latent_size} latents, but the autoencoder {autoencoder.name} takes "
                    f"{autoencoder.latent_size}"
                )

    def _repr_png_(self) -> bytes:
        from terrain_core.notebook import instrument_png

        return instrument_png(self)

    def preset(self, name: str) -> dict[str, float]:
        """A preset's values of the parameters that this version knows, by key.

        Raises:
            InputError: no such preset.
        """
        if name not in self.presets:
            raise InputError(
                f"no preset is called {name!r}: expected one of {', '.join(self.presets) or '(there are none)'}"
            )
        return {key: value for key, value in self.presets[name].items() if key in DEFAULTS}

    def save(
        self, path: str | os.PathLike[str], embed_autoencoder: bool = False, preview: Preview | None = None
    ) -> None:
        """Write the instrument as a whole, or leave `path` as it was. Equal instruments give equal bytes.

        Args:
            path: the file, usually NAME.terrain.
            embed_autoencoder: put the autoencoder's file into it, so that it plays anywhere; else it is named, with its
                SHA-256. An instrument that was loaded with its autoencoder inside keeps it inside.
            preview: a PNG, or what makes one; None keeps `self.preview`.
        Raises:
            FileError: `path` cannot be written.
            InputError: the autoencoder is to be embedded but has no file of its own.
        """
        path = Path(path)
        embed = embed_autoencoder or self._embedded
        if preview is not None:
            self.preview = preview if isinstance(preview, bytes) else preview(self)
        members = dict(self._unknown_members)
        info = {**self._unknown_keys, "format": FORMAT, "version": VERSION}
        info["autoencoder"] = _reference(self.autoencoder, path.parent)
        info |= {"metadata": self.metadata, "presets": self.presets, "loops": self.loops}
        if self.chain is not None:
            facts, arrays = self.chain.to_parts()
            info["loops"] = self.loops | {CHAIN: facts}
            members[LOOPS] = _pack(arrays)
        if self.kit is not None:
            info["kit"] = self.kit.as_dict()
        if self.terrain is not None:
            info["terrain"] = self.terrain.settings()
            members[TERRAIN] = _pack(self.terrain.arrays())
        if self.sound_map is not None:
            info["sound_map"] = {"names": list(self.sound_map.names)}
            blending = self.sound_map.blending.settings()
            if blending:
                info["sound_map"]["blending"] = blending
            members[SOUND_MAP] = _pack({"positions": self.sound_map.positions, "latents": self.sound_map.latents})
        if self.explorer is not None:
            info["explorer"], arrays = self.explorer.to_parts(self.sound_map)
            members[EXPLORER] = _pack(arrays)
        if self.preview is not None:
            members[PREVIEW] = self.preview
        if embed:
            members[AUTOENCODER] = _bytes_of(self.autoencoder)
        with replacing(path) as beside:
            write_archive(beside, {INFO: _to_json(info), **members})

    @classmethod
    def load(cls, path: str | os.PathLike[str], resolve: Resolve | None = None) -> Instrument:
        """Read an instrument.

        Args:
            path: a `.terrain` file.
            resolve: finds the autoencoder; `terrain_core.autoencoders.load` if None.
        Raises:
            FileError: missing, damaged, hostile, from a newer version, or its autoencoder cannot be found or is another
            one.
        """
        path = Path(path)
        with Archive(path) as archive:
            info = _read_info(archive)
            instrument = _Loader(archive, info, resolve or autoencoders.load).instrument(cls)
        return instrument


class _Loader:
    """One `Instrument.load`: archive and description to objects, every complaint with file and member."""

    def __init__(self, archive: Archive, info: dict[str, Any], resolve: Resolve) -> None:
        self._archive = archive
        self._info = info
        self._resolve = resolve

    def instrument(self, kind: type[Instrument]) -> Instrument:
        embedded = self._embedded()
        terrain, sound_map = self._terrain(), self._sound_map()
        explorer = self._explorer(sound_map)
        loops = dict(self._object("loops"))
        chain = self._chain(loops.pop(CHAIN, None))
        try:
            instrument = kind(
                self._autoencoder(embedded),
                terrain,
                sound_map,
                self._object("presets"),
                self._object("metadata"),
                loops=loops,
                chain=chain,
                explorer=explorer,
                kit=Kit.from_dict(self._object("kit")) if "kit" in self._info else None,
                preview=self._archive.read(PREVIEW) if PREVIEW in self._archive else None,
            )
        except InputError as error:
            raise self._archive.error(str(error), INFO) from error
        instrument._embedded = embedded is not None
        instrument._unknown_keys = {key: value for key, value in self._info.items() if key not in KEYS}
        instrument._unknown_members = {
            name: self._archive.read(name) for name in self._archive.names if name not in MEMBERS
        }
        return instrument

    def _chain(self, facts: Any) -> LooperChain | None:
        if facts is None:
            return None
        from terrain_core.looper.chain import LooperChain  # which needs the engine, and that this module

        if not isinstance(facts, dict):
            raise self._archive.error(f"the chain of loopers is {_kind(facts)}: expected an object", INFO)
        try:
            return LooperChain.from_parts(facts, self._arrays(LOOPS) if LOOPS in self._archive else {})
        except InputError as error:
            raise self._archive.error(str(error), LOOPS) from error

    def _explorer(self, sound_map: SoundMap | None) -> Explorer | None:
        if "explorer" not in self._info and EXPLORER not in self._archive:
            return None
        from terrain_core.explorer.explorer import Explorer  # which not all instruments have

        facts, arrays = self._object("explorer"), self._arrays(EXPLORER)
        try:
            return Explorer.from_parts(facts, arrays, sound_map)
        except InputError as error:
            raise self._archive.error(str(error), EXPLORER) from error

    def _object(self, key: str) -> dict[str, Any]:
        value = self._info.get(key, {})
        if not isinstance(value, dict):
            raise self._archive.error(f"{key!r} is {_kind(value)}: expected an object", INFO)
        return value

    def _terrain(self) -> Terrain | None:
        if "terrain" not in self._info and TERRAIN not in self._archive:
            return None
        settings = self._object("terrain")
        arrays = self._arrays(TERRAIN)
        try:
            return Terrain.from_arrays(settings, arrays)
        except InputError as error:
            raise self._archive.error(str(error), TERRAIN) from error

    def _sound_map(self) -> SoundMap | None:
        if "sound_map" not in self._info and SOUND_MAP not in self._archive:
            return None
        facts = self._object("sound_map")
        names, blending = facts.get("names", []), facts.get("blending", {})
        if not isinstance(blending, dict):
            raise self._archive.error(f"the sound map's blending is {_kind(blending)}: expected an object", INFO)
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise self._archive.error("the sound map's names are not a list of texts", INFO)
        arrays = self._arrays(SOUND_MAP)
        missing = {"positions", "latents"} - set(arrays)
        if missing:
            raise self._archive.error(f"lacks the array {' and '.join(sorted(missing))}", SOUND_MAP)
        try:
            return SoundMap(arrays["positions"], arrays["latents"], names, Blending.from_settings(blending))
        except InputError as error:
            raise self._archive.error(str(error), SOUND_MAP) from error

    def _arrays(self, member: str) -> dict[str, NDArray[Any]]:
        data = self._archive.read(member)
        try:
            return safetensors.numpy.load(data)
        # A type that numpy lacks (bfloat16, float8) comes out as KeyError or TypeError.
        except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
            raise self._archive.error(f"is not a readable safetensors file ({error})", member) from error

    def _embedded(self) -> bytes | None:
        return self._archive.read(AUTOENCODER) if AUTOENCODER in self._archive else None

    def _autoencoder(self, embedded: bytes | None) -> Autoencoder:
        reference = self._object("autoencoder")
        name, wanted = reference.get("name"), reference.get("sha256")
        if not isinstance(name, str) or not name:
            raise self._archive.error(f"the autoencoder's name is {_kind(name)}: expected a text", INFO)
        if embedded is not None:
            autoencoder: Autoencoder = autoencoders.load_bytes(embedded, f"{self._archive.path}, {AUTOENCODER}")
        else:
            autoencoder = self._find(name, reference.get("path"))
        found = getattr(autoencoder, "sha256", None)
        if wanted is not None and found is not None and wanted != found:
            raise self._archive.error(
                f"was made with an autoencoder {name!r} whose SHA-256 is {_kind(wanted)}; the one found has {found}",
                INFO,
                hint="use the autoencoder it was made with, or build the instrument anew",
            )
        return autoencoder

    def _find(self, name: str, stored_path: Any) -> Autoencoder:
        """The autoencoder where the instrument says it was, or beside the instrument; else by its name."""
        place = name
        if isinstance(stored_path, str):
            folder = self._archive.path.parent
            candidates = (folder / stored_path, folder / Path(stored_path).name)
            place = next((str(candidate) for candidate in candidates if candidate.exists()), name)
        try:
            return self._resolve(place)
        except InputError as error:
            raise self._archive.error(f"its autoencoder cannot be found: {error}", INFO) from error


def _shipped_name(autoencoder: Autoencoder) -> str | None:
    """The name under which the package itself ships this autoencoder; None if it comes from elsewhere."""
    for name in autoencoders.names():
        try:
            shipped = autoencoders.load(name)
        except FileError:  # a build without the weights can still save instruments that do not need them
            continue
        if shipped.sha256 == getattr(autoencoder, "sha256", None):
            return name
    return None


def _reference(autoencoder: Autoencoder, folder: Path) -> dict[str, Any]:
    """What `instrument.json` says about the autoencoder: its name, its identity, and the path of its file if it has
    one.
    """
    sha256 = getattr(autoencoder, "sha256", None)
    shipped = _shipped_name(autoencoder)
    if shipped is not None:
        return {"name": shipped, "sha256": sha256}
    file = Path(getattr(autoencoder, "path", ""))
    path = {"path": _relative(file, folder)} if file.name and file.exists() else {}
    return {"name": autoencoder.name, "sha256": sha256, **path}


def _relative(file: Path, folder: Path) -> str:
    """The file's path from the folder, so that both can be moved together; absolute where there is none (another
    drive).
    """
    try:
        return Path(os.path.relpath(file.resolve(), folder.resolve())).as_posix()
    except ValueError:
        return str(file.resolve())


def _bytes_of(autoencoder: Autoencoder) -> bytes:
    if not hasattr(autoencoder, "to_bytes"):
        raise InputError(f"the autoencoder {autoencoder.name} cannot be put into a file; save without embedding it")
    data: bytes = autoencoder.to_bytes()
    return data


def _pack(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    packed: bytes = safetensors.numpy.save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    return packed


def _to_json(info: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(info, indent=2, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise InputError(f"metadata, presets and loops must be plain JSON values ({error})") from error


def _read_info(archive: Archive) -> dict[str, Any]:
    try:
        info = json.loads(archive.read(INFO), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise archive.error(f"is not JSON ({error})", INFO) from error
    if not isinstance(info, dict) or info.get("format") != FORMAT:
        raise archive.error(f'does not describe an instrument: expected an object with "format": "{FORMAT}"', INFO)
    version = info.get("version")
    if not isinstance(version, int) or version < 1:
        raise archive.error(f"its version is {_kind(version)}: expected a whole number from 1", INFO)
    if version > VERSION:
        raise archive.error(
            f"has format version {version}, made by a newer Latent Terrain: this one reads up to {VERSION}",
            INFO,
            hint="update Latent Terrain",
        )
    return info


def _refuse_constant(constant: str) -> float:
    raise ValueError(f"{constant} is no JSON number")


def _checked_presets(presets: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    for name, values in presets.items():
        if not isinstance(values, Mapping):
            raise InputError(f"the preset {name!r} is {_kind(values)}: expected parameter values by key")
        for key, value in values.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
                raise InputError(f"the preset {name!r} sets {key} to {_kind(value)}: expected a finite number")
    return {name: dict(values) for name, values in presets.items()}


def _kind(value: object) -> str:
    """A value as an error shows it, never long."""
    text = "missing" if value is None else repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
