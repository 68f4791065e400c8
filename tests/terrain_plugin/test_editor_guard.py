"""Whoever may not talk to the editor is refused, whatever is sent is bounded, and nothing is taken for a path."""

from __future__ import annotations

import io
import json
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from terrain_core.errors import InputError
from terrain_plugin.editor import messages
from terrain_plugin.editor.library import LARGEST_SOUND
from terrain_plugin.editor.server import lan_address, qr_code
from tests.terrain_plugin.editor_server import EditorServer, editor_server, hear, raw, say

FORBIDDEN = 403


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with editor_server(tmp_path_factory.mktemp("guarded") / "library") as running:
        yield running


def wav(seconds: float = 0.2) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, 0.3 * np.sin(np.arange(round(seconds * 44100)) * 0.05), 44100, format="WAV")
    return buffer.getvalue()


def opened(server: EditorServer, **changes):
    """A WebSocket that differs from a good one in what is said."""
    arguments = {"additional_headers": server.cookie, "origin": server.origin} | changes
    host = arguments.pop("host", f"127.0.0.1:{server.port}")
    with connect(f"ws://{host}/live", sock=raw(server.port), **arguments) as socket:
        return json.loads(socket.recv(timeout=20))["type"]


def end_of(socket) -> int:
    """Reads until the server closes; its reason as a number, 0 if it gave none."""
    code, patience = None, time.monotonic() + 20
    while code is None:
        assert time.monotonic() < patience, "the connection was not closed"
        try:
            socket.recv(timeout=20)
        except ConnectionClosed as closed:
            code = closed.rcvd.code if closed.rcvd else 0
    return code


# Who is let in


def test_the_address_with_the_token_opens_the_page_and_gives_a_cookie(server):
    status, body, headers = server.ask(f"/?token={server.token}")
    assert status == 200
    assert b"Latent Terrain" in body
    cookie = headers["set-cookie"]
    assert server.token in cookie
    assert {"HttpOnly", "SameSite=Strict"} <= set(cookie.split("; "))
    assert server.ask("/", headers=server.cookie)[0] == 200


def test_each_start_has_another_token(server, tmp_path):
    with editor_server(tmp_path) as other:
        assert other.token != server.token
        assert len(other.token) >= 32


def test_ctrl_c_right_after_the_address_is_heard(tmp_path):
    """Also where a shell started it in the background, and told it to hear none until it says so itself."""
    code = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); from terrain_plugin.cli import main; main()"
    command = [sys.executable, "-c", code, "play", "--no-browser", "--port", "0", "--library", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as started:
        try:
            assert started.stdout is not None
            assert "http://" in started.stdout.readline()
            started.send_signal(signal.SIGINT)
            started.communicate(timeout=60)
        finally:
            started.kill()


@pytest.mark.parametrize("path", ["/", "/page/main.js", "/instrument", "/gesture/1/wav", "/?token=", "/?token=wrong"])
def test_nothing_is_served_without_the_token(server, path):
    status, body, headers = server.ask(path)
    assert status == FORBIDDEN
    assert b"<html" not in body
    assert "set-cookie" not in headers


def test_the_token_counts_in_the_address_of_the_page_alone(server):
    assert server.ask(f"/page/main.js?token={server.token}")[0] == FORBIDDEN
    assert server.ask("/page/main.js", headers=server.cookie)[0] == 200


def test_another_servers_cookie_is_no_key(server):
    assert server.ask("/", headers={"Cookie": f"terrain_{server.port + 1}={server.token}"})[0] == FORBIDDEN
    assert server.ask("/", headers={"Cookie": f"terrain_{server.port}={server.token[:-1]}"})[0] == FORBIDDEN
    assert server.ask("/", headers={"Cookie": "=;;\x01="})[0] == FORBIDDEN


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example:{port}", "127.0.0.1", "0.0.0.0:{port}", ""]
)
def test_a_name_that_was_rebound_to_this_machine_is_refused(server, host):
    host = host.format(port=server.port)
    assert server.ask(f"/?token={server.token}", headers={**server.cookie, "Host": host})[0] == FORBIDDEN


def test_localhost_is_this_machine_too(server):
    assert server.ask("/", headers={**server.cookie, "Host": f"localhost:{server.port}"})[0] == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1", "https://127.0.0.1:{port}"])
def test_a_page_from_elsewhere_is_refused(server, origin):
    headers = {**server.cookie, "Origin": origin.format(port=server.port)}
    assert server.ask("/", headers=headers)[0] == FORBIDDEN
    assert server.ask("/upload?name=a.wav", "POST", headers, wav())[0] == FORBIDDEN
    with pytest.raises(InvalidStatus) as refused:
        opened(server, origin=origin.format(port=server.port))
    assert refused.value.response.status_code == FORBIDDEN


def test_what_changes_something_needs_an_origin(server):
    assert server.ask("/upload?name=a.wav", "POST", server.cookie, wav())[0] == FORBIDDEN
    with pytest.raises(InvalidStatus):
        opened(server, origin=None)


def test_a_socket_needs_token_and_host_as_well(server):
    assert opened(server) == "hello"
    for changes in ({"additional_headers": {}}, {"host": f"evil.example:{server.port}"}):
        with pytest.raises(InvalidStatus) as refused:
            opened(server, **changes)
        assert refused.value.response.status_code == FORBIDDEN


def test_only_this_machine_is_listened_to(server):
    import psutil

    process = psutil.Process(server.process.pid)
    places = {c.laddr.ip for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
    assert places == {"127.0.0.1"}


def test_every_answer_keeps_the_page_to_itself(server):
    for path, headers in (("/", server.cookie), ("/page/main.js", server.cookie), ("/", {})):
        found = server.ask(path, headers=headers)[2]
        policy = found["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert found["x-content-type-options"] == "nosniff"
        assert found["referrer-policy"] == "no-referrer"
        assert found["cache-control"] == "no-store"


def test_the_page_names_no_outside_address(root):
    pages = sorted((root / "plugin/terrain_plugin/editor/page").iterdir())
    assert len(pages) > 10
    for path in pages:
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text, path
        assert "https://" not in text, path
        assert "//cdn" not in text, path


# What is let in


@pytest.mark.parametrize(
    "path",
    [
        "/page/../server.py",
        "/page/%2e%2e/server.py",
        "/page/..%2fserver.py",
        "/page/..%5cserver.py",
        "/page//etc/passwd",
        "/page/%2fetc%2fpasswd",
        "/page/.",
        "/gesture/1/..%2f..%2fetc%2fpasswd",
        "/gesture/-1/wav",
    ],
)
def test_no_file_but_the_pages_own_is_served(server, path):
    status, body, _ = server.ask(path, headers=server.cookie)
    assert status in (404, 405)
    assert b"import" not in body
    assert b"root:" not in body


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("../../../escaped.wav", "escaped.wav"),
        ("/tmp/absolute.wav", "absolute.wav"),
        ("..\\..\\back.wav", "back.wav"),
        (".hidden.wav", "hidden.wav"),
        ("a\x00b\n.wav", "a_b_.wav"),
        ("Größe 2.WAV", "Größe 2.WAV"),
        ("x" * 300 + ".wav", None),
        ("con.wav", None),
        ("...", None),
        ("", None),
        ("script.py", None),
        ("sound.wav/", None),
        ("sound.terrain", None),
    ],
)
def test_a_sounds_name_is_a_name_and_no_path(server, name, written):
    before = {path for path in server.library.parent.rglob("*") if path.is_file()}
    status, _ = server.upload(name, wav())
    new = {path for path in server.library.parent.rglob("*") if path.is_file()} - before
    if written is None:
        assert status == 400
        assert not new
    else:
        assert status == 200
        assert new == {server.library / "sounds" / written}


def test_a_second_sound_of_a_name_does_not_take_the_firsts_place(server):
    first, second = wav(0.1), wav(0.3)
    assert server.upload("twice.wav", first)[0] == server.upload("twice.wav", second)[0] == 200
    assert (server.library / "sounds" / "twice.wav").read_bytes() == first
    assert (server.library / "sounds" / "twice 2.wav").read_bytes() == second


def test_a_sound_that_says_it_is_too_large_is_refused_at_once(server):
    headers = {**server.cookie, "Origin": server.origin, "Content-Length": str(LARGEST_SOUND + 1)}
    assert server.ask("/upload?name=large.wav", "POST", headers, b"")[0] == 413
    assert not (server.library / "sounds" / "large.wav").exists()


def test_an_empty_sound_leaves_nothing_behind(server):
    assert server.upload("empty.wav", b"")[0] == 400
    assert not list((server.library / "sounds").glob("*empty*"))


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "nothing", "..", "a/b"])
def test_an_instrument_is_opened_by_a_name_that_is_listed(server, name):
    with server.live() as socket:
        say(socket, "open", name=name)
        assert "no instrument" in hear(socket, "error")["text"]


# What is said


@pytest.mark.parametrize(
    "message",
    [
        "",
        "nonsense",
        "null",
        "[]",
        "{}",
        '{"type": 1}',
        '{"type": ["pointer"]}',
        '{"type": "__class__"}',
        '{"type": "pointer", "x": 0.5, "y": 0.5}',
        '{"type": "pointer", "x": NaN, "y": 0.5, "pressure": 1}',
        '{"type": "pointer", "x": 1e999, "y": 0.5, "pressure": 1}',
        '{"type": "pointer", "x": "0.5", "y": 0.5, "pressure": 1}',
        '{"type": "pointer", "x": true, "y": 0.5, "pressure": 1}',
        '{"type": "pointer", "x": 0.5, "y": 0.5, "pressure": 1, "more": 1}',
        '{"type": "pointer", "x": 0.5, "y": 0.5, "pressure": 1, "seq": 1e5}',
        '{"type": "set", "values": {}}',
        '{"type": "set", "values": {"status": 1}}',
        '{"type": "set", "values": {"__init__": 1}}',
        '{"type": "loop", "slot": 1, "action": "explode"}',
        '{"type": "loop", "slot": 64, "action": "record"}',
        '{"type": "lock", "latent": 1000}',
        '{"type": "lock", "latent": -1}',
        '{"type": "trajectory_add", "name": "a", "points": []}',
        '{"type": "trajectory_add", "name": "\\u0000", "points": [[0, 0]]}',
        '{"type": "trajectory_add", "name": "a", "points": [[0, 0, 0]]}',
        '{"type": "trajectory_play", "id": 99999}',
        '{"type": "build_path", "id": 99999, "points": [[0, 0]]}',
        '{"type": "build_curve", "id": 1, "controls": [[0, 0], [1, 0], [0, 1]]}',
        '{"type": "build_curve", "id": 99999, "controls": [[0, 0], [1, 0], [0, 1], [1, 1]]}',
        '{"type": "build_curve", "id": 1, "controls": [[0, 0], [1e999, 0], [0, 1], [1, 1]]}',
        '{"type": "build_train"}',
        '{"type": "build_save", "name": "a"}',
        '{"type": "build_undo"}',
        "[" * 5000,
        '{"type": "pointer", "x": 1' + "0" * 5000 + ', "y": 0, "pressure": 0}',
    ],
)
def test_a_message_that_makes_no_sense_is_answered_with_a_sentence(server, message):
    with server.live() as socket:
        socket.send(message)
        text = hear(socket, "error")["text"]
        assert text.endswith(".")
        assert "Traceback" not in text
        say(socket, "ping", at=7)
        assert hear(socket, "pong")["at"] == 7


def test_a_message_that_is_too_long_ends_its_page_and_no_other(server):
    with server.live() as other:
        with server.live() as socket:
            socket.send("x" * (messages.LARGEST + 10_000))
            # The reason may be lost, when the connection is cut while the rest of the message is on its way.
            assert end_of(socket) in (1009, 0)
        say(other, "ping", at=1)
        assert hear(other, "pong")["at"] == 1


def test_whoever_talks_nothing_but_nonsense_is_put_out(server):
    with server.live() as socket:
        for _ in range(60):
            socket.send("nonsense")
        assert end_of(socket) == 1008


def test_the_editor_lives_through_what_chance_says(server):
    """A thousand damaged messages of every kind, and bytes without manners; then it plays on."""
    chance = random.Random(2026)
    odd = [None, True, -1, 0, 1.5, 1e300, "", "a", "../x", [], [[]], {}, [[0, 0]], {"x": 1}, {"level": "loud"}, 2**70]
    kinds = sorted(messages.ASKS)
    for _ in range(25):
        with server.live() as socket:
            for _ in range(40):
                kind = chance.choice(kinds)
                fields = {name: chance.choice(odd) for name in messages.ASKS[kind] if chance.random() < 0.9}
                text = json.dumps({"type": kind, **fields})
                if chance.random() < 0.3:
                    at = chance.randrange(len(text))
                    text = text[:at] + chr(chance.randrange(1, 300)) + text[at + 1 :]
                socket.send(text if chance.random() < 0.9 else text.encode())
            say(socket, "ping", at=1234)
            hear(socket, "pong", lambda pong: pong["at"] == 1234)
    for _ in range(20):
        with raw(server.port) as socket:
            socket.sendall(chance.randbytes(chance.randrange(1, 2000)))
    with server.live() as socket:
        first = hear(socket, "frame")["n"]
        assert hear(socket, "frame", lambda frame: frame["n"] > first + 20)
    assert server.process.poll() is None
    assert not list(server.library.parent.glob("*x*"))


# How it is started and ended


def test_others_in_the_network_are_let_in_when_that_is_asked_for(tmp_path):
    """With --lan: by this machine's own address and the token, and by no other name."""
    try:
        address = lan_address()
    except InputError:
        pytest.skip("this machine is in no network")
    with editor_server(tmp_path, "--lan") as server:
        assert server.url.startswith(f"http://{address}:")
        host = {"Host": f"{address}:{server.port}"}
        assert server.ask(f"/?token={server.token}", headers=host)[0] == 200
        assert server.ask("/", headers=host)[0] == FORBIDDEN
        assert server.ask("/", headers={**server.cookie, "Host": f"192.0.2.77:{server.port}"})[0] == FORBIDDEN
        code = [server.process.stdout.readline() for _ in range(12)]
        assert sum("\u2580" in line or "\u2588" in line or "\u2584" in line for line in code) > 8


def test_a_qr_code_holds_the_address():
    import segno

    code = qr_code("http://192.168.1.5:8765/?token=abc")
    size = segno.make("http://192.168.1.5:8765/?token=abc", error="l").symbol_size(border=4)[0]
    assert len(code.splitlines()) == (size + 1) // 2


def test_without_audio_no_sound_is_sent(tmp_path, server):
    with editor_server(tmp_path, "--no-audio") as silent:
        with silent.live() as socket:
            assert hear(socket, "hello")["sound"] is False
            hear(socket, "frame")
        with pytest.raises(InvalidStatus):
            silent.live("/sound")
    with server.live("/sound") as socket:
        first, second = (np.frombuffer(socket.recv(timeout=20)[:8], "<u4") for _ in range(2))
        assert second[0] == first[0] + 1
        assert first[1] == 1


def test_two_wishes_that_exclude_each_other_and_a_port_that_is_taken(server, terrain):
    answer = terrain("play", "--no-audio", "--device", "default")
    assert (answer.code, "choose one" in answer.err) == (2, True)
    answer = terrain("play", "--port", server.port, "--no-browser", "--library", server.library)
    assert (answer.code, f"port {server.port}" in answer.err) == (2, True)


def test_it_ends_when_it_is_told_to_and_leaves_no_process(tmp_path):
    import psutil

    with editor_server(tmp_path) as server:
        server.upload("one.wav", wav())
        with server.live() as socket:
            say(socket, "build_encode")
            hear(socket, "build", lambda build: build["sounds"][0]["frames"] > 0)
            children = psutil.Process(server.process.pid).children(recursive=True)
            assert children
        server.close()
        rest = psutil.wait_procs(children, timeout=20)[1]
        assert not rest
        assert "Traceback" not in server.rest


def test_a_recording_survives_a_server_that_is_killed(tmp_path):
    with editor_server(tmp_path) as server, server.live() as socket:
        say(socket, "record", on=True)
        for n in range(20):
            say(socket, "pointer", x=n / 20, y=0.5, pressure=1.0, seq=n + 1)
            hear(socket, "frame", lambda frame, seq=n + 1: frame["seq"] >= seq)
        hear(socket, "frame", lambda frame: frame.get("recorded", 0) > 0.5)
        server.kill()
    with editor_server(tmp_path) as server, server.live() as socket:
        (gesture,) = hear(socket, "state")["gestures"]
        assert gesture["name"] == "Gesture 1 (cut short)"
        assert gesture["seconds"] > 0.4
        assert "X" in gesture["lanes"]
        for format in ("dawproject", "wav"):
            status, body, _ = server.ask(f"/gesture/{gesture['id']}/{format}", headers=server.cookie)
            assert status == 200
            assert len(body) > 1000
        say(socket, "gesture_delete", id=gesture["id"])
        hear(socket, "state", lambda state: not state["gestures"])
    assert not list((tmp_path / "gestures").iterdir())


def test_a_workshop_ends_with_an_editor_that_was_killed(tmp_path):
    import psutil

    with editor_server(tmp_path) as server:
        server.upload("one.wav", wav())
        with server.live() as socket:
            say(socket, "build_encode")
            hear(socket, "build", lambda build: build["sounds"][0]["frames"] > 0)
            children = psutil.Process(server.process.pid).children(recursive=True)
        server.kill()
        assert children
        assert not psutil.wait_procs(children, timeout=20)[1]
