"""Ten thousand random sequences of blocks, each sample of which must be the engine's own.

So no block is late or has a hole, none holds NaN, and none is over what the engine's ceiling and Level allow.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from terrain_core.engine import Block, Engine, ParameterPoint
from terrain_core.engine import Transport as EngineTransport
from terrain_core.engine.player import CEILING
from terrain_core.instrument import Instrument
from terrain_core.looper import LooperChain
from terrain_core.parameters import PARAMETERS, Parameter, by_key
from terrain_plugin.clap_host import ClapLibrary, ClapPlugin, ParamValue, Transport
from terrain_plugin.shipped import DEFAULT_INSTRUMENT

RATE, BLOCK = 44100.0, 512
LOUDEST = CEILING * 10 ** ((by_key("level").high + by_key("loop_level").high) / 20)
"""Level and a loop's own stand behind the ceiling."""

MOVED = [parameter for parameter in PARAMETERS if not parameter.read_only and parameter.key != "bypass"]


class Step(NamedTuple):
    """One block."""

    samples: int
    points: list[ParamValue]
    transport: Transport | None


class Pair(NamedTuple):
    """The plugin, and the engine that it must equal."""

    plugin: ClapPlugin
    engine: Engine


def parameter_values(parameter: Parameter) -> st.SearchStrategy[tuple[int, float]]:
    inside = st.floats(parameter.low, parameter.high)
    beyond = st.sampled_from([parameter.low - 1e9, parameter.high + 1e9, parameter.default])
    return st.tuples(st.just(parameter.id), inside | beyond)


VALUES = st.one_of([parameter_values(parameter) for parameter in MOVED])
BEATS = st.integers(-(2**20), 2**30).map(lambda number: number / 2**16)  # exact in CLAP's fixed point
TRANSPORTS = st.builds(
    Transport, st.none() | BEATS, st.none() | st.floats(1.0, 999.0), st.none() | BEATS, playing=st.booleans()
)


@st.composite
def steps(draw: st.DrawFn) -> Step:
    samples = draw(st.sampled_from([1, 16, 64, 441, BLOCK]) | st.integers(1, BLOCK))
    drawn = draw(st.lists(st.tuples(st.integers(0, samples - 1), VALUES), max_size=4))
    points = [ParamValue(offset, id, value) for offset, (id, value) in sorted(drawn, key=lambda point: point[0])]
    return Step(samples, points, draw(st.none() | TRANSPORTS))


SEQUENCES = st.lists(steps(), min_size=1, max_size=5)


@pytest.fixture(scope="module")
def pair(library: ClapLibrary, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with pytest.MonkeyPatch.context() as environment, library.create() as plugin:
        environment.setenv("LATENT_TERRAIN_PYTHON", sys.executable)
        environment.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        plugin.activate(RATE, BLOCK)
        plugin.set_offline(True)
        instrument = Instrument.load(DEFAULT_INSTRUMENT)
        yield Pair(plugin, Engine(instrument, RATE, BLOCK, effects=[LooperChain.empty().effect(instrument)]))


def compare(pair: Pair, sequence: list[Step]) -> None:
    pair.plugin.reset()
    pair.engine.reset()
    for step in sequence:
        heard = pair.plugin.process(step.samples, step.points, step.transport)
        points = [ParameterPoint(point.id, point.offset, point.value) for point in step.points]
        given_ = step.transport
        position = None
        if given_:
            position = EngineTransport(given_.playing, given_.beat, given_.bpm, given_.seconds, offline=True)
        expected = pair.engine.process(Block(step.samples, points, transport=position))
        np.testing.assert_array_equal(heard, np.broadcast_to(expected, heard.shape))
        assert np.abs(heard).max() <= LOUDEST


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(sequence=SEQUENCES)
def test_some_sequences(pair: Pair, sequence: list[Step]) -> None:
    compare(pair, sequence)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@settings(max_examples=10_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(sequence=SEQUENCES)
def test_ten_thousand_sequences(pair: Pair, sequence: list[Step]) -> None:
    compare(pair, sequence)
