"""The same gesture on a sound map: batch render, blocks of any size, and DawDreamer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import dawdreamer as daw
import numpy as np
import pytest
from numpy.typing import NDArray

from terrain_core.engine import Block, Engine, ParameterPoint
from terrain_core.instrument import Instrument
from terrain_core.lanes import Lane
from terrain_core.parameters import Source, by_key
from terrain_core.sound_map import TREE_FROM, Blending, SoundMap
from terrain_core.tempo import TempoMap
from terrain_plugin.dawdreamer import add_terrain, automate
from terrain_plugin.shipped import DEFAULT_INSTRUMENT
from tests.hosts.test_same_audio import LANES, RATE, SAMPLES, SECONDS, TEMPO, ByHost, assert_same, batch

WAYS = {"x": LANES["x"], "y": LANES["y"]}
TURNED = {"blend_power": Lane([0, 3, 6], [0.1, 0.8, 0.2]), "blend_radius": Lane([0, 2, 6], [0.03, 0.3, 0.1])}
SWITCHED = {"blend": Lane([0, 1.5, 3, 5], [0.0, 1.0, 0.5, 1.0], "hold")}
MAPS = {
    "few": (200, Blending(), {}, {}),
    "many": (TREE_FROM + 500, Blending(power=3.0, radius=0.1), {}, {}),
    "natural": (200, Blending("natural"), {}, {}),
    "snap": (200, Blending(), {"snap": 1.0}, {}),
    "power and radius turned": (TREE_FROM + 500, Blending(), {}, TURNED),
    "kind switched": (200, Blending(), {}, SWITCHED),
}


@dataclass
class Of(ByHost):
    """A parameter's lane, whose values are 0..1 of its range, as a host hands it over."""

    key: str = ""

    def values_at(self, seconds: NDArray[np.float64], tempo_map: TempoMap) -> NDArray[np.float64]:
        values = super().values_at(seconds, tempo_map)
        return np.array([by_key(self.key).from_normalised(value) for value in values.tolist()])


@pytest.fixture(params=MAPS)
def played(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, dict[str, float], dict[str, Lane]]:
    """An instrument whose map has points of the built-in terrain in any place, and parameters and lanes to play it
    with.
    """
    count, blending, parameters, lanes = MAPS[request.param]
    instrument = Instrument.load(DEFAULT_INSTRUMENT)
    rng = np.random.default_rng(4)
    assert instrument.terrain is not None
    latents = instrument.terrain.at(rng.uniform(size=(count, 2)))
    instrument.sound_map = SoundMap(rng.uniform(size=(count, 2)), latents, blending=blending)
    file = tmp_path / "map.terrain"
    instrument.save(file)
    return file, {"source": float(Source.MAP), **parameters}, {**WAYS, **lanes}


def in_blocks(
    file: Path, parameters: dict[str, float], lanes: dict[str, Lane], sizes: list[int]
) -> NDArray[np.float32]:
    """Blocks of these sizes in turn; each frame's values come as points at its first sample."""
    engine = Engine(Instrument.load(file), RATE, max(sizes), 0)
    engine.set_parameters(parameters)
    heard, start, turn = [], 0, 0
    while start < SAMPLES + engine.latency:
        size = sizes[turn % len(sizes)]
        offsets = [offset for offset in range(size) if (start + offset) % 1024 == 0]
        now = [(offset, np.array([(start + offset) / RATE])) for offset in offsets]
        points = [
            ParameterPoint(by_key(key).id, offset, float(Of(lane, key=key).values_at(at, TEMPO)[0]))
            for offset, at in now
            for key, lane in lanes.items()
        ]
        heard.append(engine.process(Block(size, points=points)))
        start, turn = start + size, turn + 1
    return np.concatenate(heard, axis=1)[:, engine.latency : engine.latency + SAMPLES]


def test_one_gesture_is_one_sound_everywhere(played: tuple[Path, dict[str, float], dict[str, Lane]]) -> None:
    file, parameters, lanes = played
    expected = batch({key: Of(lane, key=key) for key, lane in lanes.items()}, instrument=file, constants=parameters)
    whole = in_blocks(file, parameters, lanes, [1024])
    assert_same(expected, whole)
    np.testing.assert_array_equal(in_blocks(file, parameters, lanes, [1, 333, 64, 2048]), whole)

    engine = daw.RenderEngine(RATE, 512)
    terrain = add_terrain(engine, "terrain", file, parameters=parameters)
    automate(terrain, lanes, TEMPO)
    engine.load_graph([(terrain, [])])
    engine.render(SECONDS)
    assert_same(expected, np.asarray(engine.get_audio()))
