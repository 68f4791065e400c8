"""Training of the built-in autoencoder with Lightning; the same steps and seed give the same run on one machine."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from pathlib import Path

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import DataLoader

from terrain_core.autoencoders.features import PITCH_COLUMN, VOICING_COLUMN
from terrain_core.autoencoders.training.dataset import Crops, Split
from terrain_core.autoencoders.training.losses import SpectralLoss, kl_per_frame
from terrain_core.autoencoders.training.model import Autoencoder, ModelConfig


@dataclass(frozen=True)
class TrainSettings:
    """A run. Every frame of a crop is judged, its first too: a stream starts from empty caches just as a crop does."""

    steps: int = 10000
    batch: int = 8
    frames: int = 32
    learning_rate: float = 1.5e-3
    last_learning_rate: float = 3e-5
    warm_steps: int = 100
    mel_weight: float = 1.5
    kl_weight: float = 2e-3
    seed: int = 1
    accelerator: str = "auto"


class TrainingModule(lightning.LightningModule):
    """What Lightning runs: one crop batch -> encode, sample, decode, compare."""

    def __init__(self, config: ModelConfig, settings: TrainSettings) -> None:
        super().__init__()
        self.settings = settings
        self.model = Autoencoder(config)
        self.loss = SpectralLoss()

    def training_step(self, batch: tuple[Tensor, Tensor], _index: int) -> Tensor:
        feature, audio = batch
        mean, log_variance = self.model.encode(feature)
        noise = torch.randn_like(log_variance) * (0.5 * log_variance).exp()
        latents = torch.cat([mean[..., :1], mean[..., 1:] + noise], dim=-1)
        stft, mel = self.loss(self.model.decode(latents), audio)
        kl = kl_per_frame(mean[..., 1:], log_variance)
        self.log_dict({"stft": stft, "mel": mel, "kl": kl}, prog_bar=True)
        total: Tensor = stft + self.settings.mel_weight * mel + self.settings.kl_weight * kl
        return total

    def configure_optimizers(self) -> OptimizerLRScheduler:
        settings = self.settings
        optimizer = torch.optim.AdamW(self.parameters(), settings.learning_rate, betas=(0.9, 0.98), weight_decay=1e-4)
        low = settings.last_learning_rate / settings.learning_rate

        def rate(step: int) -> float:
            rise = min(1.0, (step + 1) / settings.warm_steps)
            fall = 0.5 + 0.5 * math.cos(math.pi * min(1.0, step / settings.steps))
            return rise * (low + (1 - low) * fall)

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def measure_features(model: Autoencoder, split: Split) -> None:
    """Set the encoder's normalisation from a split; pitch and voicing are left in their own units."""
    sample = np.asarray(split.features[:: max(1, len(split.features) // 200)])
    flat = sample.reshape(-1, sample.shape[-1])
    mean, std = flat.mean(axis=0), flat.std(axis=0) + 1e-3
    for column in (PITCH_COLUMN, VOICING_COLUMN):
        mean[column], std[column] = 0.0, 1.0
    model.encoder.feature_mean.copy_(torch.from_numpy(mean))
    model.encoder.feature_std.copy_(torch.from_numpy(std))


def train(
    split: Split, config: ModelConfig, settings: TrainSettings, folder: Path, resume: bool = False
) -> Autoencoder:
    """Train; checkpoints, the loss curve (CSV) and the final `model.safetensors` are left in `folder`."""
    lightning.seed_everything(settings.seed, verbose=False)
    module = TrainingModule(config, settings)
    measure_features(module.model, split)
    crops = Crops(split, settings.frames, settings.steps * settings.batch, settings.seed)
    last = folder / "last.ckpt"
    trainer = lightning.Trainer(
        max_steps=settings.steps,
        accelerator=settings.accelerator,
        devices=1,
        gradient_clip_val=1.0,
        logger=CSVLogger(folder, name="", version="log"),
        callbacks=[ModelCheckpoint(folder, save_last=True, every_n_train_steps=200, save_top_k=0)],
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=min(20, settings.steps),
    )
    with warnings.catch_warnings():
        # Lightning 2.6 under torch 2.13: its own use of a deprecated tree type, and its advice on loader workers.
        warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
        warnings.filterwarnings("ignore", message=".*does not have many workers")
        trainer.fit(module, DataLoader(crops, settings.batch), ckpt_path=last if resume and last.exists() else None)
    save_weights(module.model, folder / "model.safetensors")
    return module.model


def save_weights(model: Autoencoder, path: Path) -> None:
    save_file({k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}, path)
