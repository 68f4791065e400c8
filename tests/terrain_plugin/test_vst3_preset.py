from __future__ import annotations

import struct
from pathlib import Path

import pytest

from terrain_core.errors import FileError
from terrain_core.plugin_state import InstrumentReference, PluginState
from terrain_plugin.vst3_preset import pack_preset, read_preset, unpack_preset, write_preset

STATE = PluginState({"x": 0.25}, InstrumentReference("/a.terrain", "0" * 64, "a", b"bytes"))


def test_comes_back_whole(tmp_path: Path) -> None:
    write_preset(STATE, tmp_path / "p.vstpreset")
    assert read_preset(tmp_path / "p.vstpreset") == STATE


def test_bytes_are_as_the_format_has_them() -> None:
    component = STATE.to_bytes()
    data = pack_preset(STATE)
    assert data[:8] == b"VST3\x01\0\0\0"
    assert data[8:40] == b"F2D6E8C45B1A4C379E0D7A41B8C95E26"
    assert struct.unpack_from("<Q", data, 40) == (48 + len(component),)
    assert data[48 : 48 + len(component)] == component
    assert data[48 + len(component) :] == b"List\x01\0\0\0Comp" + struct.pack("<QQ", 48, len(component))


def test_every_truncation_is_refused() -> None:
    data = pack_preset(STATE)
    for length in range(len(data)):
        with pytest.raises(FileError):
            unpack_preset(data[:length])


def test_another_plugins_preset_is_refused() -> None:
    data = bytearray(pack_preset(STATE))
    data[8:40] = b"56535456697461766974616C00000000"
    with pytest.raises(FileError, match="another plugin"):
        unpack_preset(bytes(data))


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot be opened"):
        read_preset(tmp_path / "none.vstpreset")
