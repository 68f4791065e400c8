"""Trained runs on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from terrain_core.autoencoders import features
from terrain_core.autoencoders.training.evaluate import Reconstruct
from terrain_core.autoencoders.training.model import Autoencoder, ModelConfig
from terrain_core.errors import FileError


def open_run(folder: Path) -> Autoencoder:
    """The model of a run's folder: `config.json` and `model.safetensors`.

    Raises:
        FileError: the run is not there or not finished.
    """
    weights, config = folder / "model.safetensors", folder / "config.json"
    for path in (weights, config):
        if not path.is_file():
            raise FileError(path, "is not there", hint="let the training run end first")
    stored = json.loads(config.read_text())
    shape: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in stored.items()}
    model = Autoencoder(ModelConfig(**shape))
    model.load_state_dict(load_file(weights))
    return model.eval()


def reconstructor(model: Autoencoder) -> Reconstruct:
    """Audio -> latents -> audio through torch, noise seeded."""

    def reconstruct(audio: NDArray[np.float32]) -> NDArray[np.float32]:
        feature = features.extract(np.pad(audio, (0, features.HOP)))
        with torch.inference_mode():
            latents = model.encode(torch.from_numpy(feature)[None])[0]
            return np.asarray(model.decode(latents, torch.Generator().manual_seed(0))[0, : len(audio)])

    return reconstruct
