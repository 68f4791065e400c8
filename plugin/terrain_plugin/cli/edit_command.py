"""`terrain edit`: the editor's page on plugins that play in a DAW.

Heavy imports stand inside the command, so that `terrain --help` is there at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from terrain_plugin.editor.plugin_command import DEFAULT_PORT


def edit(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the page; 0 takes any that is free.")] = DEFAULT_PORT,
    lan: Annotated[
        bool,
        typer.Option("--lan", help="Let other devices in, such as a tablet. The way is not encrypted."),
    ] = False,
    instance: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="Which plugin to begin with, as --list names it.", show_default=False),
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the plugins that run, and end.")] = False,
    library: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where trajectories are kept.", show_default=False)
    ] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page.")] = True,
    from_plugin: Annotated[bool, typer.Option("--from-plugin", hidden=True)] = False,
) -> None:
    """Open the page on plugins that play in your DAW.

    Pad, sliders and loops move the plugin's parameters as gestures, which the DAW
    records like those of its own controls; the page follows the DAW's automation.

    \b
    Examples:
      terrain edit
      terrain edit --list
    """
    from terrain_plugin.editor import plugin_command

    if list_:
        plugin_command.print_list()
        return
    plugin_command.edit(
        port=port, lan=lan, instance=instance, browser=browser, from_plugin=from_plugin, library=library
    )
