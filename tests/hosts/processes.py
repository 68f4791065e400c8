"""Looking at the processes that a plugin starts."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import psutil

NURSERY = "terrain_plugin.bridge.nursery"


def nurseries(host: int | None = None) -> list[psutil.Process]:
    """The nurseries of a host process (this one if None)."""
    return [child for child in psutil.Process(host).children() if _is_nursery(child)]


def engines(host: int | None = None) -> list[psutil.Process]:
    """The engines of a host process, those that are dead but not buried left out."""
    found = [child for nursery in nurseries(host) for child in _children(nursery)]
    return [engine for engine in found if is_alive(engine)]


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs: one that is dead but not buried does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:  # it ended between the two questions
        return False


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children())
    except psutil.NoSuchProcess:
        return []


def _is_nursery(process: psutil.Process) -> bool:
    try:
        return NURSERY in process.cmdline()
    except psutil.Error:
        return False


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether a condition comes true within a time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def shared_memories() -> int:
    """How many of the plugin's shared memories this process has mapped."""
    return Path(f"/proc/{os.getpid()}/maps").read_text().count("memfd:latent-terrain")


def descriptors() -> int:
    """How many files this process has open."""
    return sum(1 for _ in Path(f"/proc/{os.getpid()}/fd").iterdir())
