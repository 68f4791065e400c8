"""`terrain export`: instruments on their way out of this program."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from terrain_core.errors import InputError
from terrain_plugin.cli.console import AsJson, check_suffix, interruptible, print_json, print_table


def export(
    instrument: Annotated[Path, typer.Argument(metavar="NAME.terrain", help="The instrument.", show_default=False)],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="OUT",
            help="A folder for --onnx, a .ts for --nn, a .nm for --neutone, a .json for --dataset.",
            show_default=False,
        ),
    ],
    onnx: Annotated[bool, typer.Option("--onnx", help="One ONNX graph, for programs of your own.")] = False,
    nn: Annotated[bool, typer.Option("--nn", help="One TorchScript, for nn~ in Max and Pure Data.")] = False,
    neutone: Annotated[bool, typer.Option("--neutone", help="A model for the plugin Neutone FX.")] = False,
    dataset: Annotated[
        bool, typer.Option("--dataset", help="Coordinates and latents of its sounds, for nn.terrain~ in Max.")
    ] = False,
    python: Annotated[
        Path | None,
        typer.Option(
            "--python",
            metavar="PROGRAM",
            help="With --neutone: the Python that has neutone_sdk (see scripts/neutone_env). Default: this one.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Take an instrument to where Latent Terrain is not: terrain and decoder in one file.

    What plays is played against the engine before it is written.

    \b
    Examples:
      terrain export --onnx drums.terrain -o drums-onnx
      terrain export --nn drums.terrain -o drums.ts
      terrain export --neutone drums.terrain -o drums.nm --python .cache/neutone-venv/bin/python
      terrain export --dataset drums.terrain -o drums.json
    """
    from terrain_core.instrument import Instrument

    if onnx + nn + neutone + dataset != 1:
        raise InputError("say one of --onnx, --nn, --neutone and --dataset")
    if python is not None and not neutone:
        raise InputError("--python is for --neutone")
    if nn:
        check_suffix(out, ".ts")
    if neutone:
        check_suffix(out, ".nm")
    if dataset:
        check_suffix(out, ".json")
    loaded = Instrument.load(instrument)
    facts: dict[str, Any] = {"out": str(out)}
    with interruptible(f"{out} was not written"):
        if onnx:
            from terrain_core.export.onnx_graph import export_onnx

            facts |= export_onnx(loaded, out, path=str(instrument)).facts
            if not as_json:
                facts["states"] = ", ".join(state["input"] for state in facts["states"])
        elif nn:
            from terrain_core.export.nn_export_torch import export_nn

            facts |= export_nn(loaded, out, path=str(instrument))
            if not as_json:
                facts |= {key: ", ".join(facts[key]) for key in ("methods", "attributes")}
        elif dataset:
            from terrain_plugin.cli.instrument_commands import pairs_of_map, write_dataset

            pairs = pairs_of_map(instrument, loaded, loaded.terrain)
            write_dataset(out, pairs)
            facts |= {"sounds": len(pairs.lengths), "frames": len(pairs)}
        else:
            from terrain_core.export.neutone import export_neutone

            facts |= export_neutone(loaded, out, python=python, path=str(instrument))
    if as_json:
        print_json(facts)
    else:
        print_table(f"{instrument} exported", ("what", ""), facts.items())
