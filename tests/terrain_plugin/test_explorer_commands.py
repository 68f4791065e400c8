"""The explorer on the command line: what each command writes, and what it says of bad input."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from terrain_core import autoencoders
from terrain_core.autoencoders.training.corpus import make_clip
from terrain_core.explorer.explorer import explorer_of
from terrain_core.instrument import Instrument
from terrain_daws import read
from terrain_plugin.cli import app
from terrain_plugin.shipped import DEFAULT_INSTRUMENT
from tests.terrain_core.one_shot_bundle import LATENTS, one_shot

RATE = 44100


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with sounds in groups, and an instrument of them."""
    folder = tmp_path_factory.mktemp("explorer")
    for index in range(18):
        clip = make_clip("demo", index)
        (folder / "sounds" / clip.family).mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / "sounds" / clip.family / f"{clip.family}{index}.wav", clip.audio[: RATE // 2], RATE)
    result = CliRunner().invoke(
        app, ["map", "--from", str(folder / "sounds"), "--save", str(folder / "m.terrain"), "--json"]
    )
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert (facts["sounds"], facts["places"], facts["method"]) == (18, 18, "pca")
    assert 0.4 < facts["trustworthiness"] <= 1
    return folder


@pytest.fixture
def work(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "m.terrain").write_bytes((made / "m.terrain").read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    return tmp_path


def run(*arguments: object) -> dict:
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


def refused(*arguments: object) -> str:
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1
    return result.stderr


def seconds_of(path: str) -> float:
    return soundfile.info(path).duration


def first_two(work: Path) -> tuple[str, str]:
    names = explorer_of(Instrument.load(work / "m.terrain")).collection.names
    return names[0], names[9]


def test_morph_writes_sound_instrument_and_lanes(work: Path) -> None:
    a, b = first_two(work)
    facts = run(
        "morph", "m.terrain", a, b, "-o", "m.wav", "--steps", 3, "--gap", 0.25, "--each", "each", "--picture", "m.png"
    )
    frames = 22 * 1024 / RATE
    assert facts["seconds"] == pytest.approx(3 * frames + 2 * 0.25, abs=1e-3) == seconds_of("m.wav")
    assert sorted(path.name for path in Path("each").iterdir()) == ["m 01.wav", "m 02.wav", "m 03.wav"]
    assert Path("m.png").stat().st_size > 5000
    run("morph", "m.terrain", a, b, "-o", "long.wav", "--seconds", 1.5)
    assert seconds_of("long.wav") == pytest.approx(1.5, abs=0.02)
    run("morph", "m.terrain", a, b, "-o", "way.terrain", "--steps", 3)
    way = Instrument.load("way.terrain")
    known = explorer_of(Instrument.load("m.terrain"))
    assert way.sound_map is not None
    np.testing.assert_array_equal(way.sound_map.latents[:22], known.collection.find(a).latents)
    run("morph", "m.terrain", a, b, "-o", "way.csv", "--beats", 4, "--steps", 5, "--easing", "smooth")
    rows = np.array(
        [[float(cell) for cell in row] for row in list(csv.reader(Path("way.csv").read_text().splitlines()))[1:]]
    )
    np.testing.assert_allclose(rows[[0, -1], 1:], [known.place_of(a), known.place_of(b)], atol=1e-8)
    assert rows[-1, 0] == 4


@pytest.mark.parametrize("out", ["walk.mid", "walk.rpp", "walk.dawproject"])
def test_walks_become_projects_that_play_the_map(out: str, work: Path) -> None:
    facts = run("walk", "m.terrain", "-o", out, "--steps", 12, "--beats", 0.5)
    assert facts["points"] == 13
    lanes = read(out).lanes_by_key() if out != "walk.mid" else {lane.name: lane for lane in read(out).lanes}
    assert len(lanes) >= 2
    if out == "walk.rpp":
        state = read(out).instances[0].state
        assert state is not None
        assert state.parameters["source"] == 1


def test_a_walk_is_heard_inside_and_on_the_beat(work: Path) -> None:
    facts = run("walk", "m.terrain", "-o", "w.wav", "--steps", 8, "--beats", 0.5, "--tempo", 60, "--picture", "w.png")
    assert facts["inside"] == 1.0
    assert facts["seconds"] == pytest.approx(4.0, abs=0.03)
    facts = run("walk", "m.terrain", "-o", "w.wav", "--steps", 8, "--step-seconds", 0.25, "--tempo", 60)
    assert facts["seconds"] == pytest.approx(2.0, abs=0.03)


def test_variations(work: Path) -> None:
    a, _ = first_two(work)
    facts = run("vary", "m.terrain", a, "-o", "v.wav", "--count", 5)
    distances = [one["distance"] for one in facts["variations"]]
    assert len(distances) == 5
    assert distances == sorted(distances)
    facts = run("vary", "m.terrain", a, "-o", "v.csv", "--corpus", "--count", 4)
    assert a not in [one["name"] for one in facts["variations"]]
    assert len(Path("v.csv").read_text().splitlines()) == 5
    assert "add --corpus" in refused("vary", "m.terrain", a, "-o", "v.csv")


def test_reconstruct_finds_the_file(work: Path, made: Path) -> None:
    file = next((made / "sounds").rglob("*.wav"))
    facts = run("reconstruct", file, "-i", "m.terrain", "-o", "r.wav", "--picture", "r.png")
    assert facts["same"] == file.stem == facts["nearest"][0]["name"]
    assert seconds_of("r.wav") == pytest.approx(0.5)
    known = explorer_of(Instrument.load("m.terrain"))
    np.testing.assert_allclose(facts["place"], known.place_of(file.stem), atol=1e-6)
    assert "spectral_db" in run("reconstruct", file)


def test_sliders(work: Path) -> None:
    before = run("sliders", "m.terrain")
    facts = run(
        *("sliders", "m.terrain", "--random", 1.0, "--lock", 3, "--set", "0=9.5", "-o", "s.wav", "--keep", "chance")
    )
    assert facts["latent"][0] == 9.5  # beyond its range, and not clipped
    assert facts["latent"][3] == pytest.approx(before["latent"][3])
    assert facts["latent"][1] != pytest.approx(before["latent"][1])
    assert [p["name"] for p in run("preset", "list", "m.terrain")["presets"]] == ["chance"]
    assert "there is no slider 8: expected 0..7" in refused("sliders", "m.terrain", "--set", "8=1")
    assert "should read K=VALUE" in refused("sliders", "m.terrain", "--set", "a=1")


def test_steering_is_kept_and_refined(work: Path) -> None:
    a, b = first_two(work)
    facts = run("steer", "m.terrain", "--pin", f"{a}@0.2,0.2", "--pin", f"{b}@0.8,0.3", "-o", "s.terrain")
    assert max(pin["error"] for pin in facts["pins"]) < 0.01
    facts = run("steer", "s.terrain", "--pin", "mean@0.5,0.9", "-o", "s.terrain", "--picture", "s.png")
    assert [pin["name"] for pin in facts["pins"]] == [a, b, "mean"]
    steered = Instrument.load("s.terrain")
    known = explorer_of(steered).collection.find(a)
    assert steered.terrain is not None
    np.testing.assert_allclose(steered.terrain.at(np.array([[0.2, 0.2]]))[0], known.latent, atol=0.05)
    assert "should read SOUND@X,Y" in refused("steer", "m.terrain", "--pin", a, "-o", "s.terrain")


def test_attributes(work: Path) -> None:
    a, b = first_two(work)
    facts = run("attribute", "learn", "m.terrain", "loudness", "noisiness", "--examples", 80)
    assert [one["name"] for one in facts["attributes"]] == ["loudness", "noisiness"]
    done = run("attribute", "apply", "m.terrain", "loudness", a, "--by", -4, "-o", "q.wav")
    assert done["unit"] == "LU"
    assert done["achieved"] == pytest.approx(-4, abs=0.5)
    run("attribute", "learn", "m.terrain", "mine", "--more", a, "--less", b)
    run("attribute", "apply", "m.terrain", "mine", b, "--by", 1, "-o", "q.wav")
    assert CliRunner().invoke(app, ["attribute", "remove", "m.terrain", "mine"]).exit_code == 0
    names = [one["name"] for one in run("attribute", "list", "m.terrain")["attributes"]]
    assert names == ["loudness", "noisiness"]
    assert "was not learned" in refused("attribute", "apply", "m.terrain", "mine", a, "--by", "1", "-o", "q.wav")


def test_presets_are_kept_searched_morphed_undone_and_taken_elsewhere(work: Path, made: Path) -> None:
    a, b = first_two(work)
    run("preset", "keep", "m.terrain", "one", "--sound", a, "--tag", "warm")
    run("preset", "keep", "m.terrain", "two", "--sound", b, "--set", "glide=200")
    run("preset", "keep", "m.terrain", "set", "--set", "level=-6")
    assert [p["kind"] for p in run("preset", "list", "m.terrain")["presets"]] == ["path", "scene", "parameters"]
    assert [p["name"] for p in run("preset", "list", "m.terrain", "--tag", "warm")["presets"]] == ["one"]
    run("preset", "morph", "m.terrain", "one", "two", "--at", 0.4, "-o", "p.wav", "--keep", "half")
    run("preset", "rename", "m.terrain", "half", "middle")
    run("preset", "remove", "m.terrain", "one")
    run("preset", "undo", "m.terrain")
    run("preset", "undo", "m.terrain")
    assert [p["name"] for p in run("preset", "list", "m.terrain")["presets"]] == ["one", "two", "set", "half"]
    run("preset", "play", "m.terrain", "half", "-o", "h.wav")
    assert CliRunner().invoke(app, ["preset", "export", "m.terrain", "p.json"]).exit_code == 0
    (work / "n.terrain").write_bytes((made / "m.terrain").read_bytes())
    assert CliRunner().invoke(app, ["preset", "import", "n.terrain", "p.json"]).exit_code == 0
    assert len(run("preset", "list", "n.terrain")["presets"]) == 4
    facts = run("preset", "retrain", "m.terrain", "-a", "builtin", "-o", "again.terrain")
    assert facts["sounds"] == 18
    assert facts["lost"] == ["half: came from no sound"]
    one, same = (explorer_of(Instrument.load(name)).presets.get("one") for name in ("m.terrain", "again.terrain"))
    np.testing.assert_array_equal(one.latents, same.latents)


def test_maps_grow_spread_and_are_drawn(work: Path, made: Path) -> None:
    before = explorer_of(Instrument.load("m.terrain"))
    soundfile.write("fresh.wav", make_clip("demo", 30).audio[: RATE // 2], RATE)
    facts = run("map", "m.terrain", "--add", "fresh.wav", "--save", "n.terrain", "--scatter", "n.png", "--density")
    assert facts["sounds"] == 19
    after = explorer_of(Instrument.load("n.terrain"))
    np.testing.assert_array_equal(after.place_table()[:18], before.place_table())
    run("map", "m.terrain", "--spread", "hex", "--save", "h.terrain", "--natural")
    spread = Instrument.load("h.terrain")
    assert spread.sound_map is not None
    assert spread.sound_map.blending.method == "natural"
    assert len(np.unique(spread.sound_map.positions, axis=0)) == 18
    run("map", "m.terrain", "--by", "frames", "--method", "tsne", "--save", "f.terrain", "-o", "f.png")
    frames = Instrument.load("f.terrain")
    assert frames.sound_map is not None
    assert len(frames.sound_map) == sum(before.collection.lengths())
    rows = [f"{name},{k / 20},0.5" for k, name in enumerate(before.collection.names)]
    Path("own.csv").write_text("\n".join(["name,x,y", *rows]))
    run("map", "m.terrain", "--layout", "own.csv", "--save", "o.terrain")
    np.testing.assert_allclose(explorer_of(Instrument.load("o.terrain")).place_table()[3], [0.15, 0.5])
    for mode, count in (("model", 60), ("synth", 48 * 48)):
        run("map", "m.terrain", "--mode", mode, "--draws", 60, "--save", "x.terrain")
        made_map = Instrument.load("x.terrain").sound_map
        assert made_map is not None
        assert len(made_map) == count


def test_an_instrument_without_an_explorer_is_explored_by_its_map(work: Path) -> None:
    names = explorer_of(Instrument.load(DEFAULT_INSTRUMENT)).collection.names
    run("morph", DEFAULT_INSTRUMENT, names[0], names[-1], "-o", "d.wav", "--steps", 2, "--held", 0.3)
    assert seconds_of("d.wav") == pytest.approx(2 * 0.3 + 0.1, abs=0.03)


@pytest.mark.parametrize("layout", ["map", "timeline"])
def test_what_was_built_is_explored_at_once(layout: str, work: Path, made: Path) -> None:
    """Without `terrain map` in between; and its presets are taken to another autoencoder from the files."""
    other = work / "other.zip"
    other.write_bytes(one_shot().to_bytes())
    sounds = sorted((made / "sounds").rglob("*.wav"))[:3]
    run("build", *sounds, "-o", "b.terrain", "--epochs", 0, "--layout", layout)
    a, b = sounds[0].stem, sounds[2].stem
    run("morph", "b.terrain", a, b, "-o", "m.wav", "--steps", 2)
    run("vary", "b.terrain", a, "-o", "v.wav", "--count", 2, "--corpus")
    assert run("reconstruct", sounds[1], "-o", "r.wav", "-i", "b.terrain")["same"] == sounds[1].stem
    run("preset", "keep", "b.terrain", "soft", "--sound", a)
    run("preset", "keep", "b.terrain", "scene", "--sound", b, "--set", "blend_power=3")
    run("steer", "b.terrain", "--pin", f"{a}@0.2,0.2", "--keep", "-o", "s.terrain")
    if layout == "map":
        run("walk", "b.terrain", "-o", "w.csv")
        before, after = Instrument.load("b.terrain"), Instrument.load("s.terrain")
        corner = np.array([[0.9, 0.9]])
        np.testing.assert_allclose(after.terrain.at(corner), before.terrain.at(corner), atol=1e-4)
    facts = run("preset", "retrain", "s.terrain", "-a", other, "-o", "n.terrain")
    assert (facts["sounds"], facts["presets"], facts["lost"]) == (3, 2, [])
    moved = Instrument.load("n.terrain")
    assert moved.explorer is not None
    assert moved.explorer.presets.get("soft").latents.shape[1] == moved.autoencoder.latent_size == LATENTS
    assert moved.explorer.presets.get("scene").parameters == {"blend_power": 3.0}


def test_mapping_a_folder_again_encodes_nothing(work: Path, made: Path) -> None:
    sounds = made / "sounds"
    first = run("map", "--from", sounds, "--save", "1.terrain", "--cache", "kept")
    entries = {path: path.stat().st_ino for path in Path("kept").rglob("*.safetensors")}
    assert len(entries) == first["sounds"] == 18
    run("map", "--from", sounds, "--save", "2.terrain", "--cache", "kept")
    assert {path: path.stat().st_ino for path in Path("kept").rglob("*.safetensors")} == entries
    assert Path("1.terrain").read_bytes() == Path("2.terrain").read_bytes()
    for path in entries:
        os.utime(path, (1e9, 1e9))
    run("map", "--from", sounds / sounds_of(sounds)[0], "--save", "3.terrain", "--cache", "kept", "--cache-size", "1k")
    assert len(list(Path("kept").rglob("*.safetensors"))) == 2  # those of this folder alone


def sounds_of(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("morph", "m.terrain", "nobody", "mean", "-o", "x.wav"), "no sound is called 'nobody'"),
        (("morph", "m.terrain", "mean", "2,0", "-o", "x.wav"), "off the map"),
        (("morph", "m.terrain", "mean", "0.1,0.1", "-o", "x.csv"), "mean has no place on the map"),
        (("morph", "m.terrain", "mean", "mean", "-o", "x.txt"), "should end in .wav"),
        (("morph", "m.terrain", "mean", "mean", "-o", "x.wav", "--easing", "soft"), "easing is 'soft'"),
        (("walk", "m.terrain", "-o", "x.wav", "--beats", "0"), "expected above 0"),
        (("walk", "m.terrain", "-o", "x.wav", "--momentum", "2"), "momentum is 2.0; expected 0..1"),
        (("walk", "nothing.terrain", "-o", "x.wav"), "nothing.terrain"),
        (("map", "--save", "x.terrain"), "a map needs sounds"),
        (("map", "m.terrain", "--method", "mds", "--scatter", "x.png"), "method is 'mds'"),
        (("map", "m.terrain", "--mode", "dream", "--save", "x.terrain"), "map mode 'dream'"),
        (("map", "m.terrain", "--layout", "no.csv", "--scatter", "x.png"), "no.csv: cannot be opened"),
        (("map", "m.terrain", "--power", "-1", "--save", "x.terrain"), "blending power is -1.0"),
        (("map",), "nothing to write"),
        (("map", "-o", "x.png"), "needs a FILE"),
        (("preset", "remove", "m.terrain", "x"), "no preset is called 'x'"),
        (("preset", "undo", "m.terrain"), "remembers no change"),
        (("attribute", "learn", "m.terrain", "warmth"), "nothing called 'warmth' is measured"),
        (("attribute", "learn", "m.terrain", "attack"), "needs no learning"),
    ],
)
def test_bad_input_is_one_line(arguments: tuple, said: str, work: Path) -> None:
    assert said in refused(*arguments)
    assert not list(work.glob("x.*"))


def test_the_builtin_autoencoder_is_what_a_new_map_has(made: Path) -> None:
    assert Instrument.load(made / "m.terrain").autoencoder.sha256 == autoencoders.load("builtin").sha256
