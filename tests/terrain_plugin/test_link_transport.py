"""Ableton Link: two members of one session, on this machine."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
import pytest

from terrain_core.engine import Block, Engine
from terrain_core.errors import InputError
from terrain_core.instrument import Instrument
from terrain_core.terrain import Terrain
from terrain_plugin.editor.session import Session
from terrain_plugin.link_transport import LinkTransport
from tests.terrain_core.reference_autoencoder import LinearAutoencoder


def wait_until(true: Callable[[], bool], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.02)
    return true()


def test_two_members_agree_on_tempo_and_beat() -> None:
    with LinkTransport(97) as one, LinkTransport(120) as other:
        assert wait_until(lambda: one.peers == other.peers == 1)
        one.set_tempo(133)
        assert wait_until(lambda: abs(other.transport().bpm - 133) < 1e-3)
        assert wait_until(lambda: abs(_apart(one, other)) < 0.05)
        here = one.transport()
        assert here.playing
        assert 0 <= here.beat - here.bar_beat < 4
        later = one.transport(ahead=60 / 133)
        assert later.beat - here.beat == pytest.approx(1, abs=0.2)


def _apart(one: LinkTransport, other: LinkTransport) -> float:
    """Beats between the two, within a bar."""
    return (one.transport().beat - other.transport().beat + 2) % 4 - 2


def test_an_engine_follows_the_session() -> None:
    instrument = Instrument(LinearAutoencoder(latent_size=3), Terrain.create(2, 3, seed=3, width=16, features=16))
    engine = Engine(instrument, 44100)
    with LinkTransport(141) as session:
        for _ in range(4):
            assert np.isfinite(engine.process(Block(256, transport=session.transport()))).all()
    assert engine._song.bpm == pytest.approx(141, abs=1e-3)


def test_what_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="expected 20 to 999"):
        LinkTransport(5)
    monkeypatch.setitem(sys.modules, "link", None)
    with pytest.raises(InputError, match=r"pip install latent-terrain\[link\]"):
        LinkTransport(120)


def test_the_editor_plays_with_the_session() -> None:
    """`terrain play --link`: tempo and beat come from the session, and what is set in the page goes to all."""
    instrument = Instrument(LinearAutoencoder(latent_size=3), Terrain.create(2, 3, seed=3, width=16, features=16))
    with LinkTransport(90) as other, LinkTransport(120) as own:
        assert wait_until(lambda: own.peers == 1)
        other.set_tempo(151)
        session = Session(instrument, link=own)
        session.start()
        try:
            assert wait_until(lambda: abs(session._bpm - 151) < 1e-3)

            def together() -> bool:
                return abs((session._beat - other.transport(0.02).beat + 2) % 4 - 2) < 0.1

            assert wait_until(together)
            session.transport(bpm=77.0)
            assert wait_until(lambda: abs(other.transport().bpm - 77) < 1e-3)
        finally:
            session.stop()
