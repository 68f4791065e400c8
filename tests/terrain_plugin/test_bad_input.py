"""Whatever a command is given: one line that names the file, exit code 2, nothing half-written."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import soundfile


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def rezipped(path: Path, change: Callable[[dict[str, bytes]], dict[str, bytes]]) -> bytes:
    """An archive with some of its members changed."""
    with zipfile.ZipFile(path) as archive:
        return zipped(change({name: archive.read(name) for name in archive.namelist()}))


def with_nan(members: dict[str, bytes]) -> dict[str, bytes]:
    """An instrument whose terrain has a NaN among its weights."""
    arrays = {name: array.copy() for name, array in safetensors.numpy.load(members["terrain.safetensors"]).items()}
    next(iter(arrays.values())).flat[0] = np.nan
    return members | {"terrain.safetensors": safetensors.numpy.save(arrays)}


class Exploit:
    """Would write a file if it were ever unpickled."""

    def __reduce__(self):
        return (Path.touch, (Path("exploited"),))


LAUGHS = b"""<?xml version="1.0"?>
<!DOCTYPE Project [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>
<Project version="1.0"><Application name="&c;" version="1"/></Project>"""

PROJECTS = {
    "empty.dawproject": b"",
    "empty.mid": b"",
    "text.mid": b"this is not a project\n",
    "truncated.mid": b"MThd\x00\x00\x00\x06\x00\x01\x00\x01\x01\xe0MTrk\x00\x00\x10\x00\x00\x90",
    "claims.mid": b"MThd\x00\x00\x00\x06\x00\x01\xff\xff\x01\xe0",
    "pickle.dawproject": pickle.dumps(Exploit()),
    "other.dawproject": zipped({"readme.txt": b"hello"}),
    "broken.dawproject": zipped({"project.xml": b"<Project><Arrangement>", "metadata.xml": b"<MetaData/>"}),
    "laughs.dawproject": zipped({"project.xml": LAUGHS}),
    "bomb.dawproject": zipped({"project.xml": b"<Project>" + b" " * (1 << 29) + b"</Project>"}),
    "noise.dawproject": np.random.default_rng(0).bytes(4096),
}


@pytest.fixture(scope="module")
def hostile_instruments(instrument_file: Path) -> dict[str, bytes]:
    good = instrument_file.read_bytes()
    info = json.loads(zipfile.ZipFile(instrument_file).read("instrument.json"))
    return {
        "empty.terrain": b"",
        "text.terrain": b"not an instrument",
        "truncated.terrain": good[: len(good) // 2],
        "pickle.terrain": pickle.dumps(Exploit()),
        "other.terrain": zipped({"readme.txt": b"hello"}),
        "escape.terrain": rezipped(instrument_file, lambda members: members | {"../../evil": b"x"}),
        "nan.terrain": rezipped(instrument_file, with_nan),
        "lie.terrain": rezipped(instrument_file, lambda members: members | {"terrain.safetensors": b"\xff" * 64}),
        "newer.terrain": rezipped(
            instrument_file, lambda members: members | {"instrument.json": json.dumps(info | {"version": 999}).encode()}
        ),
        "bomb.terrain": rezipped(instrument_file, lambda members: members | {"preview.png": bytes(1 << 29)}),
    }


def expect_complaint(result, file: Path, folder: Path, before: set[str]) -> None:
    assert result.code == 2, result.out
    assert result.err.startswith("terrain: ")
    assert len(result.err.splitlines()) == 1, result.err
    assert file.name in result.err
    assert {path.name for path in folder.iterdir()} == before


def given(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", PROJECTS)
@pytest.mark.parametrize("command", ["lanes", "render"])
def test_projects(terrain, instrument_file, tmp_path, monkeypatch, name, command):
    monkeypatch.chdir(tmp_path)
    file = given(tmp_path, name, PROJECTS[name])
    arguments = ["-i", instrument_file, "-o", tmp_path / "out.wav"] if command == "render" else []
    expect_complaint(terrain(command, file, *arguments), file, tmp_path, {name})


@pytest.mark.parametrize(
    "name",
    ["empty", "text", "truncated", "pickle", "other", "escape", "nan", "lie", "newer", "bomb"],
)
def test_instruments(terrain, gesture, hostile_instruments, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    file = given(tmp_path, f"{name}.terrain", hostile_instruments[f"{name}.terrain"])
    for arguments in (
        ("info", file),
        ("map", file, "-o", "out.png", "--npy", "out.npy"),
        ("convert", file, "out.pt"),
        ("render", gesture, "-i", file, "-o", "out.wav"),
    ):
        expect_complaint(terrain(*arguments), file, tmp_path, {file.name})


@pytest.mark.parametrize("kind", ["empty", "text", "truncated", "pickle", "zip"])
def test_terrains_of_nn_terrain(terrain, demo_pt, tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    contents = {
        "empty": b"",
        "text": b"not a terrain",
        "truncated": demo_pt.read_bytes()[:100_000],
        "pickle": zipped({"x/data.pkl": pickle.dumps(Exploit()), "x/version": b"3\n"}),
        "zip": zipped({"readme.txt": b"hello"}),
    }
    file = given(tmp_path, f"{kind}.pt", contents[kind])
    for arguments in (("info", file), ("map", file, "-o", "out.png"), ("convert", file, "out.terrain")):
        expect_complaint(terrain(*arguments), file, tmp_path, {file.name})


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.wav", b""),
        ("text.wav", b"not a sound"),
        (
            "header.wav",
            b"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x44\xac\x00\x00",
        ),
        ("silence.flac", b"fLaC" + bytes(60)),
    ],
    ids=["empty", "text", "header", "flac"],
)
def test_sounds(terrain, tmp_path, name, content):
    file = given(tmp_path, name, content)
    good = tmp_path / "good.wav"
    soundfile.write(good, np.zeros(2048), 44100)
    before = {name, "good.wav"}
    expect_complaint(
        terrain("build", good, file, "-o", tmp_path / "out.terrain", "--epochs", "0"), file, tmp_path, before
    )
    kept = terrain("build", good, file, "-o", tmp_path / "out.terrain", "--epochs", "0", "--skip-bad")
    assert kept.code == 0
    assert f"left out: {file}" in kept.err


def test_sounds_with_nan(terrain, tmp_path):
    samples = np.zeros(1000, np.float32)
    samples[500] = np.nan
    file = given(tmp_path, "nan.wav", float_wav(samples))
    expect_complaint(terrain("build", file, "-o", tmp_path / "out.terrain"), file, tmp_path, {"nan.wav"})


def float_wav(samples: np.ndarray) -> bytes:
    data = samples.astype("<f4").tobytes()
    layout = struct.pack("<HHIIHH", 3, 1, 44100, 44100 * 4, 4, 32)  # IEEE float, mono
    return (
        b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt " + struct.pack("<I", 16) + layout
        + b"data" + struct.pack("<I", len(data)) + data
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.json", b""),
        ("list.json", b"[1, 2]"),
        ("keys.json", b"{}"),
        ("half.json", b'{"coordinates": {"1": {"0": [1, 2'),
        ("nan.json", b'{"coordinates": {"1": {"0": [NaN], "1": [1]}}, "latents": {"1": {"0": [1]}}}'),
        ("latents.json", b'{"latents": {"1": {"0": [1, 2]}}}'),
        ("ragged.json", b'{"coordinates": {"1": {"0": [1, 2], "1": [1]}}, "latents": {"1": {"0": [1]}}}'),
        ("deep.json", b"[" * 100_000),
    ],
)
def test_datasets(terrain, tmp_path, name, content):
    file = given(tmp_path, name, content)
    expect_complaint(terrain("fit", file, "-o", tmp_path / "out.pt"), file, tmp_path, {name})


def test_missing_files_of_every_command(terrain, gesture, tmp_path):
    out = tmp_path / "out"
    for arguments in (
        ("lanes", tmp_path / "missing.mid"),
        ("render", tmp_path / "missing.mid", "-o", f"{out}.wav"),
        ("render", gesture, "-i", tmp_path / "missing.terrain", "-o", f"{out}.wav"),
        ("build", tmp_path / "missing.wav", "-o", f"{out}.terrain"),
        ("info", tmp_path / "missing.pt"),
        ("map", tmp_path / "missing.terrain", "-o", f"{out}.png"),
        ("fit", tmp_path / "missing.json", "-o", f"{out}.pt"),
        ("convert", tmp_path / "missing.pt", f"{out}.terrain"),
    ):
        result = terrain(*arguments)
        assert (result.code, len(result.err.splitlines())) == (2, 1), arguments
        assert "missing." in result.err
    assert not list(tmp_path.iterdir())


def test_bad_arguments(terrain, gesture, instrument_file, demo_pt, tmp_path):
    render = ("render", gesture, "-i", instrument_file, "-o")
    for arguments, message in (
        ((*render, tmp_path / "out.xyz"), "cannot write .xyz"),
        ((*render, tmp_path / "no" / "out.wav", "--to", "1"), "no folder"),
        ((*render, tmp_path, "--to", "1"), "cannot write"),
        ((*render, tmp_path / "out.wav", "--fx", "revreb"), "did you mean reverb?"),
        ((*render, tmp_path / "out.wav", "--map", "x"), "should read KEY="),
        ((*render, tmp_path / "out.wav", "--set", "level"), "should read KEY=VALUE"),
        ((*render, tmp_path / "out.wav", "--set", "level=loud"), "loud"),
        ((*render, tmp_path / "out.wav", "--set", "wobble=1"), "wobble"),
        ((*render, tmp_path / "out.wav", "--map", "x=Wobble"), "Wobble"),
        ((*render, tmp_path / "out.wav", "--map", "wobble=X"), "wobble"),
        ((*render, tmp_path / "out.wav", "--from", "soon"), "'soon' should be seconds"),
        ((*render, tmp_path / "out.wav", "--from", "9", "--to", "3"), "nothing to render"),
        ((*render, tmp_path / "out.wav", "--to", "1e300b"), "at most 86400 s"),
        (("map", demo_pt, "-o", tmp_path / "out.png", "--size", "big"), "WIDTHxHEIGHT"),
        (("map", demo_pt, "-o", tmp_path / "out.png", "--size", "999999x2"), "1..16384"),
        (("map", demo_pt, "-o", tmp_path / "out.png", "--dim", "4"), "latents 0..3"),
        (("map", demo_pt, "-o", tmp_path / "out.png", "--dim", "1", "--colour"), "choose one"),
        (("map", demo_pt, "-o", tmp_path / "out.jpg"), "should end in .png"),
        (("map", demo_pt, "-o", tmp_path / "out.png", "--bounds", "1", "0", "1", "1"), "bounds"),
        (("info", gesture), "should end in .terrain or .pt"),
        (("convert", demo_pt, tmp_path / "out.txt"), "should end in .terrain or .pt"),
        (("convert", demo_pt, tmp_path / "out.terrain"), "4 latents"),
        (("convert", instrument_file, tmp_path / "out.pt", "--bounds", "0", "0", "1", "1"), "brings its own"),
        (("build", tmp_path, "-o", tmp_path / "out.terrain"), "has no audio file"),
        (("build", gesture, "-o", tmp_path / "out.terrain", "-a", "nothing"), "no autoencoder 'nothing'"),
    ):
        result = terrain(*arguments)
        assert (result.code, len(result.err.splitlines())) == (2, 1), (arguments, result.err)
        assert message in result.err
    assert not list(tmp_path.iterdir())


def test_names_with_control_characters_stay_on_one_line(terrain, tmp_path):
    result = terrain("lanes", tmp_path / "two\nlines\x1b[31m.mid")
    assert len(result.err.splitlines()) == 1
    assert "\x1b" not in result.err
