"""From trained weights to the shipped bundle: ONNX graphs that play, safetensors that train on, a card; all checked."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from terrain_core.autoencoders import bundles, features, noise, onnx_autoencoder
from terrain_core.autoencoders.training.dataset import Split
from terrain_core.autoencoders.training.model import (
    NOISE_BINS,
    Autoencoder,
    HarmonicHead,
    HeadState,
)
from terrain_core.autoencoders.training.train import save_weights

MOST_AUDIO_ERROR = 1e-5
"""Between torch and the graph, of full scale: float32 rounding through the partial bank's phases."""
MOST_LATENT_ERROR = 1e-3
"""Between torch and the graph, in standard deviations of a latent."""


class DecoderGraph(nn.Module):
    """Decoder trunk and harmonic head without the batch axis; a state of zeros is a clean start."""

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        assert isinstance(model.head, HarmonicHead)
        self.trunk, self.head = model.decoder, model.head

    def forward(
        self,
        latents: Tensor,
        noise: Tensor,
        cache: Tensor,
        phase: Tensor,
        octave: Tensor,
        level: Tensor,
        tail: Tensor,
        envelope: Tensor,
    ) -> tuple[Tensor, ...]:
        raw, cache_out = self.trunk(latents[None], cache[None])
        before = HeadState(phase[None], octave[None], level[None], tail[None], envelope[None])
        audio, after = self.head(raw, latents[None, :, 0], noise.reshape(1, -1, NOISE_BINS), before)
        return (
            audio,
            cache_out[0],
            after.phase[0],
            after.octave[0],
            after.level[0],
            after.noise_tail[0],
            after.envelope[0],
        )


class EncoderGraph(nn.Module):
    """Encoder without the batch axis; gives the posterior's mean."""

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        self.encoder = model.encoder

    def forward(self, feature: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        mean, _, cache_out = self.encoder(feature[None], cache[None])
        return mean[0], cache_out[0]


def _export(module: nn.Module, example: dict[str, Tensor], outputs: list[str], path: Path, dynamic: list[str]) -> None:
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter(
            "ignore"
        )  # the tracing exporter warns that it is the older of the two; it is the one that fits
        torch.onnx.export(
            module.eval(),
            tuple(example.values()),
            str(path),
            input_names=list(example),
            output_names=outputs,
            dynamic_axes={
                **{name: {0: "frames"} for name in dynamic},
                outputs[0]: {0 if "latents" in outputs else 1: "n"},
            },
            opset_version=17,
            dynamo=False,
        )


def latent_statistics(model: Autoencoder, split: Split, clips: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (D,) of the posterior's mean over a split."""
    rows = []
    with torch.inference_mode():
        for i in np.linspace(0, len(split.features) - 1, min(clips, len(split.features))).astype(int):
            rows.append(model.encode(torch.from_numpy(np.array(split.features[i]))[None])[0][0])
    latents = torch.cat(rows).numpy()
    return latents.mean(axis=0), latents.std(axis=0)


def standardise(model: Autoencoder, mean: np.ndarray, std: np.ndarray) -> None:
    """Rescale the latents to zero mean and unit variance, in place and exactly; the pitch latent keeps its meaning.

    A player's offset of 1 then means the same on every latent.
    """
    shift, scale = torch.from_numpy(mean[1:].copy()), torch.from_numpy(std[1:].copy())
    free = len(shift)
    with torch.no_grad():
        leave, enter = model.encoder.stack.leave, model.decoder.enter
        enter.bias.add_(enter.weight[:, 1:] @ shift)
        enter.weight[:, 1:] *= scale
        leave.weight[:free] /= scale[:, None]
        leave.bias[:free] = (leave.bias[:free] - shift) / scale
        leave.bias[free:] -= 2 * scale.log()


def export(model: Autoencoder, split: Split, folder: Path, notes: dict[str, object]) -> None:
    """Standardise the latents, write the bundle and check the graphs against torch over 64 frames in uneven chunks.

    Raises:
        RuntimeError: they differ by more than rounding explains; the figures are in the message.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.eval()
    standardise(model, *latent_statistics(model, split))
    size = model.config.latent_size
    trunk, head = model.decoder, HeadState.initial(1)
    decoder_example = {
        "latents": torch.randn(3, size),
        "noise": torch.rand(3, features.SUBFRAMES, NOISE_BINS),
        "cache": torch.zeros(trunk.cache_frames, trunk.width),
        "phase": head.phase[0],
        "octave": torch.zeros(1),
        "level": head.level[0],
        "tail": head.noise_tail[0],
        "envelope": head.envelope[0],
    }
    state_names = [f"{name}_out" for name in list(decoder_example)[2:]]
    _export(
        DecoderGraph(model),
        decoder_example,
        ["audio", *state_names],
        folder / onnx_autoencoder.DECODER,
        ["latents", "noise"],
    )
    stack = model.encoder.stack
    encoder_example = {
        "features": torch.randn(4, features.FEATURES),
        "cache": torch.zeros(stack.cache_frames, stack.width),
    }
    _export(
        EncoderGraph(model), encoder_example, ["latents", "cache_out"], folder / onnx_autoencoder.ENCODER, ["features"]
    )
    mean, std = latent_statistics(model, split)
    card = onnx_autoencoder.Card(
        name="builtin",
        sample_rate=features.SAMPLE_RATE,
        channels=1,
        latent_size=size,
        hop=features.HOP,
        delay=0,
        latent_mean=tuple(round(float(x), 6) for x in mean),
        latent_std=tuple(round(float(x), 6) for x in std),
        noise_per_frame=(features.SUBFRAMES, NOISE_BINS),
        features="harmonic-442",
        frames_per_call=1,
        notes={**notes, "config": model.config.as_dict()},
    )
    (folder / onnx_autoencoder.CARD).write_bytes(card.to_bytes())
    save_weights(model, folder / "weights.safetensors")
    of_audio, of_latents = compare(model, folder, split)
    if of_audio > MOST_AUDIO_ERROR or of_latents > MOST_LATENT_ERROR:
        raise RuntimeError(
            f"the graphs differ from torch by {of_audio:.1e} of full scale (at most {MOST_AUDIO_ERROR:.0e}) "
            f"and {of_latents:.1e} of a latent (at most {MOST_LATENT_ERROR:.0e})"
        )


def compare(model: Autoencoder, folder: Path, split: Split) -> tuple[float, float]:
    """Largest difference between torch and the graphs, of audio streamed in uneven chunks and of latents."""
    frames = 64
    feature = np.array(split.features[1][: frames + 1])
    with torch.inference_mode():
        mean = model.encode(torch.from_numpy(feature)[None])[0]
        drawn = noise.uniform(0, 0, frames, features.SUBFRAMES * NOISE_BINS).reshape(1, -1, NOISE_BINS)
        raw, _ = model.decoder(mean, model.decoder.empty_cache(1))
        assert isinstance(model.head, HarmonicHead)
        expected = model.head(raw, mean[..., 0], torch.from_numpy(drawn), HeadState.initial(1))[0].numpy()
    bundle = bundles.load(folder)
    session = bundle.session(onnx_autoencoder.ENCODER, 1)
    cache = np.zeros((model.encoder.stack.cache_frames, model.config.width), np.float32)
    latents = session.run(["latents"], {"features": feature, "cache": cache})[0]
    stream = bundle.stream()
    # The same latents to both: a pitch that differs by a rounding error drifts apart in phase.
    played = mean[0].numpy()
    got = np.concatenate([stream.decode(played[a:b]) for a, b in ((0, 1), (1, 20), (20, 64))], axis=1)
    return float(np.abs(got - expected).max()), float(np.abs(latents - mean[0].numpy()).max())
