"""Variations of a sound for training: what a musician would still call the same kind of sound."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from terrain_core.audio_files import resample
from terrain_core.autoencoders.protocol import Audio
from terrain_core.errors import InputError


@dataclass(frozen=True)
class Augment:
    """What is done to a sound, each by chance and each keeping its length and peak.

    Attributes:
        semitones: tuned up or down by as much, by changing its speed.
        flip: chance of the other polarity.
        shorten: chance of a faster decay.
    """

    semitones: float = 1.0
    flip: float = 0.0
    shorten: float = 0.25

    def __post_init__(self) -> None:
        if not 0 <= self.semitones <= 24 or not 0 <= self.flip <= 1 or not 0 <= self.shorten <= 1:
            raise InputError(f"{self} is out of range: expected 0 to 24 semitones and chances from 0 to 1")

    def __call__(self, sound: Audio, sample_rate: int, rng: np.random.Generator) -> Audio:
        """(channels, samples) -> the same shape."""
        samples, peak = sound.shape[1], float(np.abs(sound).max())
        turns = rng.random(4)
        if self.semitones:
            ratio = 2 ** (self.semitones * (2 * turns[0] - 1) / 12)
            tuned = resample(np.ascontiguousarray(sound), round(sample_rate * ratio), sample_rate)[:, :samples]
            sound = np.pad(tuned, ((0, 0), (0, samples - tuned.shape[1])))
        if turns[1] < self.flip:
            sound = -sound
        if turns[2] < self.shorten:
            seconds = np.arange(samples) / sample_rate
            sound = sound * np.exp(-seconds / (0.05 + 0.5 * turns[3])).astype(np.float32)
        loudest = float(np.abs(sound).max())
        return np.asarray(sound * (peak / loudest) if loudest else sound, np.float32)
