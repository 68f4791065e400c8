"""From a TorchScript of the nn~ convention to a bundle of ONNX graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from terrain_core.autoencoders import single_file
from terrain_core.autoencoders.nn_tilde.autoencoder import NnTildeAutoencoder
from terrain_core.autoencoders.onnx_autoencoder import AUDIO, CARD, DECODER, ENCODER, Card, OnnxAutoencoder
from terrain_core.errors import FileError
from terrain_core.safe_write import replacing

FILES: dict[str, Callable[[OnnxAutoencoder], bytes]] = {
    ".zip": OnnxAutoencoder.to_bytes,
    single_file.SUFFIX: single_file.write,
}
"""What a bundle can be written as, beside a folder."""
FRAMES_PER_BATCH = 16
"""Of a conversion: three to nine times cheaper a frame than one by one, and 64 hardly any more."""


@dataclass(frozen=True)
class Conversion:
    """A converted model.

    Attributes:
        bundle: plays as it is; `save` writes it.
        error: the largest difference from the original, of full scale, over `checked_frames` streamed frames.
        limit: what was allowed: 1e-6, or twice the original's own rounding where that is coarser (`convert_torch`).
        encoder_error: of the largest latent; None if there is no encoder in the bundle.
        no_encoder: why there is none; empty if there is.
        torchscript_seconds, onnx_seconds: for one frame on one thread, medians, measured in turn.
    """

    bundle: OnnxAutoencoder
    family: str
    error: float
    limit: float
    encoder_error: float | None
    no_encoder: str
    checked_frames: int
    torchscript_seconds: float
    onnx_seconds: float


def convert(model: NnTildeAutoencoder) -> Conversion:
    """Rebuild an opened model as ONNX graphs and check them against it, in its process.

    Raises:
        FileError: it has a part that is not known, or the graphs differ from it; the text says which or how much.
    """
    facts, graphs = model.convert()
    try:
        noise_values = int(facts["normals"]) + int(facts["uniforms"])
        card = Card(
            name=model.name,
            sample_rate=model.sample_rate,
            channels=model.channels,
            latent_size=model.latent_size,
            hop=model.hop,
            delay=model.delay,
            latent_mean=tuple(float(x) for x in model.latent_mean),
            latent_std=tuple(float(x) for x in model.latent_std),
            noise_per_frame=(noise_values,) if noise_values else (),
            normals_per_frame=int(facts["normals"]),
            features=AUDIO if len(graphs) > 1 else "",
            encoder_delay=model.encoder_lag * model.hop if len(graphs) > 1 else 0,
            frames_per_call=1,
            notes=_notes(model, facts),
        )
        files = {CARD: card.to_bytes(), **dict(zip((DECODER, ENCODER), graphs))}  # noqa: B905  # there may be no encoder
        return Conversion(
            bundle=with_batches(OnnxAutoencoder(files, model.path), float(facts["limit"])),
            family=model.family,
            error=float(facts["error"]),
            limit=float(facts["limit"]),
            encoder_error=float(facts["encoder_error"]) if len(graphs) > 1 else None,
            no_encoder=str(facts.get("no_encoder", "")),
            checked_frames=int(facts["checked_frames"]),
            torchscript_seconds=float(facts["torchscript_seconds"]),
            onnx_seconds=float(facts["onnx_seconds"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, FileError):
            raise
        raise FileError(model.path, f"was converted in a way that makes no sense ({error})") from None


def with_batches(bundle: OnnxAutoencoder, limit: float) -> OnnxAutoencoder:
    """The bundle, decoding many frames a call where nobody waits, if that is the same sound up to `limit`."""
    card = replace(bundle.card, frames_per_batch=FRAMES_PER_BATCH)
    batched = OnnxAutoencoder({**bundle.files, CARD: card.to_bytes()}, bundle.path)
    steps = np.random.default_rng(0).normal(0, 1, (2 * FRAMES_PER_BATCH + 5, card.latent_size))
    latents = (bundle.latent_mean + bundle.latent_std * steps).astype(np.float32)
    apart = np.abs(batched.decode(latents) - bundle.stream().decode(latents)).max()
    return batched if apart <= limit else bundle


def _notes(model: NnTildeAutoencoder, facts: dict[str, Any]) -> dict[str, Any]:
    return {
        "family": model.family,
        "source": Path(model.path).name,
        "source_sha256": model.sha256,
        "error": float(facts["error"]),
        "checked_frames": int(facts["checked_frames"]),
        "parameters": int(model.facts["parameters"]),
        "delay": "half of the energy that a frame's change makes has come by the frame's middle plus this",
        "latent_mean and latent_std": "by construction, not measured on any sounds",
    }


def check_place(path: str | Path) -> None:
    """Whether a bundle can be written there.

    Raises:
        FileError: the name is none of a bundle, or the place is taken by something else.
    """
    path = Path(path)
    if path.suffix.lower() in FILES:
        return
    if path.suffix:
        raise FileError(
            path, f"ends in {path.suffix}", hint=f"name a folder, or a file that ends in {' or '.join(FILES)}"
        )
    if path.exists() and not (path.is_dir() and ((path / CARD).exists() or not any(path.iterdir()))):
        raise FileError(path, "is there already, and is no autoencoder's bundle", hint="name another folder")


def save(bundle: OnnxAutoencoder, path: str | Path) -> Path:
    """Write a bundle: a zip file if the path ends in .zip, one ONNX file if it ends in .onnx, else a folder.

    Raises:
        FileError: as `check_place`, or it cannot be written.
    """
    path = Path(path)
    check_place(path)
    if path.suffix:
        with replacing(path) as beside:
            beside.write_bytes(FILES[path.suffix.lower()](bundle))
        return path
    try:
        path.mkdir(exist_ok=True)
        (path / ENCODER).unlink(missing_ok=True)
    except OSError as error:
        raise FileError(path, f"could not be written: {error.strerror or error}") from error
    for name, data in _members(bundle):
        with replacing(path / name) as beside:
            beside.write_bytes(data)
    return path


def _members(bundle: OnnxAutoencoder) -> Iterator[tuple[str, bytes]]:
    """The card last: a folder without one is no bundle."""
    return iter(sorted(bundle.files.items(), key=lambda item: item[0] == CARD))
