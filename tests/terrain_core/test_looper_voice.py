"""The latent looper: what it plays, frame for frame."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terrain_core.errors import InputError
from terrain_core.looper import Action, Layer, Looper, State
from terrain_core.looper.layer import slerp, wrapped
from terrain_core.looper.looper import Statistics
from terrain_core.looper.voice import Cue, Voice

D = 3
UNIT = Statistics(np.zeros(D, np.float32), np.ones(D, np.float32))


def beats_of(count: int, per_beat: float = 32, start: float = 0.0) -> np.ndarray:
    return start + np.arange(count) / per_beat


def bars_of(beats: np.ndarray, length: float = 4.0) -> np.ndarray:
    return np.stack([np.floor(beats / length) * length, np.full(len(beats), length)], axis=1)


def wave(beats: np.ndarray) -> np.ndarray:
    """Something that never repeats."""
    return np.stack([np.sin(beats * 1.7), np.cos(beats * 0.9), beats * 0.01], axis=1).astype(np.float32)


def run(voice: Voice, incoming: np.ndarray, beats: np.ndarray, actions=(), bars=None, loudness=None, cuts=()):
    """Process in runs that end at `cuts`."""
    out, presence = [], []
    bars = bars_of(beats) if bars is None else bars
    edges = [0, *sorted(cuts), len(beats)]
    for first, last in pairwise(edges):
        if last > first:
            here = [Cue(row - first, action) for row, action in actions if first <= row < last]
            quiet = None if loudness is None else loudness[first:last]
            a, b, _ = voice.process(incoming[first:last], beats[first:last], bars[first:last], here, quiet)
            out.append(a)
            presence.append(b)
    return np.concatenate(out), np.concatenate(presence)


# --- layers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interpolation", ["linear", "cubic", "spherical"])
def test_a_layer_gives_back_what_it_was_made_of(interpolation) -> None:
    rng = np.random.default_rng(1)
    phases, vectors = np.sort(rng.random(40)), rng.normal(size=(40, D)).astype(np.float32)
    layer = Layer.of(phases, vectors)
    np.testing.assert_array_equal(layer.at(phases, interpolation), vectors)
    np.testing.assert_array_equal(layer.at(phases + 7, interpolation), vectors)
    np.testing.assert_array_equal(layer.at(phases - 3 + 1e-12, interpolation), vectors)


def test_linear_goes_straight_also_across_the_seam() -> None:
    layer = Layer.of(np.array([0.1, 0.4, 0.8]), np.array([[0.0], [3.0], [6.0]]))
    assert layer.at(np.array([0.2, 0.6, 0.9, 0.0, 0.95])).ravel().tolist() == pytest.approx([1, 4.5, 4, 2, 3])


def test_cubic_is_exact_on_a_sine_to_third_order() -> None:
    errors = []
    for count in (32, 64, 128):
        phases = np.arange(count) / count
        layer = Layer.of(phases, np.sin(2 * np.pi * phases)[:, np.newaxis])
        probes = np.linspace(0, 1, 5000)
        errors.append(np.abs(layer.at(probes, "cubic").ravel() - np.sin(2 * np.pi * probes)).max())
    assert errors[1] < errors[0] / 7
    assert errors[2] < errors[1] / 6


def test_spherical_turns_evenly_and_keeps_the_length() -> None:
    begin, end = np.array([[2.0, 0, 0]], np.float32), np.array([[0, 2.0, 0]], np.float32)
    for u in (0.25, 0.5, 0.75):
        (out,) = slerp(begin, end, np.array([u], np.float32))
        assert out.tolist() == pytest.approx([2 * np.cos(u * np.pi / 2), 2 * np.sin(u * np.pi / 2), 0], abs=1e-6)


def test_one_vector_is_a_loop_too() -> None:
    layer = Layer.of(np.array([0.3]), np.ones((1, D)))
    assert (layer.at(np.linspace(-1, 2, 50), "cubic") == 1).all()


# --- record and play ------------------------------------------------------------------------------------------------


def test_with_a_whole_number_of_frames_every_pass_is_the_recording() -> None:
    beats = beats_of(32 * 20)
    incoming = wave(beats)
    voice = Voice(Looper("a", beats=4), UNIT)
    out, presence = run(voice, incoming, beats, [(10, Action.RECORD)])
    recorded = incoming[128:256]  # from the next bar on
    for turn in range(2, 5):
        np.testing.assert_array_equal(out[128 * turn : 128 * (turn + 1)], recorded)
    assert (presence[:256] == 0).all()
    assert (presence[256:] == 1).all()
    np.testing.assert_array_equal(out[:256], incoming[:256])


@pytest.mark.parametrize("interpolation", ["linear", "cubic", "spherical"])
def test_otherwise_the_error_is_what_interpolation_explains(interpolation) -> None:
    """Frames at a rate that does not divide the beat; the bound is h²/8 · max |f''| for straight lines."""
    per_beat = 43.066 / 2
    beats = beats_of(round(per_beat * 20), per_beat)
    incoming = wave(beats)
    incoming[:, 2] = 0
    voice = Voice(Looper("a", beats=4, interpolation=interpolation), UNIT)
    out, _ = run(voice, incoming, beats, [(0, Action.RECORD)])
    later = (beats >= 4) & (beats < 19)
    phase = beats[later] % 4
    seam = (phase < 2 / per_beat) | (phase > 4 - 2 / per_beat)  # where the loop's end meets its beginning
    expected = wave(phase)
    expected[:, 2] = 0
    error = np.abs(out[later] - expected)[~seam].max()
    bound = (1 / per_beat) ** 2 / 8 * 1.7**2
    assert error < bound * {"linear": 1.01, "cubic": 0.2, "spherical": 20}[interpolation]


@pytest.mark.parametrize(("quantise", "first"), [("none", 3.0), ("beat", 3.0), ("bar", 4.0)])
def test_recording_begins_where_it_is_told_to(quantise: str, first: float) -> None:
    beats = beats_of(32 * 12)
    voice = Voice(Looper("a", beats=2, quantise=quantise), UNIT)
    _, presence = run(voice, wave(beats), beats, [(96 - (quantise == "beat"), Action.RECORD)])
    assert beats[np.argmax(presence > 0)] == first + 2
    assert voice.content.origin == first


def test_what_waits_can_be_seen() -> None:
    beats = beats_of(32 * 16)
    voice = Voice(Looper("a"), UNIT)
    states = []
    actions = {20: Action.RECORD, 200: Action.RECORD, 300: Action.OVERDUB, 400: Action.STOP}
    for row in range(len(beats)):
        action = [Cue(0, actions[row])] if row in actions else []
        voice.process(wave(beats)[row : row + 1], beats[row : row + 1], bars_of(beats[row : row + 1]), action)
        if not states or states[-1][1] is not voice.state:
            states.append((row, voice.state))
    assert (
        states
        == [
            (0, State.EMPTY),
            (20, State.WAIT_START),
            (128, State.RECORDING),
            (200, State.WAIT_STOP),
            (224, State.PLAYING),  # 3 beats: 72 frames played, rounded up to a beat
            (300, State.WAIT_START),
            (384, State.OVERDUBBING),
            (400, State.WAIT_STOP),
            (512 - 0, State.STOPPED),
        ][:-1]
    )


@pytest.mark.parametrize(("round_to", "length"), [("free", 2.25), ("beat", 3.0), ("bar", 4.0)])
def test_a_free_length_is_rounded(round_to: str, length: float) -> None:
    beats = beats_of(32 * 16)
    voice = Voice(Looper("a", round_to=round_to), UNIT)
    run(voice, wave(beats), beats, [(0, Action.RECORD), (72, Action.RECORD)])
    assert voice.content.beats == length


def test_count_in_and_threshold() -> None:
    beats = beats_of(32 * 16)
    voice = Voice(Looper("a", beats=2, count_in=4), UNIT)
    run(voice, wave(beats), beats, [(1, Action.RECORD)])
    assert voice.content.origin == 8
    loudness = np.where(np.arange(len(beats)) >= 150, 0.5, 0.0)
    voice = Voice(Looper("a", beats=2, threshold=0.3), UNIT)
    run(voice, wave(beats), beats, [(1, Action.RECORD)], loudness=loudness)
    assert voice.content.origin == beats[150]


# --- time -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bpm", [60, 90, 173.5])
def test_onsets_keep_their_beats_at_any_tempo(bpm: float) -> None:
    """Recorded at 120 bpm; played at another, each onset falls on its beat to one frame."""
    rate = 43.066
    beats = np.arange(round(rate * 4)) / rate * 2
    onsets = np.array([0.0, 1.0, 1.5, 2.75, 3.25])
    incoming = np.zeros((len(beats), D), np.float32)
    for number, onset in enumerate(onsets):
        incoming[beats >= onset] = number + 1
    voice = Voice(Looper("a", beats=4), UNIT)
    run(voice, incoming, beats, [(0, Action.RECORD)])
    later = 8 + np.arange(round(rate * 60 / bpm * 8)) / rate * bpm / 60
    out, _ = run(voice, np.zeros((len(later), D), np.float32), later)
    for number, onset in enumerate(onsets[1:], start=2):
        rows = np.flatnonzero((out[1:, 0] >= number - 0.5) & (out[:-1, 0] < number - 0.5)) + 1
        places = later[rows] % 4
        assert np.abs(places - onset).max() <= 2 / rate * max(bpm / 60, 2)  # a frame of the recording and of this tempo


def test_a_ramp_locates_and_negative_positions() -> None:
    beats = beats_of(128)
    voice = Voice(Looper("a", beats=4), UNIT)
    incoming = wave(beats)
    run(voice, incoming, beats, [(0, Action.RECORD)])
    loop = Layer.of(beats / 4, incoming)
    for positions in (
        np.cumsum(np.linspace(0.01, 0.05, 300)) + 4,  # a ramp
        np.concatenate([beats_of(50, 32, 100.3), beats_of(50, 32, 7.1), beats_of(50, 32, 55.55)]),  # locates
        beats_of(100, 32, -6.4),  # pre-roll
    ):
        out, _ = run(voice, np.zeros((len(positions), D), np.float32), positions)
        np.testing.assert_allclose(out, loop.at(positions / 4), atol=1e-6)


def test_a_million_bars_leave_no_trace() -> None:
    beats = beats_of(128)
    voice = Voice(Looper("a", beats=Fraction(7, 3)), UNIT)
    run(voice, wave(beats), beats, [(0, Action.RECORD)])
    memory = voice.nbytes
    late = 4_000_000.0 + beats_of(64, 16)
    out, _ = run(voice, np.zeros((64, D), np.float32), late)
    exact = [float((Fraction(beat) / Fraction(7, 3)) % 1) for beat in late.tolist()]
    drift = np.abs((voice.phase_at(late) - np.array(exact) + 0.5) % 1 - 0.5)
    assert drift.max() * 7 / 3 < 1e-8
    assert (voice.nbytes, len(voice.past)) == (memory, 1)
    np.testing.assert_allclose(out, voice.content.layer.at(np.array(exact)), atol=1e-5)


def test_while_the_song_stands_still_nothing_is_written() -> None:
    beats = np.concatenate([beats_of(64), np.full(50, 2.0), beats_of(64, 32, 2.0)])
    voice = Voice(Looper("a", beats=4), UNIT)
    run(voice, wave(np.arange(len(beats)) / 32.0), beats, [(0, Action.RECORD)])
    run(voice, wave(beats[:1]), np.array([4.0]))
    assert len(voice.content.layer) == 128


# --- writing over ---------------------------------------------------------------------------------------------------


def recorded(**settings) -> tuple[Voice, np.ndarray]:
    beats = beats_of(128)
    voice = Voice(Looper("a", beats=4, **settings), UNIT)
    run(voice, wave(beats), beats, [(0, Action.RECORD)])
    return voice, wave(beats)


def test_overdub_blends_and_feedback_fades() -> None:
    voice, old = recorded(overdub=0.25, feedback=0.5)
    beats = beats_of(384, 32, 4)
    new = wave(beats) + 5
    out, _ = run(voice, new, beats, [(0, Action.OVERDUB), (256, Action.OVERDUB)])
    first = 0.5 * old + 0.25 * (new[:128] - 0.5 * old)
    second = 0.5 * first + 0.25 * (new[128:256] - 0.5 * first)
    np.testing.assert_allclose(out[:128], first, atol=1e-5)
    np.testing.assert_allclose(out[128:256], second, atol=1e-5)
    np.testing.assert_allclose(out[256:384], second, atol=1e-5)
    assert voice.state is State.PLAYING


def test_replace_and_substitute() -> None:
    for action, heard_while in ((Action.REPLACE, "new"), (Action.SUBSTITUTE, "old")):
        voice, old = recorded(quantise="beat")
        beats = beats_of(256, 32, 4)
        new = wave(beats) + 5
        out, _ = run(voice, new, beats, [(32, action), (64, action)])
        np.testing.assert_array_equal(out[:32], old[:32])
        np.testing.assert_array_equal(out[32:64], new[32:64] if heard_while == "new" else old[32:64])
        np.testing.assert_array_equal(out[64:128], old[64:128])
        np.testing.assert_array_equal(out[128 + 33 : 128 + 64], new[33:64])
        np.testing.assert_array_equal(out[128 + 64 : 256], old[64:128])


def test_multiply_and_insert_make_the_loop_longer() -> None:
    voice, old = recorded(overdub=1.0, quantise="loop")
    beats = beats_of(32 * 32, 32, 4)
    new = wave(beats) + 5
    out, _ = run(voice, new, beats, [(0, Action.MULTIPLY), (200, Action.MULTIPLY)])
    assert voice.content.beats == 8
    np.testing.assert_allclose(out[256:512], new[:256], atol=1e-6)
    voice, old = recorded(quantise="beat")
    out, _ = run(voice, new, beats, [(64, Action.INSERT), (96, Action.INSERT)])
    assert voice.content.beats == 5
    turn = out[96 + 160 : 96 + 320]
    np.testing.assert_allclose(turn, out[96 + 320 : 96 + 480], atol=1e-6)
    loop = np.concatenate([new[64:96], old[64:], old[:64]])
    np.testing.assert_allclose(out[64 + 160 : 64 + 320], loop, atol=1e-6)


def test_undo_and_redo_go_all_the_way() -> None:
    voice, _ = recorded(overdub=1.0)
    beats = beats_of(128 * 7, 32, 4)
    run(voice, wave(beats[:128]), beats[:128])
    beats = beats[128:]
    states = [voice.content]
    for turn in range(3):
        rows = slice(256 * turn, 256 * turn + 256)
        run(voice, wave(beats[rows]) + turn, beats[rows], [(0, Action.OVERDUB), (128, Action.OVERDUB)])
        states.append(voice.content)
    end = beats[-1:]
    for expected in reversed(states[:-1]):
        run(voice, wave(end), end, [(0, Action.UNDO)])
        assert voice.content is expected
    run(voice, wave(end), end, [(0, Action.UNDO)])
    assert (voice.content, voice.state) == (None, State.EMPTY)
    for expected in states:
        run(voice, wave(end), end, [(0, Action.REDO)])
        assert voice.content is expected
    assert voice.nbytes == sum(content.layer.nbytes for content in states)


def test_the_seam_is_blended() -> None:
    beats = beats_of(320)
    incoming = wave(beats)
    voice = Voice(Looper("a", beats=4, crossfade=1.0), UNIT)
    out, _ = run(voice, incoming, beats, [(0, Action.RECORD)])
    weight = np.arange(32)[:, np.newaxis] / 32
    blended = incoming[128:160] + weight * (incoming[:32] - incoming[128:160])
    np.testing.assert_allclose(out[256:288], blended, atol=1e-5)
    np.testing.assert_array_equal(out[288:], incoming[32:64])
    plain = np.abs(incoming[127] - incoming[0]).max()
    assert np.abs(out[256] - out[255]).max() < plain / 5


# --- on the way out -------------------------------------------------------------------------------------------------


def test_speed_reverse_half_and_double() -> None:
    voice, old = recorded(quantise="none")
    loop = Layer.of(np.arange(128) / 128, old)
    beats = beats_of(512, 32, 4)
    silence = np.zeros((512, D), np.float32)
    actions = [(64, Action.REVERSE), (128, Action.HALF), (256, Action.REVERSE), (320, Action.DOUBLE)]
    out, _ = run(voice, silence, beats, actions)
    steps = np.concatenate([np.full(64, 1), np.full(64, -1), np.full(128, -0.5), np.full(64, 0.5), np.full(192, 1.0)])
    phase = np.concatenate([[0], np.cumsum(steps)[:-1]]) / 128
    np.testing.assert_allclose(out, loop.at(phase), atol=1e-5)
    locked, _ = recorded(locked=True, speed=-2.0)
    out, _ = run(locked, silence, beats)
    np.testing.assert_allclose(out, loop.at(-2 * beats / 4), atol=1e-5)


def test_trigger_and_one_shot() -> None:
    voice, old = recorded()
    beats = beats_of(300, 32, 4)
    silence = np.zeros((300, D), np.float32)
    out, presence = run(voice, silence, beats, [(50, Action.TRIGGER), (100, Action.ONE_SHOT)])
    np.testing.assert_array_equal(out[50:100], old[:50])
    np.testing.assert_array_equal(out[100:228], old)
    assert (presence[228:] == 0).all()
    assert voice.state is State.STOPPED


def test_slices_swing_decay_transpose_freeze_and_mix() -> None:
    beats = beats_of(256, 32, 4)
    silence = np.zeros((256, D), np.float32)
    voice, old = recorded(slices=(2, 0, 1, 1))
    out, _ = run(voice, silence, beats)
    quarters = old.reshape(4, 32, D)
    np.testing.assert_array_equal(out[:128], np.concatenate([quarters[2], quarters[0], quarters[1], quarters[1]]))
    voice, old = recorded(swing=0.625, swing_grid=0.5)
    out, _ = run(voice, silence, beats)
    np.testing.assert_allclose(out[20], old[16], atol=1e-5)  # the second eighth comes at 0.625 of the beat
    voice, old = recorded(decay=0.5)
    out, _ = run(voice, silence, beats)
    np.testing.assert_allclose(out[:128], old * 0.5, atol=1e-6)
    np.testing.assert_allclose(out[128:], old * 0.25, atol=1e-6)
    voice, old = recorded(transpose=(1.0, -2.0))
    out, _ = run(voice, silence, beats)
    np.testing.assert_allclose(out[:128], old + np.array([1, -2, 0]), atol=1e-6)
    voice, old = recorded(frozen=(1,))
    out, _ = run(voice, silence, beats, [(10, Action.FREEZE), (40, Action.FREEZE)])
    assert (out[10:40, 1] == old[10, 1]).all()
    np.testing.assert_array_equal(out[10:40, 0], old[10:40, 0])
    np.testing.assert_array_equal(out[40:128], old[40:])
    voice, old = recorded(mix=0.25)
    out, _ = run(voice, silence + 1, beats)
    np.testing.assert_allclose(out[:128], 1 + 0.25 * (old - 1), atol=1e-6)


def test_morph_goes_to_the_loop_before_the_last_change() -> None:
    beats = beats_of(512, 32, 4)
    for morph, interpolation in ((0.25, "linear"), (1.0, "linear"), (1.0, "spherical")):
        voice, old = recorded(overdub=1.0, interpolation=interpolation)
        new = wave(beats) + 5
        run(voice, new[:256], beats[:256], [(0, Action.OVERDUB), (128, Action.OVERDUB)])
        voice.set(float(beats[256]), morph=morph)
        out, _ = run(voice, new[256:384], beats[256:384])
        np.testing.assert_allclose(out, new[:128] + morph * (old - new[:128]), atol=2e-5)


def test_mutation_is_new_each_pass_and_the_same_each_time() -> None:
    beats = beats_of(256, 32, 4)
    silence = np.zeros((256, D), np.float32)
    outs = []
    for seed in (1, 1, 2):
        voice, old = recorded(mutate=0.5, seed=seed)
        outs.append(run(voice, silence, beats)[0])
    np.testing.assert_array_equal(outs[0], outs[1])
    assert np.abs(outs[0] - outs[2]).mean() > 0.2
    assert np.abs(outs[0][:128] - outs[0][128:]).mean() > 0.2
    assert (outs[0][:128] - old).std() == pytest.approx(0.5, rel=0.15)


def test_stop_mute_and_clear() -> None:
    voice, old = recorded(quantise="none")
    beats = beats_of(128, 32, 4)
    live = wave(beats) + 9
    out, presence = run(
        voice, live, beats, [(10, Action.MUTE), (20, Action.MUTE), (30, Action.STOP), (40, Action.PLAY)]
    )
    for rows, loop in ((slice(0, 10), True), (slice(10, 20), False), (slice(20, 30), True), (slice(30, 40), False)):
        np.testing.assert_array_equal(out[rows], old[rows] if loop else live[rows])
        assert (presence[rows] == loop).all()
    np.testing.assert_array_equal(out[40:], old[40:])
    run(voice, live, beats, [(0, Action.CLEAR)])
    assert voice.state is State.EMPTY


# --- cutting and saving ---------------------------------------------------------------------------------------------

actions = st.lists(st.tuples(st.integers(0, 399), st.sampled_from(list(Action))), max_size=14).map(
    lambda rows: sorted(rows, key=lambda row: row[0])
)
loopers = st.builds(
    Looper,
    st.just("a"),
    beats=st.sampled_from([None, Fraction(1, 4), 1, Fraction(7, 3), 4]),
    quantise=st.sampled_from(["none", "beat", "bar", "loop"]),
    round_to=st.sampled_from(["free", "beat", "bar"]),
    overdub=st.sampled_from([0.0, 0.5, 1.0]),
    feedback=st.sampled_from([0.5, 1.0]),
    speed=st.sampled_from([1.0, -1.0, 0.5, 1.7]),
    crossfade=st.sampled_from([0.0, 0.5]),
    locked=st.booleans(),
    threshold=st.sampled_from([0.0, 0.4]),
)


def positions(jumps: list[tuple[int, float]]) -> np.ndarray:
    """400 frames of a song, located elsewhere now and then."""
    beats = beats_of(400, 23.7)
    for row, beat in jumps:
        beats[row:] += beat - beats[row]
    return beats


@settings(deadline=None, max_examples=150)
@given(
    looper=loopers,
    rows=actions,
    cuts=st.lists(st.integers(1, 399), max_size=12),
    jumps=st.lists(st.tuples(st.integers(1, 399), st.floats(-8, 40)), max_size=3),
)
def test_any_cutting_gives_the_same_frames_and_the_same_state(looper, rows, cuts, jumps) -> None:
    beats = positions(jumps)
    incoming = wave(np.arange(400) / 10)
    loudness = (np.sin(np.arange(400) / 7) + 1) / 2
    whole, parts = Voice(looper, UNIT), Voice(looper, UNIT)
    out, presence = run(whole, incoming, beats, rows, loudness=loudness)
    out_cut, presence_cut = run(parts, incoming, beats, rows, loudness=loudness, cuts=set(cuts))
    np.testing.assert_array_equal(out, out_cut)
    np.testing.assert_array_equal(presence, presence_cut)
    assert whole.to_bytes() == parts.to_bytes()
    assert np.isfinite(out).all()


@settings(deadline=None, max_examples=100)
@given(looper=loopers, rows=actions, cut=st.integers(1, 399))
def test_saved_in_the_middle_of_anything_it_goes_on_the_same(looper, rows, cut) -> None:
    beats = positions([])
    incoming = wave(np.arange(400) / 10)
    voice = Voice(looper, UNIT)
    run(voice, incoming[:cut], beats[:cut], [row for row in rows if row[0] < cut])
    other = Voice(Looper("b"), UNIT)
    other.restore(voice.to_bytes())
    assert other.to_bytes() == voice.to_bytes()
    rest = [(row - cut, action) for row, action in rows if row >= cut]
    one, two = (run(v, incoming[cut:], beats[cut:], rest)[0] for v in (voice, other))
    np.testing.assert_array_equal(one, two)
    assert other.to_bytes() == voice.to_bytes()


@pytest.mark.parametrize("damage", [b"", b"\0" * 8, b"\xff" * 100, "cut", "flip"])
def test_a_damaged_state_is_refused_and_changes_nothing(damage) -> None:
    voice, _ = recorded()
    data = voice.to_bytes()
    if damage == "cut":
        damage = data[:-40]
    elif damage == "flip":
        damage = data.replace(b'"mode"', b'"node"')
    with pytest.raises(InputError, match="state"):
        voice.restore(damage)
    assert voice.to_bytes() == data


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"beats": 0}, "has 0 beats, expected 1/16 to 256"),
        ({"beats": 257}, "has 257 beats"),
        ({"speed": 5}, "has speed=5, expected -4 to 4"),
        ({"quantise": "tick"}, "has quantise='tick', expected one of none, beat, bar, loop"),
        ({"slices": (0, 3)}, "has slices"),
        ({"layer": Layer.of(np.zeros(1), np.zeros((1, D)))}, "does not say how many beats"),
    ],
)
def test_settings_that_cannot_be_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Looper("a", **arguments)
    with pytest.raises(InputError, match="has no setting 'spede', expected one of beats"):
        Looper("a").with_settings({"spede": 1})


# --- the host's loop ------------------------------------------------------------------------------------------------


def cycling(turns: int, length: float, per_beat: float = 32) -> np.ndarray:
    """The beats of a host that plays its loop [0, length) over and over."""
    return np.tile(np.arange(round(length * per_beat)) / per_beat, turns)


@pytest.mark.parametrize("cuts", [(), (1, 5, 63, 64, 65, 128, 200), tuple(range(1, 320))])
def test_a_recording_goes_on_over_the_seam_of_the_hosts_loop(cuts) -> None:
    """Begun at beat 1 of 4, three beats long and a half more: the end lies in the host's next turn."""
    beats = cycling(3, 4.0)
    incoming = wave(np.arange(len(beats)) / 32)
    voice = Voice(Looper("a", beats=3.5, quantise="none"), UNIT)
    out, presence = run(voice, incoming, beats, [(32, Action.RECORD)], cuts=cuts)
    recorded = slice(32, 32 + 112)
    assert (presence[32:144] == 0).all()
    assert (presence[144:] == 1).all()
    np.testing.assert_array_equal(out[144 : 144 + 112], incoming[recorded])


@pytest.mark.parametrize("quantise", ["bar", "loop"])
def test_what_waits_for_a_bar_beyond_the_hosts_loop_begins_with_it(quantise) -> None:
    """A host that loops two beats never comes to the next bar: its own beginning is one."""
    beats = cycling(4, 2.0)
    incoming = wave(np.arange(len(beats)) / 32)
    voice = Voice(Looper("a", beats=2, quantise=quantise), UNIT)
    out, presence = run(voice, incoming, beats, [(32, Action.RECORD)])
    assert (presence[:128] == 0).all()
    assert (presence[128:] == 1).all()
    np.testing.assert_array_equal(out[128:192], incoming[64:128])


@pytest.mark.parametrize("action", [a for a in Action if a not in (Action.RECORD, Action.MUTE)])
def test_nothing_comes_of_an_empty_loop(action) -> None:
    beats = beats_of(256)
    voice, fresh = (Voice(Looper("a"), UNIT) for _ in range(2))
    out, presence = run(voice, wave(beats), beats, [(10, action)])
    run(fresh, wave(beats), beats)
    np.testing.assert_array_equal(out, wave(beats))
    assert not presence.any()
    assert voice.to_bytes() == fresh.to_bytes()


def test_an_armed_recording_can_be_called_off() -> None:
    beats = beats_of(256)
    voice = Voice(Looper("a", beats=2), UNIT)
    _, presence = run(voice, wave(beats), beats, [(10, Action.RECORD), (20, Action.STOP)])
    assert voice.state is State.EMPTY
    assert not presence.any()


def test_a_phase_just_below_zero_is_a_phase() -> None:
    """-1e-17 % 1 is 1 in floating point."""
    assert wrapped(np.array([-1e-17, 0.0, 1.0, 2.25, -0.25])).tolist() == [0, 0, 0, 0.25, 0.75]
    loop = Layer.of(np.arange(8) / 8, np.ones((8, D)))
    voice = Voice(Looper("a", quantise="none", speed=-1.0).holding(loop, 4), UNIT)
    beats = np.array([0.0, 1e-17, 2e-17, 3.0, 0.0])
    run(voice, wave(beats), beats, [(0, Action.OVERDUB), (4, Action.PLAY)])
    assert voice.state is State.PLAYING


@pytest.mark.parametrize(
    ("action", "held", "length"), [(Action.RECORD, None, 256), (Action.INSERT, 100, 256), (Action.MULTIPLY, 100, 200)]
)
def test_no_loop_grows_beyond_the_longest(action, held, length) -> None:
    """A recording that nobody ends does not fill the memory."""
    looper = Looper("a", quantise="none")
    if held:
        looper = looper.holding(Layer.of(np.arange(50) / 50, np.ones((50, D))), held)
    voice = Voice(looper, UNIT)
    beats = beats_of(300 * 4, per_beat=4)
    run(voice, wave(beats), beats, [(0, action)])
    assert voice.state is State.PLAYING
    assert voice.value.beats == length
    assert voice._pending == []
