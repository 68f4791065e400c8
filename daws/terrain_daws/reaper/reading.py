"""REAPER projects -> lanes, tempo map, meters, markers, notes and our plugin's instances.

Facts that are easy to get wrong: an envelope's times are seconds of the project, those of automation items quarter
notes; a tempo ramp is linear in seconds; the tempo in the header counts only where there is no tempo envelope; a
plugin's envelopes follow it in the chain, outside its own block.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from terrain_core.errors import FileError, InputError
from terrain_core.lanes import Lane
from terrain_core.parameters import PARAMETERS
from terrain_core.tempo import FASTEST_BPM, SLOWEST_BPM, Meter, TempoMap, TempoShape
from terrain_daws.controls import assign_keys
from terrain_daws.midi.events import MidiEvents
from terrain_daws.ours import key_of
from terrain_daws.project import Marker, PluginInstance, Project, Track
from terrain_daws.reaper.envelopes import EnvelopeReader, read_pools
from terrain_daws.reaper.midi_items import MidiItemReader, Row
from terrain_daws.reaper.places import InstancePlace, LanePlace, marker_lines
from terrain_daws.reaper.plugins import PLUGIN_TAGS, Plugin, plugin_state, read_plugin
from terrain_daws.reaper.syntax import Block, Document
from terrain_daws.reaper.writing import ReaperDocument

LARGEST_FILE: Final = 512 << 20
DEFAULT_BPM: Final = 120.0
MASTER: Final = "Master"
NO_NAME: Final = "Track {number}"
SHAPES: Final[dict[float, TempoShape]] = {0: "linear-seconds", 1: "step"}
"""Of tempo points, by REAPER's number."""

TRACK_ENVELOPES: Final[dict[str, tuple[str, float, float]]] = {
    "VOLENV": ("Volume (Pre-FX)", 0, 2),
    "VOLENV2": ("Volume", 0, 2),
    "VOLENV3": ("Trim Volume", 0, 2),
    "PANENV": ("Pan (Pre-FX)", -1, 1),
    "PANENV2": ("Pan", -1, 1),
    "WIDTHENV": ("Width (Pre-FX)", -1, 1),
    "WIDTHENV2": ("Width", -1, 1),
    "DUALPANENVL": ("Left Pan (Pre-FX)", -1, 1),
    "DUALPANENVL2": ("Left Pan", -1, 1),
    "DUALPANENV": ("Right Pan (Pre-FX)", -1, 1),
    "DUALPANENV2": ("Right Pan", -1, 1),
    "MUTEENV": ("Mute", 0, 1),
    "AUXVOLENV": ("Send Volume", 0, 2),
    "AUXPANENV": ("Send Pan", -1, 1),
    "AUXMUTEENV": ("Send Mute", 0, 1),
    "HWVOLENV": ("Hardware Send Volume", 0, 2),
    "HWPANENV": ("Hardware Send Pan", -1, 1),
    "HWMUTEENV": ("Hardware Send Mute", 0, 1),
}
"""Envelope -> its name, and the values that are 0 and 1. Volumes are factors, 2 is +6 dB."""

MASTER_ENVELOPES: Final = {f"MASTER{tag}": facts for tag, facts in TRACK_ENVELOPES.items()}
CHAINS: Final = {"FXCHAIN": "", "FXCHAIN_REC": "in the chain for recording", "MASTERFXLIST": "", "CONTAINER": ""}
"""Effect chain -> why its plugins are not heard on playback."""

BYPASS_ALL_ENVELOPES: Final = 5
"""GLOBAL_AUTO: the override that plays no envelope."""

HOSTS_OWN: Final = {"wet", "bypass", "delta"}
"""Parameters that REAPER gives every plugin beside the plugin's own."""

PARAMETER: Final = re.compile(r"(-?\d+)(?::(.*))?")


def read_reaper(path: Path) -> Project:
    """Read a REAPER project.

    Raises:
        FileError: not one, damaged (with the line), or larger than 512 MiB.
    """
    size = path.stat().st_size
    if size > LARGEST_FILE:
        raise FileError(path, f"has {size:,} bytes, more than the {LARGEST_FILE:,} that are read")
    return _Reader(Document.parse(path, path.read_bytes())).project()


@dataclass
class _TrackContext:
    """What a track's parts need to know of it."""

    name: str
    silenced_by: str


@dataclass
class _Reader:
    document: Document
    tracks: list[Track] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    repairs: list[str] = field(default_factory=list)
    pairs: list[tuple[str, Lane]] = field(default_factory=list)  # as for controls.assign_keys
    places: list[LanePlace] = field(default_factory=list)
    instances: list[PluginInstance] = field(default_factory=list)
    instance_places: list[InstancePlace] = field(default_factory=list)
    lanes_of: list[list[int]] = field(default_factory=list)  # per instance, indices into `pairs`
    all_bypassed: bool = False

    def project(self) -> Project:
        root = self.document.root
        self.tempo_map = self._tempo_map()
        self.pools = read_pools(self.document, self._report)
        self.envelopes = EnvelopeReader(self.document, self.tempo_map, self.pools, self._report, self._repaired)
        self.midi_items = MidiItemReader(self.document, self.tempo_map, self._report)
        self.midi = MidiEvents(1, unknown=[])
        self.all_bypassed = self._setting("GLOBAL_AUTO", 1, -1.0) == BYPASS_ALL_ENVELOPES
        if self.all_bypassed:
            self.unknown.append("all envelopes are bypassed (global automation override); lanes are kept as inactive")
        self._master(root)
        blocks = list(root.find_all("TRACK"))
        for block, (track, context) in zip(blocks, self._hierarchy(blocks), strict=True):
            self.tracks.append(track)
            self._track(block, context)
        self._midi_lanes()
        lanes, second = assign_keys(self.pairs)
        for instance, indices in zip(self.instances, self.lanes_of, strict=True):
            instance.lanes = [lanes[index] for index in indices]
        project = Project(
            format="reaper",
            path=self.document.path,
            tracks=self.tracks,
            lanes=lanes,
            tempo_map=self.tempo_map,
            markers=self._markers(),
            notes=self.midi.notes(),
            unknown=self.unknown + second,
            instances=self.instances,
            repairs=self.repairs,
        )
        project.document = ReaperDocument(self.document, project, self.places, self.instance_places)
        return project

    # --- the project as a whole ---

    def _setting(self, tag: str, index: int, default: float) -> float:
        for line, words in self.document.tagged(self.document.root):
            if words[0] == tag:
                return self.document.number(line, words, index, default)
        return default

    def _tempo_map(self) -> TempoMap:
        """From the tempo envelope where it has points, else from the header."""
        document, root = self.document, self.document.root
        bpm, meter, header_line = DEFAULT_BPM, (4, 4), root.begin
        for line, words in document.tagged(root):
            if words[0] == "TEMPO":
                header_line = line
                bpm = document.number(line, words, 1)
                meter = (int(document.number(line, words, 2, 4)), int(document.number(line, words, 3, 4)))
        block = root.find("TEMPOENVEX")
        rows: list[tuple[float, float, TempoShape]] = []
        signatures: list[tuple[int, float, int, int]] = [(header_line, 0.0, *meter)]
        for line, words in document.tagged(block) if block else ():
            if words[0] == "ACT" and not document.number(line, words, 1):
                inactive = line
                if any(w[0] == "PT" for _, w in document.tagged(block)):  # type: ignore[arg-type]
                    self._report(
                        inactive, "the tempo envelope says that it is inactive; its points were used all the same"
                    )
            if words[0] != "PT":
                continue
            shape = document.number(line, words, 3, 1.0)
            if shape not in SHAPES:
                raise document.error(line, f"a tempo point has the shape {words[3]}, expected 0 or 1")
            tempo = document.number(line, words, 2)
            if not SLOWEST_BPM <= tempo <= FASTEST_BPM:
                raise document.error(line, f"a tempo of {tempo:g} bpm")
            rows.append((document.number(line, words, 1), tempo, SHAPES[shape]))
            packed = int(document.number(line, words, 4, 0.0))
            if packed:
                signatures.append((line, rows[-1][0], packed & 0xFFFF, packed >> 16))
        if [row[0] for row in rows] != sorted(row[0] for row in rows):
            self._repaired(block.begin if block else 0, "the tempo envelope's points were out of order; sorted")
            rows.sort(key=lambda row: row[0])
        try:
            by_tempo = TempoMap.from_seconds(rows) if rows else TempoMap.constant(bpm)
        except InputError as error:
            raise document.error(block.begin if rows and block else header_line, f"impossible tempo: {error}") from None
        return TempoMap(by_tempo.points, list(self._meters(signatures, by_tempo)))

    def _meters(self, signatures: list[tuple[int, float, int, int]], tempo_map: TempoMap) -> Iterator[Meter]:
        by_beat: dict[float, Meter] = {}
        for line, seconds, numerator, denominator in sorted(signatures, key=lambda row: row[1]):
            meter = Meter(float(tempo_map.beats_at(seconds)), numerator, denominator)
            try:
                TempoMap.constant(DEFAULT_BPM, [meter])
                by_beat[meter.beat] = meter
            except InputError:
                self._report(line, f"an impossible meter {numerator}/{denominator}")
        yield from by_beat.values()

    def _markers(self) -> list[Marker]:
        """Markers, and where regions begin."""
        markers = [marker for _, marker, _ in marker_lines(self.document, self.tempo_map)]
        return sorted(markers, key=lambda marker: marker.beat)

    def _master(self, root: Block) -> None:
        context = _TrackContext(MASTER, "")
        for block in root.find_all("MASTERFXLIST"):
            self._chain(block, context, "")
        for block in root.find_all(*MASTER_ENVELOPES):
            self._named_envelope(block, context, *MASTER_ENVELOPES[block.tag])
        for block in root.find_all("MASTERPLAYSPEEDENV"):
            if any(words[0] == "PT" for _, words in self.document.tagged(block)):
                self._report(block.begin, "the envelope of the playback rate is not read")

    # --- tracks ---

    def _hierarchy(self, blocks: list[Block]) -> Iterator[tuple[Track, _TrackContext]]:
        """Each track, its folder, and why it is not heard."""
        settings = [self._track_settings(number, block) for number, block in enumerate(blocks, start=1)]
        any_solo = any(solo for _, _, solo, _ in settings)
        folders: list[tuple[str, str, bool]] = []  # name, why it is silent, soloed
        for name, muted, solo, depth in settings:
            silenced = "the track is muted" if muted else next((why for _, why, _ in folders if why), "")
            if not silenced and any_solo and not solo and not any(soloed for _, _, soloed in folders):
                silenced = "another track is soloed"
            yield Track(name, folders[-1][0] if folders else "", silenced), _TrackContext(name, silenced)
            if depth > 0:
                folders.append((name, f"the folder {name!r} is muted" if muted else "", solo))
            for _ in range(min(-depth, len(folders))):
                folders.pop()

    def _track_settings(self, number: int, block: Block) -> tuple[str, bool, bool, int]:
        """Name, muted, soloed, and how many folders begin (1) or end (-n) with it."""
        name, muted, solo, depth = "", False, False, 0
        for line, words in self.document.tagged(block):
            if words[0] == "NAME":
                name = words[1] if len(words) > 1 else ""
            elif words[0] == "MUTESOLO":
                muted = self.document.number(line, words, 1) != 0
                solo = self.document.number(line, words, 2, 0.0) != 0
            elif words[0] == "ISBUS":
                depth = int(self.document.number(line, words, 2, 0.0))
        return name or NO_NAME.format(number=number), muted, solo, depth

    def _track(self, block: Block, context: _TrackContext) -> None:
        fx_off = any(
            words[0] == "FX" and self.document.number(line, words, 1) == 0
            for line, words in self.document.tagged(block)
        )
        rows: list[Row] = []
        for child in block.children:
            if child.tag in CHAINS:
                self._chain(child, context, CHAINS[child.tag] or ("the track's effects are bypassed" if fx_off else ""))
            elif child.tag in TRACK_ENVELOPES:
                self._named_envelope(child, context, *TRACK_ENVELOPES[child.tag])
            elif child.tag == "ITEM":
                rows += self.midi_items.rows(child)
            elif any(words[0] in ("PT", "POOLEDENVINST") for _, words in self.document.tagged(child)):
                self._report(child.begin, f"the envelope <{child.tag} of track {context.name!r} is not known")
        self._midi_track(context, rows)

    def _midi_track(self, context: _TrackContext, rows: list[Row]) -> None:
        rows.sort(key=lambda row: row[0])
        curves = {index: curve for index, (_, _, curve) in enumerate(rows) if curve}
        if rows:
            messages = [(beat, message) for beat, message, _ in rows]
            self.midi.add_track(len(self.tracks), messages, has_tempo=False, name=context.name, curves=curves)

    def _midi_lanes(self) -> None:
        pairs = self.midi.lanes()
        self.pairs += pairs
        self.places += [LanePlace(None)] * len(pairs)
        self.unknown += self.midi.unknown

    # --- plugins and their envelopes ---

    def _chain(self, chain: Block, context: _TrackContext, silenced_by: str) -> None:
        """The plugins of a chain with the envelopes that follow them; a container is a chain within a chain."""
        bypass = (False, False)
        plugin: Plugin | None = None
        for entry in self.document.entries(chain):
            if isinstance(entry, int):
                words = self.document.words(entry)
                if words and words[0] == "BYPASS":
                    bypass = tuple(self.document.number(entry, words, i, 0.0) != 0 for i in (1, 2))  # type: ignore[assignment]
                    plugin = None
                elif plugin is not None and plugin.is_ours:
                    self.instance_places[-1].end = entry + 1
                continue
            if entry.tag in PLUGIN_TAGS:
                plugin = read_plugin(self.document, entry, bypass)
                if plugin.is_ours:
                    self._our_instance(chain, plugin, context, silenced_by)
            elif entry.tag == "PARMENV":
                self._parameter_envelope(entry, plugin, context, silenced_by)
                if plugin is not None and plugin.is_ours:
                    self.instance_places[-1].end = entry.end + 1
            elif entry.tag in CHAINS:
                why = "offline" if bypass[1] else "bypassed" if bypass[0] else ""
                self._chain(entry, context, silenced_by or (f"its container is {why}" if why else ""))
                plugin = None
            elif any(words[0] in ("PT", "POOLEDENVINST") for _, words in self.document.tagged(entry)):
                self._report(entry.begin, f"the envelope <{entry.tag} of track {context.name!r} is not known")

    def _our_instance(self, chain: Block, plugin: Plugin, context: _TrackContext, silenced_by: str) -> None:
        state, problem = plugin_state(self.document, plugin)
        if problem:
            self._repaired(plugin.block.begin, f"{problem}; the plugin's defaults are taken")
        self.instances.append(
            PluginInstance(
                track=context.name,
                name=plugin.name,
                plugin_format="clap" if plugin.plugin_format == "clap" else "vst3",
                state=state,
                silenced_by=plugin.silenced_by or silenced_by or context.silenced_by,
                position=f"line {plugin.block.begin + 1}",
            )
        )
        self.instance_places.append(InstancePlace(chain, plugin, plugin.block.end + 1))
        self.lanes_of.append([])

    def _parameter_envelope(
        self, block: Block, plugin: Plugin | None, context: _TrackContext, silenced_by: str
    ) -> None:
        document = self.document
        words = document.words(block.begin)
        found = PARAMETER.fullmatch(words[1]) if len(words) > 1 else None
        if plugin is None or found is None:
            self._report(block.begin, f"an envelope {' '.join(words[:2])!r:.60} that belongs to no plugin")
            return
        low, high = document.number(block.begin, words, 2, 0.0), document.number(block.begin, words, 3, 1.0)
        if not high > low:
            raise document.error(block.begin, f"an envelope's range goes from {low:g} to {high:g}")
        suffix = found[2] or ""
        identifier = int(suffix) if suffix.isdecimal() and len(suffix) < 11 else None
        name = words[5] if len(words) > 5 else suffix.removeprefix("_") or f"parameter {found[1]}"
        name = name.rpartition(" / ")[0] or name  # REAPER puts the plugin behind it
        if identifier is None and not plugin.is_ours and suffix == "":
            identifier = int(found[1])
        hosts_own = suffix.casefold() in HOSTS_OWN
        key = key_of(identifier, name) if plugin.is_ours and not hosts_own else ""
        if plugin.is_ours and not key and suffix == "" and 0 <= int(found[1]) < len(PARAMETERS):
            key = PARAMETERS[int(found[1])].key  # older headers have the parameter's place alone
            identifier = PARAMETERS[int(found[1])].id
        active = not (plugin.silenced_by or silenced_by)
        lane = self._lane(
            block, low, high, name=name, key=key, track=context.name, plugin=plugin.name,
            plugin_id=plugin.plugin_id, parameter_id=identifier, active=active,
        )  # fmt: skip
        if lane is not None and plugin.is_ours:
            self.lanes_of[-1].append(len(self.pairs) - 1)
            if not key and not hosts_own:
                self._report(block.begin, f"{name!r} is no parameter of this version of the plugin")

    def _named_envelope(self, block: Block, context: _TrackContext, name: str, low: float, high: float) -> None:
        lane = self._lane(block, low, high, name=name, track=context.name)
        if lane is not None and not -1e-6 <= float(lane.values.min()) <= float(lane.values.max()) <= 1 + 1e-6:
            self._report(
                block.begin, f"{name} of track {context.name!r} goes beyond its usual range; values were not cut"
            )

    def _lane(self, block: Block, low: float, high: float, *, active: bool = True, **labels: object) -> Lane | None:
        envelope = self.envelopes.read(block)
        playing = active and envelope.active and not self.all_bypassed
        lane = self.envelopes.lane(envelope, low, high, active=playing, **labels)
        if lane is not None:
            self.pairs.append(("", lane))
            self.places.append(LanePlace(block, low, high))
        return lane

    def _report(self, line: int, what: str) -> None:
        self.unknown.append(f"line {line + 1}: {what}")

    def _repaired(self, line: int, what: str) -> None:
        self.repairs.append(f"line {line + 1}: {what}")
