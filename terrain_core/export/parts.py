"""What of an instrument can be taken out, and what the engine itself makes of the same controls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from terrain_core.autoencoders import OnnxAutoencoder
from terrain_core.autoencoders.protocol import Audio
from terrain_core.engine import Block, Engine, ParameterPoint
from terrain_core.errors import FileError
from terrain_core.instrument import Instrument
from terrain_core.parameters import by_key
from terrain_core.terrain import Terrain

PLAYED = 3
"""Control dimensions that a player moves: X, Y and Z; any others stay in the middle."""


def playable_parts(instrument: Instrument, path: str) -> tuple[Terrain, OnnxAutoencoder]:
    """The terrain and the decoder of an instrument that can be exported.

    Args:
        path: what errors call the instrument.
    Raises:
        FileError: it has no terrain, or its autoencoder is a TorchScript, not a bundle.
    """
    if instrument.terrain is None:
        raise FileError(path, "has no terrain, only a sound map", hint="terrain fit makes a terrain of it")
    if not isinstance(instrument.autoencoder, OnnxAutoencoder):
        raise FileError(
            path,
            "plays a TorchScript, which cannot be put into another model",
            hint="terrain convert makes a bundle of it; build the instrument with that",
        )
    return instrument.terrain, instrument.autoencoder


def engine_output(instrument: Instrument, lanes: Mapping[str, NDArray[np.float64]], seed: int = 0) -> Audio:
    """What the engine plays, one value of each lane per latent frame, at the autoencoder's own sample rate.

    Args:
        lanes: parameter key -> (frames,) plain values, all equally many.
    Returns:
        (channels, frames * hop), the decoder's delay still in it.
    """
    hop = instrument.autoencoder.hop
    engine = Engine(instrument, instrument.autoencoder.sample_rate, max_block=hop, seed=seed)
    engine.reset()
    ids = {by_key(key).id: values for key, values in lanes.items()}
    frames = len(next(iter(lanes.values())))
    parts = []
    for k in range(frames):
        points = [
            ParameterPoint(offset=0, parameter_id=number, value=float(values[k])) for number, values in ids.items()
        ]
        parts.append(engine.process(Block(hop, points=points)))
    return np.concatenate(parts, axis=1)


CHECKED_FRAMES = 32

Lanes = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Check:
    """How an export differs from the engine.

    Attributes:
        error: of full scale.
        checked_frames: over which a gesture was played by both.
    """

    error: float
    checked_frames: int = CHECKED_FRAMES


def against_engine(instrument: Instrument, player: Callable[[Lanes], Audio], path: str, most: float) -> Check:
    """Play the same gesture with an export and with the engine.

    Args:
        player: what the export makes of lanes, (channels, frames * hop), with noise of seed 0.
        path: what errors call the instrument.
        most: the largest difference allowed, of full scale.
    Raises:
        FileError: they differ by more.
    """
    assert instrument.terrain is not None
    lanes = gesture(instrument.terrain.control_size, CHECKED_FRAMES)
    error = float(np.abs(player(lanes) - engine_output(instrument, lanes)).max())
    if not error <= most:
        raise FileError(
            path,
            f"what was exported differs from the engine by {error:.1e} of full scale (at most {most})",
            hint="nothing was written",
        )
    return Check(error)


def gesture(control_size: int, frames: int, seed: int = 0) -> Lanes:
    """A gesture to try an export with: x, y, perhaps z, and pressure, (frames,) each, single-precision values."""
    random = np.random.default_rng(seed)
    keys = [*("x", "y", "z")[: min(control_size, PLAYED)], "pressure"]
    steps = random.normal(0, 0.06, (len(keys), frames)).cumsum(axis=1) + random.uniform(0.2, 0.8, (len(keys), 1))
    folded = np.abs((steps + 1) % 2 - 1).astype(np.float32).astype(np.float64)  # back and forth between 0 and 1
    return dict(zip(keys, folded, strict=True))
