"""The log that plugins and engines write to, and `terrain plugin doctor` shows."""

from __future__ import annotations

import logging
import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Final

from terrain_core import identity
from terrain_plugin.bridge.protocol import PROTOCOL_VERSION

LARGEST_LOG: Final = 2**20
"""Bytes. When a nursery finds more, the log becomes `engine.log.old` and begins anew."""

REPORTED: Final = ("numpy", "onnxruntime", "soxr")
"""The packages that an engine stands on."""


def log_path() -> Path:
    """Where the log is; the plugin has the same rule in `native/bridge/log.cpp`."""
    chosen = os.environ.get("LATENT_TERRAIN_LOG")
    if chosen:
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library/Logs/latent-terrain/engine.log"
    state = os.environ.get("XDG_STATE_HOME", "")
    folder = Path(state) if state.startswith("/") else Path.home() / ".local/state"
    return folder / "latent-terrain" / "engine.log"


def start_logging() -> logging.Logger:
    """Lines with time and process id, to standard error, which the plugin has led to the log."""
    logging.basicConfig(
        format="%(asctime)s %(name)s %(process)d: %(message)s", datefmt="%Y-%m-%d %H:%M:%S", level=logging.INFO
    )
    return logging.getLogger("engine")


def banner() -> str:
    """What a bug report must say."""
    versions = ", ".join(f"{package} {metadata.version(package)}" for package in REPORTED)
    return (
        f"{identity.PLUGIN_NAME} {identity.VERSION}, protocol {PROTOCOL_VERSION}, Python {platform.python_version()} "
        f"at {sys.executable}, {versions}, {platform.platform()}"
    )


def start_anew_if_large(path: Path) -> None:
    """Keep the log from growing without bound. It is cut, not replaced: plugins hold it open."""
    try:
        if path.stat().st_size > LARGEST_LOG:
            path.with_name(path.name + ".old").write_bytes(path.read_bytes())
            os.truncate(path, 0)
    except OSError:
        return  # a log that cannot be tended must not keep anybody from playing
