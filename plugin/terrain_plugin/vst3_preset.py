"""`.vstpreset` files: how VST3 hosts (and DAWproject) keep a plugin's state outside a project.

Layout, little-endian, as Steinberg's public SDK documentation has it: ``VST3``, u32 version, the class id as 32
hexadecimal letters, u64 position of the list; the chunks' bytes; the list: ``List``, u32 count, and for each chunk a
four-letter id, u64 position, u64 size. ``Comp`` is the component's state: ours in full.
"""

from __future__ import annotations

import struct
from os import PathLike
from pathlib import Path
from typing import Final

from terrain_core.errors import FileError, InputError
from terrain_core.identity import PLUGIN_NAME, VST3_CLASS_UUID
from terrain_core.plugin_state import PluginState
from terrain_core.safe_write import replacing

CLASS_ID: Final = VST3_CLASS_UUID.replace("-", "").upper().encode()
COMPONENT: Final = b"Comp"

_HEADER: Final = struct.Struct("<4sI32sQ")
_LIST: Final = struct.Struct("<4sI")
_ENTRY: Final = struct.Struct("<4sQQ")


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
