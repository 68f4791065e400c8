"""A training run: Lightning's trainer around `TrainingModule`, its checkpoints and its way to stop."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, Logger

from terrain_core.autoencoders.one_shot import give_memory_back
from terrain_core.errors import FileError, InputError
from terrain_core.one_shots import shards
from terrain_core.one_shots.augment import Augment
from terrain_core.one_shots.config import ModelConfig, TrainConfig
from terrain_core.one_shots.training.model import OneShotModel
from terrain_core.one_shots.training.module import TrainingModule

LAST, BEST = "last.ckpt", "best.ckpt"
DEAD_AT_MOST = 0.1
"""Part of the latents that may be dead before the alarm."""

Progress = Callable[[int, int, dict[str, float]], None]
"""Called after each batch: batches done and in all, and the figures known."""


class Stopped(Exception):  # noqa: N818 (no error: somebody wished it)
    """The run was stopped after a batch; its checkpoint is on disk."""


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes:
        model: with the weights of the best epoch.
        epochs: that were done.
        best: validation loss of the best.
        active: (D,) which latents live.
        kl_bits: (D,) bits that each carries.
        alarm: what to say about a collapsed posterior; empty if nothing.
        stopped: whether the run was stopped from outside.
    """

    model: OneShotModel
    epochs: int
    best: float
    active: np.ndarray
    kl_bits: np.ndarray
    alarm: str
    stopped: bool


class LastCheckpoint(ModelCheckpoint):
    """Lightning tells the states of several such callbacks apart by their settings, or by their class."""


class Watch(Callback):
    """Tells how far a run is, writes the last checkpoint, and stops where it is told to."""

    def __init__(self, folder: Path, progress: Progress, stop: threading.Event, stop_after: int | None) -> None:
        self._folder, self._progress, self._stop, self._stop_after = folder, progress, stop, stop_after
        self._batches = 0

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: Any, **__: Any
    ) -> None:
        assert isinstance(pl_module, TrainingModule)
        self._batches += 1
        done = trainer.current_epoch * pl_module.batches + trainer.fit_loop.batch_idx + 1
        figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self._progress(done, pl_module.settings.epochs * pl_module.batches, figures)
        # After an epoch's last batch comes its validation, which must not be lost: stop one batch later.
        due = self._stop.is_set() or (self._stop_after is not None and self._batches >= self._stop_after)
        if due and not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            trainer.save_checkpoint(self._folder / LAST)
            raise Stopped


def train(
    data: Path,
    model: ModelConfig,
    settings: TrainConfig,
    folder: Path,
    *,
    resume: bool = False,
    start_from: Path | None = None,
    augment: Augment | None = None,
    progress: Progress = lambda done, total, figures: None,
    stop: threading.Event | None = None,
    stop_after: int | None = None,
    tensorboard: bool = False,
    accelerator: str = "auto",
) -> Outcome:
    """Train on a prepared folder. Checkpoints, the loss curve (CSV) and perhaps TensorBoard's events are left in
    `folder`.

    Args:
        data: what `terrain dataset` made.
        folder: of the run.
        resume: go on from `last.ckpt`, exactly as if the run had never stopped; without it the run begins anew.
        start_from: a checkpoint of a model of the same shape, whose weights the run begins with.
        stop, stop_after: end after the next batch, or after so many; `last.ckpt` is written first.
        accelerator: Lightning's: "auto", "cpu", "cuda", "mps".
    Raises:
        InputError: settings and data do not fit each other, or memory does not suffice.
        FileError: no data, or nothing to resume.
    """
    parts = shards.open_part(data, "train"), shards.open_part(data, "test")
    _check_fit(model, parts[0])
    folder.mkdir(parents=True, exist_ok=True)
    last = folder / LAST
    if resume:
        _check_resumable(last, model, settings)
    else:
        for stale in (*folder.glob("*.ckpt"), *folder.glob("metrics.csv")):
            stale.unlink()
    if settings.threads:
        torch.set_num_threads(settings.threads)
    module = TrainingModule(model, settings, *parts, augment)
    if start_from is not None and not resume:
        module.model.load_state_dict(open_checkpoint(start_from).state_dict())
    watch = Watch(folder, progress, stop or threading.Event(), stop_after)
    best = ModelCheckpoint(folder, Path(BEST).stem, monitor="val/loss", save_top_k=1, enable_version_counter=False)
    stopped = False
    with _quiet():
        trainer = lightning.Trainer(
            max_epochs=settings.epochs,
            accelerator=accelerator,
            devices=1,
            precision=settings.precision,  # type: ignore[arg-type]  # one of its many literals, checked by TrainConfig
            gradient_clip_val=settings.clip or None,
            accumulate_grad_batches=settings.accumulate,
            check_val_every_n_epoch=settings.validate_every,
            logger=_loggers(folder, tensorboard),
            callbacks=[*_callbacks(folder, settings, tensorboard), best, watch],
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            log_every_n_steps=10,
        )
        try:
            # weights_only: a checkpoint from a stranger must not run code.
            trainer.fit(module, ckpt_path=last if resume else None, weights_only=True)
        except Stopped:
            stopped = True
        except (RuntimeError, MemoryError) as error:
            raise _advice(error, settings) from error
    outcome = _outcome(module, trainer, best, stopped)
    _unload(trainer, module)
    return outcome


def _unload(trainer: lightning.Trainer, module: TrainingModule) -> None:
    """Give back what only training needs: the optimiser's state, gradients, and what the allocators keep."""
    trainer.strategy.optimizers = []
    module.zero_grad(set_to_none=True)
    module.trainer = None  # each holds the other: without this both wait for the collector
    give_memory_back()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _outcome(module: TrainingModule, trainer: lightning.Trainer, best: ModelCheckpoint, stopped: bool) -> Outcome:
    trained = module.model.cpu().eval()
    if best.best_model_path and not stopped:
        trained = open_checkpoint(Path(best.best_model_path))
    score = float(best.best_model_score) if best.best_model_score is not None else float("nan")
    alarm = collapse_alarm(module.active)
    epochs = trainer.current_epoch
    return Outcome(trained, epochs, score, module.active, module.kl_bits, alarm, stopped)


def collapse_alarm(active: np.ndarray) -> str:
    """What to say if more latents are dead than may be; empty if all is well."""
    dead = int((~active).sum())
    if dead <= DEAD_AT_MOST * len(active):
        return ""
    return (
        f"{dead} of {len(active)} latents are dead (they say nothing about the sound): lower beta, raise free_bits, "
        "use annealing cyclical, or fewer latents"
    )


def open_checkpoint(path: Path) -> OneShotModel:
    """The model in a checkpoint, ready to play.

    Raises:
        FileError: missing, or no checkpoint of a one-shot model.
    """
    checkpoint = _read(path)
    try:
        model = OneShotModel(ModelConfig.from_dict(checkpoint["model_config"]))
        weights = {
            name.removeprefix("model."): value
            for name, value in checkpoint["state_dict"].items()
            if name.startswith("model.")
        }
        model.load_state_dict(weights)
    except (KeyError, RuntimeError, AttributeError) as error:
        raise FileError(path, f"is no checkpoint of a one-shot model ({error})") from error
    return model.eval()


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileError(path, "is not there", hint="train without --resume first")
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its unpickler meets
        raise FileError(path, f"is not a checkpoint that can be read ({str(error).splitlines()[0][:120]})") from error
    return checkpoint


def _check_fit(model: ModelConfig, sounds: shards.Sounds) -> None:
    wanted = (model.sample_rate, model.channels, model.samples)
    found = (sounds.sample_rate, sounds.channels, sounds.samples)
    if wanted != found:
        raise InputError(
            f"the data has (rate, channels, samples) {found}, the model takes {wanted}: prepare the data with the same "
            "--seconds and --channels, or train with those of the data"
        )


def _check_resumable(last: Path, model: ModelConfig, settings: TrainConfig) -> None:
    stored = _read(last)
    for what, now in (("model_config", model.as_dict()), ("train_config", settings.as_dict())):
        before = stored.get(what, {})
        changed = [key for key in now if before.get(key) != now[key]]
        if changed:
            key = changed[0]
            raise FileError(
                last,
                f"was trained with {key} {before.get(key)}, now it is {now[key]}",
                hint="resume with the same settings, or begin anew without --resume",
            )


def _callbacks(folder: Path, settings: TrainConfig, tensorboard: bool) -> list[Callback]:
    callbacks: list[Callback] = [
        LastCheckpoint(folder, Path(LAST).stem, save_on_train_epoch_end=True, enable_version_counter=False),
        ModelCheckpoint(
            folder,
            "epoch-{epoch:04d}",
            auto_insert_metric_name=False,
            every_n_epochs=settings.save_every,
            save_top_k=-1,
            save_on_train_epoch_end=True,
        ),
    ]
    if settings.stop_after:
        patience = max(1, settings.stop_after // settings.validate_every)
        callbacks.append(EarlyStopping("val/loss", patience=patience, check_on_train_epoch_end=False))
    if tensorboard:
        from terrain_core.one_shots.training.board import Pictures

        callbacks.append(Pictures())
    return callbacks


def _loggers(folder: Path, tensorboard: bool) -> list[Logger]:
    loggers: list[Logger] = [CSVLogger(folder, name="", version="log")]
    if tensorboard:
        from lightning.pytorch.loggers import TensorBoardLogger

        loggers.append(TensorBoardLogger(folder, name="", version="tensorboard"))
    return loggers


@contextmanager
def _quiet() -> Iterator[None]:
    """Lightning's advice about itself is not for musicians."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
        warnings.filterwarnings("ignore", message=".*does not have many workers")
        # Batches are numbers here (see `Numbers`), so the loader has nothing to remember.
        warnings.filterwarnings("ignore", message=".*your dataloader is not resumable")
        warnings.filterwarnings("ignore", message=".*exists and is not empty")
        warnings.filterwarnings("ignore", message=".*number of training batches .* is smaller")
        yield


def _advice(error: Exception, settings: TrainConfig) -> Exception:
    """Memory that ran out, as something that can be done about it."""
    text = str(error).lower()
    if isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text:
        return InputError(
            f"memory ran out with batches of {settings.batch}: use --batch {max(1, settings.batch // 2)} "
            f"--accumulate {settings.accumulate * 2} (the same steps in half the memory), --precision bf16-mixed, "
            "or a smaller preset"
        )
    return error
