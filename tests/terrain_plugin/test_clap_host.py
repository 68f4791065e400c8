"""The strict CLAP host, against plugins that break the rules: each of its checks can fail."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from terrain_core.errors import InputError
from terrain_plugin.clap_host import CONTINUE, ERROR, ClapPlugin, Note, ParamValue, Transport, _Host, ffi

BLOCK = 64

Process = Callable[[Any], int]


class ScriptedPlugin:
    """A plugin of which a test writes `process(call)`; the rest does nothing."""

    def __init__(self, process: Process = lambda call: CONTINUE, on_main_thread: Callable[[Any], None] | None = None):
        self.host = _Host()
        self._kept: list[Any] = []
        plugin = ffi.new("plugin_t *")
        for name, answer in {"init": True, "activate": True, "start_processing": True}.items():
            self._fill(plugin, name, lambda *_, answer=answer: answer)
        for name in ("destroy", "deactivate", "stop_processing", "reset"):
            self._fill(plugin, name, lambda *_: None)
        self._fill(plugin, "process", lambda _, call: process(call))
        self._fill(plugin, "on_main_thread", lambda _: on_main_thread(self.host) if on_main_thread else None)
        self._extensions = {
            name: ffi.new(kind) for name, kind in ((b"clap.params", "params_t *"), (b"clap.state", "state_t *"))
        }
        self._fill(plugin, "get_extension", lambda _, id: self._extensions.get(ffi.string(id), ffi.NULL))
        self.plugin = ClapPlugin(plugin, self.host, strict=True)

    def _fill(self, plugin: Any, name: str, function: Callable[..., Any]) -> None:
        kind = next(field.type for field_name, field in ffi.typeof("plugin_t").fields if field_name == name)
        callback = ffi.callback(kind, function)
        self._kept.append(callback)
        setattr(plugin, name, callback)


def writing(values: Callable[[int, int], float], extra: int = 0, mask: int = 0) -> Process:
    """Fills every channel with values(channel, sample), `extra` samples more than asked for."""

    def process(call: Any) -> int:
        out = call.audio_outputs[0]
        for channel in range(out.channel_count):
            for sample in range(call.frames_count + extra):
                out.data32[channel][sample] = values(channel, sample)
        out.constant_mask = mask
        return CONTINUE

    return process


def active(process: Process) -> ClapPlugin:
    plugin = ScriptedPlugin(process).plugin
    plugin.activate(44100, BLOCK)
    return plugin


def test_a_good_plugin_passes() -> None:
    plugin = active(writing(lambda channel, sample: channel + sample / 100))
    expected = np.arange(BLOCK) / 100 + np.array([[0], [1]])
    np.testing.assert_allclose(plugin.process(BLOCK), expected, atol=1e-6)
    assert plugin.spent_ns > 0
    assert active(writing(lambda *_: 0.0, mask=3)).process(BLOCK).max() == 0


@pytest.mark.parametrize(
    ("process", "problem"),
    [
        (lambda call: CONTINUE, "unwritten"),
        (writing(lambda channel, sample: float("inf") if sample == 9 else 0), "no numbers"),
        (writing(lambda *_: 0.0, extra=1), "behind the block"),
        (writing(lambda channel, sample: channel * sample, mask=0b10), "channel 1 is constant"),
        (lambda call: ERROR, "reports an error"),
    ],
    ids=["nothing written", "infinity", "too many", "a false mask", "an error"],
)
def test_a_bad_block_is_found(process: Process, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        active(process).process(BLOCK)


def test_calls_on_the_wrong_thread_are_found() -> None:
    def rescan_elsewhere(host: _Host) -> None:
        params = host._extensions[b"clap.params"]
        other = threading.Thread(target=lambda: params.rescan(host.struct, 1))
        other.start()
        other.join()

    scripted = ScriptedPlugin(on_main_thread=rescan_elsewhere)
    scripted.host.struct.request_callback(scripted.host.struct)
    with pytest.raises(InputError, match="rescan is called outside the main thread"):
        scripted.plugin.run_main_thread()


def test_the_host_says_which_thread_is_which() -> None:
    said: list[tuple[bool, bool]] = []

    def ask(call: Any) -> int:
        threads = scripted.host._extensions[b"clap.thread-check"]
        said.append((threads.is_main_thread(scripted.host.struct), threads.is_audio_thread(scripted.host.struct)))
        return writing(lambda *_: 0.0)(call)

    scripted = ScriptedPlugin(ask, lambda _: ask_main())

    def ask_main() -> None:
        threads = scripted.host._extensions[b"clap.thread-check"]
        said.append((threads.is_main_thread(scripted.host.struct), threads.is_audio_thread(scripted.host.struct)))

    scripted.plugin.activate(44100, BLOCK)
    scripted.plugin.process(BLOCK)
    other = threading.Thread(target=scripted.plugin.process, args=[BLOCK])
    other.start()
    other.join()
    scripted.host.requests.callbacks = 1
    scripted.plugin.run_main_thread()
    assert said == [(False, True), (False, True), (True, False)]


@pytest.mark.parametrize("offsets", [(5, 4), (BLOCK,), (-1,)])
def test_events_out_of_order_are_the_caller_s_fault(offsets: tuple[int, ...]) -> None:
    plugin = active(writing(lambda *_: 0.0))
    with pytest.raises(InputError, match="sorted"):
        plugin.process(BLOCK, [ParamValue(offset, 1, 0.5) for offset in offsets])


def test_what_a_plugin_is_given() -> None:
    """Distinct numbers everywhere, so that a swap shows."""
    seen: dict[str, Any] = {}

    def read(call: Any) -> int:
        count = call.in_events.size(call.in_events)
        if count == 0:
            return writing(lambda *_: 0.0)(call)
        events = [call.in_events.get(call.in_events, index) for index in range(count)]
        value, note = ffi.cast("param_t *", events[0]), ffi.cast("note_t *", events[1])
        seen["value"] = value.header.time, value.header.type, value.header.space_id, value.param_id, value.value
        seen["note"] = note.header.time, note.header.type, note.note_id, note.channel, note.key, note.velocity
        now = call.transport
        seen["flags"] = now.flags
        seen["fixed"] = now.beats, now.seconds, now.loop_start_beats, now.loop_end_beats, now.bar_start
        seen["plain"] = now.tempo, now.bar_number, now.numerator, now.denominator
        seen["time"] = call.steady_time, call.frames_count
        return writing(lambda *_: 0.0)(call)

    plugin = active(read)
    plugin.process(7)
    transport = Transport(1.5, 121.0, 2.25, True, False, 6, 3.0, (7, 8), (4.0, 5.5))
    plugin.process(BLOCK, [ParamValue(3, 14, 0.75), Note(9, 1, 60, 0.5, 2, 33)], transport)
    assert seen["value"] == (3, 5, 0, 14, 0.75)
    assert seen["note"] == (9, 1, 33, 2, 60, 0.5)
    assert seen["flags"] == 0b1011111
    assert [number / 2**31 for number in seen["fixed"]] == [1.5, 2.25, 4.0, 5.5, 3.0]
    assert seen["plain"] == (121.0, 6, 7, 8)
    assert seen["time"] == (7, BLOCK)
