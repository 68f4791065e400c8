"""Several instances at once: each plays as if it were alone, and they share what is read-only."""

from __future__ import annotations

import contextlib

import numpy as np
import psutil
import pytest

from terrain_core.parameters import by_key
from terrain_plugin.clap_host import ClapLibrary, ClapPlugin, ParamValue
from tests.hosts.processes import engines, nurseries

RATE, BLOCK, BLOCKS, INSTANCES = 44100.0, 512, 40, 8
X = by_key("x").id

pytestmark = pytest.mark.usefixtures("alone")


def start(library: ClapLibrary, number: int) -> ClapPlugin:
    plugin = library.create()
    plugin.activate(RATE, BLOCK)
    plugin.set_offline(True)
    plugin.flush([ParamValue(0, X, number / INSTANCES)])
    return plugin


def test_eight_at_once_play_as_if_alone(library: ClapLibrary) -> None:
    alone = []
    for number in range(INSTANCES):
        with contextlib.closing(contextlib.ExitStack()) as stack:
            plugin = start(library, number)
            stack.callback(plugin.destroy)
            alone.append(np.concatenate([plugin.process(BLOCK) for _ in range(BLOCKS)], axis=1))
    with contextlib.ExitStack() as stack:
        plugins = []
        for number in range(INSTANCES):
            plugins.append(start(library, number))
            stack.callback(plugins[-1].destroy)
        assert len(engines()) == INSTANCES
        assert len(nurseries()) == 1
        together = [[plugin.process(BLOCK) for plugin in plugins] for _ in range(BLOCKS)]
        shared = [engine.memory_full_info() for engine in engines()]
    for number in range(INSTANCES):
        heard = np.concatenate([row[number] for row in together], axis=1)
        np.testing.assert_array_equal(heard, alone[number])
        assert np.abs(heard).max() > 1e-3
    assert np.abs(alone[0] - alone[1]).max() > 1e-3, "they do not all play the same"
    assert max(size.pss for size in shared) < 0.5 * max(size.rss for size in shared), "most of an engine is shared"


def test_an_instance_outlives_its_neighbours(library: ClapLibrary) -> None:
    one, other = start(library, 0), start(library, 1)
    nursery = nurseries()[0]
    one.destroy()
    assert np.isfinite(other.process(BLOCK)).all()
    assert nursery.is_running()
    third = start(library, 2)
    assert nurseries() == [nursery], "a later one comes from the same nursery"
    for plugin in (other, third):
        plugin.destroy()
    assert not nursery.is_running() or nursery.status() == psutil.STATUS_ZOMBIE
