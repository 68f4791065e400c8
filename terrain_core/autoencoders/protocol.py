"""What every autoencoder offers to the engine, whatever runtime stands behind it.

Layouts, everywhere in this project: audio is `(channels, samples)` float32, latents are `(frames, latent_size)`
float32.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Audio = NDArray[np.float32]  # (channels, samples)
Latents = NDArray[np.float32]  # (frames, latent_size)


class DecoderStream(Protocol):
    """A decoder with state: latents in, audio out, in any chunking.

    The life of a stream: made by `Autoencoder.stream`, fed by `decode` in order, `reset` when the transport jumps.
    Two streams of one autoencoder share weights and disturb each other in nothing. One thread at a time.
    """

    delay: int
    """Samples by which the audio lags: the first sample that frame k changes is k * hop + delay. Of a decoder that
    spreads a frame's change over time (RAVE), measured: half of its energy has come by the frame's middle plus this.
    """

    def decode(self, latents: Latents) -> Audio:
        """Decode the next frames.

        Args:
            latents: shape (frames, latent_size); zero frames are allowed and give zero samples.
        Returns:
            shape (channels, frames * hop), each sample finite.
        Raises:
            InputError: wrong latent size. NaN and infinity are no errors: the latent's mean stands in for them.
        """
        ...

    def reset(self, frame_index: int = 0) -> None:
        """Forget the past. `frame_index` numbers the next frame; noise is drawn from (seed, frame number)."""
        ...


@runtime_checkable
class Autoencoder(Protocol):
    """Audio <-> latents. Read-only once made, to be shared between threads: the state is in the streams."""

    name: str
    sample_rate: int
    """Hz"""
    channels: int
    latent_size: int
    """D"""
    hop: int
    """Samples per latent frame; frame_rate = sample_rate / hop"""
    latent_mean: NDArray[np.float32]
    """(D,): mean over what the autoencoder was trained on; `intensity` scales around it"""
    latent_std: NDArray[np.float32]
    """(D,)"""

    def encode(self, audio: Audio) -> Latents:
        """Encode a whole sound from a clean state, deterministically (the posterior's mean).

        Args:
            audio: shape (channels, samples) at `sample_rate`.
        Returns:
            shape (ceil(samples / hop), D); frame k describes the samples k * hop .. (k + 1) * hop.
        """
        ...

    def decode(self, latents: Latents, *, seed: int = 0) -> Audio:
        """Decode a whole trajectory: what a fresh `stream(seed=seed)` gives, with its delay still in it."""
        ...

    def stream(self, *, seed: int = 0, threads: int = 1) -> DecoderStream:
        """A fresh decoder stream. `threads`: 1 for a live engine, 0 for all cores (batch)."""
        ...
