"""Blocks as a VST3 host has them made: queues of points, notes, transport, buffers of every kind, states in between.

The oracle is the engine itself, in this process: what the plugin gives in a bounce must be its very samples. What the
engine does not use yet (bars, cycles) is looked at where it arrives.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from terrain_core.engine import Block, Engine, MidiEvent, NoteExpression, ParameterPoint
from terrain_core.engine import Transport as EngineTransport
from terrain_core.instrument import Instrument
from terrain_core.parameters import PARAMETERS, Run, Source, by_key
from terrain_core.plugin_state import InstrumentReference, PluginState
from terrain_plugin.bridge.protocol import EVENT, EventKind, RequestFlag
from terrain_plugin.bridge.protocol import NoteExpression as Meaning
from terrain_plugin.shipped import DEFAULT_INSTRUMENT
from tests.hosts.vst3_host import (
    BRIGHTNESS,
    MONO,
    OFFLINE,
    PRESSURE,
    REALTIME,
    STEREO,
    TUNING,
    VALUES_CHANGED,
    Context,
    Expression,
    NoteOff,
    NoteOn,
    PolyPressure,
    Vst3Plugin,
)

RATE, BLOCK = 44100.0, 512
X, Y, LEVEL, RUN, BYPASS = (by_key(key).id for key in ("x", "y", "level", "run", "bypass"))
MOVED = [p for p in PARAMETERS if not p.read_only and p.key not in ("bypass", "source", "sync_bpm", "run")]

Queues = dict[int, list[tuple[int, float]]]


@pytest.fixture(scope="module")
def instrument() -> Instrument:
    return Instrument.load(DEFAULT_INSTRUMENT)


@pytest.fixture
def bounce(vst3: Vst3Plugin) -> Vst3Plugin:
    """An active plugin that is bounced: it waits for its engine, so that no block is late."""
    vst3.activate(RATE, BLOCK, OFFLINE)
    return vst3


def stereo(audio: np.ndarray) -> np.ndarray:
    return np.broadcast_to(audio, (2, audio.shape[1])) if len(audio) == 1 else audio


def plain(queues: Queues) -> list[ParameterPoint]:
    """Queues in the engine's words."""
    return [
        ParameterPoint(id, offset, parameter.from_normalised(value))
        for parameter in PARAMETERS
        for id, points in queues.items()
        if id == parameter.id
        for offset, value in points
    ]


def random_queues(draw: np.random.Generator, samples: int, most: int = 8) -> Queues:
    queues: Queues = {}
    for index in draw.choice(len(MOVED), draw.integers(0, 5), replace=False).tolist():
        offsets = np.sort(draw.integers(0, samples, draw.integers(1, most))).tolist()
        queues[MOVED[index].id] = [(offset, float(draw.uniform())) for offset in offsets]
    return queues


# Queues


@pytest.mark.parametrize("rate", [22050.0, 44100.0, 48000.0, 96000.0, 192000.0])
def test_every_point_reaches_the_engine_and_lines_join_them(
    vst3: Vst3Plugin, instrument: Instrument, rng: np.random.Generator, rate: float
) -> None:
    vst3.activate(rate, BLOCK, OFFLINE)
    oracle = Engine(instrument, rate, BLOCK)
    assert vst3.latency == oracle.latency
    for _ in range(40):
        samples = int(rng.integers(1, BLOCK + 1))
        queues = random_queues(rng, samples)
        expected = oracle.process(Block(samples, plain(queues), lines=True))
        np.testing.assert_array_equal(vst3.process(samples, queues), stereo(expected))


def at_frames(vst3: Vst3Plugin, queues: list[Queues], blocks: int = 12) -> np.ndarray:
    vst3.restart_stream()
    return np.concatenate([vst3.process(BLOCK, queues[n] if n < len(queues) else {}) for n in range(blocks)], axis=1)


def test_a_line_ends_at_its_point_and_a_jump_is_two_points(bounce: Vst3Plugin) -> None:
    """The second frame reads its controls at sample 1024, the first of the third block."""
    start: Queues = {X: [(0, 0.1)]}
    line = at_frames(bounce, [start, {}, {X: [(1, 0.9)]}])  # from 0.1 at sample 1023 to 0.9 at 1025
    same = at_frames(bounce, [start, {}, {X: [(0, 0.5)]}])  # half way there
    late_jump = at_frames(bounce, [start, {}, {X: [(1, 0.1), (1, 0.9)]}])
    held = at_frames(bounce, [start, {}, {}])
    second = slice(1024, 2048)
    np.testing.assert_allclose(line[:, second], same[:, second], atol=1e-6)
    np.testing.assert_array_equal(late_jump[:, second], held[:, second])
    assert np.abs(line[:, second] - held[:, second]).max() > 1e-3
    assert np.abs(late_jump[:, 2048:3072] - held[:, 2048:3072]).max() > 1e-3


def test_one_point_at_the_block_s_start_is_a_step(bounce: Vst3Plugin) -> None:
    """What most hosts send: DawDreamer, pedalboard and everything else on JUCE."""
    stepped = at_frames(bounce, [{X: [(0, 0.1)]}, {}, {X: [(0, 0.9)]}, {X: [(0, 0.9)]}])
    again = at_frames(bounce, [{X: [(0, 0.1)]}, {}, {X: [(0, 0.9)]}])
    np.testing.assert_array_equal(stepped, again)


def test_any_cut_of_a_line_gives_the_same(bounce: Vst3Plugin, rng: np.random.Generator) -> None:
    """Lines are cut as a host cuts them: with a point on the last sample of each block."""
    total = 40 * BLOCK

    def line(sample: int) -> float:
        return 0.1 + 0.8 * sample / total

    heard = []
    for _ in range(3):
        bounce.restart_stream()
        bounce.process(0, {X: [(0, 0.1)]})
        blocks, begin = [], 0
        while begin < total:
            size = min(int(rng.integers(1, BLOCK + 1)), total - begin)
            queue = [(0, line(begin))] if rng.random() < 0.3 else []
            blocks.append(bounce.process(size, {X: [*queue, (size - 1, line(begin + size - 1))]}))
            begin += size
        heard.append(np.concatenate(blocks, axis=1))
    assert np.abs(heard[0]).max() > 0.01
    # Sums of other numbers round otherwise, and the pitch's phase adds it up.
    np.testing.assert_allclose(heard[0], heard[1], atol=1e-5)
    np.testing.assert_allclose(heard[0], heard[2], atol=1e-5)


def test_points_outside_the_block_count_at_its_ends(bounce: Vst3Plugin) -> None:
    out = at_frames(bounce, [{X: [(-5, 0.2)], Y: [(0, 0.5), (10**6, 0.3)]}])
    inside = at_frames(bounce, [{X: [(0, 0.2)], Y: [(0, 0.5), (BLOCK - 1, 0.3)]}])
    np.testing.assert_array_equal(out, inside)


# What arrives at the engine


RECORD = """
import json
from terrain_plugin.bridge.processor import TerrainProcessor
process = TerrainProcessor.process
def record(self, request, events, audio_in):
    rows = list(events)
    with open({path!r}, "a") as file:
        print(json.dumps([request._asdict(), rows]), file=file)
    return process(self, request, rows, audio_in)
TerrainProcessor.process = record
"""


class Recorded:
    """The requests that engines got since the last look."""

    def __init__(self, path: Path) -> None:
        self._path, self._seen = path, 0

    def new(self) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
        rows = [json.loads(line) for line in self._path.read_text().splitlines()]
        fresh, self._seen = rows[self._seen :], len(rows)
        return [(request, [self._event(event) for event in events]) for request, events in fresh]

    @staticmethod
    def _event(numbers: list[float]) -> dict[str, Any]:
        names = [field.name for field in EVENT.fields if field.name not in ("data", "value")]
        return dict(zip(names, numbers, strict=False)) | {"value": numbers[-1]}


@pytest.fixture
def recorded(tmp_path: Path, patch_engines: Callable[[str], None], vst3: Vst3Plugin) -> Recorded:
    """A plugin that is bounced, whose engine notes what it is asked."""
    path = tmp_path / "requests"
    patch_engines(RECORD.format(path=str(path)))
    vst3.activate(RATE, BLOCK, OFFLINE)
    vst3.process(BLOCK)
    found = Recorded(path)
    found.new()
    return found


def test_the_whole_transport_arrives(recorded: Recorded, vst3: Vst3Plugin) -> None:
    context = Context(
        samples=88200, quarters=7.25, bpm=133.5, bar=7.0, meter=(7, 8), cycle=(3.5, 10.5), cycle_active=True,
        playing=True, recording=True,
    )  # fmt: skip
    vst3.process(BLOCK, context=context)
    ((request, _),) = recorded.new()
    every = [flag for flag in RequestFlag if flag not in (RequestFlag.RESET, RequestFlag.AUDIO_IN)]
    assert RequestFlag(request["flags"]) == sum(every)
    numbers = {"beat": 7.25, "bpm": 133.5, "seconds": 2.0, "bar_beat": 7.0, "cycle_begin": 3.5, "cycle_end": 10.5}
    numbers |= {"meter_numerator": 7, "meter_denominator": 8, "samples": BLOCK}
    assert {name: request[name] for name in numbers} == numbers


@pytest.mark.parametrize(
    ("told", "flag"),
    [
        ({"quarters": 1.0}, RequestFlag.HAS_BEAT),
        ({"bpm": 90.0}, RequestFlag.HAS_BPM),
        ({"bar": 0.0}, RequestFlag.HAS_BAR),
        ({"meter": (3, 4)}, RequestFlag.HAS_METER),
        ({"cycle": (0.0, 4.0)}, RequestFlag.HAS_CYCLE),
        ({"cycle_active": True}, RequestFlag.CYCLE),
        ({"recording": True}, RequestFlag.RECORDING),
    ],
)
def test_only_what_a_host_knows_arrives(
    recorded: Recorded, vst3: Vst3Plugin, told: dict[str, Any], flag: RequestFlag
) -> None:
    vst3.process(BLOCK, context=Context(**told))
    ((request, _),) = recorded.new()
    always = RequestFlag.OFFLINE | RequestFlag.LINES | RequestFlag.HAS_TRANSPORT
    assert RequestFlag(request["flags"]) == always | RequestFlag.PLAYING | RequestFlag.HAS_SECONDS | flag


def test_a_host_without_a_transport_has_none(recorded: Recorded, vst3: Vst3Plugin) -> None:
    """pedalboard hands over a context in which nothing stands but the sample rate."""
    vst3.process(BLOCK, context=None)
    vst3.process(BLOCK, context=Context(playing=False))
    requests = [RequestFlag(request["flags"]) for request, _ in recorded.new()]
    assert requests == [RequestFlag.OFFLINE | RequestFlag.LINES] * 2


def test_each_block_s_own_mode_counts(recorded: Recorded, vst3: Vst3Plugin) -> None:
    """DawDreamer sets up for real time and bounces nevertheless."""
    for mode in (OFFLINE, REALTIME, OFFLINE):
        vst3.process(BLOCK, mode=mode)
    flags = [RequestFlag(request["flags"]) for request, _ in recorded.new()]
    assert [bool(flag & RequestFlag.OFFLINE) for flag in flags] == [True, False, True]


def test_points_and_notes_arrive_in_time_s_order(recorded: Recorded, vst3: Vst3Plugin) -> None:
    queues: Queues = {Y: [(3, 0.25), (200, 0.5)], X: [(0, 0.125), (3, 0.75), (3, 1.0)], LEVEL: [(511, 0.0)]}
    notes = [NoteOn(3, 60, note_id=7), Expression(100, BRIGHTNESS, 7, 0.25), NoteOff(300, 60, note_id=7)]
    vst3.process(BLOCK, queues, notes)
    ((_, events),) = recorded.new()
    found = [(event["offset"], EventKind(event["kind"]).name, event["id"], event["value"]) for event in events]
    velocity = float(np.float32(0.8))
    assert found == [
        (0, "PARAMETER", X, 0.125),
        (3, "PARAMETER", Y, 0.25),
        (3, "PARAMETER", X, 0.75),
        (3, "PARAMETER", X, 1.0),
        (3, "NOTE_ON", 0, velocity),
        (100, "NOTE_EXPRESSION", Meaning.BRIGHTNESS, 0.25),
        (200, "PARAMETER", Y, 0.5),
        (300, "NOTE_OFF", 0, 0.0),
        (511, "PARAMETER", LEVEL, -60.0),
    ]


def test_expressions_find_their_note_by_its_id(recorded: Recorded, vst3: Vst3Plugin) -> None:
    """Of two notes with one id the younger is meant; ids that nobody knows are nobody's."""
    vst3.process(BLOCK, None, [NoteOn(0, 60, channel=2, note_id=5), NoteOn(1, 64, channel=3, note_id=6)])
    vst3.process(BLOCK, None, [NoteOn(0, 67, channel=4, note_id=5), PolyPressure(1, 64, 0.5, channel=3)])
    expressions = [(TUNING, 5, 0.6), (PRESSURE, 6, 0.75), (BRIGHTNESS, 99, 0.5), (PRESSURE, -1, 0.5), (77, 5, 0.5)]
    vst3.process(BLOCK, None, [Expression(n, *row) for n, row in enumerate(expressions)])
    (_, _), (_, second), (_, third) = recorded.new()
    touched = second[1]
    assert (touched["key"], touched["channel"], touched["id"], touched["value"]) == (64, 3, Meaning.PRESSURE, 0.5)
    found = [(event["id"], event["key"], event["channel"], event["value"]) for event in third]
    assert found == [(Meaning.TUNING, 67, 4, pytest.approx(24.0)), (Meaning.PRESSURE, 64, 3, 0.75)]


# Notes and MIDI


def test_notes_and_expressions_are_the_engine_s(bounce: Vst3Plugin, instrument: Instrument) -> None:
    bounce.process(0, {RUN: [(0, by_key("run").to_normalised(Run.NOTES))]})
    oracle = Engine(instrument, RATE, BLOCK)
    oracle.set_parameters({"run": Run.NOTES})
    script: list[tuple[list[Any], list[Any]]] = [
        ([], []),
        ([NoteOn(10, 60, note_id=1)], [MidiEvent(10, b"\x90\x3c\x66")]),
        ([Expression(0, TUNING, 1, 0.6)], [NoteExpression(0, 0, 60, X, 0.75)]),
        ([Expression(5, BRIGHTNESS, 1, 0.25)], [NoteExpression(5, 0, 60, Y, 0.25)]),
        ([PolyPressure(7, 60, 0.5)], [NoteExpression(7, 0, 60, by_key("pressure").id, 0.5)]),
        ([NoteOff(300, 60, note_id=1)], [MidiEvent(300, b"\x80\x3c\x00")]),
        ([], []),
        ([NoteOn(0, 61), NoteOff(100, 61)], [MidiEvent(0, b"\x90\x3d\x66"), MidiEvent(100, b"\x80\x3d\x00")]),
    ]
    loudest = []
    for notes, midi in script:
        expected = oracle.process(Block(BLOCK, lines=True, midi=midi))
        heard = bounce.process(BLOCK, None, notes)
        np.testing.assert_allclose(heard, stereo(expected), atol=1e-6)  # tuning: 0.75 to a digit or two
        loudest.append(np.abs(heard).max())
    assert loudest[0] == 0
    assert min(loudest[2:5]) > 1e-3


# Transport


def test_run_follows_the_host_s_transport(bounce: Vst3Plugin, instrument: Instrument) -> None:
    bounce.process(0, {RUN: [(0, by_key("run").to_normalised(Run.TRANSPORT))]})
    oracle = Engine(instrument, RATE, BLOCK)
    oracle.set_parameters({"run": Run.TRANSPORT})
    for n in range(12):
        playing = 3 <= n < 9
        samples = (n - 3) * BLOCK if playing else 0
        seconds = samples / RATE
        context = Context(samples=samples, quarters=2 * seconds, bpm=120.0, playing=playing)
        transport = EngineTransport(playing, 2 * seconds, 120.0, seconds)
        heard = bounce.process(BLOCK, context=context)
        np.testing.assert_array_equal(heard, stereo(oracle.process(Block(BLOCK, lines=True, transport=transport))))


# Buffers


def test_a_mono_host_gets_the_mean(vst3: Vst3Plugin, bounce: Vst3Plugin) -> None:
    reference = np.concatenate([bounce.process(BLOCK) for _ in range(6)], axis=1)
    vst3.deactivate()
    assert vst3.arrange([], [MONO])
    vst3.activate(RATE, BLOCK, OFFLINE)
    mono = np.concatenate([vst3.process(BLOCK, channels=1) for _ in range(6)], axis=1)
    np.testing.assert_array_equal(mono[0], reference.mean(axis=0))


@pytest.mark.parametrize("arrangement", [MONO, STEREO])
@pytest.mark.parametrize("in_place", [True, False])
def test_bypass_passes_audio_through(
    vst3: Vst3Plugin, rng: np.random.Generator, arrangement: int, in_place: bool
) -> None:
    assert vst3.arrange([arrangement], [arrangement])
    channels = 1 if arrangement == MONO else 2
    vst3.activate(RATE, BLOCK, OFFLINE)
    vst3.process(0, {BYPASS: [(0, 1.0)]})
    vst3.restart_stream()
    for _ in range(4):
        audio = rng.uniform(-1, 1, (channels, BLOCK)).astype(np.float32)
        heard = vst3.process(BLOCK, audio_in=audio.copy(), channels=channels, in_place=in_place)
        np.testing.assert_array_equal(heard, audio)


def test_incoming_audio_reaches_the_engine(
    bounce: Vst3Plugin, instrument: Instrument, rng: np.random.Generator
) -> None:
    source = by_key("source")
    bounce.process(0, {source.id: [(0, source.to_normalised(Source.INPUT))]})
    oracle = Engine(instrument, RATE, BLOCK)
    oracle.set_parameters({"source": Source.INPUT})
    for _ in range(20):
        audio = rng.uniform(-0.5, 0.5, (2, BLOCK)).astype(np.float32)
        mono = audio.mean(axis=0, keepdims=True, dtype=np.float32)
        expected = oracle.process(Block(BLOCK, lines=True, audio=mono))
        np.testing.assert_array_equal(bounce.process(BLOCK, audio_in=audio), stereo(expected))


def test_silence_is_flagged_and_sound_is_not(bounce: Vst3Plugin) -> None:
    bounce.process(BLOCK)
    assert bounce.silence == 0
    bounce.process(0, {LEVEL: [(0, 0.0)]})
    for _ in range(8):
        bounce.process(BLOCK)
    assert bounce.silence == 0b11
    bounce.process(0)
    assert bounce.silence == 0


@pytest.mark.parametrize("sizes", [[1] * 50, [2000, 1, 9000, 0, 513], [512, 512]])
def test_blocks_of_any_size(bounce: Vst3Plugin, instrument: Instrument, sizes: list[int]) -> None:
    """Those beyond the announced maximum too."""
    heard = np.concatenate([bounce.process(size) for size in sizes], axis=1)
    oracle = Engine(instrument, RATE, BLOCK)
    expected = np.concatenate([oracle.process(Block(BLOCK)) for _ in range(-(-sum(sizes) // BLOCK))], axis=1)
    np.testing.assert_array_equal(heard, stereo(expected)[:, : sum(sizes)])


def test_the_controller_is_told_values_while_another_thread_plays(bounce: Vst3Plugin) -> None:
    """The host looks at every sample that the playing thread gets."""
    ended = threading.Event()
    problems: list[BaseException] = []
    peaks: list[float] = []

    def play() -> None:
        try:
            while not ended.is_set():
                peaks.append(float(np.abs(bounce.process(BLOCK)).max()))
        except BaseException as error:
            problems.append(error)

    audio = threading.Thread(target=play)
    audio.start()
    told = [parameter for parameter in PARAMETERS if not parameter.read_only]
    try:
        for turn in range(100):
            for parameter in told:
                bounce.controller.set_parameter_normalised(parameter.id, turn % 2 / 1)
                assert bounce.value(parameter.id) == turn % 2
    finally:
        ended.set()
        audio.join()
    assert not problems
    assert len(peaks) > 1
    assert max(peaks) < 4


def test_any_blocks_points_notes_and_transports(bounce: Vst3Plugin, rng: np.random.Generator) -> None:
    """The host checks every sample of every block."""
    loudest = 0.0
    for n in range(200):
        samples = int(rng.choice([0, 1, 17, 64, 500, BLOCK]))
        points = {p.id: [(int(rng.integers(-3, BLOCK + 3)), float(rng.uniform(-0.2, 1.2)))] for p in PARAMETERS}
        chosen = {id: points[id] for id in rng.choice(list(points), rng.integers(0, 9), replace=False).tolist()}
        note = NoteOn(0, int(rng.integers(-3, 131)), float(rng.uniform()), int(rng.integers(-2, 18)), n)
        context = Context(
            samples=int(rng.integers(-(10**9), 10**9)),
            quarters=float(rng.normal() * 1e4),
            bpm=float(rng.choice([0.0, -3.0, 120.0, np.inf, np.nan])),
            meter=(int(rng.integers(-1, 40)), int(rng.integers(0, 40))),
            playing=bool(rng.random() < 0.5),
        )
        heard = bounce.process(samples, chosen, [note] if rng.random() < 0.3 else (), context)
        loudest = max(loudest, float(np.abs(heard).max(initial=0.0)))
    assert 1e-3 < loudest < 16.0  # Level adds up to 12 dB


# States


def test_a_state_comes_back_byte_for_byte(vst3: Vst3Plugin) -> None:
    reference = InstrumentReference.of(DEFAULT_INSTRUMENT)
    values = {p.key: p.from_normalised(0.3) for p in MOVED}
    state = PluginState(values, reference, unknown_parameters={7777: 0.5}, unknown_chunks={b"NEWS": b"later"})
    assert vst3.load(state.to_bytes(), most_at_once=1000)
    saved = vst3.save(most_at_once=333)
    found = PluginState.from_bytes(saved)
    assert (found.instrument, dict(found.unknown_chunks)) == (reference, {b"NEWS": b"later"})
    assert {key: found.parameters[key] for key in values} == values
    assert found.unknown_parameters == {7777: 0.5}
    assert vst3.load(saved)
    assert vst3.save() == saved
    vst3.activate(RATE, BLOCK, OFFLINE)
    vst3.process(BLOCK)
    assert vst3.save() == saved
    for parameter in MOVED:
        assert vst3.value(parameter.id) == parameter.to_normalised(values[parameter.key])


def test_a_host_is_told_to_look_at_the_values_of_a_state(vst3: Vst3Plugin) -> None:
    """Hosts on JUCE show the old ones else."""
    vst3.load(PluginState({"x": 0.25}).to_bytes())
    assert vst3.requests.restarts == [VALUES_CHANGED]


def test_a_state_in_mid_song_is_heard_from_the_next_block_on(bounce: Vst3Plugin, instrument: Instrument) -> None:
    oracle = Engine(instrument, RATE, BLOCK)
    for values in ({"x": 0.5}, {"x": 0.2, "y": 0.9}, {"level": -20.0}):
        assert bounce.load(PluginState(values).to_bytes())
        oracle.set_parameters({p.key: p.default for p in PARAMETERS} | values)
        for _ in range(5):
            np.testing.assert_array_equal(bounce.process(BLOCK), stereo(oracle.process(Block(BLOCK, lines=True))))


@pytest.mark.parametrize(
    "bad",
    [b"", b"LTERRAIN", bytes(1000), PluginState({"x": 0.3}).to_bytes()[:-1]],
    ids=["empty", "cut", "zeros", "torn"],
)
def test_a_bad_state_is_refused_and_changes_nothing(vst3: Vst3Plugin, bad: bytes) -> None:
    assert vst3.load(PluginState({"x": 0.125}).to_bytes())
    before = vst3.save()
    assert not vst3.load(bad)
    assert vst3.save() == before
    assert vst3.value(X) == 0.125
