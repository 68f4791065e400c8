"""What a host hands over at once: a number of samples, and what happens within them.

Offsets are in host samples from the block's first sample, as VST3 and CLAP give them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from terrain_core.autoencoders.protocol import Audio
from terrain_core.errors import InputError


class ParameterPoint(NamedTuple):
    """A parameter takes a value at a sample. The value is a plain one (dB, ms, 0..1 for X), not a normalised one."""

    parameter_id: int
    offset: int
    value: float


class MidiEvent(NamedTuple):
    """One short MIDI 1.0 message: status byte and data bytes, no running status, no system exclusive."""

    offset: int
    data: bytes


class TimedMidi(NamedTuple):
    """A short MIDI message at a song position in seconds."""

    seconds: float
    data: bytes


class NoteExpression(NamedTuple):
    """One note's own control, as CLAP and VST3 have it: finer than MIDI, and for that note alone.

    `parameter_id` is the parameter that it moves while its note leads (X, Y or Pressure), `value` a plain one. A key of
    -1 means every note of the channel, a channel of -1 every channel.
    """

    offset: int
    channel: int
    key: int
    parameter_id: int
    value: float


@dataclass(frozen=True)
class Transport:
    """The host's transport at the block's first sample. None: the host does not say.

    Attributes:
        playing: whether the song position moves.
        beat: song position in quarter notes (ppq).
        bpm: tempo in quarter notes per minute.
        seconds: song position in seconds.
        bar_beat: where the running bar began, in quarter notes.
        meter: numerator and denominator.
        cycle: the host's loop, its begin and end in quarter notes, while it is on.
        recording: whether the host records.
        offline: whether the host renders without waiting for real time.
    """

    playing: bool = False
    beat: float | None = None
    bpm: float | None = None
    seconds: float | None = None
    bar_beat: float | None = None
    meter: tuple[int, int] | None = None
    cycle: tuple[float, float] | None = None
    recording: bool = False
    offline: bool = False


@dataclass(frozen=True)
class Block:
    """A block of `samples` host samples.

    Attributes:
        samples: its length, 1 or more; may change from block to block.
        points: parameter changes, in any order between parameters, by rising offset within one.
        lines: True joins the points by straight lines, from the value that held at the block's end before (VST3);
            False makes each point a step (CLAP). Parameters with steps (choices, whole numbers) always step.
        midi: MIDI messages and note expressions by rising offset.
        transport: None where a host has none at all (pedalboard).
        audio: incoming audio (channels, samples) for the source Input.
    """

    samples: int
    points: Sequence[ParameterPoint] = ()
    lines: bool = False
    midi: Sequence[MidiEvent | NoteExpression] = ()
    transport: Transport | None = None
    audio: Audio | None = None

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise InputError(f"a block has {self.samples} samples: expected 1 or more")
        if self.audio is not None and (self.audio.ndim != 2 or self.audio.shape[1] != self.samples):
            raise InputError(f"a block's audio has the shape {self.audio.shape}: expected (channels, {self.samples})")
