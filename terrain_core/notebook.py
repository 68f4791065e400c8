"""What a notebook (Jupyter, IPython) shows for a lane, an instrument and a render.

The classes' `_repr_png_` and `_repr_html_` call these, and import this module only then.
"""

from __future__ import annotations

import base64
import html
import io
import mimetypes
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from terrain_core.building import sound_paths
from terrain_core.figures import lane_figure, png
from terrain_core.pictures import Landscape, View, draw_trajectories, map_picture, sample_terrain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from terrain_core.instrument import Instrument
    from terrain_core.lanes import Lane

UNIT = View(0, 0, 1, 1)
"""The control space as the plugin's X and Y see it."""

WIDTH = 300
"""Pixels of a map in a notebook, and of an instrument's preview: drawn in a fraction of a second."""

EMBEDDED_BYTES = 30_000_000
"""A longer sound is linked, not copied into the notebook."""


def lane_png(lane: Lane) -> bytes:
    """The lane's curve with its breakpoints, as PNG."""
    return png(lane_figure(lane))


def instrument_png(instrument: Instrument) -> bytes:
    """An instrument's map with its sounds on top, as PNG: what its file carries as preview."""
    if instrument.terrain is not None:
        view = View.whole(instrument.terrain)
        picture = map_picture(sample_terrain(instrument.terrain, view, view.size(WIDTH)))
    else:
        picture = Image.new("L", UNIT.size(WIDTH))
    return _png(draw_trajectories(picture, UNIT, sound_paths(instrument)))


def terrain_png(terrain: Landscape) -> bytes:
    """The map of a terrain over the whole of its bounds, as PNG."""
    view = View.whole(terrain)
    return _png(map_picture(sample_terrain(terrain, view, view.size(WIDTH))))


def render_html(path: str | PathLike[str], figure: Figure) -> str:
    """A player over the picture of a render."""
    return f'{_player(Path(path))}<br><img src="{_data_url(png(figure), "image/png")}" style="max-width: 100%">'


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def _player(path: Path) -> str:
    kind = mimetypes.guess_type(path.name)[0] or "audio/wav"
    embedded = path.stat().st_size <= EMBEDDED_BYTES
    source = _data_url(path.read_bytes(), kind) if embedded else html.escape(path.as_posix(), quote=True)
    return f'<audio controls style="width: 100%" src="{source}"></audio>'


def _data_url(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
