"""`terrain convert`, `info`, `build` and `render` with a genuine RAVE."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from terrain_core import autoencoders
from terrain_core.instrument import Instrument
from tests.rave_models import rave_model


@pytest.fixture(autouse=True)
def nothing_is_trusted(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    from typer.testing import CliRunner

    from terrain_plugin.cli import app

    path = tmp_path_factory.mktemp("bundle") / "rave.zip"
    done = CliRunner().invoke(app, ["convert", str(rave_model("v2_small_causal")), "-o", str(path), "--yes"])
    assert done.exit_code == 0, done.output
    return path


@pytest.fixture
def sounds(tmp_path) -> Path:
    folder = tmp_path / "sounds"
    folder.mkdir()
    t = np.arange(22050) / 44100
    for hz in (110, 330):
        soundfile.write(folder / f"{hz}.wav", 0.5 * np.sin(2 * np.pi * hz * t) * np.exp(-4 * t), 44100)
    return folder


def answering(text: str, *arguments: object) -> subprocess.CompletedProcess:
    """The command with somebody, or nobody, at its standard input."""
    command = [sys.executable, "-m", "terrain_plugin.cli", *map(str, arguments)]
    program = f"import sys; sys.argv = {command[2:]!r}; from terrain_plugin.cli import main; main()"
    return subprocess.run([sys.executable, "-c", program], input=text, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("answer", ["", "\n", "no\n"])
def test_a_torchscript_is_opened_after_a_yes_only(answer, tmp_path):
    out = tmp_path / "rave"
    done = answering(answer, "convert", rave_model("brave"), out)
    assert done.returncode == 2
    assert "runs the code in it" in done.stderr
    assert "was not opened: answer y" in done.stderr
    assert not out.exists()


def test_a_yes_at_the_prompt(tmp_path):
    done = answering("y\n", "convert", rave_model("brave"), tmp_path / "rave")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "rave").iterdir()) == [
        "autoencoder.json",
        "decoder.onnx",
        "encoder.onnx",
    ]


def test_convert_says_what_it_found(terrain, tmp_path):
    done = terrain("convert", rave_model("v1"), tmp_path / "v1.zip", "--yes", "--json")
    facts = json.loads(done.out)
    assert (facts["family"], facts["latent_size"], facts["ratio"]) == ("RAVE v1, variational", 4, 2048)
    assert (facts["sample_rate"], facts["checked_frames"], facts["encoder"]) == (44100, 32, "converted")
    assert facts["delay_samples"] > 2048
    assert 0 < facts["error"] <= facts["error_allowed"] == 1e-6
    assert facts["onnx_ms_per_frame"] > 0
    assert facts["torchscript_ms_per_frame"] > 0
    assert autoencoders.load(tmp_path / "v1.zip").hop == 2048


def test_convert_refuses_what_it_cannot_convert(terrain, tmp_path):
    done = terrain("convert", rave_model("v2_offline"), tmp_path / "no.zip", "--yes")
    assert done.code == 2
    assert "without --streaming); it can be played as TorchScript" in done.err
    assert not (tmp_path / "no.zip").exists()


@pytest.mark.parametrize("arguments", [[], ["a.zip", "-o", "b.zip"]])
def test_convert_wants_one_place(terrain, arguments):
    done = terrain("convert", rave_model("brave"), *arguments, "--yes")
    assert done.code == 2
    assert "name one file to write" in done.err


def test_convert_looks_at_the_place_first(terrain, tmp_path):
    done = terrain("convert", rave_model("brave"), tmp_path / "rave.wav", "--yes")
    assert done.code == 2
    assert "name a folder, or a file that ends in .zip or .onnx" in done.err


def test_one_onnx_file_is_told_about_and_built_with(terrain, sounds, tmp_path):
    model = tmp_path / "rave.onnx"
    assert terrain("convert", rave_model("brave"), "-o", model, "--yes").code == 0
    facts = json.loads(terrain("info", model, "--json").out)
    assert facts["runtime"] == "ONNX Runtime"
    done = terrain("build", sounds, "-o", tmp_path / "made.terrain", "-a", model, "--epochs", "20")
    assert done.code == 0, done.err
    assert Instrument.load(tmp_path / "made.terrain").autoencoder.name == facts["name"]


def test_info_of_a_bundle(terrain, bundle):
    facts = json.loads(terrain("info", bundle, "--json").out)
    assert facts["runtime"] == "ONNX Runtime"
    assert (facts["family"], facts["source"]) == ("RAVE v2, variational", "v2_small_causal.ts")


def test_info_of_a_torchscript(terrain):
    facts = json.loads(terrain("info", rave_model("stereo"), "--yes", "--json").out)
    assert facts["runtime"].startswith("TorchScript")
    assert (facts["channels"], facts["methods"], facts["streaming"]) == (2, "encode, decode, forward", True)


def test_an_instrument_on_sounds_with_a_converted_rave(terrain, bundle, sounds, tmp_path, gesture):
    out, wave = tmp_path / "r.terrain", tmp_path / "r.wav"
    done = terrain("build", sounds, "-o", out, "-a", bundle, "--embed", "--epochs", 20)
    assert done.code == 0, done.err
    instrument = Instrument.load(out)
    assert isinstance(instrument.autoencoder, autoencoders.OnnxAutoencoder)
    assert (instrument.autoencoder.latent_size, len(instrument.sound_map)) == (4, 2 * 44)
    facts = json.loads(terrain("info", out, "--json").out)
    assert (facts["runtime"], facts["family"]) == ("ONNX Runtime", "RAVE v2, variational")
    assert terrain("render", gesture, "-o", wave, "-i", out, "--to", "4").code == 0
    audio, rate = soundfile.read(wave)
    assert len(audio) == pytest.approx(4 * rate, abs=rate)
    assert 0.01 < np.abs(audio).max() <= 1


def test_an_instrument_on_a_torchscript_remembers_the_yes(terrain, sounds, tmp_path, gesture, monkeypatch):
    out, wave = tmp_path / "t.terrain", tmp_path / "t.wav"
    refused = terrain("build", sounds, "-o", out, "-a", rave_model("brave"), "--yes", "--embed")
    assert refused.code == 2
    assert "convert it first" in refused.err
    assert terrain("build", sounds, "-o", out, "-a", rave_model("brave"), "--yes", "--epochs", 2).code == 0
    assert terrain("render", gesture, "-o", wave, "-i", out, "--to", "1").code == 0
    assert np.abs(soundfile.read(wave)[0]).max() > 0.01
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "elsewhere"))  # another user, who has said nothing
    done = terrain("render", gesture, "-o", wave, "-i", out, "--to", "1")
    assert done.code == 2
    assert "is a TorchScript" in done.err
