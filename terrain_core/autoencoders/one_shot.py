"""The autoencoder whose frame is a whole sound: one latent in, one hit out. Two ONNX graphs without state.

It keeps the protocol to the letter: its hop is the length of a hit, so that what encodes a folder of sounds, lays them
out and learns a terrain through them works with hits as it does with frames.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from typing import cast

import numpy as np

from terrain_core.autoencoders.onnx_autoencoder import DECODER, ENCODER, OnnxAutoencoder, OnnxEncoderStream
from terrain_core.autoencoders.protocol import Audio, DecoderStream, Latents
from terrain_core.errors import InputError


class OneShotAutoencoder(OnnxAutoencoder):
    """See `protocol.Autoencoder`. `hop` is the number of samples of a hit."""

    def encode(self, audio: Audio) -> Latents:
        """A latent for every hit's length of audio, the last one padded with silence: (ceil(samples / hop), D)."""
        audio = self._checked_audio(audio)
        if ENCODER not in self.files:
            raise InputError(f"autoencoder {self.name!r} cannot encode: its bundle has no {ENCODER}")
        session = self.session(ENCODER, 1)
        latents = np.zeros((-(-audio.shape[1] // self.hop), self.latent_size), np.float32)
        for row in range(len(latents)):
            sound = np.zeros((1, self.channels, self.hop), np.float32)
            piece = audio[:, row * self.hop : (row + 1) * self.hop]
            sound[0, :, : piece.shape[1]] = piece
            latents[row] = session.run(["latents"], {"audio": sound})[0][0]
        return latents

    def hit(self, latent: Latents, threads: int = 1) -> Audio:
        """One hit: (D,) -> (channels, hop). The same latent gives the same samples, always."""
        latent = np.asarray(latent, np.float32)
        if latent.shape != (self.latent_size,):
            raise InputError(f"expected a latent of shape ({self.latent_size},), got {latent.shape}")
        latent = np.where(np.isfinite(latent), latent, self.latent_mean)
        return cast(Audio, self.session(DECODER, threads).run(["audio"], {"latents": latent[np.newaxis]})[0][0])

    def unload(self) -> None:
        """Give back the memory that the graphs take while they play; the next hit opens them again."""
        self._sessions.clear()
        give_memory_back()

    # Its graphs know neither state nor noise, so neither does its stream.
    def stream(self, *, seed: int = 0, threads: int = 1) -> DecoderStream:  # type: ignore[override]
        return HitStream(self, threads)

    def stream_encoder(self, *, threads: int = 1) -> OnnxEncoderStream:
        """
        Raises:
            InputError: always: a hit is known when it is over.
        """
        raise InputError(f"autoencoder {self.name!r} encodes whole sounds: it cannot follow live audio")


def give_memory_back() -> None:
    """To the system, what the C library keeps of memory that was freed; where it can be asked to (glibc)."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)


class HitStream:
    """Hits end to end, see `protocol.DecoderStream`."""

    delay = 0

    def __init__(self, autoencoder: OneShotAutoencoder, threads: int) -> None:
        self._autoencoder, self._threads = autoencoder, threads

    def decode(self, latents: Latents) -> Audio:
        size = self._autoencoder.latent_size
        if latents.ndim != 2 or latents.shape[1] != size:
            raise InputError(f"expected latents of shape (frames, {size}), got {latents.shape}")
        hits = [self._autoencoder.hit(latent, self._threads) for latent in latents]
        return np.concatenate([np.zeros((self._autoencoder.channels, 0), np.float32), *hits], axis=1)

    def reset(self, frame_index: int = 0) -> None:
        """There is no past to forget."""
