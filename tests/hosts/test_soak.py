"""Hours of playing in minutes: four instances, everything that a host does to them in random order, and nothing grows.

As fast as it goes (offline), so that a busy machine tests as much as a quiet one. `make test` does the short one;
`make test-slow` ten minutes; LATENT_TERRAIN_SOAK says how many seconds else.
"""

from __future__ import annotations

import os
import threading
import time

import dawdreamer as daw
import numpy as np
import psutil
import pytest

from terrain_core.engine.player import CEILING
from terrain_core.parameters import PARAMETERS, Status, by_key
from terrain_plugin.clap_host import ClapLibrary, ClapPlugin, Midi, ParamValue, Transport
from terrain_plugin.dawdreamer import add_terrain, automate
from tests.hosts.processes import descriptors, engines, shared_memories, wait_until

INSTANCES, MOST = 4, 1024
RATES = (22050.0, 44100.0, 48000.0, 96000.0)
LOUDEST = CEILING * 10 ** (24 / 20)
SETTABLE = [parameter for parameter in PARAMETERS if not parameter.read_only and parameter.key != "bypass"]
STATUS = by_key("status").id
GROWTH = 24 << 20
"""Bytes that an engine may grow from a quarter of the way on: loops and their past are kept without limit."""

pytestmark = pytest.mark.usefixtures("alone")


class Player:
    """One instance, and a song that is played to pieces."""

    def __init__(self, plugin: ClapPlugin, seed: int) -> None:
        self.plugin = plugin
        self.random = np.random.default_rng(seed)
        self.beat, self.playing, self.bpm, self.rate = 0.0, True, 120.0, 44100.0
        self.blocks = 0
        self.states: list[bytes] = []
        plugin.set_offline(True)
        self.activate()

    def activate(self) -> None:
        self.rate = float(self.random.choice(RATES))
        self.plugin.activate(self.rate, MOST)

    def step(self) -> None:
        """A block, and now and then something else."""
        chance = self.random
        samples = int(chance.integers(1, MOST + 1))
        events: list[ParamValue | Midi] = []
        for _ in range(int(chance.integers(0, 4))):
            parameter = SETTABLE[int(chance.integers(len(SETTABLE)))]
            value = parameter.from_normalised(float(chance.random()))
            events.append(ParamValue(int(chance.integers(samples)), parameter.id, value))
        if chance.random() < 0.2:
            kind = int(chance.choice([0x90, 0x80, 0xB0, 0xE0, 0xD0]))
            data = [kind | int(chance.integers(16)), *chance.integers(0, 128, 1 if kind == 0xD0 else 2).tolist()]
            events.append(Midi(int(chance.integers(samples)), bytes(data)))
        events.sort(key=lambda event: event.offset)
        if chance.random() < 0.02:
            self.beat = float(chance.uniform(-8, 400))
        if chance.random() < 0.02:
            self.playing = not self.playing
        if chance.random() < 0.05:
            self.bpm = float(chance.uniform(30, 300))
        transport = Transport(
            self.beat,
            self.bpm,
            None,
            self.playing,
            bar_beat=4 * np.floor(self.beat / 4),
            meter=(4, 4),
        )
        sound = self.plugin.process(samples, events, transport if chance.random() < 0.9 else None)
        assert np.isfinite(sound).all()
        assert np.abs(sound).max() <= LOUDEST
        if self.playing:
            self.beat += samples / self.rate * self.bpm / 60
        self.blocks += 1
        self._something_else()

    def _something_else(self) -> None:
        chance = self.random
        if chance.random() < 0.003:
            state = self.plugin.save()
            assert state is not None
            self.states = [*self.states[-3:], state]
        if chance.random() < 0.003 and self.states:
            assert self.plugin.load(self.states[int(chance.integers(len(self.states)))])
        if chance.random() < 0.002:
            self.plugin.reset()
        if chance.random() < 0.0005:
            self.plugin.deactivate()
            self.activate()


def soak(library: ClapLibrary, seconds: float) -> dict[str, float]:
    """Play so long; what grew, from a quarter of the way on."""
    plugins = [library.create() for _ in range(INSTANCES)]
    try:
        players = [Player(plugin, seed) for seed, plugin in enumerate(plugins)]
        began = time.monotonic()
        before: dict[str, float] = {}
        while (now := time.monotonic() - began) < seconds:
            for player in players:
                player.step()
            if not before and now > seconds / 4:
                before = sizes()
        after = sizes()
        assert all(plugin.value(STATUS) == Status.READY for plugin in plugins)
        assert len(engines()) == INSTANCES
        blocks = sum(player.blocks for player in players)
        print(f"{blocks} blocks in {seconds:.0f} s; from a quarter on: {before} -> {after}")
        assert blocks > 4 * seconds, "hardly anything was played"
        return {name: after[name] - before[name] for name in before}
    finally:
        for plugin in plugins:
            plugin.destroy()


def sizes() -> dict[str, float]:
    """What must not grow."""
    return {
        "engines": max(own_bytes(engine) for engine in engines()),
        "host": own_bytes(psutil.Process()),
        "threads": threading.active_count() + psutil.Process().num_threads(),
        "descriptors": descriptors(),
        "engine descriptors": max(engine.num_fds() for engine in engines()),
        "memories": shared_memories(),
    }


def own_bytes(process: psutil.Process) -> int:
    """Memory in use that no file backs: pages of libraries come and go as the system likes."""
    memory = process.memory_info()
    return memory.rss - memory.shared


def check(grown: dict[str, float]) -> None:
    assert grown["engines"] < GROWTH
    assert grown["host"] < GROWTH
    for name in ("threads", "descriptors", "engine descriptors", "memories"):
        assert grown[name] <= 0, name


def test_nothing_grows(library: ClapLibrary) -> None:
    check(soak(library, float(os.environ.get("LATENT_TERRAIN_SOAK", "15"))))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_nothing_grows_in_ten_minutes(library: ClapLibrary) -> None:
    check(soak(library, 600.0))


class Studio:
    """A DawDreamer with one instance, which renders gestures."""

    def __init__(self, random: np.random.Generator) -> None:
        self.random = random
        self.rate = int(random.choice(RATES))
        self.engine = daw.RenderEngine(self.rate, int(random.choice([1 << n for n in range(4, 12)])))
        values = {p.key: p.from_normalised(float(random.random())) for p in random.choice(np.array(SETTABLE), 3)}
        self.terrain = add_terrain(self.engine, "terrain", parameters=values)
        self.engine.load_graph([(self.terrain, [])])

    def plan(self) -> None:
        """Another tempo and another gesture, for the next render."""
        self.engine.set_bpm(float(self.random.uniform(30, 300)))
        for key in ("x", "y", "pressure"):
            automate(self.terrain, {key: np.linspace(*self.random.random(2), self.rate // 2)})

    def render(self) -> None:
        self.engine.render(float(self.random.uniform(0.1, 0.5)))

    def check(self) -> None:
        sound = self.engine.get_audio()
        assert np.isfinite(sound).all()
        assert np.abs(sound).max() <= LOUDEST


def soak_studios(seconds: float) -> dict[str, float]:
    """DawDreamer renders without Python's lock: a thread an engine, and now and then a new engine for an old one."""
    random = np.random.default_rng(1)
    studios = [Studio(random) for _ in range(INSTANCES)]
    began, rounds = time.monotonic(), 0
    before: dict[str, float] = {}
    while (now := time.monotonic() - began) < seconds:
        for studio in studios:
            studio.plan()
        threads = [threading.Thread(target=studio.render) for studio in studios]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for studio in studios:
            studio.check()
        rounds += 1
        if rounds % 5 == 0:
            studios[rounds // 5 % INSTANCES] = Studio(random)
        if not before and now > seconds / 4:
            assert wait_until(lambda: len(engines()) == INSTANCES, 5)
            before = sizes()
    assert wait_until(lambda: len(engines()) == INSTANCES, 5)
    after = sizes()
    print(f"{rounds} rounds of {INSTANCES} renders in {seconds:.0f} s; from a quarter on: {before} -> {after}")
    assert rounds > seconds / 10, "hardly anything was played"
    return {name: after[name] - before[name] for name in before}


def test_nothing_grows_in_dawdreamers_threads() -> None:
    check(soak_studios(float(os.environ.get("LATENT_TERRAIN_SOAK", "12"))))
