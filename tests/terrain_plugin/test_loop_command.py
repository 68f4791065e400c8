"""`terrain loop`, and chains written in TOML."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from terrain_core.errors import FileError
from terrain_core.instrument import Instrument
from terrain_core.looper import Action, State
from terrain_core.looper.toml_file import read_chain
from terrain_daws.gestures import gesture
from terrain_plugin.shipped import DEFAULT_INSTRUMENT, example

EXAMPLES = ("three_loops.toml", "song_of_loops.toml", "overdub.toml")


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_sounds_and_is_drawn(terrain, tmp_path: Path, name: str) -> None:
    out, plot = tmp_path / "loops.wav", tmp_path / "loops.png"
    arguments = ("--hand", "wander", "--bars", "6", "--tempo", "150", "-o", out, "--plot", plot, "--json")
    said = json.loads(terrain("loop", example(name), *arguments).out)
    sound, rate = soundfile.read(out)
    assert len(sound) / rate == pytest.approx(6 * 4 * 60 / 150, abs=1e-3)
    assert -40 < said["rms_dbfs"] < -10
    assert np.isfinite(sound).all()
    seconds = sound[: len(sound) // rate * rate].reshape(-1, rate)
    assert (np.abs(seconds).max(axis=1) > 0.01).all()
    assert set(said["states"].values()) <= {"playing", "overdubbing"}
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_a_loop_repeats_its_sound_and_half_the_tempo_is_twice_as_long(terrain, tmp_path: Path) -> None:
    """A loop of one beat at 43.066 frames a second: the sound of each pass is that of the others, up to where frames
    fall; at half the tempo there are half as many passes.
    """
    chain = tmp_path / "one.toml"
    chain.write_text('[[looper]]\nname = "a"\nbeats = 2\ngesture = "spiral"\n')
    levels = {}
    for tempo in (120, 60):
        out = tmp_path / f"{tempo}.wav"
        terrain("loop", chain, "-o", out, "--bars", "2", "--tempo", str(tempo))
        sound, rate = soundfile.read(out)
        levels[tempo] = [float(np.sqrt(np.mean(piece**2))) for piece in np.array_split(sound, 4)]
        assert len(sound) / rate == pytest.approx(8 * 60 / tempo)
    for rows in levels.values():
        assert np.ptp(20 * np.log10(rows[1:])) < 0.5
    assert abs(20 * np.log10(np.mean(levels[60]) / np.mean(levels[120]))) < 1.0


def test_every_setting_and_action_can_be_written(tmp_path: Path) -> None:
    chain = tmp_path / "all.toml"
    chain.write_text(
        """mode = "parallel"
weights = { a = 0.5 }
routes = { a = [1, 4], b = [5, 8] }
soloed = ["a"]
[[looper]]
name = "a"
beats = "7/3"
gesture = "circle"
at = "2.3"
tempo = 90
transpose = [0.5, -1]
slices = [1, 0]
frozen = [0]
[[looper]]
name = "b"
quantise = "none"
[[action]]
beat = 2
looper = "b"
do = "record"
[scenes.quiet.a]
muted = true
"""
    )
    found = read_chain(chain, Instrument.load(DEFAULT_INSTRUMENT), lambda name, beats: gesture(name, beats))
    a, b = found.chain.parts
    assert (float(a.beats), a.origin, a.transpose, a.slices, a.frozen) == (
        pytest.approx(7 / 3),
        6.0,
        (0.5, -1),
        (1, 0),
        (0,),
    )
    assert len(a.layer) == round(7 / 3 * 60 / 90 * 44100 / 1024)
    assert (b.quantise, b.layer) == ("none", None)
    assert found.actions == ((2.0, "b", Action.RECORD),)
    assert found.chain.with_scene("quiet")["a"].muted
    assert found.chain.effect(Instrument.load(DEFAULT_INSTRUMENT)).states == {"a": State.PLAYING, "b": State.EMPTY}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mode = ", "is not TOML .*Invalid value"),
        ("", "a chain of 0 parts"),
        ("speed = 1\n[[looper]]\nname='a'", "the file: has 'speed', expected one of action, automation"),
        ("looper = 3", "has looper that is no"),
        ("[[looper]]\nbeats = 4", "looper 1: has no name"),
        ("[[looper]]\nname='a'\nbeets=4", "looper 'a': has 'beets', expected one of at, beats"),
        ("[[looper]]\nname='a'\nbeats=4\nspeed='fast'", "looper 'a': has a value of the wrong kind"),
        ("[[looper]]\nname='a'\nbeats='1/0'", "looper 'a': '1/0' is no number of beats"),
        ("[[looper]]\nname='a'\nbeats=4\nspeed=9", "looper 'a': looper 'a' has speed=9, expected -4 to 4"),
        ("[[looper]]\nname='a'\ngesture='circle'", "needs a length"),
        ("[[looper]]\nname='a'\nbeats=4\ngesture='triangle'", "'triangle' is neither a gesture"),
        ("[[looper]]\nname='a'\nbeats=4\ngesture='absent.rpp'", "absent.rpp"),
        ("weights={b=1}\n[[looper]]\nname='a'", "names 'b', expected one of its parts: a"),
        ("weights=[1]\n[[looper]]\nname='a'", "make no sense"),
        (
            "[[looper]]\nname='a'\n[[action]]\nlooper='a'\ndo='dance'",
            "action 1: has do='dance', expected one of record",
        ),
        ("[[looper]]\nname='a'\n[[action]]\nlooper='b'\ndo='play'", "action 1: no looper 'b'"),
        ("[[looper]]\nname='a'\n[[action]]\nbeat=nan\nlooper='a'\ndo='play'", "action 1: has beat=nan"),
        ("[[looper]]\nname='a'\n[scenes.x.a]\nlouder=1", "has no setting 'louder'"),
    ],
)
def test_bad_chains_are_refused_with_their_place(terrain, tmp_path: Path, text: str, message: str) -> None:
    chain = tmp_path / "bad.toml"
    chain.write_text(text)

    def gestures(name: str, beats: float):
        from terrain_plugin.cli.loop_commands import gesture_lanes

        return gesture_lanes(name, beats, 0, tmp_path)

    with pytest.raises(FileError, match=message) as caught:
        read_chain(chain, Instrument.load(DEFAULT_INSTRUMENT), gestures)
    assert "\n" not in str(caught.value)
    done = terrain("loop", chain, "-o", tmp_path / "a.wav")
    assert done.code == 2
    assert not (tmp_path / "a.wav").exists()
