"""The pitch tracker of the built-in encoder: causal, one value per latent frame.

Candidates are minima of YIN's cumulative mean normalised difference (de Cheveigne and Kawahara, "YIN, a fundamental
frequency estimator for speech and music", JASA 2002, equation 8), found by FFT and refined on their multiples; a
Viterbi recursion over time, as in pYIN (Mauch and Dixon, ICASSP 2014), chooses among them. The recursion only looks
back, so that tracking a stream gives what tracking the whole file gives.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

SEGMENT = 4096
"""Samples the tracker looks at per frame, centred on the frame's centre."""
SHORTEST_LAG = 10
LONGEST_LAG = 1400
"""44.1 kHz over these: 4410 Hz down to 31.5 Hz."""
CANDIDATES = 8
UNVOICED_COST = 0.45
OCTAVE_PREFERENCE = 0.03
"""Added per octave of lag, so that of a period and its double, which fit alike, the shorter wins."""
JUMP_COST_PER_OCTAVE = 0.25
MOST_JUMP_COST = 0.30
VOICING_COST = 0.05
SILENCE_POWER = 1e-9
"""Mean square under which a segment (about -90 dBFS) has no pitch."""

_INTEGRATION = SEGMENT - LONGEST_LAG


@dataclass
class PitchState:
    """What the Viterbi recursion remembers of the previous frame. A value: copy it to branch a stream."""

    log2_hz: Float
    cost: Float
    held_hz: float = 261.6256
    """What an unvoiced frame reports: the last voiced pitch, at first middle C."""

    @staticmethod
    def initial() -> PitchState:
        return PitchState(np.zeros(0), np.zeros(0))


def difference(segments: Float) -> Float:
    """YIN's normalised difference d'. Shape (frames, SEGMENT) -> (frames, LONGEST_LAG + 1)."""
    head = segments[:, :_INTEGRATION]
    spectrum = np.fft.rfft(segments, SEGMENT, axis=1) * np.conj(np.fft.rfft(head, SEGMENT, axis=1))
    correlation = np.fft.irfft(spectrum, SEGMENT, axis=1)[:, : LONGEST_LAG + 1]
    energy = np.concatenate([np.zeros((len(segments), 1)), np.cumsum(segments**2, axis=1)], axis=1)
    moving = energy[:, _INTEGRATION : _INTEGRATION + LONGEST_LAG + 1] - energy[:, : LONGEST_LAG + 1]
    squared = np.maximum(moving[:, :1] + moving - 2 * correlation, 0.0)
    mean = np.cumsum(squared[:, 1:], axis=1) / np.arange(1, LONGEST_LAG + 1)
    normalised = np.ones_like(squared)
    normalised[:, 1:] = squared[:, 1:] / np.maximum(mean, 1e-12)
    return np.asarray(normalised)


def _parabola(values: Float, index: NDArray[np.int64]) -> Float:
    """Abscissa of the minimum of the parabola through values[index - 1 .. index + 1]; row by row."""
    rows = np.arange(len(values))[:, None]
    left, mid, right = (values[rows, index + d] for d in (-1, 0, 1))
    bend = left - 2 * mid + right
    shift = np.where(bend > 1e-12, 0.5 * (left - right) / np.maximum(bend, 1e-12), 0.0)
    return np.asarray(index + np.clip(shift, -0.5, 0.5))


def candidates(normalised: Float) -> tuple[Float, Float]:
    """The deepest minima of each frame.

    Returns:
        lags in samples (frames, CANDIDATES), fractional; costs (frames, CANDIDATES), infinity where there are fewer.
    """
    inner = normalised[:, 1:-1]
    is_minimum = (inner <= normalised[:, :-2]) & (inner < normalised[:, 2:])
    is_minimum[:, : SHORTEST_LAG - 1] = False
    lags = np.arange(1, LONGEST_LAG)
    biased = np.where(is_minimum, inner + OCTAVE_PREFERENCE * np.log2(lags / SHORTEST_LAG), np.inf)
    best = np.argpartition(biased, CANDIDATES, axis=1)[:, :CANDIDATES]
    costs = np.take_along_axis(biased, best, axis=1)
    fine = _parabola(normalised, best + 1)
    # A short lag is known only to a fraction of a sample; its multiples are minima too and divide that error.
    multiple = 2
    while multiple <= 32:
        centre = np.rint(fine * multiple).astype(np.int64)
        inside = centre < 360
        centre = np.clip(centre, 3, LONGEST_LAG - 3)
        rows = np.arange(len(normalised))[:, None, None]
        around = normalised[rows, centre[:, :, None] + np.arange(-2, 3)]
        centre += np.argmin(around, axis=2) - 2
        fine = np.where(inside, _parabola(normalised, centre) / multiple, fine)
        multiple *= 2
    return fine, costs


def track(segments: Float, sample_rate: float, state: PitchState) -> tuple[Float, Float, PitchState]:
    """Track the pitch through consecutive frames.

    Args:
        segments: (frames, SEGMENT), each centred on its frame.
        state: what the previous call returned, or `PitchState.initial()`.
    Returns:
        pitch in Hz (frames,), the last voiced value being held where there is none; voicing 0..1 (frames,), 1 minus the
        depth of the chosen minimum and 0 where unvoiced; the state for the next call.
    """
    lags, costs = candidates(difference(segments))
    costs = np.where((np.mean(segments**2, axis=1) > SILENCE_POWER)[:, None], costs, np.inf)
    log2_hz = np.log2(sample_rate / np.maximum(lags, 1.0))
    pitch, voicing = np.empty(len(segments)), np.empty(len(segments))
    for k in range(len(segments)):
        state = _step(log2_hz[k], costs[k], state)
        chosen = int(np.argmin(state.cost))
        if chosen < CANDIDATES:
            state.held_hz = float(2.0 ** log2_hz[k, chosen])
            depth = costs[k, chosen] - OCTAVE_PREFERENCE * np.log2(lags[k, chosen] / SHORTEST_LAG)
            voicing[k] = np.clip(1.0 - depth, 0.0, 1.0)
        else:
            voicing[k] = 0.0
        pitch[k] = state.held_hz
    return pitch, voicing, state


def _step(log2_hz: Float, costs: Float, state: PitchState) -> PitchState:
    """One Viterbi step; the last entry of the cost vector is the unvoiced state."""
    local = np.append(costs, UNVOICED_COST)
    if not len(state.cost):
        return PitchState(log2_hz, local, state.held_hz)
    jump = np.minimum(JUMP_COST_PER_OCTAVE * np.abs(log2_hz[:, None] - state.log2_hz[None]), MOST_JUMP_COST)
    to_voiced = np.minimum((jump + state.cost[None, :-1]).min(axis=1), state.cost[-1] + VOICING_COST)
    to_unvoiced = min(state.cost[:-1].min() + VOICING_COST, state.cost[-1])
    total = local + np.append(to_voiced, to_unvoiced)
    return PitchState(log2_hz, total - total.min(), state.held_hz)
