"""Presets, and terrains steered by pins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from terrain_core import autoencoders
from terrain_core.errors import FileError, InputError
from terrain_core.explorer.collection import encode_sound
from terrain_core.explorer.playable import instrument_of
from terrain_core.explorer.presets import Preset, PresetBook
from terrain_core.explorer.steering import HOLD_DISTANCE, Pin, steer, with_pins
from terrain_core.terrain import Terrain


def presets() -> list[Preset]:
    return [
        Preset("dot", "point", np.array([[0.1, 0.2, 0.3]]), (0.25, 0.75), tags=("Warm", "low"), sound="kick"),
        Preset("way", "path", np.arange(12.0).reshape(4, 3) / 7, description="rises slowly"),
        Preset("dry", "parameters", parameters={"glide": 20.0, "level": -6.0}),
        Preset("verse", "scene", np.ones((2, 3)), (0.5, 0.25), {"glide": 220.0, "of a later version": 1.0}),
    ]


def test_a_book_survives_its_file_bit_for_bit(tmp_path: Path) -> None:
    book = PresetBook(presets())
    book.save(tmp_path / "p.json", "abc")
    again = PresetBook.load(tmp_path / "p.json", "abc")
    assert again.as_list() == book.as_list()
    for one, other in zip(again, book, strict=True):
        if other.latents is not None:
            np.testing.assert_array_equal(one.latents, other.latents)
    again.save(tmp_path / "q.json", "abc")
    assert (tmp_path / "p.json").read_bytes() == (tmp_path / "q.json").read_bytes()


def test_search() -> None:
    book = PresetBook(presets())
    assert [p.name for p in book.search("SLOWLY rises")] == ["way"]
    assert [p.name for p in book.search(tag="warm")] == ["dot"]
    assert [p.name for p in book.search("kick")] == ["dot"]
    assert [p.name for p in book.search(kind="scene")] == ["verse"]
    assert [p.name for p in book.search("slowly kick")] == []
    assert len(book.search()) == 4
    assert [name for name, _ in book.similar("dot")] == ["way", "verse"]


def test_every_change_is_undone_and_redone() -> None:
    book = PresetBook(presets())
    states = [book.as_list()]
    for change in (
        lambda: book.remove("way"),
        lambda: book.rename("dot", "spot"),
        lambda: book.put(Preset("new", "point", np.zeros((1, 3)))),
        lambda: book.put(Preset("dry", "parameters", parameters={"glide": 1.0})),
    ):
        change()
        states.append(book.as_list())
    assert len({str(state) for state in states}) == 5
    for state in reversed(states[:-1]):
        assert book.undo()
        assert book.as_list() == state
    assert not book.undo()
    for state in states[1:]:
        assert book.redo()
        assert book.as_list() == state
    assert not book.redo()
    book.undo()
    book.remove("verse")
    assert not book.redo(), "a change forgets what was undone"


def test_morphs_between_presets() -> None:
    book = PresetBook(presets())
    for end, name in ((0.0, "dot"), (1.0, "verse")):
        made, own = book.morph("dot", "verse", end), book.get(name)
        np.testing.assert_array_equal(made.latents, own.latents)
        assert made.place == own.place
        assert dict(made.parameters) == dict(own.parameters)
    half = book.morph("dry", "verse", 0.5)
    assert half.parameters["glide"] == 120.0
    assert half.parameters["of a later version"] == 1.0
    np.testing.assert_array_equal(half.latents, np.ones((2, 3)))


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"name": "", "kind": "point"}, "without a name"),
        ({"name": "a", "kind": "chord"}, "expected point, path, parameters, scene"),
        ({"name": "a", "kind": "point"}, "has 0 latents, which is no point"),
        ({"name": "a", "kind": "point", "latents": [[1], [2]]}, "has 2 latents, which is no point"),
        ({"name": "a", "kind": "path", "latents": [[1], [float("nan")]]}, r"expected \(frames, D\)"),
        ({"name": "a", "kind": "parameters"}, "sets no parameter"),
        ({"name": "a", "kind": "parameters", "parameters": {"level": True}}, "sets level to True"),
        ({"name": "a", "kind": "point", "latents": [[1]], "place": [0.5, 1.5]}, "expected X and Y"),
        ({"name": "a", "kind": "point", "latents": "x"}, "a preset that is none|expected"),
        ([], "a preset that is none"),
    ],
)
def test_bad_presets_are_refused(facts: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Preset.from_dict(facts)


def test_bad_books_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    for text, said in (
        ("{", "is not JSON"),
        ("{}", "holds no presets"),
        ('{"format": "latent-terrain presets", "version": 99}', "version 99"),
        ('{"format": "latent-terrain presets", "version": 1, "presets": 3}', "no list"),
    ):
        file.write_text(text)
        with pytest.raises(FileError, match=said):
            PresetBook.load(file)
    PresetBook(presets()).save(file, "one")
    with pytest.raises(FileError, match="another autoencoder"):
        PresetBook.load(file, "other")
    with pytest.raises(InputError, match="two presets are called 'dot'"):
        PresetBook([*presets(), *presets()[:1]])


def test_presets_of_sounds_survive_a_retrain(tmp_path: Path, rng: np.random.Generator) -> None:
    """With another autoencoder (here: one of another latent size), latents come from the sound's file again."""
    from tests.terrain_core.reference_autoencoder import LinearAutoencoder

    file = tmp_path / "hit.wav"
    soundfile.write(file, rng.uniform(-0.5, 0.5, 20000), 44100)
    sound = encode_sound(file, autoencoders.load("builtin"))
    lost = Preset("lost", "point", np.zeros((1, 8)), parameters={"glide": 5.0})
    book = PresetBook(
        [Preset.of_sound(sound, "whole", tags=("x",)), Preset.of_sound(sound, "dot", held=True), lost, presets()[2]]
    )
    other = LinearAutoencoder(latent_size=5)
    again, gone = book.after_retrain(other)
    assert [(p.name, p.kind) for p in again] == [
        ("whole", "path"), ("dot", "point"), ("lost", "parameters"), ("dry", "parameters")
    ]  # fmt: skip
    assert again.get("whole").tags == ("x",)
    np.testing.assert_array_equal(again.get("whole").latents, encode_sound(file, other).latents)
    assert again.get("dot").latents.shape == (1, 5)
    assert gone == ["lost: came from no sound"]


# Steering


def pins(rng: np.random.Generator, count: int) -> list[Pin]:
    return [
        Pin(float(x), float(y), rng.normal(size=4), f"p{n}") for n, (x, y) in enumerate(rng.uniform(size=(count, 2)))
    ]


@pytest.mark.parametrize("count", [1, 2, 5, 20])
def test_the_terrain_goes_through_its_pins(count: int, rng: np.random.Generator) -> None:
    own = pins(rng, count)
    found = steer(own)
    assert found.errors.shape == (count,)
    assert found.errors.max() < 0.01
    for pin in own:
        np.testing.assert_allclose(found.terrain.at(np.array([[pin.x, pin.y]]))[0], pin.latent, atol=0.03)


def test_more_pins_refine_and_the_old_ones_hold(rng: np.random.Generator) -> None:
    own = pins(rng, 8)
    for count in range(1, 9):
        assert steer(own[:count]).errors.max() < 0.01
    moved = Pin(own[0].x, own[0].y, own[0].latent + 1)
    assert len(with_pins(own, [moved])) == 8
    found = steer(with_pins(own, [moved]))
    np.testing.assert_allclose(found.terrain.at(np.array([[moved.x, moved.y]]))[0], moved.latent, atol=0.05)


def test_away_from_the_pins_the_terrain_stays_what_it_was(rng: np.random.Generator) -> None:
    base = steer(pins(rng, 9)).terrain
    far = rng.uniform(size=(400, 2))
    far = far[np.linalg.norm(far - 0.5, axis=1) > 0.3]
    spread = base.at(far).std(axis=0).mean()
    pin = Pin(0.5, 0.5, base.at(np.array([[0.5, 0.5]]))[0] + spread)
    held, alone = steer([pin], base=base), steer([pin])
    assert held.errors.max() < 1e-4
    assert np.abs(held.terrain.at(far) - base.at(far)).max() < 1e-4 * spread
    assert np.abs(alone.terrain.at(far) - base.at(far)).mean() > 0.5 * spread


@pytest.mark.parametrize("gauss_scale", [0.05, 0.5, 1.0, 2.0, 4.0, 7.0, 10.0])
def test_a_kept_terrain_stays_at_any_scale(gauss_scale: float, rng: np.random.Generator) -> None:
    """Other bounds, a third dimension, pins near each other; and again with more pins."""
    base = Terrain.create(3, 4, bounds=[[10, 11], [-3, -2], [0, 1]], gauss_scale=gauss_scale, seed=3)
    where = rng.uniform(size=(2000, 3))
    before = base.at(where)
    spread = before.std(axis=0).mean()
    own = pins(rng, 5)
    own += [Pin(min(own[0].x + 0.02, 1.0), own[0].y, own[0].latent + 1, "near")]
    found = steer(own[:4], base=base)
    more = steer(own, base=found.terrain)
    for result, count in ((found, 4), (more, 6)):
        away = np.linalg.norm(where[:, np.newaxis, :2] - [(p.x, p.y) for p in own[:count]], axis=2).min(axis=1)
        moved = np.abs(result.terrain.at(where) - before)[away > HOLD_DISTANCE]
        assert moved.max() < 2e-3 * spread
        assert result.moved is not None
        assert result.moved < 1e-3
        for pin in own[:count]:
            there = result.terrain.at(np.array([[pin.x, pin.y, 0.5]]))[0]
            np.testing.assert_allclose(there, pin.latent, atol=1e-3)
    assert more.terrain.width <= base.width + 2 * 8
    assert steer(own, base=more.terrain).terrain is more.terrain  # nothing left to do


def test_terrains_that_cannot_take_hills_say_so_or_are_learned_again(rng: np.random.Generator) -> None:
    smooth = Terrain.create(2, 4, gauss_scale=0.0)
    assert steer(pins(rng, 3), base=smooth).moved is not None
    wide = Terrain.create(2, 4, gauss_scale=1.0, width=1024)
    with pytest.raises(InputError, match=r"would need 1030 units, and it can have 1024"):
        steer(pins(rng, 3), base=wide)
    with pytest.raises(InputError, match="leave the epochs out"):
        steer(pins(rng, 3), base=Terrain.create(2, 4, gauss_scale=1.0), epochs=5)
    line = Terrain.create(1, 4, gauss_scale=2.0, bounds=[[0, 60]])
    own = pins(rng, 2)
    found = steer(own, base=line)
    assert found.terrain.control_size == 2
    assert found.errors.max() < 1e-4


def test_bad_pins_are_refused() -> None:
    for arguments, said in (
        ((1.5, 0.0, [1.0]), "expected X and Y"),
        ((0.5, 0.0, [np.nan]), "finite"),
        ((0.5, 0.0, [[1.0]]), r"expected \(D,\)"),
    ):
        with pytest.raises(InputError, match=said):
            Pin(*arguments)
    with pytest.raises(InputError, match="no pins"):
        steer([])
    with pytest.raises(InputError, match=r"\[1, 2\] latents"):
        steer([Pin(0, 0, [1.0]), Pin(1, 1, [1.0, 2.0])])


def test_what_a_tool_made_is_an_instrument(rng: np.random.Generator) -> None:
    model = autoencoders.load("builtin")
    sounds = [rng.normal(size=(n, 8)).astype(np.float32) for n in (12, 20, 1)]
    made = instrument_of(sounds, ["a", "b", "c"], model, epochs=0)
    assert made.sound_map is not None
    for sound, y in zip(sounds[:2], (0.0, 0.5), strict=True):
        line = np.stack([np.linspace(0, 1, len(sound)), np.full(len(sound), y)], axis=1)
        np.testing.assert_allclose(made.sound_map.snap(line), sound)
    np.testing.assert_allclose(made.sound_map.snap(np.array([[0.5, 1.0]]))[0], sounds[2][0])
