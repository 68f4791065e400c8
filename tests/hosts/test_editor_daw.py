"""`terrain edit` without a browser: who is let in, what is refused, how it is found, and that a plugin can open it."""

from __future__ import annotations

import json
import os
import re
import stat
import sys
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from terrain_core.parameters import by_key
from terrain_plugin.bridge.run_folder import addresses
from terrain_plugin.clap_host import GESTURE_BEGIN, GESTURE_END, PARAM_VALUE, ClapLibrary, ClapPlugin, Touch
from terrain_plugin.editor.plugin_command import NOTE
from tests.hosts.daw import Daw
from tests.hosts.doors import doors
from tests.hosts.processes import wait_until
from tests.terrain_plugin.conftest import terrain  # noqa: F401
from tests.terrain_plugin.editor_server import EditorServer, editor_server, hear, raw, say

PATIENCE_S = 60.0
X, LEVEL = by_key("x").id, by_key("level").id
FORBIDDEN = 403

pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture
def server():
    with editor_server(None) as running:
        yield running


@pytest.fixture(scope="module")
def guarded():
    """One that many tests share."""
    with editor_server(None) as running:
        yield running


@pytest.fixture
def played(library: ClapLibrary):
    """An instance in a host that plays."""
    with library.create(track="Lead") as plugin, Daw(plugin):
        doors(1)
        yield plugin


def test_who_may_not_is_refused(guarded: EditorServer) -> None:
    server = guarded
    assert server.ask("/")[0] == FORBIDDEN
    assert server.ask("/?token=wrong")[0] == FORBIDDEN
    assert server.ask(f"/?token={server.token}", headers={"Host": f"evil.example:{server.port}"})[0] == FORBIDDEN
    status, _, headers = server.ask(f"/?token={server.token}&instance=1-1")
    assert status == 200
    assert "default-src 'none'" in headers["content-security-policy"]
    good = {"additional_headers": server.cookie, "origin": server.origin}
    for bad in (
        {"additional_headers": {}},
        {"origin": "http://evil.example"},
        {"origin": None},
        {"host": f"evil.example:{server.port}"},
    ):
        arguments = good | bad
        host = arguments.pop("host", f"127.0.0.1:{server.port}")
        with pytest.raises(InvalidStatus), connect(f"ws://{host}/live", sock=raw(server.port), **arguments):
            pass
    for path in ("/upload?name=a.wav", "/instrument", "/gesture/1/wav", "/sound", "/page/../messages.py"):
        assert server.ask(path, headers=server.cookie)[0] in (404, 405), path


@pytest.mark.parametrize(
    "message",
    [
        "[]",
        '{"type": "choose", "instance": "../../etc"}',
        '{"type": "choose", "instance": 7}',
        '{"type": "choose"}',
        '{"type": "pointer", "x": 0.5, "y": 0.5, "held": true}',
        '{"type": "pointer", "x": 0.5, "y": 0.5, "pressure": null, "held": 1}',
        '{"type": "pointer", "x": NaN, "y": 0.5, "pressure": null}',
        '{"type": "set", "values": {"status": 1}, "held": true}',
        '{"type": "loop", "slot": 64, "action": "record"}',
        '{"type": "open", "name": "built-in"}',
        '{"type": "build_save", "name": "a"}',
        '{"type": "transport", "playing": false}',
        '{"type": "record", "on": true}',
        '{"type": "lock", "latent": 0}',
        '{"type": "trajectory_play", "id": 1}',
        '{"type": "gesture_trajectory", "id": 1}',
    ],
)
def test_what_makes_no_sense_is_answered_with_a_sentence(message: str, guarded: EditorServer) -> None:
    with guarded.live() as socket:
        socket.send(message)
        text = hear(socket, "error")["text"]
        assert text.endswith(".")
        assert "Traceback" not in text


def test_two_pages_hold_one_parameter_and_only_the_last_lets_go(server: EditorServer, played: ClapPlugin) -> None:
    with server.live() as one, server.live() as other:
        for socket in (one, other):
            assert hear(socket, "state")["instrument"] == "built-in"
        for message in ('{"type": "open", "name": "built-in"}', '{"type": "loop", "slot": 64, "action": "record"}'):
            one.send(message)
            assert hear(one, "error")["text"].endswith(".")
        say(one, "set", values={"level": -3.0}, held=True)
        assert wait_until(lambda: len(played.touches) == 2, PATIENCE_S)
        say(other, "set", values={"level": -6.0}, held=True)
        assert wait_until(lambda: len(played.touches) == 3, PATIENCE_S)
        say(one, "set", values={"level": -9.0}, held=False)
        assert wait_until(lambda: len(played.touches) == 4, PATIENCE_S)
        assert played.touched == {LEVEL}
        frame = hear(other, "frame", lambda frame: frame.get("parameters", {}).get("level") == -9.0)
        assert frame["seq"] == 0
    assert wait_until(lambda: not played.touched, PATIENCE_S)
    kinds = [touch.kind for touch in played.touches]
    assert kinds == [GESTURE_BEGIN, PARAM_VALUE, PARAM_VALUE, PARAM_VALUE, GESTURE_END]


def test_a_pointers_number_comes_back_with_its_place(server: EditorServer, played: ClapPlugin) -> None:
    with server.live() as socket:
        hear(socket, "state")
        for n in range(1, 1001):
            say(socket, "pointer", x=n / 1000, y=0.25, pressure=None, seq=n, held=n < 1000)
            if n % 100 == 0:  # no more at once than there is room for: what is too much loses values in between
                assert wait_until(lambda n=n: Touch(PARAM_VALUE, X, n / 1000) in played.touches, PATIENCE_S)
        frame = hear(socket, "frame", lambda frame: frame["seq"] == 1000)
        assert (frame["x"], frame["y"]) == (1.0, 0.25)
    values = [touch.value for touch in played.touches if touch.kind == PARAM_VALUE and touch.id == X]
    assert values == [n / 1000 for n in range(1, 1001)], "every value, in order"


def test_a_server_that_is_killed_lets_go(played: ClapPlugin) -> None:
    with editor_server(None) as server, server.live() as socket:
        hear(socket, "state")
        say(socket, "pointer", x=0.25, y=0.5, pressure=None, held=True)
        assert wait_until(lambda: len(played.touched) == 2, PATIENCE_S)
        server.kill()
        assert wait_until(lambda: not played.touched, PATIENCE_S)
    assert Touch(GESTURE_END, X) in played.touches


def test_the_list_names_what_runs(terrain, played: ClapPlugin, own_run_folder: Path) -> None:  # noqa: F811
    (address,) = addresses()
    stale = own_run_folder / f"1-1-{address.pid}.sock"  # of a process id that lives again, but does not listen there
    stale.touch()
    assert terrain("edit", "--list").out == f"{address.key}  Lead · built-in · Latent Terrain's test host\n"
    assert not stale.exists()


def test_an_empty_list_says_what_to_do(terrain) -> None:  # noqa: F811
    assert terrain("edit", "--list").out == "No plugin runs: open Latent Terrain in your DAW.\n"


def test_a_second_start_opens_the_page_of_the_first(
    terrain,  # noqa: F811
    own_run_folder: Path,
) -> None:
    with editor_server(None) as server:
        note = own_run_folder / NOTE
        assert stat.S_IMODE(note.stat().st_mode) == 0o600
        second = terrain("edit", "--no-browser", "--instance", "1-2")
        assert second.out == f"The editor runs already: open {server.url}&instance=1-2\n"
    assert not note.exists()
    note.write_text(json.dumps({"url": "http://example.com:1/?token=x", "pid": 1}))
    with editor_server(None) as server:
        assert server.port


def test_a_host_opens_the_page_from_the_plugin(
    library: ClapLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CLAP's window of the plugin is the page: here a program that writes down what it should open."""
    opened = tmp_path / "opened"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" >> "{opened}"\n')
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", str(browser))
    with editor_server(None) as server, library.create() as plugin:
        assert not plugin.show_editor(), "nothing runs yet that could be edited"
        plugin.activate(44100, 512)
        assert plugin.show_editor()
        assert wait_until(opened.exists, PATIENCE_S)
        assert wait_until(lambda: bool(re.search(r"\n$", opened.read_text())), PATIENCE_S)
        assert opened.read_text() == f"{server.url}&instance={doors(1)[0].key}\n"
    assert sys.executable == os.environ["LATENT_TERRAIN_PYTHON"]
