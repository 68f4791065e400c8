"""The editor in a real browser (Debian's chromium, without a window): from three sounds to a render of what was heard.

TERRAIN_MEDIA=FOLDER also keeps a picture of each view, and prints what was measured.
"""

from __future__ import annotations

import base64
import io
import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from terrain_core.errors import InputError
from terrain_core.instrument import Instrument
from terrain_daws import read
from terrain_plugin.editor.server import lan_address
from terrain_plugin.render import RenderSettings, parts_to_play, render_parts
from tests.terrain_plugin.editor_server import EditorServer, editor_server

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt install chromium")

MEDIA = Path(os.environ["TERRAIN_MEDIA"]) if "TERRAIN_MEDIA" in os.environ else None
VIEWS = ("play", "loops", "paths", "build", "map")
SIZE = {"width": 1280, "height": 800}
PATIENCE = 90_000  # ms; the machine may have other work


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield running
        running.close()


@pytest.fixture
def server(tmp_path):
    with editor_server(tmp_path / "library") as running:
        yield running


@pytest.fixture
def context(browser: Browser):
    made = browser.new_context(viewport=SIZE, has_touch=True, accept_downloads=True)
    made.set_default_timeout(PATIENCE)
    yield made
    made.close()


def opened(context, server: EditorServer, faults: list[str]) -> Page:
    """The page, playing; whatever it complains of comes into `faults`."""
    page = context.new_page()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.goto(server.url)
    until(page, "Boolean(window.terrain?.state && terrain.drawn.length > 3 && terrain.pictures.length)")
    return page


def show(page: Page, view: str) -> None:
    page.click(f"#tab-{view}")


def keep(page: Page, name: str) -> None:
    if MEDIA is not None:
        picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        picture.quantize(256, dither=Image.Dither.NONE).save(MEDIA / f"editor-{name}.png", optimize=True)


def measured(text: str) -> None:
    if MEDIA is not None:
        with (MEDIA / "editor-measured.txt").open("a") as file:
            print(text, file=file)


def frame(page: Page) -> dict:
    """The next frame that the page hears of."""
    return page.evaluate("new Promise(done => terrain.connection.on('frame', done))")


def comes(page: Page, within: float = 0.01, **expected: float) -> None:
    """Wait for a frame that is played so: x, y, p."""
    end = time.monotonic() + PATIENCE / 1000
    while any(abs((heard := frame(page))[key] - value) > within for key, value in expected.items()):
        assert time.monotonic() < end, f"never came: {expected}; the last was {heard}"


def place(page: Page, canvas: str, x: float, y: float) -> tuple[float, float]:
    box = page.locator(canvas).bounding_box()
    assert box is not None
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def drag(page: Page, canvas: str, points: list[tuple[float, float]], pause: float = 0.0) -> None:
    page.mouse.move(*place(page, canvas, *points[0]))
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*place(page, canvas, *point))
        time.sleep(pause)
    page.mouse.up()


def until(page: Page, expression: str) -> None:
    """Wait until an expression is true. By asking again and again: Playwright's own way needs eval in the page, which
    the page's policy rightly forbids.
    """
    end = time.monotonic() + PATIENCE / 1000
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"never came: {expression}"
        time.sleep(0.03)


def sounds() -> list[dict[str, str]]:
    seconds = np.arange(33075) / 44100
    made = []
    for name, hz in (("low", 90), ("middle", 330), ("high", 1400)):
        buffer = io.BytesIO()
        tone = 0.4 * np.sin(2 * np.pi * hz * seconds * (1 + 0.2 * seconds)) * np.exp(-seconds)
        soundfile.write(buffer, tone, 44100, format="WAV")
        made.append({"name": f"{name}.wav", "data": base64.b64encode(buffer.getvalue()).decode()})
    return made


def drop(page: Page, files: list[dict[str, str]]) -> None:
    transfer = page.evaluate_handle(
        """files => {
            const transfer = new DataTransfer();
            for (const { name, data } of files) {
                const bytes = Uint8Array.from(atob(data), c => c.charCodeAt(0));
                transfer.items.add(new File([bytes], name, { type: 'audio/wav' }));
            }
            return transfer;
        }""",
        files,
    )
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})


@pytest.mark.slow
def test_from_three_sounds_to_a_gesture_that_renders_to_the_audio_that_was_heard(context, server, tmp_path):
    faults: list[str] = []
    page = opened(context, server, faults)
    page.click("#sound")
    until(page, "terrain.sound.blocks > 20")

    # Dropped in, encoded, laid out.
    show(page, "build")
    drop(page, sounds())
    until(page, "document.querySelectorAll('#sounds li').length === 3")
    encoded = "every(row => / frames$/.test(row.children[1].textContent))"
    until(page, f"[...document.querySelectorAll('#sounds li')].{encoded}")

    # One path drawn anew by hand, one moved; undone, redone.
    page.click("#sounds li:nth-child(1) button:first-child")
    page.click("[data-tool=freehand]")
    drag(page, "#build-pad", [(0.1 + 0.03 * n, 0.2 + 0.1 * np.sin(n / 3)) for n in range(25)])
    until(page, "!document.querySelector('#undo').disabled")
    page.keyboard.press("Control+z")
    until(page, "!document.querySelector('#redo').disabled")
    page.keyboard.press("Control+y")
    until(page, "document.querySelector('#redo').disabled")

    # A terrain that grows while it sounds.
    page.fill("#epochs", "100000")
    before = page.evaluate("[terrain.sound.blocks, performance.now()]")
    page.click("#train")
    until(page, "document.querySelector('#report').textContent.includes('PSNR')")
    began = page.evaluate("performance.now()")
    time.sleep(5)
    keep(page, "build")
    pictures = [at for at in page.evaluate("terrain.pictures") if at > began]
    after = page.evaluate("[terrain.sound.blocks, performance.now(), terrain.sound.gaps, terrain.sound.missed]")
    page.click("#train-stop")
    until(page, "document.querySelector('#report').textContent.includes('stopped')")
    assert len(pictures) > 4
    assert np.median(np.diff(pictures)) <= 500
    rate = (after[0] - before[0]) * 512 / 44100 / ((after[1] - before[1]) / 1000)
    measured(
        f"training: a picture every {np.median(np.diff(pictures)):.0f} ms (median), sound at {rate:.2f} of real time"
    )
    assert rate > 0.9
    assert after[3] == 0, "blocks of sound were lost while it trained"

    # Saved; what plays is what was saved.
    page.fill("#save-name", "from/../three sounds")
    page.click("#save")
    until(page, "terrain.state.instrument === 'three sounds'")
    saved = server.library / "instruments" / "three sounds.terrain"
    instrument = Instrument.load(saved)
    assert set(instrument.sound_map.names) == {"low", "middle", "high"}

    # Played by the mouse, recorded.
    show(page, "play")
    page.click("#record")
    until(page, "terrain.state.recording")
    drag(page, "#pad", [(0.5 + 0.4 * np.cos(n / 9), 0.5 + 0.4 * np.sin(n / 9)) for n in range(90)], pause=0.02)
    keep(page, "play")
    page.click("#record")
    until(page, "terrain.state.gestures.length === 1")

    # Downloaded, rendered: the same audio.
    show(page, "paths")
    files = {}
    for format in ("dawproject", "reaper", "midi", "live", "wav"):
        with page.expect_download() as download:
            page.click(f"#gestures a:text-is('{format}')")
        files[format] = tmp_path / download.value.suggested_filename
        download.value.save_as(files[format])
    heard, rate = soundfile.read(files["wav"])
    assert np.abs(heard).max() > 0.01
    for format in ("dawproject", "reaper"):
        project = read(files[format])
        xs = project.lanes_by_key()["x"].values
        assert len(xs) > 20
        assert np.ptp(xs) > 0.7
        out = tmp_path / f"{format}.wav"
        render_parts(parts_to_play(project), project, out, RenderSettings(sample_rate=round(rate)))
        rendered = soundfile.read(out)[0]
        length = min(len(rendered), len(heard))
        assert length > 0.5 * rate
        away = float(np.abs(rendered[:length] - heard[:length]).max())
        measured(f"{format}: {length / rate:.1f} s rendered, {away:.1e} away from what was heard")
        assert away < 1e-5
    assert len(read(files["midi"]).lanes_by_key()) >= 3

    # A trajectory of it, and one that is drawn, which then moves the hand.
    page.click("#gestures button:text-is('As trajectory')")
    until(page, "terrain.state.trajectories.length === 1")
    page.fill("#path-name", "Stroke")
    drag(page, "#path-pad", [(0.1 + 0.08 * n, 0.9 - 0.08 * n) for n in range(11)])
    until(page, "terrain.state.trajectories.length === 2")
    assert page.evaluate("terrain.state.trajectories[1].name") == "Stroke"
    page.fill("#path-seconds", "1")
    page.click("#paths li:nth-child(2) button:text-is('Play')")
    until(page, "terrain.state.playback !== null")
    time.sleep(0.2)
    places = np.array([[f["x"], f["y"]] for f in (frame(page) for _ in range(12))])
    assert np.ptp(places[:, 0]) > 0.1
    assert np.abs(places.sum(axis=1) - 1).max() < 0.02
    keep(page, "trajectories")
    page.click("#path-stop")
    until(page, "terrain.state.playback === null")

    # Its sound map.
    show(page, "map")
    page.select_option("#map-parameters select[aria-label=Source]", "1")
    drag(page, "#map-pad", [(0.3, 0.3), (0.6, 0.5)])
    until(page, "document.querySelector('#nearest').textContent !== 'none'")
    assert page.text_content("#nearest") in {"low", "middle", "high"}
    keep(page, "map")
    assert not faults


def test_a_pen_presses_a_finger_touches_keys_move(context, server):
    faults: list[str] = []
    page = opened(context, server, faults)
    tools = context.new_cdp_session(page)
    for force in (0.25, 0.75):
        x, y = place(page, "#pad", 0.25, 0.4)
        pen = {"x": x, "y": y, "button": "left", "buttons": 1, "pointerType": "pen", "force": force, "clickCount": 1}
        tools.send("Input.dispatchMouseEvent", {"type": "mousePressed", **pen})
        comes(page, x=0.25, y=0.4, p=force)
        tools.send("Input.dispatchMouseEvent", {"type": "mouseReleased", **pen, "buttons": 0, "force": 0})
        comes(page, p=0, within=0)
    x, y = place(page, "#pad", 0.7, 0.2)
    tools.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y, "force": 0.6}]})
    comes(page, x=0.7, y=0.2, p=0.6)
    tools.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.focus("#pad")
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("ArrowDown")
    comes(page, x=0.6, y=0.21, within=1e-6)
    # Quicker than the frames that answer them, and than a cursor that glides.
    page.evaluate("terrain.connection.send('cursor_glide', { ms: 200 })")
    page.evaluate(
        """async () => {
          for (let n = 0; n < 20; n++) {
            document.querySelector("#pad").dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
            await new Promise((go) => setTimeout(go, 30));
          }
        }"""
    )
    comes(page, x=0.8, within=1e-3)
    assert not faults


def test_loops_are_worked_by_keys_and_buttons(context, server):
    faults: list[str] = []
    page = opened(context, server, faults)
    show(page, "loops")
    page.keyboard.press("2")
    page.keyboard.press("r")
    armed = "document.querySelectorAll('.ring .state')[1]"
    until(page, f"['waiting to start', 'recording'].includes({armed}.textContent)")
    until(page, f"{armed}.textContent === 'recording'")
    for n in range(40):
        page.evaluate("([x, y]) => terrain.point(x, y)", [n / 40, 0.5 + 0.4 * np.sin(n / 4)])
        time.sleep(0.03)
    page.click("[data-action=play]")
    until(page, f"{armed}.textContent === 'playing'")
    page.keyboard.press("u")
    until(page, f"{armed}.textContent === 'playing, muted'")
    page.keyboard.press("u")
    until(page, f"{armed}.textContent === 'playing'")
    keep(page, "loops")
    page.keyboard.press("c")
    until(page, f"{armed}.textContent === 'empty'")
    page.keyboard.press("z")
    until(page, f"{armed}.textContent !== 'empty'")
    keys = page.evaluate("[...document.querySelectorAll('#actions kbd')].map(key => key.textContent)")
    assert len(set(keys)) == 18
    assert not faults


def test_two_pages_see_each_other(context, server):
    faults: list[str] = []
    first, second = opened(context, server, faults), opened(context, server, faults)
    drag(first, "#pad", [(0.1, 0.1), (0.9, 0.3)])
    comes(second, x=0.9, y=0.3)
    drag(second, "#pad", [(0.1, 0.1), (0.2, 0.8)])
    comes(first, x=0.2, y=0.8)
    first.click("#song")
    until(second, "!terrain.state.transport.playing")
    first.fill("#bpm", "97")
    first.press("#bpm", "Tab")
    until(second, "document.querySelector('#bpm').value === '97'")
    assert not faults


def test_a_page_comes_back_when_the_server_was_killed(context, server, tmp_path):
    page = opened(context, server, [])
    server.kill()
    until(page, "!document.querySelector('#lost').hidden")
    with editor_server(tmp_path / "library", port=server.port) as again:
        time.sleep(1)
        assert page.is_visible("#lost"), "a new start has a new token: the old one is worth nothing"
        opened(context, again, [])
        until(page, "document.querySelector('#lost').hidden && terrain.connection.reconnections === 1")
        first = frame(page)["n"]
        until(page, "terrain.state.instrument === 'built-in'")
        assert frame(page)["n"] > first


@pytest.mark.slow
def test_how_long_a_pointer_takes_and_that_gaps_are_counted(context, server):
    faults: list[str] = []
    page = opened(context, server, faults)
    page.click("#sound")
    until(page, "terrain.sound.buffered_ms > 0")
    gaps = page.evaluate("terrain.sound.gaps")
    began = time.monotonic()
    drag(page, "#pad", [(0.5 + 0.4 * np.cos(n / 30), 0.5 + 0.4 * np.sin(n / 20)) for n in range(200)], pause=0.005)
    seconds = time.monotonic() - began
    time.sleep(0.5)
    latencies = np.array(page.evaluate("terrain.latencies"))
    drawn = np.diff(page.evaluate("terrain.drawn"))
    counted = page.evaluate("terrain.sound.gaps") - gaps
    median, late = np.percentile(latencies, [50, 99])
    measured(f"pointer to latent frame and back: median {median:.0f} ms, p99 {late:.0f} ms, {len(latencies)} events")
    measured(f"pictures: {1000 / np.mean(drawn):.0f} a second; sound: {counted} gaps in {seconds:.0f} s")
    measured(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    assert len(latencies) > 50
    assert median < 150  # a frame takes 23 ms by nature; the rest is the machine's other work
    # A stop of the server is a gap, and is counted.
    gaps = page.evaluate("terrain.sound.gaps")
    server.process.send_signal(signal.SIGSTOP)
    time.sleep(1.2)
    server.process.send_signal(signal.SIGCONT)
    until(page, f"terrain.sound.gaps > {gaps}")
    until(page, "terrain.sound.buffered_ms > 20")
    assert not faults


def test_a_tablet_in_the_network_gets_its_sound_without_a_worklet(context, tmp_path):
    try:
        lan_address()
    except InputError:
        pytest.skip("this machine is in no network")
    faults: list[str] = []
    with editor_server(tmp_path / "library", "--lan") as server:
        page = opened(context, server, faults)
        assert not page.evaluate("isSecureContext")
        page.tap("#sound")
        until(page, "terrain.sound.blocks > 100")
        assert page.evaluate("terrain.sound.way") == "buffers"
        assert 0 < page.evaluate("terrain.sound.buffered_ms") < 500
    assert not [fault for fault in faults if "Cross-Origin-Opener-Policy" not in fault and "ERR_" not in fault]


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_nothing_keeps_anybody_out(browser, server, scheme):
    """axe-core finds nothing serious in any view, at the smallest size, and nothing runs out of the window."""
    context = browser.new_context(viewport={"width": 1024, "height": 640}, color_scheme=scheme, reduced_motion="reduce")
    faults: list[str] = []
    # The page's own policy would stop the checker, which is put in from outside.
    page = opened(context, server, faults)
    checked = 0
    for view in VIEWS:
        show(page, view)
        found = Axe().run(page).response
        serious = [v for v in found["violations"] if v["impact"] in ("serious", "critical")]
        assert not serious, [(v["id"], [node["html"][:120] for node in v["nodes"][:5]]) for v in serious]
        checked += 1
        wide, window = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert wide <= window
        canvas = page.locator(f"#view-{view} canvas").first.bounding_box()
        assert canvas is not None
        assert canvas["y"] + min(canvas["height"], 200) <= 640
    assert checked == len(VIEWS)
    if scheme == "dark":
        show(page, "play")
        keep(page, "dark")
    context.close()
    assert not faults
