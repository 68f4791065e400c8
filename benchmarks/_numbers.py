"""The figures that this project claims, gathered while the benchmarks run.

Each is ours beside its floor or its peer, of one run: times on different machines, or on a busy one, say nothing; their
ratio does. `python -m benchmarks --write` makes `docs/numbers.md` of them, and lists what became worse.
"""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

VARIABLE: Final = "TERRAIN_NUMBERS"
"""Names the file that figures are appended to, a JSON line each; without it they are only printed."""

WORSE: Final = 1.2
"""A ratio that grew by more than this is listed as a regression."""


@dataclass(frozen=True)
class Number:
    """Attributes:
    what: what was measured.
    ours, peer: in `unit`.
    beside: what the peer, or the floor, is.
    lower_is_better: for times and sizes; false for speeds and qualities.
    """

    what: str
    ours: float
    peer: float
    unit: str
    beside: str
    lower_is_better: bool = True
    benchmark: str = ""

    @property
    def ratio(self) -> float:
        """Ours over the peer's."""
        return self.ours / self.peer if self.peer else float("nan")


def note(what: str, ours: float, peer: float, unit: str, beside: str, *, lower_is_better: bool = True) -> None:
    """Keep a figure for the numbers page."""
    path = os.environ.get(VARIABLE)
    if path:
        number = Number(what, float(ours), float(peer), unit, beside, lower_is_better, os.environ.get("BENCHMARK", ""))
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(number)) + "\n")


def read(path: Path) -> list[Number]:
    """The figures of a file of `note`."""
    return [Number(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def worse(now: list[Number], before: list[Number]) -> list[str]:
    """What became worse by more than `WORSE`, a line each."""
    known = {(number.benchmark, number.what): number for number in before}
    lines = []
    for number in now:
        old = known.get((number.benchmark, number.what))
        if old is None:
            continue
        change = number.ratio / old.ratio if number.lower_is_better else old.ratio / number.ratio
        if change > WORSE:
            lines.append(
                f"{number.benchmark}: {number.what}: {number.ratio:.3g} of {number.beside}, was {old.ratio:.3g}"
            )
    return lines


def machine() -> str:
    """What it ran on, in a line."""
    model = platform.processor() or platform.machine()
    cpu_info = Path("/proc/cpuinfo")
    if cpu_info.exists():
        names = [line.split(":", 1)[1].strip() for line in cpu_info.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return f"{os.cpu_count()} cores of {model}, {platform.system()}, Python {platform.python_version()}"


def page(numbers: list[Number], date: str, load: float) -> str:
    """`docs/numbers.md`."""
    lines = [
        "# Numbers",
        "",
        f"Made by `make bench` on {date}: {machine()}; {load:.1f} processes were running besides when it began.",
        "",
        "Each figure stands beside its floor (the bare call that nothing can be faster than) or its peer (what others",
        "do), measured in the same run. Read the ratio; the times are this machine's.",
    ]
    for benchmark in dict.fromkeys(number.benchmark for number in numbers):
        lines += ["", f"## {benchmark}", "", "| what | ours | beside | | ratio |", "|---|---|---|---|---|"]
        lines += [
            f"| {n.what} | {n.ours:.4g} {n.unit} | {n.beside} | {n.peer:.4g} {n.unit} | {n.ratio:.3g} |"
            for n in numbers
            if n.benchmark == benchmark
        ]
    return "\n".join(lines) + "\n"
