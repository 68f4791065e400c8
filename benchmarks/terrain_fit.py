"""Fitting a terrain: quality and time of `terrain_core.terrain.fit` beside plain Adam, on the same data, in one run.

    python benchmarks/terrain_fit.py [--sounds N] [--frames N] [--latents D] [--audio FILE...] [--plain-epochs N]

Plain Adam is nn.terrain's training: the usual torch loop with a constant learning rate of 1e-3, batches of 64, from
PyTorch's default initialisation, for 2000 epochs. Both start from the same weights and run on one thread. The data are
sounds on packed curves: smooth random latents, or files encoded with the built-in autoencoder (`--audio`).

PSNR as in `terrain_core.terrain.quality`: coordinates jittered by N(0, 0.001) of the bounds, in dB below the range of
the latents. "no jitter" is the same without it: how well the points themselves are met.

Goal: PSNR no lower than plain Adam's, in a tenth of its time.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks._numbers import note
from terrain_core.layouts import packed
from terrain_core.pairing import Pairing, pair
from terrain_core.terrain import Terrain
from terrain_core.terrain.adam_torch import FourierNetwork
from terrain_core.terrain.fit import FitSettings, fit
from terrain_core.terrain.quality import decibels, psnr
from terrain_core.trajectories import LatentTrajectory, encode_files

WIDTH, FEATURES = 128, 256  # nn.terrain's defaults
FRAME_RATE = 43.0


@dataclass(frozen=True)
class Result:
    """What a fit reached."""

    seconds: float
    psnr: float
    psnr_at_points: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sounds", type=int, default=36)
    parser.add_argument("--frames", type=int, default=22, help="per sound")
    parser.add_argument("--latents", type=int, nargs="*", default=[8])
    parser.add_argument("--audio", nargs="*", default=[], help="sound files, instead of random latents")
    parser.add_argument("--plain-epochs", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'data':28} {'fit':22} {'seconds':>8} {'of plain':>9} {'PSNR dB':>8} {'no jitter':>10}")
    for seed in range(options.seeds):
        if options.audio:
            compare(f"{len(options.audio)} files", encoded(options.audio), seed, options.plain_epochs)
        else:
            for latent_size in options.latents:
                sounds = smooth_sounds(options.sounds, options.frames, latent_size, seed)
                name = f"{options.sounds} x {options.frames}, {latent_size} latents"
                compare(name, sounds, seed, options.plain_epochs)


def smooth_sounds(count: int, frames: int, latent_size: int, seed: int) -> list[LatentTrajectory]:
    """Random walks through the latent space, with a correlation of a few frames, around a centre for each sound."""
    random = np.random.default_rng(seed)
    kernel = np.hanning(9)
    kernel /= np.linalg.norm(kernel)
    sounds = []
    for number in range(count):
        noise = random.normal(size=(frames + 8, latent_size))
        walk = np.stack([np.convolve(axis, kernel, mode="valid") for axis in noise.T], axis=1)
        latents = (walk + random.normal(size=latent_size)).astype(np.float32)
        sounds.append(LatentTrajectory(str(number), latents, FRAME_RATE))
    return sounds


def encoded(paths: list[str]) -> list[LatentTrajectory]:
    from terrain_core.autoencoders import load

    files = encode_files(paths, load("builtin"))
    for problem in files.problems:
        print(problem)
    return list(files.trajectories)


def compare(name: str, sounds: list[LatentTrajectory], seed: int, plain_epochs: int) -> None:
    layout = packed(sounds, seed=seed)
    pairing = pair(layout.trajectories, sounds)

    def untrained() -> Terrain:
        size = sounds[0].latent_size
        return Terrain.create(
            2, size, bounds=layout.bounds, gauss_scale=layout.gauss_scale, width=WIDTH, features=FEATURES, seed=seed
        )

    plain = plain_adam(untrained(), pairing, plain_epochs, seed)
    rows = {
        f"plain Adam, {plain_epochs} epochs": plain,
        "closed form alone": ours(untrained(), pairing, FitSettings(epochs=0)),
        "ours": ours(untrained(), pairing, FitSettings(seed=seed)),
        "ours, jittered": ours(untrained(), pairing, FitSettings(seed=seed, jitter=0.001)),
    }
    for label, result in rows.items():
        ratio = result.seconds / plain.seconds
        note(f"{name}, {label}: time", result.seconds, plain.seconds, "s", "plain Adam")
        note(f"{name}, {label}: PSNR", result.psnr, plain.psnr, "dB", "plain Adam", lower_is_better=False)
        print(
            f"{name:28} {label:22} {result.seconds:8.2f} {ratio:9.4f} {result.psnr:8.2f} {result.psnr_at_points:10.2f}",
            flush=True,
        )


def ours(terrain: Terrain, pairing: Pairing, settings: FitSettings) -> Result:
    started = time.perf_counter()
    fit(terrain, pairing.coordinates, pairing.latents, settings)
    return measured(terrain, pairing, time.perf_counter() - started)


def plain_adam(terrain: Terrain, pairing: Pairing, epochs: int, seed: int) -> Result:
    """The loop that one writes first. The Fourier features are computed once; nn.terrain does it for each batch."""
    torch.manual_seed(seed)
    network = FourierNetwork(terrain.architecture)
    network.load_state_dict({name: torch.tensor(array) for name, array in terrain.weights.items()})
    started = time.perf_counter()
    features = torch.tensor(terrain.network.inputs(pairing.coordinates))
    targets = torch.tensor(pairing.latents)
    layers = torch.nn.Sequential(*network.layers)
    optimiser = torch.optim.Adam(layers.parameters(), lr=1e-3)
    for _ in range(epochs):
        for chosen in torch.split(torch.randperm(len(targets)), 64):
            loss = torch.nn.functional.mse_loss(layers(features[chosen]), targets[chosen])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    seconds = time.perf_counter() - started
    terrain.replace_weights({name: tensor.numpy() for name, tensor in network.state_dict().items()})
    return measured(terrain, pairing, seconds)


def measured(terrain: Terrain, pairing: Pairing, seconds: float) -> Result:
    targets: NDArray[np.float32] = pairing.latents
    error = float(np.square(terrain(pairing.coordinates) - targets).mean(dtype=np.float64))
    quality = psnr(terrain, pairing.coordinates, targets)
    return Result(seconds, quality, decibels(error, float(np.ptp(targets))))


if __name__ == "__main__":
    main()
