"""Requests and states of one plugin instance, to `terrain_core.engine`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from terrain_core.autoencoders.one_shot import OneShotAutoencoder
from terrain_core.engine import Block, Engine, MidiEvent, NoteExpression, ParameterPoint, Transport
from terrain_core.instrument import Instrument
from terrain_core.looper import ChainEffect
from terrain_core.parameters import DEFAULTS, by_key
from terrain_core.plugin_state import InstrumentReference, PluginState
from terrain_plugin.bridge import protocol
from terrain_plugin.bridge.protocol import CHANNELS, EventKind, RequestFlag
from terrain_plugin.bridge.shared_memory import Request
from terrain_plugin.editor.taps import Probe
from terrain_plugin.instrument_shelf import InstrumentShelf, loopers_of, ours

ENDLESS_TAIL: Final = 0xFFFFFFFF
"""An instrument in run mode Free sounds without an end."""

BEND_RANGE: Final = 48.0
"""Semitones of a tuning expression that bend X over its whole half: MPE's own."""

EXPRESSED: Final = {
    protocol.NoteExpression.TUNING: by_key("x").id,
    protocol.NoteExpression.PRESSURE: by_key("pressure").id,
    protocol.NoteExpression.BRIGHTNESS: by_key("y").id,
}
"""What a note's own expressions move; the others move nothing."""

# The flags as plain numbers: enum's own operators cost as much as the rest of a request.
_FLAGS = {flag.name: int(flag) for flag in RequestFlag}
_LINES, _RESET, _AUDIO_IN, _HAS_TRANSPORT = (_FLAGS[name] for name in ("LINES", "RESET", "AUDIO_IN", "HAS_TRANSPORT"))
_OFFLINE = _FLAGS["OFFLINE"]
_PLAYING, _RECORDING, _CYCLE, _HAS_CYCLE = (_FLAGS[name] for name in ("PLAYING", "RECORDING", "CYCLE", "HAS_CYCLE"))
_HAS_BEAT, _HAS_BPM, _HAS_SECONDS = (_FLAGS[name] for name in ("HAS_BEAT", "HAS_BPM", "HAS_SECONDS"))
_HAS_BAR, _HAS_METER = (_FLAGS[name] for name in ("HAS_BAR", "HAS_METER"))
_PARAMETER, _MIDI, _NOTE_ON, _NOTE_OFF, _NOTE_CHOKE, _NOTE_EXPRESSION = (int(kind) for kind in EventKind)


class TerrainProcessor:
    """One plugin instance's sound. One thread; no host and no bridge is known here, only their requests' numbers.

    In the order of its life: made silent; `restore` gives it a state (as often as the host likes); `process` block by
    block.
    """

    def __init__(self, sample_rate: float, max_block: int, shelf: InstrumentShelf) -> None:
        """
        Args:
            sample_rate: Hz.
            max_block: the longest block that will be asked for.
            shelf: where instruments are found.
        """
        self._sample_rate = sample_rate
        self._max_block = max_block
        self._shelf = shelf
        self._instrument: Instrument | None = None
        self._engine: Engine | None = None
        self._chain: ChainEffect | None = None
        self._state = PluginState()
        self._state_id = 0
        self.probe = Probe(on=False)
        """What went to the decoder; on while somebody watches."""

    @property
    def latency(self) -> int:
        """Samples at the host's rate; 0 while there is no instrument."""
        return self._engine.latency if self._engine else 0

    @property
    def tail(self) -> int:
        """Samples that may sound after the last note."""
        return ENDLESS_TAIL

    @property
    def faults(self) -> int:
        """How often something was wrong and was covered up."""
        return sum(vars(self._engine.faults).values()) if self._engine else 0

    @property
    def instrument(self) -> InstrumentReference | None:
        """What plays; None for the built-in one."""
        return self._state.instrument

    @property
    def has_frames(self) -> bool:
        """Whether it plays frame by frame; one-shots do not."""
        return self._instrument is not None and not isinstance(self._instrument.autoencoder, OneShotAutoencoder)

    @property
    def chain(self) -> ChainEffect | None:
        """The loopers at work; None before the first state."""
        return self._chain

    @property
    def parameters(self) -> dict[str, float]:
        """The engine's parameters as they are, plain values; none before the first state."""
        return dict(self._engine.parameters) if self._engine else {}

    @property
    def instrument_name(self) -> str:
        """What a musician calls what plays."""
        return self._state.instrument.name if self._state.instrument else "built-in"

    def restore(self, data: bytes, state_id: int = 0) -> None:
        """Become what a state says. The sound goes on where only parameters change.

        Args:
            data: a plugin state's bytes.
            state_id: its number; see `Request.state_id`.
        Raises:
            InputError, FileError: the state or its instrument cannot be read; all is as it was.
        """
        state = PluginState.from_bytes(data)
        instrument = self._shelf.get(state.instrument)
        if instrument is not self._instrument or self._engine is None:
            chain = loopers_of(instrument, state.loops)
            self._engine = Engine(instrument, self._sample_rate, self._max_block, effects=[chain, self.probe])
            self._instrument, self._chain = instrument, chain
        elif self._chain is not None and not (state.loops and state.loops == self.loops()):
            self._chain.restore(ours(state.loops))
        self._engine.set_parameters({**DEFAULTS, **state.parameters})
        self._state, self._state_id = state, state_id

    def loops(self) -> bytes:
        """What the plugin must keep besides parameters and instrument: the state's chunk LOOP, all that the loopers
        remember; what another version left there, as long as nothing was looped.
        """
        if self._chain is None or self._chain.untouched:
            return b"" if self._chain is not None and ours(self._state.loops) else self._state.loops
        return self._chain.to_bytes()

    @property
    def loop(self) -> tuple[int, float]:
        """Of the loop that Loop Slot chooses: Loop State and Loop Phase."""
        return self._chain.selected if self._chain is not None else (0, 0.0)

    def process(
        self, request: Request, events: Iterable[tuple[Any, ...]], audio_in: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Make a block.

        Args:
            request: what is asked for. Its parameters count if they are those of the state that was restored last, or
                of a newer one.
            events: rows of `protocol.EVENT`.
            audio_in: (CHANNELS, samples or more), used where the request says so.
        Returns:
            (channels, samples), channels 1 or CHANNELS.
        """
        if self._engine is None:
            return np.zeros((1, request.samples), np.float32)
        flags = request.flags
        if flags & _RESET:
            self._engine.reset()
        points, midi = _sorted_out(events, request.samples)
        if request.state_id < self._state_id:
            points = []
        audio = audio_in[:, : request.samples] if flags & _AUDIO_IN else None
        transport = _transport(request) if flags & _HAS_TRANSPORT else None
        sound = self._engine.process(
            Block(request.samples, points, bool(flags & _LINES), midi, transport, self._heard(audio))
        )
        return sound[:CHANNELS]

    def _heard(self, audio: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
        """Incoming stereo as the autoencoder wants it; what is no number becomes silence."""
        if audio is None or self._instrument is None:
            return None
        if self._instrument.autoencoder.channels == 1:
            audio = audio.mean(axis=0, keepdims=True, dtype=np.float32)
        return np.nan_to_num(audio, nan=0.0, posinf=0.0, neginf=0.0)


def _transport(request: Request) -> Transport:
    flags = request.flags
    return Transport(
        playing=bool(flags & _PLAYING),
        beat=request.beat if flags & _HAS_BEAT else None,
        bpm=request.bpm if flags & _HAS_BPM else None,
        seconds=request.seconds if flags & _HAS_SECONDS else None,
        bar_beat=request.bar_beat if flags & _HAS_BAR else None,
        meter=(request.meter_numerator, request.meter_denominator) if flags & _HAS_METER else None,
        cycle=(request.cycle_begin, request.cycle_end) if flags & _CYCLE and flags & _HAS_CYCLE else None,
        recording=bool(flags & _RECORDING),
        offline=bool(flags & _OFFLINE),
    )


def _sorted_out(
    events: Iterable[tuple[Any, ...]], samples: int
) -> tuple[list[ParameterPoint], list[MidiEvent | NoteExpression]]:
    """A request's events as the engine wants them. What makes no sense is left out."""
    points: list[ParameterPoint] = []
    midi: list[MidiEvent | NoteExpression] = []
    for offset, kind, size, id, _, key, channel, *data, value in events:
        offset = min(offset, samples - 1)
        if kind == _PARAMETER:
            points.append(ParameterPoint(id, offset, value))
        elif kind == _MIDI:
            midi.append(MidiEvent(offset, bytes(data[:size])))
        elif kind == _NOTE_EXPRESSION:
            moved = EXPRESSED.get(id)
            if moved is not None and value == value:
                midi.append(NoteExpression(offset, channel, key, moved, _expressed(id, value)))
        elif kind in (_NOTE_ON, _NOTE_OFF, _NOTE_CHOKE):
            midi += _note(kind, offset, channel, key, value)
    return points, midi


def _expressed(id: int, value: float) -> float:
    if id == protocol.NoteExpression.TUNING:
        return min(max(0.5 + value / (2 * BEND_RANGE), 0.0), 1.0)
    return min(max(value, 0.0), 1.0)


def _note(kind: int, offset: int, channel: int, key: int, value: float) -> list[MidiEvent]:
    """A note as MIDI; an end of all notes (-1) as All Notes Off."""
    channels = range(16) if channel < 0 else (channel & 0x0F,)
    if kind == _NOTE_ON:
        velocity = round(min(max(value * 127, 1), 127)) if value == value else 64
        return [MidiEvent(offset, bytes([0x90 | c, max(key, 0) & 0x7F, velocity])) for c in channels]
    if key < 0:
        return [MidiEvent(offset, bytes([0xB0 | c, 123, 0])) for c in channels]
    return [MidiEvent(offset, bytes([0x80 | c, key & 0x7F, 0])) for c in channels]
