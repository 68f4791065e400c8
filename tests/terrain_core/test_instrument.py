"""The instrument file: round trips, what is unknown, and files that are damaged or hostile."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from terrain_core import autoencoders
from terrain_core.autoencoders import OnnxAutoencoder
from terrain_core.errors import FileError, InputError
from terrain_core.instrument import FORMAT, VERSION, Instrument
from terrain_core.sound_map import SoundMap
from terrain_core.terrain import Terrain
from tests.terrain_core.reference_autoencoder import LinearAutoencoder, onnx_bundle

PNG = b"\x89PNG\r\n\x1a\n..."


class Named:
    """Finds autoencoders that the test made; writes down what it was asked for."""

    def __init__(self, autoencoder: object) -> None:
        self.autoencoder = autoencoder
        self.asked: list[str] = []

    def __call__(self, name: str) -> LinearAutoencoder:
        self.asked.append(name)
        return self.autoencoder  # type: ignore[return-value]


LINEAR = LinearAutoencoder(latent_size=3)
find_linear = Named(LINEAR)


def full_instrument() -> Instrument:
    rng = np.random.default_rng(4)
    return Instrument(
        LINEAR,
        Terrain.create(2, 3, bounds=[[-16, 16], [-4, 4]], width=8, features=16, seed=2),
        SoundMap(rng.uniform(size=(5, 2)), rng.normal(size=(5, 3)), ["kick", "snare", "häät", "tom", "clap"]),
        {"soft": {"x": 0.25, "level": -12.0}, "from the future": {"warp": 3.0}},
        {"title": "Percussion", "author": "🥁", "year": 2026},
        loops={"1": {"beats": 4}},
        preview=PNG,
    )


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "full.terrain"
    full_instrument().save(path)
    return path


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewrite(path: Path, change: Callable[[dict[str, bytes]], object]) -> None:
    """Change members and write the zip again."""
    parts = members(path)
    change(parts)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)


def rewrite_info(path: Path, **changes: object) -> None:
    def change(parts: dict[str, bytes]) -> None:
        info = {**json.loads(parts["instrument.json"]), **changes}
        parts["instrument.json"] = json.dumps(info).encode()

    rewrite(path, change)


# Round trips


def test_everything_comes_back(saved: Path) -> None:
    original, loaded = full_instrument(), Instrument.load(saved, find_linear)
    assert loaded.autoencoder is LINEAR
    coordinates = np.random.default_rng(0).uniform(-4, 4, (20, 2))
    assert loaded.terrain is not None
    assert original.terrain is not None
    np.testing.assert_array_equal(loaded.terrain(coordinates), original.terrain(coordinates))
    np.testing.assert_array_equal(loaded.terrain.bounds, [[-16, 16], [-4, 4]])
    assert loaded.sound_map is not None
    assert original.sound_map is not None
    np.testing.assert_array_equal(loaded.sound_map.positions, original.sound_map.positions)
    np.testing.assert_array_equal(loaded.sound_map.latents, original.sound_map.latents)
    for attribute in ("presets", "metadata", "loops", "preview"):
        assert getattr(loaded, attribute) == getattr(original, attribute)
    assert loaded.sound_map.names == original.sound_map.names


def test_saving_again_gives_the_same_bytes(saved: Path) -> None:
    again = saved.with_name("again.terrain")
    Instrument.load(saved, find_linear).save(again)
    assert again.read_bytes() == saved.read_bytes()


@pytest.mark.parametrize("part", ["terrain", "sound_map"])
def test_either_part_alone(tmp_path: Path, part: str) -> None:
    whole = full_instrument()
    parts = {"terrain": whole.terrain, "sound_map": whole.sound_map, part: None}
    path = tmp_path / "half.terrain"
    Instrument(LINEAR, **parts).save(path)  # type: ignore[arg-type]
    loaded = Instrument.load(path, find_linear)
    assert getattr(loaded, part) is None
    assert (loaded.terrain is None) != (loaded.sound_map is None)


def test_what_this_version_does_not_know_survives(saved: Path) -> None:
    rewrite_info(saved, mood={"dark": [1, None]})
    rewrite(saved, lambda parts: parts.update({"scenes/1.json": b"{}", "thumbs.db": b"\x00\x01"}))
    again = saved.with_name("again.terrain")
    Instrument.load(saved, find_linear).save(again)
    parts = members(again)
    assert json.loads(parts["instrument.json"])["mood"] == {"dark": [1, None]}
    assert (parts["scenes/1.json"], parts["thumbs.db"]) == (b"{}", b"\x00\x01")


def test_presets_give_known_parameters_only() -> None:
    instrument = full_instrument()
    assert instrument.preset("soft") == {"x": 0.25, "level": -12.0}
    assert instrument.preset("from the future") == {}
    with pytest.raises(InputError, match="no preset is called 'loud': expected one of soft, from the future"):
        instrument.preset("loud")


def test_a_preview_can_be_made_while_saving(saved: Path) -> None:
    Instrument.load(saved, find_linear).save(
        saved, preview=lambda instrument: PNG + instrument.metadata["title"].encode()
    )
    assert members(saved)["preview.png"] == PNG + b"Percussion"


def test_the_file_is_an_open_book(saved: Path) -> None:
    """A zip, JSON and safetensors: nothing else, and no pickle."""
    parts = members(saved)
    assert list(parts) == ["instrument.json", "terrain.safetensors", "sound_map.safetensors", "preview.png"]
    info = json.loads(parts["instrument.json"])
    assert (info["format"], info["version"]) == (FORMAT, VERSION)
    assert info["autoencoder"] == {"name": "linear", "sha256": None}
    assert set(safetensors.numpy.load(parts["sound_map.safetensors"])) == {"positions", "latents"}


# The autoencoder


@pytest.fixture
def tiny() -> OnnxAutoencoder:
    return autoencoders.load_bytes(onnx_bundle())


def small_instrument(autoencoder: OnnxAutoencoder) -> Instrument:
    return Instrument(autoencoder, Terrain.create(2, 2, width=8, features=16))


def test_an_embedded_autoencoder_plays_anywhere(tmp_path: Path, tiny: OnnxAutoencoder) -> None:
    path = tmp_path / "whole.terrain"
    small_instrument(tiny).save(path, embed_autoencoder=True)
    nobody = Named(None)
    loaded = Instrument.load(path, nobody)
    assert nobody.asked == []
    latents = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    np.testing.assert_array_equal(loaded.autoencoder.decode(latents), tiny.decode(latents))
    loaded.save(path)  # stays inside
    assert "autoencoder.zip" in members(path)


def test_a_named_autoencoder_is_found_where_it_was_or_beside(tmp_path: Path, tiny: OnnxAutoencoder) -> None:
    (tmp_path / "models").mkdir()
    bundle = tmp_path / "models" / "tiny.zip"
    bundle.write_bytes(tiny.to_bytes())
    path = tmp_path / "light.terrain"
    small_instrument(autoencoders.load(bundle)).save(path)
    assert json.loads(members(path)["instrument.json"])["autoencoder"]["path"] == "models/tiny.zip"
    assert Instrument.load(path).autoencoder.name == "tiny"
    bundle.rename(tmp_path / "tiny.zip")
    assert Instrument.load(path).autoencoder.name == "tiny"
    (tmp_path / "tiny.zip").unlink()
    with pytest.raises(FileError, match=r"light.terrain, instrument.json: its autoencoder cannot be found: .*'tiny'"):
        Instrument.load(path)


def test_another_autoencoder_of_that_name_is_refused(tmp_path: Path, tiny: OnnxAutoencoder) -> None:
    path = tmp_path / "light.terrain"
    small_instrument(tiny).save(path)
    other = autoencoders.load_bytes(onnx_bundle(hop=32))
    with pytest.raises(
        FileError, match=r"instrument.json: was made with an autoencoder 'tiny' whose SHA-256 is .*use the autoencoder"
    ):
        Instrument.load(path, Named(other))


def test_what_has_no_bytes_cannot_be_embedded(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the autoencoder linear cannot be put into a file"):
        full_instrument().save(tmp_path / "no.terrain", embed_autoencoder=True)
    assert list(tmp_path.iterdir()) == []


# Bad arguments


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            {"terrain": Terrain.create(2, 4, width=8, features=16)},
            "the terrain gives 4 latents, but the autoencoder linear takes 3",
        ),
        ({"sound_map": SoundMap([[0, 0]], [[1.0]])}, "the sound map gives 1 latents"),
        ({"presets": {"a": {"x": float("nan")}}}, "the preset 'a' sets x to nan"),
        ({"presets": {"a": 3}}, "the preset 'a' is 3: expected parameter values by key"),
    ],
)
def test_parts_that_do_not_fit_are_refused(arguments: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Instrument(LINEAR, **{"terrain": None, **arguments})


def test_metadata_must_be_json(tmp_path: Path) -> None:
    instrument = Instrument(LINEAR, None, SoundMap([[0, 0]], [[1, 2, 3]]), metadata={"when": object()})
    with pytest.raises(InputError, match="must be plain JSON values"):
        instrument.save(tmp_path / "no.terrain")
    assert list(tmp_path.iterdir()) == []


# Damaged and hostile files


def fails(path: Path) -> str:
    """The error that loading gives: one line that names the file."""
    with pytest.raises(FileError) as error:
        Instrument.load(path, find_linear)
    text = str(error.value)
    assert text.startswith(str(path))
    assert "\n" not in text
    return text.removeprefix(str(path))


@pytest.mark.parametrize("content", [b"", b"PK", b"\x80\x04}.", b"RIFF" * 100, b"PK\x05\x06" + bytes(18)])
def test_what_is_no_instrument(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "wrong.terrain"
    path.write_bytes(content)
    assert "is not a whole zip archive" in fails(path) or "instrument.json: is missing" in fails(path)


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in fails(tmp_path / "none.terrain")
    assert "cannot be read: Is a directory" in fails(tmp_path)


@given(keep=st.floats(0, 0.999))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
def test_truncated_anywhere(saved: Path, keep: float) -> None:
    data = saved.read_bytes()
    path = saved.with_name("cut.terrain")
    path.write_bytes(data[: int(keep * len(data))])
    fails(path)


@given(where=st.floats(0, 0.999), bit=st.integers(0, 7))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100, deadline=None)
def test_a_flipped_bit_is_found_or_harmless(saved: Path, where: float, bit: int) -> None:
    data = bytearray(saved.read_bytes())
    data[int(where * len(data))] ^= 1 << bit
    path = saved.with_name("flipped.terrain")
    path.write_bytes(data)
    try:
        loaded = Instrument.load(path, find_linear)
    except FileError:
        return
    assert loaded.presets == full_instrument().presets


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "a/../../b", "C:evil", "a\\..\\b"])
def test_names_that_lead_out(saved: Path, name: str) -> None:
    rewrite(saved, lambda parts: parts.update({name: b"x"}))
    assert "leads out of the archive" in fails(saved)


def test_a_member_twice(saved: Path) -> None:
    data = members(saved)["instrument.json"]
    with zipfile.ZipFile(saved, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("instrument.json", data)
    assert fails(saved) == ", instrument.json: occurs twice in the archive"


def test_a_zip_bomb(saved: Path) -> None:
    with zipfile.ZipFile(saved, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", bytes(100_000_000))
    assert "bytes to 100000000: a zip bomb" in fails(saved)


def test_a_member_that_lies_about_its_size(saved: Path) -> None:
    """The directory says 10 bytes, the data unpack to a megabyte."""
    with zipfile.ZipFile(saved, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("liar", bytes(1 << 20))
    data = bytearray(saved.read_bytes())
    at = data.rindex(b"liar") - 46 + 24  # the uncompressed size in the central directory
    data[at : at + 4] = struct.pack("<I", 10)
    saved.write_bytes(data)
    assert ", liar: " in fails(saved)


def test_too_many_members(saved: Path) -> None:
    rewrite(saved, lambda parts: parts.update({f"m{n}": b"" for n in range(1001)}))
    assert "members: expected at most 1000" in fails(saved)


def test_an_encrypted_member(saved: Path) -> None:
    data = bytearray(saved.read_bytes())
    at = data.rindex(b"PK\x01\x02") + 8
    data[at] |= 1
    saved.write_bytes(data)
    assert "preview.png: is damaged" in fails(saved)


def test_a_version_of_the_future(saved: Path) -> None:
    rewrite_info(saved, version=VERSION + 1)
    assert fails(saved).endswith(f"this one reads up to {VERSION}; update Latent Terrain")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": "other"}, "does not describe an instrument"),
        ({"version": "1"}, "its version is '1': expected a whole number"),
        ({"version": 0}, "its version is 0"),
        ({"autoencoder": {}}, "the autoencoder's name is missing"),
        ({"autoencoder": 3}, "'autoencoder' is 3: expected an object"),
        ({"presets": []}, r"'presets' is []: expected an object"),
        ({"presets": {"a": {"x": "loud"}}}, "the preset 'a' sets x to 'loud'"),
        ({"loops": "x" * 1000}, "xxx…: expected an object"),
        ({"terrain": {}}, "terrain.safetensors: terrain settings lack"),
        ({"sound_map": {"names": [1]}}, "names are not a list of texts"),
        ({"sound_map": {"names": ["one"]}}, "sound_map.safetensors: 5 positions, 5 latents and 1 names"),
    ],
)
def test_a_description_that_makes_no_sense(saved: Path, changes: dict, said: str) -> None:
    rewrite_info(saved, **changes)
    assert said in fails(saved)


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"format": NaN}', b'{"version": ' + b"9" * 5000 + b"}", b"null"],
)
def test_a_description_that_is_no_json_object(saved: Path, text: bytes) -> None:
    rewrite(saved, lambda parts: parts.update({"instrument.json": text}))
    assert fails(saved).startswith(", instrument.json: ")


def safetensors_of(change: Callable[[dict[str, np.ndarray]], object]) -> Callable[[dict[str, bytes]], None]:
    def apply(parts: dict[str, bytes]) -> None:
        arrays = safetensors.numpy.load(parts["terrain.safetensors"])
        change(arrays)
        parts["terrain.safetensors"] = safetensors.numpy.save(arrays)

    return apply


def nan_weight(arrays: dict[str, np.ndarray]) -> None:
    first = next(iter(arrays))
    arrays[first] = arrays[first] * np.float32(np.nan)


def wrong_shape(arrays: dict[str, np.ndarray]) -> None:
    first = next(iter(arrays))
    arrays[first] = np.zeros((1, 1, 1), np.float32)


@pytest.mark.parametrize("change", [nan_weight, wrong_shape, dict.clear, dict.popitem])
def test_weights_that_cannot_be(saved: Path, change: Callable[[dict[str, np.ndarray]], object]) -> None:
    rewrite(saved, safetensors_of(change))
    assert fails(saved).startswith(", terrain.safetensors: ")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 100,
        struct.pack("<Q", 1 << 60) + b"{}",
        struct.pack("<Q", 68) + b'{"w":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4]}}  ' + bytes(4),
        struct.pack("<Q", 58) + b'{"w":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}   ' + bytes(4),
        b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00cos\nsystem\n.",
    ],
)
def test_arrays_that_are_none(saved: Path, data: bytes) -> None:
    rewrite(saved, lambda parts: parts.update({"terrain.safetensors": data}))
    assert fails(saved).startswith(", terrain.safetensors: ")


def test_a_missing_member(saved: Path) -> None:
    rewrite(saved, lambda parts: parts.pop("terrain.safetensors"))
    assert fails(saved) == ", terrain.safetensors: is missing from the archive"


def test_an_embedded_autoencoder_that_is_none(saved: Path) -> None:
    rewrite(saved, lambda parts: parts.update({"autoencoder.zip": b"no zip"}))
    assert "autoencoder.zip" in fails(saved)


# Saving


def test_a_save_that_fails_leaves_the_file_as_it_was(saved: Path) -> None:
    before = saved.read_bytes()

    def interrupted(instrument: Instrument) -> bytes:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Instrument.load(saved, find_linear).save(saved, preview=interrupted)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="there is no folder"):
        full_instrument().save(tmp_path / "none" / "a.terrain")


def test_archives_hold_no_clock(tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(_bytes_of(tmp_path))) as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def _bytes_of(folder: Path) -> bytes:
    full_instrument().save(folder / "a.terrain")
    return (folder / "a.terrain").read_bytes()
