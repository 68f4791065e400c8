"""`terrain loop`: a chain of loopers as sound."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from terrain_core.errors import InputError
from terrain_plugin.cli.console import AsJson, interruptible, print_json, progress
from terrain_plugin.cli.project_commands import print_result, result_as_json

if TYPE_CHECKING:
    from terrain_core.lanes import Lane

MOST_BARS = 100_000


def loop(
    chain: Annotated[Path, typer.Argument(metavar="CHAIN.toml", help="The chain.", show_default=False)],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The sound file: .wav, .flac, .mp3 or .ogg.", show_default=False)
    ],
    instrument: Annotated[
        Path | None,
        typer.Option(
            "--instrument", "-i", metavar="NAME.terrain", help="What plays. Default: the built-in instrument."
        ),
    ] = None,
    tempo: Annotated[float, typer.Option(metavar="BPM", help="Beats a minute.")] = 120.0,
    bars: Annotated[int, typer.Option(help="How long, in bars of 4/4.")] = 16,
    hand: Annotated[
        str | None,
        typer.Option(
            "--hand",
            metavar="FILE|GESTURE",
            help="What is played while the loops run, and what they record: lanes as for `terrain daw new`.",
            show_default=False,
        ),
    ] = None,
    scene: Annotated[str | None, typer.Option(help="One of the chain's scenes.", show_default=False)] = None,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal samples.")] = 0,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot", metavar="PNG", help="Also draw the loops as rings and over the bars.", show_default=False
        ),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(
            "--save",
            metavar="NAME.terrain|NAME.toml",
            help="Also save the loops as they are at the end: in the instrument, or as a chain.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Play a chain of latent loopers into a sound file.

    Loops are kept in beats: at another tempo they are as many bars long and have
    the same pitch.

    \b
    Examples:
      terrain loop daws/examples/three_loops.toml -o loops.wav
      terrain loop chain.toml -i mine.terrain --tempo 96 --bars 32 -o loops.wav --plot loops.png
    """
    from terrain_core.figures import save_figure
    from terrain_core.instrument import Instrument
    from terrain_core.looper.pictures import chain_figure
    from terrain_core.looper.toml_file import read_chain, write_chain
    from terrain_core.tempo import TempoMap
    from terrain_daws import Project
    from terrain_plugin.render import Part, RenderSettings, render_parts
    from terrain_plugin.shipped import DEFAULT_INSTRUMENT

    if not 1 <= bars <= MOST_BARS:
        raise InputError(f"{bars} bars, expected 1 to {MOST_BARS:,}")
    tempo_map = TempoMap.constant(tempo)
    player = Instrument.load(instrument or DEFAULT_INSTRUMENT)
    found = read_chain(chain, player, lambda name, beats: gesture_lanes(name, beats, seed, chain.parent))
    played = found.chain.with_scene(scene) if scene else found.chain
    player.chain = None  # this one plays instead of what the instrument may have
    effect = played.effect(player)
    for beat, name, action in found.actions:
        effect.do(name, action, beat)
    lanes = {lane.key: lane for lane in gesture_lanes(hand, bars * 4.0, seed)} if hand else {}
    part = Part("", player, lanes, effects=[effect])
    project = Project("chain", chain, tempo_map=tempo_map)
    settings = RenderSettings(end=float(tempo_map.seconds_at(bars * 4.0)), seed=seed)
    left = f"{out} is as it was before" if out.exists() else f"{out} was not written"
    with interruptible(left), progress("rendering", quiet=as_json) as report:
        result = render_parts([part], project, out, settings, progress=report)
    if plot:
        save_figure(chain_figure(played, bars), plot)
    if save:
        player.chain = played.with_loopers(voice.value for voice in effect.voices.values())
        if save.suffix == ".toml":
            write_chain(player.chain, save)
        else:
            player.save(save)
    if as_json:
        print_json({**result_as_json(result), "states": {name: state.value for name, state in effect.states.items()}})
        return
    print_result(result)
    for name, state in effect.states.items():
        print(f"{name}: {state.value}")
    if save:
        print(f"{save}: {'the chain' if save.suffix == '.toml' else 'the instrument'} with these loops")


def gesture_lanes(name: str, beats: float, seed: int, folder: Path | None = None) -> Iterable[Lane]:
    """The lanes of a gesture (by its name), or of a file, also one beside the chain."""
    from terrain_daws.gestures import GESTURES, gesture
    from terrain_daws.lane_files import read_lanes

    if name in GESTURES:
        return gesture(name, max(beats, 1.0), seed)
    path = Path(name)
    if folder is not None and not path.is_absolute() and (folder / path).exists():
        path = folder / path
    if not path.exists() and "." not in name:
        raise InputError(f"{name!r} is neither a gesture ({', '.join(GESTURES)}) nor a file")
    return [lane for lane in read_lanes(path).lanes if lane.key and lane.active]
