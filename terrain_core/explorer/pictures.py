"""Pictures of the explorer's tools, drawn as `terrain_core.figures` draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from terrain_core.autoencoders.protocol import Audio, Autoencoder, Latents
from terrain_core.explorer.descriptors import decoded
from terrain_core.explorer.explorer import Explorer
from terrain_core.explorer.reconstruction import Reconstruction
from terrain_core.explorer.sliders import Sliders
from terrain_core.explorer.space import LatentSpace, Vectors
from terrain_core.explorer.steering import Pin
from terrain_core.explorer.variations import farthest_first
from terrain_core.figures import DPI, FAINT, HAIRLINE, INK, WAVEFORM
from terrain_core.sound_map import Blending, SoundMap

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from terrain_core.terrain import Terrain

THUMBNAILS = 48
"""Sounds that get a picture of their waveform, far from each other."""

DENSITY_CELLS = 200
DENSITY_WIDTH = 0.03
"""Width of the smoothing of a density, in parts of the map's side."""

MOST_GROUPS = 20
ACCENT = "#d1495b"


def scatter_figure(
    explorer: Explorer,
    *,
    density: bool = False,
    thumbnails: Autoencoder | None = None,
    path: ArrayLike | None = None,
    marked: Mapping[str, tuple[float, float]] | None = None,
    title: str = "",
) -> Figure:
    """The map: each sound (or frame) a dot, coloured by its group.

    Args:
        density: shade the map by how many there are.
        thumbnails: decode some of the sounds and draw their waveforms in their places.
        path: (n, 2), a way over the map.
        marked: names and places that are to be pointed at.
    """
    places = explorer.place_table()
    figure = _figure(7.2, 6.6)
    panel = figure.subplots()
    if density:
        panel.imshow(
            _density(places), origin="lower", extent=(0, 1, 0, 1), cmap="Blues", aspect="auto", alpha=0.8, vmin=0
        )
    _draw_groups(panel, places, explorer.groups())
    if thumbnails is not None:
        _draw_thumbnails(panel, explorer, thumbnails)
    if path is not None:
        way = np.asarray(path, np.float64)
        panel.plot(way[:, 0], way[:, 1], color=INK, linewidth=1.2)
        panel.plot(*way[0], "o", color=INK, markersize=6)
    for name, (x, y) in (marked or {}).items():
        panel.plot(x, y, "x", color=ACCENT, markersize=11, markeredgewidth=2.5)
        panel.annotate(name, (x, y), (6, 6), textcoords="offset points", fontsize=9, color=INK)
    panel.set_xlim(0, 1)
    panel.set_ylim(0, 1)
    panel.set_aspect("equal")
    panel.set_xlabel("X", fontsize=9, color=INK)
    _style(panel, "Y")
    method = explorer.projection.method if explorer.projection else ""
    what = f"{len(explorer.collection)} sounds" + (f", {len(places)} frames" if explorer.by == "frames" else "")
    _title(figure, title or f"{what}, {method}")
    return figure


def _draw_groups(panel: Axes, places: Vectors, groups: Sequence[str]) -> None:
    from matplotlib import colormaps

    names = sorted(set(groups))
    colours = colormaps["tab10" if len(names) <= 10 else "tab20"]
    size = float(np.clip(2500 / len(places), 1.5, 40))
    for index, name in enumerate(names):
        rows = np.array([group == name for group in groups])
        panel.scatter(
            places[rows, 0],
            places[rows, 1],
            s=size,
            color=colours(index % MOST_GROUPS),
            label=name or "sounds",
            linewidths=0,
            alpha=0.85,
        )
    if 1 < len(names) <= MOST_GROUPS:
        panel.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8, markerscale=1.4)


def _density(places: Vectors) -> Vectors:
    from scipy.ndimage import gaussian_filter

    counts, _, _ = np.histogram2d(places[:, 1], places[:, 0], DENSITY_CELLS, ((0, 1), (0, 1)))
    return np.asarray(gaussian_filter(counts, DENSITY_WIDTH * DENSITY_CELLS))


def _draw_thumbnails(panel: Axes, explorer: Explorer, autoencoder: Autoencoder) -> None:
    sounds = explorer.collection.sounds
    places = np.stack([explorer.place_of(sound.name) for sound in sounds])
    for index in farthest_first(places, min(THUMBNAILS, len(sounds))):
        x, y = places[index]
        low, high = _extremes(decoded(autoencoder, sounds[index].latents), 60)
        reach = max(float(high.max()), float(-low.min()), 1e-6)
        across = x + np.linspace(-0.045, 0.045, len(low))
        panel.fill_between(across, y + low / reach * 0.02, y + high / reach * 0.02, color=WAVEFORM, linewidth=0.2)


def morph_figure(steps: Sequence[Latents], autoencoder: Autoencoder, title: str = "") -> Figure:
    """Each step of a morph (or each of some variations) as a waveform, one below the other."""
    figure = _figure(8, 0.8 + 0.55 * len(steps))
    panel = figure.subplots()
    for row, latents in enumerate(steps):
        low, high = _extremes(decoded(autoencoder, latents), 600)
        seconds = np.linspace(0, len(latents) * autoencoder.hop / autoencoder.sample_rate, len(low))
        shade = 0.25 + 0.6 * row / max(len(steps) - 1, 1)
        panel.fill_between(
            seconds, low * 0.48 - row, high * 0.48 - row, color=(shade, 0.36, 0.9 - shade), linewidth=0.2
        )
    panel.set_yticks(-np.arange(len(steps)), [str(k + 1) for k in range(len(steps))])
    panel.set_xlabel("time in seconds", fontsize=9, color=INK)
    _style(panel, "step")
    _title(figure, title)
    return figure


def walk_figure(points: Latents, space: LatentSpace, share: float = 0.95, title: str = "") -> Figure:
    """A walk along the two widest directions, with the border, and its distance from the mean."""
    figure = _figure(9.5, 4.4)
    plane, course = figure.subplots(1, 2, width_ratios=(1, 1.3))
    whitened = space.whitened(points)
    radius = space.radius(share)
    angle = np.linspace(0, 2 * np.pi, 200)
    plane.plot(radius * np.cos(angle), radius * np.sin(angle), color=ACCENT, linewidth=1)
    if whitened.shape[1] > 1:
        plane.plot(whitened[:, 0], whitened[:, 1], color=WAVEFORM, linewidth=0.9)
        plane.plot(*whitened[0, :2], "o", color=INK)
    plane.set_aspect("equal")
    plane.set_xlabel("first direction, standard deviations", fontsize=8, color=INK)
    _style(plane, "second direction")
    course.plot(space.distance(points), color=WAVEFORM, linewidth=0.9)
    course.axhline(radius, color=ACCENT, linewidth=1)
    course.set_ylim(0, None)
    course.set_xlabel("step", fontsize=8, color=INK)
    _style(course, f"distance from the mean (line: {share:.0%} of the corpus)")
    _title(figure, title)
    return figure


def reconstruction_figure(found: Reconstruction, sample_rate: float, title: str = "") -> Figure:
    """Waveforms of a file and of what came back."""
    figure = _figure(8, 3.4)
    panels = figure.subplots(2, 1, sharex=True, sharey=True)
    for panel, audio, name in zip(panels, (found.original, found.rebuilt), ("original", "rebuilt"), strict=True):
        low, high = _extremes(audio, 900)
        panel.fill_between(np.linspace(0, audio.shape[1] / sample_rate, len(low)), low, high, color=WAVEFORM, lw=0.2)
        _style(panel, name)
    panels[1].set_xlabel("time in seconds", fontsize=9, color=INK)
    e = found.errors
    _title(figure, title or f"{found.sound.name}: {e.spectral_db:.1f} dB spectral, level {e.level_db:+.1f} dB")
    return figure


def attribute_figure(rows: Mapping[str, Sequence[tuple[float, float]]], units: Mapping[str, str]) -> Figure:
    """Asked against achieved, a panel for each attribute."""
    figure = _figure(2.7 * len(rows), 2.9)
    panels = np.atleast_1d(figure.subplots(1, len(rows)))
    for panel, (name, pairs) in zip(panels, rows.items(), strict=True):
        asked, achieved = np.array(pairs, np.float64).reshape(-1, 2).T
        reach = 1.1 * float(np.nanmax(np.abs([asked, achieved]), initial=1e-3))
        panel.plot([-reach, reach], [-reach, reach], color=HAIRLINE, linewidth=1.5)
        panel.plot(asked, achieved, "o", color=WAVEFORM, markersize=4, alpha=0.7)
        panel.set_title(f"{name}, {units[name]}", fontsize=9, color=INK)
        panel.set_xlabel("asked", fontsize=8, color=INK)
        _style(panel, "achieved")
    return figure


def sliders_figure(sliders: Sliders, title: str = "") -> Figure:
    """Each slider in its range; locked ones in grey."""
    figure = _figure(1.2 + 0.45 * len(sliders), 3.2)
    panel = figure.subplots()
    for index, (low, high) in enumerate(sliders.ranges):
        colour = FAINT if index in sliders.locked else WAVEFORM
        panel.plot([index, index], [low, high], color=HAIRLINE, linewidth=6, solid_capstyle="round")
        panel.plot(index, sliders.values[index], "s", color=colour, markersize=9)
    panel.set_xticks(range(len(sliders)))
    panel.set_xlabel("principal direction" if sliders.principal else "latent", fontsize=9, color=INK)
    _style(panel, "standard deviations" if sliders.principal else "value")
    _title(figure, title)
    return figure


def blending_figure(sound_map: SoundMap, ways: Mapping[str, tuple[int, Blending]], *, cells: int = 160) -> Figure:
    """What a map has between its sounds, side by side for each way of blending (neighbours and how they are weighed):
    the three widest principal directions of the latents as red, green and blue.
    """
    known = sound_map.latents.astype(np.float64)
    mean = known.mean(axis=0)
    axes = np.linalg.svd(known - mean, full_matrices=False)[2][:3]
    low, high = np.quantile((known - mean) @ axes.T, (0.05, 0.95), axis=0)
    side = (np.arange(cells) + 0.5) / cells
    points = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    figure = _figure(2.6 * len(ways), 2.9)
    for panel, (title, (neighbours, blending)) in zip(figure.subplots(1, len(ways)), ways.items(), strict=True):
        drawn = SoundMap(sound_map.positions, sound_map.latents, blending=blending)
        colours = (drawn.blend(points, np.full(len(points), neighbours)) - mean) @ axes.T
        colours = np.clip((colours - low) / np.where(high > low, high - low, 1.0), 0, 1)
        colours = np.pad(colours, ((0, 0), (0, 3 - colours.shape[1])), constant_values=0.5)
        panel.imshow(colours.reshape(cells, cells, 3), origin="lower", extent=(0, 1, 0, 1))
        panel.plot(
            *sound_map.positions.T, ".", color="white", markersize=3, markeredgecolor="black", markeredgewidth=0.3
        )
        panel.set_title(title, fontsize=9, color=INK)
        _style(panel, "")
    return figure


def steering_figure(terrains: Sequence[Terrain], pins: Sequence[Sequence[Pin]]) -> Figure:
    """Terrains side by side, each with the pins it runs through."""
    from terrain_core.pictures import View, map_picture, sample_terrain

    figure = _figure(3.3 * len(terrains), 3.5)
    for panel, terrain, own in zip(np.atleast_1d(figure.subplots(1, len(terrains))), terrains, pins, strict=True):
        picture = map_picture(sample_terrain(terrain, View.whole(terrain), (240, 240)))
        panel.imshow(np.asarray(picture.convert("RGB")), origin="lower", extent=(0, 1, 0, 1))
        for pin in own:
            panel.plot(pin.x, pin.y, "o", color=ACCENT, markeredgecolor="white", markersize=8)
            panel.annotate(
                pin.name, (pin.x, pin.y), (5, 5), textcoords="offset points", fontsize=7, bbox={"fc": "white", "lw": 0}
            )
        panel.set_title(f"{len(own)} pins", fontsize=9, color=INK)
        _style(panel, "")
    return figure


def _extremes(audio: Audio, columns: int) -> tuple[Vectors, Vectors]:
    """Lowest and highest value in each of some pieces of time, over all channels."""
    mono = np.asarray(audio, np.float64)
    size = max(1, -(-mono.shape[1] // columns))
    pieces = np.pad(mono, ((0, 0), (0, -mono.shape[1] % size)), mode="edge").reshape(len(mono), -1, size)
    return pieces.min(axis=(0, 2)), pieces.max(axis=(0, 2))


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")


def _title(figure: Figure, title: str) -> None:
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=INK)


def _style(panel: Axes, label: str) -> None:
    panel.set_ylabel(label, fontsize=9, color=INK)
    panel.tick_params(labelsize=8, colors=INK, length=3)
    panel.spines[["top", "right"]].set_visible(False)
    panel.spines[["left", "bottom"]].set_color(FAINT)
