"""What runs on the workers of a Dask cluster; imported only where Dask is there."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from distributed import WorkerPlugin, get_worker

from terrain_core.autoencoders.bundles import load_bytes
from terrain_core.autoencoders.onnx_autoencoder import OnnxAutoencoder
from terrain_core.autoencoders.protocol import Latents
from terrain_core.errors import FileError
from terrain_core.trajectories.latents import latents_of_file


class BundlePlugin(WorkerPlugin):  # type: ignore[misc]  # Dask's class is of no known type
    """An autoencoder, opened once per worker."""

    def __init__(self, bundle: bytes) -> None:
        self.bundle = bundle
        self.autoencoder: OnnxAutoencoder | None = None

    def setup(self, worker: Any) -> None:
        self.autoencoder = load_bytes(self.bundle)

    def __getstate__(self) -> dict[str, Any]:
        return {"bundle": self.bundle, "autoencoder": None}  # a session cannot travel


def encode_there(plugin: str, suffix: str, data: bytes) -> tuple[Latents | None, tuple[str, str, str]]:
    """A sound file's bytes -> latents (frames, D), or None and what is wrong: problem, position, hint."""
    autoencoder = get_worker().plugins[plugin].autoencoder
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"sound{suffix}"  # libsndfile knows some formats only by their name
        file.write_bytes(data)
        try:
            return latents_of_file(file, autoencoder), ("", "", "")
        except FileError as error:
            return None, (error.problem, error.position, error.hint)
