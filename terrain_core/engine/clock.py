"""Which host sample starts which latent frame. Whole numbers and fractions only, so that nothing drifts."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from terrain_core.errors import InputError


def exact_rate(rate_hz: float, what: str) -> Fraction:
    """A sample rate as an exact fraction (hosts give doubles; 44100.0 and 47952.047… must both work).

    Raises:
        InputError: not a rate between 1 kHz and 1 MHz.
    """
    if not (math.isfinite(rate_hz) and 1_000 <= rate_hz <= 1_000_000):
        raise InputError(f"{what} is {rate_hz} Hz: expected 1000 to 1000000 Hz")
    return Fraction(rate_hz).limit_denominator(1000)


class FrameClock:
    """Frame k starts t_k = k * hop / model_rate seconds after the stream's first host sample.

    Its controls are read at the last host sample that is not later than t_k, called its due sample: a step of a
    parameter at that very sample counts, and the frame can be computed in the block that holds the sample, never a
    block later.
    """

    def __init__(self, hop: int, model_rate_hz: float, host_rate_hz: float) -> None:
        model_rate = exact_rate(model_rate_hz, "the autoencoder's sample rate")
        host_rate = exact_rate(host_rate_hz, "the host's sample rate")
        self.host_rate = float(host_rate)
        self.frame_rate = float(model_rate / hop)
        """Frames per second."""
        step = hop * host_rate / model_rate
        self._step = step.numerator, step.denominator  # host samples per frame, as a fraction

    def due(self, first: int, last: int) -> NDArray[np.int64]:
        """Due samples of the frames first .. last - 1, counted from the stream's first host sample."""
        numerator, denominator = self._step
        return np.arange(first, last, dtype=np.int64) * numerator // denominator

    def frames_due_before(self, sample: int) -> int:
        """How many frames have their due sample before this one."""
        numerator, denominator = self._step
        return -(-max(sample, 0) * denominator // numerator)  # rounded up
