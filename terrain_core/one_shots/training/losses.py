"""What one-shot training minimises."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import cast

import auraloss
import torch
from torch import Tensor, nn
from torch.nn import functional

from terrain_core.autoencoders.training.losses import MEL_FLOOR, LogMel
from terrain_core.one_shots.config import TrainConfig

PRE_EMPHASIS = 0.97
QUIET = 1e-4
"""Magnitudes are never taken as smaller, a full-scale sine being 1: nobody hears -80 dB, and a logarithm would."""
NATS_PER_BIT = math.log(2)


class SpectralLoss(nn.Module):
    """Multi-resolution STFT distance after pre-emphasis: spectral convergence + log magnitude + `complex_weight` times
    the L1 distance of real and imaginary parts, the mean over window lengths; hops are a quarter of the window.

    Spectral convergence and log magnitude are auraloss's (Arik et al., 2018); each spectrum is made once for all three.
    """

    def __init__(self, sizes: Sequence[int], complex_weight: float) -> None:
        super().__init__()
        self.sizes, self.complex_weight = tuple(sizes), complex_weight
        self.convergence = auraloss.freq.SpectralConvergenceLoss()
        self.magnitude = auraloss.freq.STFTMagnitudeLoss(log=True)
        for size in self.sizes:
            self.register_buffer(f"window_{size}", torch.hann_window(size), persistent=False)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """(batch, channels, samples) each -> a number."""
        output, target = (_emphasised(sound.flatten(0, 1).float()) for sound in (output, target))
        total = output.new_zeros(())
        for size in self.sizes:
            window: Tensor = getattr(self, f"window_{size}")
            a, b = (
                torch.stft(sound, size, size // 4, window=window, return_complex=True) * (4.0 / size)
                for sound in (output, target)
            )
            size_a, size_b = _magnitude(a), _magnitude(b)
            total = total + self.convergence(size_a, size_b) + self.magnitude(size_a, size_b)
            if self.complex_weight:
                plane = (a.real - b.real).abs().mean() + (a.imag - b.imag).abs().mean()
                loudness = (b.real.abs().mean() + b.imag.abs().mean()).clamp_min(QUIET)
                total = total + self.complex_weight * plane / loudness
        return total / len(self.sizes)


class MelLoss(nn.Module):
    """Mean distance of log-mel bands in nepers, at two resolutions: what is at the ear's own scale, and in silence
    nothing. The floor is added, not cut at: a tone that fell below a hard one would never come back.
    """

    def __init__(self) -> None:
        super().__init__()
        self.mels = nn.ModuleList([LogMel(2048, 512, 80), LogMel(512, 128, 40)])

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """(batch, channels, samples) each -> a number."""
        output, target = (sound.flatten(0, 1).float() for sound in (output, target))
        levels = [
            [torch.log(mel.magnitudes(sound) + MEL_FLOOR) for sound in (output, target)]
            for mel in cast(Iterable[LogMel], self.mels)
        ]
        return torch.stack([(made - wanted).abs().mean() for made, wanted in levels]).mean()


def _emphasised(sound: Tensor) -> Tensor:
    return torch.cat([sound[:, :1], sound[:, 1:] - PRE_EMPHASIS * sound[:, :-1]], dim=1)


def _magnitude(spectrum: Tensor) -> Tensor:
    return (spectrum.real.square() + spectrum.imag.square() + QUIET**2).sqrt()


def waveform_loss(output: Tensor, target: Tensor) -> Tensor:
    """Mean squared error."""
    return functional.mse_loss(output.float(), target.float())


def kl_by_latent(mean: Tensor, log_variance: Tensor) -> Tensor:
    """(D,) KL divergence from the standard normal in nats, mean over the batch."""
    return 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).mean(dim=0)


def kl_loss(kl: Tensor, free_bits: float) -> Tensor:
    """Sum over latents (D,) of what each has beyond its free bits (Kingma et al., 2016), in nats."""
    return (kl - free_bits * NATS_PER_BIT).clamp_min(0.0).sum()


def skip_loss(generated: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """Mean over skips of MSE + (1 - cosine), the real ones held fixed."""
    terms = [
        functional.mse_loss(a, b.detach())
        + (1 - functional.cosine_similarity(a.flatten(1), b.detach().flatten(1), dim=1)).mean()
        for a, b in zip(generated, real, strict=True)
    ]
    return torch.stack(terms).mean()


def beta_at(config: TrainConfig, epoch: float) -> float:
    """The KL divergence's weight at an epoch (counted from 0, fractions allowed)."""
    progress = 1.0 if not config.warm_epochs else min(1.0, epoch / config.warm_epochs)
    if config.annealing == "sigmoid":
        return config.beta * (1.0 if progress == 1 else 1 / (1 + math.exp(6 - 12 * progress)))
    if config.annealing == "cyclical" and progress == 1:
        return config.beta * (0.5 + 0.5 * ((epoch - config.warm_epochs) % config.cycle_epochs) / config.cycle_epochs)
    return config.beta * progress
