"""Ardour's interpolation styles, one for a whole list.

Source: the laws are Ardour 7.3's, as its own `eval` shows them (tests ask it at random times).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from terrain_core.breakpoints import Doubles
from terrain_core.lanes import Lane, Shape

STYLES: Final = {
    "Discrete": Shape.HOLD,
    "Linear": Shape.LINEAR,
    "Curved": Shape.LINEAR,  # curved in the editor's fades only; automation is evaluated as straight lines
    "Logarithmic": Shape.EXPONENTIAL,
    "Exponential": Shape.LINEAR,  # between the positions of a fader, see `fader_position`
}

LEAST_GAIN: Final = 1e-7
"""What Ardour adds to both ends of a fader's segment, so that silence has a logarithm."""


def fader_position(gain: Doubles) -> Doubles:
    """Where a fader that goes to +6 dB stands for a gain of 0..2: 0..1."""
    decibels = 6.0 * np.log2(np.maximum(gain, 1e-300)) + 192.0
    return np.asarray(np.where(gain > 0, (np.maximum(decibels, 0.0) / 198.0) ** 8, 0.0))


def gain_of(position: Doubles) -> Doubles:
    """Undoes `fader_position`."""
    return np.asarray(np.where(position > 0, 2.0 ** ((np.maximum(position, 0.0) ** 0.125 * 198.0 - 192.0) / 6.0), 0.0))


def plain_lane(times: Doubles, values: Doubles, style: str, low: float, high: float) -> Lane:
    """The lane of a list in the values that it has, between `low` and `high`; fader curves become straight pieces."""
    lane = Lane(times, values, STYLES[style])
    if style != "Exponential" or high <= 0:
        return lane
    scale = 2.0 / high
    positions = Lane(times, fader_position((values + LEAST_GAIN) * scale), Shape.LINEAR)
    return positions.mapped(lambda position: gain_of(position) / scale - LEAST_GAIN)
