"""`terrain morph`, `walk`, `vary`, `reconstruct`, `sliders` and `steer`: ways through an instrument's sounds.

Heavy imports stand inside the commands, so that `terrain --help` is there at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from terrain_core.errors import FileError, InputError
from terrain_plugin.cli.console import AsJson, check_suffix, print_json, print_table

InstrumentFile = Annotated[
    Path, typer.Argument(metavar="NAME.terrain", help="The instrument with the sounds.", show_default=False)
]
Out = Annotated[
    Path,
    typer.Option(
        "--out",
        "-o",
        help="A sound (.wav .flac .ogg .mp3), an instrument (.terrain), or lanes (.csv, or a DAW project).",
        show_default=False,
    ),
]
SOUND_HELP = "A sound of the instrument, a preset, a sound file, a point X,Y of its map, or mean."
SoundName = Annotated[str, typer.Argument(metavar="SOUND", help=SOUND_HELP, show_default=False)]
Gap = Annotated[float, typer.Option(min=0.0, max=60.0, help="Seconds of silence between sounds.")]
Held = Annotated[float, typer.Option(min=0.02, max=600.0, help="Seconds for which a single latent sounds.")]
Tempo = Annotated[float, typer.Option(metavar="BPM", min=1.0, max=999.0, help="Beats a minute.")]
Seed = Annotated[int, typer.Option(help="Equal seeds give equal results.")]
Picture = Annotated[Path | None, typer.Option("--picture", metavar="PNG", help="Also draw it.", show_default=False)]
Each = Annotated[
    Path | None,
    typer.Option("--each", metavar="FOLDER", help="Also write each sound to a file of its own.", show_default=False),
]


def morph(
    file: InstrumentFile,
    first: Annotated[str, typer.Argument(metavar="A", help=SOUND_HELP, show_default=False)],
    second: Annotated[str, typer.Argument(metavar="B", help="The same.", show_default=False)],
    out: Out,
    steps: Annotated[int, typer.Option(help="How many sounds, A and B among them.")] = 8,
    mode: Annotated[str, typer.Option(help="linear, or spherical: on an arc around the mean.")] = "linear",
    easing: Annotated[str, typer.Option(help="linear, smooth, fast-start, fast-end or sine.")] = "linear",
    align: Annotated[str, typer.Option(help="phase: equal parts of time; dtw: what sounds alike.")] = "phase",
    loop: Annotated[bool, typer.Option("--loop", help="Back again to A, which is not repeated.")] = False,
    seconds: Annotated[
        float | None,
        typer.Option(help="One sound of that length that goes from A to B while it sounds.", show_default=False),
    ] = None,
    beats: Annotated[float, typer.Option(help="Length of lanes.")] = 16.0,
    tempo: Tempo = 120.0,
    gap: Gap = 0.1,
    held: Held = 1.0,
    each: Each = None,
    picture: Picture = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Go from one sound to another.

    A sound file gets the steps one after another, or with --seconds a single sound
    on its way; an instrument has time on X and the steps on Y; lanes go from A's
    place on the map to B's.

    \b
    Examples:
      terrain morph drums.terrain kick snare -o morph.wav --steps 12
      terrain morph drums.terrain kick snare -o morph.terrain --align dtw
      terrain morph drums.terrain kick 0.5,0.5 -o morph.csv --beats 8 --easing smooth
    """
    import numpy as np

    from terrain_core.explorer.morph import Morph, MorphSettings, between
    from terrain_core.explorer.pictures import morph_figure
    from terrain_core.figures import save_figure
    from terrain_plugin.cli import explorer_output as output

    kind = output.kind_of(out)
    settings = MorphSettings(steps, mode, easing, align, loop)  # type: ignore[arg-type]  # it refuses other words
    instrument, explorer = output.opened(file)
    a, b = (output.named(word, instrument, explorer) for word in (first, second))
    if kind == "lanes":
        if a.place is None or b.place is None:
            raise InputError(f"{first if a.place is None else second} has no place on the map: lanes need two places")
        progress = settings.progress()
        if loop:
            progress = np.append(progress, 0.0)  # a lane has to come to its end
        places = between(a.place, b.place, progress)
        output.say(
            output.write_lanes(places, np.linspace(0, beats, len(places)), out, tempo=tempo, instrument=file), as_json
        )
        return
    way = Morph(a.latents, b.latents, settings, explorer.space.mean)
    if seconds is not None:
        rate = instrument.autoencoder.sample_rate / instrument.autoencoder.hop
        sounds = [way.trajectory(max(2, round(seconds * rate)))]
        names = [f"{a.name} to {b.name}"]
    else:
        sounds = way.sequence()
        names = [f"{a.name} to {b.name} {t:.0%}" for t in settings.progress()]
    facts = output.write_sounds(sounds, names, instrument, out, gap=gap, held=held, seed=seed, each=each)
    if picture:
        save_figure(morph_figure(sounds, instrument.autoencoder, f"{a.name} to {b.name}"), picture)
    output.say(facts, as_json)


def walk(
    file: InstrumentFile,
    out: Out,
    start: Annotated[str, typer.Option("--from", metavar="SOUND", help="Where to begin: " + SOUND_HELP)] = "mean",
    steps: Annotated[int, typer.Option(help="How many.")] = 32,
    step_size: Annotated[float, typer.Option(help="Length of a step, in standard deviations.")] = 0.4,
    momentum: Annotated[float, typer.Option(help="0: turns anywhere; 1: never turns by itself.")] = 0.6,
    pull: Annotated[float, typer.Option(help="Towards the mean, 0 to 1.")] = 0.1,
    attractors: Annotated[
        list[str] | None, typer.Option("--attractor", metavar="SOUND", help="What it likes to come by; several.")
    ] = None,
    attraction: Annotated[float, typer.Option(help="How much it likes that, 0 to 1.")] = 0.3,
    share: Annotated[float, typer.Option(help="It stays where this share of the sounds' latents are.")] = 0.95,
    beats: Annotated[float, typer.Option(help="Beats a step.")] = 1.0,
    tempo: Tempo = 120.0,
    step_seconds: Annotated[
        float | None, typer.Option(help="Seconds a step, whatever the tempo.", show_default=False)
    ] = None,
    easing: Annotated[
        str, typer.Option(help="Between steps: linear, smooth, fast-start, fast-end or sine.")
    ] = "smooth",
    picture: Picture = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Walk at random, with momentum, and never leave what the sounds know.

    A sound file and an instrument get a walk through the latents, lanes get one
    over the map.

    \b
    Examples:
      terrain walk drums.terrain -o walk.wav --steps 64 --beats 0.5 --tempo 96
      terrain walk drums.terrain -o walk.wav --from kick --attractor snare --step-seconds 0.3
      terrain walk drums.terrain -o walk.rpp --steps 128
    """
    import numpy as np

    from terrain_core.explorer.pictures import scatter_figure, walk_figure
    from terrain_core.explorer.space import LatentSpace
    from terrain_core.explorer.walk import WalkSettings, in_time
    from terrain_core.explorer.walk import walk as walk_through
    from terrain_core.figures import save_figure
    from terrain_plugin.cli import explorer_output as output

    kind = output.kind_of(out)
    if not (0 < beats < 1e6) or (step_seconds is not None and not 0 < step_seconds < 1e6):
        raise InputError(f"{beats} beats or {step_seconds} s a step: expected above 0")
    likes = attractors or []
    settings = WalkSettings(steps, step_size, momentum, pull, attraction if likes else 0.0, share, seed)
    instrument, explorer = output.opened(file)
    begin = output.named(start, instrument, explorer)
    others = [output.named(word, instrument, explorer) for word in likes]
    length = step_seconds if step_seconds is not None else beats * 60 / tempo
    if kind == "lanes":
        placed = [other.place for other in others if other.place is not None]
        space = LatentSpace.of(explorer.place_table())
        places = walk_through(space, begin.place, settings, np.array(placed) if placed else None).astype(np.float64)
        places = np.clip(places, 0.0, 1.0)
        at = np.arange(len(places)) * length * tempo / 60
        facts = output.write_lanes(places, at, out, tempo=tempo, instrument=file)
        if picture:
            save_figure(scatter_figure(explorer, path=places), picture)
        output.say(facts, as_json)
        return
    targets = np.stack([other.latents.mean(axis=0) for other in others]) if others else None
    points = walk_through(explorer.space, begin.latents.mean(axis=0), settings, targets)
    rate = instrument.autoencoder.sample_rate / instrument.autoencoder.hop
    frames = in_time(points, np.arange(len(points)) * length, rate, easing)
    inside = float((explorer.space.distance(frames) <= explorer.space.radius(share) + 1e-4).mean())
    facts = output.write_sounds([frames], ["walk"], instrument, out, seed=seed)
    if picture:
        save_figure(walk_figure(points, explorer.space, share), picture)
    if not as_json:
        output.say(facts, as_json)
        print(f"{inside:.1%} of its frames are where {share:.0%} of the sounds' are")
        return
    print_json(facts | {"inside": inside})


def vary(
    file: InstrumentFile,
    sound: SoundName,
    out: Out,
    count: Annotated[int, typer.Option(help="How many.")] = 8,
    amount: Annotated[float, typer.Option(help="How far away, in standard deviations a direction.")] = 0.5,
    temperature: Annotated[float, typer.Option(help="0: all equally far; 1: as chance has it; more: wilder.")] = 1.0,
    order: Annotated[
        str, typer.Option(help="distance: the nearest first; spread: as different as can be.")
    ] = "distance",
    corpus: Annotated[bool, typer.Option("--corpus", help="The instrument's own sounds most like it.")] = False,
    beats: Annotated[float, typer.Option(help="Beats for each, in lanes.")] = 1.0,
    tempo: Tempo = 120.0,
    gap: Gap = 0.1,
    held: Held = 1.0,
    each: Each = None,
    picture: Picture = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Make variations of a sound, or find what is like it.

    \b
    Examples:
      terrain vary drums.terrain kick -o kicks.wav --count 16 --each kicks
      terrain vary drums.terrain kick -o kicks.terrain --order spread
      terrain vary drums.terrain kick -o like_kick.csv --corpus
    """
    import numpy as np

    from terrain_core.explorer.pictures import morph_figure
    from terrain_core.explorer.variations import VariationSettings, alike
    from terrain_core.explorer.variations import vary as varied
    from terrain_core.figures import save_figure
    from terrain_plugin.cli import explorer_output as output

    kind = output.kind_of(out)
    settings = VariationSettings(count, amount, temperature, order, seed=seed)  # type: ignore[arg-type]
    instrument, explorer = output.opened(file)
    source = output.named(sound, instrument, explorer)
    if corpus:
        rows = source.latents.astype(np.float64)
        portrait = np.concatenate([rows.mean(axis=0), rows.std(axis=0)])
        found = [
            (explorer.collection.sounds[index], away)
            for index, away in alike(explorer.collection, portrait, count + 1, settings.order)
            if explorer.collection.sounds[index].name != sound
        ][:count]
        names, sounds = [each_.name for each_, _ in found], [each_.latents for each_, _ in found]
        distances = [away for _, away in found]
    else:
        made = varied(source.latents, explorer.space, settings)
        names, sounds = [f"{source.name} {n}" for n in range(1, count + 1)], [each_.latents for each_ in made]
        distances = [each_.distance for each_ in made]
    if kind == "lanes":
        if not corpus:
            raise FileError(out, "is for lanes, but variations are no places on the map: add --corpus, or write a .wav")
        places = np.stack([explorer.place_of(name) for name in names])
        facts = output.write_lanes(
            places, beats * np.arange(len(places), dtype=np.float64), out, tempo=tempo, instrument=file
        )
    else:
        facts = output.write_sounds(sounds, names, instrument, out, gap=gap, held=held, seed=seed, each=each)
    if picture:
        save_figure(morph_figure(sounds, instrument.autoencoder, f"variations of {source.name}"), picture)
    if as_json:
        print_json(facts | {"variations": [{"name": n, "distance": d} for n, d in zip(names, distances, strict=True)]})
        return
    output.say(facts, as_json)
    for name, away in zip(names, distances, strict=True):
        print(f"{name}: {away:.2f} standard deviations away")


def reconstruct(
    audio: Annotated[Path, typer.Argument(metavar="AUDIO", help="Any sound file.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="What the autoencoder makes of it.", show_default=False)
    ] = None,
    instrument_file: Annotated[
        Path | None,
        typer.Option(
            "--instrument", "-i", metavar="NAME.terrain", help="Find it among these sounds.", show_default=False
        ),
    ] = None,
    autoencoder: Annotated[
        str, typer.Option("--autoencoder", "-a", metavar="NAME|FILE", help="Without an instrument: builtin, or a file.")
    ] = "builtin",
    picture: Picture = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Hear what the autoencoder makes of a file, and find the file on the map.

    \b
    Examples:
      terrain reconstruct voice.wav -o rebuilt.wav
      terrain reconstruct voice.wav -i drums.terrain --json
    """
    from terrain_core import autoencoders
    from terrain_core.explorer.pictures import reconstruction_figure
    from terrain_core.explorer.reconstruction import reconstruct as rebuild
    from terrain_core.figures import save_figure
    from terrain_plugin.cli import explorer_output as output

    if out is not None:
        check_suffix(out, *output.SOUND, output.INSTRUMENT)
    if instrument_file is not None:
        instrument, explorer = output.opened(instrument_file)
        model = instrument.autoencoder
        found = rebuild(audio, model, explorer.collection, explorer.projection, seed=seed)
    else:
        model = autoencoders.load(autoencoder)
        found = rebuild(audio, model, seed=seed)
    facts: dict[str, Any] = {
        "sound": found.sound.name,
        "frames": len(found.sound),
        "spectral_db": found.errors.spectral_db,
        "level_db": found.errors.level_db,
        "signal_to_error_db": found.errors.signal_to_error_db,
    }
    if found.place is not None:
        facts["place"] = [float(value) for value in found.place]
    if found.nearest:
        facts |= {"nearest": [{"name": name, "distance": away} for name, away in found.nearest], "same": found.same}
    if out is not None and out.suffix.lower() == output.INSTRUMENT:
        from terrain_core.explorer.playable import instrument_of

        instrument_of([found.sound.latents], [found.sound.name], model).save(out)
        facts["out"] = str(out)
    elif out is not None:
        facts |= output.write_sound(found.rebuilt, model.sample_rate, out)
    if picture:
        save_figure(reconstruction_figure(found, model.sample_rate), picture)
    if as_json:
        print_json(facts)
        return
    errors = found.errors
    print(
        f"{audio}: {len(found.sound)} frames, spectral error {errors.spectral_db:.1f} dB, "
        f"level {errors.level_db:+.1f} dB"
    )
    if found.place is not None:
        print(f"place on the map: {found.place[0]:.3f}, {found.place[1]:.3f}")
    if found.same:
        print(f"this is the instrument's sound {found.same!r}")
    if found.nearest:
        print_table("Most like it", ("sound", "standard deviations "), [(n, f"{d:.2f}") for n, d in found.nearest])
    if out is not None:
        print(out)


def sliders(
    file: InstrumentFile,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="What it sounds like.", show_default=False)] = None,
    start: Annotated[str, typer.Option("--from", metavar="SOUND", help="Where to begin: " + SOUND_HELP)] = "mean",
    principal: Annotated[
        bool, typer.Option("--principal", help="Along the principal directions, in standard deviations.")
    ] = False,
    values: Annotated[
        list[str] | None, typer.Option("--set", metavar="K=VALUE", help="Slider K (from 0) at a value; several.")
    ] = None,
    locks: Annotated[list[int] | None, typer.Option("--lock", metavar="K", help="Leave slider K alone.")] = None,
    zero: Annotated[bool, typer.Option("--zero", help="All that are free at 0.")] = False,
    mean: Annotated[bool, typer.Option("--mean", help="All that are free at the mean.")] = False,
    temperature: Annotated[
        float | None, typer.Option("--random", metavar="TEMPERATURE", help="By chance.", show_default=False)
    ] = None,
    held: Held = 1.0,
    picture: Picture = None,
    keep: Annotated[
        str | None, typer.Option("--keep", metavar="NAME", help="Keep it as a preset.", show_default=False)
    ] = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Set a latent slider by slider, within ranges from the sounds.

    First what is for all (--zero, --mean, --random), then what is for one (--set).

    \b
    Examples:
      terrain sliders drums.terrain --random 0.8 --lock 0 -o chance.wav
      terrain sliders drums.terrain --principal --set 0=2 -o bright.wav --keep bright
    """
    import numpy as np

    from terrain_core.explorer.pictures import sliders_figure
    from terrain_core.explorer.presets import Preset
    from terrain_core.explorer.sliders import Sliders
    from terrain_core.figures import save_figure
    from terrain_plugin.cli import explorer_output as output
    from terrain_plugin.cli.console import parse_assignments

    if out is not None:
        check_suffix(out, *output.SOUND, output.INSTRUMENT)
    instrument, explorer = output.opened(file)
    begin = output.named(start, instrument, explorer).latents.mean(axis=0)
    board = Sliders.of(explorer.space, begin, principal=principal).lock(locks or [])
    if zero:
        board = board.zero()
    if mean:
        board = board.mean()
    if temperature is not None:
        board = board.random(temperature, seed)
    for key, value in parse_assignments(values or [], "K=VALUE, e.g. 0=1.5").items():
        board = board.move(*_slider(key, value))
    facts: dict[str, Any] = {
        "latent": [float(v) for v in board.latent],
        "sliders": [
            {"value": float(v), "low": float(low), "high": float(high), "locked": k in board.locked}
            for k, (v, (low, high)) in enumerate(zip(board.values, board.ranges, strict=True))
        ],
        "distance": float(explorer.space.distance(board.latent)),
    }
    latent = np.asarray(board.latent)[np.newaxis]
    if out is not None:
        facts |= output.write_sounds([latent], ["sliders"], instrument, out, held=held, seed=seed)
    if picture:
        save_figure(sliders_figure(board), picture)
    if keep:
        explorer.keep(Preset(keep, "point", latent))
        instrument.explorer = explorer
        instrument.save(file)
    if as_json:
        print_json(facts)
        return
    rows = [
        (k, f"{s['value']:.3f}", f"{s['low']:.2f} to {s['high']:.2f}", "locked" if s["locked"] else "")
        for k, s in enumerate(facts["sliders"])
    ]
    print_table("Sliders", ("slider ", "value ", "range", ""), rows)
    if out is not None:
        print(out)


def _slider(key: str, value: str) -> tuple[int, float]:
    try:
        return int(key), float(value)
    except ValueError:
        raise InputError(f"{key}={value} should read K=VALUE, e.g. 0=1.5") from None


def steer(
    file: InstrumentFile,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="NAME.terrain", help="The steered instrument.", show_default=False)
    ],
    pins: Annotated[
        list[str] | None,
        typer.Option(
            "--pin", metavar="SOUND@X,Y", help="A sound, and where it is wanted; several.", show_default=False
        ),
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Forget the pins that the instrument has.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Away from the pins, leave the terrain as it is.")] = False,
    epochs: Annotated[int, typer.Option(min=0, help="Passes of learning after the closed form.")] = 0,
    gauss_scale: Annotated[float, typer.Option(help="Cycles per side: how quickly it may turn between pins.")] = 1.0,
    picture: Picture = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Pin sounds where they are wanted; the terrain runs through them.

    Pins stay with the instrument: more of them refine the terrain. With --keep
    each gets a hill, and further away the terrain stays exactly as it is.

    \b
    Examples:
      terrain steer drums.terrain --pin kick@0.2,0.2 --pin snare@0.8,0.3 -o mine.terrain
      terrain steer mine.terrain --pin hat@0.5,0.9 -o mine.terrain
    """
    from terrain_core.explorer.pictures import steering_figure
    from terrain_core.explorer.steering import Pin, with_pins
    from terrain_core.explorer.steering import steer as steered
    from terrain_core.figures import save_figure
    from terrain_core.notebook import instrument_png
    from terrain_plugin.cli import explorer_output as output

    check_suffix(out, output.INSTRUMENT)
    instrument, explorer = output.opened(file)
    fresh = []
    for text in pins or []:
        name, at, place = text.rpartition("@")
        point = output.parse_point(place) if at and name else None
        if point is None:
            raise InputError(f"the pin {text!r} should read SOUND@X,Y, e.g. kick@0.2,0.8")
        source = output.named(name, instrument, explorer)
        held = (
            explorer.collection.find(name).latent if name in explorer.collection.names else source.latents.mean(axis=0)
        )
        fresh.append(Pin(*point, held, name))
    explorer.pins = with_pins(() if clear else explorer.pins, fresh)
    base = instrument.terrain if keep else None
    result = steered(explorer.pins, base=base, gauss_scale=gauss_scale, epochs=epochs, seed=seed)
    instrument.terrain, instrument.explorer = result.terrain, explorer
    instrument.save(out, preview=instrument_png)
    if picture:
        save_figure(steering_figure([result.terrain], [explorer.pins]), picture)
    rows = [
        {"name": p.name, "x": p.x, "y": p.y, "error": float(e)}
        for p, e in zip(explorer.pins, result.errors, strict=True)
    ]
    if as_json:
        print_json({"out": str(out), "pins": rows, "moved": result.moved})
        return
    print(f"{out}: {len(rows)} pins, the furthest missed by {result.errors.max():.1e} of the latents' spread")
    if result.moved is not None:
        print(f"away from the pins the terrain moved by {result.moved:.1e} of it")
