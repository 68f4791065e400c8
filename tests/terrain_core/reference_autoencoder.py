"""Small stand-ins for what the engine plays: deterministic, causal, and simple enough to predict by hand."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

Array = NDArray[np.float32]


class LinearAutoencoder:
    """Every frame adds latents @ basis to the audio, `overlap` frames long; the decoder is late by `delay` samples."""

    name = "linear"

    def __init__(
        self,
        *,
        sample_rate: int = 44100,
        hop: int = 64,
        latent_size: int = 3,
        channels: int = 1,
        delay: int = 0,
        overlap: int = 3,
    ) -> None:
        rng = np.random.default_rng(5)
        self.sample_rate, self.hop, self.latent_size, self.channels = sample_rate, hop, latent_size, channels
        self.delay = delay
        self.latent_mean = rng.normal(size=latent_size).astype(np.float32) / 4
        self.latent_std = rng.uniform(0.5, 1.5, latent_size).astype(np.float32)
        self.basis = (rng.normal(size=(channels, latent_size, overlap * hop)) / (4 * overlap)).astype(np.float32)
        self.streams = 0

    def stream(self, *, seed: int = 0, threads: int = 1) -> LinearStream:
        self.streams += 1
        return LinearStream(self)

    def decode(self, latents: Array, *, seed: int = 0) -> Array:
        return self.stream().decode(latents)

    def encode(self, audio: Array) -> Array:
        frames = -(-audio.shape[1] // self.hop)
        padded = np.pad(audio[0], (0, frames * self.hop - audio.shape[1])).reshape(frames, self.hop)
        return np.stack([padded[:, n] for n in range(self.latent_size)], axis=1).astype(np.float32)


class HearingAutoencoder(LinearAutoencoder):
    """Encodes live, too: latent n of a frame is the frame's sample n."""

    def stream_encoder(self) -> LinearEncoderStream:
        return LinearEncoderStream(self)


class LinearStream:
    def __init__(self, autoencoder: LinearAutoencoder) -> None:
        self._autoencoder = autoencoder
        self.delay = autoencoder.delay
        self.frame_indices: list[int] = []
        self.reset()

    def reset(self, frame_index: int = 0) -> None:
        self.frame_indices.append(frame_index)
        a = self._autoencoder
        self._late = np.zeros((a.channels, self.delay), np.float32)
        self._tail = np.zeros((a.channels, a.basis.shape[2] - a.hop), np.float32)

    def decode(self, latents: Array) -> Array:
        a = self._autoencoder
        out = np.zeros((a.channels, len(latents) * a.hop + self._tail.shape[1]), np.float32)
        out[:, : self._tail.shape[1]] = self._tail
        for k, latent in enumerate(latents):
            out[:, k * a.hop : k * a.hop + a.basis.shape[2]] += np.einsum("d,cdn->cn", latent, a.basis)
        samples = len(latents) * a.hop
        self._tail = out[:, samples:]
        joined = np.concatenate([self._late, out[:, :samples]], axis=1)
        self._late = joined[:, samples:]
        return joined[:, :samples]


class LinearEncoderStream:
    delay = 0

    def __init__(self, autoencoder: LinearAutoencoder) -> None:
        self._autoencoder = autoencoder
        self.reset()

    def reset(self) -> None:
        self._waiting = np.zeros((self._autoencoder.channels, 0), np.float32)

    def encode(self, audio: Array) -> Array:
        self._waiting = np.concatenate([self._waiting, audio], axis=1)
        whole = self._waiting.shape[1] // self._autoencoder.hop * self._autoencoder.hop
        ready, self._waiting = self._waiting[:, :whole], self._waiting[:, whole:]
        return self._autoencoder.encode(ready)


class ClickAutoencoder(LinearAutoencoder):
    """Each frame is one click at its first sample, as high as latent 0."""

    name = "click"

    def __init__(self, **settings: int) -> None:
        super().__init__(overlap=1, **settings)
        self.basis = np.zeros_like(self.basis)
        self.basis[:, 0, 0] = 1
        self.latent_mean = np.zeros_like(self.latent_mean)


class DirectAutoencoder(LinearAutoencoder):
    """Every sample of a frame is latent 0: makes gains visible."""

    name = "direct"

    def __init__(self, **settings: int) -> None:
        super().__init__(overlap=1, **settings)
        self.basis = np.zeros_like(self.basis)
        self.basis[:, 0, :] = 1
        self.latent_mean = np.zeros_like(self.latent_mean)


class XTerrain:
    """Latent 0 is X, latent 1 is Y, latent 2 is Z (as far as there are any)."""

    def __init__(self, latent_size: int = 3, control_size: int = 3) -> None:
        self.latent_size, self.control_size = latent_size, control_size

    def at(self, unit: NDArray[np.float64]) -> Array:
        latents = np.zeros((len(unit), self.latent_size), np.float32)
        shared = min(self.latent_size, self.control_size)
        latents[:, :shared] = unit[:, :shared]
        return latents


class OneTerrain(XTerrain):
    """Every latent is 1 everywhere."""

    def at(self, unit: NDArray[np.float64]) -> Array:
        return np.ones((len(unit), self.latent_size), np.float32)


def onnx_bundle(latent_size: int = 2, hop: int = 16) -> bytes:
    """The bundle of a tiny decoder with state: each frame is its latents @ now + the latents before it @ before."""
    rng = np.random.default_rng(9)
    weights = {name: rng.normal(size=(latent_size, hop)).astype(np.float32) for name in ("now", "before")}
    nodes = [
        helper.make_node("MatMul", ["latents", "now"], ["fresh"]),
        helper.make_node("Concat", ["last", "latents"], ["all"], axis=0),
        helper.make_node("Slice", ["all", "zero", "minus_one", "zero"], ["earlier"]),
        helper.make_node("Slice", ["all", "minus_one", "end", "zero"], ["last_out"]),
        helper.make_node("MatMul", ["earlier", "before"], ["old"]),
        helper.make_node("Add", ["fresh", "old"], ["sum"]),
        helper.make_node("Reshape", ["sum", "mono"], ["audio"]),
    ]
    constants = {"zero": [0], "minus_one": [-1], "end": [2**31], "mono": [1, -1]}
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info("latents", TensorProto.FLOAT, ["frames", latent_size]),
            helper.make_tensor_value_info("last", TensorProto.FLOAT, [1, latent_size]),
        ],
        [
            helper.make_tensor_value_info("audio", TensorProto.FLOAT, [1, "samples"]),
            helper.make_tensor_value_info("last_out", TensorProto.FLOAT, [1, latent_size]),
        ],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()]
        + [onnx.numpy_helper.from_array(np.array(value, np.int64), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    card = {
        "name": "tiny", "sample_rate": 8000, "channels": 1, "latent_size": latent_size, "hop": hop, "delay": 0,
        "latent_mean": [0.0] * latent_size, "latent_std": [1.0] * latent_size, "version": 1,
    }  # fmt: skip
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("autoencoder.json", json.dumps(card))
        archive.writestr("decoder.onnx", model.SerializeToString())
    return buffer.getvalue()
