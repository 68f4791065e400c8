"""The wheel and the sdist: built, installed into an empty environment, used, and taken out without a trace."""

from __future__ import annotations

import os
import site
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

RENDER = """
import dawdreamer as daw, numpy as np, sys
import terrain_plugin, terrain_core
assert "site-packages" in terrain_core.__file__, terrain_core.__file__
from terrain_core.lanes import Lane
from terrain_plugin.dawdreamer import add_terrain, automate
engine = daw.RenderEngine(44100, 512)
terrain = add_terrain(engine, "terrain")
automate(terrain, {"x": Lane([0, 2], [0.1, 0.9])})
engine.load_graph([(terrain, [])])
engine.render(1.0)
print("peak", np.abs(engine.get_audio()).max())
"""


def run(*command: str | Path, **environment: str) -> str:
    ran = subprocess.run(
        [str(part) for part in command],
        cwd="/",
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, made of the sdist, as package indexes have it."""
    folder = tmp_path_factory.mktemp("dist")
    hooks = "import os, sys; os.chdir(sys.argv[1]); from scikit_build_core.build import build_sdist; "
    run(sys.executable, "-c", hooks + "build_sdist(sys.argv[2])", ROOT, folder)
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "source", filter="data")
    (source,) = (folder / "source").iterdir()
    hooks = "import os, sys; os.chdir(sys.argv[1]); from scikit_build_core.build import build_wheel; "
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # cmake and ninja
    run(sys.executable, "-c", hooks + "build_wheel(sys.argv[2])", source, folder, PATH=path)
    (wheel,) = folder.glob("*.whl")
    return wheel


def test_the_wheel_has_the_plugin_and_nothing_of_the_workshop(built: Path) -> None:
    names = zipfile.ZipFile(built).namelist()
    assert any(name.endswith(".clap") for name in names)
    assert any(name.endswith("/Latent Terrain.so") for name in names)
    assert any(name.endswith("default.terrain") for name in names)
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"terrain_core", "terrain_daws", "terrain_plugin"}
    assert "py3-none" in built.name


def test_installed_used_and_taken_out(built: Path, tmp_path: Path) -> None:
    environment, home = tmp_path / "venv", tmp_path / "home"
    home.mkdir()
    run(sys.executable, "-m", "venv", environment)
    python, terrain = environment / "bin/python", environment / "bin/terrain"
    # The dependencies are those of this environment: nothing is fetched.
    (purelib,) = environment.glob("lib/python3*/site-packages")
    ours = sysconfig.get_path("purelib")
    (purelib / "dependencies.pth").write_text(f"{ours}\n")
    assert ours not in site.getusersitepackages()
    run(python, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet", built)
    surroundings = {"HOME": str(home), "XDG_STATE_HOME": str(home / "state"), "XDG_DATA_HOME": str(home / "data")}
    assert "Usage" in run(terrain, "--help", **surroundings)
    out = tmp_path / "out"
    run(terrain, "demo", "-o", out, **surroundings)
    assert any(out.rglob("*.wav"))
    run(terrain, "plugin", "install", **surroundings)
    assert (home / ".clap/Latent Terrain/Latent Terrain.clap").is_file()
    assert "All is well" in run(terrain, "plugin", "doctor", **surroundings)
    assert float(run(python, "-c", RENDER, **surroundings).split()[-1]) > 0.01
    run(terrain, "plugin", "uninstall", **surroundings)
    # The log stays, for who wants to know why; matplotlib's list of fonts is its own.
    left = [path for path in home.rglob("*") if not {"state", ".cache"} & set(path.parts) and path.is_file()]
    assert left == []
    assert not [path for path in home.rglob("*Terrain*") if "state" not in path.parts]
    run(python, "-m", "pip", "uninstall", "--yes", "--quiet", "latent-terrain")
    assert not [path for path in purelib.iterdir() if "terrain" in path.name]
