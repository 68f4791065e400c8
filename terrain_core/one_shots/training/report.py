"""What the documentation shows of a one-shot model: held-out sounds beside their reconstructions."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from terrain_core import figures
from terrain_core.autoencoders.protocol import Audio
from terrain_core.autoencoders.training.losses import DB_PER_NEPER, LogMel
from terrain_core.one_shots.shards import Sounds
from terrain_core.one_shots.training.evaluate import Reconstruct

WINDOW, HOP, BANDS = 1024, 128, 96


def comparison(sounds: Sounds, reconstruct: Reconstruct) -> Figure:
    """The first sound of each label: waveform and log-mel spectrogram, the original's above the reconstruction's."""
    labels = list(dict.fromkeys(sound.label for sound in sounds.sounds))
    chosen = [next(i for i, sound in enumerate(sounds.sounds) if sound.label == label) for label in labels]
    figure = Figure(figsize=(2.2 * len(chosen), 6), dpi=90, layout="constrained", facecolor="white")
    panels = figure.subplots(4, len(chosen), squeeze=False)
    for column, index in enumerate(chosen):
        audio = np.array(sounds[index])
        for row, (title, sound) in enumerate((("original", audio), ("reconstruction", reconstruct(audio)))):
            _draw(panels[2 * row, column], panels[2 * row + 1, column], sound, sounds.sample_rate)
            panels[2 * row, column].set_title(f"{labels[column]}: {title}", fontsize=7, loc="left", color=figures.INK)
    return figure


def _draw(waveform: Axes, spectrogram: Axes, audio: Audio, rate: int) -> None:
    mono = audio.mean(axis=0)
    waveform.plot(np.arange(len(mono)) / rate, mono, linewidth=0.3, color=figures.INK)
    waveform.set_ylim(-1.1, 1.1)
    levels = LogMel(WINDOW, HOP, BANDS)(torch.from_numpy(mono)[None])[0].numpy() * DB_PER_NEPER
    colours = LinearSegmentedColormap.from_list("sound", figures.SPECTROGRAM)
    spectrogram.imshow(levels, origin="lower", aspect="auto", cmap=colours, vmin=-80, vmax=0)
    for panel in (waveform, spectrogram):
        panel.set_xticks([])
        panel.set_yticks([])
