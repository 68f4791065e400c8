"""`terrain play`: an instrument in the browser.

Heavy imports stand inside the command, so that `terrain --help` is there at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from terrain_core.errors import InputError

DEFAULT_PORT = 8765


def play(
    instrument: Annotated[
        Path | None,
        typer.Argument(metavar="[NAME.terrain]", help="What plays. Default: the built-in.", show_default=False),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the page; 0 takes any that is free.")] = DEFAULT_PORT,
    lan: Annotated[
        bool,
        typer.Option("--lan", help="Let other devices in, such as a tablet. The way is not encrypted."),
    ] = False,
    no_audio: Annotated[bool, typer.Option("--no-audio", help="No sound, only the page.")] = False,
    device: Annotated[
        str | None,
        typer.Option(
            "--device",
            metavar="NAME",
            help="Sound on this machine's own device (default, or a part of its name), not in the page.",
            show_default=False,
        ),
    ] = None,
    library: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where sounds and instruments go.", show_default=False),
    ] = None,
    link: Annotated[
        bool, typer.Option("--link", help="Follow the tempo and the beat of an Ableton Link session.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal noise.")] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page.")] = True,
) -> None:
    """Play an instrument in the browser, loop it, and build one out of your own sounds.

    The page is served on this machine alone, unless --lan says otherwise, and its
    address holds a token that is new at each start.

    \b
    Examples:
      terrain play
      terrain play mine.terrain --lan
    """
    import threadpoolctl

    from terrain_core import autoencoders
    from terrain_core.instrument import Instrument
    from terrain_plugin.editor import server
    from terrain_plugin.editor.device import Device
    from terrain_plugin.editor.library import Library, default_folder
    from terrain_plugin.editor.session import Session
    from terrain_plugin.editor.workshop import Workshop
    from terrain_plugin.link_transport import LinkTransport
    from terrain_plugin.shipped import DEFAULT_INSTRUMENT

    # Pictures are drawn beside the player: products on every core would take the cores from it.
    threadpoolctl.threadpool_limits(1, "blas")
    if no_audio and device is not None:
        raise InputError("--no-audio and --device are two different wishes: choose one")
    player = Instrument.load(instrument or DEFAULT_INSTRUMENT)
    autoencoder = player.autoencoder
    shelf = Library(library or default_folder())
    place = server.Place.take(port, lan=lan)
    session = LinkTransport() if link else None
    if session is not None:
        session.open()
    pace = None
    if device is not None:
        pace = Device(autoencoder.sample_rate, autoencoder.channels, None if device == "default" else device)
    named = autoencoder.name if autoencoder.name in autoencoders.names() else str(getattr(autoencoder, "path", ""))
    editor = server.Editor(
        Session(player, instrument.absolute() if instrument else None, seed=seed, pace=pace, link=session),
        Workshop(autoencoder, named, seed=seed),
        shelf,
        sound_to_pages=not no_audio and device is None,
    )
    page = place.here if browser else None
    server.serve(editor, place, lambda: place.announce(player_name(instrument), page))


def player_name(instrument: Path | None) -> str:
    """What a musician calls it."""
    return instrument.stem if instrument else "The built-in instrument"
