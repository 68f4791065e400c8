"""Standard MIDI files -> lanes, tempo, meters, markers and notes; parsed by mido.

A MIDI file has no curves: every lane holds its value until the next event, and of several events on one tick the last
counts. What the events mean: `events`. What drives X, Y and Pressure: `controls.SOURCES_BY_KEY`.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import mido

from terrain_core.errors import FileError
from terrain_core.lanes import LARGEST_TIME
from terrain_daws.controls import assign_keys
from terrain_daws.midi.events import DEFAULT_BPM, MidiEvents
from terrain_daws.midi.writing import LanePlace, MidiDocument
from terrain_daws.project import Project

LARGEST_FILE: Final = 8 << 20
"""Bytes. Two million events; mido needs some 300 bytes and 5 µs for each."""


def read_midi(path: Path) -> Project:
    """Read a standard MIDI file of type 0, 1 or 2. The patterns of a type 2 file are laid end to end.

    Raises:
        FileError: not a MIDI file, damaged (with track and byte), or larger than 8 MiB.
    """
    size = path.stat().st_size
    if size > LARGEST_FILE:
        raise FileError(path, f"is a MIDI file of {size:,} bytes, more than the {LARGEST_FILE:,} that are read")
    data = path.read_bytes()
    layout = _Layout.of(path, data)
    events = MidiEvents(layout.ticks_per_beat, unknown=layout.unknown)
    begin, read_tracks = 0, []
    for number, (offset, chunk) in enumerate(layout.tracks, start=1):
        messages = _messages(path, number, offset, chunk, begin)
        end = messages[-1][0] if messages else begin
        beats = end / layout.ticks_per_beat
        if beats > LARGEST_TIME:
            problem = f"is {beats:.3g} beats long, expected at most {LARGEST_TIME:g}"
            raise FileError(path, problem, position=f"track {number}")
        events.add_track(number, messages, has_tempo=not layout.counts_seconds)
        read_tracks.append((offset, chunk, messages))
        begin = end if layout.is_sequence else 0
    lanes, second = assign_keys(events.lanes())
    project = Project(
        format="midi",
        path=path,
        tracks=events.tracks,
        lanes=lanes,
        tempo_map=events.tempo_map(),
        markers=events.named_places(),
        notes=events.notes(),
        unknown=events.unknown + second,
    )
    places = [LanePlace(*place) for place in events.places()]
    project.document = MidiDocument(project, data, read_tracks, places, layout.ticks_per_beat)
    return project


# --- the file -------------------------------------------------------------------------------------------------------


@dataclass
class _Layout:
    """The file's chunks, before anything in them is looked at."""

    ticks_per_beat: float
    counts_seconds: bool
    is_sequence: bool  # of patterns, each with a time of its own
    tracks: list[tuple[int, bytes]]  # (byte offset in the file, the chunk's contents)
    unknown: list[str]

    @classmethod
    def of(cls, path: Path, data: bytes) -> _Layout:
        chunks, unknown = [], []
        for offset, kind, body in _chunks(path, data):
            if kind in (b"MThd", b"MTrk"):
                chunks.append((offset, kind, body))
            else:
                unknown.append(f"byte {offset}: a chunk {kind.decode('latin-1')!r} of {len(body)} bytes")
        if len(chunks[0][2]) < 6:
            raise FileError(path, f"has a header of {len(chunks[0][2])} bytes, expected 6", position="byte 8")
        file_type, count, division = struct.unpack(">HHH", chunks[0][2][:6])
        tracks = [(offset, body) for offset, kind, body in chunks[1:] if kind == b"MTrk"]
        if file_type not in (0, 1, 2):
            raise FileError(path, f"is a MIDI file of type {file_type}, expected 0, 1 or 2", position="byte 8")
        if file_type == 2:
            unknown.append(f"byte 8: a file of type 2; its {len(tracks)} patterns are laid end to end")
        if len(tracks) < count:
            raise FileError(path, f"announces {count} tracks and has {len(tracks)}", position=f"byte {len(data)}")
        if len(tracks) > count:
            unknown.append(f"byte 10: announces {count} tracks; all {len(tracks)} were read")
        ticks, counts_seconds = _ticks_per_beat(path, division)
        return cls(ticks, counts_seconds, file_type == 2, tracks, unknown)


def _chunks(path: Path, data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """(offset, kind, contents) of each chunk."""
    offset = 0
    while offset < len(data):
        if offset + 8 > len(data):
            raise FileError(path, "ends within a chunk's header", position=f"byte {offset}")
        kind, size = struct.unpack_from(">4sL", data, offset)
        missing = offset + 8 + size - len(data)
        if missing > 0:
            raise FileError(
                path,
                f"ends within the chunk {kind.decode('latin-1')!r}, {missing:,} of its {size:,} bytes are missing",
                position=f"byte {offset}",
            )
        yield offset, kind, data[offset + 8 : offset + 8 + size]
        offset += 8 + size


def _ticks_per_beat(path: Path, division: int) -> tuple[float, bool]:
    """Ticks per quarter note, and whether ticks are fractions of a second (SMPTE): then a beat is half a second, at
    120 bpm.
    """
    if division & 0x8000:
        frames, ticks = 256 - (division >> 8), division & 0xFF
        ticks_per_second = (30000 / 1001 if frames == 29 else frames) * ticks
        division_in_beats, counts_seconds = ticks_per_second * 60 / DEFAULT_BPM, True
    else:
        division_in_beats, counts_seconds = float(division), False
    if division_in_beats <= 0:
        raise FileError(path, "has 0 ticks per quarter note", position="byte 12")
    return division_in_beats, counts_seconds


def _messages(path: Path, number: int, offset: int, chunk: bytes, begin: int) -> list[tuple[int, Any]]:
    """(tick, mido message) for one track that begins at the tick `begin`. mido is given one track at a time, so that an
    error can say where it is.
    """
    header = struct.pack(">4sLHHH4sL", b"MThd", 6, 0, 1, 480, b"MTrk", len(chunk))
    stream = io.BytesIO(header + chunk)
    try:
        track = mido.MidiFile(file=stream).tracks[0] if chunk else []
    except (EOFError, OSError, ValueError, LookupError, TypeError, mido.KeySignatureError) as error:
        byte = max(offset, offset + 8 + stream.tell() - len(header))
        raise FileError(path, _what_mido_met(error), position=f"track {number}, byte {byte}") from None
    tick, timed = begin, []
    for message in track:
        tick += message.time
        timed.append((tick, message))
    return timed


def _what_mido_met(error: Exception) -> str:
    if isinstance(error, EOFError):
        return "ends within an event"
    if isinstance(error, LookupError):  # mido looks for bytes, or for a kind of event, that are not there
        return "has an event that is too short or of no known kind"
    return f"has an event that is not MIDI ({error})"
