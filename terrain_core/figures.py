"""Pictures with axes: a lane, and a render with its waveform, spectrogram, lanes and tempo.

Drawn with matplotlib's object interface, which needs no display and keeps no global state; it is imported when the
first figure is drawn.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile
from numpy.typing import NDArray

from terrain_core.errors import FileError
from terrain_core.safe_write import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from terrain_core.lanes import Lane
    from terrain_core.tempo import TempoMap

INK = "#22262b"
FAINT = "#8a929b"
HAIRLINE = "#dde1e5"
WAVEFORM = "#3d5a6c"
LANE_COLOURS: Mapping[str, str] = {"x": "#d1495b", "y": "#1f77a8", "pressure": "#e08e1b", "z": "#3f8f56"}
OTHER_LANE = "#6b5b95"
SPECTROGRAM = ("#ffffff", "#cfe0ea", "#6fa3c0", "#2b5c86", "#1b1f3b")
"""From silence to full scale."""

DPI = 110

COLUMNS = 1100
"""Steps of time in a waveform or spectrogram: about as many as the picture has pixels."""

BANDS = 240
"""Steps of frequency."""

SPECTRUM = 4096
"""Samples per spectrum: 11 Hz from bin to bin at 44.1 kHz, which parts neighbouring notes above about 350 Hz."""

LOWEST_HZ = 40.0
FLOOR_DB = -90.0
"""What the spectrogram shows as silence, in dB below a full-scale sine."""

MOST_BAR_LINES = 40


@dataclass(frozen=True)
class Overview:
    """A sound reduced to equal pieces of time.

    Attributes:
        seconds: length of the sound.
        piece_seconds: length of a piece; the last one may reach beyond the end.
        lows, highs: extremes of each piece over all channels, (columns,).
        levels_db: log-frequency spectrogram, (bands, columns), dB below a full-scale sine.
        frequencies: centre of each band, (bands,), Hz.
    """

    seconds: float
    piece_seconds: float
    lows: NDArray[np.float64]
    highs: NDArray[np.float64]
    levels_db: NDArray[np.float64]
    frequencies: NDArray[np.float64]


def overview(path: str | PathLike[str], *, columns: int = COLUMNS, bands: int = BANDS) -> Overview:
    """Read a sound file of any length piece by piece, and take one spectrum in the middle of each.

    Raises:
        FileError: not a sound file.
    """
    try:
        with soundfile.SoundFile(path) as file:
            piece = max(1, -(-file.frames // columns))
            extremes, spectra = [], []
            for sound in _pieces(file, piece):
                middle = sound[SPECTRUM // 2 : SPECTRUM // 2 + piece]
                extremes.append((middle.min(), middle.max()))
                spectra.append(_spectrum_db(sound[piece // 2 :][:SPECTRUM]))
            frequencies, levels = _log_bands(np.stack(spectra, axis=1), file.samplerate, bands)
            lows, highs = np.array(extremes).T
            return Overview(file.frames / file.samplerate, piece / file.samplerate, lows, highs, levels, frequencies)
    except (OSError, soundfile.LibsndfileError) as error:
        raise FileError(path, f"does not open as a sound file: {getattr(error, 'error_string', error)}") from error


def _pieces(file: soundfile.SoundFile, piece: int) -> Iterator[NDArray[np.float64]]:
    """Each piece with half a spectrum of sound before and after it, (SPECTRUM + piece, channels); zeros beyond the
    ends.
    """
    half = SPECTRUM // 2
    sound = np.concatenate([np.zeros((half, file.channels)), file.read(half, always_2d=True, fill_value=0)])
    for _ in range(max(1, -(-file.frames // piece))):
        sound = np.concatenate([sound, file.read(piece, always_2d=True, fill_value=0)])
        yield sound
        sound = sound[piece:]


def _spectrum_db(sound: NDArray[np.float64]) -> NDArray[np.float64]:
    """(SPECTRUM, channels) to (bins,): a full-scale sine in every channel gives 0 dB."""
    window = np.hanning(SPECTRUM)[:, None]
    amplitude = np.abs(np.fft.rfft(sound * window, axis=0)) / (window.sum() / 2)
    level: NDArray[np.float64] = 20 * np.log10(np.maximum(np.sqrt(np.mean(amplitude**2, axis=1)), 1e-9))
    return level


def _log_bands(
    spectra: NDArray[np.float64], sample_rate: int, bands: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Spectra (bins, columns) to the loudest bin in each of `bands` bands of equal musical width, or between bins
    where a band holds none.
    """
    edges = np.geomspace(LOWEST_HZ, sample_rate / 2, bands + 1)
    centres = np.sqrt(edges[:-1] * edges[1:])
    position = centres / (sample_rate / SPECTRUM)
    below = np.minimum(position.astype(int), len(spectra) - 2)
    share = (position - below)[:, None]
    levels = (1 - share) * spectra[below] + share * spectra[below + 1]
    bins = np.ceil(edges / (sample_rate / SPECTRUM)).astype(int)
    for band in np.flatnonzero(np.diff(bins) > 1):
        levels[band] = spectra[bins[band] : bins[band + 1]].max(axis=0)
    return centres, levels


def render_figure(
    path: str | PathLike[str],
    lanes: Mapping[str, Lane] | None = None,
    tempo_map: TempoMap | None = None,
    *,
    start: float = 0.0,
    title: str = "",
    markers: Iterable[tuple[str, float]] = (),
) -> Figure:
    """A rendered file as one picture: waveform and spectrogram above, the lanes that played it and the tempo below.

    Args:
        path: the sound file.
        lanes: parameter key -> lane; None for the sound alone.
        tempo_map: needed for lanes in beats; also draws the tempo and the bar lines.
        start: where in the project the file begins, seconds.
        markers: names and where they stand, seconds.
    """
    sound = overview(path)
    played = dict(lanes or {}) if tempo_map else {}
    heights = [1.0, 2.6] + ([1.6, 0.55] if played else [])
    figure = _figure(11, 2.0 * sum(heights) ** 0.85 + 0.6)
    axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    figure.suptitle(title or Path(path).name, x=0.01, ha="left", fontsize=12, fontweight="bold", color=INK)
    _draw_waveform(axes[0], sound, start)
    _draw_spectrogram(axes[1], sound, start)
    for name, second in markers:
        if start <= second < start + sound.seconds:
            axes[0].text(second, 1.02, name, transform=axes[0].get_xaxis_transform(), fontsize=9, color=INK)
    if played and tempo_map:
        seconds = np.linspace(start, start + sound.seconds, COLUMNS)
        _draw_lanes(axes[2], {key: (seconds, lane.values_at(seconds, tempo_map)) for key, lane in played.items()})
        _draw_tempo(axes[3], seconds, tempo_map)
        for panel in axes:
            _draw_bar_lines(panel, tempo_map, start, start + sound.seconds)
    axes[-1].set_xlabel("time in seconds")
    axes[-1].set_xlim(start, start + max(sound.seconds, sound.piece_seconds))
    figure.align_ylabels(axes)
    return figure


def lane_figure(lane: Lane) -> Figure:
    """A lane over its own unit of time, its breakpoints marked."""
    figure = _figure(8, 2.2)
    panel = figure.subplots()
    first, last = float(lane.times[0]), float(lane.times[-1])
    times = np.linspace(first, last if last > first else first + 1, COLUMNS)
    key = lane.key or lane.name or "value"
    _draw_lanes(panel, {key: (times, lane.sample(times))})
    if len(lane) <= COLUMNS // 4:
        panel.plot(lane.times, lane.values, "o", color=LANE_COLOURS.get(key, OTHER_LANE), markersize=3.5)
    panel.set_xlabel("time in beats" if lane.unit == "beats" else "time in seconds")
    panel.set_title(lane.name or lane.key, loc="left", fontsize=10, color=INK)
    return figure


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")


def _style(panel: Axes, label: str) -> None:
    panel.set_ylabel(label, fontsize=9, color=INK)
    panel.tick_params(labelsize=8, colors=INK, length=3)
    panel.spines[["top", "right"]].set_visible(False)
    panel.spines[["left", "bottom"]].set_color(FAINT)


def _draw_waveform(panel: Axes, sound: Overview, start: float) -> None:
    begin = start + np.arange(len(sound.lows)) * sound.piece_seconds
    panel.fill_between(begin, sound.lows, sound.highs, step="post", color=WAVEFORM, linewidth=0.3)
    reach = min(1.0, max(0.05, 1.1 * float(np.abs([sound.lows, sound.highs]).max())))
    panel.set_ylim(-reach, reach)
    _style(panel, "amplitude")


def _draw_spectrogram(panel: Axes, sound: Overview, start: float) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    edges = start + np.arange(sound.levels_db.shape[1] + 1) * sound.piece_seconds
    ratio = np.sqrt(sound.frequencies[1] / sound.frequencies[0])
    bands = np.append(sound.frequencies / ratio, sound.frequencies[-1] * ratio)
    colours = LinearSegmentedColormap.from_list("sound", SPECTROGRAM)
    image = panel.pcolormesh(edges, bands, sound.levels_db, cmap=colours, vmin=FLOOR_DB, vmax=0, rasterized=True)
    panel.set_yscale("log")
    ticks = [hz for hz in (50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000) if bands[0] <= hz <= bands[-1]]
    panel.set_yticks(ticks, [f"{hz // 1000} kHz" if hz >= 1000 else f"{hz} Hz" for hz in ticks])
    panel.minorticks_off()
    _style(panel, "frequency")
    bar = panel.figure.colorbar(image, ax=panel, pad=0.01, fraction=0.04, aspect=30)
    bar.set_label("dB of a full-scale sine", fontsize=8, color=INK)
    bar.ax.tick_params(labelsize=7, colors=INK)
    bar.outline.set_visible(False)


def _draw_lanes(panel: Axes, curves: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]]) -> None:
    for key, (times, values) in curves.items():
        panel.plot(times, values, color=LANE_COLOURS.get(key, OTHER_LANE), linewidth=1.6, label=key)
    every = np.concatenate([values for _, values in curves.values()])
    margin = 0.05 * max(1.0, float(every.max()))
    panel.set_ylim(min(0.0, float(every.min())) - margin, max(1.0, float(every.max())) + margin)
    if len(curves) > 1:
        panel.legend(
            loc="lower left",
            bbox_to_anchor=(0, 0.98),
            ncols=min(len(curves), 8),
            frameon=False,
            fontsize=9,
            borderpad=0,
        )
    _style(panel, "value")


def _draw_tempo(panel: Axes, seconds: NDArray[np.float64], tempo_map: TempoMap) -> None:
    bpm = tempo_map.bpm_at_seconds(seconds)
    panel.plot(seconds, bpm, color=INK, linewidth=1.2)
    middle, reach = (bpm.max() + bpm.min()) / 2, max(np.ptp(bpm), 10)
    panel.set_ylim(middle - reach * 0.75, middle + reach * 0.75)
    _style(panel, "bpm")


def _draw_bar_lines(panel: Axes, tempo_map: TempoMap, start: float, end: float) -> None:
    first, last = (int(bar) for bar in tempo_map.bar_at(tempo_map.beats_at(np.array([start, end])))[0])
    bars = np.arange(first, last + 1, max(1, -(-(last - first) // MOST_BAR_LINES)))
    for second in tempo_map.seconds_at(tempo_map.beat_of_bar(bars)):
        if start <= second <= end:
            panel.axvline(float(second), color=HAIRLINE, linewidth=0.8, zorder=0.5)


def png(figure: Figure) -> bytes:
    """The figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def save_figure(figure: Figure, path: str | PathLike[str]) -> None:
    """Write the figure as PNG."""
    with replacing(path) as beside:
        beside.write_bytes(png(figure))
