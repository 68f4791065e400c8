"""`python -m terrain_core.autoencoders.training`: the built-in autoencoder, from nothing to the shipped files."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from terrain_core.autoencoders import onnx_autoencoder
from terrain_core.autoencoders.training.dataset import prepare

if TYPE_CHECKING:
    from terrain_core.autoencoders.training.evaluate import Reconstruct, Score

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)
console = Console()

CLIPS = {"train": 1440, "validation": 90, "test": 180}
"""Three seconds each: 72, 4.5 and 9 minutes."""
SHIPPED = Path(onnx_autoencoder.__file__).parent / "builtin"

Cache = Annotated[Path, typer.Option(help="Where the corpus is kept (1.2 GB).")]
DEFAULT_CACHE = Path(".cache/corpus")


@app.command()
def corpus(cache: Cache = DEFAULT_CACHE, workers: int = 2) -> None:
    """Synthesise the corpus: audio, features and true pitch of every clip."""
    for name, clips in CLIPS.items():
        split = prepare(cache, name, clips, workers)
        console.print(f"{name}: {clips} clips, {split.audio.shape[1] * clips / 44100 / 60:.1f} minutes")


@app.command()
def train(
    out: Annotated[Path, typer.Option(help="Folder for checkpoints, loss curve and weights.")] = Path(
        ".cache/runs/harmonic"
    ),
    head: Annotated[str, typer.Option(help="harmonic, istft or multiband.")] = "harmonic",
    steps: int = 10000,
    latents: int = 8,
    resume: Annotated[bool, typer.Option(help="Go on from the last checkpoint in --out.")] = False,
    cache: Cache = DEFAULT_CACHE,
) -> None:
    """Train one of the decoders. The shipped one took 10000 steps: 45 minutes on one CPU core."""
    from terrain_core.autoencoders.training import train as training
    from terrain_core.autoencoders.training.model import ModelConfig

    split = prepare(cache, "train", CLIPS["train"])
    config = ModelConfig(head=head, latent_size=latents)
    training.train(split, config, training.TrainSettings(steps=steps), out, resume)
    (out / "config.json").write_text(json.dumps(config.as_dict()))
    console.print(f"weights: {out / 'model.safetensors'}")


@app.command()
def evaluate(
    runs: Annotated[
        list[Path] | None, typer.Argument(help="Folders of trained runs; none: the shipped autoencoder.")
    ] = None,
    clips: int = CLIPS["test"],
    cache: Cache = DEFAULT_CACHE,
    out: Annotated[Path | None, typer.Option(help="Write the figures as JSON, too.")] = None,
) -> None:
    """The table of held-out sounds: each run beside PCA with Griffin-Lim, beside the mean sound."""
    from terrain_core.autoencoders.training import evaluate as measuring

    test, training = prepare(cache, "test", CLIPS["test"]), prepare(cache, "train", CLIPS["train"])
    subjects = _subjects(runs)
    size = next(iter(subjects.values()))[0]
    baselines = {n: measuring.PcaGriffinLim(training, size, fft_size=n) for n in (2048, 4096)}
    columns: dict[str, measuring.Reconstruct] = {name: subject[1] for name, subject in subjects.items()}
    columns |= {f"PCA, window {n}": baseline for n, baseline in baselines.items()}
    columns["mean sound"] = baselines[4096].mean_sound
    results = {name: measuring.scores(test, column, clips) for name, column in columns.items()}
    cents = {name: measuring.pitch_errors(test, columns[name], clips) for name in subjects}
    _print(results, cents)
    if out:
        plain = {name: {family: asdict(score) for family, score in rows.items()} for name, rows in results.items()}
        out.write_text(json.dumps({"clips": clips, "scores": plain, "median_cents": cents}, indent=1) + "\n")


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="Folder of a trained run with the harmonic head.")] = Path(
        ".cache/runs/harmonic"
    ),
    out: Annotated[Path, typer.Option(help="Bundle to write.")] = SHIPPED,
    cache: Cache = DEFAULT_CACHE,
) -> None:
    """Write the ONNX graphs, the safetensors and the card, checked against torch."""
    from terrain_core.autoencoders.training import export as exporting
    from terrain_core.autoencoders.training.runs import open_run

    exporting.export(open_run(run), prepare(cache, "train", CLIPS["train"]), out, {"corpus_minutes": 72})
    for path in sorted(out.iterdir()):
        console.print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB")


@app.command()
def picture(
    out: Annotated[Path, typer.Option(help="PNG file.")] = Path("docs/media/reconstructions.png"),
    cache: Cache = DEFAULT_CACHE,
) -> None:
    """Draw held-out sounds beside what the shipped autoencoder makes of them."""
    from terrain_core.autoencoders.training.report import comparison
    from terrain_core.figures import save_figure

    out.parent.mkdir(parents=True, exist_ok=True)
    reconstruct = _subjects(None)["built-in"][1]
    save_figure(comparison(prepare(cache, "test", CLIPS["test"]), reconstruct), out)
    console.print(str(out))


def _subjects(runs: list[Path] | None) -> dict[str, tuple[int, Reconstruct]]:
    from terrain_core import autoencoders
    from terrain_core.autoencoders.training.runs import open_run, reconstructor

    if runs:
        opened = {run.name: open_run(run) for run in runs}
        return {name: (model.config.latent_size, reconstructor(model)) for name, model in opened.items()}
    shipped = autoencoders.load(autoencoders.BUILTIN)

    def reconstruct(audio: NDArray[np.float32]) -> NDArray[np.float32]:
        return shipped.decode(shipped.encode(audio[None]))[0, : len(audio)]

    return {"built-in": (shipped.latent_size, reconstruct)}


def _print(results: dict[str, dict[str, Score]], cents: dict[str, dict[str, float]]) -> None:
    table = Table(
        "family", *(f"{name}\nMR-STFT / mel dB" for name in results), *(f"{name}\nmedian cents" for name in cents)
    )
    for family in next(iter(results.values())):
        row = [f"{s.stft:.2f} / {s.mel_db:.2f}" for s in (rows[family] for rows in results.values())]
        row += [f"{c[family]:.1f}" if family in c else "" for c in cents.values()]
        table.add_row(family, *row)
    Console(width=200).print(table)


if __name__ == "__main__":
    app()
