"""Our VST3 in pedalboard: loaded with its instrument, and driven by lanes block by block.

    terrain = load_terrain("forest.terrain")
    sound = render_lanes(terrain, lanes, tempo_map, seconds=10.0, effects=[pedalboard.Reverb()])

pedalboard gives plugins no transport at all: where a tempo map is given, the parameter Sync BPM carries its tempo.
"""

from __future__ import annotations

import math
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Final

import numpy as np
import pedalboard
from pedalboard._pedalboard import Pedalboard

from terrain_core.autoencoders.protocol import Audio
from terrain_core.engine import TimedMidi
from terrain_core.errors import InputError
from terrain_core.lanes import Lane
from terrain_core.parameters import by_key
from terrain_core.plugin_state import InstrumentReference, PluginState
from terrain_core.tempo import TempoMap
from terrain_plugin.binaries import vst3_path
from terrain_plugin.vst3_preset import write_preset

BLOCK: Final = 512
"""Samples between two values of a parameter: half a frame of the built-in autoencoder, on which its frames begin."""


def load_terrain(
    instrument: str | PathLike[str] | None = None, *, parameters: Mapping[str, float] | None = None
) -> pedalboard.VST3Plugin:
    """The plugin as a pedalboard instrument.

    Call its `process` with `reset=False`: a reset makes pedalboard load the plugin anew, and with it the sound it had.

    Args:
        instrument: a `.terrain` file; None for the built-in one.
        parameters: key -> plain value of those that are not at their defaults.
    Raises:
        FileError: the instrument cannot be read, or the plugin was not built.
        InputError: no parameter has such a key.
    """
    reference = None if instrument is None else InstrumentReference.of(instrument)
    state = PluginState({key: by_key(key).clamp(value) for key, value in (parameters or {}).items()}, reference)
    os.environ.setdefault("LATENT_TERRAIN_PYTHON", sys.executable)  # the plugin was not installed for this host
    # It sounds by itself, so that there is no need to wait until a test note is heard.
    plugin = pedalboard.VST3Plugin(str(vst3_path()), initialization_timeout=0)
    with tempfile.TemporaryDirectory() as folder:
        preset = Path(folder) / "state.vstpreset"
        write_preset(state, preset)
        plugin.load_preset(str(preset))
    return plugin


def parameter(plugin: pedalboard.VST3Plugin, key: str) -> Any:
    """pedalboard's parameter (`raw_value` is 0..1), by our key.

    Raises:
        InputError: there is no such parameter.
    """
    name = by_key(key).name
    every: dict[str, Any] = plugin.parameters  # type: ignore[attr-defined]  # pedalboard's stubs do not know it
    for found in every.values():
        if found.name == name:
            return found
    raise InputError(f"the plugin {plugin.name!r} has no parameter {name!r}: is it Latent Terrain?")


def render_lanes(
    plugin: pedalboard.VST3Plugin,
    lanes: Mapping[str, Lane],
    tempo_map: TempoMap | None = None,
    *,
    seconds: float | None = None,
    sample_rate: int = 44100,
    block: int = BLOCK,
    midi: Iterable[TimedMidi] = (),
    effects: Sequence[pedalboard.Plugin] = (),
) -> Audio:
    """Play lanes through the plugin, then through effects. The plugin's latency is trimmed.

    Args:
        plugin: from `load_terrain`; its stream goes on from where it was.
        lanes: parameter key -> lane, values 0..1 of the parameter's range; read at the start of each block.
        tempo_map: where beats fall, and what Sync BPM says; 120 bpm, and Sync BPM left alone, if None.
        seconds: how long; None for the lanes' last point.
        sample_rate: Hz.
        block: samples.
        midi: messages, at seconds from the beginning.
        effects: pedalboard plugins, in order.
    Returns:
        (2, samples)
    Raises:
        InputError: an unknown key, or nothing that says how long.
    """
    times = tempo_map or TempoMap.constant(120)
    samples = round(_length(lanes, times, seconds) * sample_rate)
    latency = plugin.reported_latency_samples
    starts = np.arange(0, samples + latency, block)
    columns = {key: lane.values_at(starts / sample_rate, times) for key, lane in lanes.items()}
    if tempo_map is not None:
        sync = by_key("sync_bpm")
        bpm = np.clip(tempo_map.bpm_at_seconds(starts / sample_rate), sync.low, sync.high)
        columns["sync_bpm"] = (bpm - sync.low) / (sync.high - sync.low)
    parameters = {key: parameter(plugin, key) for key in columns}
    messages = sorted(midi, key=lambda message: message.seconds)
    blocks = []
    for number, start in enumerate(starts.tolist()):
        for key, column in columns.items():
            parameters[key].raw_value = float(column[number])
        begin, end = start / sample_rate, (start + block) / sample_rate
        due: list[Any] = [
            (message.data, message.seconds - begin) for message in messages if begin <= message.seconds < end
        ]
        blocks.append(plugin.process(due, block / sample_rate, sample_rate, 2, block, reset=False))
    sound: Audio = np.concatenate(blocks, axis=1)[:, latency : latency + samples]
    return Pedalboard(list(effects))(sound, sample_rate) if effects else sound


def _length(lanes: Mapping[str, Lane], tempo_map: TempoMap, seconds: float | None) -> float:
    if seconds is None and lanes:
        seconds = max(float(lane.to_seconds(tempo_map).times[-1]) for lane in lanes.values())
    if seconds is None or not (math.isfinite(seconds) and seconds > 0):
        raise InputError(f"the length is {seconds} seconds: expected more than 0, or lanes that end somewhere")
    return seconds
