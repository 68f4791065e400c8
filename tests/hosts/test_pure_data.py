"""An exported instrument in Pure Data, by nn~ itself, which cannot be part of this project: NN_TILDE names one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rave_models import ROOT

pytestmark = pytest.mark.slow


@pytest.mark.skipif(not os.environ.get("NN_TILDE"), reason="NN_TILDE names no nn~ for Pure Data")
def test_pure_datas_nn_plays_what_the_engine_plays() -> None:
    external = Path(os.environ["NN_TILDE"]).resolve()
    command = [sys.executable, ROOT / "scripts" / "pd_check.py", external]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("from the engine") == 6
