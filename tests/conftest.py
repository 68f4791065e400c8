"""Fixtures for all rooms: seeded chance, test data."""

from __future__ import annotations

import ctypes
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

# The same examples in every run: a failure belongs to the change that brings it.
settings.register_profile("seeded", derandomize=True, deadline=None)  # nothing is timed: machines are busy
settings.load_profile("seeded")

ROOT = Path(__file__).parents[1]
NN_TERRAIN_DEMO = ROOT / "tests" / "data" / "percussion-terrain-demo.pt"


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test encodes is not in the cache of another, nor in that of whoever runs the tests."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(autouse=True, scope="session")
def own_run_folder() -> Iterator[Path]:
    """Engines of the tests register apart from the user's; in a short folder, since sockets have short addresses."""
    with tempfile.TemporaryDirectory(prefix="lt-") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", folder)
        yield Path(folder) / "latent-terrain"


@pytest.fixture
def rng() -> np.random.Generator:
    """The one source of chance in tests."""
    return np.random.default_rng(2026)


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def demo_pt() -> Path:
    """A terrain published with nn.terrain (CC0): 2 control dimensions, 4 latents, made for the bounds -16 -4 16 4."""
    return NN_TERRAIN_DEMO


@pytest.fixture(autouse=True)
def ordinary_arithmetic() -> None:
    """Hosts on JUCE (pedalboard, DawDreamer) leave the thread that calls them flushing subnormal numbers to zero, and
    hypothesis refuses to draw numbers then: every test begins with the processor's arithmetic as it should be.
    """
    if sys.platform == "linux":
        default_environment = ctypes.c_void_p(-1)  # glibc's FE_DFL_ENV
        ctypes.CDLL("libm.so.6").fesetenv(default_environment)
