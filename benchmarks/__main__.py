"""Run every benchmark of this folder, each in a process of its own, one after the other:
`python -m benchmarks [--write] [NAME...]`.

`--write` puts the figures into docs/numbers.md and benchmarks/numbers.jsonl (those of benchmarks that did not run
stay). What became worse since they were last written is listed.
"""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from json import dumps
from pathlib import Path

from benchmarks import _numbers

FOLDER = Path(__file__).parent
PAGE = FOLDER.parent / "docs/numbers.md"
KEPT = FOLDER / "numbers.jsonl"


def main(arguments: list[str]) -> int:
    names = [name for name in arguments if name != "--write"]
    scripts = sorted(path for path in FOLDER.glob("*.py") if not path.name.startswith("_"))
    chosen = [script for script in scripts if not names or script.stem in names]
    failed = []
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder) / "numbers.jsonl"
        figures.touch()
        for script in chosen:
            print(f"\n== {script.stem}", flush=True)
            command = [sys.executable, "-m", f"{FOLDER.name}.{script.stem}"]
            surroundings = os.environ | {_numbers.VARIABLE: str(figures), "BENCHMARK": script.stem}
            if subprocess.run(command, cwd=FOLDER.parent, check=False, env=surroundings).returncode:
                failed.append(script.stem)
        numbers = _numbers.read(figures)
    before = _numbers.read(KEPT) if KEPT.exists() else []
    for line in _numbers.worse(numbers, before):
        print(f"worse: {line}")
    if "--write" in arguments:
        write(numbers, before, load)
    if failed:
        print(f"\nfailed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def write(numbers: list[_numbers.Number], before: list[_numbers.Number], load: float) -> None:
    """The page, and the figures that the next run is compared with."""
    ran = {number.benchmark for number in numbers}
    together = sorted([n for n in before if n.benchmark not in ran] + numbers, key=lambda n: n.benchmark)
    KEPT.write_text("".join(dumps(asdict(number)) + "\n" for number in together), encoding="utf-8")
    PAGE.write_text(_numbers.page(together, datetime.date.today().isoformat(), load), encoding="utf-8")
    print(f"{PAGE}: {len(together)} figures")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
