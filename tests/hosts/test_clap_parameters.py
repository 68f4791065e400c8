"""Parameters as a CLAP host sees them: the table, its texts, and every way of setting a value."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from terrain_core.errors import InputError
from terrain_core.parameters import PARAMETERS, Parameter, by_key
from terrain_plugin.clap_host import ClapPlugin, ParamValue

RATE, BLOCK = 44100.0, 512
STEPPED, READONLY, BYPASS, AUTOMATABLE, ENUM = (1 << bit for bit in (0, 3, 4, 5, 16))

SETTABLE = [parameter for parameter in PARAMETERS if not parameter.read_only]
UNKNOWN_ID = 9999


def some_values(parameter: Parameter) -> list[float]:
    """The ends, the default, what has a name, and some in between; all that there are of a stepped one."""
    if parameter.stepped:
        return [float(value) for value in range(round(parameter.low), round(parameter.high) + 1)]
    drawn = np.random.default_rng(parameter.id).uniform(parameter.low, parameter.high, 20)
    return [parameter.low, parameter.high, parameter.default, *drawn.tolist()]


def parsed(parameter: Parameter, text: str) -> float | None:
    try:
        return parameter.parse(text)
    except InputError:
        return None


# The table


def test_they_are_the_table_in_its_order(plugin: ClapPlugin) -> None:
    found = plugin.parameters
    assert [info.id for info in found] == [parameter.id for parameter in PARAMETERS]
    for info, parameter in zip(found, PARAMETERS, strict=True):
        assert (info.name, info.module) == (parameter.name, parameter.group)
        assert (info.low, info.high, info.default) == (parameter.low, parameter.high, parameter.default)


def test_flags(plugin: ClapPlugin) -> None:
    for info, parameter in zip(plugin.parameters, PARAMETERS, strict=True):
        expected = READONLY if parameter.read_only else AUTOMATABLE
        expected |= STEPPED if parameter.stepped else 0
        expected |= ENUM if parameter.choices is not None else 0
        expected |= BYPASS if parameter.key == "bypass" else 0
        assert info.flags == expected, parameter.key


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda parameter: parameter.key)
def test_values_read_as_in_the_table(plugin: ClapPlugin, parameter: Parameter) -> None:
    beyond = [-math.inf, math.inf, parameter.low - 1, parameter.high + 1, math.nan, 0.5, 1.5]
    for value in [*some_values(parameter), *beyond]:
        assert plugin.text(parameter.id, value) == parameter.text(value), value


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda parameter: parameter.key)
def test_texts_are_understood_as_in_the_table(plugin: ClapPlugin, parameter: Parameter) -> None:
    texts = [parameter.text(value) for value in some_values(parameter)]
    texts += [text.upper() for text in texts] + [f"  {text}\t" for text in texts]
    texts += ["", " ", "nonsense", "nan", "inf", "-inf", "1e3", "1e999", "+0.5", ".5", "5.", "0x1", "1 2", "1,5", "--1"]
    texts += ["1 dB", "1dB", "1 ms", "1 BPM", "dB", "-inf dB", "host", "Off", "on", "0.5 0.5", "1e", "é"]
    understood = 0
    for text in texts:
        expected = parsed(parameter, text)
        assert plugin.parse(parameter.id, text) == expected, repr(text)
        understood += expected is not None
    assert understood >= 3 * len(some_values(parameter))


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda parameter: parameter.key)
def test_text_and_value_are_each_other_s_way_back(plugin: ClapPlugin, parameter: Parameter) -> None:
    for value in some_values(parameter):
        text = plugin.text(parameter.id, value)
        assert text is not None
        again = plugin.parse(parameter.id, text)
        assert again is not None
        assert again == pytest.approx(value, abs=0.51 * 10.0**-parameter.decimals)
        assert plugin.text(parameter.id, again) == text


def test_unknown_parameters_have_neither_value_nor_text(plugin: ClapPlugin) -> None:
    assert plugin.text(UNKNOWN_ID, 0.5) is None
    assert plugin.parse(UNKNOWN_ID, "0.5") is None
    with pytest.raises(InputError):
        plugin.value(UNKNOWN_ID)


# Setting them


def test_defaults(plugin: ClapPlugin) -> None:
    for parameter in PARAMETERS:
        assert plugin.value(parameter.id) == parameter.default


@pytest.mark.parametrize("active", [False, True])
def test_flush_sets_them(plugin: ClapPlugin, active: bool) -> None:
    if active:
        plugin.activate(RATE, BLOCK)
    for round_ in range(2):
        wanted = {parameter.id: some_values(parameter)[-1 - round_] for parameter in SETTABLE}
        plugin.flush([ParamValue(0, id, value) for id, value in wanted.items()])
        assert {id: plugin.value(id) for id in wanted} == wanted


def test_flushed_values_are_heard(plugin: ClapPlugin) -> None:
    plugin.activate(RATE, BLOCK)
    plugin.set_offline(True)
    assert np.abs(plugin.process(BLOCK)).max() > 1e-3
    plugin.flush([ParamValue(0, by_key("level").id, -60.0)])
    for _ in range(8):  # what was decoded before dies away
        last = plugin.process(BLOCK)
    assert np.abs(last).max() == 0


def test_events_set_them(plugin: ClapPlugin) -> None:
    plugin.activate(RATE, BLOCK)
    wanted = {parameter.id: some_values(parameter)[-1] for parameter in SETTABLE}
    plugin.process(BLOCK, [ParamValue(7, id, value) for id, value in wanted.items()])
    assert {id: plugin.value(id) for id in wanted} == wanted


def test_the_last_of_several_values_stays(plugin: ClapPlugin) -> None:
    plugin.activate(RATE, BLOCK)
    x = by_key("x").id
    plugin.process(BLOCK, [ParamValue(offset, x, offset / BLOCK) for offset in range(0, BLOCK, 3)])
    assert plugin.value(x) == 510 / 512


def test_values_in_a_block_of_no_samples(plugin: ClapPlugin) -> None:
    plugin.activate(RATE, BLOCK)
    assert plugin.process(0, [ParamValue(0, by_key("x").id, 0.125)]).shape == (2, 0)
    assert plugin.value(by_key("x").id) == 0.125


@pytest.mark.parametrize("way", ["flush", "process"])
def test_values_that_are_not_meant_for_us_change_nothing(plugin: ClapPlugin, way: str) -> None:
    plugin.activate(RATE, BLOCK)
    good = ParamValue(0, by_key("x").id, 0.875)
    foreign = [replace(good, space=1), replace(good, space=0xFFFF), replace(good, id=UNKNOWN_ID)]
    of_a_note = [replace(good, key=60), replace(good, channel=3), replace(good, note_id=1)]
    status = ParamValue(0, by_key("status").id, 0.0)
    send = plugin.flush if way == "flush" else lambda events: plugin.process(BLOCK, events)
    before = {parameter.id: plugin.value(parameter.id) for parameter in PARAMETERS}
    send([*foreign, *of_a_note, status, replace(good, value=math.nan)])
    assert {parameter.id: plugin.value(parameter.id) for parameter in PARAMETERS} == before
    send([good])
    assert plugin.value(good.id) == 0.875


def test_values_out_of_range_are_clamped(plugin: ClapPlugin) -> None:
    plugin.activate(RATE, BLOCK)
    for beyond, end in ((-1e30, "low"), (1e30, "high"), (-math.inf, "low"), (math.inf, "high")):
        plugin.process(BLOCK, [ParamValue(3, parameter.id, beyond) for parameter in SETTABLE])
        for parameter in SETTABLE:
            assert plugin.value(parameter.id) == getattr(parameter, end)


def test_any_values_at_any_offsets(plugin: ClapPlugin, rng: np.random.Generator) -> None:
    """The host checks every sample of every block."""
    plugin.activate(RATE, BLOCK)
    plugin.set_offline(True)
    loudest = 0.0
    for _ in range(150):
        offsets = sorted(rng.integers(0, BLOCK, rng.integers(0, 60)).tolist())
        chosen = [SETTABLE[index] for index in rng.integers(0, len(SETTABLE), len(offsets))]
        events = [
            ParamValue(offset, parameter.id, float(rng.uniform(parameter.low, parameter.high)))
            for offset, parameter in zip(offsets, chosen, strict=True)
        ]
        loudest = max(loudest, float(np.abs(plugin.process(BLOCK, events)).max()))
    assert 1e-3 < loudest < 16.0  # Level adds up to 12 dB


def test_more_events_than_a_request_holds(plugin: ClapPlugin) -> None:
    plugin.activate(RATE, BLOCK)
    plugin.set_offline(True)
    x = by_key("x").id
    at_once = [ParamValue(100, x, index / 10000) for index in range(10001)]
    plugin.process(BLOCK, at_once)
    assert plugin.value(x) == 1.0
    spread = [ParamValue(index // 20, x, 1 - index / 10240) for index in range(10240)]
    plugin.process(BLOCK, spread)
    assert plugin.value(x) == 1 - 10239 / 10240
