from __future__ import annotations

import numpy as np
import pytest
import soundfile

from terrain_core import autoencoders
from terrain_core.building import BuildSettings, build, find_sounds, sound_paths
from terrain_core.errors import FileError, InputError
from terrain_core.explorer.collection import encode_sound
from terrain_core.instrument import Instrument
from terrain_core.sound_map import SoundMap
from terrain_core.terrain.fit import FitSettings

CLOSED_FORM = FitSettings(epochs=0)


@pytest.fixture(scope="module")
def autoencoder():
    return autoencoders.load("builtin")


@pytest.fixture
def tones(tmp_path):
    for name, hz in (("low", 110), ("high", 660)):
        soundfile.write(tmp_path / f"{name}.wav", 0.3 * np.sin(2 * np.pi * hz * np.arange(8000) / 44100), 44100)
    (tmp_path / "notes.txt").write_text("not a sound")
    return tmp_path


def test_the_terrain_gives_each_sounds_latents_at_its_place(tones, autoencoder):
    built = build([tones], autoencoder, BuildSettings(fit=CLOSED_FORM))
    terrain, sound_map = built.instrument.terrain, built.instrument.sound_map
    assert terrain is not None
    assert sound_map is not None
    assert built.pairing.names == ("high", "low")  # by name
    frames = -(-8000 // autoencoder.hop)
    assert [len(path) for path in sound_paths(built.instrument)] == [frames, frames]
    latents = built.pairing.latents
    np.testing.assert_array_equal(sound_map.latents, latents)
    # The closed form comes close: within a tenth of how much the latents vary.
    error = np.sqrt(np.mean((terrain.at(sound_map.positions) - latents) ** 2))
    assert error < 0.1 * latents.std()
    assert built.fit.epochs == 0


def test_a_built_instrument_knows_its_sounds_and_hardly_grows(tones, autoencoder, tmp_path):
    """Each sound with its file, at the places that it is played at; the latents are in the file once."""
    soundfile.write(tones / "more.wav", 0.3 * np.random.default_rng(1).uniform(-1, 1, 3 * 44100), 48000)
    (tones / "other").mkdir()
    (tones / "other" / "low.wav").write_bytes((tones / "low.wav").read_bytes()[:9000])
    with_it = build([tones], autoencoder, BuildSettings(fit=CLOSED_FORM)).instrument
    without = build([tones], autoencoder, BuildSettings(fit=CLOSED_FORM, explorer=False)).instrument
    with_it.save(tmp_path / "with.terrain")
    without.save(tmp_path / "without.terrain")
    grown = (tmp_path / "with.terrain").stat().st_size - (tmp_path / "without.terrain").stat().st_size
    assert grown < 1000 * 4  # a kilobyte a sound; the latents of the longest are more by themselves
    loaded = Instrument.load(tmp_path / "with.terrain")
    assert without.explorer is None
    assert loaded.explorer is not None
    assert loaded.explorer.by == "frames"
    assert sorted(loaded.explorer.collection.names) == ["high", "low", "low 2", "more"]
    for sound in loaded.explorer.collection.sounds:
        known = encode_sound(sound.path, autoencoder)
        np.testing.assert_array_equal(sound.latents, known.latents)
        assert (sound.sha256, sound.held, sound.group) == (known.sha256, known.held, known.group)
        rows = np.flatnonzero(np.array(loaded.sound_map.names) == sound.name)
        np.testing.assert_array_equal(loaded.sound_map.latents[rows], sound.latents)
        np.testing.assert_array_equal(
            loaded.sound_map.positions[rows[sound.held]], loaded.explorer.place_of(sound.name)
        )
    loaded.save(tmp_path / "again.terrain")
    assert (tmp_path / "again.terrain").read_bytes() == (tmp_path / "with.terrain").read_bytes()


def test_a_line_of_time_has_no_sound_map(tones, autoencoder):
    built = build([tones], autoencoder, BuildSettings(layout="timeline", fit=CLOSED_FORM))
    assert built.instrument.terrain is not None
    assert built.instrument.terrain.control_size == 1
    assert built.instrument.sound_map is None
    assert sound_paths(built.instrument) == []


def test_bad_files_stop_a_build_or_are_left_out(tones, autoencoder):
    sounds = [tones / "low.wav", tones / "notes.txt"]
    with pytest.raises(FileError, match=r"notes\.txt"):
        build(sounds, autoencoder, BuildSettings(fit=CLOSED_FORM))
    built = build(sounds, autoencoder, BuildSettings(fit=CLOSED_FORM, skip_bad=True))
    assert built.pairing.names == ("low",)
    assert [error.path for error in built.left_out] == [str(tones / "notes.txt")]
    with pytest.raises(FileError, match=r"notes\.txt"):
        build(sounds[1:], autoencoder, BuildSettings(fit=CLOSED_FORM, skip_bad=True))


def test_progress_tells_what_is_being_done(tones, autoencoder):
    told = []
    build([tones], autoencoder, BuildSettings(fit=CLOSED_FORM), progress=lambda *now: told.append(now))
    assert told == [("encoding", 1, 2), ("encoding", 2, 2)]


def test_folders_are_searched_and_named_files_are_taken(tones):
    assert [path.name for path in find_sounds([tones])] == ["high.wav", "low.wav"]
    assert find_sounds([tones / "notes.txt"]) == [tones / "notes.txt"]
    (tones / "empty").mkdir()
    with pytest.raises(FileError, match="has no audio file"):
        find_sounds([tones / "empty"])
    with pytest.raises(InputError, match="no sounds were given"):
        find_sounds([])


def test_sounds_of_a_map_without_names_are_single_points(autoencoder):
    sound_map = SoundMap([[0, 0], [1, 1]], np.zeros((2, autoencoder.latent_size)))
    paths = sound_paths(Instrument(autoencoder, None, sound_map))
    np.testing.assert_array_equal(paths, [[[0, 0]], [[1, 1]]])
