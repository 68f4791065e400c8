"""The plugin's state as hosts save it: parameters, which instrument, loops.

The same bytes are the VST3 component's state, the CLAP state, and what DAW projects hold in their state chunks. The C++
shim (`plugin/native/core/state.cpp`) reads and writes them too, so that a host can save while no engine runs.

Layout, little-endian:

====== =========== ==========================================================================
offset size        what
====== =========== ==========================================================================
0      8           ``LTERRAIN``
8      u32         version of this layout; a newer one is refused
12     u32         CRC-32 of all bytes from 20 on
16     u32         how many bytes follow
20     chunks      each a four-letter name, a u32 size, and that many bytes
====== =========== ==========================================================================

====== ==========================================================================================
chunk  content
====== ==========================================================================================
PARM   rows of u32 parameter id and f64 plain value; ids that are not in the table are kept
INST   UTF-8 JSON: where the instrument's file was, its SHA-256 and its name
FILE   that file itself, so that a project plays on another machine; only up to `LARGEST_EMBEDDED`
LOOP   the engine's own: loops and whatever else it must remember
====== ==========================================================================================

Chunks of other names come from a newer minor version: they are kept and written back.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Final

from terrain_core.errors import FileError, InputError
from terrain_core.parameters import PARAMETERS, by_key

MAGIC: Final = b"LTERRAIN"
VERSION: Final = 1
HEADER: Final = struct.Struct("<8sIII")
CHUNK: Final = struct.Struct("<4sI")
VALUE: Final = struct.Struct("<Id")

LARGEST_EMBEDDED: Final = 4 * 2**20
"""Bytes. Hosts save the state at every undo step, so that a large instrument is only named."""

LARGEST_STATE: Final = 256 * 2**20
"""Bytes. More is taken for damage."""

_KEYS_BY_ID: Final = {parameter.id: parameter.key for parameter in PARAMETERS}


@dataclass(frozen=True)
class InstrumentReference:
    """Which `.terrain` file plays.

    Attributes:
        path: where it was when the state was made.
        sha256: of the file's bytes, lower-case hex.
        name: what a musician calls it.
        embedded: the file itself; empty if it was too large to take along.
    """

    path: str
    sha256: str
    name: str
    embedded: bytes = b""

    @classmethod
    def of(cls, path: str | PathLike[str]) -> InstrumentReference:
        """The reference to a file on this machine; small files are embedded.

        Raises:
            FileError: it cannot be read.
        """
        file = Path(path)
        try:
            data = file.read_bytes()
        except OSError as error:
            raise FileError(file, f"cannot be opened ({error.strerror or error})") from None
        small = len(data) <= LARGEST_EMBEDDED
        return cls(str(file.absolute()), hashlib.sha256(data).hexdigest(), file.stem, data if small else b"")


@dataclass(frozen=True)
class PluginState:
    """What one plugin instance remembers.

    Attributes:
        parameters: key -> plain value; those that are missing have their defaults.
        instrument: None for the built-in one.
        loops: the engine's own bytes.
        unknown_parameters: id -> value, from a newer version.
        unknown_chunks: name -> bytes, from a newer version.
    """

    parameters: Mapping[str, float] = field(default_factory=dict)
    instrument: InstrumentReference | None = None
    loops: bytes = b""
    unknown_parameters: Mapping[int, float] = field(default_factory=dict)
    unknown_chunks: Mapping[bytes, bytes] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """The state as a host saves it; undone by `from_bytes`.

        Raises:
            InputError: a key that is no parameter's.
        """
        values = {by_key(key).id: value for key, value in self.parameters.items()} | dict(self.unknown_parameters)
        chunks = {b"PARM": b"".join(VALUE.pack(id, values[id]) for id in sorted(values))}
        if self.instrument:
            reference = {name: getattr(self.instrument, name) for name in ("path", "sha256", "name")}
            chunks[b"INST"] = json.dumps(reference, sort_keys=True).encode()
            if self.instrument.embedded:
                chunks[b"FILE"] = self.instrument.embedded
        if self.loops:
            chunks[b"LOOP"] = self.loops
        body = b"".join(
            CHUNK.pack(name, len(data)) + data for name, data in (chunks | dict(self.unknown_chunks)).items()
        )
        return HEADER.pack(MAGIC, VERSION, zlib.crc32(body), len(body)) + body

    @classmethod
    def from_bytes(cls, data: bytes) -> PluginState:
        """Read a state.

        Raises:
            InputError: not a state of ours, damaged, or from a newer version; says where.
        """
        chunks = _chunks(data)
        values = _values(chunks.pop(b"PARM", b""))
        known = {_KEYS_BY_ID[id]: by_key(_KEYS_BY_ID[id]).clamp(v) for id, v in values.items() if id in _KEYS_BY_ID}
        unknown = {id: value for id, value in values.items() if id not in _KEYS_BY_ID}
        instrument = _reference(chunks.pop(b"INST", b""), chunks.pop(b"FILE", b""))
        return cls(known, instrument, chunks.pop(b"LOOP", b""), unknown, chunks)


def _chunks(data: bytes) -> dict[bytes, bytes]:
    if len(data) < HEADER.size or data[:8] != MAGIC:
        raise InputError(
            f"plugin state begins with {data[:8]!r}: expected {MAGIC!r} and a header of {HEADER.size} bytes"
        )
    _, version, checksum, size = HEADER.unpack_from(data)
    if version > VERSION:
        raise InputError(f"plugin state has version {version}, newer than {VERSION}: update Latent Terrain to open it")
    body = data[HEADER.size : HEADER.size + size]
    if len(body) < size:
        raise InputError(f"plugin state ends at byte {len(data)}: expected {HEADER.size + size} bytes")
    if zlib.crc32(body) != checksum:
        raise InputError("plugin state is damaged: its checksum does not match")
    chunks: dict[bytes, bytes] = {}
    position = 0
    while position < size:
        if position + CHUNK.size > size:
            raise InputError(f"plugin state, byte {HEADER.size + position}: a chunk's header is cut short")
        name, length = CHUNK.unpack_from(body, position)
        position += CHUNK.size
        if position + length > size:
            raise InputError(f"plugin state, byte {HEADER.size + position}: chunk {name!r} is cut short")
        chunks[name] = body[position : position + length]
        position += length
    return chunks


def _values(chunk: bytes) -> dict[int, float]:
    if len(chunk) % VALUE.size:
        raise InputError(f"plugin state: chunk PARM has {len(chunk)} bytes, expected a multiple of {VALUE.size}")
    return {id: value for id, value in VALUE.iter_unpack(chunk) if math.isfinite(value)}


def _reference(chunk: bytes, embedded: bytes) -> InstrumentReference | None:
    if not chunk:
        return None
    try:
        found: Any = json.loads(chunk)
    except ValueError as error:
        raise InputError(f"plugin state: chunk INST is no JSON ({error})") from None
    path, sha256, name = (found.get(key) if isinstance(found, dict) else None for key in ("path", "sha256", "name"))
    if not (isinstance(path, str) and isinstance(sha256, str) and isinstance(name, str)):
        raise InputError("plugin state: chunk INST should hold the texts path, sha256 and name")
    return InstrumentReference(path, sha256, name, embedded)
