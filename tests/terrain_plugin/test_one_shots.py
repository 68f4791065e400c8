"""One-shots on the command line, in a render and in the plugin."""

from __future__ import annotations

import hashlib
import json

import mido
import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from terrain_core.autoencoders.one_shot import OneShotAutoencoder
from terrain_core.engine import Block, Engine, MidiEvent
from terrain_core.instrument import Instrument
from terrain_core.one_shots.drums import drum
from terrain_core.one_shots.kit import Kit
from terrain_core.plugin_state import InstrumentReference, PluginState
from terrain_plugin.bridge.processor import TerrainProcessor
from terrain_plugin.bridge.protocol import EventKind
from terrain_plugin.bridge.shared_memory import Request
from terrain_plugin.cli import app
from terrain_plugin.instrument_shelf import InstrumentShelf
from terrain_plugin.shipped import DRUM_INSTRUMENT, instrument_path
from tests.terrain_core.one_shot_bundle import PADS, RATE, SAMPLES, instrument, shapes

RUNNER = CliRunner()


def terrain(*arguments: object, code: int = 0):
    result = RUNNER.invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    place = tmp_path_factory.mktemp("sounds")
    for kind in ("kick", "snare", "click"):
        (place / kind).mkdir()
        for seed in range(4):
            soundfile.write(place / kind / f"{seed}.wav", drum(kind, seed, 0.25).T, RATE)
    (place / "kick" / "broken.wav").write_text("no")
    out = tmp_path_factory.mktemp("ready") / "set"
    result = terrain("dataset", place, "-o", out, "--seconds", 0.25, "--test", 0.25)
    assert "9 sounds to train with, 3 held out" in result.stdout
    assert "problems: 1, listed in" in result.stdout
    return out


def test_a_folder_becomes_an_instrument(prepared, tmp_path):
    arguments = (
        "train",
        "--data",
        prepared,
        "--preset",
        "tiny",
        "--epochs",
        2,
        "--batch",
        4,
        "--run",
        tmp_path / "run",
    )
    out = ("-o", tmp_path / "mine.terrain", "--device", "cpu")
    stopped = terrain(*arguments, *out, "--stop-after", 1)
    assert "the same command with --resume goes on from there" in stopped.stdout
    figures = json.loads(terrain(*arguments, *out, "--resume", "--json").stdout)
    assert figures["epochs"] == 2
    made = Instrument.load(tmp_path / "mine.terrain")
    assert isinstance(made.autoencoder, OneShotAutoencoder)
    assert made.autoencoder.hop == 11264  # 0.25 s, rounded up to what the network takes
    assert len(made.kit.pads) == len(made.sound_map) == 9
    info = terrain("info", tmp_path / "mine.terrain").stdout
    assert "mine" in info


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--preset", "huge"), "no preset is called 'huge': expected one of tiny, drums, diverse, full"),
        (("--precision", "8"), "precision is '8': expected one of"),
        (("--resume",), "last.ckpt: is not there; train without --resume first"),
        (("-o", "mine.wav"), "mine.wav: should end in .terrain"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(arguments, message, prepared, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = terrain("train", "--data", prepared, *arguments, code=2)
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_data_that_was_not_prepared_says_how(tmp_path):
    result = terrain("train", "--data", tmp_path, code=2)
    assert "is no prepared data set (it has no dataset.json); make one with `terrain dataset`" in result.stderr


def test_a_midi_file_of_notes_alone_is_rendered_with_hits(tmp_path):
    file = mido.MidiFile(ticks_per_beat=480)
    track = mido.MidiTrack()
    for number, key in enumerate((36, 42, 46)):
        track.append(mido.Message("note_on", note=key, velocity=127, channel=9, time=240 if number else 0))
        track.append(mido.Message("note_off", note=key, channel=9, time=0))
    file.tracks.append(track)
    file.save(tmp_path / "beat.mid")
    instrument(Kit(PADS)).save(tmp_path / "kit.terrain", embed_autoencoder=True)
    terrain("render", tmp_path / "beat.mid", "-i", tmp_path / "kit.terrain", "-o", tmp_path / "beat.wav")
    audio, _ = soundfile.read(tmp_path / "beat.wav")
    assert len(audio) == RATE // 2 + SAMPLES  # an eighth at 120 BPM is a quarter of a second; the last hit rings out
    for number in range(3):
        start = number * RATE // 4
        np.testing.assert_allclose(audio[start : start + 4000], 0.5 * shapes()[number, :4000], atol=1e-4)
    assert not audio[SAMPLES : RATE // 4].any()


def request(samples: int) -> Request:
    return Request(**(dict.fromkeys(Request._fields, 0) | {"samples": samples}))


def note(offset: int, key: int) -> tuple[float, ...]:
    return (offset, EventKind.NOTE_ON, 0, 0, -1, key, 0, 0, 0, 0, 0, 1.0)


def test_the_plugin_plays_hits_on_their_sample(tmp_path):
    path = tmp_path / "kit.terrain"
    instrument(Kit(PADS)).save(path, embed_autoencoder=True)
    data = path.read_bytes()
    reference = InstrumentReference(str(path), hashlib.sha256(data).hexdigest(), "kit", data)
    processor = TerrainProcessor(float(RATE), 1024, InstrumentShelf())
    processor.restore(PluginState(instrument=reference).to_bytes())
    assert processor.latency == 0
    silence = np.zeros((2, 1024), np.float32)
    first = processor.process(request(512), [note(100, 36)], silence)
    second = processor.process(request(512), [], silence)
    audio = np.concatenate([first, second], axis=1)[0]
    assert not audio[:100].any()
    np.testing.assert_allclose(audio[100:], 0.5 * shapes()[0, :924], atol=2e-6)


@pytest.mark.skipif(not DRUM_INSTRUMENT.exists(), reason="the drums are not built yet")
class TestShippedDrums:
    def test_they_have_sixteen_pads_of_seven_kinds_and_are_small(self):
        made = Instrument.load(instrument_path("drums"))
        assert DRUM_INSTRUMENT.stat().st_size <= 12_000_000
        kinds = {pad.name.rstrip(" 0123456789") for pad in made.kit.pads}
        assert kinds == {"kick", "snare", "closed hat", "open hat", "tom", "clap", "click"}
        assert len(made.kit.pads) == 16

    def test_each_pad_sounds_at_once_and_is_over_in_time(self):
        made = Instrument.load(DRUM_INSTRUMENT)
        engine = Engine(made, RATE)
        for pad in made.kit.pads:
            audio = engine.process(Block(RATE, midi=[MidiEvent(777, bytes((0x99, pad.key, 127)))]))[0]
            assert not audio[:777].any()
            assert np.abs(audio[777 : 777 + 441]).max() > 0.05, pad.name
            assert 0.3 < np.abs(audio).max() <= 1.3, pad.name
            assert not audio[777 + made.autoencoder.hop :].any()
