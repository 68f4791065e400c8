"""Lanes and tempo maps that hypothesis draws for the writers of projects."""

from __future__ import annotations

from hypothesis import strategies as st

from terrain_core.lanes import Lane, Point, Shape
from terrain_core.tempo import Meter, TempoMap, TempoPoint


def lanes_of(values: st.SearchStrategy[float]) -> st.SearchStrategy[Lane]:
    """Lanes of X on eighths of a beat, of every shape."""
    beats = st.integers(0, 400).map(lambda n: n / 8)
    rows = st.tuples(beats, values, st.sampled_from(list(Shape)), st.floats(-1, 1))
    return st.lists(rows, min_size=1, max_size=12).map(
        lambda rows: Lane.from_points([Point(*row) for row in sorted(rows, key=lambda row: row[0])], name="X", key="x")
    )


lanes = lanes_of(st.floats(0, 1))

tempo_maps = st.lists(
    st.tuples(st.integers(0, 60), st.integers(40, 240), st.sampled_from(["step", "linear-beats", "linear-seconds"])),
    min_size=1,
    max_size=5,
    unique_by=lambda row: row[0],
).map(lambda rows: TempoMap([TempoPoint(*row) for row in sorted(rows)], [Meter(0, 4, 4), Meter(8, 7, 8)]))
