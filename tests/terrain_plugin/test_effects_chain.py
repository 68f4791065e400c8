from __future__ import annotations

import numpy as np
import pedalboard
import pytest
import soundfile

from terrain_core.errors import FileError, InputError
from terrain_plugin.effects_chain import EFFECTS, FADE_S, LONGEST_TAIL_S, SILENCE, EffectsChain, parse_effect

RATE = 44100


def through(texts: list[str], sound: np.ndarray, block: int = 4096) -> np.ndarray:
    chain = EffectsChain([parse_effect(text) for text in texts], RATE, len(sound))
    blocks = [
        out for start in range(0, sound.shape[1], block) for out in chain.process(sound[:, start : start + block])
    ]
    return np.concatenate([*blocks, *chain.finish()], axis=1)


@pytest.fixture
def noise(rng) -> np.ndarray:
    return (0.1 * rng.standard_normal((2, RATE))).astype(np.float32)


def test_no_effects_change_nothing(noise):
    np.testing.assert_array_equal(through([], noise), noise)


def test_gain_is_a_factor_and_has_no_tail(noise):
    out = through(["gain:gain_db=6"], noise)
    assert out.shape == noise.shape
    np.testing.assert_allclose(out, noise * 10 ** (6 / 20), rtol=1e-4)


def test_parameters_reach_the_effect():
    effect = parse_effect("reverb:room_size=0.25,wet_level=0.75")
    assert isinstance(effect, pedalboard.Reverb)
    assert (effect.room_size, effect.wet_level) == (0.25, 0.75)


@pytest.mark.parametrize("name", EFFECTS)
def test_every_effect_of_the_table_takes_its_parameters_and_plays(name, noise, tmp_path):
    kind, parameters = EFFECTS[name]
    impulse = tmp_path / "impulse.wav"
    soundfile.write(impulse, [1.0, 0.0, 0.5], RATE)
    defaults = {} if name == "convolution" else {parameter: getattr(kind(), parameter) for parameter in parameters}
    defaults |= {"impulse_response_filename": impulse} if name == "convolution" else {}
    settings = ",".join(f"{parameter}={value}" for parameter, value in defaults.items())
    out = through([f"{name}:{settings}"], noise)
    assert out.shape[1] >= noise.shape[1]
    assert np.abs(out).max() > 0.01


@pytest.mark.parametrize(
    "fx", [["reverb"], ["brickwall:ceiling_db=-30,lookahead_ms=7"], ["delay:feedback=0.3", "chorus"], ["gsm"]]
)
def test_any_cutting_gives_the_same_samples(fx, noise):
    whole = through(fx, noise, block=RATE)
    assert np.abs(whole).max() > 0.01
    for block in (1000, 4096):
        np.testing.assert_array_equal(through(fx, noise, block), whole)


def test_latency_is_taken_out(noise):
    # The limiter looks 220 samples ahead, and never has to act: a pure delay, of which nothing may be left.
    out = through(["brickwall:ceiling_db=0,lookahead_ms=5"], noise)
    assert noise.shape[1] <= out.shape[1] <= noise.shape[1] + 2 * 8192
    np.testing.assert_allclose(out[:, : noise.shape[1]], noise, atol=1e-5)


def test_an_echo_is_rendered_out_and_silence_is_not(noise):
    click = np.zeros((1, 100), np.float32)
    click[0, 0] = 1
    out = through(["delay:delay_seconds=1.5,feedback=0.1,mix=0.5"], click)[0]
    heard = np.flatnonzero(np.abs(out) > SILENCE)
    # Echoes at 1.5, 3.0, 4.5 s …, each 20 dB down: the last above -80 dBFS is the fourth.
    np.testing.assert_array_equal(heard, np.arange(5) * round(1.5 * RATE))
    assert len(out) < heard[-1] + RATE


def test_a_tail_without_end_is_faded_out(noise):
    out = through(["delay:delay_seconds=0.1,feedback=1"], noise[:, :4410])
    assert out.shape[1] == pytest.approx(4410 + LONGEST_TAIL_S * RATE, abs=8192)
    before_fade = np.abs(out[:, -round((FADE_S + 1) * RATE) : -round(FADE_S * RATE)]).max()
    assert before_fade > 0.05
    assert np.abs(out[:, -441:]).max() < before_fade / 50


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("revreb", r"'revreb' is unknown \(did you mean reverb\?\): use one of .*compressor"),
        ("reverb:size=1", r"no parameter 'size'.*room_size"),
        ("reverb:room_size", "parameter=value"),
        ("reverb:room_size=big", "reverb:room_size=big"),
        ("reverb:room_size=7", "reverb:room_size=7"),
        ("", "'' is unknown"),
        ("convolution", "needs a sound"),
    ],
)
def test_a_mistyped_effect_says_what_is_wrong(text, message):
    with pytest.raises(InputError, match=message) as caught:
        parse_effect(text)
    assert "\n" not in str(caught.value)


def test_files_that_are_missing_or_no_plugin_are_named(tmp_path):
    (tmp_path / "broken.vst3").write_bytes(b"not a plugin")
    for name in ("broken.vst3", "missing.vst3"):
        with pytest.raises(FileError, match=name):
            parse_effect(str(tmp_path / name))
    with pytest.raises(FileError, match=r"hall\.wav"):
        parse_effect("convolution:impulse_response_filename=hall.wav")
