"""The tracker against tones whose pitch is known."""

import numpy as np
import pytest

from terrain_core.autoencoders import features, pitch


def tracked_hz(audio: np.ndarray) -> np.ndarray:
    return features.MIDDLE_C_HZ * 2.0 ** features.extract(audio.astype(np.float32))[:, features.PITCH_COLUMN]


def harmonic_tone(hz: float, samples: int, partials: int) -> np.ndarray:
    t = np.arange(samples) / features.SAMPLE_RATE
    return 0.2 * sum(np.sin(2 * np.pi * k * hz * t + k) / k for k in range(1, partials + 1) if k * hz < 20000)


@pytest.mark.parametrize("partials", [1, 8])
@pytest.mark.parametrize("hz", [40.0, 82.41, 220.0, 441.3, 1318.5, 2793.8, 4000.0])
def test_steady_tones_within_two_cents(hz: float, partials: int) -> None:
    found = tracked_hz(harmonic_tone(hz, 44100, partials))[5:-5]
    assert len(found) > 20
    cents = 1200 * np.log2(found / hz)
    assert np.abs(cents).max() < 2.0


def test_a_glide_is_followed() -> None:
    t = np.arange(2 * 44100) / 44100
    hz = 110.0 * 2.0 ** (t / 2)  # one octave in two seconds
    audio = 0.3 * np.sign(np.sin(2 * np.pi * np.cumsum(hz) / 44100))
    found = tracked_hz(audio)[4:-4]
    truth = hz[512::1024][4 : 4 + len(found)]
    # The difference function compares the segment's first 2696 samples with what follows a period later: its centre
    # lies about 500 samples before the frame's, 7 cents of this glide of 600 cents a second.
    assert np.median(np.abs(1200 * np.log2(found / truth))) < 10.0


def test_silence_and_noise_hold_the_last_pitch() -> None:
    rng = np.random.default_rng(0)
    audio = np.concatenate([harmonic_tone(330.0, 44100, 6), np.zeros(22050), 0.1 * rng.normal(0, 1, 22050)])
    found = tracked_hz(audio)
    held = found[48:62]  # inside the silence
    assert np.abs(1200 * np.log2(held / 330.0)).max() < 30.0
    voicing = features.extract(audio.astype(np.float32))[:, features.VOICING_COLUMN]
    assert (voicing[48:62] == 0.0).all()
    assert np.median(voicing[5:40]) > 0.95


def test_nothing_but_silence_is_middle_c_unvoiced() -> None:
    hz, voicing, _ = pitch.track(np.zeros((3, pitch.SEGMENT)), 44100.0, pitch.PitchState.initial())
    np.testing.assert_allclose(hz, 261.6256)
    np.testing.assert_array_equal(voicing, 0.0)


@pytest.mark.parametrize("block", [1, 777, 1024, 5000])
def test_features_of_a_stream_are_those_of_the_file(block: int) -> None:
    rng = np.random.default_rng(1)
    audio = (harmonic_tone(200.0, 15000, 5) + 0.01 * rng.normal(0, 1, 15000)).astype(np.float32)
    whole = features.extract(audio)
    stream = features.FeatureStream()
    step = max(block, 60) if block == 1 else block
    got = np.concatenate([stream.push(audio[i : i + step]) for i in range(0, len(audio), step)])
    assert len(got) == (15000 + features.LOOKAHEAD - pitch.SEGMENT) // features.HOP + 1
    np.testing.assert_allclose(got, whole[: len(got)], atol=2e-4)  # float32 FFTs of other batch sizes
