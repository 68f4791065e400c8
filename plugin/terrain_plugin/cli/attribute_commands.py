"""`terrain attribute`: directions that change what is heard by a known amount."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from terrain_core.errors import InputError
from terrain_plugin.cli.console import AsJson, Commands, print_json, print_table, progress
from terrain_plugin.cli.explorer_commands import Held, InstrumentFile, Out, Seed, SoundName

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Brightness, noisiness, loudness, pitch, attack, duration, or what your own examples have.",
)

AttributeName = Annotated[str, typer.Argument(metavar="ATTRIBUTE", show_default=False)]


@app.command()
def learn(
    file: InstrumentFile,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ATTRIBUTE]...", help="Default: all that are learned for this autoencoder."),
    ] = None,
    examples: Annotated[int, typer.Option(min=40, max=20000, help="Latents of the sounds to listen to.")] = 300,
    orthogonal: Annotated[
        bool, typer.Option("--orthogonal", help="Directions that leave the other attributes as they are.")
    ] = False,
    more: Annotated[
        list[str] | None, typer.Option("--more", metavar="SOUND", help="Has more of it (A); several.")
    ] = None,
    less: Annotated[
        list[str] | None, typer.Option("--less", metavar="SOUND", help="Has less of it (B); several.")
    ] = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Learn attributes from the instrument's sounds, or one of your own from examples. They are kept in the instrument.

    \b
    Examples:
      terrain attribute learn drums.terrain
      terrain attribute learn drums.terrain brightness noisiness --orthogonal
      terrain attribute learn drums.terrain wooden --more block --more marimba --less snare
    """
    import numpy as np

    from terrain_core.explorer import attributes
    from terrain_plugin.cli import explorer_output as output

    instrument, explorer = output.opened(file)
    if more or less:
        if not names or len(names) != 1 or not more or not less:
            raise InputError("examples say what one attribute is: give its name, at least one --more and one --less")
        rows = [
            np.stack([output.named(word, instrument, explorer).latents.mean(axis=0) for word in words])
            for words in (more, less)
        ]
        found = [attributes.from_examples(names[0], rows[0], rows[1], explorer.space)]
    else:
        model = instrument.autoencoder
        wanted = names or [name for name in attributes.QUANTITIES if attributes.learned(name, model)]
        for name in wanted:
            if not attributes.learned(name, model):
                raise InputError(f"{name} is a sound's course and needs no learning: apply it as it is")
        chosen = attributes.examples_from(explorer.collection, examples, seed)
        with progress("listening", unit="latents", quiet=as_json) as report:
            heard = attributes.Examples.of(chosen, model, progress=lambda done, total: report(done, total), seed=seed)
        found = [attributes.learn(name, heard, explorer.space, seed=seed) for name in wanted]
        if orthogonal:
            found = attributes.orthogonal(found, explorer.space)
    explorer.attributes |= {attribute.name: attribute for attribute in found}
    instrument.explorer = explorer
    instrument.save(file)
    _show([attribute.as_dict() for attribute in found], as_json)


@app.command("list")
def list_(file: InstrumentFile, as_json: AsJson = False) -> None:
    """Show what was learned."""
    from terrain_plugin.cli import explorer_output as output

    _, explorer = output.opened(file)
    _show([attribute.as_dict() for attribute in explorer.attributes.values()], as_json)


@app.command()
def apply(
    file: InstrumentFile,
    attribute: AttributeName,
    sound: SoundName,
    strength: Annotated[
        float, typer.Option("--by", help="How much, in the attribute's own unit; may be negative.", show_default=False)
    ],
    out: Out,
    uncorrected: Annotated[
        bool, typer.Option("--uncorrected", help="Take the direction at its word instead of listening again.")
    ] = False,
    held: Held = 1.0,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Change a sound by so much of an attribute, and say what came of it.

    \b
    Examples:
      terrain attribute apply drums.terrain brightness kick --by 0.5 -o bright.wav
      terrain attribute apply drums.terrain duration kick --by -0.2 -o short.wav
    """
    from terrain_core.explorer import attributes
    from terrain_plugin.cli import explorer_output as output
    from terrain_plugin.cli.console import check_suffix

    check_suffix(out, *output.SOUND, output.INSTRUMENT)
    instrument, explorer = output.opened(file)
    source = output.named(sound, instrument, explorer)
    own: attributes.Attribute | str
    stretched = [name for name in attributes.QUANTITIES if not attributes.learned(name, instrument.autoencoder)]
    if attribute in stretched:
        own = attribute
    elif attribute in explorer.attributes:
        own = explorer.attributes[attribute]
    else:
        known = ", ".join([*explorer.attributes, *stretched]) or "one that was"
        raise InputError(f"{attribute!r} was not learned: expected {known}; learn it with terrain attribute learn")
    latents = output.held_for(source.latents, held, instrument.autoencoder)
    done = attributes.apply(
        latents, own, strength, instrument.autoencoder, corrections=0 if uncorrected else 4, seed=seed
    )
    facts: dict[str, Any] = output.write_sounds([done.latents], [source.name], instrument, out, seed=seed)
    facts |= {"attribute": attribute, "unit": done.unit, "asked": done.asked, "achieved": done.achieved}
    facts |= {"before": done.before, "after": done.after}
    if as_json:
        print_json(facts)
        return
    print(f"{out}: {attribute} by {done.asked:+g} {done.unit}, achieved {done.achieved:+.3g}")


@app.command()
def remove(file: InstrumentFile, attribute: AttributeName) -> None:
    """Forget an attribute."""
    from terrain_plugin.cli import explorer_output as output

    instrument, explorer = output.opened(file)
    if attribute not in explorer.attributes:
        raise InputError(f"{file} has no attribute {attribute!r}: it has {', '.join(explorer.attributes) or 'none'}")
    del explorer.attributes[attribute]
    instrument.explorer = explorer
    instrument.save(Path(file))
    print(f"{file}: forgot {attribute}")


def _show(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print_json({"attributes": rows})
        return
    table = [(r["name"], r["unit"], "-" if r["fit"] is None else f"{r['fit']:.0%}", r["examples"]) for r in rows]
    print_table("Attributes", ("name", "unit", "explained ", "examples "), table)
