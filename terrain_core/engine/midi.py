"""MIDI and MPE into the same controls that automation moves.

Pitch bend moves X (its centre is X's middle), CC 74 moves Y, the modulation wheel moves Z, channel or poly pressure
moves Pressure, each over its whole range. Of several held notes the youngest one leads: messages of its channel count,
those of other channels wait until their note leads. Thus an MPE controller plays the terrain with one finger and keeps
the others in reserve, and an ordinary keyboard, which sends all on one channel, just works. Messages of a channel
without a held note count when no note is held at all, and always on channels 1 and 16, where MPE keeps its master
channels. A note expression belongs to its note: it waits until that one leads, and counts for more than what its
channel said before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from terrain_core.engine.events import MidiEvent, NoteExpression, ParameterPoint
from terrain_core.parameters import by_key

NOTE_OFF, NOTE_ON, POLY_PRESSURE, CONTROL_CHANGE, CHANNEL_PRESSURE, PITCH_BEND = 0x80, 0x90, 0xA0, 0xB0, 0xD0, 0xE0
LENGTHS = {NOTE_OFF: 3, NOTE_ON: 3, POLY_PRESSURE: 3, CONTROL_CHANGE: 3, CHANNEL_PRESSURE: 2, PITCH_BEND: 3}
"""Message length in bytes, status byte included, of those that mean something here."""

SUSTAIN = 64
ALL_SOUND_OFF = 120
ALL_NOTES_OFF = 123
MASTER_CHANNELS = (0, 15)

X, Y, Z, PRESSURE = (by_key(key).id for key in ("x", "y", "z", "pressure"))

MESSAGES = {PITCH_BEND: X, CHANNEL_PRESSURE: PRESSURE, POLY_PRESSURE: PRESSURE}
CONTROLLERS = {1: Z, 74: Y}
"""What messages, and among control changes which number (1 is the modulation wheel), move which parameter."""


class Note(NamedTuple):
    """A sounding note; at most one per channel and key."""

    channel: int
    key: int


def bend_to_unit(value: int) -> float:
    """14-bit pitch bend to 0..1, with the centre 8192 at exactly 0.5 and both ends reached."""
    return value / 16384 if value <= 8192 else 0.5 + (value - 8192) / 16382


class MidiState:
    """Which notes are held, and what each channel last said. One message in, control steps out."""

    def __init__(self) -> None:
        self._held: list[Note] = []  # the youngest last
        self._released: set[Note] = set()  # key up, but the pedal holds them
        self._pedals: set[int] = set()
        self._expression: dict[int, dict[int, float]] = {}  # channel -> parameter id -> value
        self._own_expression: dict[Note, dict[int, float]] = {}  # of held notes

    @property
    def sounding(self) -> bool:
        """Whether any note is held, by its key or by the sustain pedal."""
        return bool(self._held)

    def expression(self, note: Note) -> dict[int, float]:
        """What a note has for itself, parameter id -> plain value: its channel's (unless that is a master channel,
        whose messages are everybody's) and its own expressions.
        """
        channel = {} if note.channel in MASTER_CHANNELS else self._expression.get(note.channel, {})
        return {**channel, **self._own_expression.get(note, {})}

    def receive(self, event: MidiEvent | NoteExpression) -> Iterator[ParameterPoint]:
        """Take in a message; yield the parameter changes that follow. Messages that mean nothing here are ignored."""
        if isinstance(event, NoteExpression):
            yield from self._express_note(event)
            return
        if not event.data:
            return
        kind, channel = event.data[0] & 0xF0, event.data[0] & 0x0F
        if LENGTHS.get(kind) != len(event.data) or max(event.data[1:]) > 0x7F:
            return
        first, last = event.data[1], event.data[-1]
        leader = self._leader()
        if kind == NOTE_ON and last > 0:
            self._press(Note(channel, first))
        elif kind in (NOTE_ON, NOTE_OFF):
            self._release(Note(channel, first))
        elif kind == CONTROL_CHANGE and first not in CONTROLLERS:
            self._control(channel, first, last)
        else:
            yield from self._express(event, kind, channel, first, last)
        now = self._leader()
        if leader is not None and now is not None and leader != now:
            if leader.channel != now.channel:
                yield from _points(event.offset, self._expression.get(now.channel, {}))
            yield from _points(event.offset, self._own_expression.get(now, {}))

    def _press(self, note: Note) -> None:
        self._forget(note)
        self._held.append(note)

    def _release(self, note: Note) -> None:
        if note.channel in self._pedals:
            self._released.add(note)
        else:
            self._forget(note)

    def _forget(self, note: Note) -> None:
        self._released.discard(note)
        self._own_expression.pop(note, None)
        if note in self._held:
            self._held.remove(note)

    def _control(self, channel: int, number: int, value: int) -> None:
        if number == SUSTAIN and value >= 64:
            self._pedals.add(channel)
        elif number == SUSTAIN:
            self._pedals.discard(channel)
            self._forget_all(note for note in self._released if note.channel == channel)
        elif number == ALL_SOUND_OFF or number >= ALL_NOTES_OFF:
            self._forget_all(note for note in self._held if note.channel == channel)

    def _forget_all(self, notes: Iterable[Note]) -> None:
        for note in list(notes):
            self._forget(note)

    def _express(self, event: MidiEvent, kind: int, channel: int, first: int, last: int) -> Iterator[ParameterPoint]:
        parameter_id = CONTROLLERS[first] if kind == CONTROL_CHANGE else MESSAGES[kind]
        value = bend_to_unit(first | last << 7) if kind == PITCH_BEND else last / 127
        leader = self._leader()
        if kind == POLY_PRESSURE and leader != Note(channel, first):
            return
        self._expression.setdefault(channel, {})[parameter_id] = value
        if leader is None or channel in (leader.channel, *MASTER_CHANNELS):
            yield ParameterPoint(parameter_id, event.offset, value)

    def _leader(self) -> Note | None:
        return self._held[-1] if self._held else None

    def _express_note(self, event: NoteExpression) -> Iterator[ParameterPoint]:
        meant = [note for note in self._held if event.channel in (-1, note.channel) and event.key in (-1, note.key)]
        for note in meant:
            self._own_expression.setdefault(note, {})[event.parameter_id] = event.value
        if self._leader() in meant:
            yield ParameterPoint(event.parameter_id, event.offset, event.value)


def _points(offset: int, expression: Mapping[int, float]) -> Iterator[ParameterPoint]:
    """What was said before, said again: its note leads now."""
    for parameter_id, value in expression.items():
        yield ParameterPoint(parameter_id, offset, value)
