"""A folder of one-shots made ready for training: looked over, trimmed, brought to one rate, length and level, split.

audio files ─► facts (bad ones listed) ─► duplicates ─► groups ─► train and test ─► shards, dataset.json, report
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from os import PathLike, path
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from terrain_core.audio_files import read_sound, resample, to_channels
from terrain_core.autoencoders.protocol import Audio
from terrain_core.building import find_sounds
from terrain_core.errors import FileError, InputError
from terrain_core.one_shots import shards
from terrain_core.one_shots.config import ModelConfig
from terrain_core.safe_write import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SILENT_DB: Final = -60.0
"""A file whose peak is below is silent."""
SHORTEST: Final = 0.01
"""Seconds of sound, silence around it left aside."""
FULL_SCALE: Final = 0.999
CLIPPED: Final = 0.01
"""Part of the samples at full scale from which on a file counts as clipped."""
FINGERPRINT: Final = 8192
"""Samples at the prepared rate from the onset that tell sounds apart."""
SAME: Final = 0.999
"""Correlation of two fingerprints from which on they are the same sound, at whatever level."""

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many files are done, and how many there are."""


@dataclass(frozen=True)
class PrepareSettings:
    """How to prepare.

    Attributes:
        seconds: length of every sound, rounded up to what the network takes.
        sample_rate: Hz.
        channels: 1 or 2.
        onset_db: the sound begins where it first is louder than this below its peak; what was before is cut off.
        fade: seconds that the end of a cut sound fades out over.
        longer: what happens to longer sounds: "cut" or "skip".
        normalise: bring every peak to full scale.
        duplicates: keep sounds that are the same as an earlier one.
        group: what must not be split between training and test: "file" (each file for itself), "folder", or "name"
            (files whose names differ by their numbers only). Duplicates always stay together.
        test_part: part of the sounds that is held out.
        seed: of the split.
    """

    seconds: float = 1.0
    sample_rate: int = 44100
    channels: int = 1
    onset_db: float = -60.0
    fade: float = 0.005
    longer: Literal["cut", "skip"] = "cut"
    normalise: bool = True
    duplicates: bool = False
    group: Literal["file", "folder", "name"] = "file"
    test_part: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        ModelConfig(sample_rate=self.sample_rate, seconds=self.seconds, channels=self.channels)
        if not -120 <= self.onset_db <= -6:
            raise InputError(f"onset_db is {self.onset_db}: expected -120 to -6 dB below the peak")
        if not 0 <= self.fade <= self.seconds:
            raise InputError(f"fade is {self.fade} s: expected 0 to {self.seconds:g} s, a sound's length")
        if not 0 < self.test_part < 1:
            raise InputError(f"test_part is {self.test_part}: expected more than 0 and less than 1")
        if self.longer not in ("cut", "skip") or self.group not in ("file", "folder", "name"):
            raise InputError(f"longer is {self.longer!r} and group {self.group!r}: expected cut or skip, and file, …")

    @property
    def samples(self) -> int:
        config = ModelConfig(sample_rate=self.sample_rate, seconds=self.seconds, channels=self.channels)
        return config.samples


@dataclass(frozen=True)
class Facts:
    """What was found out about a file that can be used.

    Attributes:
        seconds: of the sound from its onset to its end, as it was.
        lead: seconds of silence before the onset.
        peak_db: dBFS of the file.
        clipped: part of its samples that are at full scale.
    """

    path: Path
    label: str
    group: str
    seconds: float
    lead: float
    sample_rate: int
    channels: int
    peak_db: float
    clipped: float


@dataclass(frozen=True)
class Prepared:
    """What became of a folder.

    Attributes:
        facts: of the sounds that were taken, in order.
        test: (sounds,) which of them are held out.
        duplicates: left out: each with the file it is the same as.
        problems: files that could not be used, and why.
    """

    facts: tuple[Facts, ...]
    test: NDArray[np.bool_]
    duplicates: tuple[tuple[Path, Path], ...]
    problems: tuple[FileError, ...]

    def as_dict(self) -> dict[str, Any]:
        """The figures, as JSON has them."""
        seconds = np.array([fact.seconds for fact in self.facts])
        return {
            "sounds": len(self.facts),
            "train": int((~self.test).sum()),
            "test": int(self.test.sum()),
            "labels": dict(Counter(fact.label for fact in self.facts)),
            "sample_rates": {str(k): v for k, v in Counter(fact.sample_rate for fact in self.facts).items()},
            "seconds": [float(x) for x in np.percentile(seconds, (0, 50, 100))],
            "clipped": [str(fact.path) for fact in self.facts if fact.clipped > CLIPPED],
            "duplicates": [[str(a), str(b)] for a, b in self.duplicates],
            "problems": [str(problem) for problem in self.problems],
        }


def prepare(
    places: Iterable[str | PathLike[str]],
    out: Path,
    settings: PrepareSettings | None = None,
    *,
    progress: Progress = lambda stage, done, total: None,
) -> Prepared:
    """Prepare files and folders of files into the folder `out`: shards, `dataset.json`, `report.md` and `report.png`.

    A file that cannot be used is listed and left out.

    Raises:
        FileError: a folder has no audio file, or `out` cannot be written.
        InputError: settings out of range, or fewer than two groups of sounds are left to split.
    """
    settings = settings or PrepareSettings()
    files = find_sounds(places)
    facts, fingerprints, problems = _look_over(files, settings, progress)
    same_as = _duplicates(fingerprints, [fact.seconds for fact in facts])
    kept = [i for i, first in enumerate(same_as) if first == i or settings.duplicates]
    duplicates = tuple((facts[i].path, facts[j].path) for i, j in enumerate(same_as) if i != j)
    groups = [facts[same_as[i]].group for i in kept]
    if len(set(groups)) < 2:
        raise InputError(
            f"of {len(files)} files {len(kept)} can be used, in {len(set(groups))} group(s): expected two groups at "
            f"least, one to train with and one to test" + (f" ({problems[0]})" if problems else "")
        )
    test = _split(groups, settings)
    prepared = Prepared(tuple(facts[i] for i in kept), test, duplicates, tuple(problems))
    out.mkdir(parents=True, exist_ok=True)
    (out / shards.CARD).unlink(missing_ok=True)  # while shards are written, the folder is no data set
    done = 0

    def sounds(part: shards.Part) -> Iterator[tuple[shards.Sound, Audio]]:
        nonlocal done
        for fact, held_out in zip(prepared.facts, test.tolist(), strict=True):
            if held_out == (part == "test"):
                audio = _finished(_trimmed(fact.path, settings)[0], settings)
                yield shards.Sound(_name(fact.path, files), fact.label, fact.group, fact.seconds), audio
                done += 1
                progress("writing", done, len(test))

    parts = {part: shards.write(out, part, sounds(part), settings.channels, settings.samples) for part in shards.PARTS}
    shards.write_card(out, parts, settings.sample_rate, settings.channels, settings.samples)
    write_report(prepared, out)
    return prepared


def _look_over(
    files: list[Path], settings: PrepareSettings, progress: Progress
) -> tuple[list[Facts], NDArray[np.float32], list[FileError]]:
    facts: list[Facts] = []
    fingerprints: list[NDArray[np.float32]] = []
    problems: list[FileError] = []
    for done, file in enumerate(files):
        try:
            audio, fact = _trimmed(file, settings)
            if settings.longer == "skip" and audio.shape[1] > settings.samples:
                raise FileError(file, f"is {fact.seconds:.2f} s long: expected {settings.seconds:g} s at most")
            facts.append(fact)
            fingerprints.append(_fingerprint(audio))
        except FileError as error:
            problems.append(error)
        progress("looking over", done + 1, len(files))
    return facts, np.array(fingerprints, np.float32).reshape(len(facts), FINGERPRINT), problems


def _trimmed(file: Path, settings: PrepareSettings) -> tuple[Audio, Facts]:
    """The sound from its onset on, at the wanted rate and with the wanted channels, and what is known of it."""
    audio, rate = read_sound(file)
    own_channels, peak = len(audio), float(np.abs(audio).max())
    peak_db = 20 * np.log10(max(peak, 1e-9))
    if peak_db < SILENT_DB:
        raise FileError(file, f"is silent (its peak is at {peak_db:.0f} dBFS)")
    clipped = float((np.abs(audio) >= FULL_SCALE).mean())
    audio = to_channels(file, audio, settings.channels)
    loud = np.flatnonzero(np.abs(audio).max(axis=0) > np.abs(audio).max() * 10 ** (settings.onset_db / 20))
    if not len(loud):
        raise FileError(file, "is silent once its channels are mixed: they cancel each other")
    start, end = int(loud[0]), int(loud[-1]) + 1
    if (end - start) / rate < SHORTEST:
        raise FileError(
            file, f"has {1000 * (end - start) / rate:.1f} ms of sound: expected {1000 * SHORTEST:g} or more"
        )
    # Trimmed before it is resampled: what the filter rings before the onset would be taken for the sound's own.
    trimmed = resample(np.ascontiguousarray(audio[:, start:end]), rate, settings.sample_rate)
    label = file.parent.name
    group = {"file": str(file), "folder": str(file.parent), "name": re.sub(r"[\d\W_]+", " ", file.stem).strip()}
    return trimmed, Facts(
        file, label, group[settings.group], (end - start) / rate, start / rate, rate, own_channels, peak_db, clipped
    )


def _finished(audio: Audio, settings: PrepareSettings) -> Audio:
    """A trimmed sound at its final length and level."""
    samples = settings.samples
    result: Audio = np.zeros((settings.channels, samples), np.float32)
    kept = audio[:, :samples]
    result[:, : kept.shape[1]] = kept
    fade = min(kept.shape[1], round(settings.fade * settings.sample_rate))
    result[:, kept.shape[1] - fade : kept.shape[1]] *= np.linspace(1, 0, fade, dtype=np.float32)
    peak = float(np.abs(result).max())
    return result / np.float32(peak) if settings.normalise and peak else result


def _fingerprint(audio: Audio) -> NDArray[np.float32]:
    """(FINGERPRINT,) the beginning of a sound, of length 1."""
    mono = audio.mean(axis=0)[:FINGERPRINT]
    vector = np.zeros(FINGERPRINT, np.float32)
    vector[: len(mono)] = mono
    length = float(np.linalg.norm(vector))
    return vector / np.float32(length) if length else vector


def _duplicates(fingerprints: NDArray[np.float32], seconds: list[float]) -> list[int]:
    """For each sound the index of the first that is the same: its own, mostly."""
    same_as = list(range(len(seconds)))
    lengths = np.array(seconds)
    for start in range(0, len(seconds), 512):
        likeness = fingerprints[start : start + 512] @ fingerprints.T
        alike = np.abs(lengths[start : start + 512, np.newaxis] - lengths) <= 0.05 * lengths + 0.002
        for row, column in np.argwhere((likeness > SAME) & alike).tolist():
            if column < start + row:
                same_as[start + row] = min(same_as[start + row], same_as[column])
    return same_as


def _split(groups: list[str], settings: PrepareSettings) -> NDArray[np.bool_]:
    """(sounds,) which are held out: whole groups, drawn until there are enough, and at least one left to train with."""
    names = sorted(set(groups))
    order = np.random.default_rng(settings.seed).permutation(len(names))
    sizes = Counter(groups)
    wanted, held_out = max(1, round(settings.test_part * len(groups))), set[str]()
    for index in order[:-1].tolist():
        if sum(sizes[name] for name in held_out) >= wanted:
            break
        held_out.add(names[index])
    return np.array([group in held_out for group in groups])


def _name(file: Path, files: list[Path]) -> str:
    """The file from the folder that all of them are in."""
    return Path(path.relpath(file, path.commonpath([item.parent for item in files]))).as_posix()


def write_report(prepared: Prepared, out: Path) -> None:
    """`report.md` and `report.png`."""
    from terrain_core.figures import save_figure

    figures = prepared.as_dict()
    low, middle, high = figures["seconds"]
    lines = [
        "# Data set",
        "",
        f"{figures['sounds']} sounds: {figures['train']} to train with, {figures['test']} held out. "
        f"{low:.2f} to {high:.2f} s long, half of them up to {middle:.2f} s.",
        "",
        "![what was found](report.png)",
        "",
        "| kind | sounds |",
        "|---|---|",
        *(f"| {label or '(none)'} | {count} |" for label, count in sorted(figures["labels"].items())),
        "",
    ]
    listed = {
        "Left out": figures["problems"],
        "The same as another, and left out": [f"{a}: the same as {b}" for a, b in figures["duplicates"]],
        "Clipped, but taken": figures["clipped"],
    }
    for title, entries in listed.items():
        if entries:
            lines += [f"## {title} ({len(entries)})", "", *(f"* {entry}" for entry in entries), ""]
    with replacing(out / "report.md") as beside:
        beside.write_text("\n".join(lines))
    save_figure(picture(prepared, out), out / "report.png")


def picture(prepared: Prepared, out: Path) -> Figure:
    """How long, how loud, how much silence before, and some of the prepared sounds."""
    from matplotlib.figure import Figure

    from terrain_core import figures

    figure = Figure(figsize=(10, 6), dpi=90, layout="constrained", facecolor="white")
    grid = figure.add_gridspec(3, 3)
    columns = {
        "length in seconds": [fact.seconds for fact in prepared.facts],
        "peak in dBFS": [fact.peak_db for fact in prepared.facts],
        "silence before in ms": [1000 * fact.lead for fact in prepared.facts],
    }
    for column, (title, values) in enumerate(columns.items()):
        panel = figure.add_subplot(grid[0, column])
        panel.hist(values, bins=30, color=figures.INK)
        panel.set_title(title, fontsize=9, loc="left", color=figures.INK)
        panel.tick_params(labelsize=7)
    sounds = shards.open_part(out, "train")
    for place, index in enumerate(np.linspace(0, len(sounds) - 1, 6).astype(int)):
        panel = figure.add_subplot(grid[1 + place // 3, place % 3])
        audio = np.array(sounds[index]).mean(axis=0)
        panel.plot(np.arange(len(audio)) / sounds.sample_rate, audio, linewidth=0.4, color=figures.INK)
        panel.set_title(sounds.sounds[index].name, fontsize=8, loc="left", color=figures.INK)
        panel.set_ylim(-1, 1)
        panel.tick_params(labelsize=7)
    return figure
