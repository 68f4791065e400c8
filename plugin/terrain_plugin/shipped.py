"""What comes with the program: the instrument that plays when none is named, and example projects."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import terrain_core.errors
import terrain_daws
from terrain_core.errors import FileError

_INSTRUMENTS = Path(terrain_core.errors.__file__).parent / "instruments"
DEFAULT_INSTRUMENT = _INSTRUMENTS / "default.terrain"
DRUM_INSTRUMENT = _INSTRUMENTS / "drums.terrain"
"""One-shots, played by notes."""

NAMED = {"default": DEFAULT_INSTRUMENT, "drums": DRUM_INSTRUMENT}

# In a wheel the examples lie inside the package, in a clone beside it.
_EXAMPLES = (Path(terrain_daws.__file__).parent / "examples", Path(terrain_daws.__file__).parent.parent / "examples")


def instrument_path(reference: str | PathLike[str]) -> Path:
    """The path of an instrument that is named by its path, or by a name of `NAMED` where no such file is."""
    path = Path(reference)
    return path if path.exists() else NAMED.get(str(reference), path)


def example(name: str) -> Path:
    """The path of an example project, e.g. `gesture.dawproject`."""
    for folder in _EXAMPLES:
        if (folder / name).is_file():
            return folder / name
    raise FileError(
        _EXAMPLES[0] / name, "this example did not come with the installation", hint="install latent-terrain again"
    )
