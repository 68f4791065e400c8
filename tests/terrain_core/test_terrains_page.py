"""The examples of docs/terrains.md run as they stand, and its table of settings agrees with the program."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from terrain_core.terrain import LIMITS


def test_examples_run(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    page = (root / "docs" / "terrains.md").read_text(encoding="utf-8")
    examples = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(examples) == 2
    exec("\n".join(examples), {})
    assert re.search(r"60 epochs, PSNR [2-9]\d dB", capsys.readouterr().out)


def test_ranges_are_the_programs(root: Path) -> None:
    page = (root / "docs" / "terrains.md").read_text(encoding="utf-8")
    for name, limit in LIMITS.items():
        assert f"| `{name}` | {limit.low:g}..{limit.high:g}" in page
