"""Pictures of chains: each loop as a ring, and its passes over the bars of a piece."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from terrain_core.looper.chain import LooperChain
from terrain_core.looper.looper import Looper

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.projections.polar import PolarAxes

RING_STEPS = 256


def chain_figure(chain: LooperChain, bars: int, beats_a_bar: float = 4.0) -> Figure:
    """Left the loops as rings, clockwise from the top, the first outermost, coloured by their latents' first principal
    direction; right a row for each looper, its passes over the bars.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 1.2 + 0.5 * max(len(chain.loopers), 5)), layout="constrained")
    rings = figure.add_subplot(1, 2, 1, projection="polar")
    rows = figure.add_subplot(1, 2, 2)
    _rings(rings, chain)  # type: ignore[arg-type]
    _rows(rows, chain, bars, beats_a_bar)
    return figure


def _rings(axes: PolarAxes, chain: LooperChain) -> None:
    axes.set_theta_zero_location("N")
    axes.set_theta_direction(-1)
    count = len(chain.loopers)
    angles = np.linspace(0, 2 * np.pi, RING_STEPS + 1)
    for index, part in enumerate(chain.loopers):
        outer = count - index + 1.0
        if part.layer is not None:
            shades = _shades(part, (np.arange(RING_STEPS) + 0.5) / RING_STEPS)
            axes.pcolormesh(angles, [outer - 0.8, outer], shades[np.newaxis], cmap="viridis", vmin=0, vmax=1)
        axes.text(0, outer - 0.4, f" {part.name}", fontsize=7, va="center", color="white")
    axes.set_yticks([])
    axes.set_xticks(np.arange(4) * np.pi / 2, ["0", "1/4", "1/2", "3/4"])
    axes.set_ylim(0, count + 1.2)
    axes.grid(visible=False)


def _shades(part: Looper, phases: np.ndarray) -> np.ndarray:
    """0..1 along the loop."""
    assert part.layer is not None
    vectors = part.layer.at(phases)
    centred = vectors - vectors.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    line = centred @ directions[0]
    spread = float(np.ptp(line))
    return np.full(len(line), 0.5) if spread == 0 else (line - line.min()) / spread


def _rows(axes: Axes, chain: LooperChain, bars: int, beats_a_bar: float) -> None:
    end = bars * beats_a_bar
    for index, part in enumerate(chain.loopers):
        spans = _song_passes(chain, part.name, end) if chain.mode == "song" else _passes(part, end)
        colours = ["tab:blue" if n % 2 == 0 else "tab:cyan" for n in range(len(spans))]
        axes.broken_barh(
            [(begin / beats_a_bar, length / beats_a_bar) for begin, length in spans], (index - 0.4, 0.8), color=colours
        )
    axes.set_yticks(range(len(chain.loopers)), [part.name for part in chain.loopers])
    axes.set_xlim(0, bars)
    axes.set_ylim(len(chain.loopers) - 0.5, -0.5)
    axes.set_xlabel("bars")
    axes.set_title(f"{chain.mode}", fontsize=9)


def _passes(part: Looper, end: float) -> list[tuple[float, float]]:
    if part.layer is None or part.beats is None or part.speed == 0:
        return []
    length = float(part.beats) / abs(part.speed)
    first = part.origin % length - length
    begins = np.arange(first, end, length)
    return [(max(b, 0.0), min(b + length, end) - max(b, 0.0)) for b in begins.tolist() if b + length > 0]


def _song_passes(chain: LooperChain, name: str, end: float) -> list[tuple[float, float]]:
    spans, now = [], 0.0
    while now < end:
        for section, times in chain.song:
            length = float(chain.pass_of(section) or 1)
            for _ in range(times):
                if section == name and now < end:
                    spans.append((now, min(length, end - now)))
                now += length
    return spans
