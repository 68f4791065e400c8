"""Files that are empty, of another kind, damaged or made to harm: one line that says what and where, in little time
and memory.
"""

from __future__ import annotations

import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from terrain_core.errors import FileError
from terrain_daws import read
from terrain_daws.dawproject import project_xml

EMPTY_PROJECT = '<Project version="1.0"><Application name="a" version="1"/></Project>'


def zipped(path: Path, members: dict[str, str | bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "song.dawproject"


def refused(path: Path, message: str) -> FileError:
    with pytest.raises(FileError, match=message) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("beginning", "message"),
    [
        (b"", "is empty"),
        (b"<REAPER_PROJECT 0.1", "line 1: ends within the block <REAPER_PROJECT"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"<?xml version='1.0'?><Session/>", "is a session of version ''"),
        (b"<?xml version='1.0'?><html/>", "begins with <html>, expected <Session>"),
        (b"RIFF\0\0\0\0RMID", "RIFF"),
        (b"\x89PNG\r\n", "begins with b'.x89PNG"),
        (b"PK\x03\x04", "damaged zip"),
        (b"PK", "damaged zip"),
    ],
)
def test_other_kinds_of_file_are_named(path: Path, beginning: bytes, message: str) -> None:
    path.write_bytes(beginning)
    refused(path, message)


def test_no_file_a_folder_and_no_permission_to_be_there(tmp_path: Path) -> None:
    refused(tmp_path / "absent.mid", "cannot be opened .No such file")
    refused(tmp_path, "is a folder, expected one with an Ardour session .* it has none")
    with pytest.raises(FileError, match="cannot be opened"):
        read("nul\0byte.mid")


def test_an_old_dawproject_and_one_from_the_future(path: Path) -> None:
    refused(zipped(path, {"project.json": "{}"}), "before version 1.0.*export it again")
    refused(zipped(path, {"project.xml": EMPTY_PROJECT.replace("1.0", "2.0", 1)}), "version '2.0', expected 1.x")
    refused(zipped(path, {"other.txt": ""}), "has 0 files project.xml")
    refused(zipped(path, {"project.xml": "<Song/>"}), "line 1: begins with <Song>, expected <Project>")
    assert read(zipped(path, {"project.xml": EMPTY_PROJECT})).lanes == []


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/etc/passwd", "C:/x", "..\\evil"])
def test_paths_that_lead_out(path: Path, name: str) -> None:
    zipped(path, {"project.xml": EMPTY_PROJECT, name: "x"})
    refused(path, "leads out of the archive")


def test_encrypted(path: Path) -> None:
    data = bytearray(zipped(path, {"project.xml": EMPTY_PROJECT}).read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    refused(path, "project.xml: is encrypted; save it without a password")


def test_zip_bomb_is_refused_at_once(path: Path) -> None:
    zipped(path, {"project.xml": b"<Project>" + b" " * (16 << 20)})
    tracemalloc.start()
    refused(path, "times its size, as only a zip bomb does")
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_a_size_that_lies_is_damage(path: Path) -> None:
    data = bytearray(zipped(path, {"project.xml": EMPTY_PROJECT * 9}).read_bytes())
    entry = data.index(b"PK\x01\x02")
    data[entry + 24 : entry + 28] = (50).to_bytes(4, "little")
    path.write_bytes(data)
    refused(path, "damaged|not well-formed")


ENTITIES = {
    "laughs": '<!DOCTYPE p [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>',
    "external": '<!DOCTYPE p [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
    "dtd": '<!DOCTYPE Project SYSTEM "http://127.0.0.1:1/evil.dtd">',
}


@pytest.mark.parametrize("kind", ENTITIES)
def test_xml_entities(path: Path, kind: str) -> None:
    refused(zipped(path, {"project.xml": ENTITIES[kind] + EMPTY_PROJECT}), "project.xml: has a document type")


def test_billion_laughs(path: Path) -> None:
    entities = '<!ENTITY e0 "ha">' + "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 11))
    refused(zipped(path, {"project.xml": f'<!DOCTYPE p [{entities}]><Song name="&e10;"/>'}), "project.xml")


def test_xml_that_is_none(path: Path) -> None:
    error = refused(
        zipped(path, {"project.xml": '<Project version="1.0">\n<Lanes>\n</Project>'}), "is not well-formed XML"
    )
    assert error.position == "project.xml line 3"
    refused(zipped(path, {"project.xml": ""}), "is not well-formed XML")
    refused(zipped(path, {"project.xml": b"\xff\xfe\x00"}), "is not well-formed XML")
    refused(zipped(path, {"project.xml": "<Project>" * 5000}), "is not well-formed XML")


def test_too_many_points(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project_xml, "MOST_POINTS", 1000)
    rows = "".join(f'<RealPoint time="{i}" value="{i}"/>' for i in range(1001))
    text = f'<Project version="1.0"><Arrangement><Points><Target/>{rows}</Points></Arrangement></Project>'
    refused(zipped(path, {"project.xml": text}), "has more than 1,000 points and notes")


def test_too_much_of_anything_else(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project_xml, "MOST_TREE_BYTES", 1 << 20)
    generator = np.random.default_rng(0)
    tracks = "".join(f'<Track name="{name}"/>' for name in generator.integers(0, 1 << 62, 50_000))
    text = f'<Project version="1.0"><Structure>{tracks}</Structure></Project>'
    refused(zipped(path, {"project.xml": text}), "has more than 1 MiB of XML besides points and notes")


def test_each_truncation_and_flipped_bytes_of_the_example(path: Path) -> None:
    example = (Path(__file__).parents[2] / "daws/examples/gesture.dawproject").read_bytes()
    generator = np.random.default_rng(11)
    for end in generator.integers(1, len(example), 60).tolist():
        path.write_bytes(example[:end])
        with pytest.raises(FileError):
            read(path)
    refusals = 0
    for _ in range(60):
        data = bytearray(example)
        data[generator.integers(4, len(data))] ^= 1 << int(generator.integers(0, 8))
        path.write_bytes(data)
        try:
            read(path)
        except FileError:
            refusals += 1
    assert refusals > 40  # the archive's checksums notice
