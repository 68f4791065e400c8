"""What comes with the program: the instrument that plays when none is named, and example projects."""

from __future__ import annotations

from pathlib import Path

import terrain_core.errors
import terrain_daws
from terrain_core.errors import FileError

DEFAULT_INSTRUMENT = Path(terrain_core.errors.__file__).parent / "instruments" / "default.terrain"

# In a wheel the examples lie inside the package, in a clone beside it.
_EXAMPLES = (Path(terrain_daws.__file__).parent / "examples", Path(terrain_daws.__file__).parent.parent / "examples")


def example(name: str) -> Path:
    """The path of an example project, e.g. `gesture.dawproject`."""
    for folder in _EXAMPLES:
        if (folder / name).is_file():
            return folder / name
    raise FileError(
        _EXAMPLES[0] / name, "this example did not come with the installation", hint="install latent-terrain again"
    )
