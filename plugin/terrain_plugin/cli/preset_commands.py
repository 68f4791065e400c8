"""`terrain preset`: points, paths, settings and scenes that an instrument keeps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from terrain_core.errors import InputError
from terrain_plugin.cli.console import AsJson, Commands, parse_assignments, print_json, print_table
from terrain_plugin.cli.explorer_commands import SOUND_HELP, Held, InstrumentFile, Out, Seed
from terrain_plugin.cli.instrument_commands import CacheFolder, NoCache, encode_settings

if TYPE_CHECKING:
    from terrain_core.explorer.explorer import Explorer
    from terrain_core.explorer.presets import Preset
    from terrain_core.instrument import Instrument

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Points, paths, settings and scenes, by name; kept in the instrument, or in a file.",
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The preset.", show_default=False)]
PresetFile = Annotated[Path, typer.Argument(metavar="FILE.json", show_default=False)]


@app.command("list")
def list_(
    file: InstrumentFile,
    text: Annotated[str, typer.Argument(metavar="[WORDS]", help="Only those with these words.")] = "",
    tag: Annotated[str, typer.Option(help="Only those with this tag.")] = "",
    kind: Annotated[str, typer.Option(help="Only points, paths, parameters or scenes: one of these words.")] = "",
    as_json: AsJson = False,
) -> None:
    """List presets, or search them."""
    _, explorer = _opened(file)
    found = explorer.presets.search(text, tag=tag, kind=kind.removesuffix("s") if kind != "parameters" else kind)
    if as_json:
        print_json({"presets": [preset.as_dict() for preset in found]})
        return
    print_table("Presets", ("name", "kind", "sound", "tags", "description"), [_row(preset) for preset in found])


@app.command()
def keep(
    file: InstrumentFile,
    name: Name,
    sound: Annotated[
        str | None, typer.Option("--sound", metavar="SOUND", help="What it sounds like. " + SOUND_HELP)
    ] = None,
    held: Annotated[bool, typer.Option("--point", help="Only the sound's held frame.")] = False,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A parameter, e.g. glide=200; several.")
    ] = None,
    tags: Annotated[list[str] | None, typer.Option("--tag", help="To find it by; several.")] = None,
    description: Annotated[str, typer.Option(help="For people.")] = "",
    as_json: AsJson = False,
) -> None:
    """Keep a preset: a sound (path or point), settings, or both (a scene). One of the same name is replaced.

    \b
    Examples:
      terrain preset keep drums.terrain soft --sound kick --tag warm
      terrain preset keep drums.terrain verse --sound 0.3,0.7 --set glide=200
    """
    from terrain_core.explorer.presets import Preset
    from terrain_core.parameters import by_key
    from terrain_plugin.cli import explorer_output as output

    instrument, explorer = _opened(file)
    values = {k: by_key(k).parse(v) for k, v in parse_assignments(settings or [], "KEY=VALUE, e.g. glide=200").items()}
    labels: dict[str, Any] = {"tags": tuple(tags or ()), "description": description, "parameters": values}
    if sound is None:
        preset = Preset(name, "parameters", **labels)
    else:
        source = output.named(sound, instrument, explorer)
        known = sound in explorer.collection.names
        origin = explorer.collection.find(sound) if known else None
        rows = source.latents if origin is None or not held else origin.latent[None]
        rows = rows[len(rows) // 2 :][:1] if held and origin is None else rows
        kind = "scene" if values else "point" if len(rows) == 1 else "path"
        labels |= {"sound": origin.name, "path": origin.path, "sha256": origin.sha256} if origin else {}
        preset = Preset(name, kind, rows, source.place, **labels)  # type: ignore[arg-type]
    explorer.keep(preset)
    _save(instrument, explorer, file)
    _say(file, f"kept {name}, a {preset.kind}" if preset.kind != "parameters" else f"kept {name}", [preset], as_json)


@app.command()
def remove(file: InstrumentFile, name: Name, as_json: AsJson = False) -> None:
    """Remove a preset."""
    instrument, explorer = _opened(file)
    gone = explorer.presets.get(name)
    explorer.change(lambda book: book.remove(name))
    _save(instrument, explorer, file)
    _say(file, f"removed {name}", [gone], as_json)


@app.command()
def rename(
    file: InstrumentFile,
    name: Name,
    new: Annotated[str, typer.Argument(metavar="NEW", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Give a preset another name."""
    instrument, explorer = _opened(file)
    explorer.change(lambda book: book.rename(name, new))
    _save(instrument, explorer, file)
    _say(file, f"{name} is called {new} now", [explorer.presets.get(new)], as_json)


@app.command()
def undo(file: InstrumentFile, as_json: AsJson = False) -> None:
    """Take back the last change of the instrument's presets; again for the one before."""
    instrument, explorer = _opened(file)
    if not explorer.undo():
        raise InputError(f"{file} remembers no change of its presets that could be taken back")
    _save(instrument, explorer, file)
    _say(file, "took back the last change", list(explorer.presets), as_json)


@app.command()
def morph(
    file: InstrumentFile,
    first: Annotated[str, typer.Argument(metavar="A", show_default=False)],
    second: Annotated[str, typer.Argument(metavar="B", show_default=False)],
    at: Annotated[float, typer.Option("--at", min=0.0, max=1.0, help="How far from A to B.")] = 0.5,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="A sound file.", show_default=False)] = None,
    name: Annotated[str | None, typer.Option("--keep", metavar="NAME", help="Keep it as a preset.")] = None,
    held: Held = 1.0,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Something between two presets: sound, place and settings."""
    from dataclasses import replace

    from terrain_plugin.cli import explorer_output as output
    from terrain_plugin.cli.console import check_suffix

    if out is None and name is None:
        raise InputError("nothing to do: name a sound file with -o, or a preset with --keep")
    instrument, explorer = _opened(file)
    made = explorer.presets.morph(first, second, at)
    facts: dict[str, Any] = {"preset": made.as_dict()}
    if out is not None:
        check_suffix(out, *output.SOUND)
        if made.latents is None:
            raise InputError(f"{first} and {second} are settings without a sound")
        facts |= output.write_sounds([made.latents], [made.name], instrument, out, held=held, seed=seed)
    if name is not None:
        explorer.keep(replace(made, name=name))
        _save(instrument, explorer, file)
    if as_json:
        print_json(facts)
        return
    print("\n".join(str(line) for line in (out, f"{file}: kept {name}" if name else None) if line))


@app.command()
def play(file: InstrumentFile, name: Name, out: Out, held: Held = 1.0, seed: Seed = 0, as_json: AsJson = False) -> None:
    """Write a preset's sound, or an instrument of it."""
    from terrain_plugin.cli import explorer_output as output
    from terrain_plugin.cli.console import check_suffix

    check_suffix(out, *output.SOUND, output.INSTRUMENT)
    instrument, explorer = _opened(file)
    preset = explorer.presets.get(name)
    if preset.latents is None:
        raise InputError(f"the preset {name!r} sets parameters only: it has no sound of its own")
    output.say(output.write_sounds([preset.latents], [name], instrument, out, held=held, seed=seed), as_json)


@app.command("export")
def export(file: InstrumentFile, out: PresetFile) -> None:
    """Write all presets to a file of their own (JSON)."""
    instrument, explorer = _opened(file)
    explorer.presets.save(out, str(getattr(instrument.autoencoder, "sha256", "")))
    print(f"{out}: {len(explorer.presets)} presets")


@app.command("import")
def import_(file: InstrumentFile, source: PresetFile) -> None:
    """Add presets from a file; those of the same name are replaced."""
    from terrain_core.explorer.presets import PresetBook

    instrument, explorer = _opened(file)
    fresh = PresetBook.load(source, str(getattr(instrument.autoencoder, "sha256", "")))
    for preset in fresh:
        if preset.latents is not None and preset.latents.shape[1] != instrument.autoencoder.latent_size:
            raise InputError(
                f"{source}: the preset {preset.name!r} has {preset.latents.shape[1]} latents, the instrument's "
                f"autoencoder {instrument.autoencoder.latent_size}"
            )
        explorer.keep(preset)
    _save(instrument, explorer, file)
    print(f"{file}: {len(fresh)} presets from {source}")


@app.command()
def retrain(
    file: InstrumentFile,
    autoencoder: Annotated[
        str, typer.Option("--autoencoder", "-a", metavar="NAME|FILE", help="The new one.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="NAME.terrain", show_default=False)],
    folders: Annotated[
        list[Path] | None, typer.Option("--folder", help="Where to look for sounds that have moved; several.")
    ] = None,
    cache: CacheFolder = None,
    no_cache: NoCache = False,
    as_json: AsJson = False,
) -> None:
    """Take sounds and presets over to another autoencoder: their latents are made again from the sounds' files.

    Map and terrain are made anew; attributes and pins have to be.
    """
    from terrain_core import autoencoders
    from terrain_core.explorer.explorer import Explorer
    from terrain_core.explorer.playable import terrain_through
    from terrain_core.instrument import Instrument

    settings = encode_settings(cache, no_cache)
    instrument, explorer = _opened(file)
    model = autoencoders.load(autoencoder)
    collection, missing = explorer.collection.encoded_again(model, folders or [], settings)
    book, lost = explorer.presets.after_retrain(model, folders or [])
    fresh = Explorer(collection, by=explorer.by, presets=book)
    fresh.project()
    sound_map = fresh.sound_map()
    made = Instrument(
        model, terrain_through(sound_map), sound_map, instrument.presets, instrument.metadata, explorer=fresh
    )
    made.save(out)
    if as_json:
        print_json({"out": str(out), "sounds": len(collection), "presets": len(book), "lost": missing + lost})
        return
    print(f"{out}: {len(collection)} sounds, {len(book)} presets")
    for line in missing + lost:
        print(f"lost: {line}")


def _opened(file: Path) -> tuple[Instrument, Explorer]:
    from terrain_plugin.cli import explorer_output as output

    return output.opened(file)


def _save(instrument: Instrument, explorer: Explorer, file: Path) -> None:
    instrument.explorer = explorer
    instrument.save(file)


def _say(file: Path, done: str, presets: list[Preset], as_json: bool) -> None:
    if as_json:
        print_json({"file": str(file), "presets": [preset.as_dict() for preset in presets]})
    else:
        print(f"{file}: {done}")


def _row(preset: Preset) -> tuple[str, str, str, str, str]:
    return preset.name, preset.kind, preset.sound, ", ".join(preset.tags), preset.description
