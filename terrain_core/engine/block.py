"""Block mode: fed by a host, any block size, changing from call to call."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrain_core.autoencoders.one_shot import OneShotAutoencoder
from terrain_core.autoencoders.protocol import Audio, Latents
from terrain_core.engine.controls import Controls, ControlState
from terrain_core.engine.effects import Frames, LatentEffect, TimedMessage
from terrain_core.engine.events import Block, MidiEvent, NoteExpression, ParameterPoint, Transport
from terrain_core.engine.level import Switch, pressed
from terrain_core.engine.midi import MidiState
from terrain_core.engine.player import Faults, Player
from terrain_core.engine.song import SongPosition, TapTempo
from terrain_core.engine.sources import InputEncoder, stream_encoder
from terrain_core.errors import InputError
from terrain_core.instrument import Instrument
from terrain_core.parameters import Source, by_key

TAP, SYNC_BPM = by_key("tap").id, by_key("sync_bpm").id


class Engine:
    """An instrument that a host plays. One thread at a time; any number of engines may share an instrument.

    The life of an engine: made (slow: sessions, filters, warm-up; off the audio thread), then `process` block by block,
    `reset` where the host's stream breaks off (activation, start of a bounce). The output does not depend on how the
    input is cut into blocks.

    Song position: frames are numbered from the song's start, so that what is drawn by number (noise) repeats with the
    song. When the song starts or jumps while something can be heard, the numbers follow and the sound goes on without a
    seam; when nothing can be heard (run modes Transport and Notes), the stream begins anew, so that playing from a
    place always gives the same samples.

    Where the instrument's autoencoder makes one-shots, `Engine(…)` gives a `terrain_core.engine.hits.HitEngine`.
    """

    def __new__(cls, instrument: Instrument, *args: Any, **kwargs: Any) -> Engine:
        from terrain_core.engine.hits import HitEngine  # which builds upon this class

        hits = isinstance(instrument.autoencoder, OneShotAutoencoder)
        return super().__new__(HitEngine if hits and cls is Engine else cls)

    def __init__(
        self,
        instrument: Instrument,
        sample_rate: float,
        max_block: int = 1024,
        seed: int = 0,
        *,
        effects: Sequence[LatentEffect] = (),
    ) -> None:
        """
        Args:
            instrument: what to play.
            sample_rate: the host's, in Hz.
            max_block: the longest block to be expected; longer ones work, but only these are warmed up.
            seed: same seed, same noise.
            effects: latent effects after the standard ones, in their order.
        Raises:
            InputError: a sample rate or block size that cannot be.
        """
        if max_block < 1:
            raise InputError(f"max_block is {max_block}: expected 1 or more samples")
        encoder = stream_encoder(instrument.autoencoder)
        self._encoder = InputEncoder(instrument.autoencoder, encoder, sample_rate) if encoder else None
        self._player = Player(instrument, sample_rate, seed=seed, threads=1, hears=encoder is not None)
        self._clock = self._player.clock
        self._controls = ControlState()
        self._song = SongPosition(self._clock.host_rate)
        self._midi = MidiState()
        self._messages: list[tuple[float, bytes]] = []  # beat and bytes of those that wait for the next frame
        self._claims = [effect.claims for effect in effects if hasattr(effect, "claims")]
        self._tap = TapTempo(sample_rate)
        self._fresh_messages: list[tuple[int, float, bytes]] = []  # offset, beat, bytes, of this block
        self._samples = 0  # host samples of this stream so far
        self._frames = 0  # frames of this stream so far
        self._numbering = 0  # what makes a frame's number of its index in this stream
        self._listening = False
        self._was_playing: bool | None = None  # what the player was told of the transport; None: nothing yet
        self._warm_up(max_block)
        self._player.append(effects)  # loopers among them, which remember what they hear: not the warm-up

    @property
    def latency(self) -> int:
        """Host samples; constant. The first sample that depends on a control value at host sample n is n + latency.

        By a resampler's nature a faint trace comes earlier; the stated sample is where its impulse response peaks.
        """
        return self._player.latency

    @property
    def input_delay_frames(self) -> int:
        """How many frames old incoming audio is when it is decoded (source Input); 0 if the autoencoder cannot encode
        a stream.
        """
        return self._encoder.delay_frames if self._encoder else 0

    @property
    def faults(self) -> Faults:
        """What went wrong so far and was covered up."""
        self._player.faults.control_values = self._controls.dropped
        return self._player.faults

    @property
    def notice(self) -> str:
        """Why nothing is to be heard, if the chosen source is not there; else empty."""
        return self._player.sources.problem(Source(int(self._controls["source"])))

    @property
    def parameters(self) -> dict[str, float]:
        """Every parameter's plain value now, by key."""
        return self._controls.get()

    def set_parameters(self, values: Mapping[str, float]) -> None:
        """Set parameters between blocks (a preset, a restored state), by key, clamped to their ranges.

        Raises:
            InputError: no such parameter, or not a number; nothing was changed.
        """
        self._controls.set(values)
        self._player.sources.expect(values)

    def reset(self, position: float = 0.0) -> None:
        """Begin a new stream at a song position in seconds, as if freshly made, with parameters as they are. No note
        is held.
        """
        self._midi = MidiState()
        self._messages.clear()
        self._song.reset(position)
        self._begin()

    def process(self, block: Block) -> Audio:
        """The next `block.samples` samples of output, (channels, samples) at the host's rate, `latency` samples
        late.
        """
        if any(point.parameter_id == TAP for point in block.points):
            self._tap.take_in((point.offset, point.value) for point in block.points if point.parameter_id == TAP)
        self._tap.go_on(block.samples)
        if self._song.enter(block.transport, self._sync_bpm(block), self._tap.bpm):
            if self._player.silent or not self._samples:
                self._begin()
            else:
                self._number_from_song()
        first, last = self._frames, self._clock.frames_due_before(self._samples + block.samples)
        due = self._clock.due(first, last) - self._samples
        held = self._midi.sounding
        from_midi, switches = self._receive(block.midi)
        controls = self._controls.advance(block.points, block.lines, from_midi, due)
        beats = self._song.beats_at(due)
        incoming, heard = self._listen(block, controls, due)
        messages = self._messages_before(due) if self._claims else ()
        bars = _bars(block.transport, beats)
        frames = Frames(first + self._numbering, controls, beats, incoming, bars, heard=heard, midi=messages)
        if self._song.playing != self._was_playing:
            self._was_playing = self._song.playing
            switches.insert(0, Switch(0, playing=self._was_playing, notes=held))
        audio = self._player.advance(block.samples, frames, due, switches)
        self._samples += block.samples
        self._frames = last
        self._song.leave(block.samples)
        return audio

    def _sync_bpm(self, block: Block) -> float:
        """As it is at the block's first sample."""
        now = [p.value for p in block.points if p.parameter_id == SYNC_BPM and p.offset <= 0 and math.isfinite(p.value)]
        return now[-1] if now else self._controls["sync_bpm"]

    def _begin(self) -> None:
        self._samples = self._frames = 0
        self._was_playing = None
        self._listening = False
        self._number_from_song()
        self._player.restart(self._numbering)

    def _number_from_song(self) -> None:
        """Number frames such that the next one has the number of its place in the song."""
        self._numbering = round(self._song.seconds * self._clock.frame_rate) - self._frames

    def _receive(self, midi: Iterable[MidiEvent | NoteExpression]) -> tuple[list[ParameterPoint], list[Switch]]:
        """What a block's MIDI does to parameters and to the gate."""
        points: list[ParameterPoint] = []
        switches = []
        for event in midi:
            if self._claims and isinstance(event, MidiEvent):
                (beat,) = self._song.beats_at(np.array([event.offset])).tolist()
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

    def _warm_up(self, max_block: int) -> None:
        """Let runtimes do their slow first calls: one of a single frame, one of as many as the longest block holds."""
        for samples in (1, max_block, math.ceil(self._clock.host_rate / self._clock.frame_rate)):
            self.process(Block(samples))
        self.reset()
        self._player.faults = Faults()


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
