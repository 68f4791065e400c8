"""Drums out of nothing but numbers: what the shipped drum instrument was trained on. Same kind, seed and rate, same
samples.

Each kind is a handful of partials with falling pitch, filtered noise and envelopes, all of whose settings are drawn
from the seed; the recipes are the textbook ones of analogue drum machines.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

from terrain_core.errors import InputError

SAMPLE_RATE: Final = 44100
Mono = NDArray[np.float64]


class Hit:
    """The tools of one hit: its random numbers and its time axis of `seconds`."""

    def __init__(self, rng: np.random.Generator, seconds: float) -> None:
        self.rng = rng
        self.time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE

    def pick(self, low: float, high: float) -> float:
        """A number between the two, evenly spread over the logarithm: times, frequencies and levels all are so."""
        return float(np.exp(self.rng.uniform(np.log(low), np.log(high))))

    def decay(self, seconds: float) -> Mono:
        """Falls by 60 dB in this time."""
        return np.asarray(np.exp(-6.908 * self.time / seconds))

    def sweep(self, start_hz: float, end_hz: float, seconds: float) -> Mono:
        """A sine that falls exponentially from one frequency to another; begins at a zero crossing."""
        hz = end_hz + (start_hz - end_hz) * np.exp(-self.time * 4 / seconds)
        return np.asarray(np.sin(2 * np.pi * np.cumsum(hz) / SAMPLE_RATE))

    def noise(self, low_hz: float, high_hz: float) -> Mono:
        """White noise between two frequencies, unit variance before the filter's loss is made up."""
        high_hz = min(high_hz, 0.45 * SAMPLE_RATE)
        bands = butter(2, (min(low_hz, 0.8 * high_hz), high_hz), "bandpass", fs=SAMPLE_RATE, output="sos")
        noise = sosfilt(bands, self.rng.standard_normal(len(self.time)))
        return np.asarray(noise / (noise.std() + 1e-12))

    def rise(self, seconds: float) -> Mono:
        """From 0 to 1, in a straight line."""
        return np.asarray(np.minimum(1.0, (self.time * SAMPLE_RATE + 1) / (seconds * SAMPLE_RATE)))


def _kick(hit: Hit) -> Mono:
    low = hit.pick(38, 70)
    length = hit.pick(0.15, 0.5)
    body = hit.sweep(low * hit.pick(2, 9), low, hit.pick(0.02, 0.12)) * hit.decay(length)
    click = hit.noise(900, 9000) * hit.decay(hit.pick(0.004, 0.02)) * hit.pick(0.02, 0.4)
    drive = hit.pick(1, 4)
    return np.asarray(np.tanh(drive * body) / np.tanh(drive) + click)


def _snare(hit: Hit) -> Mono:
    first = hit.pick(140, 260)
    length = hit.pick(0.06, 0.22)
    body = hit.sweep(first * 1.6, first, 0.02) + 0.6 * hit.sweep(first * 2.2, first * 1.58, 0.02)
    rattle = hit.noise(hit.pick(700, 2500), hit.pick(7000, 16000)) * hit.decay(hit.pick(0.08, 0.4))
    return np.asarray(body * hit.decay(length) + hit.pick(0.25, 1.2) * rattle)


def _metal(hit: Hit, length: float) -> Mono:
    base = hit.pick(260, 520)
    ratios = (1.0, 1.342, 1.2312, 1.6532, 1.9523, 2.1523)
    squares = sum(np.sign(np.sin(2 * np.pi * base * ratio * hit.time + ratio)) for ratio in ratios)
    low = hit.pick(5000, 9000)
    bands = butter(4, low, "highpass", fs=SAMPLE_RATE, output="sos")
    ring = sosfilt(bands, np.asarray(squares))
    mix = hit.pick(0.2, 2)
    sizzle = hit.noise(low, 18000)
    return np.asarray((ring / (ring.std() + 1e-12) * mix + sizzle) * hit.decay(length) * hit.rise(0.0005))


def _closed_hat(hit: Hit) -> Mono:
    return _metal(hit, hit.pick(0.03, 0.12))


def _open_hat(hit: Hit) -> Mono:
    return _metal(hit, hit.pick(0.25, 0.7))


def _tom(hit: Hit) -> Mono:
    low = hit.pick(75, 240)
    length = hit.pick(0.15, 0.45)
    body = hit.sweep(low * hit.pick(1.2, 2), low, hit.pick(0.05, 0.2)) * hit.decay(length)
    second = hit.pick(0.05, 0.4) * hit.sweep(low * 2.4, low * 1.59, 0.05) * hit.decay(length * 0.6)
    skin = hit.pick(0.02, 0.3) * hit.noise(200, 4000) * hit.decay(0.03)
    return np.asarray(body + second + skin)


def _clap(hit: Hit) -> Mono:
    middle = hit.pick(900, 1900)
    noise = hit.noise(middle * 0.6, middle * hit.pick(1.6, 4))
    gap = hit.pick(0.007, 0.014)
    envelope = hit.decay(hit.pick(0.1, 0.4)) * 0.7
    for hand in range(int(hit.rng.integers(2, 4))):
        since = hit.time - gap * hand
        envelope = np.where((since >= 0) & (since < gap), np.exp(-since / (gap * 0.25)), envelope)
    return np.asarray(noise * envelope)


def _click(hit: Hit) -> Mono:
    hz = hit.pick(700, 3200)
    wood = hit.sweep(hz * hit.pick(1.0, 1.5), hz, 0.005) + hit.pick(0.1, 0.8) * hit.sweep(hz * 1.5, hz * 1.48, 0.005)
    snap = hit.pick(0.05, 0.8) * hit.noise(2000, 12000) * hit.decay(0.008)
    return np.asarray(wood * hit.decay(hit.pick(0.02, 0.1)) + snap)


KINDS: Final = MappingProxyType[str, Callable[[Hit], Mono]](
    {
        "kick": _kick,
        "snare": _snare,
        "closed hat": _closed_hat,
        "open hat": _open_hat,
        "tom": _tom,
        "clap": _clap,
        "click": _click,
    }
)


def drum(kind: str, seed: int, seconds: float = 0.5) -> NDArray[np.float32]:
    """One drum.

    Args:
        kind: a key of `KINDS`.
        seed: which drum of that kind.
        seconds: its length; the last 5 ms fade out.
    Returns:
        (1, samples) at 44.1 kHz, peak 1; the first sample already sounds.
    Raises:
        InputError: no such kind.
    """
    if kind not in KINDS:
        raise InputError(f"no drum is called {kind!r}: expected one of {', '.join(KINDS)}")
    rng = np.random.default_rng([list(KINDS).index(kind), seed])
    audio = KINDS[kind](Hit(rng, seconds))
    fade = min(len(audio), round(0.005 * SAMPLE_RATE))
    audio[len(audio) - fade :] *= np.linspace(1, 0, fade)
    return np.asarray(audio / np.abs(audio).max(), np.float32)[np.newaxis]
