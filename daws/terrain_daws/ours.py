"""Our own plugin, wherever a project has it: how it is recognised, its parameters and its state."""

from __future__ import annotations

import re
from typing import Final

from terrain_core import identity, parameters
from terrain_core.errors import InputError
from terrain_core.plugin_state import PluginState

VST3_HEX: Final = identity.VST3_CLASS_UUID.replace("-", "").casefold()
"""The VST3 class id as REAPER and Ardour spell it: 32 hexadecimal digits."""


def is_our_id(text: str) -> bool:
    """Whether a plugin's id, as some format spells it (a UUID, 32 hexadecimal digits, a CLAP id), is ours."""
    return text.casefold() == identity.CLAP_ID or re.sub(r"[{}-]", "", text).casefold() == VST3_HEX


def key_of(parameter_id: int | None, name: str = "") -> str:
    """The key of one of our parameters, by its id or, where a project has none, by its name; "" if there is none."""
    for parameter in parameters.PARAMETERS:
        by_name = parameter_id is None and parameter.name.casefold() == name.casefold()
        if parameter.id == parameter_id or by_name:
            return parameter.key
    return ""


def read_state(data: bytes) -> tuple[PluginState | None, str]:
    """The state in a chunk that a host saved, and what is wrong with it ("" if nothing is)."""
    try:
        return PluginState.from_bytes(data), ""
    except InputError as error:
        return None, str(error)
