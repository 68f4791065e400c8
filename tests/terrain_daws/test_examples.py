"""The example projects: made again they are the same, and both formats hold one gesture."""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from terrain_daws import Marker, read

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "daws/examples"
KEYS = ("x", "y", "pressure")


def test_made_again_they_are_the_same_bytes(tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "make_examples.py"), str(tmp_path)]
    subprocess.run(command, check=True, env={"PYTHONPATH": f"{ROOT}:{ROOT / 'daws'}", "PATH": ""})
    made = sorted(file.name for file in tmp_path.iterdir())
    assert made == ["gesture.dawproject", "gesture.mid"]
    for name in made:
        assert (tmp_path / name).read_bytes() == (EXAMPLES / name).read_bytes()


@pytest.mark.parametrize("name", ["gesture.mid", "gesture.dawproject"])
def test_an_example_is_whole(name: str) -> None:
    project = read(EXAMPLES / name)
    lanes = project.lanes_by_key()
    assert sorted(lanes) == sorted(KEYS)
    assert project.unknown == []
    assert project.markers == [
        Marker("Drift", 0),
        Marker("Gathering", 16),
        Marker("Figures", 24),
        Marker("Release", 45),
    ]
    assert [(meter.beat, meter.numerator, meter.denominator) for meter in project.tempo_map.meters] == [
        (0, 4, 4),
        (24, 7, 8),
    ]
    assert project.tempo_map.bpm_at_beats([0, 30]).round(3).tolist() == [96, 132]
    assert 24 <= project.tempo_map.seconds_at(lanes["pressure"].times[-1]) <= 32
    assert all(np.ptp(lane.values) > 0.5 for lane in lanes.values())


def test_both_hold_the_same_gesture_at_the_same_time() -> None:
    midi, dawproject = read(EXAMPLES / "gesture.mid"), read(EXAMPLES / "gesture.dawproject")
    beats = np.arange(0, 56 * 960, 20) / 960
    for key in KEYS:
        stepped, straight = (project.lanes_by_key()[key].sample(beats) for project in (midi, dawproject))
        np.testing.assert_allclose(stepped, straight, atol=0.5 / 16383 + 1e-9)  # rounded to 14 bits
    eighths = np.arange(0, 56.5, 0.5)
    seconds = [project.tempo_map.seconds_at(eighths) for project in (midi, dawproject)]
    np.testing.assert_allclose(*seconds, atol=1e-4)  # MIDI's tempi are whole microseconds per beat


def test_the_program_in_the_documentation_prints_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs/daw_projects.md").read_text()
    program, expected = re.findall(r"```(?:python|text)\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(ROOT)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(program, {})
    assert printed.getvalue() == expected
