"""`terrain build`, `info`, `fit` and `convert`: what makes, shows and changes instruments and terrains.

Heavy imports stand inside the commands, so that `terrain --help` is there at once.
"""

from __future__ import annotations

import enum
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from terrain_core.errors import FileError, InputError
from terrain_plugin.cli.console import (
    INTERRUPTED,
    AsJson,
    Yes,
    ask_for_trust,
    check_suffix,
    complain,
    interruptible,
    print_json,
    print_table,
    progress,
)

if TYPE_CHECKING:
    from terrain_core.autoencoders import OnnxAutoencoder
    from terrain_core.autoencoders.nn_tilde import NnTildeAutoencoder
    from terrain_core.autoencoders.protocol import Autoencoder
    from terrain_core.instrument import Instrument
    from terrain_core.pairing import Pairing
    from terrain_core.terrain import Terrain
    from terrain_core.terrain.fit import FitReport
    from terrain_core.trajectories import EncodeSettings

INSTRUMENT, NN_TERRAIN = ".terrain", ".pt"

TerrainFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="A .terrain, or a .pt of nn.terrain.", show_default=False)
]
AutoencoderName = Annotated[
    str,
    typer.Option(
        "--autoencoder",
        "-a",
        metavar="NAME|FILE",
        help="What turns latents into sound: builtin, a bundle (folder, .zip or .onnx; see convert), or a TorchScript.",
    ),
]
Epochs = Annotated[int, typer.Option(min=0, help="Passes over the data; 0 for the closed-form solution alone.")]
LearningRate = Annotated[float, typer.Option("--lr", help="Adam's learning rate at its peak.")]
BatchSize = Annotated[
    int | None,
    typer.Option(
        "--batch", min=1, help="Pairs per step. Default: an eighth of the data, 64 to 128.", show_default=False
    ),
]
GaussScale = Annotated[
    float | None,
    typer.Option(
        help="Cycles per coordinate unit: higher is more mountainous. Default: by the data.", show_default=False
    ),
]
Width = Annotated[int, typer.Option(help="Units of each hidden layer.")]
Features = Annotated[int, typer.Option(help="Fourier frequencies.")]
Device = Annotated[str, typer.Option(help="cpu, cuda or mps.")]
Seed = Annotated[int, typer.Option(help="Equal seeds give equal results.")]
Bounds = Annotated[
    tuple[float, float, float, float] | None,
    typer.Option(
        metavar="L T R B", help="Left, top, right, bottom in coordinate units; T is the low y.", show_default=False
    ),
]


SampleRate = Annotated[
    int | None,
    typer.Option(metavar="HZ", min=1, help="Of a TorchScript that does not state its own.", show_default=False),
]


CacheFolder = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        metavar="DIR",
        help="Where latents are kept. Default: in $XDG_CACHE_HOME or ~/.cache.",
        show_default=False,
    ),
]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Encode every sound anew, and keep nothing.")]
Scheduler = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Encode on the Dask cluster of this scheduler, e.g. tcp://host:8786.",
        show_default=False,
    ),
]


CacheSize = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="What the cache may take, e.g. 500M: what was not used for longest goes. Default: 4G.",
        show_default=False,
    ),
]


def encode_settings(
    cache: Path | None,
    no_cache: bool,
    scheduler: str | None = None,
    jobs: int | None = None,
    size: str | None = None,
) -> EncodeSettings:
    """What the options about encoding come to; `jobs` None: as many as there are cores."""
    from terrain_core.trajectories import EncodeSettings, LatentCache
    from terrain_core.trajectories.latent_cache import cache_size, default_folder

    for option, value in (("--cache", cache), ("--cache-size", size)):
        if no_cache and value is not None:
            raise InputError(f"{option} and --no-cache contradict each other")
    kept = None if no_cache else LatentCache(cache or default_folder(), cache_size(size))
    return EncodeSettings(kept, jobs or _cores(), scheduler)


class LayoutName(enum.StrEnum):
    timeline = "timeline"
    packed = "packed"
    map = "map"


def build(
    audio: Annotated[
        list[Path], typer.Argument(metavar="AUDIO...", help="Sound files and folders.", show_default=False)
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="NAME.terrain", help="The instrument.", show_default=False)
    ],
    autoencoder: AutoencoderName = "builtin",
    layout: Annotated[
        LayoutName, typer.Option(help="One line of time, a dense field, or a field with similar sounds together.")
    ] = LayoutName.map,
    epochs: Epochs = 300,
    learning_rate: LearningRate = 2e-3,
    batch_size: BatchSize = None,
    gauss_scale: GaussScale = None,
    width: Width = 128,
    features: Features = 256,
    device: Device = "cpu",
    dataset: Annotated[
        Path | None,
        typer.Option(
            metavar="JSON", help="Also save coordinates and latents, for `terrain fit` and Max.", show_default=False
        ),
    ] = None,
    embed: Annotated[bool, typer.Option("--embed", help="Put the autoencoder into the file.")] = False,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out files that cannot be read.")] = False,
    seed: Seed = 0,
    sample_rate: SampleRate = None,
    cache: CacheFolder = None,
    no_cache: NoCache = False,
    cache_size: CacheSize = None,
    scheduler: Scheduler = None,
    explorer: Annotated[
        bool,
        typer.Option(
            "--explorer/--no-explorer",
            help="Also keep where each sound came from, for terrain map, morph, walk, vary, preset …",
        ),
    ] = True,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Make an instrument out of sounds.

    The sounds are laid out in the control space, and a terrain is learned
    through them. Ctrl-C while it learns keeps what was learned so far; what
    was encoded is kept in a cache and is not encoded again.

    \b
    Examples:
      terrain build drums/ -o drums.terrain
      terrain build kick.wav snare.wav -o kit.terrain --epochs 1000
      terrain build speech.flac -o speech.terrain --layout timeline
      terrain build birds/ -o birds.terrain -a rave.zip --embed
    """
    from terrain_core.building import BuildSettings
    from terrain_core.building import build as build_instrument
    from terrain_core.notebook import instrument_png
    from terrain_core.terrain.fit import FitSettings

    check_suffix(out, INSTRUMENT)
    decoder = open_autoencoder(autoencoder, yes, sample_rate, remember=True)
    if embed and not hasattr(decoder, "to_bytes"):
        raise InputError(
            f"{autoencoder} cannot be put into an instrument: convert it first (terrain convert), or leave --embed out"
        )
    fit = FitSettings(
        epochs=epochs, learning_rate=learning_rate, batch_size=batch_size, device=device, threads=_cores(), seed=seed
    )
    encoding = encode_settings(cache, no_cache, scheduler, size=cache_size)
    settings = BuildSettings(layout.value, gauss_scale, width, features, fit, skip_bad, seed, explorer)
    with (
        interruptible(f"{out} was not written"),
        progress("building", unit="", quiet=as_json) as report,
        _stop_on_interrupt() as stop,
    ):

        def show(stage: str, done: float, total: float) -> None:
            report(done, total, stage)
            if stage == "encoding" and stop.is_set():  # nothing is learned yet that could be kept
                raise KeyboardInterrupt

        built = build_instrument(audio, decoder, settings, encoding=encoding, progress=show, stop=stop)
        for error in built.left_out:
            complain(f"left out: {error}")
        built.instrument.save(out, embed_autoencoder=embed, preview=instrument_png)
        if dataset:
            write_dataset(dataset, built.pairing)
    facts = {
        "out": str(out),
        "sounds": len(built.pairing.lengths),
        "frames": len(built.pairing),
        **_fit_facts(built.fit),
    }
    _report_fit(facts, as_json)


def info(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A .terrain, a .pt of nn.terrain, an autoencoder's bundle, a TorchScript or a codec's checkpoint.",
            show_default=False,
        ),
    ],
    sample_rate: SampleRate = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Show what is in an instrument, a terrain or an autoencoder.

    \b
    Examples:
      terrain info drums.terrain
      terrain info percussion.pt --json
      terrain info rave.zip
    """
    from terrain_core.autoencoders.nn_tilde.trust import is_torchscript

    facts: dict[str, Any]
    if file.is_dir() or file.suffix.lower() in (".zip", ".onnx") or (is_torchscript(file) and not _is_nn_terrain(file)):
        facts = {"file": str(file), **_unopened_facts(file)}
        if len(facts) == 1:
            model = open_autoencoder(str(file), yes, sample_rate, remember=True)
            facts |= {**_autoencoder_facts(model), **_speed_facts(model)}
        if as_json:
            print_json(facts)
        else:
            print_table("Autoencoder", ("what", ""), facts.items())
        return
    instrument, terrain = open_terrain(file)
    facts = {"file": str(file), "terrain": terrain.summary() if terrain else None}
    if instrument is not None:
        facts |= _instrument_facts(instrument)
    if as_json:
        print_json(facts)
        return
    print(f"{file}: {terrain.describe() if terrain else 'no terrain'}")
    rows = [(key, value) for key, value in facts.items() if key not in ("file", "terrain")]
    if rows:
        print_table("Instrument", ("what", ""), rows)


def _unopened_facts(file: Path) -> dict[str, Any]:
    """Of a folder with a codec's checkpoint, which has to be converted first; else nothing."""
    from terrain_core.autoencoders import codecs

    checkpoint = codecs.find(file)
    if checkpoint is None:
        return {}
    return {
        "family": checkpoint.kind,
        "licence": checkpoint.licence or "not stated",
        "forbids": codecs.forbids(checkpoint.licence) or "not known: read it",
        "to_play": f"terrain convert {file} -o {checkpoint.kind}.zip",
    }


def fit(
    dataset: Annotated[
        Path,
        typer.Argument(
            metavar="DATASET",
            help="Coordinates and latents: nn.terrain's dictionaries (JSON), or a .terrain with a sound map.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="FILE", help="A .pt for nn.terrain, or a .terrain.", show_default=False),
    ],
    start: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="Go on from this .pt or .terrain.", show_default=False),
    ] = None,
    autoencoder: AutoencoderName = "builtin",
    epochs: Epochs = 300,
    learning_rate: LearningRate = 2e-3,
    batch_size: BatchSize = None,
    gauss_scale: GaussScale = None,
    width: Width = 128,
    features: Features = 256,
    pairing: Annotated[
        str,
        typer.Option(help="resample: spread the frames over the path; truncate: cut the longer, as nn.terrain does."),
    ] = "truncate",
    device: Device = "cpu",
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Learn a terrain from coordinates and latents, or go on learning one.

    Given a .terrain, its sound map says which latents belong where, and its
    own terrain goes on learning. Ctrl-C keeps what was learned so far.

    \b
    Examples:
      terrain fit drums.terrain -o drums.terrain --epochs 1000
      terrain fit dataset.json -o mine.pt
      terrain fit dataset.json -o mine.pt --from mine.pt --epochs 500
    """
    from terrain_core.terrain.fit import FitSettings
    from terrain_core.terrain.fit import fit as fit_terrain

    check_suffix(out, INSTRUMENT, NN_TERRAIN)
    instrument: Instrument | None = None
    terrain: Terrain | None = None
    if dataset.suffix.lower() == INSTRUMENT:
        instrument, terrain = open_terrain(dataset)
        pairs = pairs_of_map(dataset, instrument, terrain)
    else:
        pairs = _pairs_of_dictionary(dataset, pairing)
    if start:
        instrument, terrain = open_terrain(start)
    goes_on = terrain is not None
    if terrain is None:
        terrain = _new_terrain(pairs.coordinates, pairs.latents.shape[1], gauss_scale, width, features, seed)
    settings = FitSettings(
        epochs=epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        # What is already there is to be kept, not to be solved for anew.
        ridge_start=None if goes_on else FitSettings.ridge_start,
        device=device,
        threads=_cores(),
        seed=seed,
    )
    with progress("fitting", unit="epochs", quiet=as_json) as report, _stop_on_interrupt() as stop:
        done = fit_terrain(
            terrain,
            pairs.coordinates,
            pairs.latents,
            settings,
            callback=lambda now: report(now.epoch, now.epochs, f"fitting, {now.psnr:.1f} dB"),
            stop=stop,
        )
        _write(terrain, instrument, out, autoencoder)
    facts = {"out": str(out), "frames": len(pairs), **_fit_facts(done)}
    _report_fit(facts, as_json)


def convert(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A .terrain, a .pt of nn.terrain, a TorchScript (RAVE), or a codec's checkpoint (a folder).",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Argument(
            metavar="OUT",
            help="A .terrain, a .pt; a folder, a .zip or an .onnx for a RAVE or a codec.",
            show_default=False,
        ),
    ] = None,
    out_option: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="OUT", help="The same as OUT.", show_default=False)
    ] = None,
    autoencoder: AutoencoderName = "builtin",
    bounds: Bounds = None,
    sample_rate: SampleRate = None,
    codebooks: Annotated[
        int, typer.Option(min=0, help="Of a codec: snap each frame to that many of its codebooks first. 0: as it is.")
    ] = 0,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Take a terrain from nn.terrain (Max/MSP) to an instrument, or back; or a RAVE or a codec to a bundle of ONNX
    graphs.

    A .pt holds no bounds and no autoencoder: name those it was made with.
    A bundle plays several times faster than the TorchScript it was made of,
    and is checked against it before it is written; as .onnx it is one file
    that any ONNX runtime opens. Codecs are EnCodec, DAC,
    Mimi, Stable Audio Open's autoencoder and Music2Latent, from a folder
    that lies here: nothing is downloaded.

    \b
    Examples:
      terrain convert drums.terrain drums.pt
      terrain convert demo.pt demo.terrain -a percussion.zip --bounds -16 -4 16 4
      terrain convert rave.ts -o rave.zip
      terrain convert rave.ts -o rave.onnx
      terrain convert encodec_24khz/ -o encodec.zip
    """
    import numpy as np

    from terrain_core.autoencoders.nn_tilde.trust import is_torchscript

    if (out is None) == (out_option is None):
        raise InputError("name one file to write: terrain convert FILE OUT")
    target = out or out_option
    assert target is not None
    if source.is_dir():
        _convert_codec(source, target, codebooks, as_json)
        return
    if is_torchscript(source) and not _is_nn_terrain(source):
        _convert_autoencoder(source, target, sample_rate, yes, as_json)
        return
    check_suffix(target, INSTRUMENT, NN_TERRAIN)
    instrument, terrain = open_terrain(source)
    if terrain is None:
        raise FileError(source, "has no terrain, only a sound map")
    if bounds is not None:
        if instrument is not None:
            raise InputError(f"--bounds are for a .pt, which has none; {source} brings its own")
        terrain = terrain.with_bounds(np.reshape(bounds, (2, 2)).T)
    with interruptible(f"{target} was not written"):
        _write(terrain, instrument, target, autoencoder)
    if as_json:
        print_json({"out": str(target)})
    else:
        print(target)


def _is_nn_terrain(file: Path) -> bool:
    """Whether a TorchScript is to be read as a terrain: nn.terrain's are, too, and are read without being run."""
    return file.suffix.lower() == NN_TERRAIN


def open_autoencoder(
    name: str, yes: bool, sample_rate: int | None = None, *, remember: bool = False
) -> OnnxAutoencoder | NnTildeAutoencoder:
    """An autoencoder by name or path; before a TorchScript is opened, its owner is asked.

    `remember`: so that an instrument that names the file can be played without being asked again.
    """
    from terrain_core import autoencoders
    from terrain_core.autoencoders.nn_tilde import trust

    if name in autoencoders.names() or not trust.is_torchscript(name):
        return autoencoders.load(name)
    if not trust.is_trusted(name):
        ask_for_trust(Path(name), yes)
    model = autoencoders.load(name, trust=True, sample_rate=sample_rate)
    if remember:
        trust.remember(name)
    if not isinstance(model, autoencoders.OnnxAutoencoder) and model.notice():
        complain(model.notice())
    return model


def _convert_autoencoder(source: Path, target: Path, sample_rate: int | None, yes: bool, as_json: bool) -> None:
    from terrain_core.autoencoders.nn_tilde import NnTildeAutoencoder
    from terrain_core.autoencoders.nn_tilde import convert as convert_model
    from terrain_core.autoencoders.nn_tilde.bundle import check_place, save

    check_place(target)
    ask_for_trust(source, yes)
    with interruptible(f"{target} was not written"), progress("opening", unit="steps", quiet=as_json) as report:
        model = NnTildeAutoencoder(source, sample_rate=sample_rate, trust=True)
        report(1, 3, "converting")
        done = convert_model(model)
        report(2, 3, "writing")
        save(done.bundle, target)
        model.close()
    facts = {
        "out": str(target),
        **_autoencoder_facts(done.bundle),
        "family": done.family,
        "encoder": "converted" if not done.no_encoder else f"not converted: {done.no_encoder}",
        "error": done.error,
        "error_allowed": done.limit,
        "encoder_error": done.encoder_error,
        "checked_frames": done.checked_frames,
        **_frame_times({"torchscript": done.torchscript_seconds, "onnx": done.onnx_seconds}, done.bundle),
    }
    _print_conversion(source, facts, as_json)


def _convert_codec(source: Path, target: Path, codebooks: int, as_json: bool) -> None:
    from terrain_core.autoencoders import codecs
    from terrain_core.autoencoders.nn_tilde.bundle import check_place, save

    checkpoint = codecs.find(source)
    if checkpoint is None:
        raise FileError(
            source,
            "holds no checkpoint that is known",
            hint=f"expected {', '.join(codecs.EXTRAS)}, as they are published",
        )
    check_place(target)
    with interruptible(f"{target} was not written"), progress("converting", unit="steps", quiet=as_json) as report:
        report(0, 2)
        done = codecs.convert(checkpoint, name=target.stem, codebooks=codebooks)
        report(1, 2, "writing")
        save(done.bundle, target)
    facts = {
        "out": str(target),
        **_autoencoder_facts(done.bundle),
        "error_allowed": done.limit,
        "encoder_error": done.encoder_error,
        "checked_frames": done.checked_frames,
        **_frame_times({"eager": done.eager_seconds, "onnx": done.onnx_seconds}, done.bundle),
    }
    _print_conversion(source, facts, as_json)


def _frame_times(seconds: dict[str, float], bundle: OnnxAutoencoder) -> dict[str, float]:
    """Seconds for a frame, by how it was decoded -> in ms, and of real time."""
    frame = bundle.hop / bundle.sample_rate
    in_ms = {f"{way}_ms_per_frame": round(1000 * taken, 3) for way, taken in seconds.items()}
    return in_ms | {f"{way}_of_real_time": round(taken / frame, 4) for way, taken in seconds.items()}


def _print_conversion(source: Path, facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(facts)
    else:
        print_table(f"{source} converted", ("what", ""), facts.items())


def _speed_facts(autoencoder: OnnxAutoencoder | NnTildeAutoencoder) -> dict[str, Any]:
    """How fast it decodes here, one frame a block and eight, on one thread; of real time, under 1 plays live."""
    import time

    import numpy as np

    found = {}
    for frames in (1, 8):
        stream = autoencoder.stream()
        latents = np.tile(autoencoder.latent_mean, (frames, 1))
        times: list[float] = []
        began = time.perf_counter()
        while len(times) < 3 or (len(times) < 20 and time.perf_counter() - began < 1):
            before = time.perf_counter()
            stream.decode(latents)
            times.append(time.perf_counter() - before)
        seconds = float(np.median(times[1:])) / frames
        found[f"of_real_time_{frames}_at_once"] = round(seconds * autoencoder.sample_rate / autoencoder.hop, 4)
    return found


def _autoencoder_facts(autoencoder: OnnxAutoencoder | NnTildeAutoencoder) -> dict[str, Any]:
    from terrain_core.autoencoders import OnnxAutoencoder
    from terrain_core.autoencoders.codecs import forbids

    common = {
        "name": autoencoder.name,
        "latent_size": autoencoder.latent_size,
        "ratio": autoencoder.hop,
        "sample_rate": autoencoder.sample_rate,
        "channels": autoencoder.channels,
        "frame_rate": autoencoder.sample_rate / autoencoder.hop,
    }
    if isinstance(autoencoder, OnnxAutoencoder):
        delay, notes = autoencoder.card.delay, autoencoder.card.notes
        special = {
            "runtime": "ONNX Runtime",
            "family": notes.get("family", autoencoder.name),
            "can_encode": bool(autoencoder.card.features),
            "streaming": True,
        }
        special |= {key: notes[key] for key in ("source", "error") if key in notes}
        special["seam_error"] = autoencoder.card.seam_error
        if notes.get("settles_after_frames"):
            special["settles_after_frames"] = notes["settles_after_frames"]
        if notes.get("codebooks"):
            special["snapped_to_codebooks"] = notes["codebooks"]
        if autoencoder.card.licence:
            special["licence"] = autoencoder.card.licence
            special["forbids"] = forbids(autoencoder.card.licence) or "not known: read it"
    else:
        delay = autoencoder.delay
        special = {
            "runtime": "TorchScript, in a process of its own",
            "family": autoencoder.family,
            "can_encode": autoencoder.can_encode,
            "streaming": autoencoder.streaming,
            "methods": ", ".join(autoencoder.methods),
            "attributes": ", ".join(autoencoder.attributes) or "none",
        }
    milliseconds = round(1000 * delay / autoencoder.sample_rate, 1)
    return {**common, "delay_samples": delay, "delay_ms": milliseconds, **special}


@contextmanager
def _stop_on_interrupt() -> Iterator[threading.Event]:
    """Ctrl-C sets the event instead of raising, so that a fit ends within one step and its result is saved."""
    stop = threading.Event()
    before = signal.signal(signal.SIGINT, lambda number, frame: stop.set())
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def open_terrain(file: Path) -> tuple[Instrument | None, Terrain | None]:
    """A .terrain with its terrain, or the terrain of a .pt alone."""
    if check_suffix(file, INSTRUMENT, NN_TERRAIN) == NN_TERRAIN:
        from terrain_core.terrain.pt_file import read_pt

        return None, read_pt(file)
    from terrain_core.instrument import Instrument

    instrument = Instrument.load(file)
    return instrument, instrument.terrain


def _write(terrain: Terrain, instrument: Instrument | None, out: Path, autoencoder: str) -> None:
    """To .pt or .terrain, by the suffix; an instrument keeps all else it has."""
    if out.suffix.lower() == NN_TERRAIN:
        from terrain_core.terrain.pt_file import write_pt

        write_pt(terrain, out)
        return
    from terrain_core.instrument import Instrument
    from terrain_core.notebook import instrument_png

    if instrument is None:
        instrument = Instrument(open_autoencoder(autoencoder, yes=False, remember=True), terrain)
    instrument.terrain = terrain
    instrument.save(out, preview=instrument_png)


def _pairs_of_dictionary(dataset: Path, pairing: str) -> Pairing:
    from terrain_core.pairing import pair
    from terrain_core.trajectories import read_dictionary

    data = read_dictionary(dataset)
    try:
        return pair(data.coordinates, data.latents, pairing)  # type: ignore[arg-type]  # `pair` refuses other words
    except InputError as error:
        raise FileError(dataset, str(error)) from error


def pairs_of_map(file: Path, instrument: Instrument | None, terrain: Terrain | None) -> Pairing:
    """The frames on an instrument's sound map, sound by sound, at their places in its terrain's bounds."""
    from itertools import groupby

    from terrain_core.pairing import Pairing

    sound_map = instrument.sound_map if instrument is not None else None
    if sound_map is None or terrain is None:
        raise FileError(file, "has no terrain with a sound map to learn from", hint="give a dataset (JSON) instead")
    low, high = terrain.bounds[:2].T
    names = sound_map.names or (file.stem,) * len(sound_map)
    runs = [(name, len(list(run))) for name, run in groupby(names)]
    coordinates = low + sound_map.positions * (high - low)
    return Pairing(coordinates, sound_map.latents, tuple(n for _, n in runs), tuple(name for name, _ in runs))


def _new_terrain(
    coordinates: Any, latent_size: int, gauss_scale: float | None, width: int, features: int, seed: int
) -> Terrain:
    """A terrain whose bounds are the data's, a unit wide where the data do not spread."""
    import numpy as np

    from terrain_core.terrain import Terrain

    low, high = coordinates.min(axis=0), coordinates.max(axis=0)
    flat = np.where(high > low, 0.0, 0.5)
    return Terrain.create(
        coordinates.shape[1],
        latent_size,
        bounds=np.stack([low - flat, high + flat], axis=1),
        gauss_scale=gauss_scale,
        width=width,
        features=features,
        seed=seed,
    )


def write_dataset(path: Path, pairs: Pairing) -> None:
    import numpy as np

    from terrain_core.trajectories import LatentTrajectory, MaxDictionary, SpatialTrajectory, write_dictionary

    cuts = np.cumsum(pairs.lengths)[:-1]
    coordinates = zip(pairs.names, np.split(pairs.coordinates, cuts), strict=True)
    latents = zip(pairs.names, np.split(pairs.latents, cuts), strict=True)
    dictionary = MaxDictionary(
        coordinates=tuple(SpatialTrajectory(name, points) for name, points in coordinates),
        latents=tuple(LatentTrajectory(name, rows) for name, rows in latents),
    )
    write_dictionary(dictionary, path)


def _fit_facts(report: FitReport) -> dict[str, Any]:
    return {
        "epochs": report.epochs,
        "loss": report.loss,
        "psnr_db": report.psnr,
        "fit_seconds": report.seconds,
        "stopped": report.stopped,
    }


def _report_fit(facts: dict[str, Any], as_json: bool) -> None:
    """Print what a fit came to; exit with 130 if it was interrupted."""
    if as_json:
        print_json(facts)
    else:
        sounds = f"{facts['sounds']} sounds, " if "sounds" in facts else ""
        print(
            f"{facts['out']}: {sounds}{facts['frames']} frames, "
            f"PSNR {facts['psnr_db']:.1f} dB after {facts['epochs']} epochs"
        )
    if facts["stopped"]:
        complain(f"interrupted: {facts['out']} holds the terrain as far as it was learned")
        raise typer.Exit(INTERRUPTED)


def _instrument_facts(instrument: Instrument) -> dict[str, Any]:
    encoder: Autoencoder = instrument.autoencoder
    return {
        "autoencoder": encoder.name,
        "sample_rate": encoder.sample_rate,
        "channels": encoder.channels,
        "latent_size": encoder.latent_size,
        "hop": encoder.hop,
        "frame_rate": encoder.sample_rate / encoder.hop,
        **_playing_facts(encoder),
        "sound_map": len(instrument.sound_map) if instrument.sound_map is not None else 0,
        "presets": sorted(instrument.presets),
        "metadata": instrument.metadata,
        **_explorer_facts(instrument),
    }


def _explorer_facts(instrument: Instrument) -> dict[str, Any]:
    explorer = instrument.explorer
    if explorer is None:
        return {}
    return {
        "sounds": len(explorer.collection),
        "map_by": explorer.by,
        "map_method": explorer.projection.method if explorer.projection is not None else None,
        "kept": explorer.presets.names,
        "attributes": list(explorer.attributes),
        "pins": [pin.name for pin in explorer.pins],
    }


def _playing_facts(autoencoder: Autoencoder) -> dict[str, Any]:
    from terrain_core.autoencoders import OnnxAutoencoder
    from terrain_core.autoencoders.nn_tilde import NnTildeAutoencoder

    if not isinstance(autoencoder, (OnnxAutoencoder, NnTildeAutoencoder)):
        return {}
    return {key: _autoencoder_facts(autoencoder)[key] for key in ("runtime", "family", "delay_samples")}


def _cores() -> int:
    return os.cpu_count() or 1
