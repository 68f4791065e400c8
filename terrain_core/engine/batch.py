"""Batch mode: lanes are known beforehand, so frames are worked through in large runs. Same audio as block mode."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from terrain_core.autoencoders.one_shot import OneShotAutoencoder
from terrain_core.autoencoders.protocol import Audio
from terrain_core.engine.controls import Controls, LaneControls, SampledLane
from terrain_core.engine.effects import Frames, LatentEffect, TimedMessage
from terrain_core.engine.events import MidiEvent, ParameterPoint, TimedMidi
from terrain_core.engine.hits import render_hits
from terrain_core.engine.level import Switch
from terrain_core.engine.midi import MidiState
from terrain_core.engine.player import Player
from terrain_core.errors import InputError
from terrain_core.instrument import Instrument
from terrain_core.parameters import Source
from terrain_core.tempo import TempoMap

CHUNK_FRAMES = 64
"""Frames decoded at once: large enough that nothing but the decoder counts, small enough that an hour never sits in
memory.
"""


def render_batch(
    instrument: Instrument,
    lanes: Mapping[str, SampledLane],
    tempo_map: TempoMap,
    sample_rate: float,
    start: float,
    end: float,
    seed: int = 0,
    *,
    constants: Mapping[str, float] | None = None,
    midi: Iterable[TimedMidi] = (),
    effects: Sequence[LatentEffect] = (),
    chunk_frames: int = CHUNK_FRAMES,
) -> Iterator[Audio]:
    """Render the song from `start` to `end` seconds.

    Args:
        instrument: what to play.
        lanes: parameter key -> lane, in the parameter's plain values; clamped to its range.
        tempo_map: of the song; gives lanes in beats their place, and latent effects the beat.
        sample_rate: of the output, in Hz.
        start: song position in seconds. A render that starts later is not a part cut from a longer one: the decoder
            begins afresh.
        end: song position in seconds.
        seed: same seed, same noise.
        constants: parameter key -> plain value of parameters that have no lane; the table's defaults where nothing is
            said.
        midi: messages; those before `start` still decide which notes are held there. A lane goes before MIDI for the
            same parameter.
        effects: latent effects after the standard ones.
        chunk_frames: how many latent frames are worked through at once.
    Yields:
        audio (channels, samples), in all round((end - start) * sample_rate) samples; latency is taken off. As lazy as
        it is asked for.
    Raises:
        InputError: times, keys, sample rate or source that cannot be (when called, not when iterated; a lane that sets
            Source to one the instrument lacks, when it gets there).
    """
    if not (math.isfinite(start) and math.isfinite(end) and start <= end):
        raise InputError(
            f"cannot render from {start} s to {end} s: expected two times, the second not before the first"
        )
    if chunk_frames < 1:
        raise InputError(f"chunk_frames is {chunk_frames}: expected 1 or more")
    if isinstance(instrument.autoencoder, OneShotAutoencoder):
        return render_hits(instrument, lanes, tempo_map, sample_rate, start, end, seed, constants or {}, midi)
    player = Player(instrument, sample_rate, seed=seed, threads=0, effects=effects)
    controls = LaneControls(lanes, tempo_map, constants or {})
    _require_sources(player, controls.at(np.array([start])))
    messages = sorted(midi, key=lambda message: message.seconds)
    claims = [effect.claims for effect in effects if hasattr(effect, "claims")]
    return _Render(player, controls, tempo_map, start, end, messages, claims).chunks(chunk_frames)


class _Render:
    """One call of `render_batch`, on its way through the song."""

    def __init__(
        self,
        player: Player,
        controls: LaneControls,
        tempo_map: TempoMap,
        start: float,
        end: float,
        midi: list[TimedMidi],
        claims: Sequence[Callable[[bytes], bool]],
    ) -> None:
        self._player = player
        self._clock = player.clock
        self._controls = controls
        self._tempo_map = tempo_map
        self._start = start
        self._samples = round((end - start) * self._clock.host_rate)
        self._midi = MidiState()
        self._claims = claims
        self._waiting: list[TimedMessage] = []  # for the next frame
        self._early = sum(message.seconds < start for message in midi)
        self._messages = deque(
            MidiEvent(max(0, round((message.seconds - start) * self._clock.host_rate)), message.data)
            for message in midi
        )
        self._numbering = round(start * self._clock.frame_rate)
        player.restart(self._numbering)

    def chunks(self, chunk_frames: int) -> Iterator[Audio]:
        skip = self._player.latency
        position, frame = 0, 0  # host samples and frames so far
        total = self._samples + skip if self._samples else 0
        while position < total:
            last = frame + chunk_frames
            until = min(int(self._clock.due(last, last + 1)[0]), total)
            last = min(last, self._clock.frames_due_before(until))
            audio = self._advance(position, until, frame, last)
            fresh = audio[:, min(skip, until - position) :]
            skip = max(0, skip - (until - position))
            if fresh.size:
                yield fresh
            position, frame = until, last

    def _advance(self, position: int, until: int, first: int, last: int) -> Audio:
        due = self._clock.due(first, last)
        seconds = self._start + due / self._clock.host_rate
        messages = self._for_effects(until, due)
        points, switches = self._receive_before(until, position)
        controls = self._controls.hold(points, self._controls.at(seconds), due - position)
        _require_sources(self._player, controls)
        beats = self._tempo_map.beats_at(seconds)
        bars = self._tempo_map.bars_around(beats)
        frames = Frames(first + self._numbering, controls, beats, bars=bars, midi=messages)
        return self._player.advance(until - position, frames, due - position, [Switch(0, playing=True), *switches])

    def _for_effects(self, until: int, due: NDArray[np.int64]) -> list[TimedMessage]:
        """The messages up to a host sample, for effects that care; those from before the start only hold notes."""
        if not self._claims:
            return []
        fresh = [message for message in islice(self._messages, self._early, None) if message.offset < until]
        offsets = np.array([message.offset for message in fresh])
        beats = self._tempo_map.beats_at(self._start + offsets / self._clock.host_rate).tolist()
        rows = np.searchsorted(due, offsets).tolist()
        waiting = [(0, message.beat, message.data) for message in self._waiting]
        waiting += [(row, beat, event.data) for row, beat, event in zip(rows, beats, fresh, strict=True)]
        self._waiting = [TimedMessage(*message) for message in waiting if message[0] >= len(due)]
        return [TimedMessage(*message) for message in waiting if message[0] < len(due)]

    def _receive_before(self, until: int, position: int) -> tuple[list[ParameterPoint], list[Switch]]:
        """What the messages up to a host sample do; offsets are counted from `position`."""
        points: list[ParameterPoint] = []
        switches = []
        while self._messages and self._messages[0].offset < until:
            message = self._messages.popleft()
            self._early = max(self._early - 1, 0)
            if any(claims(message.data) for claims in self._claims):
                continue
            offset = message.offset - position
            points += self._midi.receive(MidiEvent(offset, message.data))
            switches.append(Switch(offset, notes=self._midi.sounding))
        return points, switches


def _require_sources(player: Player, controls: Controls) -> None:
    for source in sorted(set(controls["source"].tolist())):
        problem = player.sources.problem(Source(int(source)))
        if problem:
            raise InputError(f"Source is {Source(int(source)).name.capitalize()}, but {problem}")
        if source == Source.INPUT:
            raise InputError(
                "Source is Input, but a render from lanes has no incoming audio; set Source to Terrain or Map"
            )
