"""Notes to hits: the engine of instruments whose autoencoder makes one-shots. Block mode and batch mode.

A note reads its controls at its own sample: a pad's place on the map (moved by X and Y), or X and Y themselves through
whatever Source says; then the latent effects and the decoder, to a whole sound at the host's rate that begins on that
very sample. Latency is zero: nothing has to be waited for.

MPE and note expressions are a note's own: what its channel (unless it is a master channel) and the note itself have
said of X, Y, Z and Pressure when it begins. A note whose pressure is above zero then goes on following it in level; one
that begins at zero, as struck pads do, keeps its level.

All times are counted in host samples from the stream's start, and every gain is a table or a function of that count: so
the output does not depend on how the input is cut into blocks, to the bit.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import soxr
from numpy.typing import NDArray

from terrain_core.autoencoders.one_shot import OneShotAutoencoder
from terrain_core.autoencoders.protocol import Audio, Latents
from terrain_core.engine.clock import exact_rate
from terrain_core.engine.controls import COLUMN, Controls, ControlState, LaneControls, SampledLane
from terrain_core.engine.effects import (
    Frames,
    Intensity,
    LatentEffect,
    Noise,
    OffsetAndScale,
    normal_by_frame,
)
from terrain_core.engine.events import Block, MidiEvent, NoteExpression, ParameterPoint, TimedMidi
from terrain_core.engine.level import Gate, GateStep, RunState, Switch, level_gains, pressed
from terrain_core.engine.midi import (
    ALL_NOTES_OFF,
    ALL_SOUND_OFF,
    CHANNEL_PRESSURE,
    CONTROL_CHANGE,
    CONTROLLERS,
    MASTER_CHANNELS,
    NOTE_OFF,
    NOTE_ON,
    PITCH_BEND,
    POLY_PRESSURE,
    MidiState,
    Note,
)
from terrain_core.engine.player import Faults, under_ceiling
from terrain_core.engine.song import SongPosition
from terrain_core.engine.sources import MIDDLE, Sources
from terrain_core.errors import InputError
from terrain_core.instrument import Instrument
from terrain_core.one_shots.kit import Kit, Pad
from terrain_core.parameters import PressureTarget, Run, Source, by_key
from terrain_core.tempo import TempoMap

GRID: Final = 64
"""Host samples from one reading of Level and Run to the next; Level is a straight line in between."""
STEAL_SECONDS: Final = 0.003
CHOKE_SECONDS: Final = 0.005
PRESSURE_SECONDS: Final = 0.005
"""In which a note's level goes to a new pressure."""
CACHE_BYTES: Final = 64 << 20
"""Of decoded hits; the one that was not played for longest goes first."""
CHUNK_SAMPLES: Final = 1 << 14
"""What a batch render makes at once."""

X, Y, Z, PRESSURE = (by_key(key).id for key in ("x", "y", "z", "pressure"))
_OWN = {X: COLUMN["x"], Y: COLUMN["y"], Z: COLUMN["z"], PRESSURE: COLUMN["pressure"]}


class Begin(NamedTuple):
    """A note starts at a host sample of the block. `own`: column of the controls -> what the note itself says."""

    offset: int
    note: Note
    velocity: int
    own: Mapping[int, float]


class End(NamedTuple):
    """A note's key goes up, or, without a note, everything falls silent."""

    offset: int
    note: Note | None


class Press(NamedTuple):
    """A sounding note's own pressure changes."""

    offset: int
    note: Note
    pressure: float


Event = Begin | End | Press


def _is_for_all(message: MidiEvent | NoteExpression) -> bool:
    """Whether a message moves X, Y or Z for every note to come: pitch bend or a controller on a master channel.

    Pressure never does: a keyboard's aftertouch, back at zero, would silence the next hit.
    """
    if isinstance(message, NoteExpression) or len(message.data) != 3 or message.data[0] & 0x0F not in MASTER_CHANNELS:
        return False
    kind = message.data[0] & 0xF0
    return kind == PITCH_BEND or (kind == CONTROL_CHANGE and message.data[1] in CONTROLLERS)


class Hands:
    """MIDI and note expressions to notes' events, and to the steps of X, Y and Z."""

    def __init__(self) -> None:
        self._state = MidiState()
        self._held: set[Note] = set()

    def receive(
        self, midi: Iterable[MidiEvent | NoteExpression], samples: int
    ) -> tuple[list[ParameterPoint], list[Event]]:
        """What a block's messages do. What comes at one sample counts together: expressions may follow their note."""
        points: list[ParameterPoint] = []
        events: list[Event] = []
        starting: list[tuple[int, Note, int]] = []
        now = 0
        for message in midi:
            offset = min(max(message.offset, 0), samples - 1)
            if offset != now:
                events += self._begin(starting)
                now = offset
            message = message._replace(offset=offset)
            moved = list(self._state.receive(message))
            if _is_for_all(message):
                points += moved
            if isinstance(message, NoteExpression):
                events += self._expressed(message)
                continue
            events += self._played(message, starting)
        events += self._begin(starting)
        return points, sorted(events, key=lambda event: event.offset)

    def _begin(self, starting: list[tuple[int, Note, int]]) -> list[Event]:
        begun: list[Event] = [Begin(offset, note, velocity, self._own(note)) for offset, note, velocity in starting]
        starting.clear()
        return begun

    def _own(self, note: Note) -> dict[int, float]:
        own = {_OWN[id]: value for id, value in self._state.expression(note).items() if id in _OWN}
        if own.get(COLUMN["pressure"]) == 0:
            del own[COLUMN["pressure"]]  # struck, not pressed
        return own

    def _played(self, message: MidiEvent, starting: list[tuple[int, Note, int]]) -> list[Event]:
        data = message.data
        if not data or max(data[1:], default=0) > 0x7F:
            return []
        kind, channel = data[0] & 0xF0, data[0] & 0x0F
        if kind in (NOTE_ON, NOTE_OFF) and len(data) == 3:
            note = Note(channel, data[1])
            if kind == NOTE_ON and data[2]:
                starting.append((message.offset, note, data[2]))
                self._held.add(note)
                return []
            self._held.discard(note)
            return [End(message.offset, note)]
        if kind == CONTROL_CHANGE and len(data) == 3:
            if data[1] == ALL_SOUND_OFF:
                self._held.clear()
                return [End(message.offset, None)]
            if data[1] >= ALL_NOTES_OFF:
                ended = sorted(note for note in self._held if note.channel == channel)
                self._held.difference_update(ended)
                return [End(message.offset, note) for note in ended]
            return []
        return [event for note in sorted(self._held) if (event := self._pressing(message, note)) is not None]

    def _pressing(self, message: MidiEvent, note: Note) -> Press | None:
        kind, channel = message.data[0] & 0xF0, message.data[0] & 0x0F
        if channel != note.channel:
            return None
        if kind == CHANNEL_PRESSURE and len(message.data) == 2:
            return Press(message.offset, note, message.data[1] / 127)
        if kind == POLY_PRESSURE and len(message.data) == 3 and message.data[1] == note.key:
            return Press(message.offset, note, message.data[2] / 127)
        return None

    def _expressed(self, event: NoteExpression) -> list[Event]:
        if event.parameter_id != PRESSURE or not math.isfinite(event.value):
            return []
        pressure = min(max(event.value, 0.0), 1.0)
        return [
            Press(event.offset, note, pressure)
            for note in sorted(self._held)
            if event.channel in (-1, note.channel) and event.key in (-1, note.key)
        ]


@dataclass
class Voice:
    """One sounding hit. Times are host samples from the stream's start."""

    audio: Audio
    start: int
    gain: np.float32
    note: Note
    choke: int
    follows: bool
    """Whether its level follows the note's pressure."""
    fade_start: int | None = None
    fade: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    pressure: tuple[int, float, float] = (0, 1.0, 1.0)
    """Since when it goes from which pressure to which."""

    @property
    def end(self) -> int:
        """The first sample that is silent for good."""
        end = self.start + int(self.audio.shape[1])
        return end if self.fade_start is None else min(end, self.fade_start + len(self.fade))

    def let_go(self, now: int, fade: NDArray[np.float32]) -> None:
        """Fade out from here on, unless that is under way and over sooner."""
        if self.fade_start is None or now + len(fade) < self.fade_start + len(self.fade):
            # What is left of a fade that was begun is where the new one begins.
            level = self._fading(now, 1)[0]
            self.fade_start, self.fade = now, fade * level

    def press(self, now: int, pressure: float, length: int) -> None:
        if self.follows:
            self.pressure = (now, float(self._pressures(now, 1, length)[0]), pressure)

    def _fading(self, now: int, samples: int) -> NDArray[np.float32]:
        gains = np.ones(samples, np.float32)
        if self.fade_start is not None:
            index = np.arange(now - self.fade_start, now - self.fade_start + samples)
            inside = index >= 0
            gains[inside] = np.append(self.fade, np.float32(0))[np.minimum(index[inside], len(self.fade))]
        return gains

    def _pressures(self, now: int, samples: int, length: int) -> NDArray[np.float64]:
        since, before, after = self.pressure
        way = np.clip(np.arange(now - since, now - since + samples), 0, length) / length
        return np.asarray(before + (after - before) * way)

    def add_to(self, out: Audio, now: int, pressure_length: int) -> None:
        """Add its part of the samples that begin at `now` to `out` (channels, samples)."""
        until = min(now + out.shape[1], self.end)
        if until <= now:
            return
        sound = self.audio[:, now - self.start : until - self.start] * self.gain
        if self.fade_start is not None:
            sound = sound * self._fading(now, until - now)
        if self.pressure[1:] != (1.0, 1.0):
            sound = sound * self._pressures(now, until - now, pressure_length).astype(np.float32)
        out[:, : until - now] += sound


def _fade_out(seconds: float, rate: float) -> NDArray[np.float32]:
    length = max(1, round(seconds * rate))
    return (0.5 + 0.5 * np.cos(np.pi * np.arange(1, length + 1) / length)).astype(np.float32)


class HitPlayer:
    """Events and controls in, host audio out: what block mode and batch mode share."""

    def __init__(self, instrument: Instrument, sample_rate: float, *, seed: int, threads: int) -> None:
        assert isinstance(instrument.autoencoder, OneShotAutoencoder)
        self.autoencoder = instrument.autoencoder
        self.kit = instrument.kit or Kit()
        self.rate = float(exact_rate(sample_rate, "the host's sample rate"))
        self.sources = Sources(self.autoencoder, instrument.terrain, instrument.sound_map, hears=False)
        self.faults = Faults()
        self._seed, self._threads = seed, threads
        self._effects: list[LatentEffect] = [
            OffsetAndScale(self.autoencoder),
            Intensity(self.autoencoder),
            Noise(self.autoencoder, seed),
        ]
        self._cache: OrderedDict[tuple[bytes, float, float], Audio] = OrderedDict()
        self._cached_bytes = 0
        self._steal, self._choke = (_fade_out(s, self.rate) for s in (STEAL_SECONDS, CHOKE_SECONDS))
        self._release = _fade_out(self.kit.release, self.rate)
        self._pressure_length = max(1, round(PRESSURE_SECONDS * self.rate))
        self._gate = Gate(self.rate, 0)
        self.restart()

    def problem(self, source: Source) -> str:
        """Why nothing is to be heard with that source; empty if something is: pads need the map alone."""
        pads_play = self.kit.pads and not self.sources.problem(Source.MAP)
        return "" if pads_play else self.sources.problem(source)

    def restart(self) -> None:
        """Begin a new stream: nothing sounds, and every pad begins its rounds anew."""
        self.voices: list[Voice] = []
        self._now = 0
        self._gains = np.zeros(0, np.float32)  # of Level, for samples to come
        self._last_gain: np.float32 | None = None
        self.begin_rounds()
        self._run = RunState()
        self._gate.reset(open=True)

    def begin_rounds(self) -> None:
        """The next hit of each pad is its first one."""
        self._rounds: dict[int, int] = {}
        self._count = 0

    def grid(self, samples: int) -> NDArray[np.int64]:
        """Offsets at which the next `samples` want Level and Run."""
        return np.arange(-self._now % GRID, samples, GRID, dtype=np.int64)

    def advance(
        self, samples: int, events: Sequence[Event], due: NDArray[np.int64], controls: Controls, playing: bool | None
    ) -> Audio:
        """Play on.

        Args:
            samples: how many host samples to give.
            events: by rising offset.
            due: rising offsets, `grid` and every event's among them.
            controls: every parameter at these.
            playing: what the transport does from here on; None: it stays.
        Returns:
            (channels, samples)
        """
        out: Audio = np.zeros((self.autoencoder.channels, samples), np.float32)
        steps = self._gate_steps(due, controls, playing)
        at = 0
        for event in events:
            if event.offset > at:
                self._add_voices(out[:, at : event.offset], self._now + at)
                at = event.offset
            row = int(np.searchsorted(due, event.offset))
            self._handle(event, controls.values[row])
        self._add_voices(out[:, at:], self._now + at)
        out = self._level(out, due, controls)
        self._now += samples
        self.voices = [voice for voice in self.voices if voice.end > self._now]
        if np.abs(out).max(initial=0.0) > 1:
            out = under_ceiling(out)
        return self._gate.process(out, steps)

    def _gate_steps(self, due: NDArray[np.int64], controls: Controls, playing: bool | None) -> list[GateStep]:
        switches = [] if playing is None else [Switch(0, playing=playing)]
        grid = (self._now + due) % GRID == 0
        for offset, run in zip(due[grid].tolist(), controls["run"][grid].tolist(), strict=True):
            # Hits begin with notes in any mode: what Notes adds to that would only cut their tails.
            switches.append(Switch(offset, run=Run.TRANSPORT if run == Run.TRANSPORT else Run.FREE))
        if self._now == 0:  # a stream starts open or closed, not with a fade
            self._run.gate_steps([switch for switch in switches if switch.offset == 0])
            self._gate.reset(open=self._run.open)
        return self._run.gate_steps(switches)

    def _add_voices(self, out: Audio, now: int) -> None:
        if out.shape[1]:
            for voice in self.voices:
                voice.add_to(out, now, self._pressure_length)

    def _handle(self, event: Event, values: NDArray[np.float64]) -> None:
        now = self._now + event.offset
        if isinstance(event, Begin):
            self._begin(event, values, now)
        elif isinstance(event, Press):
            for voice in self.voices:
                if voice.note == event.note:
                    voice.press(now, event.pressure, self._pressure_length)
        else:
            for voice in self.voices:
                if event.note is None:
                    voice.let_go(now, self._choke)
                elif self.kit.gated and voice.note == event.note:
                    voice.let_go(now, self._release)

    def _begin(self, event: Begin, values: NDArray[np.float64], now: int) -> None:
        if values[COLUMN["run"]] == Run.TRANSPORT and not self._run.playing:
            return
        row = values.copy()
        for column, value in event.own.items():
            row[column] = value
        pad = self.kit.by_key.get(event.note.key)
        audio = self._sound(row, event.note.key, pad)
        if audio is None:
            return
        if pad is not None and pad.choke:
            for voice in self.voices:
                if voice.choke == pad.choke:
                    voice.let_go(now, self._choke)
        # Those that fade within milliseconds take no voice any more; those that are released do.
        short = max(len(self._steal), len(self._choke))
        sounding = [v for v in self.voices if v.end > now + (0 if v.fade_start is None else short)]
        for voice in sounding[: max(0, len(sounding) + 1 - self.kit.voices)]:
            voice.let_go(now, self._steal)
        gain = (event.velocity / 127) ** (2 * self.kit.velocity) * (10 ** (pad.gain_db / 20) if pad else 1.0)
        own_pressure = COLUMN["pressure"] in event.own and row[COLUMN["pressure_target"]] == PressureTarget.LEVEL
        level = float(pressed(Controls(row[np.newaxis]))[0])
        voice = Voice(audio, now, np.float32(gain), event.note, pad.choke if pad else 0, own_pressure)
        if own_pressure:
            voice.pressure = (now, level, level)
        else:
            voice.gain = np.float32(gain * level)
        self.voices.append(voice)

    def _sound(self, row: NDArray[np.float64], key: int, pad: Pad | None) -> Audio | None:
        """The hit that a key plays with these controls; None where the chosen source is not there."""
        turn = self._rounds.get(key, 0)
        self._rounds[key] = turn + 1
        self._count += 1
        latent = self.latent(row, key, pad, turn % self.kit.rounds, self._count)
        if latent is None:
            return None
        semitones = pad.tune if pad else float(key - self.kit.root) if self.kit.root >= 0 else 0.0
        return self._decoded(latent, semitones, pad.decay if pad else 0.0)

    def latent(self, row: NDArray[np.float64], key: int, pad: Pad | None, turn: int, count: int) -> Latents | None:
        """The latent (D,) of a key's hit: source, latent effects, and the variation of this turn."""
        row = row.copy()
        if pad is not None and not self.sources.problem(Source.MAP):
            row[COLUMN["source"]] = Source.MAP  # where the pad's very sound is; the terrain only comes near it
        if self.sources.problem(Source(int(row[COLUMN["source"]]))):
            return None
        if pad is not None:
            for name, place in (("x", pad.x), ("y", pad.y)):
                moved = place + (row[COLUMN[name]] - MIDDLE) * self.kit.reach
                row[COLUMN[name]] = min(max(moved, 0.0), 1.0)
        frames = Frames(count, Controls(row[np.newaxis]), np.zeros(1))
        latents = self.sources.latents(frames)
        for effect in self._effects:
            latents = effect.process(latents, frames)
        if self.kit.variation and turn:
            drawn = normal_by_frame(self._seed, key * 64 + turn, 1, latents.shape[1])
            latents = latents + np.float32(self.kit.variation) * self.autoencoder.latent_std * drawn
        latent: Latents = latents[0]
        if not np.isfinite(latent).all():
            self.faults.latent_frames += 1
            latent = self.autoencoder.latent_mean
        return latent

    def _decoded(self, latent: Latents, semitones: float, decay: float) -> Audio:
        name = (latent.tobytes(), semitones, decay)
        if name in self._cache:
            self._cache.move_to_end(name)
            return self._cache[name]
        audio = self.autoencoder.hit(latent, self._threads)
        if not np.isfinite(audio).all():
            self.faults.audio_calls += 1
            audio = np.zeros_like(audio)
        speed = self.autoencoder.sample_rate * 2 ** (semitones / 12)
        if speed != self.rate:
            audio = np.ascontiguousarray(soxr.resample(audio.T, speed, self.rate, quality="VHQ").T)
        audio = audio * self._envelope(audio.shape[1], decay)
        self._cache[name] = audio
        self._cached_bytes += audio.nbytes
        while self._cached_bytes > CACHE_BYTES and len(self._cache) > 1:
            self._cached_bytes -= self._cache.popitem(last=False)[1].nbytes
        return audio

    def _envelope(self, samples: int, decay: float) -> NDArray[np.float32]:
        """Attack and decay; the last 2 ms go to zero, wherever the model left off."""
        seconds = np.arange(samples) / self.rate
        curve = np.exp(-math.log(1000) * seconds / decay) if decay else np.ones(samples)
        if self.kit.attack:
            curve = curve * np.minimum(1.0, seconds / self.kit.attack)
        tail = min(samples, max(1, round(0.002 * self.rate)))
        curve[samples - tail :] *= np.linspace(1, 0, tail)
        return curve.astype(np.float32)

    def _level(self, out: Audio, due: NDArray[np.int64], controls: Controls) -> Audio:
        samples = out.shape[1]
        grid = (self._now + due) % GRID == 0
        gains = level_gains(Controls(controls.values[grid])) if grid.any() else 1.0
        targets = np.broadcast_to(np.asarray(gains, np.float32), (int(grid.sum()),))
        if len(targets):
            before = np.concatenate([[targets[0] if self._last_gain is None else self._last_gain], targets[:-1]])
            ramp = (np.arange(1, GRID + 1) / GRID).astype(np.float32)
            line = before[:, np.newaxis] + (targets - before)[:, np.newaxis] * ramp
            self._gains = np.concatenate([self._gains, line.astype(np.float32).ravel()])
            self._last_gain = np.float32(targets[-1])
        curve, self._gains = self._gains[:samples], self._gains[samples:]
        return out if (curve == 1).all() else out * curve

    def prepare(self, values: NDArray[np.float64]) -> None:
        """Decode what the pads play with these controls, every round of it, so that no first hit comes late."""
        self.sources.prepare(values)
        for pad in self.kit.pads:
            for turn in range(self.kit.rounds if self.kit.variation else 1):
                latent = self.latent(values, pad.key, pad, turn, 0)
                if latent is not None:
                    self._decoded(latent, pad.tune, pad.decay)


class HitBlocks:
    """Block mode, see `terrain_core.engine.block.Blocks`."""

    def __init__(self, instrument: Instrument, sample_rate: float, seed: int) -> None:
        self._hits = HitPlayer(instrument, sample_rate, seed=seed, threads=1)
        self._hands = Hands()
        self._was_playing: bool | None = None

    @property
    def rate(self) -> float:
        return self._hits.rate

    @property
    def latency(self) -> int:
        return 0

    @property
    def input_delay_frames(self) -> int:
        return 0

    @property
    def faults(self) -> Faults:
        return self._hits.faults

    @property
    def voices(self) -> int:
        return len(self._hits.voices)

    def problem(self, source: Source) -> str:
        return self._hits.problem(source)

    def warm_up_blocks(self, max_block: int) -> tuple[int, ...]:
        return (max_block,)

    def warmed_up(self, effects: Sequence[LatentEffect]) -> None:
        self._hits.faults = Faults()

    def prepare(self, values: NDArray[np.float64]) -> None:
        self._hits.prepare(values)

    def reset(self, song: SongPosition) -> None:
        self._hands = Hands()
        self._was_playing = None
        self._hits.restart()

    def process(self, block: Block, song: SongPosition, controls: ControlState, *, starts: bool) -> Audio:
        if starts:
            self._hits.begin_rounds()  # so that playing from a place always gives the same hits
        from_midi, events = self._hands.receive(block.midi, block.samples)
        due = np.unique(np.concatenate([self._hits.grid(block.samples), _offsets(events)]))
        values = controls.advance(block.points, block.lines, from_midi, due)
        playing = None if song.playing == self._was_playing else song.playing
        self._was_playing = song.playing
        return self._hits.advance(block.samples, events, due, values, playing)


def _offsets(events: Sequence[Event]) -> NDArray[np.int64]:
    return np.array([event.offset for event in events], np.int64)


def render_hits(
    instrument: Instrument,
    lanes: Mapping[str, SampledLane],
    tempo_map: TempoMap,
    sample_rate: float,
    start: float,
    end: float,
    seed: int,
    constants: Mapping[str, float],
    midi: Iterable[TimedMidi],
) -> Iterator[Audio]:
    """Batch mode, see `render_batch`. Notes that began before `start` are not heard."""
    player = HitPlayer(instrument, sample_rate, seed=seed, threads=0)
    controls = LaneControls(lanes, tempo_map, constants)
    source = Source(int(controls.at(np.array([start]))["source"][0]))
    if player.problem(source):
        raise InputError(f"Source is {source.name.capitalize()}, but {player.problem(source)}")
    messages = sorted(midi, key=lambda message: message.seconds)
    return _chunks(player, controls, start, round((end - start) * player.rate), messages)


def _chunks(
    player: HitPlayer, controls: LaneControls, start: float, total: int, messages: list[TimedMidi]
) -> Iterator[Audio]:
    hands = Hands()
    hands.receive((MidiEvent(0, message.data) for message in messages if message.seconds < start), 1)
    waiting = deque(
        MidiEvent(round((message.seconds - start) * player.rate), message.data)
        for message in messages
        if message.seconds >= start
    )
    for position in range(0, total, CHUNK_SAMPLES):
        samples = min(CHUNK_SAMPLES, total - position)
        now = []
        while waiting and waiting[0].offset < position + samples:
            message = waiting.popleft()
            now.append(MidiEvent(message.offset - position, message.data))
        points, events = hands.receive(now, samples)
        due = np.unique(np.concatenate([player.grid(samples), _offsets(events)]))
        values = controls.hold(points, controls.at(start + (position + due) / player.rate), due)
        yield player.advance(samples, events, due, values, True if position == 0 else None)
