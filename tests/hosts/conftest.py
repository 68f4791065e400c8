from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from terrain_plugin import binaries
from terrain_plugin.clap_host import ClapLibrary, ClapPlugin
from tests.hosts.processes import nurseries, wait_until
from tests.hosts.vst3_host import Vst3Library, Vst3Plugin


@pytest.fixture(autouse=True)
def own_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines run with this interpreter, and write to a log of their own."""
    monkeypatch.setenv("LATENT_TERRAIN_PYTHON", sys.executable)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def alone() -> None:
    """No plugin of another test lives on: pedalboard's hold themselves until they are collected."""
    gc.collect()
    assert wait_until(lambda: not nurseries(), 5.0)


@pytest.fixture
def engine_log(tmp_path: Path) -> Path:
    """Where plugins and engines of this test write."""
    return tmp_path / "state" / "latent-terrain" / "engine.log"


@pytest.fixture
def patch_engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Has engines run a piece of Python before they start, to look into them or to lead them astray."""

    def patch(code: str) -> None:
        script, interpreter = tmp_path / "patched.py", tmp_path / "python"
        script.write_text(f"{code}\nfrom terrain_plugin.bridge import nursery\nnursery.main()\n")
        interpreter.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}"\n')
        interpreter.chmod(0o755)
        monkeypatch.setenv("LATENT_TERRAIN_PYTHON", str(interpreter))

    return patch


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


@pytest.fixture(scope="session")
def vst3_library() -> Vst3Library:
    """The VST3 plugin, as built."""
    return Vst3Library(binaries.vst3_path())


@pytest.fixture
def vst3(vst3_library: Vst3Library) -> Iterator[Vst3Plugin]:
    """An instance that is not active yet."""
    with vst3_library.create() as instance:
        yield instance
