"""Make the instrument that plays when none is named: terrain_core/instruments/default.terrain.

A map to be played at sight. X goes through seven timbres, from wind through flutes, voices, pads and strings to plucked
and struck metal; Y goes through three octaves of a pentatonic scale, low to high. Around each note lies a small
plateau, so that a hand that rests is in tune, and between plateaus the pitch glides. Inside a plateau X moves through
the frames of a real phrase, so that even a small gesture is alive.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from terrain_core import autoencoders, instrument
from terrain_core.autoencoders.features import MIDDLE_C_HZ
from terrain_core.autoencoders.training.corpus import FAMILIES, make_clip
from terrain_core.autoencoders.training.model import OCTAVES_PER_PITCH_UNIT
from terrain_core.sound_map import SoundMap
from terrain_core.terrain import Terrain
from terrain_core.terrain.fit import FitSettings, fit

OUT = Path(instrument.__file__).parent / "instruments" / "default.terrain"
FRAMES = 12
"""Latents that lie side by side in one plateau."""
STEPS = 112
"""Examples along X, for every timbre and the ways between them."""
LEVEL_DB = -17.0
"""RMS of the loudest frame of every timbre when it is held, its onset included, in dB of full scale."""
MOST_VIBRATO = 8 / 1800
"""What is kept of the phrase's own vibrato, in units of latent 0: 8 cents."""
PLATEAU = 0.62
"""Part of a note's band that is level."""
SCALE = (0, 3, 5, 7, 10)
"""Minor pentatonic, semitones."""
LOWEST_NOTE, OCTAVES = 45, 3


@dataclass(frozen=True)
class Column:
    """One timbre: the clip of the corpus' split "demo" it comes from.

    Attributes:
        family, turn: the clip is the family's `turn`-th.
        span: latent frames of the clip that are spread over a plateau; 1 where the sound dies away.
        after: frames that are passed over first, where the attack is not what is to be held.
    """

    name: str
    family: str
    turn: int
    span: int = 12
    after: int = 0


COLUMNS = (
    Column("wind", "noises", 0),
    Column("flute", "winds", 4),
    Column("voice", "voices", 1),
    Column("pad", "pads", 1),
    Column("strings", "bowed", 2),
    Column("plucked", "plucked", 3, span=1, after=5),
    Column("metal", "bars", 2, span=1, after=3),
)


def held_level_db(encoder: autoencoders.OnnxAutoencoder, frames: NDArray[np.float32]) -> float:
    """The loudest 23 ms of the frames' mean, held for half a second at middle C."""
    held = np.repeat(frames.mean(axis=0, keepdims=True), 24, axis=0)
    held[:, 0] = 0.0
    return float(20 * np.log10(encoder.decode(held)[0].reshape(24, -1).std(axis=1).max()))


def sounding_frames(encoder: autoencoders.OnnxAutoencoder, column: Column) -> NDArray[np.float32]:
    """FRAMES latents from the part of the column's clip that is loudest and steadiest in pitch, at LEVEL_DB."""
    audio = make_clip("demo", list(FAMILIES).index(column.family) + column.turn * len(FAMILIES)).audio
    gain = 1.0
    for _ in range(4):  # level is not linear in the latents, so it is approached
        latents = encoder.encode(gain * audio[None])
        frames = latents[_best_start(audio, latents, column.span) + column.after :][: column.span]
        gain *= 10 ** ((LEVEL_DB - held_level_db(encoder, frames)) / 20)
    places = np.linspace(0, column.span - 1, FRAMES)
    spread = [np.interp(places, np.arange(column.span), frames[:, d]) for d in range(frames.shape[1])]
    return np.stack(spread, axis=1).astype(np.float32)


def _best_start(audio: NDArray[np.float32], latents: NDArray[np.float32], span: int) -> int:
    whole = audio[: len(audio) // 1024 * 1024].reshape(-1, 1024)
    level_db = 10 * np.log10(np.mean(whole**2, axis=1) + 1e-9)
    starts = range(4, len(level_db) - span - 8)
    scores = [level_db[k : k + span].mean() - 100 * latents[k : k + span, 0].std() for k in starts]
    return starts[int(np.argmax(scores))]


def notes() -> NDArray[np.float64]:
    """Latent 0 of every note of the scale, low to high."""
    midi = [LOWEST_NOTE + 12 * octave + step for octave in range(OCTAVES) for step in SCALE] + [
        LOWEST_NOTE + 12 * OCTAVES
    ]
    hz = 440.0 * 2.0 ** ((np.array(midi) - 69) / 12)
    return np.asarray(np.log2(hz / MIDDLE_C_HZ) / OCTAVES_PER_PITCH_UNIT)


def across(encoder: autoencoders.OnnxAutoencoder) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """All timbres from left to right: places (n,) along X and latents (n, D), blended between one plateau and the next.

    Latent 0 holds only what vibrato is left.
    """
    width = 1 / len(COLUMNS)
    inside = (np.arange(FRAMES) / (FRAMES - 1) - 0.5) * PLATEAU * width
    places = np.concatenate([(i + 0.5) * width + inside for i in range(len(COLUMNS))])
    rows = []
    for column in COLUMNS:
        frames = sounding_frames(encoder, column)
        frames[:, 0] = np.clip(frames[:, 0] - np.median(frames[:, 0]), -MOST_VIBRATO, MOST_VIBRATO)
        rows.append(frames)
    latents = np.concatenate(rows)
    steps = (np.arange(STEPS) + 0.5) / STEPS
    blended = [np.interp(steps, places, latents[:, d]) for d in range(latents.shape[1])]
    return steps, np.stack(blended, axis=1).astype(np.float32)


def landscape(encoder: autoencoders.OnnxAutoencoder) -> tuple[NDArray[np.float64], NDArray[np.float32], list[str]]:
    """Coordinates (n, 2), latents (n, D) and names (n) of the terrain's examples."""
    pitches = notes()
    height = 1 / len(pitches)
    places, profile = across(encoder)
    coordinates, latents, names = [], [], []
    for j, pitch in enumerate(pitches):
        for dy in np.array([-0.5, 0.0, 0.5]) * PLATEAU * height:
            row = profile.copy()
            row[:, 0] += pitch
            coordinates.append(np.stack([places, np.full(STEPS, (j + 0.5) * height + dy)], axis=1))
            latents.append(row)
            names += [f"{COLUMNS[int(x * len(COLUMNS))].name} {j + 1}" for x in places]
    return np.concatenate(coordinates), np.concatenate(latents), names


def make(out: Path, epochs: int) -> None:
    encoder = autoencoders.load(autoencoders.BUILTIN)
    coordinates, latents, names = landscape(encoder)
    terrain = Terrain.create(
        2,
        encoder.latent_size,
        bounds=np.array([[0.0, 1.0], [0.0, 1.0]]),
        gauss_scale=4.0,
        width=192,
        features=256,
        seed=1,
    )
    report = fit(terrain, coordinates, latents, FitSettings(epochs=epochs, learning_rate=3e-3, batch_size=512))
    metadata = {
        "title": "Latent Terrain, the first landscape",
        "timbres": [column.name for column in COLUMNS],
        "scale": "A minor pentatonic, A2 to A5",
        "licence": "GPL-3.0-or-later",
    }
    rows = coordinates.reshape(-1, 3, STEPS, 2)[:, 1], latents.reshape(-1, 3, STEPS, encoder.latent_size)[:, 1]
    middle = slice(STEPS // len(COLUMNS) // 2, None, STEPS // len(COLUMNS))
    sounds = SoundMap(
        rows[0][:, middle].reshape(-1, 2),
        rows[1][:, middle].reshape(-1, encoder.latent_size),
        np.array(names).reshape(-1, 3, STEPS)[:, 1, middle].ravel().tolist(),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    instrument.Instrument(encoder, terrain, sounds, metadata=metadata).save(out)
    print(f"{out}: {len(coordinates)} examples, PSNR {report.psnr:.1f} dB, {out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--epochs", type=int, default=500)
    arguments = parser.parse_args()
    make(arguments.out, arguments.epochs)
