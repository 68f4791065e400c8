"""Run every benchmark of this folder, each in a process of its own, one after the other: `python -m benchmarks
[NAME...]`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


def main(names: list[str]) -> int:
    scripts = sorted(path for path in FOLDER.glob("*.py") if not path.name.startswith("_"))
    chosen = [script for script in scripts if not names or script.stem in names]
    failed = []
    for script in chosen:
        print(f"\n== {script.stem}", flush=True)
        if subprocess.run(
            [sys.executable, "-m", f"{FOLDER.name}.{script.stem}"], cwd=FOLDER.parent, check=False
        ).returncode:
            failed.append(script.stem)
    if failed:
        print(f"\nfailed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
