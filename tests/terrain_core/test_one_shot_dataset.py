"""Preparing a folder of one-shots: what is found, what is left out, and what is written."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from terrain_core.errors import FileError, InputError
from terrain_core.one_shots import shards
from terrain_core.one_shots.drums import drum
from terrain_core.one_shots.preparing import PrepareSettings, prepare

RATE = 44100
SETTINGS = PrepareSettings(seconds=0.25, test_part=0.25)


def write(path, audio, rate=RATE):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio.T, rate, subtype="PCM_24" if path.suffix == ".flac" else "FLOAT")


@pytest.fixture
def folder(tmp_path):
    """Eight good sounds of two kinds, and one of everything that can be wrong."""
    place = tmp_path / "in"
    for seed in range(4):
        write(place / "kicks" / f"kick {seed}.wav", 0.5 * drum("kick", seed, 0.25))
        write(place / "snares" / f"snare_{seed}.WAV", 0.5 * drum("snare", seed, 0.25))
    late = np.concatenate([np.zeros((1, 3000), np.float32), 0.2 * drum("kick", 2, 0.25)], axis=1)
    write(place / "copies" / "late and soft.flac", late)
    write(place / "silent.wav", np.zeros((1, 9000), np.float32))
    (place / "text.wav").write_text("not audio")
    (place / "empty.aif").write_bytes(b"")
    write(place / "nan.wav", np.full((1, 100), np.nan, np.float32))
    write(place / "opposite.wav", np.stack([drum("tom", 9, 0.25)[0], -drum("tom", 9, 0.25)[0]]))
    write(place / "clipped" / "hard.wav", np.clip(4 * drum("kick", 8, 0.25), -1, 1))
    return place


def test_bad_files_are_listed_by_name_and_reason_and_nothing_stops(folder, tmp_path):
    found = prepare([folder], tmp_path / "out", SETTINGS)
    reasons = {str(problem).rsplit("/", 1)[1] for problem in found.problems}
    assert len(reasons) == 5
    for name, reason in (
        ("silent.wav", "is silent (its peak is at -180 dBFS)"),
        ("text.wav", "is not an audio file"),
        ("empty.aif", "is empty (0 bytes)"),
        ("nan.wav", "NaN or infinity"),
        ("opposite.wav", "they cancel each other"),
    ):
        assert any(text.startswith(name) and reason in text for text in reasons), (name, reasons)


def test_duplicates_are_found_whatever_their_level_and_lead(folder, tmp_path):
    found = prepare([folder], tmp_path / "out", SETTINGS)
    ((first, second),) = found.duplicates
    assert {first.name, second.name} == {"late and soft.flac", "kick 2.wav"}
    kept = prepare([folder], tmp_path / "all", PrepareSettings(seconds=0.25, test_part=0.25, duplicates=True))
    assert len(kept.facts) == len(found.facts) + 1
    parts = [held for fact, held in zip(kept.facts, kept.test, strict=True) if fact.path in (first, second)]
    assert parts[0] == parts[1], "a duplicate was split from its twin"


def test_sounds_begin_at_their_onset_at_full_scale(folder, tmp_path):
    prepare([folder], tmp_path / "out", SETTINGS)
    for part in shards.PARTS:
        for sound in shards.open_part(tmp_path / "out", part):
            assert sound.shape == (1, SETTINGS.samples)
            assert np.abs(sound).max() == pytest.approx(1)
            assert np.abs(sound[0, 0]) > 0.9e-3  # -60 dB, and a little less once it is at another level
            assert sound[0, -1] == 0


def test_both_parts_hold_every_sound_once(folder, tmp_path):
    found = prepare([folder], tmp_path / "out", SETTINGS)
    names = [{s.name for s in shards.open_part(tmp_path / "out", part).sounds} for part in shards.PARTS]
    assert not names[0] & names[1]
    assert len(names[0] | names[1]) == len(found.facts) == 9
    assert len(names[1]) == round(0.25 * 9)
    assert "snares/snare_3.WAV" in names[0] | names[1]


@pytest.mark.parametrize(("group", "together"), [("folder", "kicks"), ("name", "kicks")])
def test_groups_are_not_split(group, together, folder, tmp_path):
    found = prepare([folder], tmp_path / "out", PrepareSettings(seconds=0.25, test_part=0.25, group=group))
    parts = {held for fact, held in zip(found.facts, found.test.tolist(), strict=True) if fact.label == together}
    assert len(parts) == 1


def test_equal_seeds_give_equal_bytes_and_other_seeds_other_parts(folder, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 5)):
        prepare([folder], tmp_path / name, PrepareSettings(seconds=0.25, test_part=0.25, seed=seed))
    a, b, c = ((tmp_path / name / "train-000.npy").read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_other_rates_are_resampled_and_stereo_is_kept_where_wanted(tmp_path):
    sound = np.stack([drum("tom", 1, 0.25)[0], 0.5 * drum("tom", 1, 0.25)[0]])
    for seed in range(3):
        write(tmp_path / "in" / f"{seed}.wav", sound * 0.9 + 0.1 * drum("click", seed, 0.25), 48000)
    prepare([tmp_path / "in"], tmp_path / "out", PrepareSettings(seconds=0.3, channels=2))
    made = shards.open_part(tmp_path / "out", "train")
    assert made.channels == 2
    body = made[0]
    seconds = np.flatnonzero(np.abs(body[0]) > 1e-6)[-1] / RATE
    assert seconds == pytest.approx(0.25 * 44100 / 48000, abs=0.015)
    assert np.abs(body[1]).max() == pytest.approx(0.55, abs=0.1)


def test_longer_sounds_are_cut_with_a_fade_or_skipped(tmp_path):
    for seed in range(3):
        write(tmp_path / "in" / f"{seed}.wav", drum("open hat", seed, 1.0))
    write(tmp_path / "in" / "short.wav", drum("kick", 1, 0.25))
    write(tmp_path / "in" / "short too.wav", drum("kick", 2, 0.25))
    skipped = prepare([tmp_path / "in"], tmp_path / "a", PrepareSettings(seconds=0.25, longer="skip"))
    assert len(skipped.facts) == 2
    assert all("s long: expected 0.25 s at most" in str(problem) for problem in skipped.problems)
    cut = prepare([tmp_path / "in"], tmp_path / "b", PrepareSettings(seconds=0.25))
    assert len(cut.facts) == 5


def test_the_report_says_it_all(folder, tmp_path):
    prepare([folder], tmp_path / "out", SETTINGS)
    report = (tmp_path / "out" / "report.md").read_text()
    assert "9 sounds: 7 to train with, 2 held out" in report
    for part in ("Left out (5)", "The same as another, and left out (1)", "Clipped, but taken (1)", "hard.wav"):
        assert part in report
    assert (tmp_path / "out" / "report.png").read_bytes().startswith(b"\x89PNG")


def test_one_sound_cannot_be_split(tmp_path):
    write(tmp_path / "in" / "one.wav", drum("kick", 1, 0.25))
    with pytest.raises(InputError, match="expected two groups at least"):
        prepare([tmp_path / "in"], tmp_path / "out", SETTINGS)


def test_shards_that_were_damaged_say_so(folder, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(FileError, match=r"is no prepared data set \(it has no dataset.json\); make one with"):
        shards.open_part(out, "train")
    prepare([folder], out, SETTINGS)
    (out / "train-000.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(FileError, match=r"train-000\.npy: is not a shard"):
        shards.open_part(out, "train")
    np.save(out / "train-000.npy", np.zeros((3, 1, 5), np.float32))
    with pytest.raises(FileError, match=r"holds float32 \(3, 1, 5\): expected"):
        shards.open_part(out, "train")
    (out / "dataset.json").write_text("{}")
    with pytest.raises(FileError, match="does not describe a data set"):
        shards.open_part(out, "train")


def test_more_sounds_than_a_shard_holds(tmp_path):
    sounds = [(shards.Sound(str(i)), np.full((1, 4), i, np.float32)) for i in range(300)]
    parts = {"train": shards.write(tmp_path, "train", iter(sounds), 1, 4), "test": []}
    shards.write_card(tmp_path, parts, RATE, 1, 4)
    made = shards.open_part(tmp_path, "train")
    assert [int(sound[0, 0]) for sound in made] == list(range(300))
    np.testing.assert_array_equal(made.batch([299, 0, 256])[:, 0, 0], [299, 0, 256])
