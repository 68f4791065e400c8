"""What loopers cost beside the decoder: a chain of 1, 8 and 64, all playing, frame by frame as live.

The floor is the built-in decoder's own time for a frame on one thread.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

import terrain_core.errors
from benchmarks._numbers import note
from terrain_core.engine.controls import Controls, ControlState
from terrain_core.engine.effects import Frames
from terrain_core.instrument import Instrument
from terrain_core.looper import Layer, Looper, LooperChain

FRAMES = 500
FRAME_RATE = 44100 / 1024
DEFAULT = Path(terrain_core.errors.__file__).parent / "instruments/default.terrain"


def decoder_us(instrument: Instrument) -> float:
    """Microseconds a frame, decoded one at a time."""
    stream = instrument.autoencoder.stream(seed=0, threads=1)
    latents = np.repeat(instrument.autoencoder.latent_mean[np.newaxis], 1, axis=0)
    for _ in range(20):
        stream.decode(latents)
    began = time.perf_counter()
    for _ in range(FRAMES):
        stream.decode(latents)
    return (time.perf_counter() - began) / FRAMES * 1e6


def chain_us(instrument: Instrument, count: int) -> float:
    """Microseconds a frame, a frame at a time, as in a live engine with small blocks."""
    rng = np.random.default_rng(1)
    size = instrument.autoencoder.latent_size
    parts = [
        Looper(f"loop {n}").holding(Layer.of(np.arange(172) / 172, rng.normal(size=(172, size))), 4 + n / 7)
        for n in range(count)
    ]
    effect = LooperChain(*parts, mode="parallel").effect(instrument)
    values = ControlState().values[np.newaxis]
    latents = np.zeros((1, size), np.float32)
    runs = [Frames(k, Controls(values), np.array([k / FRAME_RATE * 2])) for k in range(FRAMES)]
    effect.process(latents, runs[0])
    began = time.perf_counter()
    for frames in runs:
        effect.process(latents, frames)
    return (time.perf_counter() - began) / FRAMES * 1e6


def main() -> None:
    instrument = Instrument.load(DEFAULT)
    floor = decoder_us(instrument)
    print(f"the built-in decoder: {floor:.0f} us a frame")
    for count in (1, 8, 64):
        taken = chain_us(instrument, count)
        ratio = taken / floor
        note(f"{count} loopers, a frame", taken, floor, "us", "the built-in decoder")
        print(f"{count:3} loopers: {taken:7.0f} us a frame, {ratio:5.2f} x the decoder; {taken / count:.0f} us each")


if __name__ == "__main__":
    main()
