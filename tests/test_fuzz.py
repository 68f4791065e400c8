"""A little of `make fuzz` in every run: damaged input of each kind is read, or refused in one line."""

from __future__ import annotations

import pytest

from terrain_core.engine.song import SongPosition
from terrain_core.errors import InputError
from terrain_core.looper.looper import fraction
from tests.fuzz_core import TARGETS, run


@pytest.mark.parametrize("target", TARGETS)
def test_damaged_input_hurts_nobody(target: str) -> None:
    counts = run([target], 300, seed=20)
    assert sum(counts.values()) == 300


def test_beats_cannot_ask_for_a_number_of_a_billion_digits() -> None:
    """Found by the fuzzer: Fraction("1e999999999") never ends."""
    for text in ("1e999999999", "1/1e9", "nan", "", "-3", "1/0", "9" * 50):
        with pytest.raises(InputError, match="no number of beats"):
            fraction(text)
    assert [float(fraction(value)) for value in ("7/2", " 2.5 ", 3, 0.25)] == [3.5, 2.5, 3, 0.25]


def test_a_host_that_talks_nonsense_is_not_followed() -> None:
    """Found by the fuzzer: seconds and tempos whose product is infinite."""
    from terrain_core.engine import Transport

    song = SongPosition(44100.0)
    for beat, bpm, seconds in ((1e308, 120, None), (1.0, 1e-308, None), (5.0, 120.0, 1e308), (-1e300, 1e300, -1e300)):
        song.enter(Transport(True, beat, bpm, seconds), 0.0)
        song.leave(64)
        assert abs(song.seconds) < 1e10
        assert abs(song.beat) < 1e10
