"""The editor on plugins in a DAW, in a real browser: the host hears what is drawn as gestures, and the page shows what
the host plays.

TERRAIN_MEDIA=FOLDER also keeps a picture, as in `test_editor_browser`.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe

from terrain_core.parameters import by_key
from terrain_plugin.bridge.run_folder import addresses
from terrain_plugin.clap_host import GESTURE_BEGIN, GESTURE_END, PARAM_VALUE, ClapPlugin
from tests.hosts.daw import Daw
from tests.hosts.processes import wait_until
from tests.hosts.test_editor_browser import (  # noqa: F401
    CHROMIUM,
    browser,
    context,
    drag,
    frame,
    keep,
    measured,
    place,
    show,
    until,
)
from tests.terrain_plugin.editor_server import EditorServer, editor_server

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt install chromium"),
    pytest.mark.usefixtures("alone"),
]

PATIENCE_S = 60.0
X, Y, PRESSURE, LEVEL = (by_key(key).id for key in ("x", "y", "pressure", "level"))
LOOP_SLOT, LOOP_ACTION = by_key("loop_slot").id, by_key("loop_action").id
CHOSEN = "document.querySelector('#plugin').selectedOptions[0]?.textContent ?? ''"


@pytest.fixture
def lead_and_bass(library):
    with library.create(track="Lead") as lead, library.create(track="Bass") as bass:
        yield lead, bass


@pytest.fixture
def server():
    with editor_server(None) as running:
        yield running


def opened(context, server: EditorServer, faults: list[str]):  # noqa: F811
    page = context.new_page()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.goto(server.url)
    until(page, "Boolean(window.terrain?.instances.list.length === 2 && terrain.state && terrain.pictures.length)")
    return page


def choose(page, name: str) -> None:
    key = page.evaluate(f"terrain.instances.list.find(row => row.name.includes({json.dumps(name)})).key")
    page.select_option("#plugin", key)
    until(page, f"terrain.instances.chosen === {json.dumps(key)}")


def next_frame(condition: str) -> str:
    """Whether the frame `f` that the page hears of next is so."""
    return f"new Promise(done => terrain.connection.on('frame', f => done({condition})))"


def heard(condition: Callable[[], bool]) -> bool:
    return wait_until(condition, PATIENCE_S)


def stroke(plugin: ClapPlugin, id: int) -> tuple[list[int], list[float]]:
    """What the host heard of a parameter: kinds, each run of equal ones once; and the values."""
    mine = [touch for touch in plugin.touches if touch.id == id]
    kinds = [touch.kind for n, touch in enumerate(mine) if n == 0 or mine[n - 1].kind != touch.kind]
    return kinds, [touch.value for touch in mine if touch.kind == PARAM_VALUE]


def test_what_is_drawn_reaches_the_host_and_what_the_host_plays_the_page(context, server, lead_and_bass):  # noqa: F811
    lead, bass = lead_and_bass
    faults: list[str] = []
    with Daw(lead, bass) as daw:
        page = opened(context, server, faults)
        names = page.evaluate("terrain.instances.list.map(row => row.name)")
        assert sorted(names) == [f"{track} · built-in · Latent Terrain's test host" for track in ("Bass", "Lead")]
        assert "Lead" in page.evaluate(CHOSEN)
        choose(page, "Bass")
        frame(page)

        # A stroke: begin, values, end, of what moves and of nothing else.
        drag(page, "#pad", [(0.2 + 0.02 * n, 0.7 - 0.015 * n) for n in range(31)], pause=0.01)
        assert heard(lambda: not bass.touched and len(bass.touches) > 6)
        for id, first, last in ((X, 0.2, 0.8), (Y, 0.7, 0.25)):
            kinds, values = stroke(bass, id)
            assert kinds == [GESTURE_BEGIN, PARAM_VALUE, GESTURE_END]
            assert values[0] == pytest.approx(first, abs=0.01)
            assert values[-1] == pytest.approx(last, abs=0.01)
            assert len(values) > 10
            assert (np.diff(values) * (last - first) >= 0).all()
        assert stroke(bass, PRESSURE) == ([], []), "a mouse presses nothing: its automation stays"
        assert not lead.touches
        drawn = stroke(bass, X)[1][-1]
        until(page, next_frame(f"Math.abs(f.x - {drawn}) < 1e-4"))
        latencies = page.evaluate("terrain.latencies")
        assert latencies
        median, late = np.percentile(latencies, [50, 99])
        counted, load = len(latencies), os.getloadavg()[0]
        measured(
            f"DAW: pointer to host and back: median {median:.0f} ms, p99 {late:.0f} ms ({counted}), load {load:.0f}"
        )

        # A slider, exact values, keys.
        bass.touches.clear()
        page.click("#parameters summary:text-is('Output')")
        exact = "#parameters input[aria-label='Level, exactly']"
        page.fill(exact, "-7.5")
        page.press(exact, "Tab")
        assert heard(lambda: stroke(bass, LEVEL) == ([GESTURE_BEGIN, PARAM_VALUE, GESTURE_END], [-7.5]))
        bass.touches.clear()
        page.focus("#pad")
        page.keyboard.press("ArrowRight")
        assert heard(lambda: stroke(bass, X)[0] == [GESTURE_BEGIN, PARAM_VALUE, GESTURE_END])
        assert stroke(bass, X)[1] == [pytest.approx(drawn + 0.01, abs=1e-4)]

        # The host's automation moves cursor and sliders; its transport is shown.
        daw.bpm, daw.recording = 97.0, True
        daw.automation[bass] = {X: 0.125, Y: 0.875, LEVEL: -12.0}
        until(page, next_frame("f.x === 0.125 && f.y === 0.875"))
        until(page, f'document.querySelector("{exact}").value === "-12"')
        until(page, "document.querySelector('#song').textContent === 'Recording'")
        until(page, "document.querySelector('#bpm').value === '97'")
        # A hand goes before it while it touches, as in a host's mode Touch, and not after.
        bass.touches.clear()
        page.mouse.move(*place(page, "#pad", 0.5, 0.5))
        page.mouse.down()
        for turn in np.linspace(0, 5, 60):
            page.mouse.move(*place(page, "#pad", 0.5 + 0.07 * turn * np.cos(turn), 0.5 + 0.07 * turn * np.sin(turn)))
        page.mouse.move(*place(page, "#pad", 0.6, 0.4))
        until(page, next_frame("Math.abs(f.x - 0.6) < 0.01"))
        page.evaluate("document.querySelector('#view-play .side').scrollTop = 0")
        keep(page, "daw")
        page.mouse.up()
        until(page, next_frame("f.x === 0.125"))
        assert stroke(bass, X)[0] == [GESTURE_BEGIN, PARAM_VALUE, GESTURE_END]
        assert daw.loudest > 1e-3

        # A trajectory plays the host's parameters, until it is stopped.
        daw.automation[bass] = {}
        show(page, "paths")
        assert not page.is_visible("#gestures")
        page.fill("#path-name", "Stroke")
        drag(page, "#path-pad", [(0.1 + 0.08 * n, 0.9 - 0.08 * n) for n in range(11)])
        until(page, "terrain.state.trajectories.length === 1")
        bass.touches.clear()
        page.fill("#path-seconds", "1")
        page.click("#paths li button:text-is('Play')")
        until(page, "terrain.state.playback !== null")
        assert heard(lambda: len(stroke(bass, X)[1]) > 40)
        assert bass.touched == {X, Y}
        page.click("#path-stop")
        assert heard(lambda: not bass.touched)
        (kinds, xs), (_, ys) = stroke(bass, X), stroke(bass, Y)
        assert kinds == [GESTURE_BEGIN, PARAM_VALUE, GESTURE_END]
        assert np.ptp(xs) > 0.1
        np.testing.assert_allclose(np.add(xs, ys), 1, atol=0.02)
        until(page, "terrain.state.playback === null")

        # Loops go by the loop parameters.
        bass.touches.clear()
        show(page, "loops")
        page.keyboard.press("3")
        page.keyboard.press("r")
        assert heard(lambda: not bass.touched and len(stroke(bass, LOOP_ACTION)[1]) == 2)
        assert stroke(bass, LOOP_SLOT) == ([GESTURE_BEGIN, PARAM_VALUE, GESTURE_END], [3.0])
        assert stroke(bass, LOOP_ACTION) == ([GESTURE_BEGIN, PARAM_VALUE, GESTURE_END], [1.0, 0.0])
        state = "document.querySelectorAll('.ring .state')[2].textContent"
        until(page, f"['waiting to start', 'recording'].includes({state})")
    assert not faults


def test_engines_and_hosts_may_go(context, server, lead_and_bass):  # noqa: F811
    lead, bass = lead_and_bass
    faults: list[str] = []
    with Daw(lead, bass) as daw:
        page = opened(context, server, faults)
        choose(page, "Bass")
        frame(page)
        until(page, "document.querySelector('#no-plugin').hidden")

        # The engine dies under the hand: the host gets its end, the page goes on by itself.
        page.mouse.move(*place(page, "#pad", 0.5, 0.5))
        page.mouse.down()
        assert heard(lambda: bass.touched == {X, Y})
        with_bass = page.evaluate("terrain.instances.chosen")
        os.kill(next(entry.pid for entry in addresses() if entry.key == with_bass), signal.SIGKILL)
        assert heard(lambda: not bass.touched)
        page.mouse.up()
        bass.touches.clear()
        until(page, f"terrain.instances.chosen === '{with_bass}' && document.querySelector('#no-plugin').hidden")

        def drawn_again() -> bool:
            drag(page, "#pad", [(0.3, 0.3), (0.7, 0.4)])
            return bool(stroke(bass, X)[1])

        assert wait_until(drawn_again, PATIENCE_S)
        assert heard(lambda: not bass.touched)
        frame(page)

        # A page that goes lets go.
        other = opened(context, server, faults)
        choose(other, "Bass")
        other.mouse.move(*place(other, "#pad", 0.5, 0.5))
        other.mouse.down()
        assert heard(lambda: bass.touched == {X, Y})
        other.close()
        assert heard(lambda: not bass.touched)

        # The plugin is taken out: the page says so, and another one can be chosen.
        daw.remove(bass)
        bass.destroy()
        until(page, "!document.querySelector('#no-plugin').hidden")
        until(page, "terrain.instances.list.filter(row => row.there).length === 1")
        choose(page, "Lead")
        until(page, "document.querySelector('#no-plugin').hidden")
        drag(page, "#pad", [(0.3, 0.3), (0.7, 0.4)])
        assert heard(lambda: bool(lead.touches) and not lead.touched)
    assert not faults


def test_nothing_keeps_anybody_out_of_a_daws_page(browser, server, lead_and_bass):  # noqa: F811
    made = browser.new_context(viewport={"width": 1024, "height": 640}, reduced_motion="reduce")
    faults: list[str] = []
    with Daw(*lead_and_bass):
        page = opened(made, server, faults)
        for view in ("play", "loops", "paths", "map"):
            show(page, view)
            found = Axe().run(page).response
            serious = [v for v in found["violations"] if v["impact"] in ("serious", "critical")]
            assert not serious, [(v["id"], [node["html"][:120] for node in v["nodes"][:5]]) for v in serious]
            wide, window = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
            assert wide <= window
        assert not page.is_visible("#tab-build")
    made.close()
    assert not faults
