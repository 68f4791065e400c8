"""From the autoencoder's sample rate to the host's, in a stream, with a latency that is known beforehand."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

import numpy as np
import soxr

from terrain_core.autoencoders.protocol import Audio
from terrain_core.engine.clock import exact_rate

QUALITY: Final = "HQ"
"""soxr's 20-bit quality: linear phase, flat to 0.91 of the lower Nyquist frequency, images and aliases below -100
dB.
"""


class Resampler:
    """soxr's stream: sample n of its output belongs to the same moment as input at n / to_hz seconds, no filter delay
    in between.

    It only gives samples out some time after they could be known: soxr works in pieces. `latency` bounds that time,
    so whoever waits that long never waits in vain. Equal rates pass through untouched, at once.
    """

    def __init__(self, from_hz: float, to_hz: float, channels: int) -> None:
        self._rates = float(exact_rate(from_hz, "a sample rate")), float(exact_rate(to_hz, "a sample rate"))
        self._channels = channels
        self._passes_through = self._rates[0] == self._rates[1]
        self.latency = 0 if self._passes_through else latency_samples(*self._rates)
        """Output samples."""
        self.reset()

    def reset(self) -> None:
        """Forget the past; the next input sample is the first."""
        if not self._passes_through:
            self._stream = _stream(*self._rates, self._channels)

    def process(self, audio: Audio) -> Audio:
        """The next input (channels, samples); gives what output is ready, which may be none."""
        if self._passes_through:
            return audio
        resampled = self._stream.resample_chunk(np.ascontiguousarray(audio.T))
        return np.ascontiguousarray(resampled.T)


def _stream(from_hz: float, to_hz: float, channels: int) -> soxr.ResampleStream:
    return soxr.ResampleStream(from_hz, to_hz, channels, dtype="float32", quality=QUALITY)


@lru_cache
def latency_samples(from_hz: float, to_hz: float) -> int:
    """How many output samples soxr is behind its input at worst, whatever the size of the pieces it is fed with.
    Measured.

    What has come out depends on how much went in, not on how it was cut (a test holds soxr to that). So small pieces
    find the worst moment, up to one piece, which is added.
    """
    piece = 32
    stream = _stream(from_hz, to_hz, 1)
    silence = np.zeros((piece, 1), np.float32)
    ratio = to_hz / from_hz
    given = 0
    behind = 0.0
    for fed in range(piece, int(SECONDS_MEASURED * from_hz), piece):
        given += len(stream.resample_chunk(silence))
        behind = max(behind, fed * ratio - given)
    return math.ceil(behind + piece * ratio) + 1


SECONDS_MEASURED: Final = 5
"""Many times the longest period of soxr's pieces, which are shorter than 0.2 s at any usual rate."""
