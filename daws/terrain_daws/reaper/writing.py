"""REAPER projects: written new with our plugin and its envelopes, or patched line by line."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from terrain_core import identity, parameters
from terrain_core.errors import InputError
from terrain_core.lanes import CODES, SHAPES, Lane, Shape
from terrain_core.plugin_state import PluginState
from terrain_core.safe_write import replacing
from terrain_core.tempo import TempoMap
from terrain_daws.changes import lane_changes
from terrain_daws.insertions import Insertion, insertions
from terrain_daws.ours import VST3_HEX
from terrain_daws.project import Marker, Note, Project
from terrain_daws.reaper import envelopes
from terrain_daws.reaper.places import InstancePlace, LanePlace, marker_lines
from terrain_daws.reaper.plugins import encoded_state, vst3_number
from terrain_daws.reaper.syntax import Block, Document, quoted

SHAPE_NUMBERS: Final = {shape: number for number, shape in enumerate(envelopes.SHAPES)}
TICKS_PER_BEAT: Final = 960
NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_DNS, identity.CLAP_ID)
"""Of the ids that REAPER wants for tracks, envelopes and items: the same project has the same ones each time."""

TEMPO_SHAPES: Final = ("step", "linear-seconds")


def write_reaper(project: Project, path: Path) -> list[str]:
    """Write a new project: a track for each instance of our plugin, with its envelopes, state and notes.

    Times are seconds, so that where the tempo changes within a segment, the segment becomes straight pieces (see
    `Lane.to_seconds`); tempo ramps that are linear in beats become ramps that are linear in seconds (see
    `TempoMap.with_shapes`).

    Returns:
        a line for each thing that was not written.
    """
    rows, left_out = insertions(project)
    lines = list(_project(project, rows))
    with replacing(path) as beside:
        beside.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    return left_out


# --- a new project --------------------------------------------------------------------------------------------------


def _project(project: Project, rows: Sequence[Insertion]) -> Iterator[str]:
    tempo_map = project.tempo_map
    first, meter = tempo_map.points[0], tempo_map.meters[0]
    yield '<REAPER_PROJECT 0.1 "6.0/latent-terrain" 0'
    yield "  TIMELOCKMODE 1"  # items and envelopes keep to beats if the tempo is changed later
    yield "  TEMPOENVLOCKMODE 1"
    yield f"  TEMPO {_number(first.bpm)} {meter.numerator} {meter.denominator}"
    for number, marker in enumerate(project.markers, start=1):
        yield "  " + _marker(number, marker, tempo_map)
    yield from _indented(_tempo_envelope(tempo_map), 1)
    for row in rows:
        yield from _indented(_track(row, tempo_map), 1)
    yield ">"


def _tempo_envelope(tempo_map: TempoMap) -> Iterator[str]:
    yield "<TEMPOENVEX"
    yield "  ACT 1 -1"
    yield "  VIS 1 0 1"
    yield "  DEFSHAPE 1 -1 -1"
    yield from _indented(_tempo_points(tempo_map), 1)
    yield ">"


def _tempo_points(tempo_map: TempoMap) -> Iterator[str]:
    """A point for each change of tempo or meter. A meter between two points gets a point with the tempo that rules
    there.
    """
    exact = tempo_map.with_shapes(TEMPO_SHAPES, tolerance=1e-6)
    meters = {meter.beat: meter for meter in exact.meters}
    rows = []
    for point, seconds in zip(exact.points, exact.point_seconds.tolist(), strict=True):
        rows.append((point.beat, seconds, point.bpm, point.shape))
    known = {row[0] for row in rows}
    for beat in sorted(set(meters) - known):
        before = max((row for row in rows if row[0] <= beat), default=rows[0])
        rows.append((beat, float(exact.seconds_at(beat)), float(exact.bpm_at_beats(beat)), before[3]))
    rows.sort(key=lambda row: row[0])
    first = rows[0]
    if first[0] > 0:  # REAPER's first point is at the start
        rows.insert(0, (0.0, 0.0, first[2], "step"))
        meters.setdefault(0.0, exact.meters[0])
    for beat, seconds, bpm, shape in rows:
        meter = meters.pop(beat, None)
        signature = f" {meter.numerator + (meter.denominator << 16)}" if meter else ""
        yield f"PT {_number(seconds)} {_number(bpm)} {0 if shape == 'linear-seconds' else 1}{signature}"


def _marker(number: int, marker: Marker, tempo_map: TempoMap) -> str:
    return f"MARKER {number} {_number(float(tempo_map.seconds_at(marker.beat)))} {quoted(marker.name)} 0"


def _track(row: Insertion, tempo_map: TempoMap) -> Iterator[str]:
    yield f"<TRACK {_guid('track', row.track, row.name)}"
    yield f"  NAME {quoted(row.track)}"
    yield "  NCHAN 2"
    yield "  FX 1"
    yield "  MAINSEND 1 0"
    yield "  <FXCHAIN"
    yield "    SHOW 0"
    yield "    LASTSEL 0"
    yield "    DOCKED 0"
    yield "    BYPASS 0 0 0"
    yield from _indented(_plugin(row), 2)
    yield f"    FXID {_guid('fx', row.track, row.name)}"
    for key, lane in row.lanes.items():
        yield from _indented(_parameter_envelope(key, lane, row, tempo_map), 2)
    yield "    WAK 0 0"
    yield "  >"
    if row.notes:
        yield from _indented(_midi_item(row, tempo_map), 1)
    yield ">"


def _plugin(row: Insertion) -> Iterator[str]:
    own_name = quoted(row.name) if row.name != identity.PLUGIN_NAME else '""'
    title = f"{identity.PLUGIN_NAME} ({identity.VENDOR})"
    if row.plugin_format == "clap":
        yield f'<CLAP "CLAPi: {title}" {identity.CLAP_ID} {own_name}'
        yield "  <STATE"
        yield from _indented(encoded_state(row.state, "clap"), 2)
        yield "  >"
    else:
        class_id = VST3_HEX.upper()
        file = f'"{identity.PLUGIN_NAME}.vst3"'
        yield f'<VST "VST3i: {title}" {file} 0 {own_name} {vst3_number()}{{{class_id}}} ""'
        yield from _indented(encoded_state(row.state, "vst3"), 1)
    yield ">"


def _parameter_envelope(key: str, lane: Lane, row: Insertion, tempo_map: TempoMap) -> Iterator[str]:
    parameter = parameters.by_key(key)
    index = parameters.PARAMETERS.index(parameter)
    default = _number(parameter.to_normalised(parameter.default))
    yield f'<PARMENV {index}:{parameter.id} 0 1 {default} "{parameter.name} / {identity.PLUGIN_NAME}"'
    yield f"  EGUID {_guid('envelope', row.track, row.name, key)}"
    yield "  ACT 1 -1"
    yield "  VIS 1 1 1"
    yield "  ARM 1"
    yield "  DEFSHAPE 0 -1 -1"
    yield from _indented(_points(lane, tempo_map), 1)
    yield ">"


def _points(lane: Lane, tempo_map: TempoMap, low: float = 0.0, high: float = 1.0) -> Iterator[str]:
    """The lines of a lane, in the values of an envelope from `low` to `high`."""
    if (lane.shape_codes == CODES[Shape.EXPONENTIAL]).any():
        lane = lane.straightened()
    lane = lane.to_seconds(tempo_map)
    values = (low + lane.values * (high - low)).tolist()
    columns = (lane.times.tolist(), values, lane.shape_codes.tolist(), lane.tensions.tolist())
    for time, value, code, tension in zip(*columns, strict=True):
        shape = SHAPES[code]
        bezier = f" 0 0 0 {_number(tension)}" if shape is Shape.BEZIER else ""
        yield f"PT {_number(time)} {_number(value)} {SHAPE_NUMBERS[shape]}{bezier}"


def _midi_item(row: Insertion, tempo_map: TempoMap) -> Iterator[str]:
    end = max(note.beat + note.duration for note in row.notes)
    yield "<ITEM"
    yield "  POSITION 0"
    yield f"  LENGTH {_number(float(tempo_map.seconds_at(end)))}"
    yield "  LOOP 0"
    yield f"  IGUID {_guid('item', row.track, row.name)}"
    yield f"  NAME {quoted(row.track)}"
    yield "  SOFFS 0 0"
    yield "  PLAYRATE 1 1 0 -1 0 0.0025"
    yield f"  GUID {_guid('take', row.track, row.name)}"
    yield "  <SOURCE MIDI"
    yield f"    HASDATA 1 {TICKS_PER_BEAT} QN"
    now = 0
    for tick, data in _events(row.notes, end):
        yield f"    E {tick - now} {data[0]:02x} {data[1]:02x} {data[2]:02x}"
        now = tick
    yield "  >"
    yield ">"


def _events(notes: Iterable[Note], end: float) -> list[tuple[int, bytes]]:
    """(tick, message), ends before beginnings, and the message that marks the source's end."""
    rows = []
    for note in notes:
        begin, stop = (round(beat * TICKS_PER_BEAT) for beat in (note.beat, note.beat + note.duration))
        rows.append((max(begin, 0), 1, bytes((0x90 | note.channel, note.key, max(1, round(note.velocity * 127))))))
        rows.append((max(stop, 0), 0, bytes((0x80 | note.channel, note.key, 0))))
    rows.sort(key=lambda row: row[:2])
    last = max(round(end * TICKS_PER_BEAT), rows[-1][0])
    return [(tick, data) for tick, _, data in rows] + [(last, b"\xb0\x7b\x00")]


def _number(value: float) -> str:
    """As short as reads back to the same double."""
    return repr(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))


def _guid(*names: str) -> str:
    return f"{{{str(uuid.uuid5(NAMESPACE, '/'.join(names))).upper()}}}"


def _indented(lines: Iterable[str], depth: int) -> Iterator[str]:
    return (f"{'  ' * depth}{line}" for line in lines)


# --- a project that was read ----------------------------------------------------------------------------------------


@dataclass
class _Edits:
    """Lines to drop and lines to put in, each before a line of the file."""

    document: Document
    dropped: set[int] = field(default_factory=set)
    inserted: dict[int, list[str]] = field(default_factory=dict)

    def drop(self, lines: Iterable[int]) -> None:
        self.dropped.update(lines)

    def insert(self, before: int, lines: Iterable[str], *, like: int) -> None:
        """Put lines before a line, indented as the line `like` is."""
        indentation = self.document.indentation(like).decode("ascii")
        self.inserted.setdefault(before, []).extend(f"{indentation}{line}" for line in lines)

    def applied(self) -> bytes:
        document = self.document
        if not self.dropped and not self.inserted:
            return document.data
        newline = document.newline()
        parts = []
        position = 0  # everything before it is in `parts`
        for line in sorted(self.dropped | self.inserted.keys()):
            start, end = (int(document.starts[index]) for index in (line, line + 1))
            parts.append(document.data[position:start])
            parts += [text.encode("utf-8") + newline for text in self.inserted.get(line, ())]
            position = end if line in self.dropped else start
        parts.append(document.data[position:])
        return b"".join(parts)


class ReaperDocument:
    """The file that a project was read from; see `SourceDocument`."""

    def __init__(
        self,
        document: Document,
        project: Project,
        places: Sequence[LanePlace],
        instances: Sequence[InstancePlace],
    ) -> None:
        self.document = document
        self.places = list(places)
        self.instances = list(instances)
        self.lanes = list(project.lanes)
        self.tempo_map = project.tempo_map
        self.markers = list(project.markers)
        self.tracks = [instance.track for instance in project.instances]
        self.states = [instance.state for instance in project.instances]

    def rewritten(self, project: Project) -> bytes:
        """The file with what was changed in `project`; every other line as it was, byte for byte.

        Raises:
            InputError: a lane that MIDI items play was changed, a lane was added that belongs to no instance of our
                plugin, or an instance was added or removed.
        """
        edits = _Edits(self.document)
        self._write_states(project, edits)
        self._write_lanes(project, edits)
        if project.tempo_map != self.tempo_map:
            self._write_tempo(project.tempo_map, edits)
        if project.markers != self.markers:
            self._write_markers(project, edits)
        return edits.applied()

    def _write_states(self, project: Project, edits: _Edits) -> None:
        if len(project.instances) != len(self.instances):
            raise InputError(
                f"{project.path} had {len(self.instances)} instances of {identity.PLUGIN_NAME} and now has "
                f"{len(project.instances)}; insert or remove them in REAPER"
            )
        for place, before, instance in zip(self.instances, self.states, project.instances, strict=True):
            if instance.state == before:
                continue
            block = place.plugin.block
            kind = instance.plugin_format
            if kind == "clap":
                inner = block.find("STATE")
                if inner is None:
                    lines = ["<STATE", *encoded_state(instance.state or PluginState(), kind), ">"]
                    edits.insert(block.end, lines, like=block.end)
                    continue
                block = inner
            edits.drop(self.document.lines(block))
            edits.insert(block.end, encoded_state(instance.state or PluginState(), kind), like=block.begin + 1)

    def _write_lanes(self, project: Project, edits: _Edits) -> None:
        changes = lane_changes(self.lanes, project.lanes)
        for index, lane in changes.replaced.items():
            place = self.places[index]
            self._replace(self._envelope_of(index), place, lane, project.tempo_map, edits)
        for index in changes.removed:
            block = self._envelope_of(index)
            edits.drop(range(block.begin, block.end + 1))
        for lane in changes.added:
            self._add(lane, project, edits)

    def _envelope_of(self, index: int) -> Block:
        envelope = self.places[index].envelope
        if envelope is None:
            lane = self.lanes[index]
            raise InputError(f"the lane {lane.track}/{lane.name} is played by MIDI items, which are not written back")
        return envelope

    def _replace(self, block: Block, place: LanePlace, lane: Lane, tempo_map: TempoMap, edits: _Edits) -> None:
        document = self.document
        old = [line for line, words in document.tagged(block) if words[0] in ("PT", "POOLEDENVINST")]
        edits.drop(old)
        edits.insert(
            old[0] if old else block.end,
            _points(lane, tempo_map, place.low, place.high),
            like=old[0] if old else block.begin + 1,
        )
        for line, words in document.tagged(block):
            if words[0] == "ACT" and (words[1] != "0") != lane.active:
                edits.drop([line])
                edits.insert(line, [" ".join(["ACT", "1" if lane.active else "0", *words[2:]])], like=line)

    def _add(self, lane: Lane, project: Project, edits: _Edits) -> None:
        found = [i for i, track in enumerate(self.tracks) if track == lane.track] or list(range(len(self.tracks)))
        if not lane.key or not found:
            raise InputError(
                f"{project.path} has no place for the new lane {lane.track}/{lane.name}; only lanes of "
                f"{identity.PLUGIN_NAME} can be added, where REAPER has inserted it"
            )
        index = found[0]
        place, instance = self.instances[index], project.instances[index]
        row = Insertion(instance.track, instance.name, instance.plugin_format)
        lines = _parameter_envelope(lane.key, lane, row, project.tempo_map)
        edits.insert(place.end, lines, like=place.plugin.block.begin)

    def _write_tempo(self, tempo_map: TempoMap, edits: _Edits) -> None:
        document, root = self.document, self.document.root
        block = root.find("TEMPOENVEX")
        if block is None:
            edits.insert(self._before_tracks(), _tempo_envelope(tempo_map), like=root.begin + 1)
        else:
            old = [line for line, words in document.tagged(block) if words[0] == "PT"]
            edits.drop(old)
            like = old[0] if old else block.begin + 1
            edits.insert(old[0] if old else block.end, _tempo_points(tempo_map), like=like)
        first, meter = tempo_map.points[0], tempo_map.meters[0]
        for line, words in document.tagged(root):
            if words[0] == "TEMPO":
                edits.drop([line])
                values = [_number(first.bpm), str(meter.numerator), str(meter.denominator)]
                edits.insert(line, [" ".join(["TEMPO", *values, *words[4:]])], like=line)

    def _before_tracks(self) -> int:
        first = self.document.root.find("TRACK")
        return first.begin if first else self.document.root.end

    def _write_markers(self, project: Project, edits: _Edits) -> None:
        """Drop the lines of markers that are gone and add those that are new; the others, and regions' ends, stay."""
        wanted = list(project.markers)
        numbers = [0]
        for lines, marker, number in list(marker_lines(self.document, self.tempo_map)):
            numbers.append(number)
            if marker in wanted:
                wanted.remove(marker)
            else:
                edits.drop(lines)
        new = [_marker(max(numbers) + 1 + i, marker, project.tempo_map) for i, marker in enumerate(wanted)]
        edits.insert(self._before_tracks(), new, like=self.document.root.begin + 1)
