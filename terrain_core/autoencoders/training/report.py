"""What the documentation shows of the built-in autoencoder: a picture of originals beside their reconstructions."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import soundfile
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from terrain_core import figures
from terrain_core.autoencoders.features import SAMPLE_RATE
from terrain_core.autoencoders.training.corpus import FAMILIES
from terrain_core.autoencoders.training.dataset import Split
from terrain_core.autoencoders.training.evaluate import Reconstruct

COLUMNS = 300


def comparison(split: Split, reconstruct: Reconstruct, turn: int = 0) -> Figure:
    """One clip of each family: its spectrogram above, that of its reconstruction below."""
    across = 3
    down = -(-len(FAMILIES) // across)
    figure = Figure(figsize=(12, 3.4 * down), dpi=90, layout="constrained", facecolor="white")
    panels = figure.subplots(2 * down, across, sharex=True, sharey=True)
    for i, family in enumerate(FAMILIES):
        audio = np.array(split.audio[turn * len(FAMILIES) + i])
        row, column = 2 * (i // across), i % across
        for offset, (label, sound) in enumerate((("original", audio), ("reconstruction", reconstruct(audio)))):
            panel = panels[row + offset, column]
            _draw(panel, sound)
            panel.set_title(f"{family}: {label}", fontsize=9, loc="left", color=figures.INK)
            if column == 0:
                panel.set_ylabel("Hz", fontsize=8)
    for panel in panels[-1]:
        panel.set_xlabel("time in seconds", fontsize=8)
    return figure


def _draw(panel: Axes, audio: NDArray[np.float32]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sound.wav"
        soundfile.write(path, audio, SAMPLE_RATE, subtype="FLOAT")
        sound = figures.overview(path, columns=COLUMNS, bands=160)
    edges = np.arange(sound.levels_db.shape[1]) * sound.piece_seconds
    colours = LinearSegmentedColormap.from_list("sound", figures.SPECTROGRAM)
    panel.pcolormesh(edges, sound.frequencies, sound.levels_db, cmap=colours, vmin=-90, vmax=0, rasterized=True)
    panel.set_yscale("log")
    panel.tick_params(labelsize=7, colors=figures.INK, length=2)
