"""Putting the plugins where hosts look for them, with the interpreter that is to run their engines."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from terrain_core import identity
from terrain_core.errors import FileError
from terrain_plugin.binaries import CLAP, VST3, clap_path, vst3_path

ENGINE_FILE: Final = "engine.json"
"""What the plugin reads to find its Python: see `plugin/native/bridge/interpreter.cpp`."""

ELSEWHERE: Final = "choose another folder with --to"


@dataclass(frozen=True)
class Installed:
    """A plugin in a folder that hosts look into.

    Attributes:
        format: "VST3" or "CLAP".
        bundle: what the host loads.
        python: the interpreter it will start; "" if none is written there.
        version: of the package that put it there; "" if that is not known.
    """

    format: str
    bundle: Path
    python: str
    version: str


@dataclass(frozen=True)
class Format:
    """How a plugin of a format lies in a folder of plugins.

    Attributes:
        name: "VST3" or "CLAP".
        piece: the folder that is put there and taken out as a whole.
        bundle: what a host loads, as a path in `piece`; "." if that is all of it.
        engine: the `ENGINE_FILE`, as a path in `piece`.
        built: finds the compiled plugin.
    """

    name: str
    piece: str
    bundle: str
    engine: str
    built: Callable[[], Path]

    @property
    def content(self) -> set[str]:
        """What lies directly in `piece`."""
        return {ENGINE_FILE, self.bundle} if self.engine == ENGINE_FILE else {"Contents"}


_IN_BUNDLE = f"Contents/Resources/{ENGINE_FILE}"

FORMATS: Final = (
    Format("VST3", VST3, ".", _IN_BUNDLE, vst3_path),
    Format("CLAP", CLAP, ".", _IN_BUNDLE, clap_path)
    if sys.platform == "darwin"
    # A bare file: it gets a folder of its own, in which hosts find it all the same.
    else Format("CLAP", identity.PLUGIN_NAME, CLAP, ENGINE_FILE, clap_path),
)


def user_folders() -> dict[str, Path]:
    """Format -> the folder in which every host of this user looks for plugins."""
    home = Path.home()
    if sys.platform == "darwin":
        return {"VST3": home / "Library/Audio/Plug-Ins/VST3", "CLAP": home / "Library/Audio/Plug-Ins/CLAP"}
    return {"VST3": home / ".vst3", "CLAP": home / ".clap"}


def install(folder: Path | None = None, python: str | None = None) -> list[Installed]:
    """Copy both plugins, each as a whole or not at all, over what was there of them.

    Args:
        folder: where to; None for the user's own plugin folders.
        python: the interpreter that runs the engines; this one if None.
    Raises:
        FileError: the plugins were not built, a folder cannot be written, or something else is in the way.
    """
    engine = {"python": python or sys.executable, "version": identity.VERSION}
    work = [(format, format.built(), _place(format, folder)) for format in FORMATS]
    for format, _, place in work:
        _refuse_what_is_not_ours(format, place)
    for format, built, place in work:
        _replace(format, built, place, engine)
    return list(find_installed(folder))


def uninstall(folder: Path | None = None) -> list[Path]:
    """Take out what `install` put there; returns what was removed.

    Raises:
        FileError: it cannot be removed, or something else is there.
    """
    work = [(format, place) for format in FORMATS if os.path.lexists(place := _place(format, folder))]
    for format, place in work:
        _refuse_what_is_not_ours(format, place)
    for _, place in work:
        try:
            shutil.rmtree(_set_aside(place))
        except OSError as error:
            raise FileError(place, f"cannot be removed ({error.strerror or error})") from None
    return [place for _, place in work]


def find_installed(folder: Path | None = None) -> Iterator[Installed]:
    """What is installed there."""
    for format in FORMATS:
        place = _place(format, folder)
        if (place / format.bundle).exists():
            engine = _read_engine_file(place / format.engine)
            yield Installed(format.name, place / format.bundle, engine.get("python", ""), engine.get("version", ""))


def _place(format: Format, folder: Path | None) -> Path:
    return (folder or user_folders()[format.name]) / format.piece


def _refuse_what_is_not_ours(format: Format, place: Path) -> None:
    """A folder of our name may be a musician's own."""
    if not os.path.lexists(place):
        return
    if place.is_symlink() or not place.is_dir():
        raise FileError(place, "is no folder that this program made", hint=f"move it away, or {ELSEWHERE}")
    foreign = sorted({found.name for found in place.iterdir()} - format.content)
    if foreign:
        raise FileError(place, f"holds something else, {', '.join(foreign[:3])}", hint=ELSEWHERE)


def _replace(format: Format, built: Path, place: Path, engine: dict[str, str]) -> None:
    """Copy beside the place, then swap: no host ever finds half a plugin, and one that has the old one loaded keeps its
    files. If the swap fails, the old one is put back.
    """
    beside = place.with_name(f".{place.name}.new.{os.getpid()}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            _copy(built, beside / format.bundle)
            _write_engine_file(beside / format.engine, engine)
            _swap(place, beside)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    except OSError as error:
        raise FileError(place, f"cannot be written ({error.strerror or error})", hint=ELSEWHERE) from None


def _copy(built: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if built.is_dir():
        shutil.copytree(built, target)
    else:
        shutil.copy2(built, target)


def _swap(place: Path, new: Path) -> None:
    old = _set_aside(place) if place.exists() else None
    try:
        new.rename(place)
    except OSError:
        if old:
            old.rename(place)
        raise
    if old:
        shutil.rmtree(old)


def _set_aside(place: Path) -> Path:
    """Out of the way at once for everybody who looks, however long the deleting takes."""
    return place.rename(place.with_name(f".{place.name}.old.{os.getpid()}"))


def _write_engine_file(path: Path, engine: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(engine, indent=2) + "\n", encoding="utf-8")


def _read_engine_file(path: Path) -> dict[str, str]:
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {key: value for key, value in found.items() if isinstance(value, str)} if isinstance(found, dict) else {}
