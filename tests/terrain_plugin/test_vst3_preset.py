from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from terrain_core.errors import FileError
from terrain_core.plugin_state import InstrumentReference, PluginState
from terrain_core.vst3_preset import pack_preset, read_preset, unpack_preset, write_preset

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


# The command


def test_the_command_makes_a_preset_of_an_instrument(
    terrain: Callable[..., SimpleNamespace], instrument_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "Small.vstpreset"
    done = terrain("plugin", "preset", instrument_file, "-o", out, "--set", "run=Transport", "--set", "level=-6 dB")
    assert (done.code, done.out) == (0, f"{out}: plays small, a copy of it inside\n")
    found = read_preset(out)
    assert found.parameters == {"run": 1.0, "level": -6.0}
    assert found.instrument == InstrumentReference.of(instrument_file)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.terrain", "-o", "a.vstpreset"], "none.terrain"),
        (["broken.terrain", "-o", "a.vstpreset"], "broken.terrain"),
        (["small.terrain", "-o", "a.preset"], ".vstpreset"),
        (["small.terrain", "-o", "a.vstpreset", "--set", "w=1"], "no parameter is called 'w'"),
        (["small.terrain", "-o", "a.vstpreset", "--set", "x=7"], "X cannot be '7'"),
        (["small.terrain", "-o", "a.vstpreset", "--set", "status=Ready"], "status cannot be set"),
        (["small.terrain", "-o", "nowhere/a.vstpreset"], "nowhere"),
    ],
)
def test_the_command_says_what_is_wrong_and_writes_nothing(
    terrain: Callable[..., SimpleNamespace],
    instrument_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.terrain").write_bytes(instrument_file.read_bytes())
    (tmp_path / "broken.terrain").write_text("no zip")
    done = terrain("plugin", "preset", *arguments)
    assert done.code != 0
    assert said in done.err
    assert list(tmp_path.glob("**/*preset")) == []
