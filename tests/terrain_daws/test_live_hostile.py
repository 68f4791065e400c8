"""Live sets that are damaged or made to harm: an error that says where, or a reading that says what it mended."""

from __future__ import annotations

import contextlib
import gzip
import re
import struct
import tracemalloc
import uuid
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terrain_core import identity
from terrain_core.errors import FileError
from terrain_core.lanes import Lane
from terrain_core.plugin_state import PluginState
from terrain_core.tempo import TempoMap
from terrain_daws import Marker, Project
from terrain_daws.live import set_xml
from terrain_daws.live.reading import read_bytes, read_live
from terrain_daws.live.template import new_set

UID = struct.unpack(">4i", uuid.UUID(identity.VST3_CLASS_UUID).bytes)
FIELDS = "".join(f'\n<Fields.{n} Value="{field}" />' for n, field in enumerate(UID))
SMALL_SET = f"""<?xml version="1.0" encoding="UTF-8"?>
<Ableton MajorVersion="5" MinorVersion="11.0_433" SchemaChangeCount="3" Creator="Ableton Live 11.0">
<LiveSet>
<Tracks>
<GroupTrack Id="3"><Name><EffectiveName Value="All" /></Name><TrackGroupId Value="-1" /></GroupTrack>
<MidiTrack Id="7">
<Name><EffectiveName Value="Lead" /><UserName Value="" /></Name>
<AutomationEnvelopes><Envelopes>
<AutomationEnvelope Id="0"><EnvelopeTarget><PointeeId Value="21" /></EnvelopeTarget>
<Automation><Events>
<FloatEvent Id="0" Time="-63072000" Value="0.25" />
<FloatEvent Id="1" Time="1.5" Value="0.25" />
<FloatEvent Id="2" Time="4" Value="0.875"
CurveControl1X="0.5" CurveControl1Y="0" CurveControl2X="1" CurveControl2Y="1" />
<FloatEvent Id="3" Time="8" Value="0.5" />
</Events></Automation></AutomationEnvelope>
<AutomationEnvelope Id="1"><EnvelopeTarget><PointeeId Value="33" /></EnvelopeTarget>
<Automation><Events>
<BoolEvent Id="0" Time="-63072000" Value="true" /><BoolEvent Id="1" Time="3" Value="false" />
</Events></Automation></AutomationEnvelope>
</Envelopes></AutomationEnvelopes>
<TrackGroupId Value="3" />
<DeviceChain>
<Mixer><Speaker><Manual Value="true" /><AutomationTarget Id="33" /></Speaker></Mixer>
<MainSequencer><ClipTimeable><ArrangerAutomation><Events>
<MidiClip Id="0" Time="4"><CurrentStart Value="4" /><CurrentEnd Value="12" />
<Loop><LoopStart Value="0" /><LoopEnd Value="4" /><StartRelative Value="1" /><LoopOn Value="true" /></Loop>
<Envelopes><Envelopes>
<ClipEnvelope Id="0"><EnvelopeTarget><PointeeId Value="1018" /></EnvelopeTarget><Automation><Events>
<FloatEvent Id="0" Time="-63072000" Value="64" /><FloatEvent Id="1" Time="2" Value="127" />
</Events></Automation><LoopSlot><Value /></LoopSlot></ClipEnvelope>
</Envelopes></Envelopes>
<Notes><KeyTracks><KeyTrack Id="0"><Notes>
<MidiNoteEvent Time="0.5" Duration="0.25" Velocity="100" OffVelocity="64" IsEnabled="true" NoteId="1" />
</Notes><MidiKey Value="60" /></KeyTrack></KeyTracks></Notes>
</MidiClip>
</Events></ArrangerAutomation></ClipTimeable>
<MidiControllers><ControllerTargets.18 Id="1018"><LockEnvelope Value="0" /></ControllerTargets.18></MidiControllers>
</MainSequencer>
<DeviceChain><Devices>
<PluginDevice Id="0"><On><Manual Value="true" /><AutomationTarget Id="20" /></On>
<PluginDesc><Vst3PluginInfo Id="0">
<Preset><Vst3Preset Id="0"><Uid>{FIELDS}</Uid>
<ProcessorState>{PluginState({"x": 0.25}).to_bytes().hex()}</ProcessorState></Vst3Preset></Preset>
<Name Value="Latent Terrain" /><Uid>{FIELDS}</Uid></Vst3PluginInfo></PluginDesc>
<ParameterList>
<PluginFloatParameter Id="0"><ParameterName Value="X" /><ParameterId Value="1" /><ParameterValue><Manual Value="0.5" />
<MidiControllerRange><Min Value="0" /><Max Value="1" /></MidiControllerRange>
<AutomationTarget Id="21"><LockEnvelope Value="0" /></AutomationTarget></ParameterValue></PluginFloatParameter>
</ParameterList></PluginDevice>
</Devices></DeviceChain>
</DeviceChain>
</MidiTrack>
</Tracks>
<MasterTrack>
<Name><EffectiveName Value="Master" /></Name>
<AutomationEnvelopes><Envelopes>
<AutomationEnvelope Id="0"><EnvelopeTarget><PointeeId Value="8" /></EnvelopeTarget><Automation><Events>
<FloatEvent Id="0" Time="-63072000" Value="60" /><FloatEvent Id="1" Time="4" Value="60" />
<FloatEvent Id="2" Time="8" Value="120" /></Events></Automation></AutomationEnvelope>
</Envelopes></AutomationEnvelopes>
<DeviceChain><Mixer>
<Tempo><Manual Value="120" /><AutomationTarget Id="8"><LockEnvelope Value="0" /></AutomationTarget></Tempo>
<TimeSignature><Manual Value="302" />
<AutomationTarget Id="10"><LockEnvelope Value="0" /></AutomationTarget></TimeSignature>
</Mixer></DeviceChain>
</MasterTrack>
<Locators><Locators>
<Locator Id="0"><Time Value="0" /><Name Value="A" /></Locator>
</Locators></Locators>
</LiveSet>
</Ableton>
""".encode()
QUOTED = re.compile(rb'="[^"<>]*"')
PATH = Path("song.als")


def read_small(data: bytes) -> Project:
    return read_bytes(data, PATH, "theoretical")


def content(project: Project) -> tuple[object, ...]:
    """What would be played."""
    places = [(lane.key, lane.name, lane.track, lane.active, lane.points) for lane in project.lanes]
    return places, project.tempo_map, project.markers, project.notes, [one.state for one in project.instances]


def refused(data: bytes, message: str) -> FileError:
    with pytest.raises(FileError, match=message) as caught:
        read_small(data)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.fixture(scope="module")
def whole() -> Project:
    return read_small(SMALL_SET)


def test_the_small_set_is_whole(whole: Project) -> None:
    assert [(lane.key, lane.name) for lane in whole.lanes] == [("x", "X"), ("", "Speaker On"), ("", "CC 16")]
    assert len(whole.notes) == 2
    assert whole.instances[0].state == PluginState({"x": 0.25})
    assert (len(whole.unknown), whole.repairs) == (1, [])  # the curve


@pytest.mark.parametrize("pack", [gzip.compress, bytes])
def test_every_truncation_is_refused_with_its_place(pack: Callable[[bytes], bytes]) -> None:
    for source in (SMALL_SET, gzip.decompress(new_set(Project("midi", PATH)))):
        data = pack(source)
        ends = np.random.default_rng(1).integers(1, len(data.rstrip()), 200)
        for end in ends.tolist():
            error = refused(data[:end], "ends in the middle|is not well-formed XML|damaged gzip")
            assert error.position


def flips(data: bytes, count: int, seed: int) -> Iterator[tuple[int, bytes]]:
    """A byte's place and the data with another byte there."""
    generator = np.random.default_rng(seed)
    for place, change in zip(generator.integers(0, len(data), count), generator.integers(1, 256, count), strict=True):
        yield int(place), data[:place] + bytes([data[place] ^ int(change)]) + data[place + 1 :]


def test_a_flipped_byte_of_the_gzip_is_noticed_or_of_no_consequence(whole: Project) -> None:
    packed = gzip.compress(SMALL_SET, mtime=0)
    refusals = 0
    for _, data in flips(packed, 2000, 2):
        try:
            project = read_small(data)
        except FileError as error:
            refusals += bool(error.position)
        else:
            assert content(project) == content(whole)  # the date in the header, say
    assert refusals > 1950


def test_a_flipped_byte_of_the_xml_is_never_passed_over(whole: Project) -> None:
    quoted = np.zeros(len(SMALL_SET), dtype=bool)
    for match in QUOTED.finditer(SMALL_SET):
        quoted[match.start() + 2 : match.end() - 1] = True
    quoted[SMALL_SET.index(b"<ProcessorState>") : SMALL_SET.index(b"</ProcessorState>")] = False
    refusals = reports = 0
    for place, data in flips(SMALL_SET, 2000, 3):
        try:
            project = read_small(gzip.compress(data, 1))
        except FileError as error:
            refusals += bool(error.position)
            continue
        reported = (project.repairs, project.unknown) != (whole.repairs, whole.unknown)
        reports += reported
        # What a number or a name should have been, nobody can tell.
        assert reported or quoted[place] or content(project) == content(whole), data[place - 40 : place + 40]
    assert refusals > 1000
    assert reports > 30


@settings(max_examples=300)
@given(st.data())
def test_digits_that_become_others_are_errors_reports_or_numbers(data: st.DataObject) -> None:
    """Any text in place of any value."""
    values = [match.span() for match in QUOTED.finditer(SMALL_SET)]
    begin, end = data.draw(st.sampled_from(values))
    alphabet = st.sampled_from("0123456789.-+eE_ naxtrufls")
    text = data.draw(st.text(alphabet, max_size=12))
    with contextlib.suppress(FileError):  # and nothing else
        read_small(SMALL_SET[: begin + 2] + text.encode() + SMALL_SET[end - 1 :])


@given(st.binary(max_size=200))
def test_any_bytes_are_an_error(data: bytes) -> None:
    for junk in (data, b"\x1f\x8b\x08\x00" + data, b"<Ableton>" + data, gzip.compress(data, 1)):
        with pytest.raises(FileError):
            read_small(junk)


# --- made to harm ---


def peak_memory(data: bytes, message: str) -> int:
    """Bytes that Python allocated while the data was refused."""
    tracemalloc.start()
    try:
        refused(data, message)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def bomb(beginning: bytes, unit: bytes, megabytes: int) -> bytes:
    """A gzip of `beginning` and then the same again and again."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    chunk = unit * ((1 << 20) // len(unit))
    return packer.compress(beginning) + b"".join(packer.compress(chunk) for _ in range(megabytes)) + packer.flush()


OPENING = b'<Ableton MinorVersion="11.0"><LiveSet>'


@pytest.mark.parametrize(
    ("beginning", "unit", "message"),
    [
        (OPENING, b" ", "times its size, as only a gzip bomb does"),
        (OPENING, b"<a />", "times its size, as only a gzip bomb does"),
        (OPENING, b"<a>", "is nested more than 1,000 deep"),
        (OPENING + b'<a b="', b"x", "times its size|has a tag or a comment of more than 8 MiB"),
        (OPENING + b"<!--", b"x", "times its size|has a tag or a comment of more than 8 MiB"),
    ],
)
def test_bombs_are_refused_early(beginning: bytes, unit: bytes, message: str) -> None:
    data = bomb(beginning, unit, 100)
    assert len(data) < 1 << 20
    assert peak_memory(data, message) < 32 << 20  # expat keeps an unfinished tag, and grows its buffer by doubling


def test_a_tag_without_end_is_refused() -> None:
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 1 << 62, 600_000).astype(str)
    refused(OPENING + b'<a b="' + " ".join(noise.tolist()).encode(), "has a tag or a comment of more than 8 MiB")


def test_names_without_end_are_refused() -> None:
    names = b"".join(f"<n{number}/>".encode() for number in range(25_000))
    refused(OPENING + names, "has more than 20,000 different tags")


@pytest.mark.parametrize(
    "declaration",
    [
        '<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>',
        '<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE Ableton SYSTEM "http://127.0.0.1:1/evil.dtd">',
    ],
)
def test_entities_are_refused(declaration: str) -> None:
    error = refused(declaration.encode() + SMALL_SET.partition(b"\n")[2], "has a document type")
    assert error.position == "line 1 of the XML"


@pytest.mark.parametrize("number", ["NaN", "inf", "-Infinity", "1e999", "1_0", " 1", "0x10", "", "1e39", "\uff11"])
def test_numbers_that_are_none(number: str) -> None:
    data = SMALL_SET.replace(b'Time="1.5" Value="0.25"', f'Time="1.5" Value="{number}"'.encode())
    assert data != SMALL_SET
    assert refused(data, "expected a number of sensible size").position == "line 12 of the XML"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('Time="8" Value="0.5"', 'Time="200000000" Value="0.5"', "an event at beat 2e.08, expected at most"),
        ('<CurrentEnd Value="12" />', '<CurrentEnd Value="3" />', "ends 1 beats before it begins"),
        ('<CurrentEnd Value="12" />', "", "a clip on track 'Lead' has no CurrentEnd"),
        ('<LoopEnd Value="4" />', '<LoopEnd Value="0.00001" />', "looped until together they sound more than"),
        ('<MidiKey Value="60" />', '<MidiKey Value="128" />', "a clip has notes on key 128, expected 0 to 127"),
        ('Velocity="100"', 'Velocity="228"', "a note has the duration 0.25 and the velocity 228"),
        ('Time="3" Value="false"', 'Time="3" Value="nein"', "expected true or false"),
        ('<BoolEvent Id="1" Time="3" Value="false"', '<FloatEvent Time="3" Value="0"', "among events of type bool"),
        ('<PointeeId Value="8" />', '<PointeeId Value="8.5" />', "expected a whole number"),
        ('Id="0"><Time Value="0" />', 'Id="0">', "the locator 'A' has no time"),
        ("LiveSet", "LiveSed", "is an Ableton document without a LiveSet"),
        ("Ableton", "Abelton", "begins with <Abelton>, expected <Ableton>"),
        ('encoding="UTF-8"', 'encoding="klingon"', "not well-formed|an encoding that cannot be read"),
        ('encoding="UTF-8"', 'encoding="shift_jis"', "not well-formed|an encoding that cannot be read"),
    ],
)  # fmt: skip
def test_each_damage_has_its_message(old: str, new: str, message: str) -> None:
    data = SMALL_SET.replace(old.encode(), new.encode())
    assert data != SMALL_SET
    assert refused(data, message).position or "LiveSet" in message


def test_what_follows_the_gzip_is_reported(whole: Project) -> None:
    project = read_small(gzip.compress(SMALL_SET) + b"more")
    assert content(project) == content(whole)
    assert "4 bytes follow the gzipped XML; left out" in project.repairs[0]
    two_members = gzip.compress(SMALL_SET[:1000]) + gzip.compress(SMALL_SET[1000:])
    assert content(read_small(two_members)) == content(whole)
    assert read_small(two_members).repairs == []


def test_circles_of_groups_end() -> None:
    data = SMALL_SET.replace(b'<TrackGroupId Value="-1" />', b'<TrackGroupId Value="3" />')
    assert [(track.folder, track.silenced_by) for track in read_small(data).tracks[:2]] == [("All", "")] * 2


def test_no_file_is_no_set(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"cannot be opened .No such file"):
        read_live(tmp_path / "absent.als")
    with pytest.raises(FileError, match=r"cannot be opened .Is a directory"):
        read_live(tmp_path)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells a process's peak memory")
@pytest.mark.slow
def test_a_set_of_a_hundred_megabytes_is_read_in_little_memory(tmp_path: Path) -> None:
    """The whole process stays under ten times the file and 200 MB."""
    import subprocess
    import sys

    lane = Lane(np.arange(100_000.0), np.random.default_rng(5).random(100_000), key="x")
    song = Project("midi", PATH, lanes=[lane], tempo_map=TempoMap.constant(120), markers=[Marker("A", 0)])
    xml = gzip.decompress(new_set(song))
    slot = xml[xml.index(b"<AutoColorPicker") : xml.index(b"<ViewData Value", xml.index(b"<AutoColorPicker"))]
    filler = b"".join(slot.replace(b'Value="0"', b'Value="%d"' % (n * 7919)) for n in range(100_000_000 // len(slot)))
    path = tmp_path / "large.als"
    path.write_bytes(gzip.compress(xml.replace(slot, filler), 1))
    assert len(xml) + len(filler) > 100_000_000
    program = (
        "import re, sys; from pathlib import Path; from terrain_daws.live.reading import read_live\n"
        "project = read_live(Path(sys.argv[1]))\n"
        "print(len(project.lanes[0]), re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program, str(path)], check=True, capture_output=True, text=True
    ).stdout
    points, peak = (int(word) for word in printed.split())
    assert points == 100_000
    assert peak * 1024 < 10 * path.stat().st_size + 200 * 2**20
    print(f"{len(filler) >> 20} MiB of XML, {path.stat().st_size >> 20} MiB packed, peak {peak >> 10} MiB")


def test_the_limits_of_names_and_depth_are_far_from_real_sets() -> None:
    found = set_xml.parse(PATH, [gzip.decompress(new_set(Project("midi", PATH)))], lambda device: True)
    assert len(found.parameters) > 250
    assert set_xml.MOST_NAMES > 10_000
