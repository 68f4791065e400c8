"""What TensorBoard shows beside the curves: held-out sounds, what becomes of them, and sounds out of nowhere."""

from __future__ import annotations

from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor

from terrain_core.autoencoders.training.losses import LogMel
from terrain_core.one_shots.training.module import TrainingModule

SOUNDS = 4
EVERY = 5
"""Validations from one set of sounds to the next: audio makes event files large."""


class Pictures(Callback):
    """After some validations: original, reconstruction and random sounds as audio and mel spectrograms, and how many
    bits each latent carries.
    """

    def __init__(self) -> None:
        self._count = 0

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        boards = [logger.experiment for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
        assert isinstance(pl_module, TrainingModule)
        self._count += 1
        if not boards or (self._count - 1) % EVERY:
            return
        step = trainer.global_step
        board: Any = boards[0]
        board.add_histogram("latents/kl_bits", pl_module.kl_bits, step)
        board.add_scalar("latents/active", int(pl_module.active.sum()), step)
        rate = pl_module.train_sounds.sample_rate
        for title, sounds in _sounds(pl_module).items():
            for number, sound in enumerate(sounds):
                board.add_audio(f"{title}/{number}", sound.mean(dim=0).clamp(-1, 1), step, rate)
            board.add_images(f"spectrograms/{title}", _images(sounds), step)


def _sounds(module: TrainingModule) -> dict[str, Tensor]:
    """Title -> (n, channels, samples)."""
    chosen = range(min(SOUNDS, len(module.test_sounds)))
    audio = torch.from_numpy(module.test_sounds.batch(chosen)).to(module.device)
    generator = torch.Generator().manual_seed(module.settings.seed)
    anywhere = torch.randn(len(audio), module.model.config.latent_size, generator=generator).to(module.device)
    with torch.no_grad():
        mean = module.model.encode(audio)[0]
        shown = {
            "original": audio,
            "reconstruction": module.model.decode(mean),
            "random": module.model.decode(anywhere),
        }
    return {title: sounds.float().cpu() for title, sounds in shown.items()}


def _images(sounds: Tensor) -> Tensor:
    """(n, 1, bands, frames) in 0..1, low frequencies at the bottom."""
    levels = LogMel(1024, 256, 80)(sounds.mean(dim=1))
    floor = levels.amin()
    scaled = (levels - floor) / (levels.amax() - floor).clamp_min(1e-6)
    images: Tensor = scaled.flip(1)[:, None]
    return images
