from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from terrain_core.instrument import Instrument
from terrain_core.pictures import View, sample_terrain
from terrain_core.terrain.pt_file import read_pt
from terrain_core.trajectories import read_dictionary
from terrain_daws import read
from terrain_plugin.cli.project_commands import parse_time
from terrain_plugin.shipped import DEFAULT_INSTRUMENT

COMMANDS = ("demo", "render", "lanes", "build", "info", "map", "fit", "convert")


def run_outside(*arguments: object, **options) -> subprocess.Popen:
    """The command line in a process of its own, which hears SIGINT even where the tests were started to ignore it."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, *map(str, arguments)]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # what is ignored is inherited, a handler is not
    try:
        return subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
        )
    finally:
        signal.signal(signal.SIGINT, before)


# Help


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_teaches(terrain, command):
    overview = terrain("--help").out
    helped = terrain(command, "--help")
    assert helped.code == 0
    assert command in overview
    assert f"terrain {command} " in helped.out or command == "demo"  # an example


def test_help_is_light():
    code = """
import sys
from terrain_plugin.cli import app
try:
    app(["--help"])
except SystemExit:
    pass
heavy = {"numpy", "torch", "pedalboard", "matplotlib", "onnxruntime", "scipy", "PIL", "lxml"} & set(sys.modules)
sys.exit(f"loaded {heavy}" if heavy else 0)
"""
    process = run_outside("-c", code)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "terrain demo" in out


# From a project


def test_lanes_are_listed(terrain, gesture):
    listed = terrain("lanes", gesture)
    assert listed.code == 0
    for word in ("dawproject", "pressure", "Latent Terrain", "96", "132", "7/8"):
        assert word in listed.out


def test_lanes_json_is_what_others_build_on(terrain, gesture):
    found = json.loads(terrain("lanes", gesture, "--json").out)
    parts = ["format", "lanes", "tempo", "meters", "markers", "tracks", "instances", "repairs", "unknown"]
    assert list(found) == parts
    project = read(gesture)
    by_key = {lane["key"]: lane for lane in found["lanes"]}
    assert set(by_key) >= {"x", "y", "pressure"}
    lane = project.lanes_by_key()["x"]
    assert list(by_key["x"]) == ["name", "key", "track", "plugin", "active", "points"]
    for point, expected in zip(by_key["x"]["points"], lane.points, strict=True):
        assert point["beat"] == expected.time
        assert point["value"] == expected.value
        assert point["shape"] == expected.shape.value
        assert point["seconds"] == pytest.approx(float(project.tempo_map.seconds_at(expected.time)), abs=1e-9)
    assert list(found["tempo"][0]) == ["beat", "seconds", "bpm", "shape"]
    assert list(found["markers"][0]) == ["name", "beat", "seconds"]


def test_render_json_says_what_was_written(terrain, gesture, instrument_file, tmp_path):
    out = tmp_path / "song.flac"
    done = terrain(
        "render", gesture, "-i", instrument_file, "-o", out, "--from", "1", "--to", "4b", "--sr", "48000", "--json"
    )
    said = json.loads(done.out)
    measured = ["seconds", "sample_rate", "channels", "peak_dbfs", "rms_dbfs", "realtime_factor"]
    assert list(said) == ["out", *measured, "stems"]
    assert (said["out"], said["sample_rate"], said["channels"]) == (str(out), 48000, 1)
    assert said["seconds"] == pytest.approx(4 * 60 / 96 - 1)
    sound, rate = soundfile.read(out)
    assert len(sound) / rate == said["seconds"]
    assert 10 * np.log10(np.mean(sound**2)) == pytest.approx(said["rms_dbfs"], abs=0.01)
    assert done.err == ""


def test_silence_is_null_in_json(terrain, gesture, instrument_file, tmp_path):
    arguments = (
        "-i",
        instrument_file,
        "-o",
        tmp_path / "song.wav",
        "--to",
        "0.5",
        "--fx",
        "gain:gain_db=-1000",
        "--json",
    )
    assert json.loads(terrain("render", gesture, *arguments).out)["rms_dbfs"] is None


def test_a_lane_can_be_mapped_and_effects_chained(terrain, gesture, instrument_file, tmp_path):
    picture = tmp_path / "song.png"
    arguments = [
        "--map",
        "x=Pressure",
        "--fx",
        "reverb:room_size=0.1",
        "--fx",
        "limiter",
        "--to",
        "2",
        "--picture",
        picture,
    ]
    done = terrain("render", gesture, "-i", instrument_file, "-o", tmp_path / "song.ogg", *arguments)
    assert done.code == 0
    assert "stereo, 44100 Hz" in done.out
    with Image.open(picture) as image:
        assert image.format == "PNG"


@pytest.mark.skipif(not DEFAULT_INSTRUMENT.exists(), reason="the default instrument is not built yet")
def test_demo_leaves_sound_and_pictures(terrain, tmp_path):
    done = terrain("demo", "-o", tmp_path / "demo", "--json")
    assert done.code == 0
    said = json.loads(done.out)
    assert said["seconds"] > 10
    assert said["peak_dbfs"] > -20
    written = {path.name for path in (tmp_path / "demo").iterdir()}
    assert written == {"demo.wav", "render.png", "terrain.png"}


def test_times_are_seconds_minutes_or_beats(project):
    tempo = project.tempo_map  # 96 bpm at first
    assert [parse_time(text, tempo) for text in ("12.5", "1:30", "8b", "0")] == [12.5, 90, 5, 0]


def test_a_render_with_the_built_in_never_imports_torch(gesture, instrument_file, tmp_path):
    arguments = ["render", gesture, "-i", instrument_file, "-o", tmp_path / "song.wav", "--to", "1", "--fx", "reverb"]
    code = f"""
import sys
from terrain_plugin.cli import app
try:
    app({[str(argument) for argument in arguments]})
except SystemExit as exit:
    assert exit.code == 0, exit.code
sys.exit("torch was imported" if "torch" in sys.modules else 0)
"""
    process = run_outside("-c", code)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert (tmp_path / "song.wav").exists()


@pytest.mark.parametrize("old", [None, b"old"])
def test_ctrl_c_in_a_render_leaves_no_half_file(gesture, instrument_file, tmp_path, old):
    out = tmp_path / "song.wav"
    if old:
        out.write_bytes(old)
    # Beat 55 is the last: the rest of the hour is one long tone, rendered for longer than this test waits.
    process = run_outside("-m", "terrain_plugin", "render", gesture, "-i", instrument_file, "-o", out, "--to", "60:00")
    wait_for(lambda: any(path.suffix == ".wav" and path != out and path.stat().st_size for path in tmp_path.iterdir()))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.strip() == f"terrain: interrupted: {out} " + ("is as it was before" if old else "was not written")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == ([old] if old else [])


def wait_for(condition, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# Instruments and terrains


@pytest.fixture
def sounds(tmp_path) -> Path:
    """A folder with three short sounds, and something that is no sound."""
    folder = tmp_path / "sounds"
    folder.mkdir()
    for index, hz in enumerate((110, 220, 440)):
        wave = 0.3 * np.sin(2 * np.pi * hz * np.arange(11025) / 44100)
        soundfile.write(folder / f"tone{index}.wav", wave, 44100)
    (folder / "notes.txt").write_text("not a sound")
    return folder


def test_sounds_become_an_instrument_that_plays(terrain, sounds, gesture, tmp_path):
    file, dataset = tmp_path / "tones.terrain", tmp_path / "tones.json"
    built = terrain("build", sounds, "-o", file, "--epochs", "2", "--layout", "packed", "--dataset", dataset, "--json")
    assert built.code == 0
    said = json.loads(built.out)
    frames = -(-11025 // 1024)
    assert (said["sounds"], said["frames"], said["epochs"], said["stopped"]) == (3, 3 * frames, 2, False)
    instrument = Instrument.load(file)
    assert instrument.sound_map is not None
    assert list(dict.fromkeys(instrument.sound_map.names)) == ["tone0", "tone1", "tone2"]
    assert instrument.preview is not None
    assert instrument.preview.startswith(b"\x89PNG")
    pairs = read_dictionary(dataset)
    assert [len(item) for item in pairs.latents] == [frames] * 3
    assert terrain("render", gesture, "-i", file, "-o", tmp_path / "song.wav", "--to", "1").code == 0

    again = tmp_path / "again.terrain"
    assert terrain("fit", dataset, "-o", again, "--from", file, "--epochs", "2").code == 0
    assert Instrument.load(again).sound_map is not None
    assert terrain("fit", dataset, "-o", tmp_path / "max.pt", "--epochs", "2").code == 0
    assert read_pt(tmp_path / "max.pt").latent_size == instrument.autoencoder.latent_size


def test_an_instrument_goes_on_learning_from_its_own_map(terrain, sounds, tmp_path):
    file, better = tmp_path / "tones.terrain", tmp_path / "better.terrain"
    first = json.loads(terrain("build", sounds, "-o", file, "--epochs", "0", "--json").out)
    after = terrain("fit", file, "-o", better, "--epochs", "60", "--json")
    assert after.code == 0
    said = json.loads(after.out)
    assert said["frames"] == first["frames"] == 3 * -(-11025 // 1024)
    assert said["psnr_db"] > first["psnr_db"] + 3
    np.testing.assert_array_equal(Instrument.load(better).sound_map.latents, Instrument.load(file).sound_map.latents)
    assert terrain("info", better).code == 0


def test_learning_from_an_instrument_without_a_map_is_refused(terrain, sounds, tmp_path):
    file = tmp_path / "line.terrain"
    assert terrain("build", sounds, "-o", file, "--epochs", "0", "--layout", "timeline").code == 0
    refused = terrain("fit", file, "-o", tmp_path / "out.terrain")
    assert refused.code == 2
    assert str(file) in refused.err
    assert "no terrain with a sound map" in " ".join(refused.err.split())
    assert not (tmp_path / "out.terrain").exists()


def test_a_notebook_shows_an_instrument(instrument):
    from IPython.core.formatters import PNGFormatter

    assert PNGFormatter()(instrument).startswith(b"\x89PNG")


def test_ctrl_c_in_a_fit_keeps_what_was_learned(terrain, sounds, tmp_path):
    dataset = tmp_path / "tones.json"
    terrain("build", sounds, "-o", tmp_path / "t.terrain", "--epochs", "0", "--dataset", dataset)
    out = tmp_path / "t.pt"
    code = """
import os, signal, sys, threading
from terrain_core.terrain import fit
original = fit.FitProgress.__init__
def first_epoch(self, *arguments, **named):
    original(self, *arguments, **named)
    os.kill(os.getpid(), signal.SIGINT)
fit.FitProgress.__init__ = first_epoch
from terrain_plugin.cli import app
app(sys.argv[1:])
"""
    process = run_outside("-c", code, "fit", dataset, "-o", out, "--epochs", "1000000", "--width", "16")
    said, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert err.strip() == f"terrain: interrupted: {out} holds the terrain as far as it was learned"
    assert str(out) in said
    assert read_pt(out).width == 16


def test_a_terrain_goes_to_max_and_back(terrain, instrument_file, tmp_path):
    pt, back = tmp_path / "small.pt", tmp_path / "back.terrain"
    assert terrain("convert", instrument_file, pt).out.strip() == str(pt)
    assert terrain("convert", pt, back, "--bounds", "0", "0", "1", "1").code == 0
    before, after = Instrument.load(instrument_file).terrain, Instrument.load(back).terrain
    assert before is not None
    assert after is not None
    np.testing.assert_array_equal(after.bounds, before.bounds)
    points = np.random.default_rng(0).uniform(size=(50, 2))
    np.testing.assert_array_equal(after(points), before(points))


def test_map_writes_picture_and_latents(terrain, demo_pt, tmp_path):
    png, npy = tmp_path / "map.png", tmp_path / "map.npy"
    view = ("--bounds", "-16", "-4", "16", "4", "--size", "64x16")
    assert terrain("map", demo_pt, "-o", png, "--npy", npy, *view).code == 0
    latents = np.load(npy, allow_pickle=False)
    np.testing.assert_array_equal(latents, sample_terrain(read_pt(demo_pt), View(-16, -4, 16, 4), (64, 16)))
    with Image.open(png) as picture:
        assert (picture.size, picture.mode) == ((64, 16), "RGB")
    assert terrain("map", demo_pt, "-o", png, *view, "--dim", "2", "--range", "-1", "4").code == 0
    with Image.open(png) as picture:
        expected = np.clip((latents[:, :, 2] + 1) / 5, 0, 1) * 255
        np.testing.assert_allclose(np.asarray(picture), expected, atol=0.51)


def test_map_draws_the_sounds_on_top(terrain, instrument_file, tmp_path):
    pictures = []
    for option in ("--sounds", "--no-sounds"):
        terrain("map", instrument_file, "-o", tmp_path / "map.png", "--size", "100x100", option)
        with Image.open(tmp_path / "map.png") as picture:
            pictures.append(np.asarray(picture).astype(int))
    changed = np.abs(pictures[0] - pictures[1]).max(axis=2) > 60
    assert changed[10, 12:18].all()  # the first sound, from (0.1, 0.1) to (0.2, 0.1)
    assert changed[90, 72:78].all()
    assert not changed[30:70].any()


def test_info_tells_a_person_and_a_program(terrain, instrument_file, demo_pt):
    assert "2 -> 4" in terrain("info", demo_pt).out
    facts = json.loads(terrain("info", demo_pt, "--json").out)
    assert facts["terrain"]["parameters"] == 115720
    facts = json.loads(terrain("info", instrument_file, "--json").out)
    assert (facts["autoencoder"], facts["sound_map"]) == ("builtin", 4)
    assert "builtin" in terrain("info", instrument_file).out
