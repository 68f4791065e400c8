"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from terrain_core.errors import FileError


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write beside, then rename: the block writes to the path it is given, and at its end the file takes the place
    of `path` at once.

    If the block raises (Ctrl-C among the reasons), what it wrote is removed and `path` is as it was before.

    Raises:
        FileError: the folder is missing, the disk is full, … (any `OSError` of the block).
    """
    target = Path(path)
    # The suffix stays last: writers choose their format by it.
    beside = target.with_name(f".{target.stem}.{os.getpid()}.part{target.suffix}")
    try:
        if target.is_dir():
            raise FileError(target, "is a folder, expected the name of a file")
        if not target.parent.is_dir():
            raise FileError(
                target, f"there is no folder {target.parent} to write it into", hint="make the folder first"
            )
        yield beside
        beside.replace(target)
    except OSError as error:
        raise FileError(target, f"could not be written: {error.strerror or error}") from error
    finally:
        beside.unlink(missing_ok=True)
