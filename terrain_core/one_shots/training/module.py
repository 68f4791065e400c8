"""What Lightning runs. Every random choice of a batch comes from (seed, epoch, batch), so that a run which stops after
any batch goes on exactly as if it had not.
"""

from __future__ import annotations

import math
from typing import Any, cast

import lightning
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from terrain_core.one_shots.augment import Augment
from terrain_core.one_shots.config import ModelConfig, TrainConfig
from terrain_core.one_shots.shards import Sounds
from terrain_core.one_shots.training.losses import (
    NATS_PER_BIT,
    MelLoss,
    SpectralLoss,
    beta_at,
    kl_by_latent,
    kl_loss,
    skip_loss,
    waveform_loss,
)
from terrain_core.one_shots.training.model import REACH, OneShotModel

ACTIVE_VARIANCE = 0.01
"""A latent is active if its mean varies by more than this over the sounds (Burda et al., 2016), else dead."""

NEVER = 10**9
"""Epochs until Lightning itself steps a scheduler that the module steps."""

ORDER, AUGMENT, NOISE = range(3)
"""What the random numbers of one place are for."""


class Numbers(Dataset[int]):
    """0, 1, 2, …: which batch. The module itself fetches what is in it, by the epoch."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> int:
        return index


class TrainingModule(lightning.LightningModule):
    """The model, its data and its losses.

    Logged every batch: train/{loss,spectral,waveform,mel,kl,skip}; after each validation val/{loss,spectral,
    waveform,mel,active,kl_bits}, of held-out sounds decoded from their means alone, with generated skips.
    """

    def __init__(
        self, model: ModelConfig, settings: TrainConfig, train: Sounds, test: Sounds, augment: Augment | None = None
    ) -> None:
        super().__init__()
        self.settings, self.train_sounds, self.test_sounds = settings, train, test
        self.augment = augment
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.model = OneShotModel(model)
        self.spectral = SpectralLoss(settings.stft_sizes, settings.complex_weight)
        self.mel = MelLoss() if settings.mel_weight else None
        self.kl_bits: NDArray[np.float32] = np.zeros(model.latent_size, np.float32)
        self.active: NDArray[np.bool_] = np.ones(model.latent_size, bool)
        self._means: list[Tensor] = []
        self._kls: list[Tensor] = []
        self._half_step: dict[str, Tensor] = {}

    @property
    def batches(self) -> int:
        """Per epoch; the last may be smaller, and none is left out."""
        return -(-len(self.train_sounds) // self.settings.batch)

    def train_dataloader(self) -> DataLoader[int]:
        return DataLoader(Numbers(self.batches), batch_size=None)

    def val_dataloader(self) -> DataLoader[int]:
        return DataLoader(Numbers(-(-len(self.test_sounds) // self.settings.batch)), batch_size=None)

    def sounds_of(self, epoch: int, batch: int) -> Tensor:
        """(n, channels, samples): what a batch trains with."""
        order = np.random.default_rng([self.settings.seed, epoch, ORDER]).permutation(len(self.train_sounds))
        size = self.settings.batch
        chosen = self.train_sounds.batch(order[batch * size : (batch + 1) * size])
        if self.augment:
            rng = np.random.default_rng([self.settings.seed, epoch, AUGMENT, batch])
            chosen = np.stack([self.augment(sound, self.train_sounds.sample_rate, rng) for sound in chosen])
        return torch.from_numpy(chosen).to(self.device)

    def training_step(self, _number: int, batch_idx: int) -> Tensor:
        settings, epoch = self.settings, self.current_epoch
        audio = self.sounds_of(epoch, batch_idx)
        seed = int(np.random.SeedSequence([settings.seed, epoch, NOISE, batch_idx]).generate_state(1)[0])
        generator = torch.Generator().manual_seed(seed)
        mean, log_variance, skips = self.model.encode(audio)
        noise = torch.randn(mean.shape, generator=generator).to(mean)
        z = mean + noise * (0.5 * log_variance).exp()
        generated = self.model.generate_skips(z)
        mixed = generated
        if generated is not None:
            swap = (torch.rand(len(audio), 1, 1, generator=generator) < settings.generated_skips).to(audio.device)
            mixed = [torch.where(swap, a, b) for a, b in zip(generated, skips, strict=True)]
        output, target = self.model.raw(z, mixed), audio * REACH
        terms = {"waveform": settings.waveform_weight * waveform_loss(output, target)}
        if batch_idx % settings.stft_every == 0:
            terms["spectral"] = settings.spectral_weight * self.spectral(output, target)
        if self.mel is not None:
            terms["mel"] = settings.mel_weight * self.mel(output, target)
        if generated is not None:
            terms["skip"] = settings.skip_weight * skip_loss(generated, skips)
        beta = beta_at(settings, epoch + batch_idx / self.batches)
        terms["kl"] = beta * kl_loss(kl_by_latent(mean.float(), log_variance.float()), settings.free_bits)
        total = torch.stack(list(terms.values())).sum()
        shown = {f"train/{name}": value.detach() for name, value in {**terms, "loss": total}.items()}
        self.log_dict(shown, batch_size=len(audio))
        self.log("loss", total.detach(), prog_bar=True, logger=False, batch_size=len(audio))
        return total

    def validation_step(self, number: int, batch_idx: int) -> None:
        size = self.settings.batch
        rows = range(number * size, min((number + 1) * size, len(self.test_sounds)))
        audio = torch.from_numpy(self.test_sounds.batch(rows)).to(self.device)
        mean, log_variance, _ = self.model.encode(audio)
        output, target = self.model.raw(mean, self.model.generate_skips(mean)), audio * REACH
        spectral = self.settings.spectral_weight * self.spectral(output, target)
        waveform = self.settings.waveform_weight * waveform_loss(output, target)
        values = {"val/spectral": spectral, "val/waveform": waveform, "val/loss": spectral + waveform}
        if self.mel is not None:
            values["val/mel"] = self.settings.mel_weight * self.mel(output, target)
            values["val/loss"] = values["val/loss"] + values["val/mel"]
        self.log_dict(values, batch_size=len(audio), prog_bar=True)
        self._means.append(mean.float())
        self._kls.append(kl_by_latent(mean.float(), log_variance.float()) * len(audio))

    def on_validation_epoch_end(self) -> None:
        means = torch.cat(self._means)
        self.active = (means.var(dim=0) > ACTIVE_VARIANCE).cpu().numpy()
        self.kl_bits = (torch.stack(self._kls).sum(dim=0) / len(means) / NATS_PER_BIT).cpu().numpy()
        self._means.clear()
        self._kls.clear()
        self.log_dict({"val/active": float(self.active.sum()), "val/kl_bits": float(self.kl_bits.sum())})

    def configure_optimizers(self) -> OptimizerLRScheduler:
        settings = self.settings
        optimizer = torch.optim.AdamW(
            self.model.parameters(), settings.learning_rate, betas=(0.9, 0.99), weight_decay=settings.weight_decay
        )
        if settings.schedule == "plateau":
            plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
                optimizer, factor=settings.factor, patience=max(1, settings.patience // settings.validate_every)
            )
            return cast(
                OptimizerLRScheduler,
                {
                    "optimizer": optimizer,
                    "lr_scheduler": {"scheduler": plateau, "monitor": "val/loss", "frequency": NEVER},
                },
            )
        steps = -(-self.batches // settings.accumulate) * settings.epochs

        def rate(step: int) -> float:
            rise = min(1.0, (step + 1) / max(1, settings.warm_steps))
            return rise * (0.1 + 0.45 * (1 + math.cos(math.pi * min(1.0, step / steps))))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_epoch_end(self) -> None:
        """The plateau's step. Lightning would take it after the epoch's checkpoint, which then had not seen it."""
        validated = (self.current_epoch + 1) % self.settings.validate_every == 0
        if self.settings.schedule == "plateau" and validated:
            scheduler = self.lr_schedulers()
            assert isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)
            scheduler.step(float(self.trainer.callback_metrics["val/loss"]))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Beside Lightning's own: both configs, and the gradients gathered since the last step."""
        checkpoint["model_config"] = self.model.config.as_dict()
        checkpoint["train_config"] = self.settings.as_dict()
        checkpoint["sounds"] = [len(self.train_sounds), len(self.test_sounds)]
        checkpoint["half_step"] = {
            name: parameter.grad.detach().cpu().clone()
            for name, parameter in self.model.named_parameters()
            if parameter.grad is not None
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._half_step = checkpoint["half_step"]

    def on_train_start(self) -> None:
        # Where the checkpoint was written between two steps; elsewhere the first batch clears them.
        for name, parameter in self.model.named_parameters():
            if name in self._half_step:
                parameter.grad = self._half_step[name].to(parameter)
        self._half_step = {}
