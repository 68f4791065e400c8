"""Paths with points at a constant distance, encoded files, and nn.terrain's dictionaries."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from terrain_core.errors import FileError, InputError
from terrain_core.trajectories import (
    LatentTrajectory,
    MaxDictionary,
    SpatialTrajectory,
    arc_lengths,
    bezier,
    encode_audio,
    encode_file,
    encode_files,
    freehand,
    polyline,
    read_dictionary,
    resample,
    single_points,
    write_dictionary,
)

QUARTER = 4 / 3 * math.tan(math.pi / 8)
"""Handle length with which a cubic Bézier is a quarter circle to 2.7e-4 of the radius."""


class BlockMeans:
    """A stand-in autoencoder: the latents of a frame are the mean and the peak of its samples, channel by channel."""

    name = "block means"
    latent_mean = np.zeros(4, np.float32)
    latent_std = np.ones(4, np.float32)

    def __init__(self, sample_rate: int = 8000, channels: int = 2, hop: int = 100, *, extra: int = 0) -> None:
        self.sample_rate, self.channels, self.hop, self.extra = sample_rate, channels, hop, extra
        self.latent_size = 2 * channels

    def encode(self, audio: np.ndarray) -> np.ndarray:
        assert audio.shape[0] == self.channels
        assert audio.dtype == np.float32
        assert audio.shape[1] % self.hop == 0, "not padded to whole frames"
        blocks = audio.reshape(self.channels, -1, self.hop)
        latents = np.concatenate([blocks.mean(axis=2), blocks.max(axis=2)]).T
        if self.extra < 0:
            return latents[: self.extra]
        return np.concatenate([latents, np.full((self.extra, self.latent_size), 99)]).astype(np.float32)


def test_polyline_points_are_equally_far_apart() -> None:
    path = polyline("corner", [[0, 0], [3, 0], [3, 4]], points=8)
    np.testing.assert_allclose(arc_lengths(path.points)[1:3], [1, 2])
    np.testing.assert_allclose(path.points, [[0, 0], [1, 0], [2, 0], [3, 0], [3, 1], [3, 2], [3, 3], [3, 4]])


def test_density_counts_from_the_start() -> None:
    path = polyline("line", [[0, 0], [0, 1]], distance=0.3)
    np.testing.assert_allclose(path.points[:, 1], [0, 0.3, 0.6, 0.9])
    # 10 times 0.1 is the end itself, in spite of rounding
    assert len(polyline("line", [[0.0], [1.0]], distance=0.1)) == 11
    assert len(polyline("dot", [[2.0], [2.0]], distance=0.1)) == 1


@settings(max_examples=100, deadline=None)
@given(
    arrays(np.float64, st.tuples(st.integers(2, 12), st.integers(1, 6)), elements=st.floats(-100, 100)),
    st.integers(2, 60),
)
def test_resampling_keeps_ends_and_stays_on_the_path(corners: np.ndarray, count: int) -> None:
    points = resample(corners, count)
    assert points.shape == (count, corners.shape[1])
    np.testing.assert_allclose(points[[0, -1]], corners[[0, -1]], atol=1e-9)
    length = arc_lengths(corners)[-1]
    step = length / (count - 1)
    assert (np.linalg.norm(np.diff(points, axis=0), axis=1) <= step * (1 + 1e-9) + 1e-9).all()
    distances = _distance_to_polyline(points, corners)
    assert distances.max() <= 1e-9 * max(1.0, length)


def _distance_to_polyline(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    starts, along = corners[:-1], np.diff(corners, axis=0)
    squared = np.maximum(np.square(along).sum(axis=1), 1e-300)
    part = np.clip(((points[:, np.newaxis] - starts) * along).sum(axis=2) / squared, 0, 1)
    nearest = starts + part[..., np.newaxis] * along
    return np.asarray(np.linalg.norm(points[:, np.newaxis] - nearest, axis=2).min(axis=1))


def test_bezier_quarter_circle() -> None:
    path = bezier("arc", [[1, 0], [1, QUARTER], [QUARTER, 1], [0, 1]], points=31)
    np.testing.assert_allclose(np.linalg.norm(path.points, axis=1), 1.0, atol=3e-4)
    angles = np.arctan2(path.points[:, 1], path.points[:, 0])
    np.testing.assert_allclose(np.diff(angles), math.pi / 60, rtol=2e-3)  # what the Bézier is off from a circle


def test_bezier_segments_join() -> None:
    controls = [[0, 0], [0, 1], [1, 1], [1, 0], [1, -1], [2, -1], [2, 0]]
    path = bezier("wave", controls, distance=0.05)
    steps = np.linalg.norm(np.diff(path.points, axis=0), axis=1)
    np.testing.assert_allclose(steps, 0.05, rtol=2e-2)  # chords are shorter than arcs where the curve bends
    # de Casteljau at t = 1/2 of the first segment, an independent evaluation
    assert _distance_to_polyline(np.array([[0.5, 0.75]]), path.points)[0] < 1e-3


@pytest.mark.parametrize("count", [1, 3, 5, 6])
def test_bezier_needs_whole_segments(count: int) -> None:
    with pytest.raises(InputError, match=f"{count} control points; expected 4, 7, 10"):
        bezier("x", np.zeros((count, 2)), points=3)


def test_freehand_takes_out_tremor_and_uneven_speed(rng: np.random.Generator) -> None:
    time = np.sort(np.concatenate([[0, 1], rng.beta(0.5, 2, 300)]))
    truth = np.stack([time, np.sin(2 * time)], axis=1)
    drawn = truth + 0.004 * rng.normal(size=truth.shape)
    drawn[[0, -1]] = truth[[0, -1]]
    path = freehand("pen", drawn, points=40)
    np.testing.assert_allclose(path.points[[0, -1]], drawn[[0, -1]], atol=1e-9)
    tremor, smoothed = (np.abs(rows[:, 1] - np.sin(2 * rows[:, 0])).mean() for rows in (drawn, path.points))
    assert smoothed < tremor / 2
    steps = np.linalg.norm(np.diff(path.points, axis=0), axis=1)
    assert steps.std() < 0.02 * steps.mean()


def test_freehand_without_smoothing_is_the_polyline(rng: np.random.Generator) -> None:
    drawn = rng.uniform(0, 1, (20, 3))
    np.testing.assert_array_equal(
        freehand("a", drawn, smoothing=0, points=9).points, polyline("a", drawn, points=9).points
    )


def test_straight_lines_stay_straight_when_smoothed() -> None:
    path = freehand("a", [[0, 0], [1, 2]], smoothing=0.1, points=5)
    np.testing.assert_allclose(path.points, np.linspace([0, 0], [1, 2], 5), atol=1e-9)
    np.testing.assert_array_equal(freehand("dot", [[1, 2]], points=3).points, [[1, 2]] * 3)


def test_single_points_are_trajectories() -> None:
    dots = single_points([[1, 2], [3, 4]])
    assert [(dot.name, dot.points.tolist()) for dot in dots] == [("1", [[1, 2]]), ("2", [[3, 4]])]
    with pytest.raises(InputError, match="1 names for 2 points"):
        single_points([[1, 2], [3, 4]], ["a"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "either a number of points or a distance"),
        ({"points": 2, "distance": 1.0}, "either"),
        ({"points": 0}, "0 points"),
        ({"points": 10**9}, "1000000000 points"),
        ({"distance": 0.0}, "expected above 0"),
        ({"distance": math.nan}, "nan"),
        ({"distance": 1e-12}, "points on one path"),
    ],
)
def test_point_counts_are_checked(arguments: dict[str, float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        polyline("p", [[0, 0], [1, 1]], **arguments)


@pytest.mark.parametrize(
    ("kind", "rows", "words"),
    [
        (LatentTrajectory, np.zeros((0, 4)), r"shape \(0, 4\)"),
        (LatentTrajectory, np.zeros((3, 1025)), "latent_size in 1..1024"),
        (LatentTrajectory, [[0.0, math.nan]], "NaN or infinity at 0"),
        (LatentTrajectory, [["a"]], "not of numbers"),
        (SpatialTrajectory, np.zeros((3, 7)), "control_size in 1..6"),
        (SpatialTrajectory, np.zeros(3), r"shape \(3,\)"),
        (SpatialTrajectory, [[0, 1], [2]], "rows of equal length"),
        (SpatialTrajectory, [[0.0], [math.inf]], "infinity at 1"),
    ],
)
def test_trajectories_are_checked(kind: type, rows: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        kind("kick", rows)


def test_trajectories_cannot_be_changed() -> None:
    source = np.ones((3, 2), np.float32)
    sound = LatentTrajectory("a", source, 43.0)
    source[:] = 5
    assert sound.latents.max() == 1
    with pytest.raises(ValueError, match="read-only"):
        sound.latents[0, 0] = 2
    with pytest.raises(InputError, match="frame rate of 0"):
        LatentTrajectory("a", source, 0)


@pytest.mark.parametrize("samples", [1, 99, 100, 101, 1000, 1234])
def test_frames_are_samples_over_hop_rounded_up(samples: int, tmp_path: Path, rng: np.random.Generator) -> None:
    audio = rng.uniform(-0.5, 0.5, (samples, 2)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", audio, 8000, subtype="FLOAT")
    sound = encode_file(tmp_path / "a.wav", BlockMeans(extra=1))
    assert sound.name == "a"
    assert sound.frame_rate == 80
    assert len(sound) == math.ceil(samples / 100)
    last = audio[(len(sound) - 1) * 100 :]
    np.testing.assert_allclose(sound.latents[-1, :2], last.sum(axis=0) / 100, atol=1e-6)
    np.testing.assert_allclose(sound.latents[0, 2:], np.pad(audio, ((0, 100), (0, 0)))[:100].max(axis=0))


def test_frames_are_counted_after_resampling(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros((441, 1)), 44100)  # 80 samples at 8 kHz
    assert len(encode_file(tmp_path / "a.wav", BlockMeans(hop=16))) == 5
    soundfile.write(tmp_path / "b.wav", np.zeros((442, 1)), 44100)  # 80.18, that is 80
    assert len(encode_file(tmp_path / "b.wav", BlockMeans(hop=16))) == 5


def test_a_corpus_goes_on_past_bad_files(tmp_path: Path, rng: np.random.Generator) -> None:
    audio = rng.uniform(-0.5, 0.5, (1000, 2)).astype(np.float32)
    soundfile.write(tmp_path / "good.flac", audio, 8000)
    soundfile.write(tmp_path / "silent.wav", np.zeros((500, 1)), 8000)
    (tmp_path / "bad.wav").write_bytes(b"not a sound")
    paths = [tmp_path / name for name in ("bad.wav", "good.flac", "none.wav", "silent.wav", "good.flac")]
    calls: list[tuple[int, int, str]] = []
    encoded = encode_files(paths, BlockMeans(), lambda done, total, path: calls.append((done, total, path.name)))
    assert [sound.name for sound in encoded.trajectories] == ["good", "silent", "good"]
    assert [Path(problem.path).name for problem in encoded.problems] == ["bad.wav", "none.wav"]
    assert calls == [(k, 5, path.name) for k, path in enumerate(paths, start=1)]
    np.testing.assert_array_equal(encoded.trajectories[0].latents, encoded.trajectories[2].latents)
    assert not encoded.trajectories[1].latents.any()


def test_an_autoencoder_that_gives_too_few_frames(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros((500, 2)), 8000)
    with pytest.raises(FileError, match=r"a\.wav: could not be encoded.*'block means' gave latents of shape \(4, 4\)"):
        encode_file(tmp_path / "a.wav", BlockMeans(extra=-1))
    assert encode_audio(np.zeros((2, 401), np.float32), BlockMeans()).shape == (5, 4)


def test_dictionary_round_trip(tmp_path: Path, rng: np.random.Generator) -> None:
    written = MaxDictionary(
        coordinates=tuple(SpatialTrajectory(str(k), rng.normal(size=(k, 3))) for k in (1, 2, 3)),
        latents=tuple(LatentTrajectory(str(k), rng.normal(size=(5, 11)).astype(np.float32)) for k in range(1, 13)),
        anchors=(SpatialTrajectory("1", rng.normal(size=(4, 2))),),
    )
    write_dictionary(written, tmp_path / "d.json")
    read = read_dictionary(tmp_path / "d.json")
    for part in ("coordinates", "latents", "anchors"):
        ours, theirs = getattr(written, part), getattr(read, part)
        assert [item.name for item in theirs] == [item.name for item in ours]
        for before, after in zip(ours, theirs, strict=True):
            rows = "latents" if part == "latents" else "points"
            np.testing.assert_array_equal(getattr(after, rows), getattr(before, rows))


def test_dictionary_as_max_writes_it(tmp_path: Path) -> None:
    (tmp_path / "d.json").write_text(
        '{"coordinates": {"2": {"1": [3.5, 4], "0": [1, 2]}, "10": {"0": 7, "1": 8}, "1": {"0": [0], "1": [0]}},'
        ' "anchors": {"1": {"anchor_x": [1, 2, 3], "anchor_y": [4, 5, 6]}}}'
    )
    read = read_dictionary(tmp_path / "d.json")
    assert [(item.name, item.points.tolist()) for item in read.coordinates] == [
        ("1", [[0, 0]]),
        ("2", [[1, 3.5], [2, 4]]),
        ("10", [[7, 8]]),
    ]
    assert read.anchors[0].points.tolist() == [[1, 4], [2, 5], [3, 6]]
    assert read.latents == ()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "line 1: is not JSON"),
        ('{"coordinates": {\n"1": ', "line 2: is not JSON"),
        ("[1, 2]", "none of the keys"),
        ('{"terrain": {}}', "none of the keys"),
        ('{"latents": 5}', 'latents: expected trajectories named "1"'),
        ('{"latents": {"a": {"0": [1]}}}', 'expected trajectories named "1"'),
        ('{"latents": {"1": {"1": [1]}}}', 'latents, trajectory 1: expected dimensions named "0"'),
        ('{"latents": {"1": {}}}', "expected dimensions"),
        ('{"latents": {"1": {"0": [1, 2], "1": [1]}}}', r"unequal lengths: \[2, 1\]"),
        ('{"latents": {"1": {"0": [1, "x"]}}}', "latents, trajectory 1, dimension 0: expected a list of numbers"),
        ('{"latents": {"1": {"0": [[1]]}}}', "expected a list of numbers"),
        ('{"latents": {"1": {"0": [true]}}}', "expected a list of numbers"),
        ('{"latents": {"1": {"0": [NaN]}}}', "NaN or infinity"),
        ('{"latents": {"1": {"0": []}}}', "at least 1"),
        ('{"latents": {"1": {"0": [1' + "0" * 400 + "]}}}", "number too large"),
        ('{"coordinates": {"1": ' + json.dumps({str(k): [0] for k in range(7)}) + "}}", "control_size in 1..6"),
        ("[" * 100_000, "is not JSON"),
        ("\udcff", "is not JSON"),
    ],
)
def test_bad_dictionaries_are_named(content: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "d.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(FileError, match=words):
        read_dictionary(tmp_path / "d.json")


def test_missing_dictionary(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="No such file"):
        read_dictionary(tmp_path / "none.json")
