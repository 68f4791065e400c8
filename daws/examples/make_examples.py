"""Writes `gesture.mid` and `gesture.dawproject`: one gesture on X, Y and Pressure, over a tempo ramp and a new meter.

    python daws/examples/make_examples.py [FOLDER]

The same seed gives the same bytes. The gesture is composed as straight lines between breakpoints over beats
(`compose`). The DAWproject has them as they are, on the plugin's parameters, with a true tempo ramp. The MIDI file has
what MIDI can: 14-bit controllers 16, 17 and 18 every 1/48 beat, and a tempo step every eighth note, each as long as
the ramp takes for it.
"""

from __future__ import annotations

import math
import random
import sys
import uuid
import zipfile
from collections.abc import Iterable
from pathlib import Path

import mido
import numpy as np
from lxml import etree

from terrain_core import identity, parameters
from terrain_core.lanes import Lane
from terrain_core.tempo import Meter, TempoMap, TempoPoint

SEED = 7
TICKS_PER_BEAT = 960
CONTROL_TICKS = 20  # 1/48 beat: 8 to 13 ms
TEMPO_STEP = 0.5  # beats

GATHERING, FIGURES, RELEASE, END = 16.0, 24.0, 45.0, 56.0
TEMPO = TempoMap(
    [TempoPoint(0, 96), TempoPoint(GATHERING, 96, "linear-beats"), TempoPoint(FIGURES, 132)],
    [Meter(0, 4, 4), Meter(FIGURES, 7, 8)],
)
MARKERS = [("Drift", 0.0), ("Gathering", GATHERING), ("Figures", FIGURES), ("Release", RELEASE)]
CONTROLLERS = {"x": 16, "y": 17, "pressure": 18}

Line = list[tuple[float, float]]  # (beat, value 0..1), joined by straight lines; two on one beat are a jump


# --- the gesture ----------------------------------------------------------------------------------------------------


def compose(seed: int = SEED) -> dict[str, Lane]:
    """The gesture: parameter key -> lane over beats, values 0..1."""
    chance = random.Random(seed)
    lines: dict[str, Line] = {"x": [], "y": [], "pressure": []}
    for section in (_drift, _gathering, _figures, _release):
        for key, line in section(chance).items():
            lines[key] += line
    return {key: _lane(key, line) for key, line in lines.items()}


def _drift(chance: random.Random) -> dict[str, Line]:
    """Two long breaths: X wanders from left to right in an arc, Y leans away and comes back, a near-silence between
    the two.
    """
    x = [*_arc(0, 7.5, 0.12, 0.58, bulge=-0.06), *_arc(8.25, 15.5, 0.58, 0.30, bulge=0.16)]
    y = [*_arc(0, 7.5, 0.30, 0.44, bulge=0.24), *_arc(8.25, 15.5, 0.44, 0.70, bulge=-0.20)]
    breath = [*_breath(0, 7.75, 0.85, chance), *_breath(8, 15.75, 0.95, chance)]
    return {"x": x, "y": y, "pressure": breath}


def _gathering(chance: random.Random) -> dict[str, Line]:
    """While the tempo climbs: strokes on the beats, then on the eighths, ever closer; Y climbs with them."""
    strokes = [16, 17, 18, 19, 20, 20.5, 21, 21.5, 22, 22.5, 23, 23.25, 23.5, 23.75]
    places = [0.22, 0.62, 0.30, 0.74, 0.18, 0.66, 0.36, 0.82, 0.26, 0.78, 0.42, 0.50, 0.58, 0.66]
    x: Line = []
    pressure: Line = []
    for index, (beat, place) in enumerate(zip(strokes, places, strict=True)):
        end = strokes[index + 1] if index + 1 < len(strokes) else FIGURES
        x += _glide(beat, end, place + chance.uniform(-0.02, 0.02), drift=0.03)
        pressure += _stroke(beat, end, 0.55 + 0.03 * index)
    return {"x": x, "y": _arc(16, FIGURES, 0.18, 0.86, bulge=-0.12), "pressure": pressure}


def _figures(chance: random.Random) -> dict[str, Line]:
    """7/8 as 2 + 2 + 3: a motif of three places, moved about the terrain bar by bar; every third bar a held, trembling
    tone instead.
    """
    motif = [(0.00, 0.00, 0.95), (0.34, 0.22, 0.70), (0.16, 0.46, 0.85)]  # x, y from the bar's own place, and how hard
    homes = [(0.14, 0.20), (0.40, 0.12), (0.50, 0.42), (0.08, 0.44), (0.30, 0.30), (0.56, 0.16)]
    x: Line = []
    y: Line = []
    pressure: Line = []
    for bar, (home_x, home_y) in enumerate(homes):
        start = FIGURES + 3.5 * bar
        if bar % 3 == 2:
            x += _arc(start, start + 3.25, home_x, home_x + 0.24, bulge=0.05)
            y += _arc(start, start + 3.25, home_y + 0.30, home_y, bulge=0.08)
            pressure += _tremble(start, start + 3.5, 0.80)
            continue
        for (beat, end), (dx, dy, force) in zip([(0, 1), (1, 2), (2, 3.5)], motif, strict=True):
            x += _glide(start + beat, start + end, home_x + dx + chance.uniform(-0.02, 0.02), drift=0.02)
            y += _glide(start + beat, start + end, home_y + dy + chance.uniform(-0.02, 0.02), drift=-0.02)
            middle = start + beat + 0.5
            pressure += [*_stroke(start + beat, middle, force), *_stroke(middle, start + end, force * 0.55)]
    return {"x": x, "y": y, "pressure": pressure}


def _release(chance: random.Random) -> dict[str, Line]:
    """Back to where it began, in one long breath that dies away."""
    x = _arc(RELEASE, END - 1, 0.66, 0.12, bulge=0.12)
    y = _arc(RELEASE, END - 1, 0.62, 0.30, bulge=0.18)
    return {"x": x, "y": y, "pressure": _breath(RELEASE, END, 0.80, chance)}


def _arc(begin: float, end: float, first: float, last: float, *, bulge: float) -> Line:
    """From `first` to `last`, slow at both ends, with a bow of `bulge` in the middle; a breakpoint every quarter
    beat.
    """
    steps = round((end - begin) * 4)
    line = []
    for step in range(steps + 1):
        u = step / steps
        line.append(
            (begin + (end - begin) * u, first + (last - first) * u * u * (3 - 2 * u) + bulge * math.sin(math.pi * u))
        )
    return line


def _breath(begin: float, end: float, height: float, chance: random.Random) -> Line:
    """A soft attack, a swell with a little unrest on top, and a fall to a near-silence."""
    length = end - begin
    line = [(begin, 0.0), (begin + 0.12, 0.45 * height), (begin + 0.6, 0.38 * height)]
    for step in range(1, 8):
        u = step / 8
        swell = 0.38 + 0.62 * math.sin(math.pi * min(u * 1.1, 1.0)) ** 1.5
        line.append((begin + 0.6 + (length * 0.92 - 0.6) * u, height * min(swell + chance.uniform(-0.05, 0.05), 1.0)))
    return [*line, (begin + length * 0.95, 0.06), (end, 0.0)]


def _stroke(begin: float, end: float, height: float) -> Line:
    """A hit: up within 1/24 beat, then falling off as a struck thing does."""
    attack, length = 1 / 24, end - begin
    tail = [(begin + attack + (length - attack) * u, height * math.exp(-3.2 * u)) for u in (0.0, 0.15, 0.4, 0.7, 1.0)]
    return [(begin, 0.02), *tail]


def _tremble(begin: float, end: float, height: float) -> Line:
    """A held tone whose pressure shivers in sixteenths and ends in a short rest."""
    line = [(begin, 0.0), (begin + 0.06, height)]
    for step in range(1, 13):
        line.append((begin + step * 0.25, height * (1.0 if step % 2 == 0 else 0.62) * (1 - 0.02 * step)))
    return [*line, (end - 0.2, 0.04), (end, 0.0)]


def _glide(begin: float, end: float, value: float, *, drift: float) -> Line:
    """A jump to a place, and a slight slide while it sounds."""
    return [(begin, value), (end, value + drift)]


def _lane(key: str, line: Line) -> Lane:
    """Rounded to what 14 bits and a 1/960 beat can hold, in order, with a last point at the end."""
    ticks = [round(beat * TICKS_PER_BEAT) for beat, _ in line]
    values = [round(min(max(value, 0.0), 1.0) * 0x3FFF) / 0x3FFF for _, value in line]
    parameter = parameters.by_key(key)
    return Lane(
        [tick / TICKS_PER_BEAT for tick in ticks], values, name=parameter.name, key=key, parameter_id=parameter.id
    )


# --- MIDI -----------------------------------------------------------------------------------------------------------


def write_midi(lanes: dict[str, Lane], path: Path) -> None:
    """Type 1: a track with tempo, meters and markers, and one with the controllers."""
    file = mido.MidiFile(type=1, ticks_per_beat=TICKS_PER_BEAT)
    file.tracks += [_track(_conductor()), _track(_control_changes(lanes))]
    file.save(path)


def _conductor() -> Iterable[tuple[int, mido.MetaMessage]]:
    yield 0, mido.MetaMessage("track_name", name="Conductor")
    for meter in TEMPO.meters:
        yield (
            _tick(meter.beat),
            mido.MetaMessage("time_signature", numerator=meter.numerator, denominator=meter.denominator),
        )
    for name, beat in MARKERS:
        yield _tick(beat), mido.MetaMessage("marker", text=name)
    steps = [0.0, *np.arange(GATHERING, FIGURES + TEMPO_STEP, TEMPO_STEP).tolist()]
    for beat, end in zip(steps, [*steps[1:], END], strict=True):
        seconds = float(TEMPO.seconds_at(end) - TEMPO.seconds_at(beat))
        yield _tick(beat), mido.MetaMessage("set_tempo", tempo=round(seconds / (end - beat) * 1e6))


def _control_changes(lanes: dict[str, Lane]) -> Iterable[tuple[int, mido.Message | mido.MetaMessage]]:
    yield 0, mido.MetaMessage("track_name", name="Terrain")
    ticks = np.arange(0, _tick(END) + 1, CONTROL_TICKS)
    for key, controller in CONTROLLERS.items():
        numbers = np.rint(lanes[key].sample(ticks / TICKS_PER_BEAT) * 0x3FFF).astype(int)
        changed = np.append(True, np.diff(numbers) != 0)
        for tick, number in zip(ticks[changed].tolist(), numbers[changed].tolist(), strict=True):
            yield tick, mido.Message("control_change", control=controller, value=number >> 7)
            yield tick, mido.Message("control_change", control=controller + 32, value=number & 0x7F)


def _track(timed: Iterable[tuple[int, mido.Message | mido.MetaMessage]]) -> mido.MidiTrack:
    track, now = mido.MidiTrack(), 0
    for tick, message in sorted(timed, key=lambda row: row[0]):
        track.append(message.copy(time=tick - now))
        now = tick
    track.append(mido.MetaMessage("end_of_track", time=max(_tick(END) - now, 0)))
    return track


def _tick(beat: float) -> int:
    return round(beat * TICKS_PER_BEAT)


# --- DAWproject -----------------------------------------------------------------------------------------------------


def write_dawproject(lanes: dict[str, Lane], path: Path) -> None:
    """Not compressed and dated 1980, so that equal contents make equal files whatever zlib is at hand."""
    documents = {"project.xml": _project_xml(lanes), "metadata.xml": _metadata_xml()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, root in documents.items():
            text = etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True)
            archive.writestr(zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0)), text)


def _project_xml(lanes: dict[str, Lane]) -> etree._Element:
    project = etree.Element("Project", version="1.0")
    _add(project, "Application", name=identity.PLUGIN_NAME, version="0.1.0")
    transport = _add(project, "Transport")
    _add(transport, "Tempo", unit="bpm", min=20, max=666, value=TEMPO.points[0].bpm, id="tempo", name="Tempo")
    first = TEMPO.meters[0]
    _add(transport, "TimeSignature", denominator=first.denominator, numerator=first.numerator, id="meter")
    structure = _add(project, "Structure")
    _add_track(structure, lanes)
    _add_master(structure)
    arrangement = _add(project, "Arrangement", id="arrangement")
    timeline = _add(arrangement, "Lanes", timeUnit="beats", id="lanes")
    track_lanes = _add(timeline, "Lanes", track="track", id="track-lanes")
    for key, lane in lanes.items():
        points = _add(track_lanes, "Points", unit="normalized", id=f"points-{key}")
        _add(points, "Target", parameter=f"parameter-{key}")
        for point in lane.points:
            _add(points, "RealPoint", value=point.value, interpolation="linear", time=point.time)
    markers = _add(arrangement, "Markers", id="markers")
    for name, beat in MARKERS:
        _add(markers, "Marker", time=beat, name=name)
    tempo = _add(arrangement, "TempoAutomation", unit="bpm", id="tempo-automation")
    _add(tempo, "Target", parameter="tempo")
    for change in TEMPO.points:
        interpolation = "hold" if change.shape == "step" else "linear"
        _add(tempo, "RealPoint", value=change.bpm, interpolation=interpolation, time=change.beat)
    meters = _add(arrangement, "TimeSignatureAutomation", id="meter-automation")
    _add(meters, "Target", parameter="meter")
    for meter in TEMPO.meters:
        _add(meters, "TimeSignaturePoint", numerator=meter.numerator, denominator=meter.denominator, time=meter.beat)
    return project


def _add_track(structure: etree._Element, lanes: dict[str, Lane]) -> None:
    track = _add(structure, "Track", contentType="notes automation", loaded="true", id="track", name="Terrain")
    channel = _add(track, "Channel", audioChannels=2, destination="master", role="regular", solo="false", id="channel")
    plugin = _add(
        _add(channel, "Devices"),
        "Vst3Plugin",
        deviceID=str(uuid.UUID(identity.VST3_CLASS_UUID)),
        deviceName=identity.PLUGIN_NAME,
        deviceRole="instrument",
        deviceVendor=identity.VENDOR,
        loaded="true",
        id="plugin",
        name=identity.PLUGIN_NAME,
    )
    listed = _add(plugin, "Parameters")
    for key, lane in lanes.items():
        _add(
            listed,
            "RealParameter",
            unit="normalized",
            min=0,
            max=1,
            value=lane.values[0],
            parameterID=lane.parameter_id,
            id=f"parameter-{key}",
            name=lane.name,
        )
    _add(plugin, "Enabled", value="true", id="plugin-enabled", name="On/Off")
    _add_fader(channel, "track")


def _add_master(structure: etree._Element) -> None:
    track = _add(structure, "Track", contentType="audio notes", loaded="true", id="master-track", name="Master")
    _add_fader(_add(track, "Channel", audioChannels=2, role="master", solo="false", id="master"), "master")


def _add_fader(channel: etree._Element, of: str) -> None:
    _add(channel, "Mute", value="false", id=f"{of}-mute", name="Mute")
    _add(channel, "Pan", unit="normalized", min=0, max=1, value=0.5, id=f"{of}-pan", name="Pan")
    _add(channel, "Volume", unit="linear", min=0, max=2, value=1, id=f"{of}-volume", name="Volume")


def _metadata_xml() -> etree._Element:
    metadata = etree.Element("MetaData")
    _add(metadata, "Title").text = "Gesture"
    _add(metadata, "Artist").text = identity.VENDOR
    _add(metadata, "Comment").text = "X, Y and Pressure over a tempo ramp and a change of meter"
    return metadata


def _add(parent: etree._Element, tag: str, **attributes: object) -> etree._Element:
    return etree.SubElement(parent, tag, {name: _attribute(value) for name, value in attributes.items()})


def _attribute(value: object) -> str:
    return repr(float(value)) if isinstance(value, (float, np.floating)) else str(value)


def main() -> None:
    """Write both files beside this script, or into the folder that is named."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    lanes = compose()
    write_midi(lanes, folder / "gesture.mid")
    write_dawproject(lanes, folder / "gesture.dawproject")


if __name__ == "__main__":
    main()
