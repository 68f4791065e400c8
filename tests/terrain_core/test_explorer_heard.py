"""What is measured of sounds, attributes learned from it, reconstructions."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile

from terrain_core import autoencoders
from terrain_core.autoencoders.training.corpus import make_clip
from terrain_core.errors import InputError
from terrain_core.explorer.attributes import (
    Attribute,
    Examples,
    _stretch_between,
    apply,
    from_examples,
    learn,
    orthogonal,
)
from terrain_core.explorer.collection import Collection, Sound, encode_collection
from terrain_core.explorer.descriptors import SILENCE_LUFS, Descriptors, decoded, loudness, measure
from terrain_core.explorer.projection import project
from terrain_core.explorer.reconstruction import compare, reconstruct
from terrain_core.explorer.space import LatentSpace

RATE = 44100


def sine(hz: float, seconds: float = 2.0, rate: int = RATE, peak: float = 1.0) -> np.ndarray:
    return (peak * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate))[np.newaxis].astype(np.float32)


# Descriptors


@pytest.mark.parametrize("hz", [220.0, 1000.0, 5000.0])
def test_a_sine_is_as_bright_and_as_high_as_it_is(hz: float) -> None:
    found = measure(sine(hz), RATE)
    assert found.brightness_hz == pytest.approx(hz, rel=0.01)
    if hz < 4000:
        assert found.pitch_hz == pytest.approx(hz, rel=0.005)


def test_white_noise_is_as_noisy_as_theory_says(rng: np.random.Generator) -> None:
    """A periodogram of white noise is exponentially distributed: its flatness is exp(-0.5772), -2.507 dB."""
    noise = rng.normal(size=(1, 10 * RATE)).astype(np.float32) * 0.1
    assert measure(noise, RATE, pitch=False).noisiness_db == pytest.approx(-10 * 0.5772 / np.log(10), abs=0.03)
    assert measure(sine(1000), RATE, pitch=False).noisiness_db < -40


@pytest.mark.parametrize("rate", [44100, 48000, 96000])
def test_loudness_is_bs1770s(rate: int) -> None:
    """The standard's own check: 997 Hz at 0 dBFS in one channel is -3.01 LUFS; in two channels 3.01 more."""
    one = sine(997, 3.0, rate)
    assert loudness(one, rate) == pytest.approx(-3.01, abs=0.02)
    assert loudness(np.repeat(one, 2, axis=0), rate) == pytest.approx(0.0, abs=0.02)
    assert loudness(one * 0.1, rate) == pytest.approx(-23.01, abs=0.02)


def test_loudness_is_gated_as_ebu_tech_3341_asks() -> None:
    """Its case 3: 10 s at -36 dBFS, 60 s at -23, 10 s at -36, in stereo: -23 LUFS."""
    parts = [sine(1000, seconds, 48000, 10 ** (db / 20)) for seconds, db in ((10, -36), (60, -23), (10, -36))]
    assert loudness(np.repeat(np.concatenate(parts, axis=1), 2, axis=0), 48000) == pytest.approx(-23.0, abs=0.1)


def test_silence_and_short_sounds() -> None:
    found = measure(np.zeros((1, 1000), np.float32), RATE)
    assert found.loudness_lufs == SILENCE_LUFS
    assert (found.brightness_hz, found.attack_s, found.duration_s) == (0.0, 0.0, 0.0)
    assert np.isnan(found.pitch_hz)
    assert measure(sine(1000, 0.05), RATE).loudness_lufs > -8  # less than one block
    with pytest.raises(InputError, match="at least one sample"):
        measure(np.zeros((1, 0), np.float32), RATE)


def test_attack_and_duration_of_a_ramp() -> None:
    """0.2 s of silence, a straight rise of 0.5 s, 0.3 s held, silence: 0.8 of 0.5 s of attack, 0.8 s in all."""
    envelope = np.interp(np.arange(2 * RATE) / RATE, [0, 0.2, 0.7, 1.0, 1.0001, 2], [0, 0, 1, 1, 0, 0])
    found = measure((sine(2000, 2.0) * envelope).astype(np.float32), RATE)
    assert found.attack_s == pytest.approx(0.4, abs=0.011)
    assert found.duration_s == pytest.approx(0.795, abs=0.011)  # 40 dB down is 5 ms after the rise begins


@pytest.mark.parametrize("hz", [40, 100, 400])
@pytest.mark.parametrize("rise", [0.2, 0.5])
@pytest.mark.parametrize("kind", ["sine", "pulses"])
def test_an_attack_is_as_long_as_the_rise_however_low_the_tone(hz: float, rise: float, kind: str) -> None:
    """Neither the half-waves of a low sine nor the gaps between pulses are taken for its beginning."""
    seconds = np.arange(2 * RATE) / RATE
    pulses = np.cos(np.pi * hz * seconds) ** 16 * np.cos(2 * np.pi * 20 * hz * seconds)
    carrier = sine(hz, 2.0) if kind == "sine" else pulses[np.newaxis]
    envelope = np.interp(seconds, [0, 0.2, 0.2 + rise, 1.0, 1.3], [0, 0, 1, 1, 0])
    found = measure((carrier * envelope).astype(np.float32), RATE, pitch=False)
    assert found.attack_s == pytest.approx(0.8 * rise, abs=0.003 + 0.6 / hz)


def test_an_attack_can_be_stretched_by_less_than_a_frame() -> None:
    """What comes after it is later by as much, and before it all is as it was."""
    rows = np.interp(np.arange(20), [0, 5, 8, 19], [0, 0, 1, 2])[:, np.newaxis].astype(np.float32)
    for frames in (-1.5, -0.5, 0.0, 0.25, 1.0, 2.75):
        found = _stretch_between(rows, 5, 8, frames)[:, 0]
        np.testing.assert_allclose(found[:6], rows[:6, 0], atol=1e-6)
        moments = np.arange(len(found))
        expected = np.interp(moments, [0, 5, 8 + frames, 19 + frames], [0, 0, 1, 2])
        np.testing.assert_allclose(found, expected, atol=0.12)  # a corner between two frames is cut off
        assert len(found) == 20 + math.ceil(frames)


# Attributes


class Toy:
    """Latents are what is measured, in a basis that mixes them: regression has to find them again."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.mixing = rng.normal(size=(6, 6))
        self.hidden = rng.normal(size=(400, 6)) * [1, 2, 0.5, 1, 3, 1]
        self.latents = self.hidden @ self.mixing.T
        self.examples = Examples(
            self.latents.astype(np.float32),
            tuple(
                Descriptors(1000 * 2 ** float(row[0]), float(row[1]), -20 + float(row[2]), float("nan"), 0.0, 1.0)
                for row in self.hidden
            ),
        )
        self.space = LatentSpace.of(self.latents)

    def measured(self, latents: np.ndarray) -> np.ndarray:
        return np.asarray(np.linalg.solve(self.mixing, latents.T).T)


@pytest.fixture
def toy(rng: np.random.Generator) -> Toy:
    return Toy(rng)


@pytest.mark.parametrize(("name", "column"), [("brightness", 0), ("noisiness", 1), ("loudness", 2)])
def test_a_unit_asked_is_a_unit_got_where_things_are_linear(name: str, column: int, toy: Toy) -> None:
    attribute = learn(name, toy.examples, toy.space)
    assert attribute.fit > 0.99
    moved = toy.measured(attribute.move(toy.latents, 0.5)) - toy.measured(toy.latents)
    np.testing.assert_allclose(moved[:, column], 0.5, rtol=0.03)


def test_of_all_directions_the_likeliest_is_taken(toy: Toy) -> None:
    """Any other that changes as much is longer in standard deviations."""
    attribute = learn("brightness", toy.examples, toy.space)
    length = np.linalg.norm(toy.space.whitened(toy.space.mean + attribute.direction))
    rng = np.random.default_rng(1)
    for _ in range(50):
        other = rng.normal(size=6)
        other /= other @ attribute.gradient
        assert np.linalg.norm(toy.space.whitened(toy.space.mean + other)) >= length - 1e-9


def test_orthogonal_directions_leave_the_others_alone(rng: np.random.Generator) -> None:
    toy = Toy(rng)
    toy.hidden[:, 1] += 1.5 * toy.hidden[:, 0]  # noisy where it is bright
    toy.latents = toy.hidden @ toy.mixing.T
    measured = [Descriptors(1000 * 2 ** float(r[0]), float(r[1]), -20.0 + r[2], np.nan, 0, 1) for r in toy.hidden]
    examples = Examples(toy.latents.astype(np.float32), tuple(measured))
    space = LatentSpace.of(toy.latents)
    plain = [learn(name, examples, space) for name in ("brightness", "noisiness", "loudness")]
    apart = orthogonal(plain, space)

    def effect(attribute: Attribute) -> np.ndarray:
        return (toy.measured(attribute.move(toy.latents, 1.0)) - toy.measured(toy.latents)).mean(axis=0)[:3]

    assert abs(effect(plain[0])[1]) > 0.5
    for k, attribute in enumerate(apart):
        np.testing.assert_allclose(effect(attribute), np.eye(3)[k], atol=0.06)
    with pytest.raises(InputError, match="one without the other"):
        orthogonal([plain[0], plain[0]], space)


def test_own_attributes_go_from_b_to_a(toy: Toy) -> None:
    more, less = toy.latents[toy.hidden[:, 3] > 1], toy.latents[toy.hidden[:, 3] < -1]
    own = from_examples("wooden", more, less, toy.space)
    np.testing.assert_allclose(own.move(less.mean(axis=0), 1.0), more.mean(axis=0), rtol=1e-4)
    assert own.gradient @ own.direction == pytest.approx(1.0)
    scores = toy.latents @ own.gradient
    assert np.corrcoef(scores, toy.hidden[:, 3])[0, 1] > 0.95
    with pytest.raises(InputError, match="the same mean"):
        from_examples("x", more, more, toy.space)


def test_what_cannot_be_learned_is_said(toy: Toy) -> None:
    with pytest.raises(InputError, match="pitch can be measured in 0 of 400"):
        learn("pitch", toy.examples, toy.space)
    with pytest.raises(InputError, match="nothing called 'warmth' is measured: expected one of brightness"):
        toy.examples.values("warmth")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    folder = tmp_path_factory.mktemp("corpus")
    for index in range(27):
        clip = make_clip("demo", index)
        soundfile.write(folder / f"{clip.family} {index}.wav", clip.audio[: 2 * RATE], RATE)
    return encode_collection(sorted(folder.glob("*.wav")), autoencoders.load("builtin")).collection


@pytest.fixture(scope="module")
def learned(corpus: Collection) -> dict[str, Attribute]:
    model = autoencoders.load("builtin")
    rows = corpus.frames()[np.random.default_rng(5).choice(len(corpus.frames()), 150, replace=False)]
    examples, space = Examples.of(rows, model), LatentSpace.of(corpus.frames())
    return {name: learn(name, examples, space) for name in ("brightness", "noisiness", "loudness", "pitch")}


@pytest.mark.parametrize(
    ("name", "asked"), [("brightness", 0.4), ("loudness", -5.0), ("pitch", 3.0), ("noisiness", 2.0)]
)
def test_real_sounds_get_what_was_asked(name: str, asked: float, corpus: Collection, learned: dict) -> None:
    """On sounds of the built-in autoencoder; the raw direction goes the right way, the corrected one gets there."""
    model = autoencoders.load("builtin")
    raw, corrected = [], []
    for sound in [corpus.sounds[k] for k in (0, 3, 15, 18)]:
        raw.append(apply(sound.latents, learned[name], asked, model, corrections=0).achieved)
        corrected.append(apply(sound.latents, learned[name], asked, model, corrections=4).achieved)
    assert np.median(raw) * np.sign(asked) > 0
    assert np.median(np.abs(np.array(corrected) - asked)) < 0.1 * abs(asked)


def test_duration_and_attack_stretch_time(corpus: Collection) -> None:
    model = autoencoders.load("builtin")
    sound = corpus.sounds[18]
    longer = apply(sound.latents, "duration", 0.7, model)
    assert longer.achieved == pytest.approx(0.7, abs=0.05)
    with pytest.raises(InputError, match="learn it first"):
        apply(sound.latents, "brightness", 1.0, model)


def test_applying_is_not_cumulative(corpus: Collection, learned: dict) -> None:
    sound = corpus.sounds[0]
    once = learned["brightness"].move(sound.latents, 0.5)
    learned["brightness"].move(once, 0.5)
    np.testing.assert_array_equal(learned["brightness"].move(sound.latents, 0.5), once)
    np.testing.assert_array_equal(learned["brightness"].move(sound.latents, 0.0), sound.latents)


def test_attributes_survive_as_json(learned: dict) -> None:
    import json

    for attribute in learned.values():
        again = Attribute.from_dict(json.loads(json.dumps(attribute.as_dict())))
        np.testing.assert_array_equal(again.direction, attribute.direction)
        assert again.fit == attribute.fit


# Reconstruction


def test_errors_are_what_they_say(rng: np.random.Generator) -> None:
    noise = rng.normal(size=(1, RATE)).astype(np.float32) * 0.1
    same, quieter = compare(noise, noise, RATE), compare(noise, noise * np.float32(0.5), RATE)
    assert (same.spectral_db, same.level_db) == (0.0, 0.0)
    assert quieter.spectral_db == pytest.approx(6.02, abs=0.01)
    assert quieter.level_db == pytest.approx(-6.02, abs=0.01)
    assert quieter.signal_to_error_db == pytest.approx(6.02, abs=0.01)
    other = compare(noise, rng.permutation(noise.ravel())[np.newaxis], RATE)
    assert other.spectral_db > 2
    assert other.signal_to_error_db < 0


def test_a_known_file_is_found_and_an_unknown_one_is_placed(corpus: Collection, tmp_path: Path) -> None:
    model = autoencoders.load("builtin")
    projection = project(corpus.portraits())
    known = corpus.sounds[5]
    found = reconstruct(known.path, model, corpus, projection)
    assert found.same == found.nearest[0][0] == known.name
    assert found.nearest[0][1] == 0
    np.testing.assert_allclose(found.place, projection.places[5], atol=1e-9)
    assert found.original.shape == found.rebuilt.shape
    assert found.errors.spectral_db < 8
    audio, rate = soundfile.read(known.path)
    quieter = tmp_path / "quieter.wav"
    soundfile.write(quieter, audio * 0.9, rate)
    again = reconstruct(quieter, model, corpus, projection)
    assert again.same == ""
    assert again.nearest[0][0] == known.name


def test_decoded_takes_the_delay_off() -> None:
    from tests.terrain_core.reference_autoencoder import LinearAutoencoder

    late, prompt = LinearAutoencoder(delay=100), LinearAutoencoder(delay=0)
    latents = np.random.default_rng(1).normal(size=(9, 3)).astype(np.float32)
    np.testing.assert_allclose(decoded(late, latents), decoded(prompt, latents), atol=1e-6)
    assert decoded(late, latents).shape == (1, 9 * 64)


def test_one_shots_are_sounds_of_one_frame() -> None:
    sound = Sound("hit", np.array([[1.0, 2.0]]))
    np.testing.assert_array_equal(sound.latent, [1.0, 2.0])
    np.testing.assert_array_equal(sound.portrait, [1.0, 2.0, 0.0, 0.0])
