"""What a set's devices and parameters are called, by which ids they go, and which values they may have."""

from __future__ import annotations

import uuid
from typing import Final

import numpy as np

from terrain_core import identity
from terrain_core.breakpoints import Doubles
from terrain_core.parameters import by_key
from terrain_daws import ours
from terrain_daws.live.set_xml import LARGEST_NUMBER, Device, Parameter, Track

TITLES: Final[dict[tuple[str, ...], str]] = {
    ("Mixer", "Volume"): "Track Volume",
    ("Mixer", "Pan"): "Track Panning",
    ("Mixer", "Speaker"): "Speaker On",
    ("Mixer", "CrossFadeState"): "X-Fade Assign",
    ("On",): "Device On",
}
"""How Live's automation chooser calls what a set names otherwise; by the end of the path of tags."""

CONTAINERS: Final = {"DeviceChain", "MasterChain", "Mixer", "ParameterList", "ParameterValue", "Timeable"}
"""Tags that say nothing to a musician."""


def class_id(device: Device) -> str:
    """A plugin's id: a VST3's class id as canonical UUID, a VST2's number; "" for everything else."""
    ids = class_ids(device)
    if any(ours.is_our_id(text) for text in ids):
        return identity.VST3_CLASS_UUID
    return ids[0] if ids else device.unique_id


def class_ids(device: Device) -> list[str]:
    """The class ids that the places which have one give; Live writes three."""
    fields = [fields for fields in (device.uid, device.preset_uid) if len(fields) == 4]
    ids = [str(uuid.UUID(hex="".join(f"{uid[n]:08x}" for n in range(4)))) for uid in fields]
    if device.browser_id.startswith("device:vst3:"):
        ids.append(device.browser_id.rpartition(":")[2].partition("?")[0].casefold())
    return ids


def may_be_ours(device: Device) -> bool:
    ids = class_ids(device)
    return not device.unique_id and (not ids or any(ours.is_our_id(text) for text in ids))


def is_ours(device: Device | None) -> bool:
    """Whether a device is our plugin."""
    return device is not None and any(ours.is_our_id(text) for text in class_ids(device))


def is_chain(device: Device | None) -> bool:
    return device is not None and device.tag.endswith("Branch")


def device_name(device: Device | None) -> str:
    """What a musician calls a device: its own name, the plugin's, or what kind of device it is; a rack's for its
    chains.
    """
    while device is not None and is_chain(device):
        device = device.parent
    return "" if device is None else device.user_name or device.plugin_name or device.tag


def parameter_name(parameter: Parameter) -> str:
    """What a musician calls a parameter."""
    if parameter.controller is not None:
        return _controller_source(parameter.controller)
    if parameter.slot is not None and parameter.slot.name:
        return parameter.slot.name
    for ending, title in TITLES.items():
        if parameter.path[-len(ending) :] == ending and (len(ending) > 1 or len(parameter.path) == 1):
            return title
    last = parameter.path[-1] if parameter.path else "a parameter without a name"
    if last == "Send":
        return f"Send {chr(ord('A') + parameter.send - 1) if 1 <= parameter.send <= 26 else parameter.send}"
    if last.startswith("MacroControls."):
        return macro_name(parameter.device, int(last.partition(".")[2]))
    return " ".join(tag for tag in parameter.path if tag not in CONTAINERS) or last


def macro_name(rack: Device | None, number: int) -> str:
    """What a rack calls one of its macros."""
    return (rack.macro_names.get(number) if rack else None) or f"Macro {number + 1}"


def parameter_id(parameter: Parameter) -> int | None:
    """A plugin's own number for a parameter; None if it has none."""
    number = parameter.slot.parameter_id if parameter.slot else None
    return None if number in (None, -1) else number


def parameter_key(parameter: Parameter) -> str:
    """The key of one of our parameters; "" for any other."""
    if not is_ours(parameter.device) or parameter.slot is None:
        return ""
    return ours.key_of(parameter_id(parameter), parameter.slot.name)


def bounds_of(parameter: Parameter, kind: str) -> tuple[float, float] | None:
    """The values that stand for 0 and 1, or None if the file does not tell them."""
    if parameter.controller is not None:
        return (-8192.0, 8191.0) if parameter.controller == 0 else (0.0, 127.0)
    if kind == "bool":
        return 0.0, 1.0
    key = parameter_key(parameter)
    if key and kind == "enum":
        return 0.0, float(max(by_key(key).steps, 1))
    plugin = parameter.device.plugin_format if parameter.device else ""
    if parameter.slot is not None and plugin in ("vst2", "vst3") and kind == "float":
        return 0.0, 1.0
    low, high = parameter.low, parameter.high
    if parameter.slot is not None and parameter.slot.low is not None:
        low, high = parameter.slot.low, parameter.slot.high
    if low is None or high is None or low == high or max(-low, -high, low, high) > LARGEST_NUMBER:
        return None
    return min(low, high), max(low, high)


def track_name(track: Track, number: int) -> str:
    """What a musician calls a track; where Live 8 has no name in the set, its number and kind."""
    return track.name or f"{number} {track.tag.removesuffix('Track')}"


def _controller_source(controller: int) -> str:
    """What drives it, as `controls.SOURCES_BY_KEY` spells it."""
    return {0: "pitch bend", 1: "channel pressure"}.get(controller, f"CC {controller - 2}")


def normalised(parameter: Parameter, values: Doubles, bounds: tuple[float, float]) -> Doubles:
    low, high = bounds
    if parameter.controller == 0:  # straight on either side of the centre, so that it is exactly a half
        return np.interp(values, [low, 0.0, high], [0.0, 0.5, 1.0])
    return np.asarray((np.clip(values, low, high) - low) / (high - low))
