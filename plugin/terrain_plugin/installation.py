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


def user_folders() -> dict[str, Path]:
    """Format -> the folder in which every host of this user looks for plugins."""
    home = Path.home()
    if sys.platform == "darwin":
        return {"VST3": home / "Library/Audio/Plug-Ins/VST3", "CLAP": home / "Library/Audio/Plug-Ins/CLAP"}
    return {"VST3": home / ".vst3", "CLAP": home / ".clap"}


def folders_in(folder: Path | None) -> dict[str, Path]:
    """Format -> where it goes: the user's own folders, or VST3 and CLAP side by side in `folder`."""
    return user_folders() if folder is None else {"VST3": folder, "CLAP": folder}


def install(folder: Path | None = None, python: str | None = None) -> list[Installed]:
    """Copy both plugins, each as a whole or not at all, over what was there of them.

    Args:
        folder: where to; None for the user's own plugin folders.
        python: the interpreter that runs the engines; this one if None.
    Raises:
        FileError: the plugins were not built, or a folder cannot be written.
    """
    engine = {"python": python or sys.executable, "version": identity.VERSION}
    folders = folders_in(folder)
    _put(vst3_path(), folders["VST3"] / VST3, lambda copy: _write_engine_file(copy / "Contents/Resources", engine))
    # A .clap is a file: it gets a folder of its own, in which hosts find it all the same, beside its engine.json.
    _put_clap(clap_path(), folders["CLAP"] / identity.PLUGIN_NAME, engine)
    return list(find_installed(folder))


def uninstall(folder: Path | None = None) -> list[Path]:
    """Take out what `install` put there; returns what was removed."""
    folders = folders_in(folder)
    removed = []
    for place in (folders["VST3"] / VST3, folders["CLAP"] / identity.PLUGIN_NAME):
        if place.exists():
            _remove(place)
            removed.append(place)
    return removed


def find_installed(folder: Path | None = None) -> Iterator[Installed]:
    """What is installed there."""
    folders = folders_in(folder)
    for format, bundle, engine_file in (
        ("VST3", folders["VST3"] / VST3, folders["VST3"] / VST3 / "Contents/Resources" / ENGINE_FILE),
        ("CLAP", folders["CLAP"] / identity.PLUGIN_NAME / CLAP, folders["CLAP"] / identity.PLUGIN_NAME / ENGINE_FILE),
    ):
        if bundle.exists():
            engine = _read_engine_file(engine_file)
            yield Installed(format, bundle, str(engine.get("python", "")), str(engine.get("version", "")))


def _put_clap(clap: Path, folder: Path, engine: dict[str, str]) -> None:
    def fill(copy: Path) -> None:
        copy.mkdir()
        (shutil.copytree if clap.is_dir() else shutil.copy2)(clap, copy / CLAP)
        _write_engine_file(copy, engine)

    _replace(folder, fill)


def _put(bundle: Path, place: Path, finish: Callable[[Path], None]) -> None:
    def fill(copy: Path) -> None:
        shutil.copytree(bundle, copy)
        finish(copy)

    _replace(place, fill)


def _replace(place: Path, fill: Callable[[Path], None]) -> None:
    """Have `fill` make a folder beside `place`, then put it there; a host that has the old one open keeps its files."""
    beside = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            fill(beside)
            if place.exists():
                _remove(place)
            beside.rename(place)
        finally:
            if beside.exists():
                shutil.rmtree(beside)
    except OSError as error:
        raise FileError(
            place, f"cannot be written ({error.strerror or error})", hint="choose another folder with --to"
        ) from None


def _remove(place: Path) -> None:
    """Remove a folder at once for everybody who looks, however long the deleting takes."""
    gone = place.with_name(f".{place.name}.old.{os.getpid()}")
    try:
        place.rename(gone)
        shutil.rmtree(gone)
    except OSError as error:
        raise FileError(place, f"cannot be removed ({error.strerror or error})") from None


def _write_engine_file(folder: Path, engine: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ENGINE_FILE).write_text(json.dumps(engine, indent=2) + "\n", encoding="utf-8")


def _read_engine_file(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
