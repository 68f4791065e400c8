"""A TorchScript of the nn~ convention as an autoencoder that the engine can play."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrain_core.autoencoders.nn_tilde.process import CONVERTING_SECONDS, ModelProcess
from terrain_core.autoencoders.nn_tilde.trust import WARNING, is_trusted, sha256_of
from terrain_core.autoencoders.protocol import Audio, Latents
from terrain_core.errors import FileError, InputError

ENCODED_AT_ONCE = 64
"""Frames that go to the process in one message."""


@dataclass(frozen=True)
class Method:
    """A method of the nn~ convention. A ratio says how many audio samples go to one value."""

    in_channels: int
    in_ratio: int
    out_channels: int
    out_ratio: int
    input_labels: tuple[str, ...] = ()
    output_labels: tuple[str, ...] = ()


class NnTildeAutoencoder:
    """See `protocol.Autoencoder`. The model lives in a process of its own, started when it is opened; streams are kept
    apart there, and each frame's draws are seeded by its number, so that equal seeds give equal bits for any cutting.

    Attributes:
        facts: what the process found out about the model, as JSON values.
        methods: all methods it has, by name.
        attributes: the types of each attribute's values, by name; see `get_attribute`.
        streaming: False if it carries nothing from one block to the next (an export without --streaming): blocks click.
        encoder_lag: frames by which the model's own encoder is late; made up for in `encode`.
    """

    def __init__(self, path: str | Path, *, sample_rate: int | None = None, trust: bool = False) -> None:
        """
        Args:
            path: the .ts.
            sample_rate: in Hz, where the model states none.
            trust: must be True, or the file one that was said yes to before (`trust.remember`): whoever opens a
                TorchScript runs what is in it.
        Raises:
            InputError: `trust` was not given.
            FileError: missing, no such model, without a sample rate, or it ended its process.
        """
        self.path = str(path)
        if not Path(path).is_file():
            raise FileError(path, "is not there" if not Path(path).exists() else "is a folder, expected a .ts")
        if not (trust or is_trusted(path)):
            raise InputError(f"{path} {WARNING}; if you trust it, say trust=True, or yes to terrain info")
        opening = {"do": "open", "path": str(Path(path).resolve()), "sample_rate": sample_rate}
        self.process = ModelProcess(Path(path), opening)
        self._numbers = itertools.count()
        self.facts = self.process.open()
        try:
            self._adopt(self.facts)
        except (KeyError, TypeError, ValueError) as error:
            self.process.close()
            raise FileError(path, f"described itself in a way that makes no sense ({error})") from None

    def _adopt(self, facts: dict[str, Any]) -> None:
        self.name = Path(self.path).stem
        self.sample_rate, self.channels = int(facts["sample_rate"]), int(facts["channels"])
        self.latent_size, self.hop = int(facts["latent_size"]), int(facts["hop"])
        self.delay, self.encoder_lag = int(facts["delay"]), int(facts["encoder_lag"])
        self.latent_mean = np.array(facts["latent_mean"], np.float32)
        self.latent_std = np.array(facts["latent_std"], np.float32)
        self.streaming = bool(facts["streaming"])
        self.family = str(facts["family"])
        self.attributes = {str(name): tuple(map(str, kinds)) for name, kinds in facts["attributes"].items()}
        self.methods = {
            str(name): Method(
                int(m["in_channels"]),
                int(m["in_ratio"]),
                int(m["out_channels"]),
                int(m["out_ratio"]),
                tuple(map(str, m["input_labels"])),
                tuple(map(str, m["output_labels"])),
            )
            for name, m in facts["methods"].items()
        }
        sizes = (self.sample_rate, self.channels, self.latent_size, self.hop)
        if min(sizes) < 1 or max(sizes) > 1 << 20 or self.latent_mean.shape != (self.latent_size,):
            raise ValueError(f"sizes {sizes}")

    @cached_property
    def sha256(self) -> str:
        """Identity of the file."""
        return sha256_of(self.path)

    @property
    def can_encode(self) -> bool:
        return bool(self.facts["can_encode"])

    def notice(self) -> str:
        """What its owner should know before playing it; empty if nothing."""
        if self.streaming:
            return ""
        return f"{self.path} keeps nothing between blocks (exported without --streaming): the seams will click"

    def get_attribute(self, name: str) -> tuple[Any, ...]:
        """An attribute's values.

        Raises:
            FileError: there is none of that name.
        """
        answer, _ = self.process.ask({"do": "get", "name": name})
        return tuple(answer["values"])

    def set_attribute(self, name: str, *values: bool | int | float | str) -> None:
        """Set an attribute, for all streams.

        Raises:
            FileError: there is none of that name, or it does not take these values.
        """
        self.process.ask({"do": "set", "name": name, "values": list(values)})

    def encode(self, audio: Audio) -> Latents:
        audio = np.asarray(audio, np.float32)
        if audio.ndim != 2 or audio.shape[0] != self.channels:
            raise InputError(f"expected audio of shape ({self.channels}, samples), got {audio.shape}")
        frames = -(-audio.shape[1] // self.hop)
        tail = (frames + self.encoder_lag) * self.hop - audio.shape[1]
        encoder = self.stream_encoder()
        padded = np.pad(audio, ((0, 0), (0, tail)))
        step = ENCODED_AT_ONCE * self.hop
        parts = [encoder.encode(padded[:, i : i + step]) for i in range(0, padded.shape[1], step)]
        return np.concatenate([np.zeros((0, self.latent_size), np.float32), *parts])[:frames]

    def decode(self, latents: Latents, *, seed: int = 0) -> Audio:
        return self.stream(seed=seed).decode(latents)

    def stream(self, *, seed: int = 0, threads: int = 1) -> NnTildeDecoderStream:
        """See the protocol; one thread whatever `threads` says, since torch rounds otherwise with others."""
        return NnTildeDecoderStream(self, next(self._numbers), seed)

    def stream_encoder(self) -> NnTildeEncoderStream:
        """A fresh encoder for live audio.

        Raises:
            InputError: the model has no encoder that fits its decoder.
        """
        if not self.can_encode:
            raise InputError(f"autoencoder {self.name!r} cannot encode: it has no method encode that fits its decode")
        return NnTildeEncoderStream(self, next(self._numbers))

    def convert(self) -> tuple[dict[str, Any], list[bytes]]:
        """Facts and graphs (the decoder's, perhaps the encoder's), see `bundle.convert`."""
        facts, graphs = self.process.ask({"do": "convert"}, seconds=CONVERTING_SECONDS)
        return facts, [graph.tobytes() for graph in graphs]

    def seconds_per_frame(self) -> float:
        """The median time to decode one frame on one thread, without the way there and back."""
        answer, _ = self.process.ask({"do": "speed"})
        return float(answer["seconds_per_frame"])

    def close(self) -> None:
        """End its process; the next use starts another."""
        self.process.close()


class _Stream:
    """State in the process, known by a number; gone with the process it was in."""

    def __init__(self, autoencoder: NnTildeAutoencoder, number: int) -> None:
        self._autoencoder = autoencoder
        self._number = number
        self._generation = -1

    def _request(self, doing: str, **facts: Any) -> dict[str, Any]:
        process = self._autoencoder.process
        process.open()
        fresh = self._generation != process.generation
        self._generation = process.generation
        return {"do": doing, "stream": self._number, "fresh": fresh, **facts}

    def __del__(self) -> None:
        process = self._autoencoder.process
        if self._generation == process.generation and process.pid is not None:
            try:
                process.ask({"do": "drop", "stream": self._number})
            except FileError:  # it went at the same time, and its streams with it
                return


class NnTildeDecoderStream(_Stream):
    """See `protocol.DecoderStream`. After its process has died and been replaced, it goes on from a clean state."""

    def __init__(self, autoencoder: NnTildeAutoencoder, number: int, seed: int) -> None:
        super().__init__(autoencoder, number)
        self.delay = autoencoder.delay
        self._seed = seed
        self.reset()

    def reset(self, frame_index: int = 0) -> None:
        self._frame = frame_index
        self._generation = -1

    def decode(self, latents: Latents) -> Audio:
        model = self._autoencoder
        latents = np.asarray(latents, np.float32)
        if latents.ndim != 2 or latents.shape[1] != model.latent_size:
            raise InputError(f"expected latents of shape (frames, {model.latent_size}), got {latents.shape}")
        latents = np.where(np.isfinite(latents), latents, model.latent_mean)
        parts: list[Audio] = []
        for start in range(0, len(latents), ENCODED_AT_ONCE):
            piece = latents[start : start + ENCODED_AT_ONCE]
            request = self._request("decode", seed=self._seed, first=self._frame)
            _, arrays = model.process.ask(request, [piece])
            parts.append(_checked(arrays, (model.channels, len(piece) * model.hop), model.path))
            self._frame += len(piece)
        return np.concatenate([np.zeros((model.channels, 0), np.float32), *parts], axis=1)


class NnTildeEncoderStream(_Stream):
    """Audio in, latents out, as soon as each frame's sound is known."""

    def __init__(self, autoencoder: NnTildeAutoencoder, number: int) -> None:
        super().__init__(autoencoder, number)
        self.delay = autoencoder.encoder_lag * autoencoder.hop
        """Samples of audio beyond a frame's end that must be known before its latents come out."""
        self.reset()

    def reset(self) -> None:
        """Forget the past."""
        self._generation = -1
        self._waiting = np.zeros((self._autoencoder.channels, 0), np.float32)
        self._early = self._autoencoder.encoder_lag

    def encode(self, audio: Audio) -> Latents:
        """Append audio (channels, samples), return the latents of the frames that have become known."""
        model = self._autoencoder
        self._waiting = np.concatenate([self._waiting, np.asarray(audio, np.float32)], axis=1)
        whole = self._waiting.shape[1] // model.hop * model.hop
        if not whole:
            return np.zeros((0, model.latent_size), np.float32)
        audio, self._waiting = self._waiting[:, :whole], self._waiting[:, whole:]
        _, arrays = model.process.ask(self._request("encode"), [audio])
        latents = _checked(arrays, (whole // model.hop, model.latent_size), model.path)
        dropped = min(self._early, len(latents))
        self._early -= dropped
        return latents[dropped:]


def _checked(arrays: list[Any], shape: tuple[int, int], path: str) -> NDArray[np.float32]:
    if len(arrays) != 1 or arrays[0].shape != shape or arrays[0].dtype != np.float32:
        raise FileError(path, f"answered with another shape than {shape}")
    values: NDArray[np.float32] = np.nan_to_num(arrays[0], copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    return values
