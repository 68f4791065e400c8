"""What `terrain plugin doctor` looks at: what is installed where, whether its Python runs, whether it plays.

The plugin is tried in a process of its own, `python -m terrain_plugin.doctor FILE`, so that one that crashes or hangs
is a finding and not the end of the examination.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from terrain_core import identity
from terrain_core.errors import FileError, TerrainError
from terrain_core.parameters import Status, by_key
from terrain_plugin.binaries import clap_path
from terrain_plugin.bridge.log import log_path
from terrain_plugin.bridge.protocol import PROTOCOL_VERSION
from terrain_plugin.installation import Installed, find_installed

RATE: Final = 44100.0
BLOCK: Final = 512
BLOCKS: Final = 400
INTERPRETER_PATIENCE_S: Final = 60.0  # a cold disk under a large Python installation
TRIAL_PATIENCE_S: Final = 60.0

OVERRIDE: Final = "LATENT_TERRAIN_PYTHON"
"""The environment variable that names another interpreter than the installed plugin does."""


@dataclass(frozen=True)
class Trial:
    """How the plugin did in our own host, live, in blocks of `BLOCK` samples at `RATE` Hz.

    Attributes:
        bundle: what was loaded.
        status: what the plugin says of its engine.
        load_ms, ready_ms: until the library was open, and until an engine was ready from there on.
        first_ms, median_ms, worst_ms: `process()` of the first block, and of those after it.
        latency: samples.
        peak: largest sample, 1 is full scale.
    """

    bundle: str
    status: str
    load_ms: float
    ready_ms: float
    first_ms: float
    median_ms: float
    worst_ms: float
    latency: int
    peak: float


@dataclass
class Report:
    """What was found. `problems` are sentences for the musician, each with what to do; empty if all is well."""

    installed: list[Installed] = field(default_factory=list)
    override: str = ""
    trial: Trial | None = None
    log: str = ""
    log_lines: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def examine(folder: Path | None = None, log_lines: int = 10) -> Report:
    """Look at what is installed, and try it out.

    Args:
        folder: where it was installed to; None for the user's own plugin folders.
        log_lines: how many lines of the log's end to show.
    """
    report = Report(list(find_installed(folder)), os.environ.get(OVERRIDE, ""), log=str(log_path()))
    report.problems += _installation_problems(report.installed, folder)
    pythons = {report.override} if report.override else {found.python for found in report.installed}
    for python in sorted(pythons):
        report.problems += _interpreter_problems(python)
    try:
        report.trial = try_out(*_patient(report))
        report.problems += _trial_problems(report.trial)
    except TerrainError as error:
        report.problems.append(str(error))
    report.log_lines = _last_lines(log_path(), log_lines)
    return report


def try_out(clap: Path, python: str = "") -> Trial:
    """Load a `.clap` file in a process of its own and have it play.

    Args:
        clap: the file.
        python: what runs its engine; "" for what the plugin finds by itself, which is what a DAW gets.
    Raises:
        FileError: it cannot be loaded, crashes or hangs.
    """
    environment = os.environ | ({OVERRIDE: python} if python else {})
    command = [sys.executable, "-m", "terrain_plugin.doctor", str(clap)]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TRIAL_PATIENCE_S)
    except subprocess.TimeoutExpired:
        raise FileError(clap, f"does not play within {TRIAL_PATIENCE_S:g} s", hint="see the log") from None
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        raise FileError(clap, f"crashes its host ({name})", hint="please report this with the log")
    if done.returncode:
        raise FileError(clap, f"cannot be tried out: {done.stderr.strip() or done.returncode}")
    return Trial(**json.loads(done.stdout))


def play(clap: Path) -> Trial:
    """Load a `.clap` file into this process and have it play.

    Raises:
        FileError, InputError: it cannot be loaded, or refuses.
    """
    from terrain_plugin.clap_host import ClapLibrary, Transport

    status = by_key("status")
    began = time.perf_counter()
    with ClapLibrary(clap) as library, library.create() as plugin:
        loaded = time.perf_counter()
        plugin.activate(RATE, BLOCK)
        ready = time.perf_counter()
        spent, peak = [], 0.0
        for index in range(BLOCKS):
            seconds = index * BLOCK / RATE
            sound = plugin.process(BLOCK, transport=Transport(beat=2 * seconds, bpm=120.0, seconds=seconds))
            spent.append(plugin.spent_ns / 1e6)
            peak = max(peak, float(np.abs(sound).max()))
        return Trial(
            str(clap), status.text(plugin.value(status.id)), 1e3 * (loaded - began), 1e3 * (ready - loaded),
            spent[0], statistics.median(spent[1:]), max(spent[1:]), plugin.latency, peak,
        )  # fmt: skip


def _patient(report: Report) -> tuple[Path, str]:
    """The installed CLAP plugin, which finds its Python as in a DAW; else the one that belongs to this package, for
    which this Python is named.
    """
    for found in report.installed:
        if found.format == "CLAP":
            return found.bundle, ""
    return clap_path(), report.override or sys.executable


def _installation_problems(installed: list[Installed], folder: Path | None) -> Iterator[str]:
    again = f"run `terrain plugin install{f' --to {folder}' if folder else ''}`"
    missing = sorted({"VST3", "CLAP"} - {found.format for found in installed})
    if missing:
        yield f"no {' and no '.join(missing)} plugin is installed: {again}"
    for found in installed:
        if not found.python and OVERRIDE not in os.environ:
            yield f"{found.bundle} does not say which Python is to run it: {again}"
        elif found.version != identity.VERSION:
            yield f"{found.bundle} is from version {found.version or 'unknown'}, this is {identity.VERSION}: {again}"
        try:
            _check_library(found)
        except FileError as error:
            yield f"{error}; {again}"


def _check_library(found: Installed) -> None:
    """See whether the installed file is a library with the entry point of its format."""
    library = library_in(found.bundle)
    entry = {"VST3": "GetPluginFactory", "CLAP": "clap_entry"}[found.format]
    try:
        getattr(ctypes.CDLL(str(library)), entry)
    except OSError as error:
        raise FileError(library, f"cannot be loaded ({error})") from None
    except AttributeError:
        raise FileError(library, f"has no {entry}: it is no {found.format} plugin") from None


def library_in(bundle: Path) -> Path:
    """The library that a host loads for a bundle (a folder), or the file itself."""
    if bundle.is_file():
        return bundle
    pattern = "MacOS/*" if sys.platform == "darwin" else "*-linux/*.so"
    return next((bundle / "Contents").glob(pattern), bundle / "Contents")


def _interpreter_problems(python: str) -> Iterator[str]:
    """Start the interpreter in the way in which the plugin does, and ask what it would run."""
    if not python:
        return
    ask = "from terrain_plugin.bridge import nursery, protocol; print(protocol.PROTOCOL_VERSION)"
    try:
        done = subprocess.run(
            [python, "-E", "-P", "-c", ask], capture_output=True, text=True, timeout=INTERPRETER_PATIENCE_S
        )
    except OSError as error:
        yield f"{python} cannot be started ({error.strerror}): run `terrain plugin install` with another Python"
        return
    except subprocess.TimeoutExpired:
        yield f"{python} does not answer within {INTERPRETER_PATIENCE_S:g} s: try it in a terminal"
        return
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        yield f"{python} cannot run the engine ({last}): install latent-terrain there, or run `terrain plugin install`"
    elif done.stdout.strip() != str(PROTOCOL_VERSION):
        yield (
            f"{python} speaks protocol {done.stdout.strip()}, this version {PROTOCOL_VERSION}: "
            "run `terrain plugin install` with the version that you want"
        )


def _trial_problems(trial: Trial) -> Iterator[str]:
    if trial.status != by_key("status").text(Status.READY):
        yield f"the plugin says {trial.status!r} instead of 'Ready': see the log below"
    elif trial.peak == 0.0:
        yield "the plugin is ready but silent: see the log below"
    if trial.median_ms > 1e3 * BLOCK / RATE:
        yield (
            f"a block of {BLOCK} samples takes {trial.median_ms:.1f} ms, longer than it lasts: "
            "close other programs or choose a smaller instrument"
        )


def _last_lines(path: Path, count: int) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()[-count:]
    except OSError:
        return []


def as_dict(report: Report) -> dict[str, Any]:
    """For JSON."""
    return asdict(report)


if __name__ == "__main__":
    try:
        print(json.dumps(asdict(play(Path(sys.argv[1])))))
    except TerrainError as error:
        sys.exit(str(error))
