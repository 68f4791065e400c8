"""A looper at work: it plays, records and transforms, run of frames by run of frames.

Everything follows from the frames' beats. The phase is computed for each frame from the beat and the place where speed
or direction last changed; nothing is added up, so that locates, host loops, tempo ramps and a million bars leave no
trace. What is written in a pass goes beside the loop and is put into it when the pass is over: what a frame hears
depends on the pass before alone, and so on no way of cutting the frames into blocks.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, Final, NamedTuple

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from terrain_core.breakpoints import Doubles
from terrain_core.engine.effects import normal_by_frame
from terrain_core.errors import InputError
from terrain_core.looper.layer import Layer, Loudness, Vectors, slerp, wrapped
from terrain_core.looper.looper import LONGEST, SHORTEST, SILENT_DB, Action, Looper, State, Statistics

NEAR: Final = 1e-9
"""Beats: nearer than this is at the same time."""

JUMP: Final = 1.0
"""Beats from one frame to the next beyond which the song was located elsewhere; no tempo goes so fast."""

WRITING: Final = {
    Action.RECORD: State.RECORDING,
    Action.OVERDUB: State.OVERDUBBING,
    Action.REPLACE: State.REPLACING,
    Action.SUBSTITUTE: State.SUBSTITUTING,
    Action.MULTIPLY: State.MULTIPLYING,
    Action.INSERT: State.INSERTING,
}
IN_PASSES: Final = {State.OVERDUBBING, State.REPLACING, State.SUBSTITUTING}
AT_ONCE: Final = {Action.MUTE, Action.UNDO, Action.REDO, Action.CLEAR, Action.TRIGGER, Action.ONE_SHOT, Action.FREEZE}
"""Actions that wait for nothing; the others wait for what `Looper.quantise` says."""

FOR_AN_EMPTY_LOOP: Final = {Action.RECORD, Action.MUTE, Action.UNDO, Action.REDO}
"""Actions that mean something where there is nothing."""

LOUDEST: Final = np.float32(10 ** (12 / 20))
"""What a loop's level makes of it at the most."""

FINISH, BLEND = "finish", "blend"
"""What a looper does by itself at a certain beat: end a recording of fixed length, blend the seam."""


class Content(NamedTuple):
    """A loop: what is on the circle, how many beats it takes, and at which beat it begins."""

    layer: Layer
    beats: float
    origin: float


class Hold(NamedTuple):
    """A switch for something that goes on until it is switched off, such as RECORD or OVERDUB."""

    action: Action
    on: bool


class Cue(NamedTuple):
    """What happens at a frame: an action, a switch, or settings with their new values. `beat` is when it was meant,
    between the frame before and this one; None: at the frame.
    """

    row: int
    what: Action | Hold | Mapping[str, Any]
    beat: float | None = None


@dataclass
class Take:
    """What is being written. `phase` and `rate` (turns a beat) are those of its beginning."""

    beat: float
    phase: float
    rate: float
    beats: list[float] = field(default_factory=list)
    vectors: list[Vectors] = field(default_factory=list)
    loudness: list[float] = field(default_factory=list)

    def add(self, beats: Doubles, vectors: Vectors, loudness: Loudness) -> None:
        """Take in frames; those during which the song stands still are left out."""
        last = self.beats[-1] if self.beats else -math.inf
        for beat, vector, loud in zip(beats.tolist(), vectors, loudness.tolist(), strict=True):
            if beat != last:
                self.beats.append(beat)
                self.vectors.append(vector.copy())
                self.loudness.append(loud)
                last = beat

    def shift(self, beats: float) -> None:
        """Move it in the song."""
        self.beat += beats
        self.beats = [beat + beats for beat in self.beats]

    def layer(self, phases: Doubles, rows: NDArray[np.bool_] | slice = slice(None)) -> Layer:
        """Those of its frames as a layer, at phases of their own."""
        return Layer.of(phases[rows], np.stack(self.vectors)[rows], np.array(self.loudness, np.float32)[rows])


def crossfaded(
    first: Vectors, first_loud: Loudness, second: Vectors, second_loud: Loudness, share: float | Doubles
) -> tuple[Vectors, Loudness]:
    """So much (0..1) of the second, the rest of the first: vectors (n, D) by their share and their loudness, so that
    what is silent leaves no trace; loudness (n,) by the share.
    """
    shares: Doubles = np.broadcast_to(np.asarray(share, dtype=np.float64), first_loud.shape)
    late: Doubles = shares * second_loud
    total: Doubles = (1 - shares) * first_loud + late
    part = np.divide(late, total, out=shares.copy(), where=total > 0).astype(np.float32)
    return first + part[:, np.newaxis] * (second - first), total.astype(np.float32)


class Voice:
    """Plays one looper. Vectors are latents (or coordinates); `statistics` are theirs."""

    def __init__(self, looper: Looper, statistics: Statistics) -> None:
        self.looper = replace(looper, layer=None)
        self.statistics = statistics
        self.content = (
            Content(looper.layer, float(looper.beats or 0), looper.origin) if looper.layer is not None else None
        )
        self.mode = State.PLAYING if self.content else State.EMPTY
        self.muted = looper.muted
        self.backwards = False
        self.gear = 1.0
        """What HALF and DOUBLE made of the speed."""
        self.past: list[Content | None] = []
        self.future: list[Content | None] = []
        self._pending: list[tuple[float, Action | str]] = []
        self._anchor = (looper.origin, 0.0)  # beat, phase
        self._take: Take | None = None
        self._tail: Take | None = None
        self._shot_from: float | None = None
        self._waits_for_sound = False
        self._held: Vectors | None = None
        self._last_beat: float | None = None
        self._last_step = 0.0

    # --- what others may know -------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """What it is doing, or waiting to do."""
        waiting = [what for _, what in self._pending if isinstance(what, Action)]
        if waiting or self._waits_for_sound:
            stopping = self._take is not None or any(what in (Action.STOP, Action.PLAY) for what in waiting)
            return State.WAIT_STOP if stopping and not self._waits_for_sound else State.WAIT_START
        return self.mode

    @property
    def value(self) -> Looper:
        """The looper with its settings and its loop as they are now."""
        if self.content is None:
            return replace(self.looper, layer=None)
        layer, beats, origin = self.content
        exact = Fraction(beats).limit_denominator(1 << 20)
        return replace(self.looper, layer=layer, beats=exact, origin=origin, muted=self.muted)

    @property
    def nbytes(self) -> int:
        """Memory of the loop and of all that can be undone and redone; layers that are shared count once."""
        contents = [self.content, *self.past, *self.future]
        return sum({id(c.layer): c.layer.nbytes for c in contents if c is not None}.values())

    def phase_at(self, beats: Doubles | float) -> Doubles:
        """Where in the loop it is at beats, 0..1; 0 without a loop."""
        beats = np.asarray(beats, dtype=np.float64)
        if self.content is None:
            return np.zeros_like(beats)
        if self.looper.locked:
            return wrapped((beats - self.content.origin) * self._rate)
        beat, phase = self._anchor
        return wrapped(phase + (beats - beat) * self._rate)

    @property
    def _rate(self) -> float:
        """Turns a beat."""
        if self.content is None:
            return 0.0
        speed = self.looper.speed * self.gear
        return (-speed if self.backwards else speed) / self.content.beats

    # --- settings and actions -------------------------------------------------------------------------------------

    def set(self, beat: float, **settings: Any) -> None:
        """Change settings at a beat. A loop that is not locked to the song goes on from where it is; another number of
        beats counts from the next recording on.
        """
        if "speed" in settings and settings["speed"] != self.looper.speed:
            self._anchor_at(beat)
        self.muted = settings.get("muted", self.muted)
        self.looper = self.looper.with_settings(settings)

    def process(
        self,
        incoming: Vectors,
        beats: Doubles,
        bars: Doubles,
        cues: Sequence[Cue] = (),
        loudness: Loudness | None = None,
        heard: Doubles | None = None,
    ) -> tuple[Vectors, Doubles, Loudness]:
        """The next frames.

        Args:
            incoming: shape (n, D).
            beats: shape (n,), the song's position at each frame.
            bars: shape (n, 2), the beat at which each frame's bar began, and the bar's length in beats.
            cues: in order of their frames.
            loudness: shape (n,), how loud what comes in is; 1 if None.
            heard: shape (n,), what `Looper.threshold` is compared with; the loudness if None.
        Returns:
            what comes out, shape (n, D); how much of it is the loop, shape (n,), 0..1; and how loud it is, shape (n,).
        """
        loudness = np.ones(len(incoming), np.float32) if loudness is None else loudness
        if not cues and self._nothing_can_begin:
            self._pass_by(beats)
            return self._run(incoming, loudness, beats)
        heard = loudness.astype(np.float64) if heard is None else heard
        out, loud = incoming.copy(), loudness.copy()
        presence = np.zeros(len(incoming))
        row = 0
        waiting = list(cues)
        while row < len(incoming):
            beat = float(beats[row])
            self._follow(beat, bars[row])
            while waiting and waiting[0].row <= row:
                self._take_in(waiting.pop(0), beat, bars[row])
            self._do_what_is_due(beat)
            if self._waits_for_sound and heard[row] > self.looper.threshold:
                self._waits_for_sound = False
                self._begin(Action.RECORD, beat)
            end = self._end_of_run(row, beats, waiting, heard)
            rows = slice(row, end)
            out[rows], presence[rows], loud[rows] = self._run(incoming[rows], loudness[rows], beats[rows])
            self._pass_by(beats[rows])
            row = end
        return out, presence, loud

    @property
    def rests(self) -> bool:
        """Whether nothing comes of it, and nothing will without a cue."""
        return self._nothing_can_begin and (self.content is None or self.mode in (State.EMPTY, State.STOPPED))

    @property
    def _nothing_can_begin(self) -> bool:
        """Whether it just plays, or is silent, and goes on doing so whatever the beats are."""
        return not (self._pending or self._take or self._tail or self._waits_for_sound or self._shot_from is not None)

    def _pass_by(self, beats: Doubles) -> None:
        before = self._last_beat if len(beats) == 1 else float(beats[-2])
        self._last_beat = float(beats[-1])
        self._last_step = 0.0 if before is None else min(max(self._last_beat - before, 0.0), JUMP)

    def _follow(self, beat: float, bar: Doubles) -> None:
        """Notice that the song was located elsewhere, or that the host's loop begins again. A recording goes on, and
        what is due in it comes as late as before; a pass that is being overdubbed is cut there; what waits for a beat
        or bar waits for the next one.
        """
        last = self._last_beat
        if last is None or 0 <= beat - last <= JUMP:
            return
        if self.mode in IN_PASSES and self._take is not None:
            self._put_in(whole=False)
            self._take = Take(beat, float(self.phase_at(beat)), self._rate)
        shift = beat - (last + self._last_step)  # as if the song had gone on to here
        writes = self._take is not None and self.mode not in IN_PASSES
        for take in (self._take if writes else None, self._tail):
            if take is not None:
                take.shift(shift)
        self._pending = [
            (due + shift, what)
            if writes or not isinstance(what, Action) or due <= last + self._last_step + NEAR
            else (self._boundary(beat, bar, self.looper.quantise), what)
            for due, what in self._pending
        ]
        if self._shot_from is not None:
            self._shot_from += shift

    def _end_of_run(self, row: int, beats: Doubles, waiting: Sequence[Cue], heard: Doubles) -> int:
        """The first frame after `row` at which something else begins."""
        ends = [len(beats), *(cue.row for cue in waiting[:1])]
        later = beats[row + 1 :]
        steps = np.diff(beats[row:])
        tests = [(steps < 0) | (steps > JUMP)]
        tests += [later >= due - NEAR for due, _ in self._pending]
        if self.mode in IN_PASSES and self._take is not None:
            tests.append(np.abs((later - self._take.beat) * self._take.rate) >= 1 - NEAR)
        if self._shot_from is not None:
            tests.append(np.abs((later - self._shot_from) * self._rate) >= 1 - NEAR)
        if self._waits_for_sound:
            tests.append(heard[row + 1 :] > self.looper.threshold)
        for test in tests:
            found = np.flatnonzero(test)
            if found.size:
                ends.append(row + 1 + int(found[0]))
        return max(min(ends), row + 1)

    # --- waiting --------------------------------------------------------------------------------------------------

    def _take_in(self, cue: Cue, at: float, bar: Doubles) -> None:
        beat = at if cue.beat is None else cue.beat
        if isinstance(cue.what, Action):
            self._request(cue.what, beat, bar)
        elif isinstance(cue.what, Hold):
            self._hold(*cue.what, beat, bar)
        else:
            self.set(at, **cue.what)

    def _hold(self, action: Action, on: bool, beat: float, bar: Doubles) -> None:
        """Begin unless it does already, or is about to; end if it does, and forget it if it was about to."""
        begun = self.mode is WRITING[action] or (action is Action.RECORD and self._waits_for_sound)
        about_to = any(what is action for _, what in self._pending)
        if on and not begun and not about_to:
            self._request(action, beat, bar)
        elif not on and self._waits_for_sound:
            self._waits_for_sound = False
        elif not on and begun:
            self._request(Action.PLAY, beat, bar)
        elif not on and about_to:
            self._pending = [entry for entry in self._pending if entry[1] is not action]

    def _request(self, action: Action, beat: float, bar: Doubles) -> None:
        if self.content is None and self._take is None and action not in FOR_AN_EMPTY_LOOP:
            if action in (Action.STOP, Action.PLAY):  # what is armed is called off
                self._waits_for_sound = False
                self._pending = [entry for entry in self._pending if not isinstance(entry[1], Action)]
            return
        if action in AT_ONCE:
            self._do(action, beat)
            return
        due = self._boundary(beat, bar, self.looper.quantise)
        if action is Action.RECORD and self.mode is State.RECORDING:
            due = self._rounded_end(beat, bar)
        elif action is Action.RECORD:
            due += self.looper.count_in
        elif self.mode is State.MULTIPLYING and self._take is not None and self.content is not None:
            turns = math.ceil((beat - self._take.beat) / self.content.beats - NEAR)
            due = self._take.beat + max(turns, 1) * self.content.beats
        elif self.mode is State.RECORDING:
            due = self._rounded_end(beat, bar)
        self._pending.append((due, action))

    def _boundary(self, beat: float, bar: Doubles, unit: str) -> float:
        """The next beat, bar or beginning of the loop, or now."""
        start, length = float(bar[0]), float(bar[1])
        if unit == "beat":
            start, length = math.floor(beat), 1.0
        elif unit == "loop" and self.content is not None:
            start, length = self.content.origin, self.content.beats / max(abs(self.looper.speed * self.gear), 1e-6)
        elif unit == "none":
            return beat
        return start + math.ceil((beat - start) / length - NEAR) * length

    def _rounded_end(self, beat: float, bar: Doubles) -> float:
        """When a recording ends that is told to at `beat`."""
        assert self._take is not None
        played = beat - self._take.beat
        unit = {"free": 0.0, "beat": 1.0, "bar": float(bar[1]), "loop": float(bar[1])}[self.looper.round_to]
        if self.looper.round_to == "loop" and self.past and self.past[-1] is not None:
            unit = self.past[-1].beats
        if unit == 0.0:
            return self._take.beat + max(played, float(SHORTEST))
        return self._take.beat + max(math.ceil(played / unit - NEAR), 1) * unit

    def _do_what_is_due(self, beat: float) -> None:
        while True:
            due = [entry for entry in self._pending if entry[0] <= beat + NEAR]
            if self.mode in IN_PASSES and self._take is not None:
                travelled = abs((beat - self._take.beat) * self._take.rate)
                if travelled >= 1 - NEAR:
                    again = self._take.beat + 1 / abs(self._take.rate)
                    self._put_in(whole=True)
                    self._take = Take(again, float(self.phase_at(again)), self._rate)
            if self._shot_from is not None and abs((beat - self._shot_from) * self._rate) >= 1 - NEAR:
                self._shot_from = None
                self.mode = State.STOPPED
            if not due:
                return
            entry = min(due, key=lambda row: row[0])
            self._pending.remove(entry)
            when, what = entry
            if what == BLEND:
                self._blend_the_seam()
            else:
                self._do(Action.PLAY if what == FINISH else what, when if beat - when <= JUMP else beat)

    # --- doing ----------------------------------------------------------------------------------------------------

    def _do(self, action: Action | str, beat: float) -> None:
        assert isinstance(action, Action)
        if action in WRITING:
            if self.mode is WRITING[action]:  # again: it ends
                self._finish(beat)
            else:
                self._finish(beat)
                if action is Action.RECORD and self.looper.threshold > 0:
                    self._waits_for_sound = True
                else:
                    self._begin(action, beat)
        elif action is Action.PLAY:
            self._finish(beat)
            if self.content is not None:
                self.mode = State.PLAYING
        elif action is Action.STOP:
            self._finish(beat)
            self.mode = State.STOPPED if self.content else State.EMPTY
        elif action is Action.MUTE:
            self.muted = not self.muted
        elif action in (Action.UNDO, Action.REDO):
            self._step_in_history(action, beat)
        elif action is Action.CLEAR:
            self._remember()
            self.content, self._take, self._tail, self._pending = None, None, None, []
            self.mode = State.EMPTY
        elif action in (Action.TRIGGER, Action.ONE_SHOT):
            self._trigger(beat, once=action is Action.ONE_SHOT or self.looper.one_shot)
        elif action is Action.FREEZE:
            frozen = self._held is None and self.content is not None
            self._held = self._read(self.phase_at(np.array([beat])), np.array([beat]))[0][0] if frozen else None
        else:  # reverse, half, double
            self._anchor_at(beat)
            if action is Action.REVERSE:
                self.backwards = not self.backwards
            else:
                gear = self.gear * (0.5 if action is Action.HALF else 2.0)
                self.gear = gear if 1 / 16 <= abs(gear) <= 16 else self.gear

    def _begin(self, action: Action, beat: float) -> None:
        if action is not Action.RECORD and self.content is None:
            return  # there is nothing to write into
        self._remember()
        self._take = Take(beat, float(self.phase_at(beat)), self._rate)
        self.mode = WRITING[action]
        if action is Action.RECORD:
            self._tail = None
            self._held = None
        longest = self._longest(action)
        if longest is not None:
            self._pending.append((beat + longest, FINISH))

    def _longest(self, action: Action) -> float | None:
        """After how many beats a recording ends by itself."""
        most = float(LONGEST)
        if action is Action.RECORD:
            return most if self.looper.beats is None else float(self.looper.beats)
        assert self.content is not None
        if action is Action.INSERT:
            return max(most - self.content.beats, 0.0)
        return max(most // self.content.beats, 1.0) * self.content.beats if action is Action.MULTIPLY else None

    def _finish(self, beat: float) -> None:
        """End whatever is being written, at `beat`."""
        take, mode = self._take, self.mode
        if take is None:
            return
        self._pending = [entry for entry in self._pending if entry[1] != FINISH]
        if mode is State.RECORDING:
            self._close_recording(take, beat)
        elif mode is State.MULTIPLYING:
            self._close_multiplication(take, beat)
        elif mode is State.INSERTING:
            self._close_insertion(take, beat)
        else:
            self._put_in(whole=False)
        self._take = None
        self.mode = State.PLAYING if self.content else State.EMPTY

    def _close_recording(self, take: Take, beat: float) -> None:
        length = max(beat - take.beat, float(SHORTEST))
        rows = [i for i, at in enumerate(take.beats) if at - take.beat < length - NEAR]
        if not rows:
            self.content = self.past.pop() if self.past else None
            return
        chosen = np.isin(np.arange(len(take.beats)), rows)
        phases = wrapped((np.array(take.beats) - take.beat) / length)
        self.content = Content(take.layer(phases, chosen), length, take.beat)
        self._anchor = (take.beat, 0.0)
        self.backwards, self.gear = False, 1.0
        if self.looper.crossfade > 0:
            self._tail = Take(take.beat + length, 0.0, 1 / length)
            self._pending.append((take.beat + length + min(self.looper.crossfade, length), BLEND))

    def _blend_the_seam(self) -> None:
        """What was played on after the end goes over into the beginning."""
        tail, content = self._tail, self.content
        self._tail = None
        if tail is None or content is None or not tail.beats:
            return
        width = min(self.looper.crossfade, content.beats) / content.beats
        after = tail.layer(wrapped((np.array(tail.beats) - tail.beat) * tail.rate))
        within = content.layer.phases < width
        phases = content.layer.phases[within]
        vectors, loud = content.layer.vectors.copy(), content.layer.loud.copy()
        vectors[within], loud[within] = crossfaded(
            after.at(phases), after.loudness_at(phases), vectors[within], loud[within], phases / width
        )
        self.content = content._replace(layer=Layer.of(content.layer.phases, vectors, loud))

    def _close_multiplication(self, take: Take, beat: float) -> None:
        assert self.content is not None
        turns = max(round((beat - take.beat) / self.content.beats), 1)
        layer, length = self.content.layer, self.content.beats * turns
        # The loop begins anew where the multiplication did.
        self._write_over(layer.turned(take.phase).tiled(turns), take, length)

    def _write_over(self, layer: Layer, take: Take, length: float) -> None:
        """A loop of `length` beats that begins with the take, the take written over it."""
        if take.beats:
            phases = (np.array(take.beats) - take.beat) / length
            inside = (phases >= 0) & (phases < 1)
            if inside.any():
                new = take.layer(phases, inside)
                layer = layer.replaced(0.0, float(min(new.phases[-1] + NEAR, 1.0)), new)
        self.content = Content(layer, length, take.beat)
        self._anchor = (take.beat, 0.0)
        self.backwards, self.gear = False, 1.0

    def _close_insertion(self, take: Take, beat: float) -> None:
        assert self.content is not None
        added = beat - take.beat
        if added < float(SHORTEST) or not take.beats:
            return
        length = self.content.beats + added
        # The loop begins where the insertion did: first what is new, then all that was there.
        there = self.content.layer
        old = wrapped(there.phases - take.phase) * self.content.beats + added
        new = np.array(take.beats) - take.beat
        inside = (new >= 0) & (new < added - NEAR)
        layer = Layer.of(
            wrapped(np.concatenate([new[inside], old]) / length),
            np.concatenate([np.stack(take.vectors)[inside], there.vectors]),
            np.concatenate([np.array(take.loudness, np.float32)[inside], there.loud]),
        )
        self.content = Content(layer, length, take.beat)
        self._anchor = (take.beat, 0.0)
        self.backwards, self.gear = False, 1.0

    def _put_in(self, *, whole: bool) -> None:
        """Put what was written since the pass began into the loop; `whole`: that was all the way round."""
        take, content = self._take, self.content
        if take is None or content is None or not take.beats:
            return
        turns = (np.array(take.beats) - take.beat) * take.rate
        new = take.layer(wrapped(take.phase + turns))
        span = 1.0 if whole else float(turns[-1])
        self.content = content._replace(layer=content.layer.replaced(take.phase, span, new))

    def _remember(self) -> None:
        self.past.append(self.content)
        self.future.clear()

    def _step_in_history(self, action: Action, beat: float) -> None:
        here, there = (self.past, self.future) if action is Action.UNDO else (self.future, self.past)
        self._take = self._tail = None
        self._pending = [entry for entry in self._pending if isinstance(entry[1], Action)]
        if here:
            there.append(self.content)
            phase = float(self.phase_at(beat))
            self.content = here.pop()
            same = self.content is not None and not self.looper.locked
            self._anchor = (beat, phase) if same else (self.content.origin if self.content else 0.0, 0.0)
        self.mode = State.PLAYING if self.content else State.EMPTY

    def _trigger(self, beat: float, *, once: bool) -> None:
        self._finish(beat)
        if self.content is None:
            return
        self._anchor = (beat, 0.0)
        if self.looper.locked:
            self.content = self.content._replace(origin=beat)
        self.mode = State.PLAYING
        self._shot_from = beat if once else None

    def _anchor_at(self, beat: float) -> None:
        self._anchor = (beat, float(self.phase_at(beat)))

    # --- sound ----------------------------------------------------------------------------------------------------

    def _run(self, incoming: Vectors, loudness: Loudness, beats: Doubles) -> tuple[Vectors, Doubles, Loudness]:
        """Frames in which nothing else begins."""
        silent = np.zeros(len(incoming))
        if self._tail is not None:
            self._tail.add(beats, incoming, loudness)
        if self.mode is State.RECORDING or self.mode is State.INSERTING:
            assert self._take is not None
            self._take.add(beats, incoming, loudness)
            return incoming, silent, loudness
        if self.content is None or self.mode in (State.EMPTY, State.STOPPED):
            return incoming, silent, loudness
        phases = self.phase_at(beats)
        if self._take is None:
            heard, loud = self._read(phases, beats)
        else:
            heard, loud = self._write(incoming, loudness, phases, beats)
        if self.muted:
            return incoming, silent, loudness
        if self.looper.level != 0:
            gain = 10 ** (self.looper.level / 20) if self.looper.level > SILENT_DB else 0.0
            loud = np.minimum(loud * np.float32(gain), LOUDEST)  # loops of loops do not add up without end
        mix = self.looper.mix
        if mix == 1.0:
            return heard, silent + 1.0, loud
        out, loud = crossfaded(incoming, loudness, heard, loud, mix)
        return out, silent + mix, loud

    def _write(
        self, incoming: Vectors, loudness: Loudness, phases: Doubles, beats: Doubles
    ) -> tuple[Vectors, Loudness]:
        """Write what comes into the take; returns what is heard."""
        assert self.content is not None
        assert self._take is not None
        if self.mode is State.SUBSTITUTING:
            self._take.add(beats, incoming, loudness)
            return self._read(phases, beats)
        if self.mode is State.REPLACING:
            self._take.add(beats, incoming, loudness)
            return incoming, loudness
        mean, feedback, overdub = self.statistics.mean, np.float32(self.looper.feedback), self.looper.overdub
        old = self.content.layer.at(phases, self.looper.interpolation, mean)
        old_loud = self.content.layer.loudness_at(phases)
        # By their loudness: what is silent says nothing, neither the loop's rests nor a hand that rests.
        blended, _ = crossfaded(mean + feedback * (old - mean), old_loud, incoming, loudness, overdub)
        loud = np.maximum(feedback * old_loud, loudness) if overdub > 0 else feedback * old_loud
        self._take.add(beats, blended, loud)
        return blended, loud

    def _read(self, phases: Doubles, beats: Doubles) -> tuple[Vectors, Loudness]:
        """The loop at phases, with everything that is done to it on the way out."""
        assert self.content is not None
        looper, mean, std = self.looper, self.statistics.mean, self.statistics.std
        places = self._rearranged(phases)
        out = self.content.layer.at(places, looper.interpolation, mean)
        loud = self.content.layer.loudness_at(places)
        before = self.past[-1] if self.past else None
        if looper.morph > 0 and before is not None:
            other = before.layer.at(places, looper.interpolation, mean)
            amount = np.full(len(out), looper.morph, np.float32)
            round_the_mean = looper.interpolation == "spherical"
            out = (
                slerp(out - mean, other - mean, amount) + mean if round_the_mean else out + looper.morph * (other - out)
            )
            loud = loud + amount * (before.layer.loudness_at(places) - loud)
        passes = np.maximum(np.floor((beats - self.content.origin) * abs(self._rate) + NEAR), 0.0)
        if looper.decay > 0:
            kept = (1.0 - looper.decay) ** passes
            out = mean + kept.astype(np.float32)[:, np.newaxis] * (out - mean)
        if looper.mutate > 0:
            numbers = self.content.layer.index_at(places) + passes * len(self.content.layer)
            noise = np.concatenate([normal_by_frame(looper.seed, int(n), 1, out.shape[1]) for n in numbers])
            out = out + np.float32(looper.mutate) * std * noise
        if looper.transpose:
            offset = np.zeros(out.shape[1], np.float32)
            count = min(len(looper.transpose), len(offset))
            offset[:count] = looper.transpose[:count]
            out = out + offset * std
        if self._held is not None:
            columns = list(looper.frozen) or list(range(out.shape[1]))
            out = out.copy()
            out[:, columns] = self._held[columns]
        return out, loud

    def _rearranged(self, phases: Doubles) -> Doubles:
        """Phases after swing and slices."""
        assert self.content is not None
        looper = self.looper
        if looper.swing != 0.5:
            pair = 2 * looper.swing_grid / self.content.beats
            within = phases % pair / pair
            first = within < looper.swing
            warped = np.where(first, within / looper.swing / 2, 0.5 + (within - looper.swing) / (1 - looper.swing) / 2)
            phases = (phases // pair + warped) * pair
        if looper.slices:
            count = len(looper.slices)
            place = np.minimum((phases * count + NEAR).astype(int), count - 1)
            phases = (np.array(looper.slices)[place] + (phases * count - place)) / count
        return wrapped(phases) if looper.slices or looper.swing != 0.5 else phases

    # --- as bytes -------------------------------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """Everything that it remembers, also in the middle of a recording; undone by `restore`."""
        arrays: dict[str, NDArray[Any]] = {}
        layers: dict[int, str] = {}

        def kept(content: Content | None) -> dict[str, Any] | None:
            if content is None:
                return None
            name = layers.get(id(content.layer))
            if name is None:
                name = layers[id(content.layer)] = f"layer{len(layers)}"
                arrays[f"{name}.phases"] = content.layer.phases
                arrays[f"{name}.vectors"] = content.layer.vectors
                if content.layer.loudness is not None:
                    arrays[f"{name}.loudness"] = content.layer.loudness
            return {"layer": name, "beats": content.beats, "origin": content.origin}

        def taken(take: Take | None, name: str) -> dict[str, Any] | None:
            if take is None:
                return None
            arrays[f"{name}.beats"] = np.array(take.beats, dtype=np.float64)
            size = self.statistics.mean.shape[0]
            arrays[f"{name}.vectors"] = np.array(take.vectors, dtype=np.float32).reshape(len(take.beats), size)
            arrays[f"{name}.loudness"] = np.array(take.loudness, dtype=np.float32)
            return {"beat": take.beat, "phase": take.phase, "rate": take.rate}

        facts = {
            "settings": self.looper.settings(),
            "content": kept(self.content),
            "past": [kept(content) for content in self.past],
            "future": [kept(content) for content in self.future],
            "mode": self.mode.value,
            "muted": self.muted,
            "backwards": self.backwards,
            "gear": self.gear,
            "pending": [[due, what.value if isinstance(what, Action) else what] for due, what in self._pending],
            "anchor": list(self._anchor),
            "take": taken(self._take, "take"),
            "tail": taken(self._tail, "tail"),
            "shot_from": self._shot_from,
            "waits_for_sound": self._waits_for_sound,
            "last_beat": self._last_beat,
            "last_step": self._last_step,
            "held": self._held is not None,
        }
        if self._held is not None:
            arrays["held"] = self._held
        arrays["facts"] = np.frombuffer(json.dumps(facts, sort_keys=True).encode(), dtype=np.uint8)
        return safetensors.numpy.save(arrays)

    def restore(self, data: bytes) -> None:
        """Become what `to_bytes` was taken of.

        Raises:
            InputError: damaged, or of another size of vectors; nothing was changed.
        """
        try:
            arrays = safetensors.numpy.load(data)
            facts = json.loads(bytes(arrays["facts"]))
            names = [name.removesuffix(".phases") for name in arrays if name.endswith(".phases")]
            layers = {
                name: Layer.of(arrays[f"{name}.phases"], arrays[f"{name}.vectors"], arrays.get(f"{name}.loudness"))
                for name in names
            }
            sizes = {layer.size for layer in layers.values()} | {self.statistics.mean.shape[0]}
            if len(sizes) > 1:
                raise InputError(f"a looper's state has vectors of {sorted(sizes)} numbers, expected one size")
            other = Voice(Looper.from_settings(facts["settings"]), self.statistics)
            other._take_over(facts, arrays, layers)
        except InputError:
            raise
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, safetensors.SafetensorError) as error:
            raise InputError(f"a looper's state is damaged ({error})") from None
        self.__dict__ = other.__dict__

    def _take_over(self, facts: dict[str, Any], arrays: dict[str, NDArray[Any]], layers: dict[str, Layer]) -> None:
        def content(row: dict[str, Any] | None) -> Content | None:
            return None if row is None else Content(layers[row["layer"]], float(row["beats"]), float(row["origin"]))

        def take(name: str) -> Take | None:
            row = facts[name]
            if row is None:
                return None
            vectors = list(arrays[f"{name}.vectors"].astype(np.float32))
            loudness = arrays[f"{name}.loudness"].tolist()
            return Take(row["beat"], row["phase"], row["rate"], arrays[f"{name}.beats"].tolist(), vectors, loudness)

        self.content = content(facts["content"])
        self.past = [content(row) for row in facts["past"]]
        self.future = [content(row) for row in facts["future"]]
        self.mode = State(facts["mode"])
        self.muted, self.backwards, self.gear = facts["muted"], facts["backwards"], float(facts["gear"])
        self._pending = [
            (float(due), what if what in (FINISH, BLEND) else Action(what)) for due, what in facts["pending"]
        ]
        self._anchor = (float(facts["anchor"][0]), float(facts["anchor"][1]))
        self._take, self._tail = take("take"), take("tail")
        self._shot_from = facts["shot_from"]
        self._waits_for_sound, self._last_beat = facts["waits_for_sound"], facts["last_beat"]
        self._last_step = float(facts["last_step"])
        self._held = arrays["held"].astype(np.float32) if facts["held"] else None
