"""How long a person waits for `terrain --help`, and a host for `terrain_core`; beside the interpreter's own start.

Claim: `terrain --help` in under 0.3 s on an idle machine.
"""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks._numbers import note

RUNS = 7
CASES = {
    "python (floor)": ["-c", "pass"],
    "import numpy": ["-c", "import numpy"],
    "import terrain_core.terrain": ["-c", "import terrain_core.terrain"],
    "import terrain_core.engine": ["-c", "import terrain_core.engine"],
    "terrain --help": ["-m", "terrain_plugin", "--help"],
}


def seconds(arguments: list[str]) -> float:
    """The fastest of several runs: the one that the rest of the machine disturbed least."""
    times = []
    for _ in range(RUNS):
        began = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - began)
    return min(times)


def main() -> None:
    found = {name: seconds(arguments) for name, arguments in CASES.items()}
    floor = found["python (floor)"]
    for name, taken in found.items():
        note(name, taken, floor, "s", "the bare interpreter")
        print(f"{name:28} {taken:6.3f} s   {taken / floor:5.1f} x the bare interpreter")


if __name__ == "__main__":
    main()
