"""From sounds to an instrument, step by step, while somebody plays."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import soundfile

from terrain_core import autoencoders
from terrain_core.errors import InputError
from terrain_core.instrument import Instrument
from terrain_plugin.editor.workshop import Workshop


class Watched:
    """A workshop whose changes can be waited for."""

    def __init__(self) -> None:
        self.workshop = Workshop(autoencoders.load("builtin"), "builtin")
        self.changed = threading.Event()
        self.problems: list[str] = []
        self.pictures: list[float] = []
        self.workshop.on_change = self.changed.set
        self.workshop.on_problem = self.problems.append
        self.workshop.on_picture = lambda latents: self.pictures.append(time.perf_counter())

    def until(self, good, seconds=60.0):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            state = self.workshop.state()
            if good(state):
                return state
            self.changed.wait(0.2)
            self.changed.clear()
        raise AssertionError(f"not within {seconds} s: {self.workshop.state()['stage']}, {self.problems}")


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sounds")
    seconds = np.arange(22050) / 44100
    for name, hz in (("low", 110), ("high", 880)):
        soundfile.write(folder / f"{name}.wav", 0.4 * np.sin(2 * np.pi * hz * seconds), 44100)
    (folder / "broken.wav").write_bytes(b"RIFF but no more")
    return folder


@pytest.fixture(scope="module")
def encoded(sounds):
    """A workshop with two sounds that were encoded and laid out, and one that is broken."""
    watched = Watched()
    for name in ("low", "high", "broken"):
        watched.workshop.add(sounds / f"{name}.wav")
    watched.workshop.encode()
    watched.until(lambda state: state["stage"] == "idle" and any(sound["path"] for sound in state["sounds"]))
    yield watched
    watched.workshop.close()


def by_name(state, name):
    return next(sound for sound in state["sounds"] if sound["name"] == name)


def test_sounds_are_encoded_and_laid_out_and_a_broken_one_says_why(encoded):
    state = encoded.workshop.state()
    assert by_name(state, "low")["frames"] == 22
    assert by_name(state, "high")["path"]
    assert by_name(state, "broken")["problem"]
    assert by_name(state, "broken")["path"] is None
    with pytest.raises(InputError, match="encoded already"):
        encoded.workshop.encode()


def test_paths_are_drawn_moved_removed_and_every_step_can_be_undone(encoded):
    workshop = encoded.workshop
    id = by_name(workshop.state(), "low")["id"]

    def path():
        return by_name(workshop.state(), "low")["path"]

    first = path()
    workshop.draw(id, [(0.1, 0.1), (0.5, 0.1), (0.5, 0.5)], by_hand=False)
    drawn = path()
    assert drawn[0] == [0.1, 0.1]
    assert drawn[-1] == [0.5, 0.5]
    assert len(drawn) == 22
    workshop.move(id, 0.2, 0.9)
    moved = path()
    assert moved[0] == pytest.approx([0.3, 0.6])
    assert np.max(moved) == 1.0
    workshop.remove_path(id)
    assert path() is None
    for expected in (moved, drawn, first):
        workshop.undo()
        assert path() == expected
    for expected in (drawn, moved, None):
        workshop.redo()
        assert path() == expected
    with pytest.raises(InputError, match="nothing to redo"):
        workshop.redo()
    workshop.undo()
    workshop.draw(id, [(0.2, 0.2)], by_hand=True)
    assert path() == [[0.2, 0.2]] * 22
    with pytest.raises(InputError, match="nothing to redo"):
        workshop.redo()
    workshop.lay_out("packed")
    assert len(path()) == 22


def test_a_curve_keeps_its_handles_and_bends_as_bernstein_says(encoded):
    workshop = encoded.workshop
    id = by_name(workshop.state(), "low")["id"]

    def drawn():
        return by_name(workshop.state(), "low")

    controls = [(0.1, 0.2), (0.1, 0.8), (0.6, 0.8), (0.6, 0.4), (0.9, 0.4), (0.9, 0.9), (0.4, 0.9)]
    workshop.draw_curve(id, controls)
    assert drawn()["controls"] == [list(point) for point in controls]
    path = np.array(drawn()["path"])
    assert path[0].tolist() == [0.1, 0.2]
    assert path[-1].tolist() == [0.4, 0.9]
    t = np.linspace(0, 1, 2001)[:, np.newaxis]
    curve = np.concatenate([
        (1 - t) ** 3 * a + 3 * t * (1 - t) ** 2 * b + 3 * t**2 * (1 - t) * c + t**3 * d
        for a, b, c, d in (np.array(controls[:4]), np.array(controls[3:]))
    ])  # fmt: skip
    away = np.linalg.norm(path[:, np.newaxis] - curve, axis=2)
    assert away.min(axis=1).max() < 2e-3, "every point of the path is on the curve"
    # The middle corner has two handles of its own: the path turns there.
    workshop.move(id, 0.05, -0.1)
    np.testing.assert_allclose(drawn()["controls"], np.add(controls, [0.05, -0.1]), atol=1e-5)
    workshop.undo()
    assert drawn()["controls"] == [list(point) for point in controls]
    workshop.draw(id, [(0.1, 0.1), (0.5, 0.1)], by_hand=False)
    assert drawn()["controls"] is None
    workshop.undo()
    assert drawn()["controls"] == [list(point) for point in controls]
    # A handle outside the square bends the path to its edge, and no further.
    workshop.draw_curve(id, [(0.5, 0.0), (2.0, 0.3), (2.0, 0.6), (0.5, 1.0)])
    assert np.max(drawn()["path"]) == 1.0


def test_a_terrain_grows_can_be_stopped_gone_on_with_and_saved(encoded, tmp_path):
    workshop = encoded.workshop
    made = workshop.train(epochs=100_000, rate=2e-3, width=32, fresh=True)
    before = dict(made.terrain.weights)
    encoded.until(lambda state: len(state["curve"]) >= 3)
    assert any((made.terrain.weights[name] != before[name]).any() for name in before)
    with pytest.raises(InputError, match="wait for the training"):
        workshop.train(epochs=1, rate=1e-3, width=32, fresh=True)
    workshop.cancel()
    stopped = encoded.until(lambda state: state["stage"] == "idle")
    assert stopped["report"]["stopped"]
    # The picture: at least twice a second. Of the times between, since the first waits for torch.
    assert np.median(np.diff(encoded.pictures)) <= 0.5
    assert workshop.train(epochs=5, rate=1e-4, width=32, fresh=False) is None
    gone_on = encoded.until(lambda state: state["stage"] == "idle")
    assert gone_on["report"]["epochs"] == stopped["report"]["epochs"] + 5
    workshop.save(tmp_path / "mine.terrain")
    saved = Instrument.load(tmp_path / "mine.terrain")
    assert len(saved.sound_map) == 44
    assert saved.preview.startswith(b"\x89PNG")
    points = saved.sound_map.positions
    assert np.allclose(saved.terrain.at(points), made.terrain.at(points), atol=1e-6)


def test_nothing_is_trained_or_saved_without_sounds(tmp_path):
    workshop = Workshop(autoencoders.load("builtin"), "builtin")
    with pytest.raises(InputError, match="no sound has a path"):
        workshop.train(epochs=1, rate=1e-3, width=32, fresh=True)
    with pytest.raises(InputError, match="nothing was trained"):
        workshop.save(tmp_path / "x.terrain")
    assert not list(tmp_path.iterdir())


def test_a_workshop_that_dies_says_so_and_works_again(sounds):
    watched = Watched()
    try:
        id = watched.workshop.add(sounds / "low.wav")
        watched.workshop.encode()
        watched.workshop._process.kill()
        watched.until(lambda state: state["stage"] == "idle")
        assert "ended" in watched.problems[0]
        watched.workshop.encode()
        state = watched.until(lambda state: state["stage"] == "idle" and state["sounds"][0]["frames"])
        assert state["sounds"][0]["id"] == id
    finally:
        watched.workshop.close()
