"""`terrain demo`, `terrain lanes` and `terrain render`: what starts from a DAW project.

Heavy imports stand inside the commands, so that `terrain --help` is there at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from terrain_core.errors import InputError
from terrain_plugin.cli.console import AsJson, interruptible, parse_assignments, print_json, print_table, progress

if TYPE_CHECKING:
    from terrain_core.tempo import TempoMap
    from terrain_daws import Project
    from terrain_plugin.render import Render

ProjectFile = Annotated[
    Path,
    typer.Argument(
        metavar="PROJECT",
        help="A project of REAPER, Ardour or Ableton Live, a DAWproject, or a MIDI file.",
        show_default=False,
    ),
]
TempoLaw = Annotated[
    str,
    typer.Option(
        "--law",
        metavar="LAW",
        help="Tempo ramps of Ableton Live: daw, as Live plays them in steps, or theoretical, as drawn.",
    ),
]


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Where to put sound and pictures.")] = Path(
        "out/demo"
    ),
    as_json: AsJson = False,
) -> None:
    """Play the example project: nothing to download, nothing to set up.

    Renders a gesture of X, Y and pressure over a tempo change with the
    built-in instrument, and draws the sound, its lanes and the terrain.
    """
    from terrain_core.figures import save_figure
    from terrain_core.instrument import Instrument
    from terrain_core.pictures import View, draw_trajectories, map_picture, sample_terrain, save_picture
    from terrain_daws import read
    from terrain_plugin.render import render as render_project
    from terrain_plugin.shipped import DEFAULT_INSTRUMENT, example

    project = read(example("gesture.dawproject"))
    instrument = Instrument.load(DEFAULT_INSTRUMENT)
    assert instrument.terrain is not None, "the shipped instrument has a terrain"
    out.mkdir(parents=True, exist_ok=True)
    sound, render_picture, terrain_picture = out / "demo.wav", out / "render.png", out / "terrain.png"
    with interruptible(f"{out} has what was complete, each file whole"), progress("rendering", quiet=as_json) as report:
        result = render_project(project, instrument, sound, progress=report)
        save_figure(result.figure(), render_picture)
        view = View.whole(instrument.terrain)
        terrain = map_picture(sample_terrain(instrument.terrain, view, view.size()))
        save_picture(draw_trajectories(terrain, View(0, 0, 1, 1), [result.path()]), terrain_picture)
    if as_json:
        print_json({**result_as_json(result), "pictures": [str(render_picture), str(terrain_picture)]})
        return
    print_result(result)
    print(f"waveform, spectrogram and lanes: {render_picture}")
    print(f"the terrain and the way through it: {terrain_picture}")


def lanes(project: ProjectFile, law: TempoLaw = "daw", as_json: AsJson = False) -> None:
    """Show what was found in a project: our plugin, lanes, tempo, meters, markers, and what was not understood.

    \b
    Examples:
      terrain lanes song.rpp
      terrain lanes song.als --law theoretical
      terrain lanes gesture.mid --json
    """
    found = _read(project, law)
    if as_json:
        print_json(found.as_dict())
    else:
        _print_lanes(found)


def render(
    project: ProjectFile,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The sound file: .wav, .flac, .mp3 or .ogg.", show_default=False)
    ],
    instrument: Annotated[
        Path | None,
        typer.Option(
            "--instrument",
            "-i",
            metavar="NAME.terrain",
            help="What plays, or drums for the shipped drums. Default: what the project says, or the built-in one.",
        ),
    ] = None,
    mapping: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar='KEY="LANE"',
            help='Let a lane drive a parameter, e.g. x="Filter Cutoff" or x="Track 1/Pan".',
        ),
    ] = None,
    constants: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Set a parameter that no lane drives, e.g. level=-6 or run=Notes, whatever the project says.",
        ),
    ] = None,
    sample_rate: Annotated[
        int | None, typer.Option("--sr", metavar="HZ", help="Sample rate. Default: the instrument's own.")
    ] = None,
    fx: Annotated[
        list[str] | None,
        typer.Option(
            "--fx",
            metavar="EFFECT",
            help="Add an effect, name:parameter=value,… or the path of a .vst3; in order.",
            show_default=False,
        ),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(
            "--instance",
            metavar="TRACK",
            help="Play the plugin on this track alone (its name or number), muted or not.",
            show_default=False,
        ),
    ] = None,
    stems: Annotated[
        Path | None,
        typer.Option(
            "--stems", metavar="FOLDER", help="Also write each instance of the plugin by itself.", show_default=False
        ),
    ] = None,
    start: Annotated[
        str, typer.Option("--from", metavar="TIME", help="Seconds (12.5), minutes (1:30) or beats (8b).")
    ] = "0",
    end: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Default: the last breakpoint of the lanes.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal samples.")] = 0,
    law: TempoLaw = "daw",
    picture: Annotated[
        Path | None,
        typer.Option("--picture", metavar="PNG", help="Also draw waveform, spectrogram and lanes.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Play a project's automation lanes into a sound file.

    Wherever the project has the Latent Terrain plugin, its lanes, settings and
    instrument are found by themselves, and what is heard of it is mixed; any other
    lane can drive a parameter through --map. Effects are pedalboard's (reverb,
    compressor, limiter, gain, delay, …) or VST3 plugins, their tail rendered out.

    \b
    Examples:
      terrain render song.rpp -o song.wav
      terrain render song.dawproject -o song.flac --stems stems
      terrain render song.mid -o song.wav -i drums.terrain --map x="CC 1"
      terrain render song.mid -o song.mp3 --fx reverb:room_size=0.7 --fx limiter
      terrain render song.dawproject -o part.wav --from 8b --to 24b --json
    """
    from terrain_core.figures import save_figure
    from terrain_plugin.render import RenderSettings, parts_to_play, render_parts, stem_paths

    found = _read(project, law)
    settings = RenderSettings(
        sample_rate=sample_rate,
        start=parse_time(start, found.tempo_map),
        end=parse_time(end, found.tempo_map) if end is not None else None,
        seed=seed,
        effects=_effects(fx or []),
    )
    parts = parts_to_play(
        found,
        parse_assignments(mapping or [], 'KEY="LANE", e.g. x="Filter Cutoff"'),
        instrument=instrument,
        constants=_constants(constants or []),
        only=only,
    )
    left = f"{out} is as it was before" if out.exists() else f"{out} was not written"
    with interruptible(left), progress("rendering", quiet=as_json) as report:
        result = render_parts(parts, found, out, settings, stems=stems, progress=report)
    if picture:
        with interruptible(f"{out} is complete, {picture} was not drawn"):
            save_figure(result.figure(), picture)
    written = [str(path) for path in stem_paths(parts, stems, out.suffix)]
    if as_json:
        print_json({**result_as_json(result), "stems": written})
        return
    print_result(result)
    for path in written:
        print(f"stem: {path}")


def _read(project: Path, law: str) -> Project:
    from terrain_daws import read
    from terrain_daws.reading import LAWS

    if law not in LAWS:
        raise InputError(f"no tempo law {law!r}, expected {' or '.join(LAWS)}")
    return read(project, "theoretical" if law == "theoretical" else "daw")


def _constants(texts: list[str]) -> dict[str, float]:
    from terrain_core.parameters import by_key

    return {
        key: by_key(key).parse(value) for key, value in parse_assignments(texts, "KEY=VALUE, e.g. level=-6").items()
    }


def _effects(texts: list[str]) -> list[Any]:
    from terrain_plugin.effects_chain import parse_effect

    return [parse_effect(text) for text in texts]


def parse_time(text: str, tempo_map: TempoMap) -> float:
    """`12.5` or `1:30` (minutes) or `8b` (beats) to seconds."""
    try:
        if text.endswith("b"):
            return float(tempo_map.seconds_at(float(text[:-1])))
        minutes, colon, seconds = text.rpartition(":")
        return 60 * int(minutes) + float(seconds) if colon else float(text)
    except ValueError:
        raise InputError(f"time {text!r} should be seconds (12.5), minutes and seconds (1:30) or beats (8b)") from None


def result_as_json(result: Render) -> dict[str, Any]:
    """What a render's JSON begins with."""
    keys = ("seconds", "sample_rate", "channels", "peak_dbfs", "rms_dbfs", "realtime_factor")
    return {"out": str(result.out), **{key: getattr(result, key) for key in keys}}


def print_result(result: Render) -> None:
    """A render in two lines."""
    channels = {1: "mono", 2: "stereo"}.get(result.channels, f"{result.channels} channels")
    print(f"{result.out}: {result.seconds:.2f} s, {channels}, {result.sample_rate} Hz")
    print(
        f"peak {result.peak_dbfs:.1f} dBFS, RMS {result.rms_dbfs:.1f} dBFS, "
        f"rendered {result.realtime_factor:.1f} times faster than real time"
    )
    if result.peak_dbfs > 0:
        print(
            "The peak is over full scale and was clipped: add --fx limiter, or turn it down with --fx gain:gain_db=-6"
        )


def _print_lanes(project: Project) -> None:
    facts = project.as_dict()
    print(f"{project.path}: {project.format}")
    rows = []
    for lane, found in zip(project.lanes, facts["lanes"], strict=True):
        first, last = found["points"][0]["beat"], found["points"][-1]["beat"]
        values = f"{lane.values.min():.3g} to {lane.values.max():.3g}"
        rows.append((lane.key or "-", lane.name, lane.track, lane.plugin, len(lane), f"{first:g} to {last:g}", values))
    print_table("Lanes", ("drives", "name", "track", "plugin", "points ", "beats", "values"), rows)
    print_table("Tempo", ("beat ", "seconds ", "bpm ", "shape"), [_row(point) for point in facts["tempo"]])
    print_table(
        "Meters",
        ("beat ", "seconds ", "meter"),
        [(*_row(m)[:2], f"{m['numerator']}/{m['denominator']}") for m in facts["meters"]],
    )
    if facts["markers"]:
        print_table(
            "Markers",
            ("beat ", "seconds ", "name"),
            [_row({k: m[k] for k in ("beat", "seconds", "name")}) for m in facts["markers"]],
        )
    if facts["instances"]:
        columns = ("number ", "track", "name", "format", "instrument", "heard")
        instances = [
            (number, i["track"], i["name"], i["format"], i["instrument"] or "built-in", i["silenced_by"] or "yes")
            for number, i in enumerate(facts["instances"], start=1)
        ]
        print_table("Latent Terrain", columns, instances)
    for repair in facts["repairs"]:
        print(f"mended: {repair}")
    for unknown in facts["unknown"]:
        print(f"not understood: {unknown}")


def _row(facts: dict[str, Any]) -> tuple[str, ...]:
    return tuple(f"{value:.6g}" if isinstance(value, float) else str(value) for value in facts.values())
