"""The corpus on disk: audio, features and pitch of every clip as memory-mapped arrays, made once."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from terrain_core.autoencoders import features
from terrain_core.autoencoders.training.corpus import CLIP_SAMPLES, FAMILIES, make_clip

FRAMES = -(-CLIP_SAMPLES // features.HOP)
SAMPLES = FRAMES * features.HOP


@dataclass(frozen=True)
class Split:
    """One split of the corpus.

    Attributes:
        audio: (clips, SAMPLES) float32.
        features: (clips, FRAMES, FEATURES) float32.
        pitch_hz: (clips, FRAMES) float32, the true fundamental at each frame's centre, NaN where none.
        family: (clips,) indices into `FAMILIES`.
    """

    audio: NDArray[np.float32]
    features: NDArray[np.float32]
    pitch_hz: NDArray[np.float32]
    family: NDArray[np.int64]


def _prepare(job: tuple[str, int]) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    clip = make_clip(*job)
    audio = np.pad(clip.audio, (0, SAMPLES - CLIP_SAMPLES))
    truth = np.full(FRAMES, np.nan, np.float32)
    centres = clip.pitch_hz[features.HOP // 2 :: features.HOP]
    truth[: len(centres)] = centres
    return audio, features.extract(audio), truth


def prepare(folder: Path, split: str, clips: int, workers: int = 2) -> Split:
    """Make a split on disk, or open it if it is there with as many clips."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {"audio": (SAMPLES,), "features": (FRAMES, features.FEATURES), "pitch_hz": (FRAMES,)}
    paths = {name: folder / f"{split}-{clips}-{name}.npy" for name in names}
    if not all(path.exists() for path in paths.values()):
        arrays = {
            name: np.lib.format.open_memmap(folder / f"{split}-{name}.part", "w+", np.float32, (clips, *shape))
            for name, shape in names.items()
        }
        with ProcessPoolExecutor(workers) as pool:
            results = pool.map(_prepare, [(split, i) for i in range(clips)], chunksize=8)
            for i, (audio, feature, truth) in enumerate(results):
                arrays["audio"][i], arrays["features"][i], arrays["pitch_hz"][i] = audio, feature, truth
        for name, array in arrays.items():
            array.flush()
            (folder / f"{split}-{name}.part").rename(paths[name])
    loaded = {name: np.load(path, mmap_mode="r") for name, path in paths.items()}
    return Split(**loaded, family=np.arange(clips) % len(FAMILIES))


class Crops(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Random crops of a split: features (frames + 1, FEATURES), one frame of look-ahead included, and audio (samples,).

    Crop `i` depends on (seed, i) alone, so that a training run can be repeated and continued.
    """

    def __init__(self, split: Split, frames: int, length: int, seed: int) -> None:
        self.split, self.frames, self.length, self.seed = split, frames, length, seed

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        rng = np.random.default_rng([self.seed, index])
        clip = int(rng.integers(len(self.split.audio)))
        start = int(rng.integers(0, FRAMES - self.frames))
        feature = self.split.features[clip, start : start + self.frames + 1]
        audio = self.split.audio[clip, start * features.HOP : (start + self.frames) * features.HOP]
        return torch.from_numpy(feature.copy()), torch.from_numpy(audio.copy())
