"""`python -m terrain_core.one_shots.training`: the shipped drum instrument, from nothing to its file and figures."""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from terrain_core import instrument as instrument_module
from terrain_core.one_shots import shards
from terrain_core.one_shots.config import Preset, preset
from terrain_core.one_shots.training.drum_data import synthesise

if TYPE_CHECKING:
    from terrain_core.one_shots.training.train import Outcome

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)
console = Console()

SHIPPED = Path(instrument_module.__file__).parent / "instruments" / "drums.terrain"
MOST_BYTES = 12_000_000

Data = Annotated[Path, typer.Option(help="The drums (0.4 GB).")]
Run = Annotated[Path, typer.Option(help="Checkpoints and curves.")]
DEFAULT_DATA, DEFAULT_RUN = Path(".cache/drums"), Path(".cache/runs/drums")
DEFAULT_REFINED = Path(".cache/runs/drums-refined")
STRONG_BETA = 0.3
"""Weight of the KL divergence that makes latents die, to show what free bits do."""


@app.command()
def corpus(data: Data = DEFAULT_DATA, workers: int = 2) -> None:
    """Synthesise the drums: 3500 to train with, 420 of other seeds to test."""
    synthesise(data, preset("drums").model, workers=workers)
    for part in shards.PARTS:
        console.print(f"{part}: {len(shards.open_part(data, part))} drums")


@app.command()
def train(data: Data = DEFAULT_DATA, run: Run = DEFAULT_RUN, resume: bool = False) -> None:
    """Train the preset "drums" on the CPU."""
    _train(preset("drums"), data, run, resume)


def _train(chosen: Preset, data: Path, run: Path, resume: bool = False, start_from: Path | None = None) -> Outcome:
    from terrain_core.one_shots.training import train as training

    start = time.monotonic()

    def show(done: int, total: int, figures: dict[str, float]) -> None:
        if done % 50 == 0:
            shown = " ".join(f"{name} {value:.3f}" for name, value in figures.items() if "/" in name)
            console.print(f"{done} of {total}, {time.monotonic() - start:.0f} s: {shown}", highlight=False)

    outcome = training.train(
        data, chosen.model, chosen.train, run, resume=resume, start_from=start_from, progress=show, accelerator="cpu"
    )
    console.print(f"best {outcome.best:.4f}; {int(outcome.active.sum())} active latents {outcome.alarm}")
    return outcome


@app.command()
def refine(data: Data = DEFAULT_DATA, run: Run = DEFAULT_RUN, out: Run = DEFAULT_REFINED, resume: bool = False) -> None:
    """Go on with most of the weight on the levels of mel bands: by then the spectra are near, their levels less so."""
    chosen = preset("drums")
    settings = dataclasses.replace(
        chosen.train, epochs=3, warm_epochs=0, learning_rate=8e-4, mel_weight=64.0, spectral_weight=0.5
    )
    _train(Preset("", chosen.model, settings), data, out, resume, start_from=run / "best.ckpt")


@app.command()
def export(
    data: Data = DEFAULT_DATA,
    run: Run = DEFAULT_REFINED,
    out: Annotated[Path, typer.Option(help="The instrument to write.")] = SHIPPED,
) -> None:
    """Write the graphs, checked against torch, and the instrument."""
    from terrain_core.notebook import instrument_png
    from terrain_core.one_shots.training.export import export as write_bundle
    from terrain_core.one_shots.training.export import make_instrument
    from terrain_core.one_shots.training.train import BEST, open_checkpoint

    sounds = shards.open_part(data, "train")
    notes = {"made": "drums synthesised by terrain_core.one_shots.drums", "licence": "as the program"}
    bundle = write_bundle(open_checkpoint(run / BEST), sounds, run / "bundle", "drums", notes)
    made = make_instrument(bundle, sounds)
    made.metadata |= {
        "title": "Drums",
        "description": "Kicks, snares, hats, toms, claps and clicks; see docs/one_shots.md",
    }
    made.save(out, embed_autoencoder=True, preview=instrument_png)
    size = out.stat().st_size
    console.print(f"{out}: {size / 1e6:.2f} MB")
    assert size <= MOST_BYTES


@app.command()
def evaluate(
    data: Data = DEFAULT_DATA,
    runs: Annotated[list[Path] | None, typer.Argument(help="Further runs, for comparison.")] = None,
    skips: Annotated[Path | None, typer.Option(help="A run to be judged with other skips, too.")] = None,
    instrument: Annotated[Path, typer.Option(help="What is judged.")] = SHIPPED,
    sounds: Annotated[int, typer.Option(help="How many held-out drums.")] = 420,
    out: Annotated[Path | None, typer.Option(help="Write the figures as JSON, too.")] = None,
) -> None:
    """The table of held-out drums: the instrument beside PCA with Griffin-Lim, beside the mean sound."""
    from terrain_core.autoencoders.one_shot import OneShotAutoencoder
    from terrain_core.instrument import Instrument
    from terrain_core.one_shots.training import evaluate as measuring
    from terrain_core.one_shots.training.train import BEST, open_checkpoint

    training, test = shards.open_part(data, "train"), shards.open_part(data, "test")
    bundle = Instrument.load(instrument).autoencoder
    assert isinstance(bundle, OneShotAutoencoder)
    floors = {n: measuring.HitPca(training, bundle.latent_size, fft_size=n) for n in (512, 1024, 2048)}
    columns = {"shipped": measuring.reconstructor(bundle)}
    columns |= {f"{run.name}": measuring.reconstructor(open_checkpoint(run / BEST)) for run in runs or ()}
    if skips is not None:
        columns |= measuring.with_other_skips(open_checkpoint(skips / BEST))
    columns |= {f"PCA, window {n}": floor for n, floor in floors.items()}
    columns["mean sound"] = floors[1024].mean_sound
    results = measuring.scores(test, columns, sounds)
    dead = measuring.dead_latents(bundle, test)
    table = Table("kind", *(f"{name}\nMR-STFT / mel dB" for name in results))
    for kind in results["shipped"]:
        table.add_row(kind, *(f"{s.stft:.2f} / {s.mel_db:.2f}" for s in (rows[kind] for rows in results.values())))
    Console(width=200).print(table)
    console.print(f"{dead} of {bundle.latent_size} latents are dead")
    if out:
        plain = {name: {kind: asdict(score) for kind, score in rows.items()} for name, rows in results.items()}
        out.write_text(json.dumps({"sounds": sounds, "dead_latents": dead, "scores": plain}, indent=1) + "\n")


@app.command()
def ablate(
    data: Data = DEFAULT_DATA,
    folder: Annotated[Path, typer.Option(help="Where the runs go.")] = Path(".cache/runs"),
    epochs: int = 1,
    sounds: Annotated[int, typer.Option(help="How many held-out drums.")] = 70,
) -> None:
    """Short runs of the preset "tiny" that differ in one thing, and what came of each: errors of held-out drums with
    generated skips, the encoder's and none, and how many latents are active.
    """
    from terrain_core.one_shots.training import evaluate as measuring

    tiny = preset("tiny")
    short = dataclasses.replace(tiny.train, epochs=epochs, warm_epochs=0)
    strong = dataclasses.replace(short, beta=STRONG_BETA)
    runs = {
        "tiny": (tiny.model, short),
        "generated skips not trained with": (tiny.model, dataclasses.replace(short, generated_skips=0.0)),
        "without skips": (dataclasses.replace(tiny.model, variant="simple"), short),
        f"beta {STRONG_BETA}": (tiny.model, strong),
        f"beta {STRONG_BETA}, no free bits": (tiny.model, dataclasses.replace(strong, free_bits=0.0)),
    }
    test = shards.open_part(data, "test")
    table = Table("run", "generated skips\nMR-STFT / mel dB", "encoder's skips", "no skips", "active latents", "bits")
    for name, (model, settings) in runs.items():
        console.print(name)
        outcome = _train(Preset("", model, settings), data, folder / name.replace(" ", "-"))
        columns = {"generated": measuring.reconstructor(outcome.model)}
        if model.variant == "unet":
            columns |= measuring.with_other_skips(outcome.model)
        means = [rows["mean"] for rows in measuring.scores(test, columns, sounds).values()]
        cells = [f"{mean.stft:.2f} / {mean.mel_db:.2f}" for mean in means] + ["-"] * (3 - len(means))
        table.add_row(name, *cells, str(int(outcome.active.sum())), f"{outcome.kl_bits.sum():.0f}")
    Console(width=200).print(table)


@app.command()
def picture(
    data: Data = DEFAULT_DATA,
    instrument: Annotated[Path, typer.Option(help="What is shown.")] = SHIPPED,
    out: Annotated[Path, typer.Option(help="Folder of the pictures.")] = Path("docs/media"),
) -> None:
    """Draw held-out drums beside what the instrument makes of them, and its map."""
    from terrain_core.autoencoders.one_shot import OneShotAutoencoder
    from terrain_core.figures import save_figure
    from terrain_core.instrument import Instrument
    from terrain_core.notebook import instrument_png
    from terrain_core.one_shots.training.evaluate import reconstructor
    from terrain_core.one_shots.training.report import comparison

    opened = Instrument.load(instrument)
    assert isinstance(opened.autoencoder, OneShotAutoencoder)
    test = shards.open_part(data, "test")
    save_figure(comparison(test, reconstructor(opened.autoencoder)), out / "one_shots_reconstructions.png")
    (out / "one_shots_map.png").write_bytes(instrument_png(opened))


if __name__ == "__main__":
    app()
