"""A live engine whose instrument carries an ONNX decoder never imports torch, nor anything as slow."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from terrain_core import autoencoders
from terrain_core.instrument import Instrument
from terrain_core.terrain import Terrain
from tests.terrain_core.reference_autoencoder import onnx_bundle

PLAY = """
import sys
from terrain_core.engine import Block, Engine, render_batch
from terrain_core.instrument import Instrument
from terrain_core.lanes import Lane
from terrain_core.tempo import TempoMap
instrument = Instrument.load(sys.argv[1])
audio = Engine(instrument, 8000).process(Block(800))
rendered = list(render_batch(instrument, {"x": Lane([0.0], [1.0])}, TempoMap.constant(120), 48000, 0.0, 0.1))
assert abs(audio).max() > 0 and rendered
print(*sorted({name.partition(".")[0] for name in sys.modules} & {"torch", "scipy", "sklearn", "matplotlib",
"lightning"}))
"""


def test_playing_imports_nothing_slow(tmp_path: Path, root: Path) -> None:
    path = tmp_path / "tiny.terrain"
    autoencoder = autoencoders.load_bytes(onnx_bundle())
    Instrument(autoencoder, Terrain.create(2, 2, width=16, features=16)).save(path, embed_autoencoder=True)
    done = subprocess.run(
        [sys.executable, "-c", PLAY, str(path)], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout.strip() == ""


def test_nothing_is_collected_and_no_thread_is_started(tmp_path: Path) -> None:
    """ONNX Runtime would, by itself: threads that a fork does not survive, and a database of usage figures."""
    program = (
        "import os; import terrain_core.engine, terrain_core.autoencoders; print(len(os.listdir('/proc/self/task')))"
    )
    environment = {**os.environ, "HOME": str(tmp_path), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    found = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "1"
    assert list(tmp_path.rglob("*")) == []
