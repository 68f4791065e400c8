"""Parameters as a VST3 host sees them: the table, units, texts, values, MIDI mapping, note expressions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from terrain_core.errors import InputError
from terrain_core.parameters import PARAMETERS, Parameter, by_key
from terrain_core.plugin_state import PluginState
from tests.hosts.vst3_host import (
    BRIGHTNESS,
    CHANNEL_PRESSURE,
    OFFLINE,
    OK,
    PITCH_BEND,
    PRESSURE,
    TUNING,
    Vst3Plugin,
    ffi,
    filled,
    text_of,
    wide,
)

RATE, BLOCK = 44100.0, 512
CAN_AUTOMATE, READ_ONLY, IS_LIST, IS_BYPASS = (1 << bit for bit in (0, 1, 3, 16))
UNKNOWN_ID = 9999
SETTABLE = [parameter for parameter in PARAMETERS if not parameter.read_only]


def some_normalised(parameter: Parameter) -> list[float]:
    """The ends, the default, edges between steps, and some in between."""
    edges = [step / (parameter.steps + 1) for step in range(parameter.steps + 1)] if parameter.stepped else []
    drawn = np.random.default_rng(parameter.id).uniform(0, 1, 20).tolist()
    return [0.0, 1.0, parameter.to_normalised(parameter.default), *edges, *drawn]


# The table


def test_they_are_the_table_in_its_order_and_nothing_else(vst3: Vst3Plugin) -> None:
    """No MIDI controllers among them."""
    found = vst3.parameters
    assert [info.id for info in found] == [parameter.id for parameter in PARAMETERS]
    for info, parameter in zip(found, PARAMETERS, strict=True):
        assert (info.title, info.short_title, info.units) == (parameter.name, parameter.name, parameter.unit)
        assert (info.step_count, info.initial) == (parameter.steps, parameter.to_normalised(parameter.default))


def test_flags(vst3: Vst3Plugin) -> None:
    for info, parameter in zip(vst3.parameters, PARAMETERS, strict=True):
        expected = READ_ONLY if parameter.read_only else CAN_AUTOMATE
        expected |= IS_LIST if parameter.choices is not None else 0
        expected |= IS_BYPASS if parameter.key == "bypass" else 0
        assert info.flags == expected, parameter.key


def test_groups_are_units(vst3: Vst3Plugin) -> None:
    units = vst3.units()
    assert len(units) == 1 + len({parameter.group for parameter in PARAMETERS})
    for info, parameter in zip(vst3.parameters, PARAMETERS, strict=True):
        assert units[info.unit_id] == parameter.group


def test_the_unit_that_a_host_selects_is_selected(vst3: Vst3Plugin) -> None:
    units = vst3.interface("units_t")
    assert units.get_selected_unit() == 0
    for id in vst3.units():
        assert units.select_unit(id) == 0
        assert units.get_selected_unit() == id
    assert units.select_unit(len(vst3.units())) != 0
    assert units.get_selected_unit() == max(vst3.units())


def test_a_parameter_beyond_the_last_is_not_there(vst3: Vst3Plugin) -> None:
    for index in (-1, len(PARAMETERS)):
        assert vst3.controller.get_parameter_info(index, ffi.new("param_info_t *")) != OK


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda parameter: parameter.key)
def test_values_and_texts_follow_the_table_s_laws(vst3: Vst3Plugin, parameter: Parameter) -> None:
    for normalised in some_normalised(parameter):
        plain = parameter.from_normalised(normalised)
        assert vst3.controller.normalised_parameter_to_plain(parameter.id, normalised) == plain
        again = parameter.to_normalised(plain)
        assert vst3.controller.plain_parameter_to_normalised(parameter.id, plain) == again
        text = parameter.text(plain)
        assert vst3.text(parameter.id, normalised) == text
        assert vst3.parse(parameter.id, text) == parameter.to_normalised(parameter.parse(text))


@pytest.mark.parametrize("text", ["", "nonsense", "nan", "1e999", "é", "6 dBm", "𝄞", "x" * 5000])
def test_other_texts_are_refused(vst3: Vst3Plugin, text: str) -> None:
    for parameter in PARAMETERS:
        with pytest.raises(InputError):
            parameter.parse(text)
        assert vst3.parse(parameter.id, text) is None


def test_unknown_parameters(vst3: Vst3Plugin) -> None:
    assert vst3.text(UNKNOWN_ID, 0.5) is None
    assert vst3.parse(UNKNOWN_ID, "0.5") is None
    assert vst3.value(UNKNOWN_ID) == 0
    assert vst3.controller.set_parameter_normalised(UNKNOWN_ID, 0.5) != OK


# Setting them


def test_defaults(vst3: Vst3Plugin) -> None:
    for parameter in PARAMETERS:
        assert vst3.value(parameter.id) == parameter.to_normalised(parameter.default)


def test_the_controller_shows_what_it_is_told(vst3: Vst3Plugin) -> None:
    for told, shown in ((0.25, 0.25), (-1.0, 0.0), (7.0, 1.0)):
        assert vst3.controller.set_parameter_normalised(by_key("x").id, told) == OK
        assert vst3.value(by_key("x").id) == shown
    assert vst3.controller.set_parameter_normalised(by_key("x").id, math.nan) != OK
    assert vst3.value(by_key("x").id) == 1.0


@pytest.mark.parametrize("active", [True, False])
def test_a_saved_state_has_what_the_controller_was_told(vst3: Vst3Plugin, active: bool) -> None:
    """Hosts save before the block that brings a value, or run no blocks at all."""
    if active:
        vst3.activate(RATE, BLOCK)
    vst3.controller.set_parameter_normalised(by_key("level").id, 0.75)
    assert PluginState.from_bytes(vst3.save()).parameters["level"] == -6.0
    vst3.load(PluginState({"level": -12.0}).to_bytes())
    assert PluginState.from_bytes(vst3.save()).parameters["level"] == -12.0


def test_what_a_queue_brings_counts_for_more(vst3: Vst3Plugin) -> None:
    vst3.activate(RATE, BLOCK)
    vst3.controller.set_parameter_normalised(by_key("level").id, 0.75)
    vst3.process(BLOCK, {by_key("level").id: [(3, 0.5)]})
    assert PluginState.from_bytes(vst3.save()).parameters["level"] == -24.0


def test_values_from_before_activation_are_heard(vst3: Vst3Plugin) -> None:
    vst3.controller.set_parameter_normalised(by_key("level").id, 0.0)
    vst3.activate(RATE, BLOCK, OFFLINE)
    assert not vst3.process(BLOCK).any()


def test_while_it_plays_only_queues_move_what_is_heard(vst3: Vst3Plugin) -> None:
    """The host's user interface follows the sound, and must not lead it."""
    vst3.activate(RATE, BLOCK, OFFLINE)
    expected = [vst3.process(BLOCK) for _ in range(4)]
    vst3.restart_stream()
    for block in expected:
        np.testing.assert_array_equal(vst3.process(BLOCK), block)
        vst3.controller.set_parameter_normalised(by_key("level").id, 0.0)


@pytest.mark.parametrize("buses", [True, False])
def test_queues_of_a_block_without_samples_set_them(vst3: Vst3Plugin, buses: bool) -> None:
    """How hosts hand over values while they do not play."""
    vst3.activate(RATE, BLOCK)
    wanted = {parameter.id: 0.125 if parameter.stepped else 0.375 for parameter in SETTABLE}
    vst3.process(0, {id: [(0, value)] for id, value in wanted.items()}, buses=buses)
    saved = PluginState.from_bytes(vst3.save()).parameters
    assert saved == {p.key: p.from_normalised(wanted[p.id]) for p in SETTABLE}
    assert {id: vst3.value(id) for id in wanted} == wanted


def test_what_is_not_meant_for_us_changes_nothing(vst3: Vst3Plugin) -> None:
    vst3.activate(RATE, BLOCK)
    before = vst3.save()
    vst3.process(BLOCK, {UNKNOWN_ID: [(0, 0.9)], by_key("status").id: [(3, 1.0)], by_key("x").id: [(5, math.nan)]})
    assert vst3.save() == before
    vst3.process(BLOCK, {by_key("x").id: []})
    assert vst3.save() == before


def test_of_too_many_points_the_last_ones_count(vst3: Vst3Plugin) -> None:
    vst3.activate(RATE, BLOCK)
    crowd = [(offset % BLOCK, 0.5) for offset in range(3000)]
    points = {parameter.id: [*crowd, (BLOCK - 1, 0.875)] for parameter in SETTABLE}
    vst3.process(BLOCK, points)
    saved = PluginState.from_bytes(vst3.save()).parameters
    assert saved == {parameter.key: parameter.from_normalised(0.875) for parameter in SETTABLE}


# MIDI


def test_midi_controllers_are_mapped_and_no_others(vst3: Vst3Plugin) -> None:
    keys = {PITCH_BEND: "x", 74: "y", 1: "z", CHANNEL_PRESSURE: "pressure"}
    for channel in range(16):
        found = {cc: vst3.midi_assignment(cc, channel) for cc in range(131)}
        assert {cc: id for cc, id in found.items() if id is not None} == {cc: by_key(k).id for cc, k in keys.items()}
    assert vst3.midi_assignment(PITCH_BEND, channel=16) is None
    assert vst3.midi_assignment(PITCH_BEND, channel=-1) is None
    assert vst3.midi_assignment(PITCH_BEND, bus=1) is None


def test_note_expressions(vst3: Vst3Plugin) -> None:
    expressions = vst3.interface("expressions_t")
    assert (expressions.count(0, 0), expressions.count(1, 0)) == (3, 0)
    infos = [filled("expression_info_t", expressions.info, 0, 0, index) for index in range(3)]
    found = {info.type: (text_of(info.title), info.parameter, info.initial) for info in infos}
    assert found == {
        TUNING: ("Tuning", by_key("x").id, 0.5),
        BRIGHTNESS: ("Brightness", by_key("y").id, 0.5),
        PRESSURE: ("Pressure", by_key("pressure").id, 0.0),
    }
    assert expressions.info(0, 0, 3, ffi.new("expression_info_t *")) != OK


@pytest.mark.parametrize(
    ("type", "text", "normalised"),
    [(TUNING, "12.00 semitones", 0.55), (TUNING, "-120.00 semitones", 0.0), (BRIGHTNESS, "0.25", 0.25)],
)
def test_texts_of_note_expressions(vst3: Vst3Plugin, type: int, text: str, normalised: float) -> None:
    expressions = vst3.interface("expressions_t")
    output, value = ffi.new("text_t"), ffi.new("double *")
    assert expressions.text(0, 0, type, normalised, output) == OK
    assert text_of(output) == text
    assert expressions.parse(0, 0, type, wide(text), value) == OK
    assert value[0] == pytest.approx(normalised)
    assert expressions.parse(0, 0, type, wide("high"), value) != OK
    assert expressions.text(0, 0, 77, normalised, output) != OK


def test_an_mpe_controller_s_three_dimensions(vst3: Vst3Plugin) -> None:
    """What a finger's movements become, in hosts that turn MPE into note expressions."""
    maps = ffi.new("physical_map_t[]", [(0, 0), (1, 0), (2, 0)])
    assert vst3.interface("physical_t").map(0, 0, ffi.new("physical_maps_t *", {"count": 3, "maps": maps})) == OK
    assert [row.expression for row in maps] == [TUNING, BRIGHTNESS, PRESSURE]
