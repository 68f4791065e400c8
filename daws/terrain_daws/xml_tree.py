"""XML that may be damaged or hostile, as a tree of bounded size."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Final

from lxml import etree

from terrain_core.errors import FileError

LARGEST_FILE: Final = 256 << 20
ELEMENTS_ALLOWED: Final = 300_000
BYTES_AN_ELEMENT: Final = 40
"""Small files may have so many elements, larger ones one more for each so many bytes: a tree of nothing but empty
elements would take thirty times the memory of its text.
"""


def parse_tree(path: Path, data: bytes, root: str) -> Any:
    """The root element (lxml).

    Raises:
        FileError: not well-formed (with the line), a document type (where entities are declared), another root, too
            many elements, nested more than 256 deep.
    """
    if len(data) > LARGEST_FILE:
        raise FileError(path, f"has {len(data):,} bytes, more than the {LARGEST_FILE:,} that are read")
    allowed = ELEMENTS_ALLOWED + len(data) // BYTES_AN_ELEMENT
    events = etree.iterparse(
        io.BytesIO(data), events=("start",), resolve_entities=False, no_network=True, load_dtd=False
    )
    count = 0
    try:
        for _, element in events:
            count += 1
            if count == 1:
                if element.getroottree().docinfo.internalDTD is not None:
                    raise FileError(
                        path, "has a document type, where entities are declared; expected none", position="line 1"
                    )
                if element.tag != root:
                    raise FileError(path, f"begins with <{element.tag}>, expected <{root}>", position=place(element))
            if count > allowed:
                raise FileError(
                    path, f"has more than {allowed:,} elements in {len(data):,} bytes", position=place(element)
                )
    except etree.XMLSyntaxError as error:
        raise FileError(path, f"is not well-formed XML ({error.msg})", position=f"line {error.lineno}") from None
    return events.root


def place(element: Any) -> str:
    """Where an element stands, for messages."""
    return f"line {element.sourceline}"
