"""An instrument as a model for Neutone, made by a Python that has neutone_sdk: that package wants an older NumPy than
we do, so it lives in an environment of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from terrain_core.errors import FileError, InputError
from terrain_core.export.parts import PLAYED
from terrain_core.instrument import Instrument
from terrain_core.safe_write import replacing

SCRIPT = Path(__file__).parent / "neutone_torch.py"
SECONDS = 600.0
"""After which the other Python is given up."""
MOST_ERROR = 1e-6
"""Between the model as Neutone plays it and the module inside, of full scale."""
MOST_CHANNELS = 2


def export_neutone(
    instrument: Instrument, out: str | Path, *, python: str | Path | None = None, path: str = "<instrument>"
) -> dict[str, Any]:
    """Write an instrument as a `.nm`, saved, loaded and played by neutone_sdk.

    Args:
        out: the .nm.
        python: the interpreter that has neutone_sdk; this one if None.
        path: what errors call the instrument.
    Returns:
        facts: buffer sizes, the difference from the module inside, and how far that is from the engine.
    Raises:
        FileError: the instrument cannot be exported, or the model differs from it, or it cannot be written.
        InputError: the interpreter has no neutone_sdk, or cannot be run.
    """
    from terrain_core.export.nn_export_torch import export_nn

    terrain, channels = instrument.terrain, instrument.autoencoder.channels
    if channels > MOST_CHANNELS:
        raise FileError(path, f"has {channels} channels: Neutone takes one or two")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        facts = export_nn(instrument, folder / "instrument.ts", path=path)
        told = {key: facts[key] for key in ("hop", "sample_rate", "channels", "delay")} | {
            "name": Path(path).stem,
            "description": f"An instrument of Latent Terrain: {channels} channel(s), played by position and pressure.",
            "technical": f"A terrain before the decoder {instrument.autoencoder.name}, exported as TorchScript.",
            "deep": terrain is not None and terrain.control_size >= PLAYED,
        }
        (folder / "facts.json").write_text(json.dumps(told))
        # Not resolved: the Python of an environment is a link, and by its name it knows its packages.
        found = _run(os.path.abspath(shutil.which(python or sys.executable) or str(python)), folder)  # noqa: PTH100
        if not found["neutone_error"] <= MOST_ERROR:
            raise FileError(path, f"Neutone plays it otherwise, by {found['neutone_error']:.1e} of full scale")
        with replacing(Path(out)) as beside:
            beside.write_bytes((folder / "model.nm").read_bytes())
    shown = ("sample_rate", "hop", "channels", "delay", "error", "checked_frames")
    return {key: facts[key] for key in shown} | found


def _run(python: str, folder: Path) -> dict[str, Any]:
    """What the script says, in the folder that holds what it reads and writes."""
    command = [python, str(SCRIPT), "instrument.ts", "facts.json", "model.nm"]
    # The other environment is not to find our packages, nor its own in the folder of the script.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except OSError as error:
        raise InputError(f"{python} cannot be run: {error.strerror}") from error
    except subprocess.TimeoutExpired:
        raise InputError(f"{python} did not finish within {SECONDS:.0f} s") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        problem = lines[-1] if lines else f"it ended with {done.returncode}"
        if "ModuleNotFoundError" in problem and "neutone_sdk" in problem:
            raise InputError(
                f"{python} has no neutone_sdk: make one with scripts/neutone_env and name it with --python"
            )
        raise InputError(f"neutone_sdk in {python} failed: {problem}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
