"""`terrain encode`: a folder of sounds as latents, once and for all."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from terrain_plugin.cli.console import AsJson, Yes, check_suffix, complain, interruptible, print_json, progress
from terrain_plugin.cli.instrument_commands import (
    AutoencoderName,
    CacheFolder,
    CacheSize,
    NoCache,
    SampleRate,
    Scheduler,
    encode_settings,
    open_autoencoder,
)

DICTIONARY, TENSORS = ".json", ".safetensors"


def encode(
    audio: Annotated[
        list[Path], typer.Argument(metavar="AUDIO...", help="Sound files and folders.", show_default=False)
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="A .json (nn.terrain's dictionary, for Max) or a .safetensors.",
            show_default=False,
        ),
    ],
    autoencoder: AutoencoderName = "builtin",
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out files that cannot be read.")] = False,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Files at once. Default: as many as there are cores.", show_default=False),
    ] = None,
    sample_rate: SampleRate = None,
    cache: CacheFolder = None,
    no_cache: NoCache = False,
    cache_size: CacheSize = None,
    scheduler: Scheduler = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Turn sounds into latents.

    Each file from a clean state, resampled, in the autoencoder's channels.
    What is encoded is kept: stopped in the middle, the same command goes on,
    and terrain build finds everything done.

    \b
    Examples:
      terrain encode birds/ -o birds.safetensors
      terrain encode birds/ -o birds.json -a mimi.zip
      terrain encode birds/ -o birds.safetensors --scheduler tcp://10.0.0.1:8786
    """
    from terrain_core.building import find_sounds
    from terrain_core.trajectories import MaxDictionary, encode_files, write_dictionary, write_latents

    suffix = check_suffix(out, DICTIONARY, TENSORS)
    settings = encode_settings(cache, no_cache, scheduler, jobs, cache_size)
    model = open_autoencoder(autoencoder, yes, sample_rate, remember=True)
    files = find_sounds(audio)
    kept = "" if no_cache else "; what was encoded is kept, the same command goes on"
    with interruptible(f"{out} was not written{kept}"):
        with progress("encoding", unit="files", quiet=as_json) as report:
            found = encode_files(files, model, lambda done, total, path: report(done, total), settings)
        if found.problems and (not skip_bad or not found.trajectories):
            raise found.problems[0]
        for error in found.problems:
            complain(f"left out: {error}")
        if suffix == DICTIONARY:
            write_dictionary(MaxDictionary(latents=found.trajectories), out)
        else:
            about = {
                "autoencoder": model.name,
                "sha256": model.sha256,
                "frame_rate": str(model.sample_rate / model.hop),
            }
            write_latents(out, found.trajectories, about)
    facts = {
        "out": str(out),
        "sounds": len(found.trajectories),
        "frames": sum(map(len, found.trajectories)),
        "encoded": found.encoded,
    }
    if as_json:
        print_json(facts)
    else:
        print(f"{out}: {facts['sounds']} sounds, {facts['frames']} frames, {facts['encoded']} encoded now")
