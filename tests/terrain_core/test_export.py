"""Exports: each held to the engine, in another runtime, cut into other blocks, and by the hosts' own loaders."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from terrain_core.autoencoders import OnnxAutoencoder, nn_tilde, noise
from terrain_core.engine import effects
from terrain_core.errors import FileError, InputError
from terrain_core.export import neutone, nn_export_torch, nn_module_torch, onnx_graph, parts
from terrain_core.instrument import Instrument
from terrain_core.terrain import Terrain
from terrain_plugin.shipped import DEFAULT_INSTRUMENT
from tests.rave_models import ROOT, rave_model

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")

EXAMPLES = ROOT / "docs" / "onnx_player"
NN_TILDE = ROOT / ".cache" / "rave-venv" / "bin" / "python"


@cache
def forest() -> Instrument:
    return Instrument.load(DEFAULT_INSTRUMENT)


@cache
def bundle(name: str) -> OnnxAutoencoder:
    model = nn_tilde.open_model(rave_model(name), trust=True)
    done = nn_tilde.convert(model)
    model.close()
    return done.bundle


@cache
def rave(name: str, control_size: int = 2, **settings: float) -> Instrument:
    decoder = bundle(name)
    return Instrument(decoder, Terrain.create(control_size, decoder.latent_size, seed=1, **settings))


@cache
def forest_module():
    return nn_export_torch.scripted(forest())


# What exports are held to


def test_an_export_that_is_wrong_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_graph, "CEILING", 1.01)  # and in the engine 2
    loud = Instrument(forest().autoencoder, Terrain.create(2, 8, seed=1))
    loud.terrain.replace_weights({name: 40 * tensor for name, tensor in loud.terrain.weights.items()})
    with pytest.raises(FileError, match="differs from the engine by"):
        onnx_graph.export_onnx(loud, tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("off", "fits"), [(5e-6, True), (2e-5, False)])
def test_the_limit_is_what_is_said(off, fits):
    def player(lanes):
        return parts.engine_output(forest(), lanes) + np.float32(off)

    if fits:
        assert 4e-6 < parts.against_engine(forest(), player, "x", 1e-5).error < 6e-6
    else:
        with pytest.raises(FileError, match=r"by 2\.0e-05 of full scale \(at most 1e-05\)"):
            parts.against_engine(forest(), player, "x", 1e-5)


def test_only_a_terrain_before_a_bundle_can_be_exported():
    with pytest.raises(FileError, match="has no terrain"):
        onnx_graph.make_graph(Instrument(forest().autoencoder, None, forest().sound_map))
    model = nn_tilde.open_model(rave_model("brave"), trust=True)
    with pytest.raises(FileError, match="terrain convert makes a bundle"):
        onnx_graph.make_graph(Instrument(model, Terrain.create(2, 4)))
    model.close()


# ONNX


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("onnx") / "forest"
    onnx_graph.export_onnx(forest(), place, path="forest.terrain")
    return place


def test_a_graph_plays_what_the_engine_plays(folder):
    facts = json.loads((folder / "instrument.json").read_text())
    assert facts["error"] <= 1e-5
    lanes = parts.gesture(2, 100, seed=5)
    played = onnx_graph.play((folder / "instrument.onnx").read_bytes(), facts, lanes, seed=7)
    assert np.abs(played).max() > 0.05
    assert np.abs(played - parts.engine_output(forest(), lanes, 7)).max() <= 1e-6
    assert np.abs(played - parts.engine_output(forest(), lanes, 8)).max() > 1e-3  # another seed is another noise


slow = pytest.mark.slow
RAVES = [
    # kind, control dimensions; converting one takes seconds
    ("v2_noise", 3),
    pytest.param("stereo", 1, marks=slow),
    pytest.param("spherical", 5, marks=slow),
    *(
        pytest.param(name, 2, marks=slow)
        for name in ("v1", "v2", "v3", "discrete", "wasserstein", "resampled", "brave")
    ),
]


@pytest.mark.parametrize(("name", "control_size"), RAVES)
def test_graphs_of_other_decoders_and_control_sizes(name, control_size):
    instrument = rave(name, control_size)
    export = onnx_graph.make_graph(instrument)
    assert export.check.error <= 1e-6
    assert len(export.facts["coordinates"]) == min(control_size, 3)
    lanes = parts.gesture(control_size, 40, seed=3)
    played = onnx_graph.play(export.graph, export.facts, lanes)
    assert np.abs(played - parts.engine_output(instrument, lanes)).max() <= 1e-5
    assert np.abs(played).max() > 0.01


def test_a_graph_without_fourier_features():
    assert onnx_graph.make_graph(rave("v2_noise", 2, gauss_scale=0.0)).check.error <= 1e-6


def test_a_graph_takes_many_frames_at_once_and_any_number(folder):
    facts = json.loads((folder / "instrument.json").read_text())
    session = onnxruntime.InferenceSession(folder / "instrument.onnx", providers=["CPUExecutionProvider"])
    lanes = parts.gesture(2, 12)
    state = {entry["input"]: np.zeros(entry["shape"], entry["type"]) for entry in facts["states"]}
    feed = {
        "coordinates": np.stack([lanes["x"], lanes["y"]], 1).astype(np.float32),
        "pressure": lanes["pressure"].astype(np.float32),
        "noise": noise.uniform(0, 0, 12, 4 * 257).reshape(12, 4, 257),
    }
    (audio,) = session.run(["audio"], {**feed, **state})
    one_by_one = onnx_graph.play((folder / "instrument.onnx").read_bytes(), facts, lanes)
    assert audio.shape == one_by_one.shape
    assert np.abs(audio - one_by_one).max() < 1e-4


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf, 7.0])
def test_odd_values_make_no_odd_sound(folder, odd):
    facts = json.loads((folder / "instrument.json").read_text())
    lanes = {key: np.full(4, odd) for key in ("x", "y", "pressure")}
    played = onnx_graph.play((folder / "instrument.onnx").read_bytes(), facts, lanes)
    assert np.isfinite(played).all()
    assert np.abs(played).max() < 2


def test_the_readme_names_every_input_and_state(folder):
    text = (folder / "README.md").read_text()
    session = onnxruntime.InferenceSession(folder / "instrument.onnx", providers=["CPUExecutionProvider"])
    for entry in (*session.get_inputs(), *session.get_outputs()):
        assert f"| {entry.name} |" in text, entry.name


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FileError, match="is no export"):
        onnx_graph.export_onnx(forest(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    (tmp_path / "mine.txt").unlink()
    onnx_graph.export_onnx(forest(), tmp_path)  # an empty one is taken


def circle(folder: Path, frames: int) -> np.ndarray:
    """What the examples play, by Python."""
    facts = json.loads((folder / "instrument.json").read_text())
    session = onnxruntime.InferenceSession(folder / "instrument.onnx", providers=["CPUExecutionProvider"])
    state = {entry["input"]: np.zeros(entry["shape"], entry["type"]) for entry in facts["states"]}
    x, parts_ = 1, []
    for frame in range(frames):
        values = []
        for _ in range(4 * 257):
            x = (x * 1664525 + 1013904223) % 2**32
            values.append((x >> 8) / 2**24)
        places = [[0.5 + 0.3 * np.sin(0.05 * frame + 1.5707963 * n) for n in range(2)]]
        feed = {
            "coordinates": np.array(places, np.float32),
            "pressure": np.ones(1, np.float32),
            "noise": np.array(values, np.float32).reshape(1, 4, 257),
        }
        audio, *after = session.run(None, {**feed, **state})
        state = dict(zip(state, after, strict=True))
        parts_.append(audio)
    return np.concatenate(parts_, 1)


@pytest.mark.skipif(not shutil.which("c++"), reason="needs a C++ compiler")
def test_the_player_in_cpp(folder, tmp_path):
    (library,) = (Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*")
    (tmp_path / "libonnxruntime.so.1").symlink_to(library)
    program = tmp_path / "player"
    link = [str(tmp_path / "libonnxruntime.so.1"), f"-Wl,-rpath,{tmp_path}"]
    warnings = ["-Wall", "-Wextra", "-Werror"]
    subprocess.run(["c++", "-std=c++17", *warnings, EXAMPLES / "player.cpp", *link, "-o", program], check=True)
    done = subprocess.run([program, folder / "instrument.onnx", "20"], capture_output=True, check=True)
    played = np.frombuffer(done.stdout, np.float32)
    assert np.abs(played - circle(folder, 20)[0]).max() <= 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["onnxruntime-node", "onnxruntime-web"])
def test_the_player_in_javascript(folder, tmp_path, runtime):
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("needs node and npm")
    for name in ("player.mjs", "package.json"):
        text = (EXAMPLES / name).read_text().replace("onnxruntime-node", runtime)
        (tmp_path / name).write_text(text)
    # Without its scripts, which fetch what GPUs need.
    command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    done = subprocess.run(["node", "player.mjs", folder, "20"], cwd=tmp_path, capture_output=True, check=True)
    played = np.frombuffer(done.stdout, np.float32)
    assert np.abs(played - circle(folder, 20)[0]).max() <= 1e-5


# nn~


def test_the_generator_draws_the_engines_numbers():
    for seed, first in itertools.product((0, 3, 2**31 - 1), (0, 1, 1000)):
        words = nn_module_torch.philox(seed, first, 5).numpy().view(np.uint64)
        assert np.array_equal(words, np.random.Philox(key=seed, counter=first).random_raw(20).reshape(5, 4))
        for normals, uniforms in ((0, 7), (5, 0), (12, 20)):
            drawn = nn_module_torch.draws(seed, first, 3, normals, uniforms).numpy()
            assert np.abs(drawn - noise.mixed(seed, first, 3, normals, uniforms)).max() < 1e-6
        moved = nn_module_torch.normal_by_frame(seed, first, 3, 11).numpy()
        assert np.abs(moved - effects.normal_by_frame(seed, first, 3, 11)).max() < 1e-5


def test_a_module_plays_what_the_engine_plays_in_any_blocks():
    module = forest_module()
    lanes = parts.gesture(2, 48, seed=2)
    played = nn_export_torch.play(module, lanes)
    expected = parts.engine_output(forest(), lanes)
    assert np.abs(expected).max() > 0.05
    assert np.abs(played - expected).max() <= 1e-4
    for block in (2, 5, 48):
        assert np.array_equal(nn_export_torch.play(module, lanes, block), played)


SETTINGS = [
    {"level": -9.0},
    {"level": -60.0},
    {"glide": 80.0},
    {"intensity": 0.4},
    {"pressure_target": 1},
    {"pressure_target": 3},
    {"noise": 0.3},
    {"offset_1": 0.5, "offset_8": -1.0, "scale_2": 1.5},
    {"glide": 200.0, "intensity": 1.3, "noise": 0.1, "level": 3.0, "scale_1": 0.5},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_every_attribute_does_what_the_parameter_does(settings):
    module = forest_module()
    lanes = parts.gesture(2, 16, seed=4)
    plain = nn_export_torch.play(module, lanes)
    before = {name: getattr(module, f"get_{name}")()[0] for name in settings}
    try:
        for name, value in settings.items():
            assert getattr(module, f"set_{name}")(value) == 0
            assert getattr(module, f"get_{name}")() == [value]
        played = nn_export_torch.play(module, lanes)
        same = nn_export_torch.play(module, lanes, 5)
    finally:
        for name, value in before.items():
            getattr(module, f"set_{name}")(value)
    expected = parts.engine_output(
        forest(), lanes | {name: np.full(16, float(value)) for name, value in settings.items()}
    )
    assert np.abs(played - expected).max() <= 1e-4
    assert np.array_equal(played, same)
    assert np.abs(played - plain).max() > 1e-3  # it did something


def test_the_third_dimension_and_pressure_in_its_place():
    instrument = rave("v2_noise", 3)
    module = nn_export_torch.scripted(instrument)
    lanes = parts.gesture(3, 20, seed=4)
    played = nn_export_torch.play(module, lanes)
    assert np.abs(played - parts.engine_output(instrument, lanes)).max() <= 1e-5
    module.set_pressure_target(2)
    in_its_place = nn_export_torch.play(module, lanes)
    expected = parts.engine_output(instrument, lanes | {"pressure_target": np.full(20, 2.0)})
    assert np.abs(in_its_place - expected).max() <= 1e-5
    assert np.abs(in_its_place - played).max() > 1e-3


@pytest.mark.parametrize(("name", "control_size"), RAVES)
def test_modules_of_raves(name, control_size):
    instrument = rave(name, control_size)
    module = nn_export_torch.scripted(instrument)
    lanes = parts.gesture(control_size, 20, seed=4)
    played = nn_export_torch.play(module, lanes, 4)
    expected = parts.engine_output(instrument, lanes)
    assert np.abs(expected).max() > 0.01
    assert np.abs(played - expected).max() <= 1e-4
    assert np.array_equal(nn_export_torch.play(module, lanes, 3), played)


def test_a_seed_is_an_attribute():
    module = forest_module()
    lanes = parts.gesture(2, 8)
    module.set_seed(11)
    played = nn_export_torch.play(module, lanes)
    module.set_seed(0)
    assert np.abs(played - parts.engine_output(forest(), lanes, 11)).max() <= 1e-4
    assert np.abs(played - parts.engine_output(forest(), lanes, 0)).max() > 1e-3


def test_attributes_are_clamped_and_ignore_what_is_no_number():
    module = forest_module()
    for value, kept in ((99.0, 2.0), (-1.0, 0.0), (float("nan"), 0.0), (1.0, 1.0)):
        module.set_intensity(value)
        assert module.get_intensity() == [kept]


def test_voices_have_a_state_each():
    module = forest_module()
    module.reset()
    lanes = [parts.gesture(2, 8, seed) for seed in (0, 1, 2)]
    controls = np.stack([np.stack([one["x"], one["y"], one["pressure"]]) for one in lanes]).astype(np.float32)
    both = [module.play(torch.from_numpy(controls[:, :, k : k + 4])) for k in (0, 4)]
    played = torch.cat(both, 2).numpy()
    for voice, one in zip(played, lanes, strict=True):
        assert np.array_equal(voice, nn_export_torch.play(module, one, 4))


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -5.0])
def test_odd_values_make_no_odd_sound_in_a_module(odd):
    module = forest_module()
    module.reset()
    for method, rows in (("play", 3), ("decode", 8)):
        assert torch.isfinite(getattr(module, method)(torch.full((1, rows, 4), odd))).all()


@pytest.fixture(scope="module")
def script(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("nn") / "forest.ts"
    nn_export_torch.export_nn(forest(), place)
    return place


def test_a_module_by_our_own_loader(script):
    model = nn_tilde.open_model(script, trust=True)
    try:
        assert (model.sample_rate, model.latent_size, model.hop, model.channels) == (44100, 8, 1024, 1)
        assert model.streaming
        methods = {name: (m.in_channels, m.in_ratio, m.out_channels, m.out_ratio) for name, m in model.methods.items()}
        assert methods == {
            "play": (3, 1024, 1, 1),
            "forward": (3, 1024, 1, 1),
            "terrain": (2, 1024, 8, 1024),
            "decode": (8, 1024, 1, 1),
        }
        assert model.methods["play"].input_labels == ("(signal) x", "(signal) y", "(signal) pressure")
        assert {"level", "intensity", "glide", "noise", "offset_8", "scale_1"} <= set(model.attributes)
        model.set_attribute("glide", 120.0)
        assert model.get_attribute("glide") == (120.0,)
        # Its decoder as an autoencoder's: with the engine's noise, from a clean start each time.
        latents = forest().terrain.at(np.random.default_rng(0).uniform(0, 1, (20, 2)))
        expected = forest().autoencoder.decode(latents)
        for _ in range(2):
            assert np.abs(model.decode(latents) - expected).max() <= 1e-4
        stream = model.stream()
        cut = [stream.decode(latents[a:b]) for a, b in ((0, 1), (1, 9), (9, 20))]
        assert np.array_equal(np.concatenate(cut, 1), model.decode(latents))
    finally:
        model.close()


def test_the_terrain_of_a_module_is_the_terrain(script):
    module = torch.jit.load(script)
    unit = np.random.default_rng(0).uniform(0, 1, (9, 2)).astype(np.float32)
    latents = module.terrain(torch.from_numpy(unit.T)[None])[0].T
    assert np.abs(latents.numpy() - forest().terrain.at(unit)).max() < 1e-4


LOADING = """
import json, sys
import nn_tilde, torch
module = torch.jit.load(sys.argv[1]).eval()
assert isinstance(nn_tilde.Module, type)
found = {}
for name in module.get_methods():
    rows, in_ratio, channels, out_ratio = getattr(module, name + "_params").tolist()
    block = 4096
    y = getattr(module, name)(torch.full((1, rows, block // in_ratio), 0.4))
    assert y.dtype == torch.float32 and list(y.shape) == [1, channels, block // out_ratio], (name, y.shape)
    assert len(getattr(module, name + "_input_labels")) == rows
    assert len(getattr(module, name + "_output_labels")) == channels
    found[name] = float(y.abs().max())
for name in module.get_attributes():
    kinds = [{1: int, 2: float}[int(code)] for code in getattr(module, name + "_params")]
    values = getattr(module, "get_" + name)()
    assert [type(value) for value in values] == kinds, name
    assert getattr(module, "set_" + name)(*values) == 0
print(json.dumps({"sr": module.sr, **found}))
"""


def test_a_module_in_the_environment_of_nn_tilde(script):
    rave_model("v2")  # makes the environment if it is not there
    done = subprocess.run([NN_TILDE, "-c", LOADING, script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["sr"] == 44100
    assert found["play"] > 0.01


def test_a_module_inside_a_module_of_nn_tilde(script, tmp_path):
    """nn_tilde's own checks of what is registered: shapes, ratios, streaming."""
    rave_model("v2")
    (tmp_path / "wrapped.py").write_text(
        "import sys, torch, nn_tilde\n"
        "class Wrapped(nn_tilde.Module):\n"
        "    def __init__(self, model):\n"
        "        super().__init__()\n"
        "        self.model = model\n"
        "        self.register_method('play', in_channels=3, in_ratio=1024, out_channels=1, out_ratio=1)\n"
        "    @torch.jit.export\n"
        "    def play(self, x: torch.Tensor) -> torch.Tensor:\n"
        "        return self.model.play(x)\n"
        "Wrapped(torch.jit.load(sys.argv[1])).export_to_ts(sys.argv[2])\n"
        "again = torch.jit.load(sys.argv[2])\n"
        "print(again.get_methods(), tuple(again.play(torch.full((1, 3, 4), 0.4)).shape))\n"
    )
    # nn_tilde writes files beside itself, which that folder is not to be changed by: a copy of the package.
    package = next((NN_TILDE.parents[1] / "lib").glob("python3*/site-packages/nn_tilde"))
    shutil.copytree(package, tmp_path / "nn_tilde")
    command = [NN_TILDE, "wrapped.py", script, "out.ts"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("['play'] (1, 1, 4096)")


# Neutone


@pytest.mark.slow
def test_neutone_saves_loads_and_plays_an_instrument(tmp_path):
    subprocess.run([ROOT / "scripts" / "neutone_env"], check=True)
    python = ROOT / ".cache" / "neutone-venv" / "bin" / "python"
    facts = neutone.export_neutone(forest(), tmp_path / "forest.nm", python=python, path="forest.terrain")
    assert facts["neutone_error"] <= 1e-6
    assert facts["peak"] > 0.05
    assert facts["peak_at_48000"] > 0.05
    assert facts["buffers"] == [1024, 2048, 4096, 8192]
    model = torch.jit.load(tmp_path / "forest.nm")
    assert model.get_native_sample_rates() == [44100]


@pytest.mark.slow
def test_a_stereo_rave_of_three_dimensions_for_neutone(tmp_path):
    subprocess.run([ROOT / "scripts" / "neutone_env"], check=True)
    python = ROOT / ".cache" / "neutone-venv" / "bin" / "python"
    facts = neutone.export_neutone(rave("stereo", 3), tmp_path / "stereo.nm", python=python, path="stereo.terrain")
    assert facts["neutone_error"] <= 1e-6
    assert facts["channels"] == 2


def test_a_python_without_neutone_is_named(tmp_path):
    with pytest.raises(InputError, match="has no neutone_sdk"):
        neutone.export_neutone(rave("v2_noise"), tmp_path / "x.nm", python=sys.executable)
    with pytest.raises(InputError, match="cannot be run"):
        neutone.export_neutone(rave("v2_noise"), tmp_path / "x.nm", python=tmp_path / "none")
    assert not list(tmp_path.iterdir())
