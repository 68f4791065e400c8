"""An instrument with loopers in it: its file, its renders, and the plugin's state."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from terrain_core.errors import FileError
from terrain_core.instrument import Instrument
from terrain_core.looper import Layer, Looper, LooperChain
from terrain_core.plugin_state import InstrumentReference, PluginState
from terrain_core.tempo import TempoMap
from terrain_daws import Project
from terrain_daws.gestures import gesture
from terrain_plugin.bridge.processor import TerrainProcessor
from terrain_plugin.instrument_shelf import InstrumentShelf
from terrain_plugin.render import Part, RenderSettings, render_parts
from terrain_plugin.shipped import DEFAULT_INSTRUMENT


@pytest.fixture
def with_loops(tmp_path: Path) -> Path:
    instrument = Instrument.load(DEFAULT_INSTRUMENT)
    instrument.chain = LooperChain(Looper("a", beats=3).record(instrument, gesture("circle", 3)))
    path = tmp_path / "loops.terrain"
    instrument.save(path)
    return path


def test_the_file_keeps_the_loops(with_loops: Path, tmp_path: Path) -> None:
    instrument = Instrument.load(with_loops)
    assert instrument.chain is not None
    assert (instrument.chain["a"].beats, instrument.loops) == (3, {})
    copy = tmp_path / "copy.terrain"
    instrument.save(copy)
    assert copy.read_bytes() == with_loops.read_bytes()
    instrument.chain = None
    instrument.save(copy)
    assert Instrument.load(copy).chain is None


def test_a_render_plays_the_loops(with_loops: Path, tmp_path: Path) -> None:
    instrument = Instrument.load(with_loops)
    chain, instrument_alone = instrument.chain, Instrument.load(DEFAULT_INSTRUMENT)
    assert chain is not None
    project = Project("a", tmp_path, tempo_map=TempoMap.constant(100))
    sounds = []
    for part in (
        Part("", instrument, {}),
        Part("", instrument_alone, {}, effects=[chain.effect(instrument_alone)]),
        Part("", instrument_alone, {}),
    ):
        render_parts([part], project, tmp_path / "a.wav", RenderSettings(end=3.0))
        sounds.append(soundfile.read(tmp_path / "a.wav")[0])
    np.testing.assert_array_equal(sounds[0], sounds[1])
    assert np.abs(sounds[0] - sounds[2]).max() > 0.05


def test_the_plugin_plays_them_and_keeps_what_they_remember(with_loops: Path) -> None:
    shelf = InstrumentShelf()
    state = PluginState({}, InstrumentReference.of(with_loops))
    processor = TerrainProcessor(44100, 512, shelf)
    processor.restore(state.to_bytes())
    loops = processor.loops()
    assert loops
    other = TerrainProcessor(44100, 512, shelf)
    other.restore(PluginState({}, state.instrument, loops).to_bytes())
    assert other.loops() == loops
    plain = TerrainProcessor(44100, 512, shelf)
    plain.restore(PluginState().to_bytes())
    assert plain.loops() == b""
    plain.restore(PluginState({}, None, b"from another version").to_bytes())
    assert plain.loops() == b"from another version"


def test_loops_of_another_size_are_refused(tmp_path: Path) -> None:
    instrument = Instrument.load(DEFAULT_INSTRUMENT)
    instrument.chain = LooperChain(Looper("a").holding(Layer.of(np.zeros(1), np.zeros((1, 3))), 4))
    path = tmp_path / "odd.terrain"
    instrument.save(path)
    project = Project("a", tmp_path)
    with pytest.raises(ValueError, match="holds vectors of 3, expected 8"):
        render_parts([Part("", Instrument.load(path), {})], project, tmp_path / "a.wav", RenderSettings(end=1.0))
    damaged = tmp_path / "damaged.terrain"
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(damaged, "w") as copy:
        for info in whole.infolist():
            copy.writestr(info, whole.read(info).replace(b'"mode": "series"', b'"mode": "circle"'))
    with pytest.raises(FileError, match="a chain has mode='circle', expected one of series"):
        Instrument.load(damaged)
