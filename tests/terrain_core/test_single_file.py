"""A bundle as one ONNX file: what goes in comes out, any ONNX program opens it, and damage is named."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from terrain_core import autoencoders
from terrain_core.autoencoders import single_file
from terrain_core.autoencoders.nn_tilde import bundle
from terrain_core.autoencoders.onnx_autoencoder import CARD, DECODER, ENCODER
from terrain_core.engine import Block, Engine
from terrain_core.errors import FileError
from terrain_core.instrument import Instrument
from terrain_core.terrain import Terrain


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundle.save(autoencoders.load("builtin"), tmp_path_factory.mktemp("single") / "builtin.onnx")


def test_what_goes_in_comes_out(file: Path) -> None:
    builtin, again = autoencoders.load("builtin"), autoencoders.load(file)
    assert isinstance(again, autoencoders.OnnxAutoencoder)
    assert again.files == builtin.files
    assert set(again.files) == {CARD, DECODER, ENCODER}
    assert again.sha256 == builtin.sha256


def test_a_bundle_without_an_encoder_has_none_afterwards(tmp_path: Path) -> None:
    builtin = autoencoders.load("builtin")
    mute = autoencoders.OnnxAutoencoder({name: data for name, data in builtin.files.items() if name != ENCODER})
    assert autoencoders.load(bundle.save(mute, tmp_path / "mute.onnx")).files == mute.files


def test_an_engine_plays_it_as_it_plays_the_bundle(file: Path, tmp_path: Path) -> None:
    terrain = Terrain.create(2, 8, width=16, features=16)
    sounds = []
    for number, autoencoder in enumerate((autoencoders.load("builtin"), autoencoders.load(file))):
        Instrument(autoencoder, terrain).save(tmp_path / f"{number}.terrain", embed_autoencoder=True)
        sounds.append(Engine(Instrument.load(tmp_path / f"{number}.terrain"), 44100).process(Block(4096)))
    assert np.abs(sounds[0]).max() > 1e-3
    np.testing.assert_array_equal(sounds[0], sounds[1])


def test_an_instrument_names_it(file: Path, tmp_path: Path) -> None:
    """Of another card than the shipped one's, which would be found by its hash."""
    builtin = autoencoders.load("builtin")
    other = dataclasses.replace(builtin.card, name="another")
    place = bundle.save(autoencoders.OnnxAutoencoder({**builtin.files, CARD: other.to_bytes()}), tmp_path / "a.onnx")
    Instrument(autoencoders.load(place), Terrain.create(2, 8, width=16, features=16)).save(tmp_path / "named.terrain")
    found = Instrument.load(tmp_path / "named.terrain").autoencoder
    assert (found.name, found.path) == ("another", str(place))


def test_other_programs_open_it_and_read_what_it_is(file: Path) -> None:
    onnx.checker.check_model(onnx.load(file))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    card = autoencoders.load("builtin").card
    found = session.get_modelmeta().custom_metadata_map
    said = {key: found[f"latent_terrain.{key}"] for key in ("latents", "ratio", "sample_rate", "delay_samples")}
    assert said == {
        "latents": str(card.latent_size),
        "ratio": str(card.hop),
        "sample_rate": str(card.sample_rate),
        "delay_samples": str(card.delay),
    }
    states = json.loads(found["latent_terrain.states"])
    assert {state["input"] for state in states} == {
        entry.name for entry in session.get_inputs() if entry.name not in ("latents", "noise")
    }
    assert {state["output"] for state in states} == {entry.name for entry in session.get_outputs()} - {"audio"}
    feed = {
        state["input"]: np.zeros(state["shape"], np.float64 if "double" in state["type"] else np.float32)
        for state in states
    }
    feed |= {"latents": np.tile(card.latent_mean, (2, 1)).astype(np.float32)}
    feed |= {"noise": np.zeros((2, *card.noise_per_frame), np.float32)}
    assert session.run(["audio"], feed)[0].shape == (card.channels, 2 * card.hop)


def test_metadata_of_others_stay(tmp_path: Path) -> None:
    builtin = autoencoders.load("builtin")
    model = onnx.load_model_from_string(builtin.files[DECODER])
    model.metadata_props.add(key="mood", value="calm")
    noted = autoencoders.OnnxAutoencoder({**builtin.files, DECODER: model.SerializeToString()})
    again = autoencoders.load(bundle.save(noted, tmp_path / "noted.onnx"))
    assert again.files == noted.files
    assert onnx.load_model_from_string(again.files[DECODER]).metadata_props[0].value == "calm"


def test_a_file_that_another_program_wrote_again_still_plays(file: Path, tmp_path: Path) -> None:
    onnx.save(onnx.load(file), tmp_path / "again.onnx")
    again, builtin = autoencoders.load(tmp_path / "again.onnx"), autoencoders.load("builtin")
    assert again.card == builtin.card
    latents = np.tile(builtin.latent_mean, (3, 1))
    np.testing.assert_array_equal(again.decode(latents), builtin.decode(latents))


def test_an_onnx_file_of_others_is_named(tmp_path: Path) -> None:
    path = tmp_path / "other.onnx"
    path.write_bytes(autoencoders.load("builtin").files[DECODER])
    with pytest.raises(FileError, match=r"without an autoencoder's card; terrain convert MODEL -o NAME\.onnx"):
        autoencoders.load(path)


@pytest.mark.parametrize("data", [b"PK\x03\x04", b"\xff" * 12, b"\x0a\xff\xff\xff\x7fx", b"\x08", b"\x0b\x00"])
def test_what_is_no_onnx_file_is_named(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(data)
    with pytest.raises(FileError, match="is neither an autoencoder bundle nor an ONNX file"):
        autoencoders.load(path)


def test_damage_never_does_worse_than_an_error(file: Path) -> None:
    whole = file.read_bytes()
    random = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(whole[: int(random.integers(len(whole)))] if random.random() < 0.5 else whole)
        for at in random.integers(0, max(len(damaged), 1), 4):
            damaged[at : at + 1] = bytes([random.integers(256)])
        try:
            members = single_file.read(bytes(damaged), "x.onnx")
            autoencoders.OnnxAutoencoder(members, "x.onnx")
        except FileError:
            continue
