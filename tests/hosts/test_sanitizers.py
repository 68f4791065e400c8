"""The compiled plugin under the compilers' sanitizers: no race, no stray access, no leak, no undefined behaviour."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = "8"
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
CMAKE, NINJA = (shutil.which(tool, path=PATH) for tool in ("cmake", "ninja"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not (CMAKE and NINJA and shutil.which("c++")), reason="no C++ compiler, CMake and Ninja"),
    pytest.mark.skipif(sys.platform != "linux", reason="gcc's sanitizers"),
]


@pytest.fixture(scope="module", params=["address,undefined", "thread"])
def build(request: pytest.FixtureRequest, root: Path) -> Path:
    """The plugin and its rough hosts, compiled with a sanitizer."""
    folder = root / "build" / f"native-{request.param.partition(',')[0]}"
    options = ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={NINJA}", f"-DTERRAIN_SANITIZE={request.param}"]
    for command in (["-S", root / "plugin" / "native", "-B", folder, *options], ["--build", folder]):
        done = subprocess.run([str(CMAKE), *map(str, command)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


def run(*command: object) -> str:
    """What a program prints; it must find no fault, and nor must its sanitizer."""
    environment = os.environ | {
        "ASAN_OPTIONS": "halt_on_error=1:detect_leaks=1",
        "TSAN_OPTIONS": "halt_on_error=1",
        "UBSAN_OPTIONS": "halt_on_error=1",
    }
    done = subprocess.run([str(part) for part in command], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Sanitizer" not in done.stderr
    return done.stdout


@pytest.mark.parametrize("seed", [1, 2])
def test_the_core(build: Path, seed: int) -> None:
    assert "0 failures" in run(build / "stress", SECONDS, seed)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_clap_face(build: Path, seed: int) -> None:
    assert "0 failures" in run(build / "clap_stress", build / "Latent Terrain.clap", SECONDS, seed)
