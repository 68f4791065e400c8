"""A hand at the editor: through the engine's door to the plugin, to the host as its own gestures, and back."""

from __future__ import annotations

import contextlib
import os
import random
import stat
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import dawdreamer
import pytest

from terrain_core.parameters import by_key
from terrain_core.plugin_state import InstrumentReference, PluginState
from terrain_plugin import binaries
from terrain_plugin.bridge.door import LONGEST_LINE, MOST_EDITORS
from terrain_plugin.bridge.run_folder import addresses
from terrain_plugin.clap_host import GESTURE_BEGIN, GESTURE_END, PARAM_VALUE, ClapLibrary, ClapPlugin, ParamValue, Touch
from terrain_plugin.clap_host import Transport as ClapTransport
from terrain_plugin.shipped import DRUM_INSTRUMENT
from tests.hosts.doors import PATIENCE_S, Caller, connected, doors
from tests.hosts.processes import engines, is_alive, wait_until
from tests.hosts.vst3_host import OFFLINE, Vst3Library, Vst3Plugin

RATE, BLOCK = 44100.0, 512
X, Y, LEVEL, NOISE = (by_key(key).id for key in ("x", "y", "level", "noise"))
STROKE = [("begin", "x"), ("value", "x", 0.25), ("value", "x", 0.75), ("end", "x")]

pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture
def playing(plugin: ClapPlugin) -> ClapPlugin:
    """A CLAP instance that makes blocks."""
    plugin.activate(RATE, BLOCK)
    plugin.set_offline(True)
    return plugin


@pytest.fixture
def caller(playing: ClapPlugin):
    with Caller(doors(1)[0]) as made:
        yield made


def until(plugin: ClapPlugin, condition: Callable[[], bool], **more: object) -> None:
    """Have blocks made until something has come true."""

    def step() -> bool:
        plugin.process(BLOCK, **more)
        return condition()

    assert wait_until(step, PATIENCE_S)


def ended(plugin: ClapPlugin) -> Callable[[], bool]:
    return lambda: bool(plugin.touches) and plugin.touches[-1].kind == GESTURE_END


def test_a_stroke_comes_as_begin_values_end_and_counts(playing: ClapPlugin, caller: Caller) -> None:
    caller.say(type="watch", on=True)
    caller.touch(*STROKE)
    until(playing, ended(playing))
    first, *values, last = playing.touches
    assert (first, last) == (Touch(GESTURE_BEGIN, X), Touch(GESTURE_END, X))
    assert [value.value for value in values][-1] == 0.75
    assert {value.kind for value in values} == {PARAM_VALUE}
    assert playing.value(X) == 0.75
    until(playing, lambda: caller.heard("frame", lambda frame: frame["x"] == 0.75))


def test_what_the_host_plays_counts_after_it(playing: ClapPlugin, caller: Caller) -> None:
    caller.say(type="watch", on=True)
    caller.touch(("begin", "x"), ("value", "x", 0.9))
    until(playing, lambda: playing.value(X) == 0.9)
    transport = ClapTransport(beat=3.0, bpm=97.0, recording=True)

    def step() -> bool:
        playing.process(BLOCK, [ParamValue(0, X, 0.125)], transport)
        return caller.heard("frame", lambda frame: frame["x"] == 0.125)

    assert wait_until(step, PATIENCE_S)
    assert caller.hear("frame", lambda frame: frame.get("parameters", {}).get("x") == 0.125)
    shown = {"known": True, "playing": True, "recording": True, "bpm": 97.0}
    assert caller.hear("frame", lambda frame: frame.get("transport") == shown)


def test_whole_sounds_have_no_frames_and_are_shown_all_the_same(playing: ClapPlugin, caller: Caller) -> None:
    drums = InstrumentReference.of(DRUM_INSTRUMENT)
    assert playing.load(PluginState({}, drums).to_bytes())
    caller.hear("hello", lambda hello: hello["sha256"] == drums.sha256)
    caller.say(type="instrument")
    assert caller.hear("instrument")["path"] == drums.path
    caller.say(type="watch", on=True)
    caller.touch(*STROKE)
    until(playing, lambda: caller.heard("frame", lambda frame: frame["x"] == 0.75))
    assert caller.hear("frame", lambda frame: frame["x"] == 0.75)["z"] == []


def test_a_host_that_does_not_process_is_asked_to_flush(playing: ClapPlugin, caller: Caller) -> None:
    before = playing.requests.flushes
    caller.touch(*STROKE)
    assert wait_until(lambda: playing.requests.flushes > before, PATIENCE_S)
    assert wait_until(lambda: (playing.flush([]), ended(playing)())[1], PATIENCE_S)
    assert playing.value(X) == 0.75
    playing.deactivate()
    playing.touches.clear()
    caller.touch(("begin", "level"), ("value", "level", -6.0), ("end", "level"))
    assert wait_until(lambda: (playing.flush([]), ended(playing)())[1], PATIENCE_S)
    assert playing.touches == [
        Touch(GESTURE_BEGIN, LEVEL),
        Touch(PARAM_VALUE, LEVEL, -6.0),
        Touch(GESTURE_END, LEVEL),
    ]


def test_a_host_that_takes_nothing_hears_the_end_and_the_last_value(playing: ClapPlugin, caller: Caller) -> None:
    playing.takes_events = False
    for key in ("x", "y"):
        caller.touch(("begin", key))
        for start in range(0, 5000, 250):
            caller.touch(*(("value", key, (start + n) / 5000) for n in range(1, 251)))
        caller.touch(("end", key))
    caller.touch(("begin", "level"), ("value", "level", 3.0))
    caller.say(type="instrument")
    caller.hear("instrument")  # all before it has been handed on
    playing.save()  # and the plugin has heard it
    for _ in range(20):
        playing.process(BLOCK)
    assert not playing.touches
    assert playing.value(X) == 0.5, "what the host does not take does not sound"
    playing.takes_events = True
    until(playing, lambda: Touch(PARAM_VALUE, LEVEL, 3.0) in playing.touches)
    assert len(playing.touches) <= 1024 + 16, "what waits is bounded"
    for id in (X, Y):
        mine = [touch for touch in playing.touches if touch.id == id]
        assert [touch.kind for touch in mine[:1] + mine[-1:]] == [GESTURE_BEGIN, GESTURE_END]
        values = [touch.value for touch in mine if touch.kind == PARAM_VALUE]
        assert values == sorted(values)
        assert values[-1] == 1.0
    assert [touch.kind for touch in playing.touches if touch.id == LEVEL] == [GESTURE_BEGIN, PARAM_VALUE]


def test_the_queue_keeps_every_begin_every_end_and_the_last_value(root: Path) -> None:
    """Two threads, a host that takes irregularly; under the sanitizers it runs in `test_sanitizers`."""
    done = subprocess.run([root / "build" / "native" / "gestures", "5"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "0 failures" in done.stdout


def test_an_engine_that_is_killed_ends_what_it_held(playing: ClapPlugin, caller: Caller) -> None:
    caller.touch(("begin", "x"), ("value", "x", 0.625), ("begin", "y"))
    until(playing, lambda: len(playing.touches) == 3)
    engine, key = engines()[0], doors(1)[0].key
    engine.kill()
    until(playing, lambda: len(playing.touches) == 5)
    assert {(touch.kind, touch.id) for touch in playing.touches[3:]} == {(GESTURE_END, X), (GESTURE_END, Y)}
    assert playing.value(X) == 0.625
    # The next engine is the same instance, and hears hands as well.
    with Caller(doors(1)[0]) as again:
        assert doors(1)[0].key == key
        assert again.hello["pid"] != engine.pid
        again.touch(("begin", "x"), ("value", "x", 0.5), ("end", "x"))
        until(playing, lambda: len(playing.touches) == 8)
    assert [touch.kind for touch in playing.touches[5:]] == [GESTURE_BEGIN, PARAM_VALUE, GESTURE_END]


def test_an_editor_that_goes_lets_go(playing: ClapPlugin) -> None:
    with Caller(doors(1)[0]) as one, Caller(doors(1)[0]) as other:
        one.touch(("begin", "x"), ("value", "x", 0.25))
        until(playing, lambda: len(playing.touches) == 2)
        other.touch(("begin", "x"), ("value", "x", 0.375))
        until(playing, lambda: len(playing.touches) == 3)
        one.close()
        other.touch(("value", "x", 0.5))
        until(playing, lambda: len(playing.touches) == 4)
        assert [touch.kind for touch in playing.touches] == [GESTURE_BEGIN, PARAM_VALUE, PARAM_VALUE, PARAM_VALUE]
    until(playing, ended(playing))
    assert len(playing.touches) == 5


NONSENSE = [
    b"nonsense\n",
    b'{"type": "touch"}\n',
    b'{"type": "open", "path": "/etc/passwd"}\n',
    b'{"type": "touch", "gestures": [["value", "x"]]}\n',
    b'{"type": "touch", "gestures": [["begin", "status"]]}\n',
    b'{"type": "touch", "gestures": [["begin", "x"], ["value", "x", NaN]]}\n',
    b'{"type": "touch", "gestures": [["begin", "x"], ["value", "x", 1' + b"0" * 400 + b"]]}\n",
    b'{"type": "touch", "gestures": [["begin", "x"], ["value", "x", true]]}\n',
    b'{"type": "touch", "gestures": [' + b",".join([b'["begin", "x"]'] * 257) + b"]}\n",
    b'{"type": "watch", "on": 1}\n',
    b"[" * 50_000 + b"\n",
    b"x" * (LONGEST_LINE + 70_000),
    b"\xff\xfe\n",
]


def test_who_talks_nonsense_is_put_out_and_moves_nothing(playing: ClapPlugin) -> None:
    for said in NONSENSE:
        with Caller(doors(1)[0]) as caller:
            with contextlib.suppress(ConnectionError):
                caller.socket.sendall(said)
            assert caller.is_put_out(), said[:60]
    with Caller(doors(1)[0]) as polite:
        polite.touch(("begin", "y"), ("value", "y", 7.0), ("end", "y"), ("value", "x", 0.9), ("end", "x"))
        until(playing, ended(playing))
    assert playing.touches == [Touch(GESTURE_BEGIN, Y), Touch(PARAM_VALUE, Y, 1.0), Touch(GESTURE_END, Y)]
    assert playing.value(X) == 0.5


def test_any_order_of_gestures_leaves_none_open(playing: ClapPlugin) -> None:
    """A hundred random messages of three editors; the host (which watches over order itself) hears each end."""
    dice = random.Random(2026)

    def counts(kind: int) -> int:
        return sum(touch.kind == kind for touch in playing.touches)

    for _ in range(3):
        callers = [Caller(doors(1)[0]) for _ in range(3)]
        for _ in range(100):
            kind, key = dice.choice(["begin", "value", "end"]), dice.choice(["x", "y", "level"])
            dice.choice(callers).touch((kind, key, dice.random()) if kind == "value" else (kind, key))
            if dice.random() < 0.3:
                playing.takes_events = dice.random() < 0.7
                playing.process(BLOCK)
        for caller in callers:
            caller.say(type="instrument")
            caller.hear("instrument")  # all before it has been handed on
            caller.close()
        playing.takes_events = True
        playing.touches = [touch for touch in playing.touches if touch.id != NOISE]
        with Caller(doors(1)[0]) as last:
            last.touch(("begin", "noise"), ("end", "noise"))
            until(playing, lambda: Touch(GESTURE_END, NOISE) in playing.touches and not playing.touched)
        assert counts(GESTURE_BEGIN) == counts(GESTURE_END)
    assert counts(PARAM_VALUE) > 10


def test_an_editor_that_does_not_read_keeps_nobody_waiting(playing: ClapPlugin) -> None:
    deaf = connected(doors(1)[0])
    deaf.sendall(b'{"type": "watch", "on": true}\n')
    playing.set_offline(False)
    for _ in range(1500):
        playing.process(BLOCK)
    assert is_alive(engines()[0])
    with Caller(doors(1)[0]) as other:
        other.touch(*STROKE)
        until(playing, ended(playing))
        strangers = [Caller(doors(1)[0]) for _ in range(MOST_EDITORS - 2)]
        with pytest.raises(AssertionError, match="the door was closed"):
            Caller(doors(1)[0])
        for stranger in strangers:
            stranger.close()
    deaf.close()


def test_vst3_edits_come_on_the_main_thread_and_return_by_the_queues(vst3: Vst3Plugin) -> None:
    assert vst3.activate(RATE, BLOCK, OFFLINE)
    with Caller(doors(1)[0]) as caller:
        caller.say(type="watch", on=True)
        caller.touch(*STROKE)
        edits = vst3.requests.edits
        assert wait_until(lambda: (vst3.run_main_thread(), edits and edits[-1][0] == "end")[1], PATIENCE_S)
        assert [what for what, _, _ in (edits[0], edits[-1])] == ["begin", "end"]
        assert {what for what, _, _ in edits[1:-1]} == {"perform"}
        assert edits[-2] == ("perform", X, 0.75)
        assert vst3.requests.threads == {threading.get_ident()}
        assert vst3.value(X) == 0.75, "the controller shows it"
        vst3.process(BLOCK)
        assert not set(vst3.output_points) & {X}
        # The host brings it to the processor: only then it is heard.
        assert not caller.heard("frame", lambda frame: frame["x"] == 0.75)

        def step() -> bool:
            vst3.process(BLOCK, {X: [(0, 0.75)]})
            return caller.heard("frame", lambda frame: frame["x"] == 0.75)

        assert wait_until(step, PATIENCE_S)


def test_vst3_without_a_way_to_the_main_thread_tells_by_output_parameters(vst3_library: Vst3Library) -> None:
    with vst3_library.create(run_loop=False) as vst3:
        assert vst3.activate(RATE, BLOCK, OFFLINE)
        with Caller(doors(1)[0]) as caller:
            caller.say(type="watch", on=True)
            caller.touch(*STROKE)
            seen: list[float] = []

            def step() -> bool:
                vst3.process(BLOCK)
                seen.extend(value for _, value in vst3.output_points.get(X, []))
                return 0.75 in seen

            assert wait_until(step, PATIENCE_S)
            assert not vst3.requests.edits
            assert vst3.value(X) == 0.75
            assert wait_until(lambda: (step(), caller.heard("frame", lambda frame: frame["x"] == 0.75))[1], PATIENCE_S)


def test_instances_say_whose_they_are(library: ClapLibrary, vst3_library: Vst3Library) -> None:
    with library.create(track="Länge") as clap, vst3_library.create() as vst3:
        clap.activate(RATE, BLOCK)
        assert vst3.activate(RATE, BLOCK)
        vst3.name_channel("Größe 🎛")
        (one, other) = doors(2)
        assert one.key.startswith(f"{os.getpid()}-")
        assert other.key.startswith(f"{os.getpid()}-")
        assert one.key != other.key
        with Caller(one) as first, Caller(other) as second:
            track = first.hear("hello", lambda hello: hello["track"] != "")
            assert (track["host"], track["track"]) == ("Latent Terrain's test host", "Länge")
            assert track["instrument"] == "built-in"
            clap.rename_track("Lead")
            first.hear("hello", lambda hello: hello["track"] == "Lead")
            named = second.hear("hello", lambda hello: hello["track"] != "")
            assert (named["host"], named["track"]) == ("Latent Terrain's VST3 host", "Größe 🎛")


def test_nobody_else_may_look_and_nothing_stays(playing: ClapPlugin, own_run_folder: Path) -> None:
    (address,) = doors(1)
    assert stat.S_IMODE(own_run_folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(address.path.stat().st_mode) == 0o600
    engines()[0].kill()  # leaves its socket
    until(playing, lambda: bool(addresses()) and addresses()[0].pid != address.pid)
    assert [path.name for path in own_run_folder.glob("*.sock")] == [addresses()[0].path.name]
    playing.destroy()
    assert wait_until(lambda: not list(own_run_folder.glob("*.sock")), PATIENCE_S)


def test_a_folder_that_is_somebody_elses_keeps_the_editor_away_and_nothing_else(
    library: ClapLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine_log: Path
) -> None:
    (tmp_path / "latent-terrain").write_text("no folder")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with library.create() as plugin:
        plugin.activate(RATE, BLOCK)
        plugin.set_offline(True)
        assert abs(plugin.process(BLOCK * 1)).max() >= 0
        assert wait_until(lambda: "no editor can come" in engine_log.read_text(), PATIENCE_S)


def test_dawdreamer_hears_what_is_drawn() -> None:
    """It gives no way to its main thread, and runs no message loop: the sound follows, its own display does not."""
    engine = dawdreamer.RenderEngine(RATE, BLOCK)
    plugin = engine.make_plugin_processor("terrain", str(binaries.vst3_path()))
    engine.load_graph([(plugin, [])])
    engine.render(0.2)
    with Caller(doors(1)[0]) as caller:
        assert caller.hello["host"] == "dawdreamer"
        caller.say(type="watch", on=True)
        caller.touch(*STROKE)

        def step() -> bool:
            engine.render(0.2)
            return caller.heard("frame", lambda frame: frame["x"] == 0.75)

        assert wait_until(step, PATIENCE_S)
        assert plugin.get_parameter(0) == 0.5
