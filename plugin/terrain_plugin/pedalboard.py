"""Our VST3 in pedalboard: loaded with its instrument, and driven by lanes block by block.

    terrain = load_terrain("forest.terrain")
    sound = render_lanes(terrain, lanes, tempo_map, seconds=10.0, effects=[pedalboard.Reverb()])

pedalboard gives plugins no transport at all: where a tempo map is given, the parameter Sync BPM carries its tempo.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from os import PathLike
from typing import Any, Final

import numpy as np
import pedalboard
from numpy.typing import NDArray

from terrain_core.autoencoders.protocol import Audio
from terrain_core.engine import TimedMidi
from terrain_core.errors import InputError
from terrain_core.lanes import Lane
from terrain_core.parameters import by_key
from terrain_core.tempo import TempoMap
from terrain_core.vst3_preset import pack_preset, state_for
from terrain_plugin.binaries import vst3_path
from terrain_plugin.effects_chain import EffectsChain

BLOCK: Final = 512
"""Samples between two values of a parameter: half a frame of the built-in autoencoder, on which its frames begin."""


def load_terrain(
    instrument: str | PathLike[str] | None = None, *, parameters: Mapping[str, float] | None = None
) -> pedalboard.VST3Plugin:
    """The plugin as a pedalboard instrument.

    Call its `process` with `reset=False` to go on where the last call ended; a reset begins the sound anew.

    Args:
        instrument: a `.terrain` file; None for the built-in one.
        parameters: key -> plain value of those that are not at their defaults.
    Raises:
        FileError: the instrument cannot be read, or the plugin was not built.
        InputError: a parameter that there is not, or that cannot be set so.
    """
    state = state_for(instrument, parameters)
    os.environ.setdefault("LATENT_TERRAIN_PYTHON", sys.executable)  # the plugin was not installed for this host
    # It sounds by itself, so that there is no need to wait until a test note is heard.
    plugin = pedalboard.VST3Plugin(str(vst3_path()), initialization_timeout=0)
    plugin.preset_data = pack_preset(state)
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
    """Play lanes through the plugin from their beginning, then through effects. All latency is trimmed.

    Args:
        plugin: from `load_terrain`; its sound begins anew, its other parameters stay.
        lanes: parameter key -> lane, values 0..1 of the parameter's range; read at the start of each block.
        tempo_map: where beats fall, and what Sync BPM says: pedalboard's transport stands still, and loops go by that
            then. 120 bpm if None; Sync BPM is left alone then if it says anything.
        seconds: how long; None for the lanes' last point.
        sample_rate: Hz.
        block: samples.
        midi: messages, at seconds from the beginning.
        effects: pedalboard plugins, in order.
    Returns:
        (2, samples); with effects, their tail comes after it.
    Raises:
        InputError: an unknown key, a block or rate that cannot be, or nothing that says how long.
    """
    times = tempo_map or TempoMap.constant(120)
    _check_positive("block", block, "samples")
    _check_positive("sample_rate", sample_rate, "Hz")
    samples = round(_length(lanes, times, seconds) * sample_rate)
    plugin.reset()
    plugin.process([], 0.0, sample_rate, 2, block, reset=False)  # nothing yet: latency is known from here on
    latency = plugin.reported_latency_samples
    starts = np.arange(0, samples + latency, block)
    columns = _columns(
        lanes,
        times,
        starts / sample_rate,
        with_tempo=tempo_map is not None or not parameter(plugin, "sync_bpm").raw_value,
    )
    sound = np.concatenate(list(_play(plugin, columns, list(midi), starts, sample_rate, block)), axis=1)
    return _through(effects, sound[:, latency : latency + samples], sample_rate)


def _columns(
    lanes: Mapping[str, Lane], tempo_map: TempoMap, seconds: NDArray[np.float64], *, with_tempo: bool
) -> dict[str, NDArray[np.float64]]:
    """Parameter key -> normalised values at times."""
    columns = {key: lane.values_at(seconds, tempo_map) for key, lane in lanes.items()}
    if with_tempo:
        sync = by_key("sync_bpm")
        bpm = np.clip(tempo_map.bpm_at_seconds(seconds), sync.low, sync.high)
        columns["sync_bpm"] = (bpm - sync.low) / (sync.high - sync.low)
    return columns


def _play(
    plugin: pedalboard.VST3Plugin,
    columns: Mapping[str, NDArray[np.float64]],
    midi: list[TimedMidi],
    starts: NDArray[np.int64],
    sample_rate: int,
    block: int,
) -> Iterator[Audio]:
    """The blocks, each with its values and messages. pedalboard sets parameters between calls only."""
    parameters = {key: parameter(plugin, key) for key in columns}
    midi.sort(key=lambda message: message.seconds)
    edges = np.append(starts, starts[-1:] + block) / sample_rate
    first_of = np.searchsorted([message.seconds for message in midi], edges)
    for number, begin in enumerate(edges[:-1].tolist()):
        for key, column in columns.items():
            parameters[key].raw_value = float(column[number])
        due: list[Any] = [(m.data, m.seconds - begin) for m in midi[first_of[number] : first_of[number + 1]]]
        yield np.asarray(plugin.process(due, block / sample_rate, sample_rate, 2, block, reset=False))


def _through(effects: Sequence[pedalboard.Plugin], sound: Audio, sample_rate: int) -> Audio:
    chain = EffectsChain(effects, sample_rate, len(sound))
    return np.concatenate([*chain.process(sound), *chain.finish()], axis=1)


def _length(lanes: Mapping[str, Lane], tempo_map: TempoMap, seconds: float | None) -> float:
    if seconds is None and lanes:
        seconds = max(float(lane.to_seconds(tempo_map).times[-1]) for lane in lanes.values())
    if seconds is None or not (math.isfinite(seconds) and seconds > 0):
        raise InputError(f"the length is {seconds} seconds: expected more than 0, or lanes that end somewhere")
    return seconds


def _check_positive(name: str, value: float, unit: str) -> None:
    if not (math.isfinite(value) and value >= 1):
        raise InputError(f"{name} is {value}: expected 1 {unit} or more")
