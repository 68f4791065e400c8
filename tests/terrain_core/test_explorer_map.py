"""Collections, projections and what an instrument carries of them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import soundfile

from terrain_core import autoencoders
from terrain_core.errors import FileError, InputError
from terrain_core.explorer.attributes import Attribute
from terrain_core.explorer.collection import Collection, Sound, encode_collection, held_frame
from terrain_core.explorer.explorer import Explorer, explorer_of
from terrain_core.explorer.presets import Preset
from terrain_core.explorer.projection import (
    ASSIGNED_EXACTLY,
    MARGIN,
    Projection,
    ProjectionSettings,
    given,
    lattice,
    project,
    spread_evenly,
    trustworthiness,
)
from terrain_core.explorer.steering import Pin
from terrain_core.instrument import Instrument
from terrain_core.sound_map import Blending, SoundMap
from tests.terrain_core.reference_autoencoder import onnx_bundle

HAS_UMAP = importlib.util.find_spec("umap") is not None
METHODS = [
    "pca",
    "tsne",
    pytest.param("umap", marks=pytest.mark.skipif(not HAS_UMAP, reason="the extra umap is not installed")),
]


@pytest.fixture
def clusters(rng: np.random.Generator) -> np.ndarray:
    """Three far apart, 40 sounds each, in six dimensions."""
    centres = rng.normal(size=(3, 6)) * 10
    return np.concatenate([centre + rng.normal(size=(40, 6)) for centre in centres])


@pytest.fixture
def sounds(rng: np.random.Generator) -> list[Sound]:
    return [
        Sound(f"s{n}", rng.normal(size=(int(rng.integers(2, 9)), 2)), 1, f"g{n % 3}", f"/there/s{n}.wav", f"{n:064}")
        for n in range(30)
    ]


@pytest.mark.parametrize("method", METHODS)
def test_clusters_stay_together(method: str, clusters: np.ndarray) -> None:
    found = project(clusters, ProjectionSettings(method))
    places = found.places.reshape(3, 40, 2)
    within = np.linalg.norm(places - places.mean(axis=1, keepdims=True), axis=2).mean()
    middles = places.mean(axis=1)
    apart = min(np.linalg.norm(middles[a] - middles[b]) for a, b in ((0, 1), (0, 2), (1, 2)))
    assert apart > 2 * within
    assert found.places.min() == pytest.approx(MARGIN)
    assert found.places.max() == pytest.approx(1 - MARGIN)


@pytest.mark.parametrize("method", METHODS)
def test_equal_seeds_give_equal_maps(method: str, clusters: np.ndarray) -> None:
    one, same = (project(clusters, ProjectionSettings(method, seed=3)).places for _ in range(2))
    np.testing.assert_array_equal(one, same)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7])
def test_few_and_identical_sounds_are_no_errors(method: str, count: int, rng: np.random.Generator) -> None:
    for vectors in (rng.normal(size=(count, 4)), np.ones((count, 4)), np.eye(count, 1)):
        places = project(vectors, ProjectionSettings(method)).places
        assert places.shape == (count, 2)
        assert (places >= 0).all()
        assert (places <= 1).all()


def test_pca_is_the_plane_with_the_most_variance(clusters: np.ndarray) -> None:
    from sklearn.decomposition import PCA

    scaled = (clusters - clusters.mean(axis=0)) / clusters.std(axis=0)
    expected = PCA(2).fit_transform(scaled)
    found = project(clusters).places
    for k in range(2):
        assert abs(np.corrcoef(expected[:, k], found[:, k])[0, 1]) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("spread", ["none", "grid", "hex"])
def test_new_sounds_move_no_old_ones_and_old_ones_are_found_again(
    method: str, spread: str, clusters: np.ndarray, rng: np.random.Generator
) -> None:
    found = project(clusters, ProjectionSettings(method, spread))
    fresh = clusters[[5, 50, 100]] + rng.normal(size=(3, 6)) * 0.01
    more = found.with_vectors(fresh)
    np.testing.assert_array_equal(more.places[:120], found.places)
    if spread == "none":
        np.testing.assert_allclose(more.places[120:], found.places[[5, 50, 100]], atol=0.03)
        np.testing.assert_allclose(found.place(clusters), found.places, atol=1e-9)


def test_on_an_even_spread_new_sounds_take_free_cells(rng: np.random.Generator) -> None:
    found = project(rng.normal(size=(20, 4)), ProjectionSettings(spread="grid"))  # 5 x 4 cells, none free
    assert len(found.cells) == 20
    found = project(rng.normal(size=(21, 4)), ProjectionSettings(spread="grid"))  # 5 x 5, four free
    more = found.with_vectors(rng.normal(size=(4, 4)))
    assert len(np.unique(more.places.round(9), axis=0)) == 25


@pytest.mark.parametrize("kind", ["grid", "hex"])
@pytest.mark.parametrize("count", [1, 2, 7, 100, ASSIGNED_EXACTLY + 300])
def test_even_spread_gives_each_its_own_cell(kind: str, count: int, rng: np.random.Generator) -> None:
    cells = lattice(count, kind)
    assert cells.min() >= MARGIN - 1e-12
    assert cells.max() <= 1 - MARGIN + 1e-12
    spread = spread_evenly(rng.uniform(size=(count, 2)) ** 3, cells)
    assert len(np.unique(spread, axis=0)) == count


def test_even_spread_moves_as_little_as_can_be() -> None:
    """Against every assignment of six."""
    from itertools import permutations

    rng = np.random.default_rng(4)
    places, cells = rng.uniform(size=(6, 2)), lattice(6, "grid")[:6]
    least = min(((cells[list(order)] - places) ** 2).sum() for order in permutations(range(6)))
    assert ((spread_evenly(places, cells) - places) ** 2).sum() == pytest.approx(least)


def test_halving_keeps_the_order_of_a_row() -> None:
    """Beyond the exact limit: sounds that are even already move by less than a cell on average, of 0.5 by chance."""
    cells = lattice(2500, "grid")
    rng = np.random.default_rng(1)
    order = rng.permutation(2500)
    spread = spread_evenly(cells[order] + rng.normal(size=(2500, 2)) * 1e-4, cells)
    assert np.linalg.norm(spread - cells[order], axis=1).mean() < 0.92 / 50


def test_pca_can_be_taken_back(clusters: np.ndarray) -> None:
    found = project(clusters)
    points = np.random.default_rng(1).uniform(size=(50, 2))
    np.testing.assert_allclose(found.place(found.vectors_at(points)), points, atol=1e-9)
    with pytest.raises(InputError, match="no way back"):
        project(clusters, ProjectionSettings(spread="grid")).vectors_at(points)


def test_trustworthiness_falls_when_places_are_shuffled(clusters: np.ndarray, rng: np.random.Generator) -> None:
    found = project(clusters)
    assert trustworthiness(found.vectors, found.places) > 0.8
    assert trustworthiness(found.vectors, rng.permutation(found.places)) < 0.6


def test_bad_projections_are_refused(clusters: np.ndarray) -> None:
    with pytest.raises(InputError, match="method is 'mds'"):
        ProjectionSettings("mds")
    with pytest.raises(InputError, match="off the map"):
        given(clusters, np.full((120, 2), 1.5))
    with pytest.raises(InputError, match="finite"):
        project([[np.nan]])


# Collections


def test_the_held_frame_is_loud() -> None:
    latents = np.concatenate([np.zeros((3, 2)), np.ones((4, 2)), np.zeros((20, 2))]).astype(np.float32)
    levels = np.concatenate([np.full(3, 1e-9), np.full(4, 0.5), np.full(20, 1e-9)])
    assert held_frame(latents, levels) in range(3, 7)


@pytest.fixture
def folder(tmp_path: Path, rng: np.random.Generator) -> Path:
    for group, names in (("a", ("one", "two")), ("b", ("one", "three"))):
        (tmp_path / group).mkdir()
        for name in names:
            soundfile.write(tmp_path / group / f"{name}.wav", rng.uniform(-0.5, 0.5, 30000), 44100)
    return tmp_path


def test_encoding_a_folder(folder: Path) -> None:
    model = autoencoders.load("builtin")
    found = encode_collection(sorted(folder.rglob("*.wav")), model).collection
    assert found.names == ["one", "two", "one 2", "three"]
    assert found.groups == ["a", "a", "b", "b"]
    assert found.lengths().tolist() == [30] * 4  # ceil(30000 / 1024)
    again = found.with_sounds(found.sounds)  # the same bytes are not taken twice
    assert len(again) == 4
    with pytest.raises(InputError, match="such as 'three'"):
        found.find("threee")


def test_a_bad_file_is_named_or_left_out(folder: Path) -> None:
    model = autoencoders.load("builtin")
    (folder / "a" / "bad.wav").write_bytes(b"RIFF")
    files = sorted(folder.rglob("*.wav"))
    with pytest.raises(FileError, match=r"bad\.wav"):
        encode_collection(files, model)
    found = encode_collection(files, model, skip_bad=True)
    assert len(found.collection) == 4
    assert [Path(problem.path).name for problem in found.problems] == ["bad.wav"]


def test_encoded_again_finds_files_that_have_moved(folder: Path) -> None:
    model = autoencoders.load("builtin")
    found = encode_collection(sorted(folder.rglob("*.wav")), model).collection
    (folder / "b" / "three.wav").rename(folder / "three.wav")
    (folder / "a" / "two.wav").write_bytes(b"another")
    again, missing = found.encoded_again(model, [folder])
    assert again.names == ["one", "one 2", "three"]
    assert len(missing) == 1
    assert missing[0].startswith("two: ")
    np.testing.assert_array_equal(again.find("three").latents, found.find("three").latents)


# Instruments


def explored(sounds: list[Sound]) -> Explorer:
    explorer = Explorer(Collection(sounds))
    explorer.project()
    return explorer


@pytest.mark.parametrize("by", ["sounds", "frames"])
@pytest.mark.parametrize("mode", ["data", "model", "synth"])
def test_an_instrument_keeps_everything(by: str, mode: str, sounds: list[Sound], tmp_path: Path) -> None:
    model = autoencoders.load_bytes(onnx_bundle())
    explorer = Explorer(Collection(sounds), by=by)
    explorer.project(ProjectionSettings(spread="hex" if by == "sounds" else "none"))
    explorer.sound_map("model", count=40)
    explorer.attributes["own"] = Attribute("own", "A to B", np.array([1.0, 0.5]), np.array([0.25, 0.1]), examples=4)
    explorer.keep(Preset.of_sound(sounds[3], tags=("warm",), place=(0.2, 0.4)))
    explorer.keep(Preset("quiet", "parameters", parameters={"level": -12.0}))
    explorer.pins = (Pin(0.25, 0.5, sounds[0].latents[0], "s0"),)
    plain = explorer.sound_map(mode)
    sound_map = SoundMap(plain.positions, plain.latents, plain.names, Blending("natural", 3.0, 0.5))
    first, second = tmp_path / "a.terrain", tmp_path / "b.terrain"
    Instrument(model, None, sound_map, explorer=explorer).save(first, embed_autoencoder=True)
    loaded = Instrument.load(first)
    loaded.save(second)
    assert first.read_bytes() == second.read_bytes()
    assert loaded.explorer is not None
    assert loaded.sound_map is not None
    assert loaded.sound_map.blending == sound_map.blending
    assert loaded.explorer.collection.names == explorer.collection.names
    assert loaded.explorer.groups() == explorer.groups()
    assert loaded.explorer.presets.names == ["s3", "quiet"]
    assert loaded.explorer.undo()
    assert loaded.explorer.presets.names == ["s3"]
    np.testing.assert_array_equal(loaded.explorer.place_of("s7"), explorer.place_of("s7"))
    np.testing.assert_array_equal(
        loaded.explorer.sound_map(mode, count=40).latents, explorer.sound_map(mode, count=40).latents
    )


def test_adding_sounds_places_them_and_moves_none(sounds: list[Sound]) -> None:
    explorer = explored(sounds[:20])
    before = explorer.place_table().copy()
    assert explorer.add(sounds) == 10  # those that are there already are left out
    assert len(explorer.collection) == 30
    np.testing.assert_array_equal(explorer.place_table()[:20], before)


def test_model_draws_are_kept(sounds: list[Sound]) -> None:
    explorer = explored(sounds)
    one = explorer.sound_map("model", count=50, seed=1)
    same = explorer.sound_map("model", count=50, seed=2)  # the seed is of the first drawing
    np.testing.assert_array_equal(one.latents, same.latents)
    inside = explorer.space.distance(one.latents) <= explorer.space.radius(1.0) * 1.5
    assert inside.all()


def test_synth_decodes_the_plane(sounds: list[Sound]) -> None:
    """With PCA of frames in two latents, the plane is the latent space itself."""
    explorer = Explorer(Collection(sounds), by="frames")
    explorer.project()
    cells = explorer.sound_map("synth")
    np.testing.assert_allclose(explorer.projection.place(cells.latents), cells.positions, atol=1e-5)


def test_an_instrument_of_before_has_sounds_too(rng: np.random.Generator) -> None:
    model = autoencoders.load_bytes(onnx_bundle())
    names = ["a"] * 3 + ["b"] * 2 + ["a"]
    sound_map = SoundMap(rng.uniform(size=(6, 2)), rng.normal(size=(6, 2)), names)
    found = explorer_of(Instrument(model, None, sound_map))
    assert found.collection.names == ["a", "b", "a 2"]
    np.testing.assert_array_equal(found.collection.frames(), sound_map.latents)
    np.testing.assert_array_equal(found.place_table(), sound_map.positions)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda facts, arrays: facts.update(by="rows"), "expected sounds or frames"),
        (lambda facts, arrays: facts.update(sounds=3), "sounds of the explorer are no list"),
        (lambda facts, arrays: facts["sounds"].pop(), "have"),
        (lambda facts, arrays: facts["sounds"][0].pop("frames"), "names and frames"),
        (lambda facts, arrays: arrays.pop("map.places"), "lacks places"),
        (lambda facts, arrays: arrays.update({"map.places": np.zeros((3, 2))}), "do not fit each other"),
        (lambda facts, arrays: facts.update(pins=[{"x": 0.1}]), "a pin that is none"),
        (lambda facts, arrays: facts.update(attributes=[{}]), "an attribute that is none"),
        (lambda facts, arrays: facts.update(presets=[{"name": "x"}]), "a preset that is none"),
        (lambda facts, arrays: facts.update(pins=[{"x": 0, "y": 0, "latent": [1]}]), r"\[1, 2\] latents"),
        (lambda facts, arrays: arrays.update(draws=np.full((2, 2), np.nan)), "draws"),
    ],
)
def test_damaged_explorers_are_refused(change: object, said: str, sounds: list[Sound]) -> None:
    facts, arrays = explored(sounds).to_parts()
    Explorer.from_parts(facts, arrays)
    change(facts, arrays)  # type: ignore[operator]
    with pytest.raises(InputError, match=said):
        Explorer.from_parts(facts, arrays)


def test_projections_survive_as_parts(clusters: np.ndarray) -> None:
    for settings in (ProjectionSettings(), ProjectionSettings("tsne"), ProjectionSettings(spread="hex")):
        found = project(clusters, settings)
        again = Projection.from_parts(*found.to_parts())
        np.testing.assert_array_equal(again.place(clusters[:7] + 0.1), found.place(clusters[:7] + 0.1))
