"""Blocks as a CLAP host has them made: events at their samples, transport, buffers of every kind.

The oracle is the engine itself, in this process: what the plugin gives in a bounce must be its very samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest

from terrain_core.engine import Block, Engine, ParameterPoint
from terrain_core.engine import Transport as EngineTransport
from terrain_core.instrument import Instrument
from terrain_core.parameters import PARAMETERS, Run, Source, by_key
from terrain_plugin.clap_host import (
    BRIGHTNESS,
    NOTE_CHOKE,
    NOTE_OFF,
    NOTE_ON,
    PRESSURE,
    TUNING,
    ClapLibrary,
    ClapPlugin,
    Event,
    Expression,
    Midi,
    Note,
    ParamValue,
    Transport,
)
from terrain_plugin.shipped import DEFAULT_INSTRUMENT

RATE, BLOCK = 44100.0, 512
X, Y, RUN, SOURCE, BYPASS = (by_key(key).id for key in ("x", "y", "run", "source", "bypass"))
CONTINUOUS = [p for p in PARAMETERS if not p.stepped]


@pytest.fixture(scope="module")
def instrument() -> Instrument:
    return Instrument.load(DEFAULT_INSTRUMENT)


@pytest.fixture
def bounce(plugin: ClapPlugin) -> ClapPlugin:
    """An active plugin that is bounced: it waits for its engine, so that no block is late."""
    plugin.activate(RATE, BLOCK)
    plugin.set_offline(True)
    return plugin


def engine(instrument: Instrument, rate: float = RATE) -> Engine:
    return Engine(instrument, rate, BLOCK)


def stereo(audio: np.ndarray) -> np.ndarray:
    return np.broadcast_to(audio, (2, audio.shape[1])) if len(audio) == 1 else audio


def cut(events: Sequence[Event], sizes: Sequence[int]) -> Iterator[tuple[int, list[Event]]]:
    """Events at absolute samples, as blocks of these sizes have them."""
    begin = 0
    for size in sizes:
        yield size, [replace(e, offset=e.offset - begin) for e in events if begin <= e.offset < begin + size]
        begin += size


def played(plugin: ClapPlugin, events: Sequence[Event], sizes: Sequence[int]) -> np.ndarray:
    return np.concatenate([plugin.process(size, part) for size, part in cut(events, sizes)], axis=1)


def first_sound(audio: np.ndarray) -> int:
    return int(np.flatnonzero(np.abs(audio).max(axis=0) > 0)[0])


# Parameter events


def random_points(draw: np.random.Generator, samples: int, count: int) -> list[ParamValue]:
    offsets = np.sort(draw.integers(0, samples, count)).tolist()
    chosen = [CONTINUOUS[index] for index in draw.integers(0, len(CONTINUOUS), count)]
    return [
        ParamValue(offset, p.id, float(draw.uniform(p.low, p.high)))
        for offset, p in zip(offsets, chosen, strict=True)
        if p.key != "sync_bpm"
    ]


@pytest.mark.parametrize("rate", [22050.0, 44100.0, 48000.0, 96000.0, 192000.0])
def test_every_event_reaches_the_engine_at_its_sample(
    plugin: ClapPlugin, instrument: Instrument, rng: np.random.Generator, rate: float
) -> None:
    plugin.activate(rate, BLOCK)
    plugin.set_offline(True)
    oracle = engine(instrument, rate)
    assert plugin.latency == oracle.latency
    for _ in range(40):
        samples = int(rng.integers(1, BLOCK + 1))
        events = random_points(rng, samples, int(rng.integers(0, 30)))
        points = [ParameterPoint(event.id, event.offset, event.value) for event in events]
        expected = oracle.process(Block(samples, points))
        np.testing.assert_array_equal(plugin.process(samples, events), stereo(expected))


def test_an_event_one_sample_later_may_be_a_frame_later(bounce: ClapPlugin, library: ClapLibrary) -> None:
    """Frames read their controls where they begin, every 1024 samples: the comparison above can fail."""
    heard = []
    for offset in (1024, 1025):
        bounce.reset()
        heard.append(played(bounce, [ParamValue(0, X, 0.5), ParamValue(offset, X, 0.9)], [BLOCK] * 8))
    np.testing.assert_array_equal(heard[0][:, :1024], heard[1][:, :1024])
    assert np.abs(heard[0][:, 1024:2048] - heard[1][:, 1024:2048]).max() > 1e-3


@pytest.mark.parametrize("rate", [44100.0, 48000.0])
def test_any_cut_of_the_same_gives_the_same(plugin: ClapPlugin, rng: np.random.Generator, rate: float) -> None:
    plugin.activate(rate, BLOCK)
    plugin.set_offline(True)
    samples = 16 * BLOCK
    events: list[Event] = list(random_points(rng, samples, 200))
    start = [ParamValue(0, p.id, p.default) for p in CONTINUOUS]
    heard = []
    for sizes in ([BLOCK] * 16, [64] * 128, _random_sizes(rng, samples), _random_sizes(rng, samples)):
        plugin.flush(start)
        plugin.reset()
        heard.append(played(plugin, events, sizes))
    assert np.abs(heard[0]).max() > 1e-3
    for other in heard[1:]:
        np.testing.assert_array_equal(other, heard[0])


def _random_sizes(rng: np.random.Generator, samples: int) -> list[int]:
    """Also blocks of no samples, and of one."""
    sizes: list[int] = []
    while (left := samples - sum(sizes)) > 0:
        sizes.append(int(min(left, rng.choice([0, 1, int(rng.integers(1, 64)), int(rng.integers(1, BLOCK + 1))]))))
    return sizes


def test_a_block_longer_than_a_request_is_whole(plugin: ClapPlugin, instrument: Instrument) -> None:
    plugin.activate(RATE, 40000)
    plugin.set_offline(True)
    events = [ParamValue(offset, X, offset / 40000) for offset in range(0, 40000, 777)]
    points = [ParameterPoint(event.id, event.offset, event.value) for event in events]
    expected = engine(instrument).process(Block(40000, points))
    np.testing.assert_array_equal(plugin.process(40000, events), stereo(expected))


def test_a_host_that_does_not_sort_is_forgiven(library: ClapLibrary) -> None:
    with library.create(strict=False) as plugin:
        plugin.activate(RATE, BLOCK)
        plugin.process(BLOCK, [ParamValue(400, X, 0.2), ParamValue(3, X, 0.3), ParamValue(9999, Y, 0.4)])
        assert (plugin.value(X), plugin.value(Y)) == (0.3, 0.4)


# Notes

STARTS: dict[str, list[Event]] = {
    "a CLAP note": [Note(300, NOTE_ON, 60)],
    "with the softest velocity": [Note(300, NOTE_ON, 60, velocity=0.0)],
    "a MIDI note": [Midi(300, bytes([0x90, 60, 100]))],
    "of MPE's second channel": [Midi(300, bytes([0x91, 60, 100]))],
}
ENDS: dict[str, list[Event]] = {
    "a CLAP note off": [Note(700, NOTE_OFF, 60)],
    "a choke": [Note(700, NOTE_CHOKE, 60)],
    "of all keys": [Note(700, NOTE_OFF, -1)],
    "of all keys on all channels": [Note(700, NOTE_OFF, -1, channel=-1)],
    "MIDI": [Midi(700, bytes([0x80, 60, 0]))],
    "MIDI, all notes off": [Midi(700, bytes([0xB0, 123, 0]))],
}


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
def test_a_note_starts_at_its_sample(bounce: ClapPlugin, start: list[Event]) -> None:
    bounce.flush([ParamValue(0, RUN, Run.NOTES)])
    heard = played(bounce, start, [BLOCK] * 4)
    assert 300 <= first_sound(heard) <= 302


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_a_note_ends_at_its_sample(bounce: ClapPlugin, end: list[Event]) -> None:
    bounce.flush([ParamValue(0, RUN, Run.NOTES)])
    held = played(bounce, [Note(300, NOTE_ON, 60)], [BLOCK] * 8)
    bounce.reset()
    heard = played(bounce, [Note(300, NOTE_ON, 60), *end], [BLOCK] * 8)
    np.testing.assert_array_equal(heard[:, :700], held[:, :700])
    assert np.abs(heard[:, -BLOCK:]).max() == 0
    assert np.abs(held[:, -BLOCK:]).max() > 1e-3


def test_a_note_that_was_never_held_ends_nothing(bounce: ClapPlugin) -> None:
    bounce.flush([ParamValue(0, RUN, Run.NOTES)])
    heard = played(
        bounce, [Note(0, NOTE_ON, 60), Note(500, NOTE_OFF, 61), Note(600, NOTE_OFF, 60, channel=5)], [BLOCK] * 8
    )
    assert np.abs(heard[:, -BLOCK:]).max() > 1e-3


@pytest.mark.parametrize(
    ("kind", "value", "key", "midi"),
    [
        (PRESSURE, 64 / 127, "pressure", bytes([0xD0, 64])),
        (BRIGHTNESS, 100 / 127, "y", bytes([0xB0, 74, 100])),
        (TUNING, 24.0, "x", bytes([0xE0, 0, 96])),
    ],
)
def test_note_expressions_move_what_mpe_moves(
    bounce: ClapPlugin, kind: int, value: float, key: str, midi: bytes
) -> None:
    """Half a pitch wheel's way up is half of MPE's 48 semitones."""
    bounce.flush([ParamValue(0, RUN, Run.NOTES)])
    note = Note(0, NOTE_ON, 60)
    heard = {}
    for name, event in {
        "none": None,
        "clap": Expression(0, kind, value, key=60, channel=0),
        "midi": Midi(0, midi),
    }.items():
        bounce.flush([ParamValue(0, p.id, p.default) for p in CONTINUOUS])
        bounce.reset()
        heard[name] = played(bounce, [note, event] if event else [note], [BLOCK] * 8)
    assert np.abs(heard["clap"] - heard["none"]).max() > 1e-2
    np.testing.assert_allclose(heard["clap"], heard["midi"], atol=2e-3)  # 14 bits of pitch bend over 32 bits of audio


def test_any_notes(bounce: ClapPlugin, rng: np.random.Generator) -> None:
    bounce.flush([ParamValue(0, RUN, Run.NOTES)])
    for _ in range(100):
        events: list[Event] = []
        for offset in np.sort(rng.integers(0, BLOCK, rng.integers(0, 40))).tolist():
            kind = int(rng.integers(0, 5))
            key, channel, id = (int(rng.integers(-1, top)) for top in (128, 16, 100))
            if kind < 3:
                events.append(Note(offset, kind, key, float(rng.uniform()), channel, id))
            elif kind == 3:
                what, value = int(rng.integers(0, 7)), float(rng.choice([-200, -1, 0, 0.5, 1, 5, np.nan, np.inf]))
                events.append(Expression(offset, what, value, key, channel, id))
            else:
                events.append(Midi(offset, rng.integers(0, 256, 3, dtype=np.uint8).tobytes()))
        bounce.process(BLOCK, events)  # the host checks every sample
    bounce.reset()
    assert np.abs(bounce.process(BLOCK)).max() == 0


def test_after_a_reset_no_note_is_held(bounce: ClapPlugin) -> None:
    bounce.flush([ParamValue(0, RUN, Run.NOTES)])
    assert np.abs(bounce.process(BLOCK, [Note(0, NOTE_ON, 60)])).max() > 1e-3
    bounce.reset()
    assert np.abs(bounce.process(BLOCK)).max() == 0


# Transport


def test_without_a_transport_it_plays(bounce: ClapPlugin) -> None:
    assert np.abs(bounce.process(BLOCK)).max() > 1e-3


@pytest.mark.parametrize("offset", [0, 1, 300, 511])
def test_transport_starts_and_stops_in_the_middle_of_a_block(bounce: ClapPlugin, offset: int) -> None:
    bounce.flush([ParamValue(0, RUN, Run.TRANSPORT)])
    stopped = Transport(beat=0.0, bpm=120.0, playing=False)
    assert np.abs(bounce.process(BLOCK, transport=stopped)).max() == 0
    started = bounce.process(BLOCK, [Transport(beat=0.0, bpm=120.0, offset=offset)], stopped)
    assert offset <= first_sound(started) <= offset + 2
    going = Transport(beat=0.03, bpm=120.0)
    bounce.process(BLOCK, [Transport(beat=0.05, bpm=120.0, playing=False, offset=offset)], going)
    for _ in range(6):
        last = bounce.process(BLOCK, transport=stopped)
    assert np.abs(last).max() == 0


def test_transport_at_its_sample_is_the_engine_s(
    bounce: ClapPlugin, instrument: Instrument, rng: np.random.Generator
) -> None:
    """Blocks with jumps of the song in them; Noise is drawn by the song's frame, so that every jump is heard."""
    oracle = engine(instrument)
    noise = ParamValue(0, by_key("noise").id, 1.0)
    bounce.flush([noise])
    oracle.set_parameters({"noise": 1.0})
    jumps = 0
    for _ in range(60):
        begins = sorted({0, *rng.integers(0, BLOCK, rng.integers(0, 4)).tolist()})
        transports = [
            Transport(
                beat=float(round(rng.uniform(0, 64) * 2**20) / 2**20),
                bpm=float(rng.uniform(30, 300)),
                seconds=float(round(rng.uniform(0, 64) * 2**20) / 2**20),
                playing=bool(rng.integers(0, 4)),
                offset=begin,
            )
            for begin in begins
        ]
        jumps += len(transports) - 1
        points = random_points(rng, BLOCK, 20)
        points += [ParamValue(begin, X, float(rng.uniform())) for begin in begins[1:]]  # before the transport's event
        points.sort(key=lambda event: event.offset)
        expected = []
        for transport, end in zip(transports, [*begins[1:], BLOCK], strict=True):
            begin = transport.offset
            inside = [ParameterPoint(p.id, p.offset - begin, p.value) for p in points if begin <= p.offset < end]
            position = EngineTransport(transport.playing, transport.beat, transport.bpm, transport.seconds)
            expected.append(stereo(oracle.process(Block(end - begin, inside, transport=position))))
        events: list[Event] = sorted([*points, *transports[1:]], key=lambda event: event.offset)
        heard = bounce.process(BLOCK, events, transports[0])
        np.testing.assert_array_equal(heard, np.concatenate(expected, axis=1))
    assert jumps > 30


@pytest.mark.parametrize("count", [1, 9000])
def test_events_at_the_sample_of_a_transport_event_are_not_early(bounce: ClapPlugin, count: int) -> None:
    """Nor are those at a sample at which more come than a face holds."""
    bounce.flush([ParamValue(0, RUN, Run.NOTES)])
    going = Transport(beat=0.0, bpm=120.0)
    events: list[Event] = [ParamValue(300, Y, 0.5)] * (count - 1)
    events += [Note(300, NOTE_ON, 60), Transport(beat=8.0, bpm=120.0, offset=300), ParamValue(400, X, 0.4)]
    heard = [bounce.process(BLOCK, events, going)]
    np.testing.assert_array_equal(heard[0][:, :300], 0)
    assert 300 <= first_sound(heard[0]) <= 302
    assert bounce.value(X) == 0.4


def test_any_transport(bounce: ClapPlugin, rng: np.random.Generator) -> None:
    for _ in range(200):
        numbers = [None, 0.0, -1e9, 1e9, float(rng.normal(0, 100))]
        drawn = [numbers[index] for index in rng.integers(0, len(numbers), 3)]
        transport = Transport(
            *drawn,
            playing=bool(rng.integers(2)),
            recording=bool(rng.integers(2)),
            bar=int(rng.integers(-(2**31), 2**31)),
            bar_beat=float(rng.normal(0, 1e6)),
            meter=(int(rng.integers(0, 65536)), int(rng.integers(0, 65536))) if rng.integers(2) else None,
            cycle=(float(rng.normal(0, 100)), float(rng.normal(0, 100))) if rng.integers(2) else None,
        )
        bounce.process(int(rng.integers(0, BLOCK + 1)), transport=transport)
    assert np.abs(bounce.process(BLOCK, transport=Transport(beat=0, bpm=120))).max() > 1e-4


# Buffers


def test_mono_hosts_hear_both_sides(bounce: ClapPlugin, library: ClapLibrary) -> None:
    both = played(bounce, [], [BLOCK] * 4)
    bounce.reset()
    mono = np.concatenate([bounce.process(BLOCK, channels=1) for _ in range(4)], axis=1)
    assert mono.shape == (1, 4 * BLOCK)
    np.testing.assert_array_equal(mono[0], (0.5 * (both[0] + both[1])).astype(np.float32))


def incoming(rng: np.random.Generator, blocks: int = 16) -> np.ndarray:
    """A gliding tone with some noise."""
    seconds = np.arange(blocks * BLOCK) / RATE
    tone = 0.3 * np.sin(2 * np.pi * (220 * seconds + 300 * seconds**2))
    return np.stack([tone, tone[::-1]]).astype(np.float32) + rng.normal(0, 0.01, (2, len(seconds))).astype(np.float32)


@pytest.mark.parametrize("in_place", [False, True])
def test_incoming_audio_is_what_the_engine_hears(
    bounce: ClapPlugin, instrument: Instrument, rng: np.random.Generator, in_place: bool
) -> None:
    oracle = engine(instrument)
    oracle.set_parameters({"source": float(Source.INPUT)})
    bounce.flush([ParamValue(0, SOURCE, Source.INPUT)])
    heard, expected = [], []
    for audio in np.split(incoming(rng), 16, axis=1):
        heard.append(bounce.process(BLOCK, audio_in=audio, in_place=in_place))
        expected.append(stereo(oracle.process(Block(BLOCK, audio=audio.mean(axis=0, keepdims=True)))))
    assert np.abs(heard[-1]).max() > 1e-3
    np.testing.assert_array_equal(np.concatenate(heard, axis=1), np.concatenate(expected, axis=1))


@pytest.mark.parametrize("rate", [44100.0, 48000.0])
@pytest.mark.parametrize("in_place", [False, True])
def test_bypass_passes_incoming_audio_as_late_as_the_plugin_is(
    plugin: ClapPlugin, rng: np.random.Generator, rate: float, in_place: bool
) -> None:
    plugin.activate(rate, BLOCK)
    plugin.set_offline(True)
    plugin.flush([ParamValue(0, BYPASS, 1.0)])
    plugin.reset()
    audio = incoming(rng)
    parts = np.split(audio, 16, axis=1)
    heard = np.concatenate([plugin.process(BLOCK, audio_in=part, in_place=in_place) for part in parts], axis=1)
    late = plugin.latency
    np.testing.assert_array_equal(heard[:, late:], audio[:, : audio.shape[1] - late])
    assert np.abs(heard[:, :late]).max(initial=0) == 0


def test_incoming_audio_that_is_no_sound(bounce: ClapPlugin) -> None:
    """Denormals, infinities, NaN: the host sees that none comes out, and what comes later is unharmed."""
    bounce.flush([ParamValue(0, SOURCE, Source.INPUT)])
    for value in (1e-40, -1e-45, np.inf, -np.inf, np.nan, 1e30):
        bounce.process(BLOCK, audio_in=np.full((2, BLOCK), value, np.float32))
    bounce.flush([ParamValue(0, SOURCE, Source.TERRAIN)])
    for _ in range(8):
        last = bounce.process(BLOCK)
    assert 1e-3 < np.abs(last).max() < 4


def test_silence_is_announced(bounce: ClapPlugin) -> None:
    bounce.flush([ParamValue(0, RUN, Run.NOTES)])
    assert np.abs(bounce.process(BLOCK)).max() == 0
    assert bounce.constant_mask == 0b11
    assert np.abs(bounce.process(BLOCK, channels=1)).max() == 0
    assert bounce.constant_mask == 0b1
    bounce.process(BLOCK, [Note(BLOCK - 8, NOTE_ON, 60)])
    assert bounce.constant_mask == 0


def test_a_block_of_no_samples_keeps_its_notes(bounce: ClapPlugin) -> None:
    bounce.flush([ParamValue(0, RUN, Run.NOTES)])
    assert bounce.process(0, [Note(0, NOTE_ON, 60)]).shape == (2, 0)
    assert np.abs(bounce.process(BLOCK)).max() > 1e-3


# Live and offline


def test_live_is_what_a_bounce_is_where_no_block_is_late(bounce: ClapPlugin) -> None:
    offline = played(bounce, [ParamValue(700, X, 0.8)], [BLOCK] * 8)
    bounce.set_offline(False)
    for _ in range(50):  # a busy machine may miss a deadline
        bounce.flush([ParamValue(0, X, 0.5)])
        bounce.reset()
        live = played(bounce, [ParamValue(700, X, 0.8)], [BLOCK] * 8)
        if np.array_equal(live, offline):
            return
    pytest.fail("live never came out as offline")


def test_the_host_tells_its_mode(plugin: ClapPlugin) -> None:
    assert plugin.set_offline(True)
    assert plugin.set_offline(False)
