"""Requests and states to the engine: what each number of a request becomes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from terrain_core.engine import Block, Engine, MidiEvent, NoteExpression, ParameterPoint, Transport
from terrain_core.errors import FileError, InputError
from terrain_core.instrument import Instrument
from terrain_core.parameters import by_key
from terrain_core.plugin_state import InstrumentReference, PluginState
from terrain_core.terrain import Terrain
from terrain_plugin.bridge import protocol
from terrain_plugin.bridge.processor import TerrainProcessor, _sorted_out, _transport
from terrain_plugin.bridge.protocol import EventKind, RequestFlag
from terrain_plugin.bridge.shared_memory import Request
from terrain_plugin.instrument_shelf import InstrumentShelf
from terrain_plugin.shipped import DEFAULT_INSTRUMENT

NO_AUDIO = np.zeros((2, 4096), np.float32)
SHELF = InstrumentShelf()
X, Y, PRESSURE = (by_key(key).id for key in ("x", "y", "pressure"))


def request(samples: int, flags: int = 0, **numbers: float) -> Request:
    values = dict.fromkeys(Request._fields, 0) | {"samples": samples, "flags": flags, **numbers}
    return Request(**values)  # type: ignore[arg-type]


def event(kind: int, offset: int = 0, **members: float) -> tuple[float, ...]:
    row = {"size": 0, "id": 0, "note_id": -1, "key": -1, "channel": -1, "value": 0.0, **members}
    data = members.get("data", (0, 0, 0, 0))
    return (offset, kind, row["size"], row["id"], row["note_id"], row["key"], row["channel"], *data, row["value"])  # type: ignore[misc]


def processor(state: PluginState | None = None) -> TerrainProcessor:
    made = TerrainProcessor(44100.0, 1024, SHELF)
    made.restore((state or PluginState()).to_bytes())
    return made


def test_every_kind_of_event_becomes_the_engines() -> None:
    points, midi = _sorted_out(
        [
            event(EventKind.PARAMETER, 3, id=X, value=0.25),
            event(EventKind.MIDI, 4, size=3, data=(0xB1, 74, 9, 0)),
            event(EventKind.MIDI, 4, size=2, data=(0xD1, 7, 0, 0)),
            event(EventKind.NOTE_ON, 5, key=60, channel=2, value=0.5),
            event(EventKind.NOTE_OFF, 6, key=60, channel=2),
            event(EventKind.NOTE_CHOKE, 7, key=-1, channel=2),
            event(EventKind.NOTE_EXPRESSION, 8, id=protocol.NoteExpression.TUNING, key=60, channel=2, value=24.0),
            event(EventKind.NOTE_EXPRESSION, 8, id=protocol.NoteExpression.BRIGHTNESS, key=61, value=0.75),
            event(EventKind.NOTE_EXPRESSION, 9, id=protocol.NoteExpression.PRESSURE, value=0.125),
            event(EventKind.NOTE_EXPRESSION, 9, id=protocol.NoteExpression.PAN, value=0.5),
        ],
        samples=8,
    )
    assert points == [ParameterPoint(X, 3, 0.25)]
    assert midi == [
        MidiEvent(4, bytes([0xB1, 74, 9])),
        MidiEvent(4, bytes([0xD1, 7])),
        MidiEvent(5, bytes([0x92, 60, 64])),
        MidiEvent(6, bytes([0x82, 60, 0])),
        MidiEvent(7, bytes([0xB2, 123, 0])),
        NoteExpression(7, 2, 60, X, 0.75),
        NoteExpression(7, -1, 61, Y, 0.75),
        NoteExpression(7, -1, -1, PRESSURE, 0.125),
    ]


def test_the_transport_has_what_the_host_says_and_no_more() -> None:
    numbers = {"beat": 3.5, "bpm": 96.0, "seconds": 2.0, "bar_beat": 3.0, "cycle_begin": 1.0, "cycle_end": 5.0}
    meter = {"meter_numerator": 7, "meter_denominator": 8}
    everything = sum(RequestFlag)
    assert _transport(request(1, everything, **numbers, **meter)) == Transport(
        True, 3.5, 96.0, 2.0, 3.0, (7, 8), (1.0, 5.0), True, True
    )
    assert _transport(request(1, RequestFlag.HAS_TRANSPORT, **numbers, **meter)) == Transport()


def test_blocks_are_the_engines_own_samples() -> None:
    made = processor(PluginState({"x": 0.3, "glide": 50.0}))
    engine = Engine(Instrument.load(DEFAULT_INSTRUMENT), 44100.0, 1024)
    engine.set_parameters({"x": 0.3, "glide": 50.0})
    rows = [event(EventKind.PARAMETER, 100, id=Y, value=0.9)]
    for samples in (512, 100, 1, 1024, 333):
        heard = made.process(request(samples, RequestFlag.LINES), rows, NO_AUDIO)
        expected = engine.process(Block(samples, [ParameterPoint(Y, min(100, samples - 1), 0.9)], lines=True))
        np.testing.assert_array_equal(heard, expected)


def test_numbers_that_make_no_sense_are_survived() -> None:
    made = processor()
    draw = np.random.default_rng(7)
    nan, infinity = float("nan"), float("inf")
    for _ in range(300):
        rows = [
            event(
                int(draw.integers(0, 9)), int(draw.integers(0, 2**32)), size=int(draw.integers(0, 2**16)),
                id=int(draw.integers(0, 60)), key=int(draw.integers(-(2**15), 2**15)),
                channel=int(draw.integers(-(2**15), 2**15)), data=tuple(draw.integers(0, 256, 4).tolist()),
                value=float(draw.choice([nan, infinity, -infinity, 1e300, 0.5])),
            )
            for _ in range(20)
        ]  # fmt: skip
        flags = int(draw.integers(0, 2**14))
        numbers = {name: float(draw.choice([nan, infinity, -1e300, 3.0])) for name in ("beat", "bpm", "seconds")}
        heard = made.process(request(int(draw.integers(1, 1025)), flags, **numbers), rows, NO_AUDIO)
        assert np.isfinite(heard).all()


def saved_instrument(folder: Path) -> Path:
    instrument = Instrument.load(DEFAULT_INSTRUMENT)
    instrument.terrain = Terrain.create(2, 8, gauss_scale=0.1, seed=5)
    instrument.save(folder / "other.terrain")
    return folder / "other.terrain"


def test_an_instrument_comes_from_its_file_or_else_from_the_state(tmp_path: Path) -> None:
    file = saved_instrument(tmp_path)
    reference = InstrumentReference.of(file)
    expected = processor(PluginState(instrument=reference)).process(request(1024), (), NO_AUDIO)
    assert np.abs(expected - processor().process(request(1024), (), NO_AUDIO)).max() > 0

    file.unlink()
    fresh = TerrainProcessor(44100.0, 1024, InstrumentShelf())
    fresh.restore(PluginState(instrument=reference).to_bytes())
    np.testing.assert_array_equal(fresh.process(request(1024), (), NO_AUDIO), expected)


def test_a_file_that_was_replaced_is_not_taken_for_the_old_one(tmp_path: Path) -> None:
    file = saved_instrument(tmp_path)
    named = InstrumentReference(str(file), hashlib.sha256(b"the old one").hexdigest(), "other")
    made = processor()
    before = made.process(request(1024), (), NO_AUDIO)
    with pytest.raises(FileError, match="another file now"):
        made.restore(PluginState({"x": 0.9}, named).to_bytes())
    made.process(request(64, RequestFlag.RESET), (), NO_AUDIO)
    assert made.process(request(1024), (), NO_AUDIO).shape == before.shape, "the old instrument goes on"
    assert made.instrument_name == "built-in"


def test_a_damaged_state_is_refused_and_the_old_one_goes_on() -> None:
    made = processor(PluginState({"x": 0.3}, loops=b"loops"))
    with pytest.raises(InputError, match="plugin state"):
        made.restore(b"nonsense")
    assert made.loops() == b"loops"


def test_without_an_instrument_there_is_silence() -> None:
    made = TerrainProcessor(44100.0, 1024, SHELF)
    assert made.latency == 0
    np.testing.assert_array_equal(made.process(request(64), (), NO_AUDIO), np.zeros((1, 64)))
