"""The table that decides: a one-shot model beside PCA of log-mel with Griffin-Lim at the same number of latents, and
beside the mean sound. All figures are of held-out sounds, each made from its latents alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from terrain_core.autoencoders.one_shot import OneShotAutoencoder
from terrain_core.autoencoders.protocol import Audio
from terrain_core.autoencoders.training.evaluate import Judge, PcaGriffinLim, Score
from terrain_core.autoencoders.training.losses import LogMel
from terrain_core.one_shots.shards import Sounds
from terrain_core.one_shots.training.model import REACH, OneShotModel
from terrain_core.one_shots.training.module import ACTIVE_VARIANCE

Reconstruct = Callable[[Audio], Audio]
"""(channels, samples) -> the same shape"""


class HitPca(PcaGriffinLim):
    """The floor: a whole sound's log-mel spectrogram, (bands · frames) numbers, reduced by PCA to as many as the model
    has latents, and inverted as the streaming autoencoder's floor is. Mono; more channels get the same sound.
    """

    def __init__(self, sounds: Sounds, latent_size: int, *, fft_size: int, bands: int = 80, most: int = 2000) -> None:
        self.fft_size, self.hop = fft_size, fft_size // 4
        self._mel = LogMel(fft_size, self.hop, bands)
        self._window = torch.hann_window(fft_size)
        self._inverse = torch.linalg.pinv(self._mel.filters)
        rows = torch.stack([self._flat(np.array(sounds[i])) for i in range(0, len(sounds), -(-len(sounds) // most))])
        self._mean = rows.mean(dim=0)
        self._basis = torch.linalg.svd(rows - self._mean, full_matrices=False).Vh[:latent_size]
        self._bands = bands

    def _flat(self, audio: Audio) -> torch.Tensor:
        flat: torch.Tensor = self._mel(torch.from_numpy(audio.mean(axis=0))[None])[0].T.flatten()
        return flat

    def __call__(self, audio: NDArray[np.float32]) -> NDArray[np.float32]:
        latents = (self._flat(audio) - self._mean) @ self._basis.T
        return self._sound(latents @ self._basis + self._mean, audio)

    def mean_sound(self, audio: NDArray[np.float32]) -> NDArray[np.float32]:
        """The training sounds' mean spectrogram."""
        return self._sound(self._mean, audio)

    def _sound(self, flat: torch.Tensor, audio: Audio) -> Audio:
        mono = self._invert(flat.reshape(-1, self._bands), audio.shape[1])
        return np.repeat(mono[np.newaxis], len(audio), axis=0)


def reconstructor(subject: OneShotModel | OneShotAutoencoder) -> Reconstruct:
    """Audio -> latent -> audio: through ONNX Runtime for a bundle, through torch for a model."""
    if isinstance(subject, OneShotAutoencoder):
        return lambda audio: subject.hit(subject.encode(audio)[0])

    def reconstruct(audio: Audio) -> Audio:
        with torch.inference_mode():
            sound: Audio = subject.decode(subject.encode(torch.from_numpy(audio)[None])[0])[0].numpy()
        return sound

    return reconstruct


def with_other_skips(model: OneShotModel) -> dict[str, Reconstruct]:
    """The same model with the encoder's own skips, which nothing that plays has, and with none: what the skip generator
    is worth.
    """

    def reconstruct(audio: Audio, real: bool) -> Audio:
        with torch.inference_mode():
            mean, _, skips = model.encode(torch.from_numpy(audio)[None])
            chosen = skips if real else [torch.zeros_like(skip) for skip in skips]
            sound: Audio = (model.raw(mean, chosen)[0] / REACH).numpy()
        return sound

    return {
        "encoder's skips": lambda audio: reconstruct(audio, True),
        "no skips": lambda audio: reconstruct(audio, False),
    }


def scores(sounds: Sounds, columns: Mapping[str, Reconstruct], count: int) -> dict[str, dict[str, Score]]:
    """Column -> label (and "mean") -> mean score over the first `count` sounds."""
    judge = Judge()
    table = {}
    for name, reconstruct in columns.items():
        found: dict[str, list[Score]] = {}
        for i in range(min(count, len(sounds))):
            audio = np.array(sounds[i])
            made = reconstruct(audio)
            score = judge(made.mean(axis=0), audio.mean(axis=0))
            found.setdefault(sounds.sounds[i].label or "sounds", []).append(score)
        everything = [score for rows in found.values() for score in rows]
        table[name] = {label: _mean(rows) for label, rows in [*found.items(), ("mean", everything)]}
    return table


def _mean(rows: list[Score]) -> Score:
    return Score(float(np.mean([r.stft for r in rows])), float(np.mean([r.mel_db for r in rows])))


def dead_latents(subject: OneShotAutoencoder, sounds: Sounds) -> int:
    """How many latents say nothing about the sounds: their means' variance is at most `ACTIVE_VARIANCE`."""
    latents = np.stack([subject.encode(np.array(sound))[0] for sound in sounds])
    return int((latents.var(axis=0) <= ACTIVE_VARIANCE).sum())
