"""MIDI files -> lanes, tempo, meters, markers, notes: bytes and messages whose meaning is known."""

from __future__ import annotations

import contextlib
from pathlib import Path

import mido
import numpy as np
import pytest

from terrain_core.errors import FileError
from terrain_core.lanes import Lane, Shape
from terrain_core.tempo import Meter
from terrain_daws import Marker, Note, Project, read
from terrain_daws.midi.events import bend_to_unit
from terrain_daws.midi.reading import LARGEST_FILE

Timed = tuple[int, "mido.Message | mido.MetaMessage"]


def control(tick: int, controller: int, value: int, channel: int = 0) -> Timed:
    return tick, mido.Message("control_change", control=controller, value=value, channel=channel)


def saved(path: Path, *tracks: list[Timed], ticks_per_beat: int = 480, type: int = 1) -> Path:
    """A MIDI file whose events are at the given ticks."""
    file = mido.MidiFile(type=type, ticks_per_beat=ticks_per_beat)
    for events in tracks:
        track, now = mido.MidiTrack(), 0
        for tick, message in events:
            track.append(message.copy(time=tick - now))
            now = tick
        file.tracks.append(track)
    file.save(path)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "song.mid"


def lane(project: Project, name: str) -> Lane:
    return next(lane for lane in project.lanes if lane.name == name)


def beats_and_values(found: Lane) -> list[tuple[float, float]]:
    return list(zip(found.times.tolist(), found.values.tolist(), strict=True))


# A whole file by hand: type 0, 96 ticks per quarter note.
BY_HAND = bytes.fromhex(
    "4d546864 00000006 0000 0001 0060"  # MThd, 6 bytes, type 0, 1 track, 96 ticks
    "4d54726b 0000002e"  # MTrk, 46 bytes
    "00 ff 03 04 4c656164"  # track name "Lead"
    "00 ff 51 03 07a120"  # tempo 500,000 µs = 120 bpm
    "00 ff 58 04 03 02 18 08"  # 3/4
    "00 b0 10 00"  # controller 16 = 0
    "60 10 7f"  # a beat later 127, running status
    "00 e0 00 40"  # pitch bend centre
    "60 90 3c 40"  # a beat later C4, velocity 64
    "30 80 3c 00"  # half a beat later its end
    "00 ff 2f 00".replace(" ", "")
)


def test_a_file_by_hand(path: Path) -> None:
    path.write_bytes(BY_HAND)
    project = read(path)
    assert project.format == "midi"
    assert [track.name for track in project.tracks] == ["Lead"]
    assert project.tempo_map.meters == (Meter(0, 3, 4),)
    assert project.tempo_map.bpm_at_beats(0) == 120
    assert beats_and_values(lane(project, "CC 16, channel 1")) == [(0, 0), (1, 1)]
    assert lane(project, "CC 16, channel 1").points[0].shape is Shape.HOLD
    assert beats_and_values(lane(project, "pitch bend, channel 1")) == [(1, 0.5)]
    assert project.notes == [Note(2, 0.5, 0, 60, 64 / 127)]
    assert project.unknown == []


def test_pitch_bend_has_exact_ends_and_centre() -> None:
    assert [bend_to_unit(pitch) for pitch in (-8192, 0, 8191)] == [0, 0.5, 1]
    assert (np.diff([bend_to_unit(pitch) for pitch in range(-8192, 8192)]) > 0).all()


def test_controllers_0_to_31_have_14_bits_when_their_low_half_comes(path: Path) -> None:
    read_back = read(
        saved(
            path,
            [
                control(0, 16, 64),
                control(0, 48, 1),
                control(480, 48, 127),
                control(960, 16, 127),
                control(960, 48, 127),
            ],
        )
    )
    found = lane(read_back, "CC 16 (14-bit), channel 1")
    assert beats_and_values(found) == [(0, (64 << 7 | 1) / 16383), (1, (64 << 7 | 127) / 16383), (2, 1)]
    assert found.key == "x"


def test_a_new_high_half_clears_the_low_one(path: Path) -> None:
    project = read(saved(path, [control(0, 1, 10), control(0, 33, 99), control(480, 1, 11)]))
    assert beats_and_values(project.lanes[0]) == [(0, (10 << 7 | 99) / 16383), (1, (11 << 7) / 16383)]


def test_a_low_half_alone_and_high_controllers_have_7_bits(path: Path) -> None:
    project = read(saved(path, [control(0, 40, 127), control(0, 74, 127), control(480, 74, 0)]))
    assert beats_and_values(lane(project, "CC 40, channel 1")) == [(0, 1)]
    assert beats_and_values(lane(project, "CC 74, channel 1")) == [(0, 1), (1, 0)]


def test_nrpn_by_all_its_ways(path: Path) -> None:
    select = [control(0, 99, 2), control(0, 98, 44)]
    fine = [control(0, 6, 64), control(0, 38, 3), control(480, 96, 0), control(960, 97, 0), control(960, 97, 0)]
    project = read(saved(path, [*select, *fine, control(1440, 98, 45), control(1440, 6, 127)]))
    values = [(64 << 7) + 3, (64 << 7) + 4, (64 << 7) + 2]
    expected = [(beat, value / 16383) for beat, value in enumerate(values)]
    assert beats_and_values(lane(project, "NRPN 300 (14-bit), channel 1")) == expected
    assert beats_and_values(lane(project, "NRPN 301, channel 1")) == [(3, 1)]


def test_rpn_and_nrpn_do_not_mix_and_null_selects_nothing(path: Path) -> None:
    events = [control(0, 101, 0), control(0, 100, 0), control(0, 6, 12), control(9, 101, 127), control(9, 100, 127)]
    events.append(control(9, 6, 5))
    project = read(saved(path, events))
    assert [found.name for found in project.lanes] == ["RPN 0, channel 1"]
    assert project.unknown == ["track 1, tick 9: data entry (CC 6) with no parameter selected"]


def test_pressures(path: Path) -> None:
    events: list[Timed] = [
        (0, mido.Message("aftertouch", value=127, channel=2)),
        (240, mido.Message("polytouch", note=60, value=0, channel=2)),
        (480, mido.Message("polytouch", note=61, value=127, channel=2)),
    ]
    project = read(saved(path, events))
    assert beats_and_values(lane(project, "channel pressure, channel 3")) == [(0, 1)]
    assert lane(project, "channel pressure, channel 3").key == "pressure"
    assert beats_and_values(lane(project, "poly pressure 61, channel 3")) == [(1, 1)]
    assert lane(project, "poly pressure 60, channel 3").key == ""


def test_general_purpose_controllers_come_before_bend_and_the_first_of_equals_wins(path: Path) -> None:
    bend = [(0, mido.Message("pitchwheel", pitch=100))]
    project = read(saved(path, bend, [control(0, 16, 1)], [control(0, 16, 2, channel=3)]))
    assert project.lanes_by_key()["x"].track == "track 2"
    assert [found.key for found in project.lanes] == ["", "x", ""]
    assert project.unknown == [
        "track 3, CC 16, channel 4: drives nothing unless mapped, since track 2, CC 16, channel 1 drives x"
    ]


def test_lanes_are_found_by_name(path: Path) -> None:
    name = [(0, mido.MetaMessage("track_name", name="Pad"))]
    project = read(saved(path, [*name, control(0, 1, 5)], [control(0, 1, 6), control(0, 2, 9)]))
    assert project.find_lane("pad/cc 1").values[0] == 5 / 127
    assert project.lanes_by_key({"y": "CC 2"})["y"].key == "y"
    with pytest.raises(ValueError, match=r"2 lanes called 'CC 1'.*'Pad/CC 1, channel 1', 'track 2/CC 1, channel 1'"):
        project.find_lane("CC 1")
    with pytest.raises(ValueError, match="no lane called 'wobble'"):
        project.find_lane("wobble")


def test_the_last_event_on_a_tick_counts(path: Path) -> None:
    project = read(saved(path, [control(0, 7, 1), control(0, 7, 2), control(480, 7, 3)]))
    assert beats_and_values(project.lanes[0]) == [(0, 2 / 127), (1, 3 / 127)]


def test_tempo_and_meters_from_any_track(path: Path) -> None:
    conductor: list[Timed] = [
        (0, mido.MetaMessage("set_tempo", tempo=1_000_000)),
        (960, mido.MetaMessage("set_tempo", tempo=600_000)),
        (960, mido.MetaMessage("time_signature", numerator=7, denominator=8)),
    ]
    other: list[Timed] = [(1440, mido.MetaMessage("set_tempo", tempo=500_000))]
    project = read(saved(path, conductor, other))
    np.testing.assert_allclose(project.tempo_map.seconds_at([2, 3, 5]), [2, 2.6, 3.6])
    assert project.tempo_map.meters == (Meter(0, 4, 4), Meter(2, 7, 8))
    assert {point.shape for point in project.tempo_map.points} == {"step"}


def test_tempo_is_120_until_the_first_tempo_event(path: Path) -> None:
    project = read(saved(path, [(960, mido.MetaMessage("set_tempo", tempo=1_000_000))]))
    np.testing.assert_allclose(project.tempo_map.seconds_at([2, 3]), [1, 2])


def test_markers_and_names_in_utf8(path: Path) -> None:
    text = "Überg\u00e4nge \u266b".encode().decode("latin-1")  # what mido has to be given so that it writes UTF-8
    events = [(0, mido.MetaMessage("track_name", name=text)), (240, mido.MetaMessage("marker", text=text))]
    project = read(saved(path, events))
    assert project.markers == [Marker("Übergänge ♫", 0.5)]
    assert [track.name for track in project.tracks] == ["Übergänge ♫"]


def test_what_is_not_taken_over_is_reported_with_its_place(path: Path) -> None:
    events: list[Timed] = [
        (0, mido.MetaMessage("track_name", name="Keys")),
        (0, mido.Message("program_change", program=3)),
        (5, mido.Message("program_change", program=4)),
        (7, mido.Message("sysex", data=(1, 2))),
        (8, mido.MetaMessage("lyrics", text="la")),
        (9, mido.Message("note_on", note=60, velocity=9)),
        (9, mido.Message("note_off", note=61)),
        control(10, 123, 0),
        (11, mido.MetaMessage("set_tempo", tempo=0)),
    ]
    project = read(saved(path, events))
    place = "track 1 'Keys', tick"
    assert sorted(project.unknown) == sorted(
        [
            f"{place} 0: 2 times program change (channel 1)",
            f"{place} 7: sysex",
            f"{place} 8: lyrics",
            f"{place} 9: note_off without a note",
            f"{place} 9: a note without an end (channel 1, key 60), ended with the track",
            f"{place} 10: channel mode message CC 123 (channel 1)",
            f"{place} 11: a tempo of 0 µs per quarter note",
        ]
    )


def test_overlapping_notes_end_in_the_order_they_began(path: Path) -> None:
    on, off = mido.Message("note_on", note=60, velocity=127), mido.Message("note_on", note=60, velocity=0)
    project = read(saved(path, [(0, on), (240, on), (480, off), (960, off)]))
    assert project.notes == [Note(0, 1, 0, 60, 1), Note(0.5, 1.5, 0, 60, 1)]


def mpe_zone(members: int) -> list[Timed]:
    return [control(0, 101, 0), control(0, 100, 6), control(0, 6, members)]


def test_mpe_follows_the_last_note(path: Path) -> None:
    def bend(tick: int, pitch: int, channel: int) -> Timed:
        return tick, mido.Message("pitchwheel", pitch=pitch, channel=channel)

    def note(tick: int, kind: str, channel: int) -> Timed:
        return tick, mido.Message(kind, note=60 + channel, channel=channel)

    events = [
        *mpe_zone(4),
        bend(0, -8192, 1),
        control(0, 74, 127, channel=1),
        note(0, "note_on", 1),
        bend(480, 8191, 1),
        bend(960, 0, 2),  # before its note: waits for it
        note(1440, "note_on", 2),
        bend(1920, 8191, 1),  # the older note's bend is not heard
        bend(2400, -8192, 2),
        note(2880, "note_off", 2),  # back to the older one
        note(3360, "note_off", 1),
    ]
    project = read(saved(path, events))
    x = project.lanes_by_key()["x"]
    assert x.name == "MPE pitch bend, last note"
    assert beats_and_values(x) == [(0, 0), (1, 1), (3, 0.5), (5, 0), (6, 1)]
    assert project.lanes_by_key()["y"].sample([0, 3, 6]).tolist() == [1, 64 / 127, 1]
    assert project.lanes_by_key()["pressure"].values.tolist() == [0, 0, 0]
    assert [found.key for found in project.lanes if found.name.startswith("pitch bend")] == ["", ""]


def test_outside_an_mpe_zone_bend_drives_x_by_itself(path: Path) -> None:
    bend = [(0, mido.Message("pitchwheel", pitch=8191, channel=9))]
    assert read(saved(path, [*mpe_zone(4), *bend])).lanes_by_key()["x"].name == "pitch bend, channel 10"


def test_smpte_time_counts_in_seconds(path: Path) -> None:
    # 25 frames of 40 ticks: 1000 ticks are a second, whatever a tempo event says.
    path.write_bytes(BY_HAND[:12] + bytes([256 - 25, 40]) + BY_HAND[14:])
    project = read(path)
    np.testing.assert_allclose(project.lanes_by_key()["x"].to_seconds(project.tempo_map).times, [0, 0.096], atol=1e-12)
    assert "set tempo" in project.unknown[0] or "tempo" in project.unknown[0]


def test_foreign_chunks_and_more_tracks_than_announced_are_read_and_reported(path: Path) -> None:
    path.write_bytes(BY_HAND + b"XFIH\0\0\0\2ab" + BY_HAND[14:])
    project = read(path)
    assert len(project.tracks) == 2
    assert project.unknown[:2] == [
        f"byte {len(BY_HAND)}: a chunk 'XFIH' of 2 bytes",
        "byte 10: announces 1 tracks; all 2 were read",
    ]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (BY_HAND[:4], "byte 0: ends within a chunk's header"),
        (BY_HAND[:14], "byte 14: announces 1 tracks and has 0"),
        (BY_HAND[:18], "byte 14: ends within a chunk's header"),
        (BY_HAND[:-5], "byte 14: ends within the chunk 'MTrk', 5 of its 46 bytes are missing"),
        (BY_HAND[:9] + b"\3" + BY_HAND[10:], "byte 8: is a MIDI file of type 3"),
        (BY_HAND[:12] + b"\0\0" + BY_HAND[14:], "byte 12: has 0 ticks per quarter note"),
        (BY_HAND[:4] + b"\0\0\0\2\0\1", "byte 8: has a header of 2 bytes, expected 6"),
        (BY_HAND[:21] + b"\2" + b"\0\x90", "track 1, byte 24: ends within an event"),
        (BY_HAND[:21] + b"\4" + b"\0\x90\x3c\xff", "track 1, byte 26: has an event that is not MIDI"),
        (BY_HAND[:21] + b"\2" + b"\0\x3c", "track 1, byte 24: has an event that is not MIDI"),
        (BY_HAND[:21] + b"\4" + b"\0\xff\x51\0", "track 1, byte 26: has an event that is too short"),
        (
            BY_HAND[:21] + b"\x0b" + b"\xff" * 7 + b"\x7f\xb0\x10\0",
            "track 1: is 7.51e+14 beats long, expected at most 1e+09",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_damage_is_reported_with_its_place(path: Path, data: bytes, message: str) -> None:
    path.write_bytes(data)
    with pytest.raises(FileError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}, {message}")


def test_each_truncation_and_each_flipped_byte_is_a_file_error_or_readable(path: Path) -> None:
    generator = np.random.default_rng(5)
    for end in range(1, len(BY_HAND)):
        path.write_bytes(BY_HAND[:end])
        with pytest.raises(FileError):
            read(path)
    survived = 0
    for _ in range(400):
        data = bytearray(BY_HAND)
        data[generator.integers(4, len(data))] = generator.integers(0, 256)
        path.write_bytes(data)
        with contextlib.suppress(FileError):
            survived += len(read(path).to_json()) > 0
    assert survived > 50  # most single bytes are values, and any value is legal


def test_a_file_that_is_too_large_is_refused_before_it_is_read(path: Path) -> None:
    with path.open("wb") as file:
        file.write(BY_HAND)
        file.truncate(LARGEST_FILE + 1)
    with pytest.raises(FileError, match="more than the 8,388,608 that are read"):
        read(path)


def test_the_patterns_of_a_type_2_file_are_laid_end_to_end(path: Path) -> None:
    file = mido.MidiFile(type=2, ticks_per_beat=480)
    for value in (10, 20):
        track = mido.MidiTrack()
        track.append(mido.Message("control_change", control=16, value=value, time=480))
        track.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(60 * value / 10), time=0))
        track.append(mido.MetaMessage("end_of_track", time=960))
        file.tracks.append(track)
    file.save(path)
    project = read(path)
    assert [(lane.times.tolist(), (lane.values * 127).round().tolist()) for lane in project.lanes] == [
        ([1.0], [10.0]),
        ([4.0], [20.0]),
    ]
    assert [(point.beat, round(point.bpm, 6)) for point in project.tempo_map.points] == [(0, 120), (1, 60), (4, 120)]
    assert project.unknown[0] == "byte 8: a file of type 2; its 2 patterns are laid end to end"
