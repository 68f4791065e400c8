"""The synthesised corpus: seeded, never the same in two splits, with pitches that are true."""

import numpy as np
import pytest

from terrain_core.autoencoders import features
from terrain_core.autoencoders.training.corpus import CLIP_SAMPLES, FAMILIES, PITCHED, SPLITS, make_clip


@pytest.mark.parametrize("index", range(len(FAMILIES)))
def test_clips_are_sound_and_repeatable(index: int) -> None:
    clip = make_clip("train", index)
    assert clip.family == list(FAMILIES)[index]
    assert clip.audio.shape == (CLIP_SAMPLES,)
    assert clip.audio.dtype == np.float32
    assert np.isfinite(clip.audio).all()
    assert 10 ** (-18.1 / 20) < np.abs(clip.audio).max() < 1.0
    np.testing.assert_array_equal(make_clip("train", index).audio, clip.audio)


@pytest.mark.parametrize("index", [0, 5])
def test_no_split_repeats_another(index: int) -> None:
    clips = [make_clip(split, index).audio for split in SPLITS] + [make_clip("train", index + len(FAMILIES)).audio]
    for i, a in enumerate(clips):
        for b in clips[:i]:
            assert abs(np.corrcoef(a, b)[0, 1]) < 0.5


@pytest.mark.parametrize("family", FAMILIES)
def test_stated_pitch_is_the_sounding_pitch(family: str) -> None:
    """The tracker, which knows nothing of the corpus, agrees with it to a fifth of a semitone by the median.

    An octave more or less is forgiven to bars: of a bell the tracker may take the hum for the pitch, as people do.
    """
    cents = []
    for turn in range(4):
        clip = make_clip("validation", list(FAMILIES).index(family) + turn * len(FAMILIES))
        found = features.extract(clip.audio)[:, features.PITCH_COLUMN]
        truth = clip.pitch_hz[512::1024]
        heard = np.isfinite(truth)
        assert heard.any() == (family in PITCHED)
        octaves = found[: len(truth)][heard] - np.log2(truth[heard] / features.MIDDLE_C_HZ)
        cents.append(1200 * np.abs(octaves - (np.rint(octaves) if family == "bars" else 0)))
    if family in PITCHED:
        assert len(np.concatenate(cents)) > 100
        assert np.median(np.concatenate(cents)) < 20.0
