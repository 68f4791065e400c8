"""`.vstpreset` files: how VST3 hosts (and DAWproject) keep a plugin's state outside a project.

Layout, little-endian, as Steinberg's public SDK documentation has it: ``VST3``, u32 version, the class id as 32
hexadecimal letters, u64 position of the list; the chunks' bytes; the list: ``List``, u32 count, and for each chunk a
four-letter id, u64 position, u64 size. ``Comp`` is the component's state: ours in full.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Final

from terrain_core.errors import FileError, InputError
from terrain_core.identity import PLUGIN_NAME, VST3_CLASS_UUID
from terrain_core.instrument import Instrument
from terrain_core.parameters import by_key
from terrain_core.plugin_state import InstrumentReference, PluginState
from terrain_core.safe_write import replacing

CLASS_ID: Final = VST3_CLASS_UUID.replace("-", "").upper().encode()
COMPONENT: Final = b"Comp"

_HEADER: Final = struct.Struct("<4sI32sQ")
_LIST: Final = struct.Struct("<4sI")
_ENTRY: Final = struct.Struct("<4sQQ")


def state_for(instrument: str | PathLike[str] | None, parameters: Mapping[str, float] | None = None) -> PluginState:
    """What the plugin must be to play an instrument.

    Args:
        instrument: a `.terrain` file; None for the built-in one.
        parameters: key -> plain value of those that are not at their defaults; clamped to their ranges.
    Raises:
        FileError: no such file, or no instrument: the plugin would go on with the one it has.
        InputError: no parameter has such a key, it is read-only, or its value is no number.
    """
    values = {}
    for key, value in (parameters or {}).items():
        if by_key(key).read_only or not math.isfinite(value):
            raise InputError(f"{key} cannot be set to {value}: expected a number, for a parameter that can be set")
        values[key] = by_key(key).clamp(value)
    if instrument is None:
        return PluginState(values)
    Instrument.load(instrument)
    return PluginState(values, InstrumentReference.of(instrument))


def pack_preset(state: PluginState) -> bytes:
    """A state as the bytes of a preset; undone by `unpack_preset`."""
    component = state.to_bytes()
    header = _HEADER.pack(b"VST3", 1, CLASS_ID, _HEADER.size + len(component))
    entry = _ENTRY.pack(COMPONENT, _HEADER.size, len(component))
    return header + component + _LIST.pack(b"List", 1) + entry


def unpack_preset(data: bytes, path: str | PathLike[str] = "<memory>") -> PluginState:
    """The state in a preset's bytes; `path` is what errors call it.

    Raises:
        FileError: no preset, a preset of another plugin, or a damaged one.
    """
    if len(data) < _HEADER.size or data[:4] != b"VST3":
        raise FileError(path, f"begins with {data[:4]!r}: expected a VST3 preset", position="byte 0")
    _, _, class_id, list_at = _HEADER.unpack_from(data)
    if class_id.upper() != CLASS_ID:
        raise FileError(path, f"is a preset of another plugin (class {class_id!r}), not of {PLUGIN_NAME}")
    if list_at + _LIST.size > len(data) or data[list_at : list_at + 4] != b"List":
        raise FileError(path, "is cut short: its list of chunks is missing", position=f"byte {list_at}")
    _, count = _LIST.unpack_from(data, list_at)
    entries = data[list_at + _LIST.size : list_at + _LIST.size + count * _ENTRY.size]
    for id, position, size in _ENTRY.iter_unpack(entries[: len(entries) // _ENTRY.size * _ENTRY.size]):
        if id == COMPONENT:
            try:
                return PluginState.from_bytes(data[position : position + size])
            except InputError as error:
                raise FileError(path, str(error), position=f"byte {position}") from None
    raise FileError(path, "holds no component state (chunk Comp)", position=f"byte {list_at}")


def write_preset(state: PluginState, path: str | PathLike[str]) -> None:
    """Write a `.vstpreset`, as a whole or not at all."""
    with replacing(Path(path)) as beside:
        beside.write_bytes(pack_preset(state))


def read_preset(path: str | PathLike[str]) -> PluginState:
    """Read a `.vstpreset`.

    Raises:
        FileError: it cannot be read, or `unpack_preset` refuses it.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise FileError(path, f"cannot be opened ({error.strerror or error})") from None
    return unpack_preset(data, path)
