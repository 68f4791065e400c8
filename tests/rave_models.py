"""Genuine RAVE models with random weights, exported by the package's own path; made when they are first wanted."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".cache" / "rave-models"


@cache
def rave_model(name: str) -> Path:
    """The .ts of that name, see scripts/export_rave.py."""
    path = FOLDER / f"{name}.ts"
    if not path.exists():
        subprocess.run([ROOT / "scripts" / "rave_env"], check=True)
    return path
