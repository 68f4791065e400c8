"""Plugins in REAPER's effect chains: which one, how it is switched, and the state it was saved with."""

from __future__ import annotations

import base64
import binascii
import re
import struct
from dataclasses import dataclass
from typing import Final, Literal

from terrain_core import identity
from terrain_core.plugin_state import PluginState
from terrain_daws.ours import VST3_HEX, is_our_id, read_state
from terrain_daws.reaper.syntax import Block, Document

PLUGIN_TAGS: Final = ("VST", "CLAP", "JS", "AU", "LV2", "DX", "VIDEO_EFFECT")
VST3_MAGIC: Final = 0xFEED5EEE
CLASS_ID: Final = re.compile(r"\{([0-9A-Fa-f]{32})\}")
HEADER_WIDTH, STATE_WIDTH = 96, 210
"""Bytes that REAPER puts into one line of base64: 128 and 280 characters."""


@dataclass
class Plugin:
    """A plugin in a chain.

    Attributes:
        block: its `<VST`, `<CLAP`, … block.
        name: as REAPER shows it, without "VST3i: " and vendor; or what the musician calls this instance.
        plugin_id: VST3 class id (32 hex digits), VST2 id, CLAP id or JSFX path.
        plugin_format: "vst3", "clap", "vst2", "js", …
        silenced_by: "bypassed" or "offline"; "" if it plays.
        is_ours: whether it is this project's plugin.
    """

    block: Block
    name: str
    plugin_id: str
    plugin_format: str
    silenced_by: str
    is_ours: bool


def read_plugin(document: Document, block: Block, bypass: tuple[bool, bool]) -> Plugin:
    """The plugin of a block. `bypass`: (bypassed, offline) from the BYPASS line before it."""
    words = document.words(block.begin)[1:]
    silenced = "offline" if bypass[1] else "bypassed" if bypass[0] else ""
    title = words[0] if words else ""
    if block.tag == "VST":
        spelled = next((word for word in words[1:] if CLASS_ID.search(word)), "")
        found = CLASS_ID.search(spelled)
        kind: str = "vst3" if found or title.startswith("VST3") else "vst2"
        identifier = found[1].upper() if found else (words[4].partition("<")[0] if len(words) > 4 else "")
        own_name = words[3] if len(words) > 3 else ""
    else:
        kind = block.tag.casefold()
        identifier = words[0] if block.tag == "JS" and words else words[1] if len(words) > 1 else ""
        own_name = (
            words[2] if block.tag == "CLAP" and len(words) > 2 else words[1] if block.tag == "JS" and words[1:] else ""
        )
    name = own_name or _plain_name(title)
    is_ours = is_our_id(identifier) or (kind in ("vst3", "clap") and _plain_name(title) == identity.PLUGIN_NAME)
    return Plugin(block, name, identifier, kind, silenced, is_ours)


def _plain_name(title: str) -> str:
    """ "VST3i: Latent Terrain (Latent Terrain)" -> "Latent Terrain"."""
    name = title.partition(": ")[2] or title
    return name.partition(" (")[0] or name


def plugin_state(document: Document, plugin: Plugin) -> tuple[PluginState | None, str]:
    """Our plugin's state, and what is wrong with it ("" if nothing is, or there is none)."""
    try:
        data = _component_state(document, plugin)
    except (binascii.Error, struct.error, ValueError) as error:
        return None, f"the plugin's state is damaged ({error})"
    if not data:
        return None, ""
    return read_state(data)


def _component_state(document: Document, plugin: Plugin) -> bytes:
    if plugin.plugin_format == "clap":
        block = plugin.block.find("STATE")
        return _decoded(document, block) if block else b""
    data = _decoded(document, plugin.block)
    if not data:
        return b""
    _, magic, inputs = struct.unpack_from("<III", data)
    if magic != VST3_MAGIC:
        raise ValueError(f"its header has 0x{magic:08X}, expected 0x{VST3_MAGIC:08X}")
    position = 12 + 8 * inputs
    (outputs,) = struct.unpack_from("<I", data, position)
    position += 4 + 8 * outputs
    size, _, _ = struct.unpack_from("<III", data, position)
    position += 12
    if size == 0:
        return b""
    (component,) = struct.unpack_from("<I", data, position)
    begin = position + 8
    if begin + component > len(data) or component > size:
        raise ValueError(f"it announces {component:,} bytes and has {max(len(data) - begin, 0):,}")
    return data[begin : begin + component]


def _decoded(document: Document, block: Block) -> bytes:
    """The base64 of a block's own lines, each decoded by itself, since each part of the state is padded at its end."""
    parts = []
    for line in document.lines(block):
        raw = document.raw(line).strip()
        if raw:
            parts.append(base64.b64decode(raw, validate=True))
    return b"".join(parts)


def encoded_state(state: PluginState, plugin_format: Literal["vst3", "clap"], channels: int = 2) -> list[str]:
    """The lines of base64 that hold a state: for a VST3 header, state and footer; for a CLAP the state alone."""
    data = state.to_bytes()
    if plugin_format == "clap":
        return _wrapped(data, STATE_WIDTH)
    masks = b"".join(struct.pack("<Q", 1 << channel) for channel in range(channels))
    body = struct.pack("<II", len(data), 1) + data + struct.pack("<II", 0, 1)
    header = (
        struct.pack("<IIII", vst3_number(), VST3_MAGIC, 0, channels)
        + masks
        + struct.pack("<III", len(body), 1, 0x0010FFFF)
    )
    footer = b"\0" + b"\0" + struct.pack("<I", 0x10)
    return [*_wrapped(header, HEADER_WIDTH), *_wrapped(body, STATE_WIDTH), *_wrapped(footer, STATE_WIDTH)]


def _wrapped(data: bytes, width: int) -> list[str]:
    return [base64.b64encode(data[i : i + width]).decode("ascii") for i in range(0, len(data), width)]


def vst3_number() -> int:
    """The number that REAPER writes before our class id: FNV-1a over the id's bytes as Windows keeps them in memory,
    without the sign bit. Found by trying hashes on the pairs in real projects (Vital's and Kontakt's agree).
    """
    raw = bytes.fromhex(VST3_HEX)
    as_guid = raw[3::-1] + raw[5:3:-1] + raw[7:5:-1] + raw[8:]
    number = 0x811C9DC5
    for byte in as_guid:
        number = ((number ^ byte) * 0x01000193) & 0xFFFFFFFF
    return number & 0x7FFFFFFF
