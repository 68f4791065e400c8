"""The numbers page: what the benchmarks note, and how it is compared."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import _numbers
from benchmarks._numbers import Number, note, page, read, worse

ROOT = Path(__file__).parents[1]


def test_what_is_noted_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "numbers.jsonl"
    note("nobody listens", 1.0, 2.0, "s", "a floor")
    monkeypatch.setenv(_numbers.VARIABLE, str(file))
    monkeypatch.setenv("BENCHMARK", "one")
    note("a thing", 3.0, 2.0, "ms", "the floor")
    note("a quality", 50.0, 40.0, "dB", "the peer", lower_is_better=False)
    (thing, quality) = read(file)
    assert thing == Number("a thing", 3.0, 2.0, "ms", "the floor", True, "one")
    assert (thing.ratio, quality.ratio) == (1.5, 1.25)
    text = page([thing, quality], "2026-01-02", 0.5)
    assert "| a thing | 3 ms | the floor | 2 ms | 1.5 |" in text
    assert "## one" in text


def test_what_became_worse_is_listed() -> None:
    before = [Number("t", 1.0, 1.0, "s", "f"), Number("q", 1.0, 1.0, "dB", "p", False), Number("old", 1, 1, "", "")]
    assert worse(before, before) == []
    better = [Number("t", 0.5, 1.0, "s", "f"), Number("q", 2.0, 1.0, "dB", "p", False), Number("new", 9, 1, "", "")]
    assert worse(better, before) == []
    slower = [Number("t", 1.25, 1.0, "s", "f"), Number("q", 0.8, 1.0, "dB", "p", False)]
    assert len(worse(slower, before)) == 2
    assert worse([Number("t", 1.19, 1.0, "s", "f")], before) == []


def test_every_benchmark_notes_something() -> None:
    for script in (ROOT / "benchmarks").glob("[a-z]*.py"):
        assert "note(" in script.read_text(), script
