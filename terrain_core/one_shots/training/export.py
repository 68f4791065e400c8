"""From a trained model to what plays: ONNX graphs checked against torch, and an instrument of its own data."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from terrain_core.autoencoders import bundles
from terrain_core.autoencoders.one_shot import OneShotAutoencoder
from terrain_core.autoencoders.onnx_autoencoder import CARD, DECODER, ENCODER, ONE_SHOT, Card
from terrain_core.errors import InputError
from terrain_core.instrument import Instrument
from terrain_core.layouts import layout
from terrain_core.one_shots.kit import Kit, Pad
from terrain_core.one_shots.shards import Sounds
from terrain_core.one_shots.training.model import OneShotModel
from terrain_core.sound_map import SoundMap
from terrain_core.terrain import Terrain
from terrain_core.terrain.fit import FitSettings, fit
from terrain_core.trajectories.kinds import LatentTrajectory

MOST_ERROR = 1e-4
"""Between torch and the graphs, of full scale and of a latent's unit: float32 rounding through some thirty layers."""
OPSET = 17
FIRST_PAD = 36
"""General MIDI's first drum."""


class _EncoderGraph(nn.Module):
    def __init__(self, model: OneShotModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, audio: Tensor) -> Tensor:
        return self.model.encode(audio)[0]


class _DecoderGraph(nn.Module):
    def __init__(self, model: OneShotModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, latents: Tensor) -> Tensor:
        return self.model.decode(latents)


def encode_all(model: OneShotModel, sounds: Sounds, batch: int = 32) -> NDArray[np.float32]:
    """(n, D): the posterior's mean of every sound."""
    rows = []
    with torch.inference_mode():
        for start in range(0, len(sounds), batch):
            audio = sounds.batch(range(start, min(start + batch, len(sounds))))
            rows.append(model.encode(torch.from_numpy(audio))[0].numpy())
    return np.concatenate(rows)


def export(
    model: OneShotModel, sounds: Sounds, folder: Path, name: str, notes: Mapping[str, Any] | None = None
) -> OneShotAutoencoder:
    """Write the bundle (card, encoder, decoder) and check it against torch on some of the sounds.

    Args:
        sounds: what the model was trained on; they give the latents' mean and standard deviation.
        folder: to be made, or to be written over.
        name: the autoencoder's.
        notes: what else the card tells.
    Raises:
        InputError: the graphs differ from torch by more than rounding explains.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = model.cpu().eval()
    config = model.config
    audio = torch.zeros(1, config.channels, config.samples)
    _export(_EncoderGraph(model), audio, "audio", "latents", folder / ENCODER)
    _export(_DecoderGraph(model), torch.zeros(1, config.latent_size), "latents", "audio", folder / DECODER)
    latents = encode_all(model, sounds)
    card = Card(
        name=name,
        sample_rate=config.sample_rate,
        channels=config.channels,
        latent_size=config.latent_size,
        hop=config.samples,
        delay=0,
        latent_mean=tuple(round(float(x), 6) for x in latents.mean(axis=0)),
        latent_std=tuple(round(float(x), 6) for x in latents.std(axis=0)),
        frames_per_call=1,
        kind=ONE_SHOT,
        notes={"config": config.as_dict(), "sounds": len(sounds), **(notes or {})},
    )
    (folder / CARD).write_bytes(card.to_bytes())
    bundle = bundles.load(folder)
    assert isinstance(bundle, OneShotAutoencoder)
    of_latents, of_audio = compare(model, bundle, sounds)
    if max(of_latents, of_audio) > MOST_ERROR:
        raise InputError(
            f"the graphs differ from the model by {of_latents:.1e} of a latent and {of_audio:.1e} of full scale: "
            f"expected at most {MOST_ERROR:.0e}; nothing plays what was trained"
        )
    return bundle


def _export(module: nn.Module, example: Tensor, takes: str, gives: str, path: Path) -> None:
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # the tracing exporter says that it is the older one; it is the one that fits
        torch.onnx.export(
            module.eval(),
            (example,),
            str(path),
            input_names=[takes],
            output_names=[gives],
            dynamic_axes={takes: {0: "n"}, gives: {0: "n"}},
            opset_version=OPSET,
            dynamo=False,
        )


def compare(model: OneShotModel, bundle: OneShotAutoencoder, sounds: Sounds, count: int = 4) -> tuple[float, float]:
    """Largest differences between torch and the graphs, over some sounds: of latents, and of audio."""
    of_latents = of_audio = 0.0
    for index in range(min(count, len(sounds))):
        audio = np.array(sounds[index])
        with torch.inference_mode():
            mean = model.encode(torch.from_numpy(audio)[None])[0]
            expected = model.decode(mean)[0].numpy()
        of_latents = max(of_latents, float(np.abs(bundle.encode(audio)[0] - mean[0].numpy()).max()))
        of_audio = max(of_audio, float(np.abs(bundle.hit(mean[0].numpy()) - expected).max()))
    return of_latents, of_audio


def make_instrument(
    bundle: OneShotAutoencoder, sounds: Sounds, *, count: int = 256, seed: int = 0, epochs: int = 100
) -> Instrument:
    """An instrument of the model's own data: sound map and terrain of some of its sounds, and a pad for each of up to
    sixteen, kinds taking turns.

    Args:
        sounds: the data; evenly spread ones are taken.
        count: of sounds on the map.
    """
    chosen = np.unique(np.linspace(0, len(sounds) - 1, min(count, len(sounds))).astype(int))
    known = [sounds.sounds[i] for i in chosen]
    latents = np.stack([bundle.encode(np.array(sounds[i]))[0] for i in chosen])
    trajectories = [
        LatentTrajectory(sound.name, latent[np.newaxis]) for sound, latent in zip(known, latents, strict=True)
    ]
    places = layout("map", trajectories, seed=seed)
    points = np.concatenate([path.points for path in places.trajectories])
    low, high = places.bounds.T
    terrain = Terrain.create(
        2,
        bundle.latent_size,
        bounds=places.bounds,
        gauss_scale=places.gauss_scale,
        width=128,
        features=256,
        seed=seed,
    )
    fit(terrain, points, latents, FitSettings(epochs=epochs, seed=seed))
    unit = (points - low) / (high - low)
    kit = Kit(_pads([sound.label for sound in known], unit, seed))
    metadata = {"layout": "map", "sounds": [sound.name for sound in known]}
    sound_map = SoundMap(unit, latents, [sound.name for sound in known])
    return Instrument(bundle, terrain, sound_map, {"Kit": {"source": 1, "snap": 1}}, metadata, kit=kit)


def _pads(labels: list[str], unit: NDArray[np.float64], seed: int) -> tuple[Pad, ...]:
    """Sixteen pads from the first drum key on, kinds taking turns. Kinds of hats choke each other."""
    kinds = sorted(set(labels))
    rng = np.random.default_rng(seed)
    waiting = {kind: list(rng.permutation([i for i, label in enumerate(labels) if label == kind])) for kind in kinds}
    pads: list[Pad] = []
    while len(pads) < 16 and any(waiting.values()):
        for kind in kinds:
            if waiting[kind] and len(pads) < 16:
                x, y = unit[int(waiting[kind].pop())].tolist()
                name = f"{kind} {sum(pad.name.startswith(kind) for pad in pads) + 1}" if kind else ""
                pads.append(Pad(FIRST_PAD + len(pads), x, y, name, choke=1 if "hat" in kind.split() else 0))
    return tuple(pads)
