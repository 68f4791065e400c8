"""Our VST3 in DawDreamer: added with its instrument, automated by key.

    engine = daw.RenderEngine(44100, 512)
    terrain = add_terrain(engine, "terrain", "forest.terrain")
    automate(terrain, lanes, tempo_map)
    engine.load_graph([(terrain, [])])
    engine.render(10.0)

DawDreamer reads automation once a block, at the block's first sample. The smaller the engine's block, the finer; a
latent frame of the built-in autoencoder is 1024 samples long, so that blocks of 512 lose nothing.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from terrain_core.errors import InputError
from terrain_core.lanes import Lane
from terrain_core.parameters import by_key
from terrain_core.tempo import TempoMap
from terrain_core.vst3_preset import state_for, write_preset
from terrain_plugin.binaries import vst3_path

PPQN: Final = 960
"""Values per quarter note where automation follows the engine's beat."""

TEMPO_PPQN: Final = 960

_sample_rates: dict[int, float] = {}  # by id(processor): DawDreamer tells nobody its sample rate


def add_terrain(
    engine: Any,
    name: str,
    instrument: str | PathLike[str] | None = None,
    *,
    parameters: Mapping[str, float] | None = None,
) -> Any:
    """Add the plugin to a `dawdreamer.RenderEngine`, its instrument loaded into its state.

    To learn the engine's sample rate a second of silence is rendered: call this before `engine.load_graph`. Hold on to
    the engine: DawDreamer's processors do not outlive it.

    Args:
        name: what DawDreamer calls the processor.
        instrument: a `.terrain` file; None for the built-in one.
        parameters: key -> plain value of those that are not at their defaults.
    Returns:
        the `dawdreamer.PluginProcessor`.
    Raises:
        FileError: the instrument cannot be read, or the plugin was not built.
        InputError: a parameter that there is not, or that cannot be set so.
    """
    state = state_for(instrument, parameters)
    os.environ.setdefault("LATENT_TERRAIN_PYTHON", sys.executable)  # the plugin was not installed for this host
    processor = engine.make_plugin_processor(name, str(vst3_path()))
    with tempfile.TemporaryDirectory() as folder:
        preset = Path(folder) / "state.vstpreset"
        write_preset(state, preset)
        processor.load_vst3_preset(str(preset))
    _sample_rates[id(processor)] = _measured_sample_rate(engine)
    return processor


def parameter_index(processor: Any, key: str) -> int:
    """DawDreamer's index of a parameter, by our key.

    Raises:
        InputError: there is no such parameter.
    """
    name = by_key(key).name
    for index in range(processor.get_plugin_parameter_size()):
        if processor.get_parameter_name(index) == name:
            return index
    raise InputError(f"the processor {processor.get_name()!r} has no parameter {name!r}: is it Latent Terrain?")


def automate(
    processor: Any,
    lanes: Mapping[str, Lane | ArrayLike],
    tempo_map: TempoMap | None = None,
    *,
    by_beats: bool = False,
    ppqn: int = PPQN,
) -> None:
    """Automate parameters of a processor that `add_terrain` made.

    Args:
        lanes: parameter key -> lane, or array (samples,) at the engine's rate; values are 0..1 of the range.
        tempo_map: where the lanes' beats fall; 120 bpm if None.
        by_beats: follow the engine's own tempo (see `follow_tempo`) instead of fixed times: lanes are read, and arrays
            taken, at `ppqn` values per quarter note.
        ppqn: see `by_beats`.
    Raises:
        InputError: an unknown or read-only key, an array of another shape, or a value that is no number from 0 to 1.
            Nothing was changed.
    """
    tempo_map = tempo_map or TempoMap.constant(120)
    if not hasattr(processor, "get_plugin_parameter_size"):
        raise InputError(f"{processor!r} is no plugin: automate works on what add_terrain returned")
    rate = ppqn if by_beats else _sample_rate_of(processor)
    automation = {}
    for key, source in lanes.items():
        if isinstance(source, Lane):
            values = _sampled(source, tempo_map, rate, by_beats=by_beats)
        else:
            values = np.asarray(source, np.float32)
        automation[parameter_index(processor, key)] = _checked(key, values)
    for index, values in automation.items():
        processor.set_automation(index, values, ppqn=ppqn if by_beats else 0)


def follow_tempo(engine: Any, tempo_map: TempoMap, beats: float) -> None:
    """Have the engine run at a tempo map's tempo, from beat 0 to `beats`; afterwards the last tempo stays.

    DawDreamer reads the tempo once a block: within a ramp its beat lags by less than a block.
    """
    at = np.arange(max(2, int(np.ceil(beats * TEMPO_PPQN)) + 1)) / TEMPO_PPQN
    engine.set_bpm(tempo_map.bpm_at_beats(at).astype(np.float32), TEMPO_PPQN)


def _sampled(lane: Lane, tempo_map: TempoMap, rate: float, *, by_beats: bool) -> NDArray[np.float32]:
    """The lane from time 0 to its last point, `rate` values per second or beat."""
    in_unit = lane.to_beats(tempo_map) if by_beats else lane.to_seconds(tempo_map)
    at = np.arange(max(2, int(np.ceil(float(in_unit.times[-1]) * rate)) + 1)) / rate
    values: NDArray[np.float64] = in_unit.sample(at) if by_beats else lane.values_at(at, tempo_map)
    return values.astype(np.float32)


def _checked(key: str, values: NDArray[np.float32]) -> NDArray[np.float32]:
    if by_key(key).read_only:
        raise InputError(f"{by_key(key).name} is read-only: it cannot be automated")
    if values.ndim != 1 or not len(values):
        raise InputError(f"the automation of {key} has the shape {values.shape}: expected (values,)")
    if not ((values >= 0) & (values <= 1)).all():
        at = int(np.argmin((values >= 0) & (values <= 1)))
        raise InputError(f"the automation of {key} is {values[at]} at index {at}: expected 0 to 1")
    return np.repeat(values, 2) if len(values) == 1 else values  # an array of one value counts as none


def _sample_rate_of(processor: Any) -> float:
    if id(processor) not in _sample_rates:
        raise InputError(f"the processor {processor.get_name()!r} was not made by add_terrain")
    return _sample_rates[id(processor)]


def _measured_sample_rate(engine: Any) -> float:
    name = "latent terrain: sample rate"
    probe = engine.make_playback_processor(name, np.zeros((2, 1), np.float32))
    engine.load_graph([(probe, [])])
    engine.render(1.0)
    samples = engine.get_audio().shape[1]
    engine.remove_processor(name)
    return float(samples)
