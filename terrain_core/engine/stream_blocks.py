"""Block mode of instruments whose autoencoder makes a stream: a frame every `hop` samples, from controls to sound."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from terrain_core.autoencoders.protocol import Audio, Latents
from terrain_core.engine.controls import Controls, ControlState
from terrain_core.engine.effects import Frames, LatentEffect, TimedMessage
from terrain_core.engine.events import Block, MidiEvent, NoteExpression, ParameterPoint, Transport
from terrain_core.engine.level import Switch, pressed
from terrain_core.engine.midi import MidiState
from terrain_core.engine.player import Faults, Player
from terrain_core.engine.song import SongPosition
from terrain_core.engine.sources import InputEncoder, stream_encoder
from terrain_core.instrument import Instrument
from terrain_core.parameters import Source


class StreamBlocks:
    """A stream of frames that a host's blocks are cut from.

    Frames are numbered from the song's start, so that what is drawn by number (noise) repeats with the song. When the
    song starts or jumps while something can be heard, the numbers follow and the sound goes on without a seam; when
    nothing can be heard (run modes Transport and Notes), the stream begins anew, so that playing from a place always
    gives the same samples.
    """

    def __init__(self, instrument: Instrument, sample_rate: float, seed: int) -> None:
        encoder = stream_encoder(instrument.autoencoder)
        self._encoder = InputEncoder(instrument.autoencoder, encoder, sample_rate) if encoder else None
        self._player = Player(instrument, sample_rate, seed=seed, threads=1, hears=encoder is not None)
        self._clock = self._player.clock
        self._midi = MidiState()
        self._claims: list[Callable[[bytes], bool]] = []
        self._messages: list[tuple[float, bytes]] = []  # beat and bytes of those that wait for the next frame
        self._fresh_messages: list[tuple[int, float, bytes]] = []  # offset, beat, bytes, of this block
        self._samples = 0  # host samples of this stream so far
        self._frames = 0  # frames of this stream so far
        self._numbering = 0  # what makes a frame's number of its index in this stream
        self._listening = False
        self._was_playing: bool | None = None  # what the player was told of the transport; None: nothing yet

    @property
    def rate(self) -> float:
        return self._clock.host_rate

    @property
    def latency(self) -> int:
        return self._player.latency

    @property
    def input_delay_frames(self) -> int:
        return self._encoder.delay_frames if self._encoder else 0

    @property
    def faults(self) -> Faults:
        return self._player.faults

    @property
    def voices(self) -> int:
        return 0

    def problem(self, source: Source) -> str:
        return self._player.sources.problem(source)

    def warm_up_blocks(self, max_block: int) -> tuple[int, ...]:
        """A frame alone, and as many as the longest block holds."""
        return 1, max_block, math.ceil(self._clock.host_rate / self._clock.frame_rate)

    def warmed_up(self, effects: Sequence[LatentEffect]) -> None:
        """The real blocks come now. Loopers among the effects remember what they hear: not the warm-up."""
        self._player.faults = Faults()
        self._claims = [effect.claims for effect in effects if hasattr(effect, "claims")]
        self._player.append(effects)

    def prepare(self, values: NDArray[np.float64]) -> None:
        self._player.sources.prepare(values)

    def reset(self, song: SongPosition) -> None:
        self._midi = MidiState()
        self._messages.clear()
        self._begin(song)

    def process(self, block: Block, song: SongPosition, controls: ControlState, *, starts: bool) -> Audio:
        if starts:
            if self._player.silent or not self._samples:
                self._begin(song)
            else:
                self._number_from(song)
        first, last = self._frames, self._clock.frames_due_before(self._samples + block.samples)
        due = self._clock.due(first, last) - self._samples
        held = self._midi.sounding
        from_midi, switches = self._receive(block.midi, song)
        values = controls.advance(block.points, block.lines, from_midi, due)
        beats = song.beats_at(due)
        incoming, heard = self._listen(block, values, due)
        messages = self._messages_before(due) if self._claims else ()
        bars = _bars(block.transport, beats)
        frames = Frames(first + self._numbering, values, beats, incoming, bars, heard=heard, midi=messages)
        if song.playing != self._was_playing:
            self._was_playing = song.playing
            switches.insert(0, Switch(0, playing=self._was_playing, notes=held))
        audio = self._player.advance(block.samples, frames, due, switches)
        self._samples += block.samples
        self._frames = last
        return audio

    def _begin(self, song: SongPosition) -> None:
        self._samples = self._frames = 0
        self._was_playing = None
        self._listening = False
        self._number_from(song)
        self._player.restart(self._numbering)

    def _number_from(self, song: SongPosition) -> None:
        """Number frames such that the next one has the number of its place in the song."""
        self._numbering = round(song.seconds * self._clock.frame_rate) - self._frames

    def _receive(
        self, midi: Iterable[MidiEvent | NoteExpression], song: SongPosition
    ) -> tuple[list[ParameterPoint], list[Switch]]:
        """What a block's MIDI does to parameters and to the gate."""
        points: list[ParameterPoint] = []
        switches = []
        for event in midi:
            if self._claims and isinstance(event, MidiEvent):
                (beat,) = song.beats_at(np.array([event.offset])).tolist()
                self._fresh_messages.append((event.offset, beat, event.data))
                if any(claims(event.data) for claims in self._claims):
                    continue
            points += self._midi.receive(event)
            switches.append(Switch(max(event.offset, 0), notes=self._midi.sounding))
        return points, switches

    def _messages_before(self, due: NDArray[np.int64]) -> list[TimedMessage]:
        """What came up to each of the frames that start in this block; the rest waits."""
        rows = np.searchsorted(due, [offset for offset, _, _ in self._fresh_messages]).tolist()
        waiting = [(0, beat, data) for beat, data in self._messages]
        waiting += [(row, beat, data) for row, (_, beat, data) in zip(rows, self._fresh_messages, strict=True)]
        self._fresh_messages.clear()
        self._messages = [(beat, data) for row, beat, data in waiting if row >= len(due)]
        return [TimedMessage(*message) for message in waiting if message[0] < len(due)]

    def _listen(
        self, block: Block, controls: Controls, due: NDArray[np.int64]
    ) -> tuple[Latents | None, NDArray[np.float64] | None]:
        """(frames, D) latents of the incoming audio, and (frames,) how loud it is; where another source is chosen, how
        loud the hand plays. None if there is nothing to encode or nobody to do it.
        """
        if self._encoder is None:
            return None, None
        wanted = controls["source"] == Source.INPUT
        if not (self._listening or wanted.any()):
            return None, None
        heard = pressed(controls) if len(due) else np.zeros(0)
        audio = np.zeros((1, block.samples), np.float32) if block.audio is None else block.audio
        latents = np.zeros((len(due), self._player.autoencoder.latent_size), np.float32)
        start = 0
        for row, offset in enumerate(due.tolist()):
            if self._listening:
                self._encoder.feed(audio[:, start:offset])
            elif wanted[row]:
                self._encoder.reset()
            start = offset
            self._listening = bool(wanted[row])
            if self._listening:
                latents[row], heard[row] = self._encoder.next_frame()
        if self._listening:
            self._encoder.feed(audio[:, start:])
        return latents, heard


def _bars(transport: Transport | None, beats: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """The bars around beats, by the host's bar and meter; None where it says neither."""
    if transport is None or transport.meter is None or transport.bar_beat is None:
        return None
    numerator, denominator = transport.meter
    if numerator < 1 or denominator < 1 or not math.isfinite(transport.bar_beat):
        return None
    length = numerator * 4 / denominator
    starts = transport.bar_beat + np.floor((beats - transport.bar_beat) / length) * length
    return np.stack([starts, np.full(len(beats), length)], axis=1)
