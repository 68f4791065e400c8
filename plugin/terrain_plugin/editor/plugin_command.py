"""What `terrain edit` does: one server for all plugins, which is found again by whoever wants its page."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import time
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

from terrain_core.errors import FileError
from terrain_plugin.bridge.run_folder import run_folder

DEFAULT_PORT: Final = 8766
NOTE: Final = "editor.json"
"""In the run folder: where the editor's server is that runs, with its token."""

PATIENCE_S: Final = 2.0
ALONE_S: Final = 60.0
"""A server that a plugin has started ends when there has been no page for so long."""


def edit(
    *, port: int, lan: bool, instance: str | None, browser: bool, from_plugin: bool, library: Path | None = None
) -> None:
    """Serve the page until Ctrl-C; where a server runs already, open its page and end.

    Raises:
        InputError, FileError: the port is taken, or there is no folder in which engines can be found.
    """
    running = None if lan or port != DEFAULT_PORT else running_server()
    if running is not None:
        url = with_instance(running, instance)
        print(f"The editor runs already: open {url}", flush=True)
        if browser:
            webbrowser.open(url)
        return

    import threadpoolctl

    from terrain_plugin.editor import server
    from terrain_plugin.editor.library import Library, default_folder
    from terrain_plugin.editor.plugin_server import PluginEditor

    threadpoolctl.threadpool_limits(1, "blas")  # pictures are drawn beside players
    place = server.Place.take(port, lan=lan, or_any=from_plugin)  # for a plugin nobody chose that port
    editor = PluginEditor(Library(library or default_folder()), instance)

    def alone() -> bool:
        return from_plugin and time.monotonic() - editor.left > ALONE_S

    page = with_instance(place.here, instance) if browser else None
    with noted(place.here):
        server.serve(editor, place, lambda: place.announce("The plugins of your DAW", page), until=alone)


def with_instance(url: str, instance: str | None) -> str:
    """The page's address, for one of the instances."""
    return url if instance is None else f"{url}&instance={quote(instance)}"


@contextlib.contextmanager
def noted(url: str) -> Iterator[None]:
    """Let others find this server, for as long as it runs."""
    note = run_folder() / NOTE
    beside = note.with_name(f"{NOTE}.{os.getpid()}")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump({"url": url, "pid": os.getpid()}, file)
    beside.replace(note)
    try:
        yield
    finally:
        if _read(note).get("pid") == os.getpid():
            note.unlink(missing_ok=True)


def running_server() -> str | None:
    """The address of a server that runs and answers; None if none does."""
    try:
        url = str(_read(run_folder() / NOTE).get("url", ""))
    except FileError:
        return None
    parts = urlsplit(url)
    if parts.hostname != "127.0.0.1" or parts.port is None:
        return None
    client = http.client.HTTPConnection(parts.hostname, parts.port, timeout=PATIENCE_S)
    try:
        client.request("GET", f"/?{parts.query}")
        return url if client.getresponse().status == 200 else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        client.close()


def _read(note: Path) -> dict[str, object]:
    try:
        found = json.loads(note.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def print_list() -> None:
    """A line for each plugin that runs: its key, and its name."""
    import asyncio

    from terrain_plugin.editor.instances import Instances

    async def found() -> list[tuple[str, str]]:
        instances = Instances(lambda *_: None, lambda _: None, lambda: None)
        await instances.look()
        end = time.monotonic() + PATIENCE_S
        while not instances.settled and time.monotonic() < end:
            await asyncio.sleep(0.01)
        rows = [(row["key"], row["name"]) for row in instances.rows() if row["there"]]
        await instances.close()
        return rows

    rows = asyncio.run(found())
    for key, name in rows:
        print(f"{key}  {name}")
    if not rows:
        print("No plugin runs: open Latent Terrain in your DAW.")
