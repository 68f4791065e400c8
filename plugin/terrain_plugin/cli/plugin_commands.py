"""`terrain plugin install`, `uninstall`, `path`, `doctor` and `preset`: the plugin for DAWs.

Heavy imports stand inside the commands, so that `terrain --help` is there at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from terrain_core.errors import InputError
from terrain_plugin.cli.console import AsJson, Commands, complain, print_json, print_table

if TYPE_CHECKING:
    from terrain_plugin.doctor import Report, Trial

SOMETHING_IS_WRONG = 1

app = typer.Typer(
    cls=Commands, no_args_is_help=True, rich_markup_mode="rich", help="Put the VST3 and CLAP plugins into your DAW."
)

User = Annotated[bool, typer.Option("--user", help="Your own plugin folders, ~/.vst3 and ~/.clap (the default).")]
To = Annotated[
    Path | None, typer.Option("--to", metavar="DIR", help="A folder that your DAW searches.", show_default=False)
]


@app.command()
def install(user: User = False, to: To = None, as_json: AsJson = False) -> None:
    """Copy the VST3 and CLAP plugins to where DAWs look for them.

    They will run their engines with the Python that runs this command.

    \b
    Examples:
      terrain plugin install
      terrain plugin install --to "/opt/My Plugins"
    """
    from terrain_plugin import installation

    installed = installation.install(_folder(user, to))
    if as_json:
        print_json([vars(found) for found in installed])
        return
    for found in installed:
        print(f"{found.format}  {found.bundle}")
    print(f"Engines run with {installed[0].python}. Now have your DAW scan its plugins.")


@app.command()
def uninstall(user: User = False, to: To = None) -> None:
    """Remove what `terrain plugin install` copied.

    \b
    Example:
      terrain plugin uninstall
    """
    from terrain_plugin import installation

    removed = installation.uninstall(_folder(user, to))
    for place in removed:
        print(f"removed {place}")
    if not removed:
        print("nothing was installed there")


@app.command()
def path() -> None:
    """Print where the built plugins are, one path a line: first the VST3, then the CLAP.

    \b
    Example:
      terrain plugin path
    """
    from terrain_plugin import binaries

    print(binaries.vst3_path().absolute())
    print(binaries.clap_path().absolute())


@app.command()
def doctor(user: User = False, to: To = None, as_json: AsJson = False) -> None:
    """See what is installed, start an engine through it, play, and say what is wrong.

    Exit code 0 if all is well, 1 if not.

    \b
    Example:
      terrain plugin doctor
    """
    from terrain_plugin import doctor

    report = doctor.examine(_folder(user, to))
    if as_json:
        print_json(doctor.as_dict(report))
    else:
        _print_report(report)
    if report.problems:
        raise typer.Exit(SOMETHING_IS_WRONG)


@app.command()
def preset(
    instrument: Annotated[Path, typer.Argument(metavar="NAME.terrain", help="The instrument.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="NAME.vstpreset", show_default=False)],
    constants: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set a parameter, e.g. level=-6 or run=Notes."),
    ] = None,
) -> None:
    """Make a VST3 preset that loads an instrument into the plugin: a DAW opens it from its preset menu.

    \b
    Example:
      terrain plugin preset forest.terrain -o Forest.vstpreset --set run=Transport
    """
    from terrain_core.parameters import by_key
    from terrain_core.vst3_preset import state_for, write_preset
    from terrain_plugin.cli.console import check_suffix, parse_assignments

    check_suffix(out, ".vstpreset")
    given = parse_assignments(constants or [], "KEY=VALUE, e.g. level=-6")
    state = state_for(instrument, {key: by_key(key).parse(value) for key, value in given.items()})
    write_preset(state, out)
    reference = state.instrument
    assert reference
    copy = "a copy of it inside" if reference.embedded else f"which must stay at {reference.path}"
    print(f"{out}: plays {reference.name}, {copy}")


def _folder(user: bool, to: Path | None) -> Path | None:
    if user and to is not None:
        raise InputError("--user and --to name two places: choose one")
    return to.absolute() if to is not None else None


def _print_report(report: Report) -> None:
    """Paths stand on lines of their own, whole, so that they can be copied."""
    for found in report.installed:
        print(f"{found.format} {found.version or 'of unknown version'}\n  {found.bundle}")
        print(f"  runs engines with {found.python or 'nothing'}")
    if report.override:
        print(f"LATENT_TERRAIN_PYTHON names another Python: {report.override}")
    if report.trial:
        print(f"Tried out\n  {report.trial.bundle}")
        print_table("", ["", "measured "], _measures(report.trial))
    if report.log_lines:
        print(f"Last lines of {report.log}")
        for line in report.log_lines:
            print(f"  {line}")
    for problem in report.problems:
        complain(problem)
    if not report.problems:
        print("All is well.")


def _measures(trial: Trial) -> list[tuple[str, str]]:
    from terrain_plugin.doctor import BLOCK, RATE

    return [
        ("status", trial.status),
        ("library opened in", f"{trial.load_ms:.0f} ms"),
        ("engine ready in", f"{trial.ready_ms:.0f} ms"),
        ("first block in", f"{trial.first_ms:.2f} ms"),
        (f"block of {BLOCK} at {RATE:g} Hz in", f"{trial.median_ms:.2f} ms (lasts {1e3 * BLOCK / RATE:.1f} ms)"),
        ("slowest block in", f"{trial.worst_ms:.2f} ms"),
        ("latency", f"{trial.latency} samples"),
        ("peak", f"{trial.peak:.3f}"),
    ]
