"""`terrain export` as it is typed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from terrain_core.instrument import Instrument
from terrain_core.trajectories import read_dictionary
from terrain_plugin.cli import app
from terrain_plugin.shipped import DEFAULT_INSTRUMENT


@pytest.fixture
def forest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(DEFAULT_INSTRUMENT, "forest.terrain")
    return tmp_path


def run(*arguments: str):
    return CliRunner().invoke(app, ["export", *arguments])


def test_a_graph_is_exported_again_into_its_own_folder(forest):
    for _ in range(2):
        done = run("--onnx", "forest.terrain", "-o", "out", "--json")
        assert done.exit_code == 0, done.output
        facts = json.loads(done.stdout)
        assert facts["error"] <= 1e-5
        assert [state["input"] for state in facts["states"]][-1] == "gain"
    assert sorted(path.name for path in (forest / "out").iterdir()) == [
        "README.md",
        "instrument.json",
        "instrument.onnx",
    ]


def test_a_module_is_exported_without_a_warning(forest):
    done = subprocess.run(
        [sys.executable, "-m", "terrain_plugin", "export", "--nn", "forest.terrain", "-o", "forest.ts", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    facts = json.loads(done.stdout)
    assert facts["methods"] == ["play", "forward", "terrain", "decode"]
    assert facts["error"] <= 1e-4


def test_a_dataset_has_each_sound_and_its_place(forest):
    done = run("--dataset", "forest.terrain", "-o", "forest.json", "--json")
    assert done.exit_code == 0, done.output
    instrument = Instrument.load("forest.terrain")
    data = read_dictionary("forest.json")
    low, high = instrument.terrain.bounds.T
    assert np.array_equal(np.concatenate([one.latents for one in data.latents]), instrument.sound_map.latents)
    places = np.concatenate([one.points for one in data.coordinates])
    assert np.allclose(places, low + instrument.sound_map.positions * (high - low))
    assert json.loads(done.stdout)["sounds"] == len(data.latents) == 112


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "say one of --onnx, --nn, --neutone and --dataset"),
        (["--onnx", "--nn"], "say one of"),
        (["--nn", "--python", "python3"], "--python is for --neutone"),
        (["--nn"], "should end in .ts"),
        (["--neutone"], "should end in .nm"),
        (["--dataset"], "should end in .json"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(forest, arguments, problem):
    done = run("forest.terrain", "-o", "out.wav", *arguments)
    assert done.exit_code == 2
    assert problem in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (forest / "out.wav").exists()


def test_an_instrument_without_a_terrain_is_refused(forest):
    instrument = Instrument.load("forest.terrain")
    instrument.terrain = None
    instrument.save("flat.terrain")
    for how, out in (("--onnx", "flat"), ("--nn", "flat.ts"), ("--dataset", "flat.json")):
        done = run(how, "flat.terrain", "-o", out)
        assert done.exit_code == 2
        assert "has no terrain" in done.stderr


def test_the_command_line_imports_nothing_heavy_for_its_help():
    program = (
        "import sys\nfrom typer.testing import CliRunner\nfrom terrain_plugin.cli import app\n"
        "assert CliRunner().invoke(app, ['export', '--help']).exit_code == 0\n"
        "assert not {'torch', 'onnx', 'onnxruntime'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
