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


# Python's own tests of both faces, on the instrumented plugin: its sanitizer must be there before Python is.
RUNTIMES = {"address": ["libasan.so", "libubsan.so"], "thread": ["libtsan.so"]}
IN_PYTHON = ["test_clap_processing.py", "test_clap_state.py", "test_vst3_plugin.py", "test_vst3_parameters.py"]
PYTEST = """
import pathlib, sys, pytest
from terrain_plugin import binaries
binaries.PLACES = (pathlib.Path(sys.argv[1]),)
sys.exit(pytest.main(["-qs", "-p", "no:cacheprovider", *sys.argv[2:]]))
"""


def test_both_faces_in_python_s_hosts(build: Path, root: Path) -> None:
    names = RUNTIMES[build.name.removeprefix("native-")]
    libraries = [subprocess.check_output(["c++", f"-print-file-name={name}"], text=True).strip() for name in names]
    environment = os.environ | {
        "LD_PRELOAD": " ".join(libraries),
        "ASAN_OPTIONS": "detect_leaks=0",  # Python keeps what it has until its end
        "TSAN_OPTIONS": "ignore_noninstrumented_modules=1",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    tests = [str(root / "tests" / "hosts" / name) for name in IN_PYTHON]
    done = subprocess.run(
        [sys.executable, "-c", PYTEST, str(build), *tests],
        cwd=root, env=environment, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    assert "Sanitizer" not in done.stderr


@pytest.mark.parametrize("seed", [1, 2])
def test_the_core(build: Path, seed: int) -> None:
    assert "0 failures" in run(build / "stress", SECONDS, seed)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_clap_face(build: Path, seed: int) -> None:
    assert "0 failures" in run(build / "clap_stress", build / "Latent Terrain.clap", SECONDS, seed)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_vst3_face(build: Path, seed: int) -> None:
    (library,) = (build / "Latent Terrain.vst3").glob("Contents/*/*.so")
    assert "0 failures" in run(build / "vst3_stress", library, SECONDS, seed)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_queue_of_gestures(build: Path, seed: int) -> None:
    assert "0 failures" in run(build / "gestures", "5", seed)
