"""Standard MIDI files: written new with our lanes as 14-bit controllers, or patched track by track.

MIDI has neither curves nor tempo ramps. A lane becomes a value every 1/48 beat (8 to 13 ms) where it changes, to 14
bits, and one just before and one at each jump; a ramp becomes steps that each take as long as what they stand for.
"""

from __future__ import annotations

import io
import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import mido
import numpy as np

from terrain_core.errors import InputError
from terrain_core.lanes import CODES, Lane, Shape
from terrain_core.safe_write import replacing
from terrain_core.tempo import TempoMap
from terrain_daws.changes import lane_changes
from terrain_daws.insertions import Insertion, insertions
from terrain_daws.project import Note, Project

TICKS_PER_BEAT: Final = 960
CONTROL_TICKS: Final = 20
CONTROLLERS: Final = {"x": 16, "y": 17, "pressure": 18}
"""MIDI's general-purpose controllers 1 to 3; with the controllers 32 above they have 14 bits."""

WORST_STEP_S: Final = 1e-3
"""By how much, at most, a tempo in steps is off the ramp that it stands for, seconds."""

Timed = tuple[int, Any]


def write_midi(project: Project, path: Path) -> list[str]:
    """Write a file of type 1: a track with tempo, meters and markers, and one for each instance of our plugin.

    Returns:
        a line for each thing that was not written: only X, Y and Pressure have controllers of their own.
    """
    rows, left_out = insertions(project)
    for row in rows:
        others = [key for key in row.lanes if key not in CONTROLLERS]
        left_out += [f"the lane {row.track}/{key}: no MIDI controller stands for it" for key in others]
        if row.state.parameters or row.state.instrument:
            left_out.append(f"the plugin's state on track {row.track}: MIDI files hold none")
    file = mido.MidiFile(type=1, ticks_per_beat=TICKS_PER_BEAT)
    end = _end(project, rows)
    file.tracks.append(_track(_conductor(project), end))
    for row in rows:
        file.tracks.append(_track(_performance(row, project.tempo_map), end))
    data = io.BytesIO()
    file.save(file=data)
    with replacing(path) as beside:
        beside.write_bytes(data.getvalue())
    return left_out


def _end(project: Project, rows: Sequence[Insertion]) -> int:
    beats = [0.0, *(marker.beat for marker in project.markers)]
    for row in rows:
        beats += [float(lane.to_beats(project.tempo_map).times[-1]) for lane in row.lanes.values()]
        beats += [note.beat + note.duration for note in row.notes]
    return max(_tick(beat) for beat in beats)


def _conductor(project: Project, ticks_per_beat: float = TICKS_PER_BEAT) -> Iterator[Timed]:
    yield 0, mido.MetaMessage("track_name", name="Conductor")
    yield from tempo_events(project.tempo_map, ticks_per_beat)
    for marker in project.markers:
        yield _tick(marker.beat, ticks_per_beat), mido.MetaMessage("marker", text=_latin(marker.name))


def tempo_events(tempo_map: TempoMap, ticks_per_beat: float) -> Iterator[Timed]:
    """Tempo and meters."""
    for meter in tempo_map.meters:
        tick = _tick(max(meter.beat, 0.0), ticks_per_beat)
        yield tick, mido.MetaMessage("time_signature", numerator=meter.numerator, denominator=meter.denominator)
    stepped = tempo_map.with_shapes({"step"}, WORST_STEP_S)
    rows: dict[int, float] = {0: float(stepped.bpm_at_beats(0.0))}
    for point in stepped.points:
        if point.beat >= 0:
            rows[_tick(point.beat, ticks_per_beat)] = point.bpm
    for tick, bpm in rows.items():
        yield tick, mido.MetaMessage("set_tempo", tempo=min(max(round(60e6 / bpm), 1), 0xFFFFFF))


def _performance(row: Insertion, tempo_map: TempoMap) -> Iterator[Timed]:
    yield 0, mido.MetaMessage("track_name", name=_latin(row.track))
    for key, controller in CONTROLLERS.items():
        if key in row.lanes:
            yield from controller_events(row.lanes[key].to_beats(tempo_map), controller, 0, TICKS_PER_BEAT)
    yield from note_events(row.notes, TICKS_PER_BEAT)


def controller_events(
    lane: Lane, controller: int, channel: int, ticks_per_beat: float, *, wide: bool = True
) -> Iterator[Timed]:
    """A lane over beats as the messages of a controller (`wide`: of two, 14 bits)."""
    for tick, number in _quantised(lane, 0x3FFF if wide else 0x7F, ticks_per_beat):
        high = number >> 7 if wide else number
        yield tick, mido.Message("control_change", channel=channel, control=controller, value=high)
        if wide:
            yield tick, mido.Message("control_change", channel=channel, control=controller + 32, value=number & 0x7F)


def note_events(notes: Iterable[Note], ticks_per_beat: float) -> Iterator[Timed]:
    """Notes; what ends on a tick comes before what begins on it (see `_track`)."""
    for note in notes:
        begin, end = _tick(note.beat, ticks_per_beat), _tick(note.beat + note.duration, ticks_per_beat)
        velocity = max(1, round(note.velocity * 127))
        yield begin, mido.Message("note_on", channel=note.channel, note=note.key, velocity=velocity)
        yield max(end, begin + 1), mido.Message("note_off", channel=note.channel, note=note.key)


def _quantised(lane: Lane, highest: int, ticks_per_beat: float) -> list[tuple[int, int]]:
    """(tick, number) wherever the rounded value changes on the grid, and at the ends."""
    step = max(round(CONTROL_TICKS * ticks_per_beat / TICKS_PER_BEAT), 1)
    points = np.rint(lane.times * ticks_per_beat).astype(np.int64)
    if bool((lane.shape_codes == CODES[Shape.HOLD]).all()):
        ticks = np.unique(np.maximum(points, 0))
    else:
        grid = np.arange(0, max(points[-1], 0) + 1, step)
        jumps = points[1:][(np.diff(lane.times) == 0) | (lane.shape_codes[:-1] == CODES[Shape.HOLD])]
        ticks = np.unique(np.concatenate([grid, np.maximum(jumps, 0), np.maximum(points[[0, -1]], 0)]))
    if len(lane) > 1 and lane.times[0] == lane.times[1]:
        ticks = np.union1d(ticks, [0])  # a jump at the very first point: the value before it must be said
    numbers = np.rint(np.clip(lane.sample(ticks / ticks_per_beat), 0, 1) * highest).astype(int)
    changed = np.append(True, np.diff(numbers) != 0)
    return list(zip(ticks[changed].tolist(), numbers[changed].tolist(), strict=True))


def _track(timed: Iterable[Timed], end: int) -> mido.MidiTrack:
    track, now = mido.MidiTrack(), 0
    for tick, message in sorted(timed, key=lambda row: (row[0], row[1].type != "note_off")):
        track.append(message.copy(time=tick - now))
        now = tick
    track.append(mido.MetaMessage("end_of_track", time=max(end - now, 0)))
    return track


def _tick(beat: float, ticks_per_beat: float = TICKS_PER_BEAT) -> int:
    return max(round(beat * ticks_per_beat), 0)


def _latin(text: str) -> str:
    """UTF-8, by way of the Latin-1 that mido writes."""
    return text.encode("utf-8").decode("latin-1")


# --- a file that was read -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LanePlace:
    """The stream that a lane came from: its track's index, channel, source ("CC 16", "pitch bend", …) and whether it
    has 14 bits. `track` is -1 for lanes put together from several channels.
    """

    track: int
    channel: int
    source: str
    wide: bool


class MidiDocument:
    """The file that a project was read from; see `SourceDocument`."""

    def __init__(
        self,
        project: Project,
        data: bytes,
        tracks: Sequence[tuple[int, bytes, list[Timed]]],
        places: Sequence[LanePlace],
        ticks_per_beat: float,
    ) -> None:
        self.data = data
        self.tracks = list(tracks)
        self.places = list(places)
        self.ticks_per_beat = ticks_per_beat
        self.lanes = list(project.lanes)
        self.notes = list(project.notes)
        self.markers = list(project.markers)
        self.tempo_map = project.tempo_map

    def rewritten(self, project: Project) -> bytes:
        """The file with what was changed in `project`; tracks in which nothing changed keep their bytes.

        Raises:
            InputError: a lane that is no controller's was changed, or one was added; notes were changed.
        """
        if project.notes != self.notes:
            raise InputError(f"{project.path}: notes were changed, which is not written back into MIDI files")
        changes = lane_changes(self.lanes, project.lanes)
        if changes.added:
            lane = changes.added[0]
            raise InputError(f"{project.path} has no place for the new lane {lane.track}/{lane.name}; write a new file")
        dropped: dict[int, list[LanePlace]] = defaultdict(list)
        added: dict[int, list[Timed]] = defaultdict(list)
        for index in [*changes.removed, *changes.replaced]:
            place = self._place(index)
            dropped[place.track].append(place)
        for index, lane in changes.replaced.items():
            place = self._place(index)
            controller = int(place.source.removeprefix("CC "))
            beats = lane.to_beats(project.tempo_map)
            added[place.track] += controller_events(
                beats, controller, place.channel, self.ticks_per_beat, wide=place.wide
            )
        kinds = set()
        if project.tempo_map != self.tempo_map:
            kinds |= {"set_tempo", "time_signature"}
            added[0] += tempo_events(project.tempo_map, self.ticks_per_beat)
        if project.markers != self.markers:
            kinds |= {"marker", "cue_marker"}
            added[0] += [
                (_tick(m.beat, self.ticks_per_beat), mido.MetaMessage("marker", text=_latin(m.name)))
                for m in project.markers
            ]
        parts, position = [], 0
        for index, (offset, body, messages) in enumerate(self.tracks):
            kept = [
                (tick, message)
                for tick, message in messages
                if message.type not in kinds and not any(_belongs(message, place) for place in dropped[index])
            ]
            if len(kept) == len(messages) and not added[index]:
                continue
            end = messages[-1][0] if messages else 0
            rows = [row for row in kept if row[1].type != "end_of_track"] + added[index]
            parts += [self.data[position:offset], _chunk(rows, max([end, *(tick for tick, _ in rows)]))]
            position = offset + 8 + len(body)
        return b"".join([*parts, self.data[position:]])

    def _place(self, index: int) -> LanePlace:
        place = self.places[index]
        if place.track < 0 or not place.source.startswith("CC "):
            lane = self.lanes[index]
            raise InputError(f"the lane {lane.track}/{lane.name} is no controller's; it is not written back")
        return place


def _belongs(message: Any, place: LanePlace) -> bool:
    controller = int(place.source.removeprefix("CC "))
    numbers = {controller, controller + 32} if place.wide else {controller}
    return message.type == "control_change" and message.channel == place.channel and message.control in numbers


def _chunk(rows: Sequence[Timed], end: int) -> bytes:
    """A track's chunk, with the messages of one tick in the order that they are given."""
    track, now = mido.MidiTrack(), 0
    for tick, message in sorted(rows, key=lambda row: row[0]):
        track.append(message.copy(time=round(tick - now)))
        now = tick
    track.append(mido.MetaMessage("end_of_track", time=round(max(end - now, 0))))
    file = mido.MidiFile(type=0)
    file.tracks.append(track)
    data = io.BytesIO()
    file.save(file=data)
    whole = data.getvalue()
    (header,) = struct.unpack_from(">L", whole, 4)
    return whole[8 + header :]
