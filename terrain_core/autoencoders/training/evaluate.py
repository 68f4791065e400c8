"""The table that decides: the autoencoder beside PCA of log-mel with Griffin-Lim and beside the mean sound.

All figures are of held-out clips (split "test"), each reconstruction from its latents alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import auraloss
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from terrain_core.autoencoders import features
from terrain_core.autoencoders.training.corpus import FAMILIES, PITCHED
from terrain_core.autoencoders.training.dataset import Split
from terrain_core.autoencoders.training.losses import DB_PER_NEPER, LogMel

Reconstruct = Callable[[NDArray[np.float32]], NDArray[np.float32]]  # (samples,) -> (samples,)


@dataclass(frozen=True)
class Score:
    """Of one sound: auraloss' MultiResolutionSTFTLoss by its defaults; mean distance of 80 log-mel bands in dB."""

    stft: float
    mel_db: float


class Judge:
    """Holds the two measures. Peak level of every pair is left as it is: level errors count."""

    def __init__(self) -> None:
        self._stft = auraloss.freq.MultiResolutionSTFTLoss()
        self._mel = LogMel(2048, 512, 80)

    def __call__(self, output: NDArray[np.float32], target: NDArray[np.float32]) -> Score:
        with torch.inference_mode():
            a, b = (torch.from_numpy(np.ascontiguousarray(x))[None] for x in (output, target))
            stft = float(self._stft(a[:, None], b[:, None]))
            mel = float((self._mel(a) - self._mel(b)).abs().mean()) * DB_PER_NEPER
        return Score(stft, mel)


class PcaGriffinLim:
    """The floor (b): log-mel frames at the latent frame rate, reduced by PCA to D numbers, inverted by Griffin-Lim.

    The mel spectrum is inverted by non-negative clipping of the pseudo-inverse; the phase by the fast Griffin-Lim
    iteration with momentum 0.99 (Perraudin, Balazs and Soendergaard, WASPAA 2013).
    """

    def __init__(self, split: Split, latent_size: int, *, fft_size: int = 4096, bands: int = 80) -> None:
        self.fft_size, self.hop = fft_size, features.HOP
        self._mel = LogMel(fft_size, self.hop, bands)
        self._window = torch.hann_window(fft_size)
        self._inverse = torch.linalg.pinv(self._mel.filters)
        rows = [
            self._mel(torch.from_numpy(np.array(a))[None])[0].T for a in split.audio[:: max(1, len(split.audio) // 400)]
        ]
        frames = torch.cat(rows)
        self._mean = frames.mean(dim=0)
        self._basis = torch.linalg.svd(frames - self._mean, full_matrices=False).Vh[:latent_size]

    def __call__(self, audio: NDArray[np.float32]) -> NDArray[np.float32]:
        log_mel = self._mel(torch.from_numpy(audio)[None])[0].T
        latents = (log_mel - self._mean) @ self._basis.T
        return self._invert(latents @ self._basis + self._mean, len(audio))

    def mean_sound(self, audio: NDArray[np.float32]) -> NDArray[np.float32]:
        """(c): the training set's mean log-mel spectrum, held for as long as the sound lasts."""
        frames = len(audio) // self.hop + 1
        return self._invert(self._mean.expand(frames, -1), len(audio))

    def _invert(self, log_mel: Tensor, samples: int, iterations: int = 60) -> NDArray[np.float32]:
        silent = log_mel <= np.log(1.001e-4)
        mel = torch.where(silent, torch.zeros(()), log_mel.exp())
        magnitude = (self._inverse @ mel.T).clamp_min(0.0) * (self.fft_size / 4.0)
        generator = torch.Generator().manual_seed(0)
        angle = torch.rand(magnitude.shape, generator=generator) * (2 * np.pi)
        estimate = torch.polar(magnitude, angle)
        previous = torch.zeros_like(estimate)
        for _ in range(iterations):
            audio = self._istft(estimate, samples)
            rebuilt = torch.stft(audio, self.fft_size, self.hop, window=self._window, return_complex=True)
            fast = rebuilt + 0.99 * (rebuilt - previous)
            previous = rebuilt
            estimate = torch.polar(magnitude, fast.angle())
        return np.asarray(self._istft(estimate, samples).numpy(), dtype=np.float32)

    def _istft(self, spectrum: Tensor, samples: int) -> Tensor:
        return torch.istft(spectrum, self.fft_size, self.hop, window=self._window, length=samples)


def scores(split: Split, reconstruct: Reconstruct, clips: int) -> dict[str, Score]:
    """Mean score of each family and of all ("mean"), over the first `clips` clips."""
    judge = Judge()
    found: dict[str, list[Score]] = {name: [] for name in FAMILIES}
    for i in range(min(clips, len(split.audio))):
        audio = np.array(split.audio[i])
        found[list(FAMILIES)[split.family[i]]].append(judge(reconstruct(audio), audio))
    table = {name: _mean(rows) for name, rows in found.items()}
    return {**table, "mean": _mean([row for rows in found.values() for row in rows])}


def _mean(rows: list[Score]) -> Score:
    return Score(float(np.mean([r.stft for r in rows])), float(np.mean([r.mel_db for r in rows])))


def pitch_errors(split: Split, reconstruct: Reconstruct, clips: int) -> dict[str, float]:
    """Median error of the reconstruction's pitch in cents against the corpus' own truth, per pitched family.

    Frames count where the truth has a pitch; the reconstruction is tracked from scratch.
    """
    found: dict[str, list[NDArray[np.float64]]] = {name: [] for name in PITCHED}
    for i in range(min(clips, len(split.audio))):
        family = list(FAMILIES)[split.family[i]]
        if family not in found:
            continue
        truth = np.array(split.pitch_hz[i], dtype=np.float64)
        column = features.extract(reconstruct(np.array(split.audio[i])))[:, features.PITCH_COLUMN]
        heard = np.isfinite(truth)
        found[family].append(1200.0 * np.abs(column[heard] - np.log2(truth[heard] / features.MIDDLE_C_HZ)))
    return {name: float(np.median(np.concatenate(rows))) for name, rows in found.items() if rows}
