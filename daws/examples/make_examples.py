"""Writes the example projects: one gesture on X, Y and Pressure, over a tempo ramp and a new meter, in every format;
and a loop that is recorded and overdubbed by its lanes.

    python daws/examples/make_examples.py [FOLDER]

The same seed gives the same bytes. The gesture is composed as straight lines between breakpoints over beats
(`compose`); `terrain_daws.write` puts it into each format as far as that holds such a thing.
"""

from __future__ import annotations

import math
import random
import sys
from pathlib import Path

from terrain_core import parameters
from terrain_core.lanes import Lane
from terrain_core.tempo import Meter, TempoMap, TempoPoint
from terrain_daws import Marker, PluginInstance, Project, write

SEED = 7
TICKS_PER_BEAT = 960

GATHERING, FIGURES, RELEASE, END = 16.0, 24.0, 45.0, 56.0
TEMPO = TempoMap(
    [TempoPoint(0, 96), TempoPoint(GATHERING, 96, "linear-beats"), TempoPoint(FIGURES, 132)],
    [Meter(0, 4, 4), Meter(FIGURES, 7, 8)],
)
MARKERS = [Marker("Drift", 0.0), Marker("Gathering", GATHERING), Marker("Figures", FIGURES), Marker("Release", RELEASE)]
TRACK = "Terrain"
LOOPED = "looped.rpp"
EXAMPLES = ("gesture.rpp", "gesture.dawproject", "gesture/gesture.ardour", "gesture.als", "gesture.mid")

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


# --- the projects ---------------------------------------------------------------------------------------------------


def project() -> Project:
    """The gesture on one instance of the plugin, with its tempo, meters and markers."""
    lanes = list(compose().values())
    instance = PluginInstance(TRACK, lanes=lanes)
    return Project("gesture", Path("gesture"), lanes=lanes, tempo_map=TEMPO, markers=MARKERS, instances=[instance])


def looped() -> Project:
    """A loop of four beats: recorded in the second bar, overdubbed in the fourth, turned round in the sixth, while the
    hand rests more and more.
    """
    tempo_map = TempoMap.constant(104)
    plain = {
        "x": [(0, 0.2), (4, 0.2), (6, 0.8), (8, 0.35), (12, 0.35), (13, 0.9), (16, 0.5)],
        "y": [(0, 0.3), (4, 0.3), (5, 0.62), (7, 0.45), (8, 0.3), (12, 0.75), (16, 0.55)],
        "pressure": [(0, 0.0), (4, 0.0), (4.05, 0.9), (7.9, 0.6), (8, 0.0), (12, 0.0), (12.05, 0.8), (16, 0.0)],
    }
    switched = {
        "loop_length": [(0, 4.0)],
        "loop_record": [(0, 0.0), (3.5, 1.0), (7, 0.0)],
        "loop_overdub": [(0, 0.0), (11.5, 1.0), (15.5, 0.0)],
        "loop_reverse": [(0, 0.0), (20, 1.0), (24, 0.0)],
    }
    lanes = [_lane(key, line) for key, line in plain.items()]
    for key, points in switched.items():
        parameter = parameters.by_key(key)
        lanes.append(
            Lane(
                [beat for beat, _ in points],
                [parameter.to_normalised(value) for _, value in points],
                "hold",
                name=parameter.name,
                key=key,
                parameter_id=parameter.id,
            )
        )
    instance = PluginInstance(TRACK, lanes=lanes)
    return Project("looped", Path("looped"), lanes=lanes, tempo_map=tempo_map, instances=[instance])


def main() -> None:
    """Write the examples beside this script, or into the folder that is named."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for name in EXAMPLES:
        for left_out in write(project(), folder / name):
            print(f"{name}: not written: {left_out}")
    for left_out in write(looped(), folder / LOOPED):
        print(f"{LOOPED}: not written: {left_out}")


if __name__ == "__main__":
    main()
