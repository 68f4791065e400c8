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

from terrain_core.figures import lane_figure, png
from terrain_core.pictures import Landscape, View, map_picture, sample_terrain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from terrain_core.lanes import Lane

EMBEDDED_BYTES = 30_000_000
"""A longer sound is linked, not copied into the notebook."""


def lane_png(lane: Lane) -> bytes:
    """The lane's curve with its breakpoints, as PNG."""
    return png(lane_figure(lane))


def terrain_png(terrain: Landscape) -> bytes:
    """The map of a terrain over the whole of its bounds, as PNG."""
    view = View.whole(terrain)
    buffer = io.BytesIO()
    map_picture(sample_terrain(terrain, view, view.size())).save(buffer, format="PNG")
    return buffer.getvalue()


def render_html(path: str | PathLike[str], figure: Figure) -> str:
    """A player over the picture of a render."""
    return f'{_player(Path(path))}<br><img src="{_data_url(png(figure), "image/png")}" style="max-width: 100%">'


def _player(path: Path) -> str:
    kind = mimetypes.guess_type(path.name)[0] or "audio/wav"
    embedded = path.stat().st_size <= EMBEDDED_BYTES
    source = _data_url(path.read_bytes(), kind) if embedded else html.escape(path.as_posix(), quote=True)
    return f'<audio controls style="width: 100%" src="{source}"></audio>'


def _data_url(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
