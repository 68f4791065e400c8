"""The command `terrain`."""

from __future__ import annotations

import typer

from terrain_plugin.cli import (
    attribute_commands,
    daw_commands,
    edit_command,
    encode_command,
    explorer_commands,
    export_command,
    instrument_commands,
    loop_commands,
    map_command,
    one_shot_commands,
    play_command,
    plugin_commands,
    preset_commands,
    project_commands,
)
from terrain_plugin.cli.console import Commands

app = typer.Typer(
    name="terrain",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Turn points (X, Y, pressure) into sound through the latent space of a neural autoencoder. "
    "Start with: terrain demo",
    epilog="Every command explains itself: terrain render --help",
)
app.command()(project_commands.demo)
app.command()(project_commands.render)
app.command()(project_commands.lanes)
app.command()(loop_commands.loop)
app.command()(play_command.play)
app.command()(edit_command.edit)
app.command()(instrument_commands.build)
app.command()(encode_command.encode)
app.command()(instrument_commands.info)
app.command("map")(map_command.map_)
app.command()(instrument_commands.fit)
app.command()(instrument_commands.convert)
app.command()(export_command.export)
app.command()(explorer_commands.morph)
app.command()(explorer_commands.walk)
app.command()(explorer_commands.vary)
app.command()(explorer_commands.reconstruct)
app.command()(explorer_commands.sliders)
app.command()(explorer_commands.steer)
app.add_typer(attribute_commands.app, name="attribute")
app.add_typer(preset_commands.app, name="preset")
app.command()(one_shot_commands.dataset)
app.command()(one_shot_commands.train)
app.add_typer(daw_commands.app, name="daw")
app.add_typer(plugin_commands.app, name="plugin")


def main() -> None:
    """What the console script `terrain` runs."""
    app()
