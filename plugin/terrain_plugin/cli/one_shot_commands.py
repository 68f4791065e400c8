"""`terrain dataset` and `terrain train`: from a folder of one-shots to an instrument of one's own.

Heavy imports stand inside the commands, so that `terrain --help` is there at once.
"""

from __future__ import annotations

import dataclasses
import enum
import importlib.util
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from terrain_core.errors import InputError
from terrain_plugin.cli.console import AsJson, check_suffix, print_json, print_table, progress

if TYPE_CHECKING:
    from terrain_core.one_shots.config import Preset
    from terrain_core.one_shots.training.train import Outcome


class Longer(enum.StrEnum):
    cut = "cut"
    skip = "skip"


class Group(enum.StrEnum):
    file = "file"
    folder = "folder"
    name = "name"


def dataset(
    audio: Annotated[
        list[Path], typer.Argument(metavar="AUDIO...", help="Sound files and folders.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="The data set.", show_default=False)],
    seconds: Annotated[float, typer.Option(help="Length of every sound, 0.25 to 4.")] = 1.0,
    rate: Annotated[int, typer.Option(help="Sample rate in Hz.")] = 44100,
    channels: Annotated[int, typer.Option(min=1, max=2, help="1 or 2.")] = 1,
    onset: Annotated[float, typer.Option(help="dB below the peak: where a sound begins.")] = -60.0,
    longer: Annotated[Longer, typer.Option(help="What happens to longer sounds.")] = Longer.cut,
    normalise: Annotated[bool, typer.Option(help="Bring every peak to full scale.")] = True,
    duplicates: Annotated[bool, typer.Option("--duplicates", help="Keep sounds that are there already.")] = False,
    group: Annotated[Group, typer.Option(help="What is never split between training and test.")] = Group.file,
    test_part: Annotated[float, typer.Option("--test", help="Part of the sounds that is held out.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal splits.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Prepare one-shots for `terrain train`.

    Each sound is trimmed to its onset, brought to one rate, length and level,
    and put into the training part or the test part. Files that cannot be used
    are listed and left out. FOLDER/report.md tells what was found.

    \b
    Example:
      terrain dataset drums/ -o drums-ready --seconds 0.5
    """
    from terrain_core.one_shots.preparing import PrepareSettings, prepare

    settings = PrepareSettings(
        seconds=seconds,
        sample_rate=rate,
        channels=channels,
        onset_db=onset,
        longer=longer.value,
        normalise=normalise,
        duplicates=duplicates,
        group=group.value,
        test_part=test_part,
        seed=seed,
    )
    with progress("looking over", unit="files", quiet=as_json) as report:
        found = prepare(audio, out, settings, progress=lambda stage, done, total: report(done, total, stage))
    if as_json:
        print_json({"folder": str(out), **found.as_dict()})
        return
    figures = found.as_dict()
    print(f"{out}: {figures['train']} sounds to train with, {figures['test']} held out")
    print_table("sounds by kind", ("kind", "sounds "), sorted(figures["labels"].items()))
    for title in ("problems", "duplicates", "clipped"):
        if figures[title]:
            print(f"{title}: {len(figures[title])}, listed in {out / 'report.md'}")


def train(
    data: Annotated[
        Path, typer.Option("--data", metavar="FOLDER", help="What terrain dataset made.", show_default=False)
    ],
    preset: Annotated[str, typer.Option(help="tiny, drums, diverse or full.")] = "full",
    run: Annotated[
        Path | None,
        typer.Option(
            "--run", metavar="FOLDER", help="Checkpoints and curves. Default: runs/PRESET.", show_default=False
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="NAME.terrain", help="The instrument, at the end.", show_default=False),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's last checkpoint, exactly.")] = False,
    variant: Annotated[str | None, typer.Option(help="unet or simple (without skips).", show_default=False)] = None,
    latents: Annotated[int | None, typer.Option(help="Numbers that a sound becomes.", show_default=False)] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the data.", show_default=False)] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Sounds at once.", show_default=False)] = None,
    accumulate: Annotated[int | None, typer.Option(min=1, help="Batches per step.", show_default=False)] = None,
    learning_rate: Annotated[float | None, typer.Option("--lr", help="AdamW's.", show_default=False)] = None,
    beta: Annotated[float | None, typer.Option(help="Weight of the KL divergence.", show_default=False)] = None,
    precision: Annotated[str | None, typer.Option(help="32-true, bf16-mixed or 16-mixed.", show_default=False)] = None,
    seed: Annotated[int | None, typer.Option(help="Equal seeds give equal runs.", show_default=False)] = None,
    augment: Annotated[bool, typer.Option("--augment", help="Vary pitch and decay as it trains.")] = False,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Curves, sounds and spectrograms.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    stop_after: Annotated[
        int | None, typer.Option(min=1, help="Stop after so many batches, to resume later.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train a one-shot model and make an instrument of it.

    Ctrl-C stops after the batch at hand; --resume goes on from there as if
    nothing had happened. Model and sizes are the preset's unless told.

    \b
    Examples:
      terrain train --data drums-ready --preset drums -o mine.terrain
      terrain train --data drums-ready --preset drums -o mine.terrain --resume
    """
    from terrain_core.one_shots.config import preset as find_preset

    if importlib.util.find_spec("lightning") is None or importlib.util.find_spec("auraloss") is None:
        raise InputError("training needs the extra packages: pip install 'latent-terrain[train]'")
    if out is not None:
        check_suffix(out, ".terrain")
    chosen = _changed(
        find_preset(preset),
        data,
        {"variant": variant, "latent_size": latents},
        {
            "epochs": epochs,
            "batch": batch,
            "accumulate": accumulate,
            "learning_rate": learning_rate,
            "beta": beta,
            "precision": precision,
            "seed": seed,
        },
    )
    folder = run or Path("runs") / preset
    start = time.monotonic()
    outcome = _train(chosen, data, folder, resume, augment, tensorboard, device, stop_after, as_json)
    if outcome.stopped:
        print_result = {"stopped": True, "run": str(folder), "epochs": outcome.epochs}
        if as_json:
            print_json(print_result)
        else:
            print(f"stopped in epoch {outcome.epochs + 1}; the same command with --resume goes on from there")
        return
    written = _write(outcome, data, folder, out)
    figures = {
        "run": str(folder),
        "epochs": outcome.epochs,
        "seconds": round(time.monotonic() - start, 1),
        "validation_loss": outcome.best,
        "active_latents": int(outcome.active.sum()),
        "latents": len(outcome.active),
        "alarm": outcome.alarm,
        "written": [str(path) for path in written],
    }
    if as_json:
        print_json(figures)
        return
    print(
        f"{outcome.epochs} epochs; validation loss {outcome.best:.3f}; "
        f"{figures['active_latents']} of {figures['latents']} latents active"
    )
    if outcome.alarm:
        print(f"warning: {outcome.alarm}")
    for path in written:
        print(f"wrote {path}")


def _changed(preset: Preset, data: Path, model: dict[str, Any], train: dict[str, Any]) -> Preset:
    """The preset with what was told otherwise, and with the data's own rate, channels and length."""
    from terrain_core.one_shots.config import LONGEST
    from terrain_core.one_shots.shards import read_card

    card = read_card(data)
    told = {key: value for key, value in model.items() if value is not None}
    told |= {"sample_rate": card["sample_rate"], "channels": card["channels"]}
    if preset.model.samples != card["samples"] or preset.model.sample_rate != card["sample_rate"]:
        told["seconds"] = min(card["samples"] / card["sample_rate"], LONGEST)  # padding may have gone beyond
    return dataclasses.replace(
        preset,
        model=dataclasses.replace(preset.model, **told),
        train=dataclasses.replace(preset.train, **{key: value for key, value in train.items() if value is not None}),
    )


def _train(
    preset: Preset,
    data: Path,
    folder: Path,
    resume: bool,
    augment: bool,
    tensorboard: bool,
    device: str,
    stop_after: int | None,
    quiet: bool,
) -> Outcome:
    from terrain_core.one_shots.augment import Augment
    from terrain_core.one_shots.training.train import train as train_model
    from terrain_plugin.cli.instrument_commands import _stop_on_interrupt

    with _stop_on_interrupt() as stop, progress("training", unit="batches", quiet=quiet) as report:

        def show(done: int, total: int, figures: dict[str, float]) -> None:
            shown = [f"{name.removeprefix('val/')} {figures[name]:.3f}" for name in ("val/loss",) if name in figures]
            report(done, total, " ".join(["training", *shown]))

        return train_model(
            data,
            preset.model,
            preset.train,
            folder,
            resume=resume,
            augment=Augment() if augment else None,
            progress=show,
            stop=stop,
            stop_after=stop_after,
            tensorboard=tensorboard,
            accelerator=device,
        )


def _write(outcome: Outcome, data: Path, folder: Path, out: Path | None) -> list[Path]:
    """The bundle, and the instrument if one is wanted."""
    from terrain_core.notebook import instrument_png
    from terrain_core.one_shots import shards
    from terrain_core.one_shots.training.export import export, make_instrument

    sounds = shards.open_part(data, "train")
    bundle = export(outcome.model, sounds, folder / "bundle", out.stem if out else folder.name)
    written = [folder / "bundle"]
    if out is not None:
        make_instrument(bundle, sounds).save(out, embed_autoencoder=True, preview=instrument_png)
        written.append(out)
    return written
