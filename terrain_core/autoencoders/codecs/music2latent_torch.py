"""Music2Latent (a consistency model over spectra) as graphs: every frame from a window of its neighbours.

The network normalises over all the time it is given, so a stream cannot equal what it makes of a whole sound; each
frame is decoded in the middle of a window of its own, and how far that is from the whole is measured. The spectra
themselves join exactly. Its draws become an input, numbered by frame.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # torch's own name for it

from terrain_core.autoencoders.codecs import MUSIC2LATENT
from terrain_core.autoencoders.codecs.models_torch import Codec
from terrain_core.autoencoders.codecs.walk_torch import StreamedGraph, Walk

CONTEXT = 2
"""Frames on each side in a window."""
WINDOW = 2 * CONTEXT + 1
OVERLAP = 4
"""A spectrum is that many of its steps long."""


def open_music2latent(folder: Path) -> Codec:
    """The weights in a folder, without the package's own constructor, which fetches them from the net."""
    from music2latent.models import UNet

    model = UNet()
    weights = torch.load(folder / MUSIC2LATENT, map_location="cpu", weights_only=True)
    # The package's own loading is as lenient: the checkpoint holds more than the network.
    missing, _ = model.load_state_dict(weights["gen_state_dict"], strict=False)
    if missing:
        raise ValueError(f"{len(missing)} weights are missing, {missing[0]} among them")
    return Music2LatentCodec(model, 0)


class Music2LatentCodec(Codec):
    family = "Music2Latent"
    context = CONTEXT
    settles = None
    compared_from = CONTEXT
    encoder_is_ours = True
    frames_per_call = 1
    checked_frames = 10
    most_error = 2e-5
    statistics_from = "0 and 1, the scale that the package gives its latents; not measured on any sounds"

    def __init__(self, model: Any, codebooks: int) -> None:
        from music2latent import hparams, hparams_inference

        super().__init__(model, codebooks)
        torch.backends.mha.set_fastpath_enabled(False)  # it cannot be traced
        self.sample_rate, self.channels = int(hparams.sample_rate), 1
        self.step = int(hparams.hop)
        self.columns = 2 ** hparams.freq_downsample_list.count(0)
        self.hop, self.latent_size = self.step * self.columns, int(hparams.bottleneck_channels)
        self.bins, self.parts = 2 * self.step, int(hparams.data_channels)
        self.noise_per_frame = (self.parts * self.bins * self.columns,)
        self.sigma, self.rescale = float(hparams.sigma_max), float(hparams_inference.sigma_rescale)
        self.alpha, self.beta = float(hparams.alpha_rescale), float(hparams.beta_rescale)

    def decoder(self) -> StreamedGraph:
        return Music2LatentDecoderGraph(self)

    def encoder(self) -> StreamedGraph:
        return Music2LatentEncoderGraph(self)

    def spectra(self, latents: Tensor, noise: Tensor) -> Tensor:
        """Latents (b, D, frames) and noise (b, frames, draws) -> (b, 2, bins, frames · columns)."""
        count = latents.shape[2]
        drawn = noise.reshape(-1, count, self.parts, self.bins, self.columns).permute(0, 2, 3, 1, 4)
        drawn = drawn.reshape(-1, self.parts, self.bins, count * self.columns)
        found: Tensor = self.model(latents * self.rescale, drawn * self.sigma, self.sigma)
        return found

    def sound(self, spectra: Tensor) -> Tensor:
        """Spectra (2, bins, columns) -> what each column sounds like, (columns, 4 steps), to be added up."""
        scaled = spectra / self.beta
        size = (scaled.square().sum(0, keepdim=True) + 1e-30).sqrt()
        real, imaginary = scaled * size ** (1 / self.alpha - 1)
        cosine, sine, window = _bases(self.step, spectra.dtype)
        length = OVERLAP * self.step
        once = torch.ones(self.bins, 1, dtype=spectra.dtype) * 2
        once[0] = 1
        waves = (real.T @ (once * cosine) - imaginary.T @ (once * sine)) / length
        overlaps = window.square().reshape(OVERLAP, -1).sum(0).repeat(OVERLAP)
        sound: Tensor = waves * (window / overlaps)
        return sound

    def heard(self, audio: Tensor) -> Tensor:
        """Audio (b, samples) -> spectra (b, 2, bins, columns), as the encoder takes them."""
        cosine, sine, window = _bases(self.step, audio.dtype)
        kernels = torch.cat([cosine * window, -sine * window])[:, None]
        both = F.conv1d(audio[:, None], kernels, stride=self.step)
        spectra = both.reshape(-1, 2, self.bins, both.shape[2])
        size = (spectra.square().sum(1, keepdim=True) + 1e-30).sqrt()
        return self.beta * spectra * size ** (self.alpha - 1)

    def decode(self, latents: Tensor) -> Tensor:
        raise NotImplementedError("decoding without draws")

    def decode_with(self, latents: Tensor, noise: Tensor) -> Tensor:
        columns = self.sound(self.spectra(latents.T[None], noise[None])[0])
        length = (len(columns) + OVERLAP - 1) * self.step
        return _added(columns, self.step)[None, :length].clamp(-1, 1)

    def encode(self, audio: Tensor) -> Tensor:
        """Of a whole sound at once; what is behind its end is silence."""
        padded = F.pad(audio, (0, (OVERLAP - 1) * self.step))
        latents: Tensor = self.model.encoder(self.heard(padded))[0].T
        return latents / self.rescale

    def statistics(self) -> tuple[Tensor, Tensor]:
        return torch.zeros(self.latent_size), torch.ones(self.latent_size)


def _bases(step: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Cosines and sines (bins, 4 steps), and the window (4 steps,)."""
    length = OVERLAP * step
    turns = np.outer(np.arange(2 * step), np.arange(length)) % length * (2 * np.pi / length)
    cosine, sine = torch.from_numpy(np.cos(turns)).to(dtype), torch.from_numpy(np.sin(turns)).to(dtype)
    return cosine, sine, torch.hann_window(length, dtype=torch.float64).to(dtype)


def _added(columns: Tensor, step: int) -> Tensor:
    """Columns (n, 4 steps), each a step after the one before, added up: ((n + 3) · step,)."""
    parts = [
        F.pad(part.reshape(1, -1), (i * step, (OVERLAP - 1 - i) * step))[0]
        for i, part in enumerate(columns.chunk(OVERLAP, 1))
    ]
    return torch.stack(parts).sum(0)


class Music2LatentDecoderGraph(StreamedGraph):
    inputs = 2

    def __init__(self, codec: Music2LatentCodec) -> None:
        super().__init__()
        self.codec, self.model = codec, codec.model

    def walk(self, walk: Walk, *inputs: Tensor) -> Tensor:
        latents, noise = inputs
        codec = self.codec
        count = latents.shape[0]
        kept = walk.remembered(torch.cat([latents, noise], 1).T[None], WINDOW - 1)[0].T
        index = torch.arange(count)[:, None] + torch.arange(WINDOW)
        windows = kept[index]  # (n, WINDOW, D + draws)
        spectra = codec.spectra(windows[..., : codec.latent_size].transpose(1, 2), windows[..., codec.latent_size :])
        middle = spectra[..., CONTEXT * codec.columns : (CONTEXT + 1) * codec.columns]
        joined = middle.permute(1, 2, 0, 3).reshape(codec.parts, codec.bins, -1)
        sound = _added(codec.sound(joined), codec.step)
        over = (OVERLAP - 1) * codec.step
        tail = walk.take(over)
        sound = torch.cat([sound[:over] + tail, sound[over:]])
        walk.put(sound[-over:])
        walk.lag = CONTEXT * codec.hop
        return sound[None, :-over].clamp(-1, 1)


class Music2LatentEncoderGraph(StreamedGraph):
    def __init__(self, codec: Music2LatentCodec) -> None:
        super().__init__()
        self.codec, self.model = codec, codec.model.encoder

    def walk(self, walk: Walk, *inputs: Tensor) -> Tensor:
        codec = self.codec
        # A frame's last spectra reach into the next frame: one frame more has to be known.
        frames = WINDOW + 1
        whole = walk.remembered(inputs[0][None], (frames - 1) * codec.hop)[0, 0].reshape(-1, codec.hop)
        count = inputs[0].reshape(-1, codec.hop).shape[0]
        index = torch.arange(count)[:, None] + torch.arange(frames)
        audio = whole[index].reshape(-1, frames * codec.hop)[:, : WINDOW * codec.hop + (OVERLAP - 1) * codec.step]
        latents: Tensor = self.model(codec.heard(audio))[..., CONTEXT]
        walk.lag = (CONTEXT + 1) * codec.hop
        return latents / codec.rescale
