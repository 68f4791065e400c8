"""Where the compiled plugins are: inside an installed package, or in a checkout's build folder."""

from __future__ import annotations

import sysconfig
from pathlib import Path
from typing import Final

from terrain_core.errors import FileError
from terrain_core.identity import PLUGIN_NAME

CLAP: Final = f"{PLUGIN_NAME}.clap"
VST3: Final = f"{PLUGIN_NAME}.vst3"

_HERE = Path(__file__).parent

PLACES: Final = (
    _HERE / "compiled",  # a wheel
    _HERE.parents[1] / "build" / "native",  # a checkout
    Path(sysconfig.get_path("platlib")) / "terrain_plugin" / "compiled",  # an editable installation
)


def clap_path() -> Path:
    """The CLAP plugin that belongs to this version.

    Raises:
        FileError: it was not built.
    """
    return _find(CLAP)


def vst3_path() -> Path:
    """The VST3 bundle (a folder) that belongs to this version.

    Raises:
        FileError: it was not built.
    """
    return _find(VST3)


def _find(name: str) -> Path:
    for place in PLACES:
        if (place / name).exists():
            return place / name
    raise FileError(
        PLACES[0] / name,
        "the plugin was not built",
        hint="in a checkout: make native; else install latent-terrain again",
    )
