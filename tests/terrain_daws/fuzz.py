"""Reads damaged projects by the million: `python tests/terrain_daws/fuzz.py [--inputs N] [--seed S] [--format NAME]`.

Each input is a small project of a format, damaged in one to three ways: bytes flipped, runs of them dropped, doubled or
moved, numbers made huge, tiny, negative or NaN, pieces of another project put in. Formats that are packed (DAWproject,
Live) are damaged within the packing, where a checksum would otherwise refuse everything. Whatever comes must be a
project with finite values or a FileError of one line, within five seconds; anything else ends the run with the input
kept in `fuzz-failure.bin`.
"""

from __future__ import annotations

import argparse
import gzip
import io
import re
import sys
import tempfile
import time
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from terrain_core.errors import FileError
from terrain_core.lanes import Lane, Shape
from terrain_core.plugin_state import PluginState
from terrain_core.tempo import Meter, TempoMap, TempoPoint
from terrain_daws import Marker, Note, PluginInstance, Project, read, write

PATIENCE_S = 5.0
NUMBERS = (
    b"nan",
    b"inf",
    b"-1",
    b"0",
    b"1e308",
    b"-1e-308",
    b"99999999999999999999",
    b"",
    b"1e9",
    b"4294967296",
    b"0.5.5",
)
FAULTS = (0.2, 0.1, 0.1, 0.05, 0.1, 0.02, 0.15, 0.14, 0.14)
NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")


def seed_project(folder: Path) -> Project:
    """A little of everything."""
    shapes = [Shape.LINEAR, Shape.HOLD, Shape.SMOOTH, Shape.BEZIER, Shape.LINEAR]
    x = Lane([0, 1, 2, 2, 4], [0, 0.5, 0.25, 1, 0.75], shapes, [0, 0, 0, 0.5, 0], name="X", key="x")
    y = Lane([0, 3], [1, 0], name="Y", key="y", unit="seconds")
    instance = PluginInstance("Lead", lanes=[x, y], state=PluginState({"run": 1.0}))
    tempo_map = TempoMap([TempoPoint(0, 90, "linear-beats"), TempoPoint(2, 120)], [Meter(0, 4, 4), Meter(4, 7, 8)])
    notes = [Note(0, 1, 0, 60, 1.0), Note(1, 0.5, 3, 64, 0.5)]
    return Project(
        "new", folder, lanes=[x, y], instances=[instance], tempo_map=tempo_map, notes=notes, markers=[Marker("A", 1)]
    )


def rezip(data: bytes) -> tuple[bytes, Callable[[bytes], bytes]]:
    """The XML in a zip, and what packs another one in its place."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}

    def pack(xml: bytes) -> bytes:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as made:
            for name, content in members.items():
                made.writestr(name, xml if name == "project.xml" else content)
        return packed.getvalue()

    return members["project.xml"], pack


def seeds() -> dict[str, tuple[bytes, Callable[[bytes], bytes]]]:
    """Format -> what is damaged, and how it is packed."""
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for format, file in (
            ("midi", "s.mid"),
            ("reaper", "s.rpp"),
            ("ardour", "s.ardour"),
            ("dawproject", "s.dawproject"),
            ("live", "s.als"),
        ):
            write(seed_project(folder), folder / file)
            data = (folder / file).read_bytes()
            if format == "dawproject":
                found[format] = rezip(data)
            elif format == "live":
                found[format] = (gzip.decompress(data), lambda xml: gzip.compress(xml, 1))
            else:
                found[format] = (data, bytes)
    return found


def damaged(data: bytes, others: list[bytes], rng: np.random.Generator) -> bytes:
    """The data with one to three faults."""
    piece = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        size = max(len(piece), 1)
        at, length = int(rng.integers(size)), int(rng.integers(1, 40))
        kind = int(rng.choice(9, p=FAULTS))
        if kind == 0:
            piece[at : at + 1] = bytes((int(rng.integers(256)),))
        elif kind == 1:
            del piece[at : at + length]
        elif kind == 2:
            piece[at:at] = piece[at : at + length] * int(rng.integers(1, 8))
        elif kind == 3:
            piece[at:at] = bytes(rng.integers(0, 256, length, dtype=np.uint8))
        elif kind == 4:
            other = others[int(rng.integers(len(others)))]
            start = int(rng.integers(len(other)))
            piece[at : at + length] = other[start : start + length]
        elif kind == 5:
            del piece[at:]
        else:
            found = list(NUMBER.finditer(bytes(piece[at : at + 400])))
            if found:
                match = found[int(rng.integers(len(found)))]
                piece[at + match.start() : at + match.end()] = NUMBERS[int(rng.integers(len(NUMBERS)))]
    return bytes(piece)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1_000_000, help="in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--format", help="only this one")
    arguments = parser.parse_args()
    warnings.simplefilter("error")
    rng = np.random.default_rng(arguments.seed)
    chosen = {name: seed for name, seed in seeds().items() if arguments.format in (None, name)}
    texts = [data for data, _ in chosen.values()]
    outcomes: dict[str, Counter[str]] = {name: Counter() for name in chosen}
    slowest = dict.fromkeys(chosen, 0.0)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "damaged"
        for number in range(arguments.inputs):
            name = list(chosen)[number % len(chosen)]
            data, pack = chosen[name]
            piece = pack(damaged(data, texts, rng))
            path.write_bytes(piece)
            started = time.process_time()
            try:
                project = read(path)
                assert all(np.isfinite(lane.values).all() and np.isfinite(lane.times).all() for lane in project.lanes)
                outcomes[name]["mended" if project.repairs else "read"] += 1
            except FileError as error:
                kind = "refused" if "\n" not in str(error) else "refused in more than a line"
                outcomes[name][kind] += 1
            except BaseException:
                Path("fuzz-failure.bin").write_bytes(piece)
                print(f"input {number} ({name}), kept in fuzz-failure.bin:", file=sys.stderr)
                raise
            taken = time.process_time() - started
            slowest[name] = max(slowest[name], taken)
            assert taken < PATIENCE_S, f"input {number} ({name}) took {taken:.1f} s"
    for name, counts in outcomes.items():
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(counts.items()))
        print(f"{name:11} {sum(counts.values()):>9,} inputs: {kinds}; the slowest took {slowest[name] * 1000:.0f} ms")
    print(f"{arguments.inputs:,} inputs, {(time.monotonic() - began) / 60:.0f} min, nothing else happened")
    return 0


if __name__ == "__main__":
    sys.exit(main())
