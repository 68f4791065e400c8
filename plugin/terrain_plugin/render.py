"""A project's lanes, played by an instrument into an audio file, block by block: an hour of sound never sits in
memory.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pedalboard
from numpy.typing import NDArray
from pedalboard.io import AudioFile

from terrain_core import parameters
from terrain_core.autoencoders.one_shot import OneShotAutoencoder
from terrain_core.autoencoders.protocol import Audio
from terrain_core.engine import TimedMidi, render_batch
from terrain_core.engine.effects import LatentEffect
from terrain_core.engine.midi import NOTE_ON
from terrain_core.errors import FileError, InputError
from terrain_core.instrument import Instrument
from terrain_core.lanes import Lane
from terrain_core.looper import ChainEffect
from terrain_core.plugin_state import PluginState
from terrain_core.safe_write import replacing
from terrain_core.tempo import TempoMap
from terrain_daws import PluginInstance, Project
from terrain_plugin.effects_chain import EffectsChain
from terrain_plugin.instrument_shelf import InstrumentShelf, loopers_of, ours
from terrain_plugin.shipped import instrument_path

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


@dataclass(frozen=True)
class Part:
    """One instance of the plugin, as it is to be rendered.

    Attributes:
        name: of its track.
        lanes: parameter key -> lane, values 0..1 of the parameter's range.
        constants: parameter key -> plain value of those that no lane drives.
        midi: what is played into it, in order.
        effects: latent effects after the standard ones, such as a chain of loopers; for one render.
        loops: what the plugin's loopers remember, from its state; empty: nothing but what the instrument has.
    """

    name: str
    instrument: Instrument
    lanes: Mapping[str, Lane]
    constants: Mapping[str, float] = field(default_factory=dict)
    midi: Sequence[TimedMidi] = ()
    effects: Sequence[LatentEffect] = ()
    loops: bytes = b""


def parts_to_play(
    project: Project,
    mapping: Mapping[str, str] | None = None,
    *,
    instrument: str | PathLike[str] | None = None,
    constants: Mapping[str, float] | None = None,
    only: str | None = None,
) -> list[Part]:
    """What a project sounds of ours: each instance of the plugin that is heard, with its own lanes, state and
    instrument; one part made of all lanes where the project has no instance, or `mapping` says which lanes to take.

    Args:
        mapping: parameter key -> name of a lane; see `lanes_to_play`.
        instrument: a `.terrain` file that plays instead of those that the instances name.
        constants: parameter key -> plain value, over what the states say.
        only: the track of the one instance to play, or its number from 1, heard or not.
    Raises:
        InputError: no such instance.
        FileError: nothing to play, or an instrument that cannot be found.
    """
    shelf = InstrumentShelf()
    chosen = [i for i in project.instances if not i.silenced_by] if only is None else [_instance(project, only)]
    if mapping or not project.instances:
        state = chosen[0].state if chosen else None
        player = _player(shelf, state, instrument)
        values = _values(state) | dict(constants or {})
        midi = list(notes_as_midi(project))
        loops = state.loops if state else b""
        hits = isinstance(player.autoencoder, OneShotAutoencoder) and midi  # notes are all they need
        found = {} if hits and not mapping and not project.lanes_by_key(None) else lanes_to_play(project, mapping)
        return [Part("", player, found, values, midi, loops=loops)]
    parts = []
    for instance in chosen:
        lanes: dict[str, Lane] = {}
        for lane in instance.lanes:
            if lane.key and (lane.active or only is not None):
                lanes.setdefault(lane.key, lane)
        player = _player(shelf, instance.state, instrument)
        midi = list(notes_as_midi(project, instance.track))
        values = _values(instance.state) | dict(constants or {})
        loops = instance.state.loops if instance.state else b""
        parts.append(Part(instance.track, player, lanes, values, midi, loops=loops))
    if not parts:
        reasons = ", ".join(f"{i.track!r}: {i.silenced_by}" for i in project.instances[:8])
        raise FileError(project.path, f"plays none of its {len(project.instances)} instances of the plugin ({reasons})")
    if not any(part.lanes or part.midi for part in parts):
        raise FileError(
            project.path,
            "has the plugin on its tracks, but neither automation nor notes for it",
            hint='automate X and Y, or choose other lanes with --map x="track/lane"',
        )
    return parts


def _instance(project: Project, name: str) -> PluginInstance:
    found = [i for i in project.instances if i.track.casefold() == name.casefold()]
    if name.isdecimal() and 1 <= int(name) <= len(project.instances):
        found = found or [project.instances[int(name) - 1]]
    if len(found) != 1:
        choice = ", ".join(f"{n} ({i.track})" for n, i in enumerate(project.instances, start=1)) or "none at all"
        raise InputError(f"{project.path} has {len(found)} instances called {name!r}, expected one of: {choice}")
    return found[0]


def _player(shelf: InstrumentShelf, state: PluginState | None, instrument: str | PathLike[str] | None) -> Instrument:
    if instrument is not None:
        return Instrument.load(instrument_path(instrument))
    return shelf.get(state.instrument if state else None)


def _values(state: PluginState | None) -> dict[str, float]:
    """What a state says of the parameters that a render can set."""
    values = state.parameters if state else {}
    return {key: value for key, value in values.items() if not parameters.by_key(key).read_only}


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
    """Render a project's lanes to a file, with one instrument; see `render_parts`.

    Args:
        lanes: parameter key -> lane, values 0..1 of the parameter's range; None for `lanes_to_play(project)`.
    """
    settings = settings or RenderSettings()
    played = dict(lanes if lanes is not None else lanes_to_play(project))
    part = Part("", instrument, played, settings.constants, list(notes_as_midi(project)))
    return render_parts([part], project, out, settings, progress=progress)


def render_parts(
    parts: Sequence[Part],
    project: Project,
    out: str | PathLike[str],
    settings: RenderSettings | None = None,
    *,
    stems: str | PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Render:
    """Render parts, mixed, to a file.

    A mono autoencoder gives a mono file. With effects, or beside a stereo one, its sound is first copied to two
    channels, since most effects are wider than that.

    Args:
        parts: one or more; they play in the project's tempo.
        out: its suffix (.wav, .flac, .mp3, .ogg) names the format. It appears once it is complete; if the render is
            interrupted or fails, the file that was there before stays.
        stems: a folder (made if need be) that gets each part by itself, without effects, as TRACK and `out`'s suffix.
    Raises:
        InputError: a format or sample rate that cannot be written, or an impossible range.
        FileError: the file cannot be written (no such folder, disk full, …).
    """
    path, settings = Path(out), settings or RenderSettings()
    sample_rate = settings.sample_rate or max(part.instrument.autoencoder.sample_rate for part in parts)
    _check_format(path, sample_rate)
    start, end = settings.start, settings.end
    if end is None:
        end = max((_end_of_part(part, project.tempo_map) for part in parts), default=0.0)
    _check_range(start, end)

    began = time.perf_counter()
    sounds = [_sound(part, project.tempo_map, sample_rate, start, end, settings.seed) for part in parts]
    channels = 2 if settings.effects else max(part.instrument.autoencoder.channels for part in parts)
    levels = Levels()
    with ExitStack() as files:
        beside = files.enter_context(replacing(path))
        writer = files.enter_context(_writer(beside, sample_rate, channels))
        stem_writers = []
        for part, stem in zip(parts, stem_paths(parts, stems, path.suffix), strict=False):  # perhaps no stems
            stem.parent.mkdir(parents=True, exist_ok=True)
            own = files.enter_context(replacing(stem))
            stem_writers.append(files.enter_context(_writer(own, sample_rate, part.instrument.autoencoder.channels)))
        for block in _through(settings.effects, _mixed(sounds, stem_writers, channels), sample_rate, channels):
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
        lanes=parts[0].lanes,
        tempo_map=project.tempo_map,
        markers=tuple((marker.name, float(project.tempo_map.seconds_at(marker.beat))) for marker in project.markers),
    )


def stem_paths(parts: Sequence[Part], folder: str | PathLike[str] | None, suffix: str) -> list[Path]:
    """Where each part's own file goes; none without a folder. Tracks of one name are numbered."""
    if folder is None:
        return []
    names: list[str] = []
    for index, part in enumerate(parts, start=1):
        plain = re.sub(r"[^\w .()-]", "_", part.name).strip(" .") or f"part {index}"
        names.append(f"{plain} {index}" if plain in names else plain)
    return [Path(folder) / f"{name}{suffix}" for name in names]


def _sound(part: Part, tempo_map: TempoMap, sample_rate: int, start: float, end: float, seed: int) -> Iterator[Audio]:
    plain = {key: PlainLane(lane, parameters.by_key(key)) for key, lane in part.lanes.items()}
    return render_batch(
        part.instrument,
        plain,
        tempo_map,
        sample_rate,
        start,
        end,
        seed=seed,
        constants={key: value for key, value in part.constants.items() if key not in plain},
        midi=iter(part.midi),
        effects=[*part.effects, *_loopers(part)],
    )


def _loopers(part: Part) -> list[ChainEffect]:
    """What plays the part's loops: those of its instrument, or empty ones where its lanes or its state use some."""
    keys = {*part.lanes, *(key for key, value in part.constants.items() if value != parameters.DEFAULTS[key])}
    used = any(parameters.by_key(key).group == "Loop" for key in keys)
    if part.effects or not (part.instrument.chain or used or ours(part.loops)):
        return []
    return [loopers_of(part.instrument, part.loops)]


def _mixed(sounds: Sequence[Iterator[Audio]], stems: Sequence[Any], channels: int) -> Iterator[Audio]:
    """The sum of sounds that come in blocks of their own; what is mono goes to every channel.

    `stems`: a writer for each of them, or none.
    """
    waiting: list[Audio | None] = [None] * len(sounds)
    while True:
        for index, sound in enumerate(sounds):
            while (block := waiting[index]) is None or not block.shape[1]:
                following = next(sound, None)
                if following is None:
                    return  # all are equally long
                waiting[index] = following
        blocks = [block for block in waiting if block is not None]
        frames = min(block.shape[1] for block in blocks)
        mix: Audio = np.zeros((channels, frames), dtype=np.float32)
        for index, block in enumerate(blocks):
            mix += block[:, :frames]
            if stems:
                stems[index].write(np.ascontiguousarray(block[:, :frames]))
            waiting[index] = block[:, frames:]
        yield mix


def notes_as_midi(project: Project, track: str | None = None) -> Iterator[TimedMidi]:
    """The project's notes (those of one track, and those that have none) as note-on and note-off messages; they count
    where the parameter Run is at Notes.
    """
    for note in project.notes:
        if track is not None and note.track not in ("", track):
            continue
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


def _end_of_part(part: Part, tempo_map: TempoMap) -> float:
    """The last breakpoint; the last note's end where there are no lanes. Hits ring out."""
    ends = [_end_of(lane, tempo_map) for lane in part.lanes.values()]
    autoencoder = part.instrument.autoencoder
    if isinstance(autoencoder, OneShotAutoencoder):
        begun = [m.seconds for m in part.midi if len(m.data) == 3 and m.data[0] & 0xF0 == NOTE_ON and m.data[2]]
        ends += [max(begun) + autoencoder.hop / autoencoder.sample_rate] if begun else []
    return max(ends or [message.seconds for message in part.midi], default=0.0)


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
