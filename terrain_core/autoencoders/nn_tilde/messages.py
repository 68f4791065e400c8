"""What goes through the pipes between us and the process that a TorchScript model lives in.

A message is a JSON object and arrays: 4 bytes length of the JSON (little-endian), the JSON, then each array's bytes in
the order and of the type and shape that the JSON's `arrays` states. No pickle: whoever is at the other end runs a
stranger's code.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_JSON = 1 << 24
MOST_BYTES = 1 << 31
"""Of one message's arrays."""
TYPES: dict[str, np.dtype[Any]] = {"float32": np.dtype("<f4"), "int64": np.dtype("<i8"), "uint8": np.dtype("u1")}

Arrays = list[NDArray[Any]]


class BadMessageError(Exception):
    """What came is no message."""


def pack(facts: dict[str, Any], arrays: Sequence[NDArray[Any]] = ()) -> list[bytes]:
    """A message's pieces, to be written one after the other."""
    listed = [{"type": array.dtype.name, "shape": list(array.shape)} for array in arrays]
    text = json.dumps({**facts, "arrays": listed}).encode()
    return [struct.pack("<I", len(text)), text, *(np.ascontiguousarray(array).tobytes() for array in arrays)]


def unpack(read: Callable[[int], bytes]) -> tuple[dict[str, Any], Arrays]:
    """Read a message. `read(n)` gives exactly n bytes, or raises.

    Raises:
        BadMessageError: the bytes are no message, or one that is too large.
    """
    (length,) = struct.unpack("<I", read(4))
    if length > MOST_JSON:
        raise BadMessageError(f"a message of {length} bytes")
    try:
        facts = json.loads(read(length))
        shapes = [(TYPES[entry["type"]], tuple(map(int, entry["shape"]))) for entry in facts.pop("arrays")]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadMessageError(f"a message that is none ({error})") from None
    arrays: Arrays = []
    for kind, shape in shapes:
        size = kind.itemsize
        for n in shape:
            size *= n
        if min(shape, default=0) < 0 or size > MOST_BYTES:
            raise BadMessageError(f"an array of shape {shape}")
        arrays.append(np.frombuffer(read(size), kind).reshape(shape).copy())
    return facts, arrays


class RefusedError(Exception):
    """What is asked cannot be done with the model; text and hint are for its owner."""

    def __init__(self, problem: str, hint: str = "") -> None:
        super().__init__(problem)
        self.hint = hint
