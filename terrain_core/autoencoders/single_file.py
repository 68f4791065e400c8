"""A bundle as one ONNX file: the decoder's graph, and in its metadata the card and the encoder.

An ONNX file is a protobuf message, and fields may stand behind each other in any order. So metadata is appended to the
decoder's bytes as it is, and cut off again when the file is read: the bundle that comes out has the very bytes, and the
identity, of the one that went in.

    field  = (number << 3 | type) varint, then by type: varint, 8 bytes, (length varint, bytes), or 4 bytes
    entry  = field 14 of the model, with a key (field 1) and a value (field 2), both text
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from typing import Any

from terrain_core.autoencoders.onnx_autoencoder import CARD, DECODER, ENCODER, OnnxAutoencoder
from terrain_core.errors import FileError

SUFFIX = ".onnx"
PREFIX = "latent_terrain."
"""Of our keys; all other metadata are the graph's own."""
CARD_KEY, ENCODER_KEY = f"{PREFIX}card", f"{PREFIX}encoder"
ENTRY, KEY, VALUE = 14, 1, 2
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
FIXED = {FIXED64: 8, FIXED32: 4}
MOST_VARINT = 10
"""Bytes of the longest."""


def write(bundle: OnnxAutoencoder) -> bytes:
    """A bundle as one ONNX file; `read` gives its members back, byte for byte."""
    card = bundle.card
    values = {
        "family": str(card.notes.get("family", card.name)),
        "latents": str(card.latent_size),
        "ratio": str(card.hop),
        "sample_rate": str(card.sample_rate),
        "channels": str(card.channels),
        "delay_samples": str(card.delay),
        "states": json.dumps(_states(bundle)),
    }
    entries = [(PREFIX + key, value.encode()) for key, value in values.items()]
    entries.append((CARD_KEY, bundle.files[CARD]))
    if ENCODER in bundle.files:
        entries.append((ENCODER_KEY, base64.b64encode(bundle.files[ENCODER])))
    return bundle.files[DECODER] + b"".join(
        _bytes_field(ENTRY, _bytes_field(KEY, key.encode()) + _bytes_field(VALUE, value)) for key, value in entries
    )


def read(data: bytes, path: str) -> dict[str, bytes]:
    """The members of a bundle that `write` made one file.

    Args:
        path: what errors call it.
    Raises:
        FileError: it is no ONNX file, or one without a card of ours.
    """
    graph, found = [], {}
    try:
        for number, kind, start, content, end in _fields(data, 0, len(data)):
            key, value = _entry(data, content, end) if (number, kind) == (ENTRY, BYTES) else ("", b"")
            if key.startswith(PREFIX):
                found[key] = value
            else:
                graph.append(data[start:end])
        members = {DECODER: b"".join(graph), CARD: found[CARD_KEY]}
        if ENCODER_KEY in found:
            members[ENCODER] = base64.b64decode(found[ENCODER_KEY], validate=True)
    except (_BrokenError, binascii.Error) as error:
        raise FileError(path, f"is neither an autoencoder bundle nor an ONNX file ({error})") from None
    except KeyError:
        raise FileError(
            path,
            "is an ONNX file without an autoencoder's card",
            hint="terrain convert MODEL -o NAME.onnx writes one",
        ) from None
    return members


class _BrokenError(ValueError):
    """The bytes are no protobuf message."""


def _states(bundle: OnnxAutoencoder) -> list[dict[str, Any]]:
    inputs = bundle.session(DECODER, 1).get_inputs()
    return [
        {"input": value.name, "output": f"{value.name}_out", "shape": value.shape, "type": value.type}
        for value in inputs
        if value.name not in ("latents", "noise")
    ]


def _entry(data: bytes, start: int, end: int) -> tuple[str, bytes]:
    parts = {number: data[content:stop] for number, _, _, content, stop in _fields(data, start, end)}
    return parts.get(KEY, b"").decode(errors="replace"), parts.get(VALUE, b"")


def _fields(data: bytes, position: int, end: int) -> Iterator[tuple[int, int, int, int, int]]:
    """Number and type of each field, where it starts, where its content starts, and where it ends."""
    while position < end:
        start = position
        tag, position = _varint(data, position, end)
        kind = tag & 7
        content = position
        if kind == VARINT:
            _, position = _varint(data, position, end)
        elif kind == BYTES:
            length, content = _varint(data, position, end)
            position = content + length
        elif kind in FIXED:
            position += FIXED[kind]
        else:
            raise _BrokenError(f"a field of type {kind} at byte {start}")
        if position > end:
            raise _BrokenError(f"cut off in the field at byte {start}")
        yield tag >> 3, kind, start, content, position


def _varint(data: bytes, position: int, end: int) -> tuple[int, int]:
    value = 0
    for count in range(MOST_VARINT):
        if position + count >= end:
            raise _BrokenError(f"cut off in the number at byte {position}")
        byte = data[position + count]
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value, position + count + 1
    raise _BrokenError(f"no end of the number at byte {position}")


def _bytes_field(number: int, content: bytes) -> bytes:
    return _pack_varint(number << 3 | BYTES) + _pack_varint(len(content)) + content


def _pack_varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])
