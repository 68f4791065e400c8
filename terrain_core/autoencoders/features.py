"""What the built-in encoder sees of a sound: spectra at two resolutions, harmonics' levels, envelope and pitch.

Computed in numpy at play time and at training time alike, for a whole file or for a stream: the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from terrain_core.autoencoders import pitch

SAMPLE_RATE = 44100
HOP = 1024
SUBFRAMES = 4
SUBHOP = HOP // SUBFRAMES
SHORT_WINDOW = 1024
SHORT_BANDS = 64
LONG_BANDS = 128
HARMONICS = 40
ENVELOPE_STEPS = 16
FLOOR = 1e-5
"""Added to magnitudes before the logarithm: -100 dBFS."""

REACH = pitch.SEGMENT // 2
"""The analysis of a frame reaches this many samples to both sides of its centre."""
LOOKAHEAD = REACH - HOP // 2
"""Samples beyond a frame's end that its analysis needs."""

FEATURES = SUBFRAMES * SHORT_BANDS + LONG_BANDS + HARMONICS + ENVELOPE_STEPS + 2
VOICING_COLUMN = FEATURES - 1
PITCH_COLUMN = FEATURES - 2
"""The column that holds log2(f0 / 261.6 Hz); the latent of pitch is this column times a constant."""

MIDDLE_C_HZ = 261.6256


def triangles(edges_hz: NDArray[np.float64], fft_size: int, sample_rate: float = SAMPLE_RATE) -> NDArray[np.float32]:
    """Overlapping triangular bands of unit area, at least one bin wide. Shape (fft_size // 2 + 1, len(edges) - 2)."""
    bin_hz = sample_rate / fft_size
    hz = np.arange(fft_size // 2 + 1)[:, None] * bin_hz
    low, centre, high = edges_hz[None, :-2], edges_hz[None, 1:-1], edges_hz[None, 2:]
    low, high = np.minimum(low, centre - bin_hz), np.maximum(high, centre + bin_hz)
    weights = np.clip(np.minimum((hz - low) / (centre - low), (high - hz) / (high - centre)), 0.0, None)
    return np.asarray(weights / np.maximum(weights.sum(axis=0), 1e-9), dtype=np.float32)


def mel_edges(low_hz: float, high_hz: float, bands: int) -> NDArray[np.float64]:
    """Band edges evenly spaced on the mel scale 2595 log10(1 + f / 700) (O'Shaughnessy 1987)."""
    low, high = 2595 * np.log10(1 + low_hz / 700), 2595 * np.log10(1 + high_hz / 700)
    return np.asarray(700 * (10 ** (np.linspace(low, high, bands + 2) / 2595) - 1))


_SHORT_FILTERS = triangles(mel_edges(30, 20000, SHORT_BANDS), SHORT_WINDOW)
_LONG_FILTERS = triangles(np.geomspace(40, 18000, LONG_BANDS + 2), pitch.SEGMENT)
_SHORT_HANN = np.hanning(SHORT_WINDOW + 1)[:-1].astype(np.float32)
_LONG_HANN = np.hanning(pitch.SEGMENT + 1)[:-1].astype(np.float32)


@dataclass
class FeatureStream:
    """Features of a stream of audio; frame k comes out once LOOKAHEAD samples beyond its end are known."""

    _pending: NDArray[np.float32] = field(default_factory=lambda: np.zeros(LOOKAHEAD, np.float32))
    _pitch: pitch.PitchState = field(default_factory=pitch.PitchState.initial)

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Append mono samples (n,), return the features of every frame that has become known: (frames, FEATURES)."""
        self._pending = np.concatenate([self._pending, samples])
        frames = max(0, (len(self._pending) - pitch.SEGMENT) // HOP + 1)
        if not frames:
            return np.zeros((0, FEATURES), np.float32)
        segments = np.lib.stride_tricks.sliding_window_view(self._pending, pitch.SEGMENT)[: frames * HOP : HOP]
        hz, voicing, self._pitch = pitch.track(segments.astype(np.float64), SAMPLE_RATE, self._pitch)
        features = _describe(segments, hz, voicing)
        self._pending = self._pending[frames * HOP :].copy()
        return features


def extract(samples: NDArray[np.float32], *, chunk: int = 256) -> NDArray[np.float32]:
    """Features of a whole sound (n,) -> (ceil(n / HOP), FEATURES)."""
    frames = -(-len(samples) // HOP)
    stream = FeatureStream()
    padded = np.concatenate([samples, np.zeros(frames * HOP - len(samples) + LOOKAHEAD, np.float32)])
    parts = [stream.push(padded[i : i + chunk * HOP]) for i in range(0, len(padded), chunk * HOP)]
    return np.concatenate([np.zeros((0, FEATURES), np.float32), *parts])[:frames]


def _describe(
    segments: NDArray[np.float32], hz: NDArray[np.float64], voicing: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Columns of the feature matrix, from segments (frames, SEGMENT) and their pitch."""
    frames = len(segments)
    centre = REACH - HOP // 2 + SUBHOP * np.arange(1, SUBFRAMES + 1)
    short = np.stack([segments[:, c - SHORT_WINDOW // 2 : c + SHORT_WINDOW // 2] for c in centre], axis=1)
    short_magnitude = np.abs(np.fft.rfft(short * _SHORT_HANN, axis=2)).astype(np.float32) * (4 / SHORT_WINDOW)
    long_magnitude = np.abs(np.fft.rfft(segments * _LONG_HANN, axis=1)).astype(np.float32) * (4 / pitch.SEGMENT)
    inner = segments[:, REACH - HOP // 2 : REACH + HOP // 2].reshape(frames, ENVELOPE_STEPS, -1)
    columns = [
        np.log(short_magnitude @ _SHORT_FILTERS + FLOOR).reshape(frames, -1),
        np.log(long_magnitude @ _LONG_FILTERS + FLOOR),
        np.log(_harmonic_levels(long_magnitude, hz) + FLOOR),
        np.log(np.sqrt(np.mean(inner**2, axis=2)) + FLOOR),
        np.log2(hz / MIDDLE_C_HZ)[:, None],
        voicing[:, None],
    ]
    return np.concatenate(columns, axis=1).astype(np.float32)


def _harmonic_levels(magnitude: NDArray[np.float32], hz: NDArray[np.float64]) -> NDArray[np.float32]:
    """The largest of the three bins around each multiple of the pitch; 0 above the Nyquist frequency."""
    bins = np.rint(hz[:, None] * np.arange(1, HARMONICS + 1) * pitch.SEGMENT / SAMPLE_RATE).astype(np.int64)
    top = magnitude.shape[1] - 2
    inside = bins <= top
    bins = np.clip(bins, 1, top)
    rows = np.arange(len(hz))[:, None]
    levels = np.maximum.reduce([magnitude[rows, bins + d] for d in (-1, 0, 1)])
    return np.where(inside, levels, np.float32(0.0))
