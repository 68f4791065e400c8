from __future__ import annotations

import contextlib
import random
import struct
import zlib
from pathlib import Path

import pytest

from terrain_core.errors import InputError
from terrain_core.parameters import PARAMETERS
from terrain_core.plugin_state import CHUNK, HEADER, MAGIC, InstrumentReference, PluginState

EVERY_VALUE = {
    p.key: p.from_normalised((index + 0.5) / len(PARAMETERS)) for index, p in enumerate(PARAMETERS)
}  # distinct, so that swaps show

FULL = PluginState(
    parameters=EVERY_VALUE,
    instrument=InstrumentReference("/sounds/forêt.terrain", "ab" * 32, "forêt", b"PK\x03\x04 a file"),
    loops=b"\x00loops",
    unknown_parameters={9001: -3.5},
    unknown_chunks={b"LATE": b"r"},
)


def test_comes_back_whole() -> None:
    assert PluginState.from_bytes(FULL.to_bytes()) == FULL


def test_bytes_are_as_documented() -> None:
    body = b"PARM" + struct.pack("<I", 12) + struct.pack("<Id", 1, 0.25)
    expected = b"LTERRAIN" + struct.pack("<III", 1, zlib.crc32(body), len(body)) + body
    assert PluginState({"x": 0.25}).to_bytes() == expected


def test_trailing_bytes_are_left_alone() -> None:
    assert PluginState.from_bytes(FULL.to_bytes() + b"\x00" * 8) == FULL, "some hosts pad"


def test_every_truncation_is_refused() -> None:
    data = FULL.to_bytes()
    for length in range(len(data)):
        with pytest.raises(InputError, match="plugin state"):
            PluginState.from_bytes(data[:length])


def test_every_flipped_byte_after_the_magic_is_refused() -> None:
    data = FULL.to_bytes()
    for index in range(8, len(data)):
        damaged = bytearray(data)
        damaged[index] ^= 0x41
        with pytest.raises(InputError, match="plugin state"):
            PluginState.from_bytes(bytes(damaged))


def test_random_bytes_behind_a_right_checksum_never_do_more_than_raise() -> None:
    draw = random.Random(1)
    for _ in range(300):
        name = draw.choice([b"PARM", b"INST", b"FILE", b"LOOP", b"????"])
        content = draw.randbytes(draw.randrange(40))
        body = CHUNK.pack(name, draw.choice([len(content), draw.randrange(2**32)])) + content
        with contextlib.suppress(InputError):
            PluginState.from_bytes(HEADER.pack(MAGIC, 1, zlib.crc32(body), len(body)) + body)


def test_a_newer_version_says_so() -> None:
    data = bytearray(FULL.to_bytes())
    data[8] = 2
    with pytest.raises(InputError, match="newer than 1"):
        PluginState.from_bytes(bytes(data))


def test_values_that_are_no_numbers_are_left_out_and_others_clamped() -> None:
    rows = struct.pack("<Id", 1, float("nan")) + struct.pack("<Id", 2, 7.0)
    body = CHUNK.pack(b"PARM", len(rows)) + rows
    state = PluginState.from_bytes(HEADER.pack(MAGIC, 1, zlib.crc32(body), len(body)) + body)
    assert state.parameters == {"y": 1.0}


def test_reference_embeds_small_files_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "forest.terrain"
    file.write_bytes(b"1234")
    reference = InstrumentReference.of(file)
    assert (reference.name, reference.embedded, reference.path) == ("forest", b"1234", str(file))
    monkeypatch.setattr("terrain_core.plugin_state.LARGEST_EMBEDDED", 3)
    assert InstrumentReference.of(file).embedded == b""
