from __future__ import annotations

import errno
import os

import pytest

from terrain_core.errors import FileError
from terrain_core.safe_write import replacing


def test_the_file_appears_at_the_end_and_only_then(tmp_path):
    target = tmp_path / "song.wav"
    target.write_text("old")
    with replacing(target) as beside:
        beside.write_text("new")
        assert target.read_text() == "old"
        assert beside.suffix == ".wav"
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, ValueError])
def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path, interruption):
    target = tmp_path / "song.wav"
    target.write_text("old")

    def write_half() -> None:
        with replacing(target) as beside:
            beside.write_text("ne")
            raise interruption

    with pytest.raises(interruption):
        write_half()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_is_named(tmp_path):
    with (
        pytest.raises(FileError, match=r"song\.wav: could not be written: No space left on device"),
        replacing(tmp_path / "song.wav"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(FileError, match="is a folder"), replacing(tmp_path):
        pass
