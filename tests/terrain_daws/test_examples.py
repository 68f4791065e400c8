"""The example projects: made again they are the same, and both formats hold one gesture."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from terrain_core.lanes import Lane
from terrain_daws import Marker, read

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "daws/examples"
KEYS = ("x", "y", "pressure")
NAMES = ("gesture.rpp", "gesture.dawproject", "gesture/gesture.ardour", "gesture.als", "gesture.mid")


def test_made_again_they_are_the_same_bytes(tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "make_examples.py"), str(tmp_path)]
    subprocess.run(command, check=True, env={"PYTHONPATH": f"{ROOT}:{ROOT / 'daws'}", "PATH": ""})
    made = sorted(str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*.*"))
    assert made == sorted([*NAMES, "looped.rpp"])
    for name in made:
        assert (tmp_path / name).read_bytes() == (EXAMPLES / name).read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_whole(name: str) -> None:
    project = read(EXAMPLES / name)
    lanes = project.lanes_by_key()
    assert sorted(lanes) == sorted(KEYS)
    assert project.unknown == []
    markers = [Marker(marker.name, round(marker.beat, 5)) for marker in project.markers]
    assert markers == [
        Marker("Drift", 0),
        Marker("Gathering", 16),
        Marker("Figures", 24),
        Marker("Release", 45),
    ]
    assert [(round(m.beat, 5), m.numerator, m.denominator) for m in project.tempo_map.meters] == [
        (0, 4, 4),
        (24, 7, 8),
    ]
    assert project.tempo_map.bpm_at_beats([0, 30]).round(3).tolist() == [96, 132]
    end = lanes["pressure"].to_seconds(project.tempo_map).times[-1]
    assert 28 <= end <= 29
    assert all(np.ptp(lane.values) > 0.5 for lane in lanes.values())


@pytest.mark.parametrize(
    ("name", "value", "seconds"),
    [
        ("gesture.rpp", 2e-4, 2e-5),  # the ramp in straight pieces of seconds
        ("gesture/gesture.ardour", 5e-4, 1e-9),  # jumps take the tick before them
        ("gesture.als", 1e-9, 3e-2),  # Live plays the ramp in steps of a sixteenth
        ("gesture.mid", 0.5 / 16383 + 1e-9, 1.1e-3),  # 14 bits, the ramp in steps, whole microseconds a beat
    ],
)
def test_all_hold_the_same_gesture_at_the_same_time(name: str, value: float, seconds: float) -> None:
    one, other = read(EXAMPLES / "gesture.dawproject"), read(EXAMPLES / name)
    beats = np.arange(0, 56 * 960, 20) / 960
    assert np.abs(one.tempo_map.seconds_at(beats) - other.tempo_map.seconds_at(beats)).max() < seconds
    for key in KEYS:
        lanes = [project.lanes_by_key()[key] for project in (one, other)]
        near_a_jump = np.abs(beats[:, None] - jumps(lanes[0])).min(axis=1) < 1e-3
        probes = beats if name.endswith(("mid", "als")) else beats[~near_a_jump]
        of_other = probes if lanes[1].unit == "beats" else other.tempo_map.seconds_at(probes)
        np.testing.assert_allclose(lanes[1].sample(of_other), lanes[0].sample(probes), atol=value)


def jumps(lane: Lane) -> np.ndarray:
    """Where two points of a lane are at one time."""
    return np.append(lane.times[1:][np.diff(lane.times) == 0], -1.0)
