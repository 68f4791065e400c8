"""Maps of terrains, drawn pixel by pixel as nn.terrain draws them, with trajectories on top.

pillow is imported when the first picture is drawn, not before. Pictures with axes (lanes, renders):
`terrain_core.figures`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from terrain_core.errors import InputError
from terrain_core.safe_write import replacing

if TYPE_CHECKING:
    from PIL.Image import Image

MAP_WIDTH = 600
"""Pixels of a map whose size is not given: the width of nn.terrain's own canvas."""

LARGEST_MAP = 16384
"""Pixels along either side of a map, at most."""

COLOUR_LOW = (0.9, 0.75, 0.6)
COLOUR_HIGH = (1.0, 1.0, 1.0)
"""Between these two, the latents after the first move red, green and blue (nn.terrain's `terrain_rgb_l` and
`terrain_rgb_h`).
"""


OUTLIERS = 0.01
"""The share of values at either end that a map whose range is not given clamps, so that a few peaks do not leave the
rest flat.
"""


class Landscape(Protocol):
    """What can be drawn as a map; a `Terrain` is one."""

    @property
    def control_size(self) -> int: ...

    @property
    def latent_size(self) -> int: ...

    @property
    def bounds(self) -> NDArray[np.float64]: ...

    def __call__(self, coordinates: NDArray[np.float32], /) -> NDArray[np.float32]: ...


@dataclass(frozen=True)
class View:
    """The part of the control space that a map shows, in the terrain's units; y grows downwards, as in nn.terrain."""

    left: float
    top: float
    right: float
    bottom: float

    def __post_init__(self) -> None:
        edges = (self.left, self.top, self.right, self.bottom)
        if not all(map(math.isfinite, edges)) or self.left == self.right or self.top == self.bottom:
            text = " ".join(f"{edge:g}" for edge in edges)
            raise InputError(f"the map's bounds {text} (left, top, right, bottom) are empty or not finite")

    @classmethod
    def whole(cls, terrain: Landscape) -> View:
        """Everything inside the terrain's bounds."""
        left, right = terrain.bounds[0]
        top, bottom = terrain.bounds[1] if terrain.control_size > 1 else (0.0, 1.0)
        return cls(float(left), float(top), float(right), float(bottom))

    def size(self, width: int = MAP_WIDTH) -> tuple[int, int]:
        """(width, height) in pixels, with the view's own proportions within 1:8 and 8:1."""
        ratio = abs((self.bottom - self.top) / (self.right - self.left))
        return width, round(width * min(max(ratio, 1 / 8), 8))


def sample_terrain(
    terrain: Landscape, view: View, size: tuple[int, int], progress: Callable[[int, int], None] | None = None
) -> NDArray[np.float32]:
    """The latents under each pixel.

    Pixel j of a row lies at left + j * (right - left) / width, and rows likewise: the right and the bottom edge are
    not sampled, as in
    nn.terrain's `plot_interval`. Control dimensions beyond the second stand at the middle of their bounds.

    Args:
        size: (width, height) in pixels.
        progress: called with (rows done, rows in all).
    Returns:
        shape (height, width, latent_size), row 0 at the view's top, which is the low y bound.
    """
    width, height = size
    if not (1 <= width <= LARGEST_MAP and 1 <= height <= LARGEST_MAP):
        raise InputError(f"a map of {width} x {height} pixels: each side must be in the range 1..{LARGEST_MAP}")
    row = np.empty((width, terrain.control_size), dtype=np.float32)
    row[:] = terrain.bounds.mean(axis=1)
    row[:, 0] = view.left + np.arange(width) * (view.right - view.left) / width
    latents = np.empty((height, width, terrain.latent_size), dtype=np.float32)
    for i in range(height):
        if terrain.control_size > 1:
            row[:, 1] = view.top + i * (view.bottom - view.top) / height
        latents[i] = terrain(row)
        if progress:
            progress(i + 1, height)
    return latents


def write_latents(latents: NDArray[np.float32], path: str | PathLike[str]) -> None:
    """Save what `sample_terrain` gave as `.npy`: (height, width, latent_size) float32."""
    with replacing(path) as beside, beside.open("wb") as file:
        np.save(file, latents)


def map_picture(
    latents: NDArray[np.float32], *, dimension: int | None = None, span: tuple[float, float] | None = None
) -> Image:
    """Draw sampled latents as a picture, one pixel each.

    Args:
        latents: shape (height, width, latent_size).
        dimension: this latent alone, in grey. None: in colour. Of four latents and more, the first gives the
        brightness and the next three red,
            green and blue; three are red, green and blue; one or two fall back to the first in grey.
        span: latent values (min, max) that become darkest and brightest; what lies beyond is clamped. None: for each
        latent
            the range of all but the `OUTLIERS` in this picture.
    """
    from PIL import Image

    size = latents.shape[2]
    if dimension is not None and not 0 <= dimension < size:
        raise InputError(f"latent {dimension} does not exist: this terrain has latents 0..{size - 1}")
    if dimension is None and size < 3:
        dimension = 0
    if dimension is not None:
        return Image.fromarray(_to_bytes(_brightness(latents[:, :, dimension : dimension + 1], span)[:, :, 0]))
    if size == 3:
        return Image.fromarray(_to_bytes(_brightness(latents, span)))
    level = _brightness(latents[:, :, :4], span)
    low, high = np.array(COLOUR_LOW), np.array(COLOUR_HIGH)
    return Image.fromarray(_to_bytes(level[:, :, :1] * (low + level[:, :, 1:] * (high - low))))


def _brightness(latents: NDArray[np.float32], span: tuple[float, float] | None) -> NDArray[np.float64]:
    """Latents (h, w, d) to 0..1."""
    values = np.nan_to_num(latents.astype(np.float64))
    if span is not None and not span[1] > span[0]:
        raise InputError(f"the darkest value {span[0]:g} must be below the brightest {span[1]:g}")
    low, high = np.quantile(values, [OUTLIERS, 1 - OUTLIERS], axis=(0, 1)) if span is None else span
    level: NDArray[np.float64] = np.clip((values - low) / np.where(high > low, high - low, 1), 0, 1)
    return level


def _to_bytes(level: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.rint(level * 255).astype(np.uint8)


def draw_trajectories(
    picture: Image, view: View, trajectories: Sequence[ArrayLike], *, colour: str = "#ff7a1a"
) -> Image:
    """A copy of a map with spatial trajectories on top, each a line with a ring at its start; a single point is a ring.

    Args:
        trajectories: each of shape (points, C), in the terrain's units.
    """
    from PIL import Image, ImageDraw

    fine = 3  # drawn larger, then reduced: lines without stairs
    canvas = picture.convert("RGB").resize((picture.width * fine, picture.height * fine), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(canvas)
    for trajectory in trajectories:
        points = _to_pixels(np.asarray(trajectory, dtype=np.float64), view, (canvas.width, canvas.height))
        if len(points) > 1:
            draw.line([tuple(point) for point in points], fill=colour, width=fine * 2, joint="curve")
        if len(points):
            x, y = points[0]
            draw.ellipse((x - 4 * fine, y - 4 * fine, x + 4 * fine, y + 4 * fine), outline=colour, width=fine * 2)
    return canvas.reduce(fine)  # means of 3 x 3, which leave the map itself exactly as it was


def _to_pixels(points: NDArray[np.float64], view: View, size: tuple[int, int]) -> NDArray[np.float64]:
    x = (points[:, 0] - view.left) / (view.right - view.left) * size[0]
    y = (
        (points[:, 1] - view.top) / (view.bottom - view.top) * size[1]
        if points.shape[1] > 1
        else np.full(len(points), size[1] / 2)
    )
    return np.stack([x, y], axis=1)


def save_picture(picture: Image, path: str | PathLike[str]) -> None:
    """Write a picture as PNG."""
    with replacing(path) as beside:
        picture.save(beside, format="PNG")
