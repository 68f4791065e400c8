"""MIDI items: notes and controllers in takes that may be shifted, looped and played at another rate.

The events count in ticks of a quarter note, so an item follows the project's tempo unless it is told to ignore it
(IGNTEMPO), when its own tempo makes seconds of its ticks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import mido

from terrain_core.lanes import Shape
from terrain_core.tempo import TempoMap
from terrain_daws.clips import Piece, repeated
from terrain_daws.reaper.syntax import Block, Document

CC_SHAPES: Final = (Shape.HOLD, Shape.LINEAR, Shape.SMOOTH, Shape.FAST_START, Shape.FAST_END, Shape.BEZIER)
"""By REAPER's number for a controller's shape, which is another than for an envelope's."""

MOST_EVENTS: Final = 2_000_000
"""In one project, loops unrolled."""

EVENT_TAGS: Final = {"E", "e", "Em", "em"}
MUTED_TAGS: Final = {"Em", "em"}
SILENT_LINES: Final = frozenset({
    "HASDATA", "CCINTERP", "ENV", "POOLEDEVTS", "CHASE_CC_TAKEOFFS", "GUID", "IGNTEMPO", "SRCCOLOR", "VELLANE",
    "CFGEDITVIEW", "CFGEDIT", "EVTFILTER", "BANKPROGRAMFILE", "KEYSNAP", "TRACKSEL", "PITCHBENDRANGE",
})  # fmt: skip
ALL_NOTES_OFF: Final = 123


@dataclass
class Source:
    """The events of a `<SOURCE MIDI`: (quarter note, message, shape and tension or None), and the source's length in
    quarter notes.
    """

    events: list[tuple[float, Any, tuple[Shape, float] | None]] = field(default_factory=list)
    length: float = 0.0
    own_tempo: float = 0.0  # bpm; 0: the project's


@dataclass
class Take:
    """One take of an item."""

    line: int
    offset_s: float = 0.0
    offset_qn: float = 0.0
    play_rate: float = 1.0
    source: Block | None = None
    selected: bool = False


Row = tuple[float, Any, tuple[Shape, float] | None]
"""(beat in the project, message, shape and tension of the segment that follows or None)."""


@dataclass
class MidiItemReader:
    """Reads the MIDI items of one project.

    Attributes:
        report: gets (line, what) of everything that is not taken over.
    """

    document: Document
    tempo_map: TempoMap
    report: Callable[[int, str], None]
    shared: dict[str, Source] = field(default_factory=dict)  # by the pool's id
    events_read: int = 0

    def rows(self, item: Block) -> list[Row]:
        """What an item plays, in order."""
        document = self.document
        position = length = 0.0
        loops = muted = False
        takes = [Take(item.begin, selected=False)]
        for entry in document.entries(item):
            if isinstance(entry, Block):
                self._part_of_an_item(entry, takes[-1])
                continue
            line, words = entry, document.words(entry)
            take = takes[-1]
            match words[0] if words else "":
                case "POSITION":
                    position = document.number(line, words, 1)
                case "LENGTH":
                    length = document.number(line, words, 1)
                case "LOOP":
                    loops = document.number(line, words, 1) != 0
                case "MUTE":
                    muted = document.number(line, words, 1) != 0
                case "SOFFS":
                    take.offset_s = document.number(line, words, 1)
                    take.offset_qn = document.number(line, words, 2, 0.0)
                case "PLAYRATE":
                    take.play_rate = document.number(line, words, 1)
                case "TAKE":
                    takes.append(Take(line, selected="SEL" in words))
        playing = next((take for take in takes if take.selected), takes[0])
        if muted or playing.source is None or length <= 0:
            return []
        if document.words(playing.source.begin)[1:2] != ["MIDI"]:
            return []  # audio
        return self._played(playing, position, length, loops)

    def _part_of_an_item(self, block: Block, take: Take) -> None:
        if block.tag == "SOURCE":
            take.source = block
        elif block.tag != "NOTES" and any(words[0] == "PT" for _, words in self.document.tagged(block)):
            self.report(block.begin, f"the take's envelope <{block.tag} is not read")

    def _played(self, take: Take, position: float, length: float, loops: bool) -> list[Row]:
        assert take.source is not None
        line = take.source.begin
        source = self._source(take.source)
        if not source.events:
            return []
        if not 0 < take.play_rate <= 1e4:
            raise self.document.error(take.line, f"a take has the play rate {take.play_rate:g}")
        move = self.tempo_map
        in_seconds = source.own_tempo > 0
        stretch = (60 / source.own_tempo if in_seconds else 1.0) / take.play_rate  # content time per quarter note
        begin, end = position, position + length
        bpm = source.own_tempo or float(move.bpm_at_seconds(position))
        start = (take.offset_qn or take.offset_s * bpm / 60) * stretch
        if not in_seconds:
            begin, end = (float(move.beats_at(seconds)) for seconds in (begin, end))
        whole = source.length * stretch
        if loops and whole > 0:
            passes = (end - begin) / whole
            if passes * len(source.events) > MOST_EVENTS:
                raise self.document.error(line, f"a MIDI item repeats {passes:.3g} times")
            pieces = list(repeated(begin, end, start % whole, 0.0, whole))
        else:
            pieces = [Piece(start, start + end - begin, begin - start)]
        rows = [row for piece in pieces for row in self._piece(source, stretch, piece)]
        self.events_read += len(rows)
        if self.events_read > MOST_EVENTS:
            raise self.document.error(line, f"has more than {MOST_EVENTS:,} MIDI events")
        if in_seconds and rows:
            beats = move.beats_at([time for time, _, _ in rows]).tolist()
            rows = [(beat, message, curve) for beat, (_, message, curve) in zip(beats, rows, strict=True)]
        return rows

    def _piece(self, source: Source, stretch: float, piece: Piece) -> Iterator[Row]:
        """One pass: the events within it, and an end to every note that sounds on at its own end."""
        sounding: dict[tuple[int, int], int] = {}
        for quarter, message, curve in source.events:
            time = quarter * stretch
            if not piece.begin <= time < piece.end:
                continue
            if message.type == "note_on" and message.velocity:
                key = (message.channel, message.note)
                sounding[key] = sounding.get(key, 0) + 1
            elif message.type in ("note_on", "note_off"):
                key = (message.channel, message.note)
                if not sounding.get(key):
                    continue  # its beginning was cut off
                sounding[key] -= 1
            yield time + piece.origin, message, curve
        for (channel, note), count in sounding.items():
            for _ in range(count):
                yield piece.end + piece.origin, mido.Message("note_off", channel=channel, note=note), None

    def _source(self, block: Block) -> Source:
        document = self.document
        source, pool, ticks = Source(), "", 960.0
        now = 0.0
        strange: dict[str, int] = {}
        for entry in document.entries(block):
            if isinstance(entry, Block):
                now += self._long_event(entry, ticks)
                source.length = max(source.length, now)
                continue
            line, words = entry, document.words(entry)
            tag = words[0] if words else ""
            if tag in EVENT_TAGS:
                now += document.number(line, words, 1) / ticks
                message = self._message(line, words)
                source.length = now
                if message is not None and tag not in MUTED_TAGS:
                    source.events.append((now, message, self._curve(line, words, message)))
            elif tag == "HASDATA":
                ticks = document.number(line, words, 2)
                if not 0 < ticks <= 1e6:
                    raise document.error(line, f"HASDATA has {words[2]} ticks per quarter note")
            elif tag == "IGNTEMPO" and document.number(line, words, 1):
                source.own_tempo = document.number(line, words, 2)
                if not 1e-3 < source.own_tempo < 1e6:
                    raise document.error(line, f"IGNTEMPO has {words[2]} bpm")
            elif tag == "POOLEDEVTS":
                pool = words[1] if len(words) > 1 else ""
            elif tag == "FILE":
                self.report(
                    line, f"a MIDI item plays the file {words[1:2]}, which is not read; import it into the project"
                )
            elif tag and tag not in SILENT_LINES:
                strange.setdefault(tag, line)
        for tag, line in strange.items():
            self.report(line, f"{tag!r:.40} in a MIDI source is not known")
        if pool and source.events:
            self.shared.setdefault(pool, source)
        elif pool in self.shared:
            return self.shared[pool]
        return source

    def _curve(self, line: int, words: list[str], message: Any) -> tuple[Shape, float] | None:
        """Shape and tension of a controller's segment. In a note's line that word says how far it was quantised."""
        if message.type in ("note_on", "note_off") or len(words) < 6:
            return None
        shape = self.document.number(line, words, 5)
        if shape not in range(len(CC_SHAPES)):
            raise self.document.error(line, f"a controller has the shape {words[5]}, expected 0 to 5")
        tension = self.document.number(line, words, 6, 0.0)
        if not -1 <= tension <= 1:
            raise self.document.error(line, f"a controller has the tension {words[6]}, expected -1 to 1")
        return (CC_SHAPES[int(shape)], tension) if shape else None

    def _message(self, line: int, words: list[str]) -> Any:
        """The message of an event line; None for the one that marks the source's end."""
        try:
            data = [int(word, 16) for word in words[2:5]]
        except ValueError:
            raise self.document.error(
                line, f"an event has {' '.join(words[2:5])!r:.40}, expected hexadecimal bytes"
            ) from None
        if len(data) < 2:
            raise self.document.error(line, "an event ends within its bytes")
        kind = data[0] & 0xF0
        data = data[:2] if kind in (0xC0, 0xD0) else data
        if kind == 0xB0 and data[1] == ALL_NOTES_OFF:
            return None
        try:
            return mido.Message.from_bytes(data)
        except ValueError as error:
            raise self.document.error(line, f"an event is not MIDI ({error})") from None

    def _long_event(self, block: Block, ticks: float) -> float:
        """The quarter notes that a `<X` block (system exclusive, text, notation) takes; it is not read."""
        words = self.document.words(block.begin)
        if block.tag not in ("X", "x"):
            self.report(block.begin, f"<{block.tag!r:.40} in a MIDI source is not read")
            return 0.0
        return self.document.number(block.begin, words, 1, 0.0) / ticks
