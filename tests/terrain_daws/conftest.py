"""Damage of every kind, the same for every format."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from terrain_core.errors import FileError
from terrain_daws import read

PATIENCE_S = 5.0


@pytest.fixture
def read_damaged(tmp_path: Path) -> Callable[[bytes], str]:
    """Read bytes as a project: the error's text, or "" if it was read. Anything but a FileError is a failure, and so is
    one that has no place or does not name the file, or a wait of more than five seconds.
    """
    path = tmp_path / "damaged"

    def attempt(data: bytes) -> str:
        path.write_bytes(data)
        began, text = time.process_time(), ""
        try:
            project = read(path)
        except FileError as error:
            text = str(error)
        else:
            assert all(np.isfinite(lane.values).all() for lane in project.lanes)
        assert time.process_time() - began < PATIENCE_S
        assert text.startswith(str(path)) or not text
        assert "\n" not in text
        return text

    return attempt
