"""The C++ headers are what the tables make of them, and a compiler lays records out as numpy does."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest

from terrain_plugin.bridge import protocol
from terrain_plugin.bridge.headers import FILES, FOLDER
from terrain_plugin.bridge.protocol import RECORDS, Layout


@pytest.mark.parametrize("name", FILES)
def test_generated_headers_are_up_to_date(name):
    assert (FOLDER / name).read_text(encoding="utf-8") == FILES[name](), "run python -m terrain_plugin.bridge.headers"


def test_nothing_else_lies_there():
    assert {path.name for path in FOLDER.iterdir()} == set(FILES)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name)
def test_records_have_no_gaps(record):
    assert record.dtype.itemsize == record.struct.size
    assert record.dtype.names == tuple(field.name for field in record.fields)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name)
def test_records_survive_both_ways_of_reading(record):
    numbers = [index + 1 for index in range(sum(field.count for field in record.fields))]
    packed = record.struct.pack(*numbers)
    read = np.frombuffer(packed, record.dtype)[0]
    assert np.concatenate([np.atleast_1d(read[name]) for name in read.dtype.names]).tolist() == numbers


@pytest.mark.parametrize("max_block", [1, 16, 17, 512, 8192])
def test_parts_of_the_memory_lie_apart_on_lines_of_their_own(max_block):
    layout = Layout(max_block)
    sizes = {
        "request_at": protocol.REQUEST.dtype.itemsize,
        "reply_at": protocol.REPLY.dtype.itemsize,
        "events_at": layout.max_events * protocol.EVENT.dtype.itemsize,
        "audio_in_at": protocol.CHANNELS * max_block * 4,
        "audio_out_at": protocol.CHANNELS * max_block * 4,
    }
    free = protocol.HEADER.dtype.itemsize
    for name, size in sizes.items():
        at = getattr(layout, name)
        assert at % protocol.CACHE_LINE == 0
        assert at >= free
        free = at + size
    assert layout.memory_bytes >= free


@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler")
def test_a_compiler_agrees(tmp_path):
    """Its static_asserts compare every offset."""
    includes = "".join(f'#include "generated/{name}"\n' for name in FILES if name.endswith(".h"))
    (tmp_path / "all.cpp").write_text(includes + "int main() { return terrain::kParameterCount == 0; }\n")
    command = ["c++", "-std=c++17", "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    done = subprocess.run(
        [*command, "-I", str(FOLDER.parent), str(tmp_path / "all.cpp")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
