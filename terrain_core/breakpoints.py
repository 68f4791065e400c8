"""Finding the interval that a time lies in: what lanes and tempo maps have in common."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from terrain_core.errors import InputError

Doubles = NDArray[np.float64]


def as_finite(numbers: ArrayLike, what: str) -> Doubles:
    """`numbers` as float64, any shape.

    Raises:
        InputError: something that is not a number, NaN or infinite; says where.
    """
    array = as_doubles(numbers, what)
    finite = np.isfinite(array)
    if not finite.all():
        first = int(np.argmin(finite))
        raise InputError(f"{what}[{first}] is {array.flat[first]}, expected a finite number")
    return array


def as_doubles(numbers: ArrayLike, what: str) -> Doubles:
    """`numbers` as float64, whatever they are worth."""
    try:
        array = np.asarray(numbers)
    except ValueError:
        array = np.asarray(None)  # a ragged list
    if array.dtype.kind not in "fiub":
        raise InputError(f"{what} must be numbers, got {numbers!r:.60}")
    return np.asarray(array, dtype=np.float64)


def find_interval(starts: Doubles, queries: Doubles) -> NDArray[np.intp]:
    """For each query the number of `starts` that are not after it: 0 before the first, i + 1 from the i-th on.

    Where several intervals start together the last one wins. `np.searchsorted` does the same; when the queries come in
    order (audio does) and outnumber the starts, it is several times faster to look the starts up among the queries.

    Args:
        starts: shape (m,), in order.
        queries: shape (n,), finite, in any order.
    """
    if len(queries) <= len(starts) or not bool(np.all(queries[1:] >= queries[:-1])):
        return np.searchsorted(starts, queries, side="right")
    first_query = np.searchsorted(queries, starts, side="left")
    run_lengths = np.diff(first_query, prepend=0, append=len(queries))
    return np.repeat(np.arange(len(starts) + 1), run_lengths)
