"""The parameter table: ids that never change, and the ways between plain values, normalised values and text."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terrain_core.errors import InputError
from terrain_core.parameters import (
    DEFAULTS,
    PARAMETERS,
    Parameter,
    PressureTarget,
    Run,
    Source,
    by_id,
    by_key,
    markdown,
)

FOR_EVER = {
    1: "x", 2: "y", 3: "pressure", 4: "z", 5: "pressure_target", 6: "level", 7: "glide", 8: "source", 9: "snap",
    10: "neighbours", 11: "intensity", 12: "noise", 13: "run", 14: "sync_bpm", 15: "bypass",
    16: "status",
    40: "offset_1", 41: "offset_2", 42: "offset_3", 43: "offset_4", 44: "offset_5", 45: "offset_6", 46: "offset_7",
    47: "offset_8", 48: "scale_1", 49: "scale_2", 50: "scale_3", 51: "scale_4", 52: "scale_5", 53: "scale_6",
    54: "scale_7", 55: "scale_8",
    20: "loop_slot", 21: "loop_record", 22: "loop_play", 23: "loop_overdub", 24: "loop_length", 25: "loop_quantise",
    26: "loop_speed", 27: "loop_reverse", 28: "loop_feedback", 29: "loop_mix", 30: "loop_undo", 31: "loop_redo",
    32: "loop_clear", 33: "loop_mute", 34: "loop_action", 35: "loop_blend", 36: "loop_level", 37: "loop_state",
    38: "loop_phase", 39: "tap",
    56: "blend", 57: "blend_power", 58: "blend_radius",
}  # fmt: skip

every_parameter = pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda parameter: parameter.key)


def test_ids_and_keys_never_change() -> None:
    assert {parameter.id: parameter.key for parameter in PARAMETERS} == FOR_EVER


def test_ids_keys_and_names_are_unique() -> None:
    for attribute in ("id", "key", "name"):
        assert len({getattr(parameter, attribute) for parameter in PARAMETERS}) == len(PARAMETERS)


def test_found_by_id_and_key() -> None:
    for parameter in PARAMETERS:
        assert by_id(parameter.id) is parameter
        assert by_key(parameter.key) is parameter
    assert DEFAULTS["pressure"] == 1.0


@pytest.mark.parametrize("find", [lambda: by_id(99), lambda: by_key("X")])
def test_the_unknown_is_named_along_with_the_known(find: object) -> None:
    with pytest.raises(InputError, match=r"99.*expected one of 1, 2|'X'.*expected one of x, y"):
        find()  # type: ignore[operator]


@pytest.mark.parametrize(("key", "values"), [("pressure_target", PressureTarget), ("source", Source), ("run", Run)])
def test_choices_are_the_values_of_their_enumeration(key: str, values: type[PressureTarget]) -> None:
    assert by_key(key).choices == tuple(value.name.capitalize() for value in values)


@every_parameter
def test_default_is_in_range_and_known_by_its_text(parameter: Parameter) -> None:
    assert parameter.low <= parameter.default <= parameter.high
    assert parameter.clamp(parameter.default) == parameter.default
    assert parameter.parse(parameter.text(parameter.default)) == parameter.default


@every_parameter
@given(normalised=st.floats(0, 1))
@settings(deadline=None)
def test_normalised_round_trip(parameter: Parameter, normalised: float) -> None:
    value = parameter.from_normalised(normalised)
    assert parameter.low <= value <= parameter.high
    if parameter.stepped:
        assert parameter.from_normalised(parameter.to_normalised(value)) == value == round(value)
    else:
        assert parameter.to_normalised(value) == pytest.approx(normalised, abs=1e-12)


@every_parameter
@given(normalised=st.floats(0, 1))
@settings(deadline=None)
def test_text_round_trip(parameter: Parameter, normalised: float) -> None:
    value = parameter.from_normalised(normalised)
    half_a_digit = 0.0 if parameter.stepped else 0.0005001 if parameter.high - parameter.low <= 10 else 0.05001
    assert parameter.parse(parameter.text(value)) == pytest.approx(value, abs=half_a_digit)


def test_stepped_values_share_the_normalised_range_equally() -> None:
    """VST3: three choices, so thirds."""
    run = by_key("run")
    assert [run.from_normalised(x) for x in (0.0, 0.33, 0.34, 0.66, 0.67, 1.0)] == [0, 0, 1, 1, 2, 2]
    assert [run.to_normalised(value) for value in Run] == [0.0, 0.5, 1.0]
    assert (run.steps, by_key("neighbours").steps, by_key("x").steps) == (2, 31, 0)


def test_texts_a_musician_reads() -> None:
    assert [by_key("level").text(value) for value in (-60, -6, 12)] == ["-inf dB", "-6.0 dB", "12.0 dB"]
    assert by_key("run").text(1) == "Transport"
    assert by_key("x").text(0.5) == "0.500"
    assert by_key("sync_bpm").text(0) == "Host"
    assert by_key("neighbours").text(8) == "8"


def test_texts_a_musician_writes() -> None:
    assert by_key("level").parse(" -6db ") == by_key("level").parse("-6") == -6
    assert by_key("run").parse("notes") == Run.NOTES
    assert by_key("glide").parse("250 ms") == 250


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("level", "loud", "a number from -60 to 12 dB"),
        ("level", "13", "a number from -60 to 12 dB"),
        ("level", "nan", "a number from -60 to 12 dB"),
        ("neighbours", "2.5", "a whole number from 1 to 32"),
        ("run", "sometimes", "Free or Transport or Notes"),
        ("x", "", "a number from 0 to 1"),
    ],
)
def test_a_text_that_means_nothing_is_refused(key: str, text: str, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        by_key(key).parse(text)


@every_parameter
def test_odd_values_are_clamped(parameter: Parameter) -> None:
    assert parameter.clamp(math.nan) == parameter.from_normalised(math.nan) == parameter.default
    assert parameter.clamp(math.inf) == parameter.from_normalised(7.0) == parameter.high
    assert parameter.clamp(-math.inf) == parameter.from_normalised(-7.0) == parameter.low


def test_the_page_in_the_docs_is_current(root: Path) -> None:
    page = (root / "docs" / "parameters.md").read_text(encoding="utf-8")
    assert page == markdown(), "run: python -m terrain_core.parameters > docs/parameters.md"


def test_places_are_for_ever() -> None:
    """Ardour's sessions name a parameter by its place: what is here may be followed by others, never moved."""
    first = [
        "x",
        "y",
        "pressure",
        "z",
        "pressure_target",
        "level",
        "glide",
        "source",
        "snap",
        "neighbours",
        "intensity",
        "noise",
        "run",
        "sync_bpm",
        "bypass",
        "status",
        "offset_1",
        "offset_2",
        "offset_3",
        "offset_4",
        "offset_5",
        "offset_6",
        "offset_7",
        "offset_8",
        "scale_1",
        "scale_2",
        "scale_3",
        "scale_4",
        "scale_5",
        "scale_6",
        "scale_7",
        "scale_8",
        "loop_slot",
        "loop_record",
        "loop_play",
        "loop_overdub",
        "loop_length",
        "loop_quantise",
        "loop_speed",
        "loop_reverse",
        "loop_feedback",
        "loop_mix",
        "loop_undo",
        "loop_redo",
        "loop_clear",
        "loop_mute",
        "loop_action",
        "loop_blend",
        "loop_level",
        "loop_state",
        "loop_phase",
        "tap",
    ]
    assert [parameter.key for parameter in PARAMETERS[: len(first)]] == first
