"""A project's lanes, played by an instrument into an audio file, block by block: an hour of sound never sits in
memory.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pedalboard
from numpy.typing import NDArray
from pedalboard.io import AudioFile

from terrain_core import parameters
from terrain_core.autoencoders.protocol import Audio
from terrain_core.engine import TimedMidi, render_batch
from terrain_core.errors import FileError, InputError
from terrain_core.instrument import Instrument
from terrain_core.lanes import Lane
from terrain_core.safe_write import replacing
from terrain_core.tempo import TempoMap
from terrain_daws import Project
from terrain_plugin.effects_chain import EffectsChain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS: dict[str, dict[str, Any]] = {
    ".wav": {"bit_depth": 24},
    ".flac": {"bit_depth": 24},
    ".mp3": {"quality": "320"},
    ".ogg": {},
}
"""Suffix -> how pedalboard is to write it."""

MP3_SAMPLE_RATES = (32000, 44100, 48000)

SAMPLE_RATES = (8000, 384000)
"""Lowest and highest sample rate (Hz) that a file may have."""

LONGEST_S = 86400.0

Progress = Callable[[float, float], None]
"""Called with the seconds rendered so far and the seconds in all."""


@dataclass(frozen=True)
class RenderSettings:
    """How to render.

    Attributes:
        sample_rate: Hz; None for the autoencoder's own.
        start: seconds into the project.
        end: seconds; None for the last breakpoint of the lanes.
        seed: for everything that is drawn at random.
        constants: parameter key -> plain value of parameters that no lane drives; the rest have their defaults.
        effects: the chain that the sound goes through, its tail rendered out.
    """

    sample_rate: int | None = None
    start: float = 0.0
    end: float | None = None
    seed: int = 0
    constants: Mapping[str, float] = field(default_factory=dict)
    effects: Sequence[pedalboard.Plugin] = field(default=())


@dataclass(frozen=True)
class Render:
    """A rendered file and what was measured while it was written. In a notebook it shows itself: picture and player.

    Attributes:
        out: the file.
        seconds: its length, with the effects' tail.
        sample_rate: Hz.
        peak_dbfs, rms_dbfs: over all channels, before the file format's own rounding and clipping; -inf for silence.
        realtime_factor: seconds of sound made in a second of computing.
        start: where in the project the file begins, seconds.
        lanes, tempo_map: what was played.
        markers: the project's, names and seconds.
    """

    out: Path
    seconds: float
    sample_rate: int
    channels: int
    peak_dbfs: float
    rms_dbfs: float
    realtime_factor: float

    start: float = field(repr=False)
    lanes: Mapping[str, Lane] = field(repr=False)
    tempo_map: TempoMap = field(repr=False)
    markers: tuple[tuple[str, float], ...] = field(repr=False)

    def figure(self) -> Figure:
        """Waveform, spectrogram, lanes and tempo in one picture."""
        from terrain_core.figures import render_figure

        return render_figure(self.out, self.lanes, self.tempo_map, start=self.start, markers=self.markers)

    def path(self, points: int = 4000) -> NDArray[np.float64]:
        """Where X and Y went, shape (points, 2), in 0..1; a parameter without a lane stands at its default."""
        seconds = np.linspace(self.start, self.start + self.seconds, points)
        columns = []
        for key in ("x", "y"):
            lane = self.lanes.get(key)
            default = np.full(points, parameters.by_key(key).default)
            columns.append(lane.values_at(seconds, self.tempo_map) if lane else default)
        return np.stack(columns, axis=1)

    def _repr_html_(self) -> str:
        from terrain_core.notebook import render_html

        return render_html(self.out, self.figure())


def lanes_to_play(project: Project, mapping: Mapping[str, str] | None = None) -> dict[str, Lane]:
    """Parameter key -> the lane that drives it.

    Args:
        mapping: parameter key -> name of a lane, e.g. {"x": "Filter Cutoff"}; overrides what the project itself says.
    Raises:
        InputError: an unknown parameter or lane.
        FileError: the project has nothing to play.
    """
    for key in mapping or {}:
        parameters.by_key(key)  # raises for a key that there is not
    lanes = project.lanes_by_key(mapping)
    if lanes:
        return lanes
    names = ", ".join(repr(f"{lane.track}/{lane.name}") for lane in project.lanes[:12]) or "none at all"
    raise FileError(
        project.path,
        "has no lane that drives X, Y or another parameter of the instrument",
        hint=f'choose one with --map x="track/lane"; its lanes are: {names}',
    )


def render(
    project: Project,
    instrument: Instrument,
    out: str | PathLike[str],
    settings: RenderSettings | None = None,
    *,
    lanes: Mapping[str, Lane] | None = None,
    progress: Progress | None = None,
) -> Render:
    """Render a project's lanes to a file.

    A mono autoencoder gives a mono file. With effects its sound is first copied to two channels, since most effects
    are wider than that.

    Args:
        out: its suffix (.wav, .flac, .mp3, .ogg) names the format. It appears once it is complete; if the render is
            interrupted or fails, the file that was there before stays.
        lanes: parameter key -> lane, values 0..1 of the parameter's range; None for `lanes_to_play(project)`.
    Raises:
        InputError: a format or sample rate that cannot be written, or an impossible range.
        FileError: the file cannot be written (no such folder, disk full, …).
    """
    path, settings = Path(out), settings or RenderSettings()
    played = dict(lanes if lanes is not None else lanes_to_play(project))
    sample_rate = settings.sample_rate or instrument.autoencoder.sample_rate
    _check_format(path, sample_rate)
    start, end = settings.start, settings.end
    if end is None:
        end = max((_end_of(lane, project.tempo_map) for lane in played.values()), default=0.0)
    _check_range(start, end)

    began = time.perf_counter()
    plain = {key: PlainLane(lane, parameters.by_key(key)) for key, lane in played.items()}
    sound = render_batch(
        instrument,
        plain,
        project.tempo_map,
        sample_rate,
        start,
        end,
        seed=settings.seed,
        constants={key: value for key, value in settings.constants.items() if key not in plain},
        midi=notes_as_midi(project),
    )
    channels = 2 if settings.effects else instrument.autoencoder.channels
    levels = Levels()
    with replacing(path) as beside, _writer(beside, sample_rate, channels) as writer:
        for block in _through(settings.effects, sound, sample_rate, channels):
            writer.write(block)
            levels.add(block)
            if progress:
                progress(min(levels.frames / sample_rate, end - start), end - start)
    seconds = levels.frames / sample_rate
    return Render(
        out=path,
        seconds=seconds,
        sample_rate=sample_rate,
        channels=channels,
        peak_dbfs=levels.peak_dbfs,
        rms_dbfs=levels.rms_dbfs,
        realtime_factor=seconds / (time.perf_counter() - began),
        start=start,
        lanes=played,
        tempo_map=project.tempo_map,
        markers=tuple((marker.name, float(project.tempo_map.seconds_at(marker.beat))) for marker in project.markers),
    )


def notes_as_midi(project: Project) -> Iterator[TimedMidi]:
    """The project's notes as note-on and note-off messages; they count where the parameter Run is at Notes."""
    for note in project.notes:
        begin, end = project.tempo_map.seconds_at([note.beat, note.beat + note.duration]).tolist()
        yield TimedMidi(begin, bytes((0x90 | note.channel, note.key, max(1, round(note.velocity * 127)))))
        yield TimedMidi(end, bytes((0x80 | note.channel, note.key, 0)))


@dataclass(frozen=True)
class PlainLane:
    """A lane of a project, whose values are 0..1, in the plain values of the parameter that it drives."""

    lane: Lane
    parameter: parameters.Parameter

    def values_at(self, seconds: NDArray[np.float64], tempo_map: TempoMap) -> NDArray[np.float64]:
        normalised = self.lane.values_at(seconds, tempo_map)
        if self.parameter.stepped:
            return np.array([self.parameter.from_normalised(value) for value in normalised.tolist()])
        low, high = self.parameter.low, self.parameter.high
        return low + np.clip(normalised, 0, 1) * (high - low)


@contextmanager
def _writer(path: Path, sample_rate: int, channels: int) -> Iterator[Any]:
    """pedalboard's writer on an open file: given only a name, it would keep a full disk to itself."""
    options = FORMATS[path.suffix.lower()]
    with (
        path.open("wb") as file,
        AudioFile(file, "w", sample_rate, channels, format=path.suffix[1:], **options) as writer,
    ):
        yield writer


def _check_range(start: float, end: float) -> None:
    if not 0 <= start < end:
        raise InputError(
            f"nothing to render from {start:g} s to {end:g} s: the start must be 0 or later, the end after it"
        )
    if end - start > LONGEST_S:
        raise InputError(
            f"{end - start:g} s to render, expected at most {LONGEST_S:g} s (a day); cut it with --from and --to"
        )


def _check_format(path: Path, sample_rate: int) -> None:
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise InputError(
            f"{path}: cannot write {path.suffix or 'a file without a suffix'}; use one of {', '.join(FORMATS)}"
        )
    low, high = SAMPLE_RATES
    if not low <= sample_rate <= high:
        raise InputError(f"sample rate {sample_rate} Hz is out of the range {low}..{high} Hz")
    if suffix == ".mp3" and sample_rate not in MP3_SAMPLE_RATES:
        raise InputError(
            f"{path}: MP3 has no {sample_rate} Hz; use {', '.join(map(str, MP3_SAMPLE_RATES))} Hz or another format"
        )


def _end_of(lane: Lane, tempo_map: TempoMap) -> float:
    last = float(lane.times[-1])
    return last if lane.unit == "seconds" else float(tempo_map.seconds_at(last))


def _through(
    effects: Sequence[pedalboard.Plugin], sound: Iterator[Audio], sample_rate: int, channels: int
) -> Iterator[Audio]:
    chain = EffectsChain(effects, sample_rate, channels)
    for block in sound:
        yield from chain.process(np.repeat(block, channels, axis=0) if len(block) < channels else block)
    yield from chain.finish()


class Levels:
    """Peak and RMS of a sound that comes in blocks."""

    def __init__(self) -> None:
        self.frames = 0
        self._peak = 0.0
        self._squares = 0.0
        self._samples = 0

    def add(self, block: Audio) -> None:
        self.frames += block.shape[1]
        if block.size:
            self._peak = max(self._peak, float(np.abs(block).max()))
            self._squares += float(np.vdot(block.astype(np.float64), block))
            self._samples += block.size

    @property
    def peak_dbfs(self) -> float:
        return _decibels(self._peak)

    @property
    def rms_dbfs(self) -> float:
        return _decibels(math.sqrt(self._squares / max(self._samples, 1)))


def _decibels(amplitude: float) -> float:
    return 20 * math.log10(amplitude) if amplitude > 0 else -math.inf
