"""`terrain map`: a terrain as a picture, and sounds laid out on a map to be played.

Heavy imports stand inside the commands, so that `terrain --help` is there at once.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from terrain_core.errors import FileError, InputError
from terrain_plugin.cli.console import AsJson, check_suffix, complain, interruptible, parse_size, print_json, progress
from terrain_plugin.cli.instrument_commands import (
    INSTRUMENT,
    AutoencoderName,
    Bounds,
    CacheFolder,
    CacheSize,
    NoCache,
    Scheduler,
    encode_settings,
    open_terrain,
)

if TYPE_CHECKING:
    from terrain_core.explorer.explorer import Explorer
    from terrain_core.instrument import Instrument
    from terrain_core.trajectories import EncodeSettings

TERRAIN_PANEL, MAP_PANEL = "Picture of the terrain", "Map of sounds"


@dataclass(frozen=True)
class Wanted:
    """What a map of sounds is to be; None where the instrument's own stays."""

    sounds: list[Path]
    more: list[Path]
    save: Path | None
    scatter: Path | None
    layout: Path | None
    method: str | None
    by: str | None
    spread: str | None
    mode: str
    draws: int
    power: float | None
    radius: float | None
    natural: bool | None
    density: bool
    thumbnails: bool
    autoencoder: str
    skip_bad: bool
    seed: int
    encoding: EncodeSettings

    def anything(self) -> bool:
        return bool(self.sounds or self.more or self.save or self.scatter or self.layout)


def map_(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]",
            help="A .terrain, or a .pt of nn.terrain; with --from none is needed.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="PNG",
            help="The terrain's picture.",
            show_default=False,
            rich_help_panel=TERRAIN_PANEL,
        ),
    ] = None,
    dim: Annotated[
        int | None,
        typer.Option(
            metavar="K", help="Draw latent K (from 0) in grey.", show_default=False, rich_help_panel=TERRAIN_PANEL
        ),
    ] = None,
    colour: Annotated[
        bool,
        typer.Option(
            "--colour",
            help="Draw the first four latents: brightness, red, green, blue (the default).",
            rich_help_panel=TERRAIN_PANEL,
        ),
    ] = False,
    bounds: Bounds = None,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="WxH", help="Pixels. Default: 600 wide.", show_default=False, rich_help_panel=TERRAIN_PANEL
        ),
    ] = None,
    npy: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the latents: (height, width, latents) float32, row 0 at the low y.",
            show_default=False,
            rich_help_panel=TERRAIN_PANEL,
        ),
    ] = None,
    span: Annotated[
        tuple[float, float] | None,
        typer.Option(
            "--range",
            metavar="MIN MAX",
            help="Latent values drawn darkest and brightest.",
            show_default=False,
            rich_help_panel=TERRAIN_PANEL,
        ),
    ] = None,
    sounds: Annotated[
        bool, typer.Option(help="Draw where the sounds run, if the instrument knows.", rich_help_panel=TERRAIN_PANEL)
    ] = True,
    corpus: Annotated[
        list[Path] | None,
        typer.Option(
            "--from",
            metavar="AUDIO",
            help="Sound files and folders to lay out; several. A file's folder is its group.",
            rich_help_panel=MAP_PANEL,
        ),
    ] = None,
    more: Annotated[
        list[Path] | None,
        typer.Option(
            "--add",
            metavar="AUDIO",
            help="Sounds that are new; those on the map stay where they are.",
            rich_help_panel=MAP_PANEL,
        ),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(
            metavar="NAME.terrain", help="The instrument with this map.", show_default=False, rich_help_panel=MAP_PANEL
        ),
    ] = None,
    scatter: Annotated[
        Path | None,
        typer.Option(
            metavar="PNG", help="The map's picture, by groups.", show_default=False, rich_help_panel=MAP_PANEL
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(help="pca, umap or tsne. Default: pca.", show_default=False, rich_help_panel=MAP_PANEL),
    ] = None,
    layout: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV",
            help="Places of your own: name, x, y (0 to 1) of each sound.",
            show_default=False,
            rich_help_panel=MAP_PANEL,
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(help="sounds or frames. Default: sounds.", show_default=False, rich_help_panel=MAP_PANEL),
    ] = None,
    spread: Annotated[
        str | None,
        typer.Option(
            help="Evenly over a grid or hex pattern. Default: none.", show_default=False, rich_help_panel=MAP_PANEL
        ),
    ] = None,
    mode: Annotated[
        str,
        typer.Option(
            help="data: the sounds; model: what the model has by chance; synth: any point decoded.",
            rich_help_panel=MAP_PANEL,
        ),
    ] = "data",
    draws: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="How many, in mode model.", rich_help_panel=MAP_PANEL)
    ] = 500,
    power: Annotated[
        float | None,
        typer.Option(
            help="Blend: exponent of the inverse distance. Default: 2.", show_default=False, rich_help_panel=MAP_PANEL
        ),
    ] = None,
    radius: Annotated[
        float | None,
        typer.Option(
            help="Blend: sounds further away take no part; in parts of the map's side.",
            show_default=False,
            rich_help_panel=MAP_PANEL,
        ),
    ] = None,
    natural: Annotated[
        bool | None,
        typer.Option(
            "--natural/--by-distance",
            help="Blend natural neighbours, or the nearest by distance (the default).",
            show_default=False,
            rich_help_panel=MAP_PANEL,
        ),
    ] = None,
    density: Annotated[
        bool, typer.Option("--density", help="Shade the map's picture by density.", rich_help_panel=MAP_PANEL)
    ] = False,
    thumbnails: Annotated[
        bool, typer.Option("--thumbnails", help="Draw sounds as waveforms.", rich_help_panel=MAP_PANEL)
    ] = False,
    autoencoder: AutoencoderName = "builtin",
    skip_bad: Annotated[
        bool,
        typer.Option("--skip-bad", help="Leave out files that cannot be read.", rich_help_panel=MAP_PANEL),
    ] = False,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal maps.", rich_help_panel=MAP_PANEL)] = 0,
    cache: CacheFolder = None,
    no_cache: NoCache = False,
    cache_size: CacheSize = None,
    scheduler: Scheduler = None,
    as_json: AsJson = False,
) -> None:
    """Draw a terrain as a picture, as nn.terrain does: the first row is the low y bound. Or lay sounds out on a map.

    \b
    Examples:
      terrain map drums.terrain -o drums.png
      terrain map demo.pt -o demo.png --bounds -16 -4 16 4 --dim 0 --range -1 4
      terrain map --from drums/ --save drums.terrain --method umap --scatter map.png
      terrain map drums.terrain --add more/ --save drums.terrain --thumbnails --scatter map.png
    """
    wanted = Wanted(
        *(corpus or [], more or [], save, scatter, layout, method, by, spread, mode, draws, power, radius, natural),
        *(density, thumbnails, autoencoder, skip_bad, seed),
        encode_settings(cache, no_cache, scheduler, size=cache_size),
    )
    if out is None and npy is None and not wanted.anything():
        raise InputError(
            "nothing to write: name a picture with -o NAME.png, or a file for the latents with --npy; for a map of "
            "sounds, --save NAME.terrain or --scatter NAME.png"
        )
    facts = _map_sounds(file, wanted, as_json) if wanted.anything() else {}
    drawn = save if file is None else file
    if out is not None or npy is not None:
        if drawn is None:
            raise InputError("a terrain's picture needs a FILE, or --save to make one")
        _draw_terrain(drawn, out, dim, colour, bounds, size, npy, span, sounds)
        facts["pictures"] = [str(path) for path in (out, npy) if path]
    if as_json:
        print_json(facts)
        return
    if "sounds" in facts:
        shown = "" if facts["trustworthiness"] is None else f", trustworthiness {facts['trustworthiness']:.3f}"
        print(f"{facts['sounds']} sounds, {facts['places']} places by {facts['method']}{shown}")
    print("\n".join(str(path) for path in (save, scatter, out, npy) if path))


def _draw_terrain(
    file: Path,
    out: Path | None,
    dim: int | None,
    colour: bool,
    bounds: tuple[float, float, float, float] | None,
    size: str | None,
    npy: Path | None,
    span: tuple[float, float] | None,
    sounds: bool,
) -> None:
    from terrain_core.building import sound_paths
    from terrain_core.pictures import (
        View,
        draw_trajectories,
        map_picture,
        sample_terrain,
        save_picture,
        write_latents,
    )

    if dim is not None and colour:
        raise InputError("--dim draws one latent in grey, --colour four in colour: choose one")
    instrument, terrain = open_terrain(file)
    if terrain is None:
        raise FileError(file, "has no terrain to draw, only a sound map")
    view = View(*bounds) if bounds else View.whole(terrain)
    with interruptible("nothing was drawn"), progress("drawing", unit="rows") as report:
        latents = sample_terrain(terrain, view, parse_size(size) if size else view.size(), report)
        if npy:
            write_latents(latents, npy)
        if out:
            check_suffix(out, ".png")
            picture = map_picture(latents, dimension=dim, span=span)
            paths = sound_paths(instrument) if instrument is not None and sounds else []
            if paths:
                low, high = terrain.bounds[:2].T
                picture = draw_trajectories(picture, view, [low + path * (high - low) for path in paths])
            save_picture(picture, out)


def _map_sounds(file: Path | None, wanted: Wanted, quiet: bool) -> dict[str, Any]:
    """Lay out, save and draw a map of sounds; says what it is."""
    from terrain_core.explorer.pictures import scatter_figure
    from terrain_core.explorer.projection import trustworthiness
    from terrain_core.figures import save_figure

    for path, suffix in ((wanted.save, INSTRUMENT), (wanted.scatter, ".png"), (wanted.layout, ".csv")):
        if path is not None:
            check_suffix(path, suffix)
    with interruptible("nothing was written"):
        instrument, explorer = _collected(file, wanted, quiet)
        _laid_out(explorer, wanted)
        projection = explorer.projection
        assert projection is not None, "laid out just now"
        if wanted.save is not None:
            _save(instrument, explorer, wanted)
        if wanted.scatter is not None:
            model = instrument.autoencoder if wanted.thumbnails else None
            save_figure(scatter_figure(explorer, density=wanted.density, thumbnails=model), wanted.scatter)
    count = len(projection.places)
    # Beyond, it takes longer than the map itself, and gigabytes.
    trust = trustworthiness(projection.vectors, projection.places) if 4 <= count <= 6000 else None
    return {
        "sounds": len(explorer.collection),
        "places": count,
        "method": projection.method,
        "by": explorer.by,
        "trustworthiness": trust,
        "save": None if wanted.save is None else str(wanted.save),
        "scatter": None if wanted.scatter is None else str(wanted.scatter),
    }


def _collected(file: Path | None, wanted: Wanted, quiet: bool) -> tuple[Instrument, Explorer]:
    """The instrument and its sounds, those of --from in place of its own, those of --add beside them."""
    from terrain_core import autoencoders
    from terrain_core.building import find_sounds
    from terrain_core.explorer.collection import Encoded, encode_collection
    from terrain_core.explorer.explorer import Explorer, explorer_of
    from terrain_core.instrument import Instrument

    def encoded(places: list[Path]) -> Encoded:
        with progress("encoding", unit="files", quiet=quiet) as report:
            found = encode_collection(
                find_sounds(places),
                model,
                skip_bad=wanted.skip_bad,
                progress=lambda done, total: report(done, total),
                settings=wanted.encoding,
            )
        for problem in found.problems:
            complain(f"left out: {problem}")
        return found

    instrument = None
    if file is not None:
        check_suffix(file, INSTRUMENT)
        instrument = Instrument.load(file)
    elif not wanted.sounds:
        raise InputError("a map needs sounds: name them with --from, or an instrument that has some")
    model = instrument.autoencoder if instrument is not None else autoencoders.load(wanted.autoencoder)
    if wanted.sounds:
        explorer = Explorer(encoded(wanted.sounds).collection)
    else:
        assert instrument is not None, "there is a file where there are no sounds"
        explorer = explorer_of(instrument)
    if wanted.more and explorer.projection is None:
        explorer.project()
    if wanted.more:
        explorer.add(encoded(wanted.more).collection.sounds)
    if instrument is None:
        instrument = Instrument(model, None, explorer=explorer)
    return instrument, explorer


def _laid_out(explorer: Explorer, wanted: Wanted) -> None:
    from terrain_core.explorer.projection import ProjectionSettings

    if wanted.by not in (None, "sounds", "frames"):
        raise InputError(f"a map by {wanted.by!r}: expected sounds or frames")
    if wanted.by is not None and wanted.by != explorer.by:
        explorer.by, explorer.projection = wanted.by, None  # type: ignore[assignment]  # checked above
    if wanted.layout is not None:
        explorer.place(_read_layout(wanted.layout, explorer))
    elif explorer.projection is None or wanted.method or wanted.spread:
        explorer.project(
            ProjectionSettings(wanted.method or "pca", wanted.spread or "none", seed=wanted.seed)  # type: ignore[arg-type]
        )


def _read_layout(path: Path, explorer: Explorer) -> list[tuple[float, float]]:
    """Places of a table with the columns name, x and y, in the order of the sounds."""
    if explorer.by != "sounds":
        raise InputError("a layout of your own is for a map by sounds: leave out --by frames")
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))
    except OSError as error:
        raise FileError(path, f"cannot be opened ({error.strerror or error})") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise FileError(path, f"is no table ({error})") from None
    places = {}
    for line, row in enumerate(rows, start=2):
        try:
            places[row["name"]] = (float(row["x"]), float(row["y"]))
        except (KeyError, TypeError, ValueError):
            raise FileError(
                path, "has no name, x and y that are numbers", position=f"line {line}", hint="begin it with name,x,y"
            ) from None
    missing = [name for name in explorer.collection.names if name not in places]
    if missing:
        raise FileError(
            path, f"has no place for {missing[0]!r}" + (f" and {len(missing) - 1} more" * (len(missing) > 1))
        )
    return [places[name] for name in explorer.collection.names]


def _save(instrument: Instrument, explorer: Explorer, wanted: Wanted) -> None:
    from terrain_core.explorer.playable import terrain_through
    from terrain_core.notebook import instrument_png
    from terrain_core.sound_map import Blending, SoundMap

    assert wanted.save is not None, "called only where there is something to save"
    plain = explorer.sound_map(wanted.mode, count=wanted.draws, seed=wanted.seed)  # type: ignore[arg-type]
    before = instrument.sound_map.blending if instrument.sound_map is not None else Blending()
    blending = Blending(
        before.method if wanted.natural is None else "natural" if wanted.natural else "distance",
        before.power if wanted.power is None else wanted.power,
        before.radius if wanted.radius is None else wanted.radius,
    )
    instrument.sound_map = SoundMap(plain.positions, plain.latents, plain.names, blending)
    instrument.explorer = explorer
    if instrument.terrain is None or wanted.sounds:
        instrument.terrain = terrain_through(plain, seed=wanted.seed)
    instrument.save(wanted.save, preview=instrument_png)
