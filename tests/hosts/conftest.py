from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from terrain_plugin import binaries
from terrain_plugin.clap_host import ClapLibrary, ClapPlugin


@pytest.fixture(autouse=True)
def own_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines run with this interpreter, and write to a log of their own."""
    monkeypatch.setenv("LATENT_TERRAIN_PYTHON", sys.executable)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def engine_log(tmp_path: Path) -> Path:
    """Where plugins and engines of this test write."""
    return tmp_path / "state" / "latent-terrain" / "engine.log"


@pytest.fixture(scope="session")
def library() -> Iterator[ClapLibrary]:
    """The CLAP plugin, as built (`make native`)."""
    with ClapLibrary(binaries.clap_path()) as opened:
        yield opened


@pytest.fixture
def plugin(library: ClapLibrary) -> Iterator[ClapPlugin]:
    """An instance that is not active yet."""
    with library.create() as instance:
        yield instance
