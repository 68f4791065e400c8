"""`terrain daw`: projects for DAWs, written from here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from terrain_core.errors import InputError
from terrain_plugin.cli.console import AsJson, parse_assignments, print_json

if TYPE_CHECKING:
    from terrain_daws import Project

app = typer.Typer(help="Make projects for DAWs.", no_args_is_help=True)

FOLDER_FORMATS = {"ardour": ".ardour"}


@app.callback()
def daw() -> None:
    """Make projects for DAWs."""


@app.command()
def new(
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="PATH", help="The project; for Ardour a folder.", show_default=False),
    ],
    lanes: Annotated[
        str,
        typer.Option(
            "--lanes",
            metavar="FILE|GESTURE",
            help="Where X, Y and Pressure come from: any project, a .csv, a .json of `terrain lanes --json`, or "
            "circle, eight, spiral, sweep, wander.",
        ),
    ] = "wander",
    format: Annotated[
        str | None,
        typer.Option(
            "--format", help="reaper, dawproject, ardour, midi or live. Default: by the suffix.", show_default=False
        ),
    ] = None,
    instrument: Annotated[
        Path | None,
        typer.Option(
            "--instrument",
            "-i",
            metavar="NAME.terrain",
            help="What the plugin plays. Default: the built-in instrument.",
            show_default=False,
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="A parameter of the plugin, e.g. run=Transport.", show_default=False
        ),
    ] = None,
    mapping: Annotated[
        list[str] | None,
        typer.Option("--map", metavar='KEY="LANE"', help="Let a lane of FILE drive a parameter.", show_default=False),
    ] = None,
    tempo: Annotated[
        float | None, typer.Option(metavar="BPM", help="Instead of FILE's own tempo.", show_default=False)
    ] = None,
    meter: Annotated[str | None, typer.Option(metavar="N/D", help="Such as 7/8.", show_default=False)] = None,
    beats: Annotated[float, typer.Option(help="How long a GESTURE is.")] = 32.0,
    seed: Annotated[int, typer.Option(help="Of a GESTURE that wanders.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Make a project with the Latent Terrain plugin in it, its X, Y and Pressure automated.

    \b
    Examples:
      terrain daw new --lanes circle -o circle.rpp
      terrain daw new --lanes gesture.mid --format ardour -o session
      terrain daw new --lanes moves.csv --tempo 96 --meter 7/8 -o song.dawproject
    """
    from terrain_daws import write
    from terrain_daws.writing import FORMATS, SUFFIXES

    if format is not None and format not in FORMATS:
        raise InputError(f"no format {format!r}, expected one of {', '.join(FORMATS)}")
    project = _project(lanes, beats, seed, parse_assignments(mapping or [], 'KEY="LANE", e.g. x="CC 1"'))
    _set_time(project, tempo, meter)
    _set_state(project, instrument, settings or [])
    project.document = None  # a new file, in its own format too
    path = out
    suffix = FOLDER_FORMATS.get(format or "")
    if suffix and path.suffix != suffix:
        path = path / f"{path.name}{suffix}"
    left_out = write(project, path, SUFFIXES.get(path.suffix.casefold()) if format is None else format)  # type: ignore[arg-type]
    if as_json:
        print_json({"out": str(path), "left_out": left_out})
        return
    print(path)
    for line in left_out:
        print(f"not written: {line}")


def _project(lanes: str, beats: float, seed: int, mapping: dict[str, str]) -> Project:
    """The project to write: a gesture by its name, else what a file has."""
    from terrain_core.parameters import by_key
    from terrain_daws import Project
    from terrain_daws.gestures import GESTURES, gesture
    from terrain_daws.lane_files import read_lanes

    if lanes in GESTURES and not Path(lanes).exists():
        return Project("gesture", Path(lanes), lanes=gesture(lanes, beats, seed))
    if not Path(lanes).exists() and "." not in lanes and "/" not in lanes:
        raise InputError(f"{lanes!r} is neither a file nor a gesture; gestures are {', '.join(GESTURES)}")
    project = read_lanes(lanes)
    for key, name in mapping.items():
        by_key(key)  # raises for a key that there is not
        lane = project.find_lane(name)
        project.lanes = [
            other.labelled(key="") if other.key == key else other for other in project.lanes if other is not lane
        ]
        project.lanes.append(lane.labelled(key=key))
    if not any(lane.key for lane in project.lanes):
        names = ", ".join(repr(f"{lane.track}/{lane.name}") for lane in project.lanes[:12]) or "none at all"
        raise InputError(
            f'{lanes} has no lane that drives X or Y; choose one with --map x="track/lane"; it has {names}'
        )
    return project


def _set_time(project: Project, tempo: float | None, meter: str | None) -> None:
    from terrain_core.tempo import Meter, TempoMap

    meters = project.tempo_map.meters
    if meter is not None:
        numerator, slash, denominator = meter.partition("/")
        if not (slash and numerator.isdecimal() and denominator.isdecimal()):
            raise InputError(f"meter {meter!r} should read N/D, such as 7/8")
        meters = (Meter(0.0, int(numerator), int(denominator)),)
    project.tempo_map = (
        TempoMap.constant(tempo, meters) if tempo is not None else TempoMap(project.tempo_map.points, meters)
    )


def _set_state(project: Project, instrument: Path | None, settings: list[str]) -> None:
    """Instrument and settings, for every instance of the plugin; the instances' own stay where neither is given."""
    from terrain_core.parameters import by_key
    from terrain_core.vst3_preset import state_for
    from terrain_daws import PluginInstance
    from terrain_daws.insertions import DEFAULT_TRACK

    if not project.instances:
        keyed = [lane for lane in project.lanes if lane.key]
        project.instances = [PluginInstance(DEFAULT_TRACK, lanes=keyed)]
    if instrument is None and not settings:
        return
    values = {
        key: by_key(key).parse(text)
        for key, text in parse_assignments(settings, "KEY=VALUE, e.g. run=Transport").items()
    }
    for instance in project.instances:
        before = dict(instance.state.parameters) if instance.state else {}
        state = state_for(instrument, before | values)
        if instrument is None and instance.state:
            state = type(state)(state.parameters, instance.state.instrument, instance.state.loops)
        instance.state = state
