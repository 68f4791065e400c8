"""A checkpoint to ONNX graphs, checked against the original on the spot."""

from __future__ import annotations

import io
import json
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from terrain_core.autoencoders.codecs import EXTRAS, Checkpoint, CodecConversion
from terrain_core.autoencoders.codecs.models_torch import Codec, open_model
from terrain_core.autoencoders.codecs.walk_torch import StreamedGraph
from terrain_core.autoencoders.onnx_autoencoder import AUDIO, CARD, DECODER, ENCODER, Card, OnnxAutoencoder
from terrain_core.errors import FileError, InputError, TerrainError

MOST_ERROR = 1e-6
"""Of the loudest sample: float32 rounding, in another order."""
MOST_ROUNDING = 1e-4
"""The original's own float32 rounding may be coarser: then the graph may differ by four times as much as the original
differs from itself in double precision, as long as that is no more than this."""
MOST_LATENT_ERROR = 1e-4
"""Of the largest latent, as for RAVE: nobody hears a latent's last digits."""
BEYOND = 24
"""Frames that are compared where both are whole."""
BLOCKS = (1, 2, 3, 5, 8)
"""The check streams in blocks of these sizes, one after the other."""
SPEED_TURNS = 12


def convert(checkpoint: Checkpoint, name: str, codebooks: int) -> CodecConversion:
    """See `codecs.convert`."""
    codec = load(checkpoint, codebooks)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracing exporter: that it is the older one, and that shapes are fixed
        return _convert(codec, checkpoint, name)


def load(checkpoint: Checkpoint, codebooks: int = 0) -> Codec:
    """A checkpoint's model.

    Raises:
        InputError: a package is not installed, or it has not that many codebooks.
        FileError: the weights cannot be read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about how others spell weight norm
            codec = _open(checkpoint, codebooks)
    except ImportError as error:
        extra = EXTRAS[checkpoint.kind]
        raise InputError(
            f"a {checkpoint.kind} needs the package {error.name}: pip install 'latent-terrain[{extra}]'"
        ) from None
    except NotImplementedError as error:
        raise FileError(checkpoint.folder, f"cannot be converted: it has {error}") from None
    except TerrainError:
        raise
    except Exception as error:  # what the packages raise about damaged files is of many kinds
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise FileError(checkpoint.folder, f"is not a whole {checkpoint.kind} checkpoint ({reason})") from None
    most = codec.most_codebooks
    if codebooks > most:
        raise InputError(f"{checkpoint.folder} has {most} codebooks, {codebooks} were asked for")
    return codec


def _open(checkpoint: Checkpoint, codebooks: int) -> Codec:
    if checkpoint.kind == "music2latent":
        from terrain_core.autoencoders.codecs.music2latent_torch import open_music2latent

        return open_music2latent(checkpoint.folder)
    return open_model(checkpoint.kind, checkpoint.folder, codebooks)


def _convert(codec: Codec, checkpoint: Checkpoint, name: str) -> CodecConversion:
    decoder, encoder = codec.decoder(), codec.encoder()
    latents, noise, audio = examples(codec)
    drawn = [noise[:2]] if codec.noise_per_frame else []
    decoder.measure([latents[:2], *drawn])
    encoder.measure([audio[:, : 2 * codec.hop]])
    graphs = {
        DECODER: export(decoder, {"latents": latents[:2], **({"noise": drawn[0]} if drawn else {})}, "audio"),
        ENCODER: export(encoder, {"audio": audio[:, : 2 * codec.hop]}, "latents"),
    }
    mean, std = codec.statistics()
    card = Card(
        name=name,
        sample_rate=codec.sample_rate,
        channels=codec.channels,
        latent_size=codec.latent_size,
        hop=codec.hop,
        delay=decoder.lag,
        latent_mean=tuple(mean.tolist()),
        latent_std=tuple(std.tolist()),
        noise_per_frame=codec.noise_per_frame,
        normals_per_frame=int(np.prod(codec.noise_per_frame)) if codec.noise_per_frame else 0,
        features=AUDIO,
        encoder_delay=encoder.lag,
        frames_per_call=codec.frames_per_call,
        licence=checkpoint.licence,
    )
    bundle = OnnxAutoencoder({CARD: b"", **graphs} | {CARD: card.to_bytes()}, str(checkpoint.folder))
    error, limit, seam = _check_decoder(codec, decoder, bundle, latents, noise)
    encoder_error, encoder_limit = _check_encoder(codec, encoder, bundle, audio)
    for what, found, most in (("decoder", error, limit), ("encoder", encoder_error, encoder_limit)):
        if not found <= most:
            raise FileError(
                checkpoint.folder,
                f"was converted, but the {what}'s graph differs from the original by {found:.1e} (at most {most:.1e})",
                hint="nothing was written",
            )
    eager, onnx = speeds(codec, decoder, bundle)
    notes = {
        "family": codec.family,
        "source": Path(checkpoint.folder).resolve().name,
        "error": error,
        "encoder_error": encoder_error,
        "checked_frames": len(latents),
        "settles_after_frames": codec.settles,
        "encoder_settles_after_frames": codec.encoder_settles,
        "codebooks": codec.codebooks,
        "latent_mean and latent_std": codec.statistics_from,
    }
    facts = {**asdict(card), "seam_error": seam, "notes": notes}
    bundle = OnnxAutoencoder({CARD: (json.dumps(facts, indent=1) + "\n").encode(), **graphs}, str(checkpoint.folder))
    return CodecConversion(bundle, codec.family, error, limit, encoder_error, codec.settles, len(latents), eager, onnx)


def examples(codec: Codec) -> tuple[Tensor, Tensor, Tensor]:
    """What a codec is checked with: latents (n, D) and their noise, and audio (channels, n · hop), seeded."""
    frames = codec.checked_frames
    chance = torch.Generator().manual_seed(0)
    mean, std = codec.statistics()
    latents = mean + std * torch.randn(frames, codec.latent_size, generator=chance)
    if codec.latents_from_zero:
        latents[:, -1].clamp_(min=0)
    noise = torch.randn(frames, *codec.noise_per_frame, generator=chance) if codec.noise_per_frame else torch.zeros(0)
    heard = codec.encoder_settles + 3 * codec.context + BEYOND
    if codec.encoder_is_ours:
        heard = codec.context + 2 + BEYOND // 2
    audio = 0.2 * torch.randn(
        codec.channels, max(heard, frames if not codec.context else 0) * codec.hop, generator=chance
    )
    return latents, noise, audio


def export(graph: StreamedGraph, inputs: dict[str, Tensor], output: str) -> bytes:
    """A graph's ONNX: the inputs and caches in, `output` and the next caches out."""
    caches = {f"cache_{i}": torch.zeros(shape) for i, shape in enumerate(graph.shapes)}
    axes: dict[str, dict[int, str]] = {name: {1 if name == "audio" else 0: "frames"} for name in inputs}
    axes[output] = {1 if output == "audio" else 0: "n"}
    data = io.BytesIO()
    torch.onnx.export(
        graph.eval(),
        (*inputs.values(), *caches.values()),
        data,  # type: ignore[arg-type]  # the tracing exporter writes into any file
        input_names=[*inputs, *caches],
        output_names=[output, *(f"{name}_out" for name in caches)],
        dynamic_axes=axes,
        opset_version=17,
        dynamo=False,
    )
    return data.getvalue()


def blocks(length: int, sizes: Sequence[int] = BLOCKS) -> Iterator[slice]:
    """Cut a length into blocks of these sizes, in turn."""
    start = number = 0
    while start < length:
        size = sizes[number % len(sizes)]
        yield slice(start, min(start + size, length))
        start, number = start + size, number + 1


def streamed(bundle: OnnxAutoencoder, latents: Tensor, noise: Tensor) -> np.ndarray[Any, Any]:
    """What the decoder's graph makes of latents in uneven blocks, with this noise: (channels, samples)."""
    stream = bundle.stream()
    if len(noise):
        stream.draw_from(noise.numpy())
    return np.concatenate([stream.decode(latents[part].numpy()) for part in blocks(len(latents))], axis=1)


def walked(graph: StreamedGraph, latents: Tensor, noise: Tensor) -> Tensor:
    """The same by torch, in the same blocks."""
    caches, parts = graph.empty(latents.dtype), []
    for part in blocks(len(latents)):
        audio, *caches = graph(latents[part], *([noise[part]] if len(noise) else []), *caches)
        parts.append(audio)
    return torch.cat(parts, 1)


def _check_decoder(
    codec: Codec, graph: StreamedGraph, bundle: OnnxAutoencoder, latents: Tensor, noise: Tensor
) -> tuple[float, float, float]:
    """Error, limit, and seam error; each of the loudest sample."""
    played = streamed(bundle, latents, noise)
    original = codec.decode_with(latents, noise)
    heard = _heard(codec, graph.lag, len(latents))
    peak = float(original.abs().max())
    apart = _compared(played, original, graph.lag, heard)
    if codec.settles is None:
        ours = walked(graph, latents, noise)
        error = _largest(torch.from_numpy(played) - ours) / max(float(ours.abs().max()), 1e-9)
        if codec.most_error is not None:
            return error, codec.most_error, apart / peak
        there = codec.double().decoder()
        there.measure([latents[:2].double(), *([noise[:2].double()] if len(noise) else [])])
        limit = _limit(
            error, lambda: _largest(walked(there, latents.double(), noise.double()) - ours) / float(ours.abs().max())
        )
        return error, limit, apart / peak
    error = apart / peak
    return error, _limit(error, lambda: _largest(codec.double().decode(latents.double()) - original) / peak), 0.0


def _heard(codec: Codec, lag: int, frames: int) -> slice:
    """Samples of the original where a stream can be compared: after it has settled, before the end is missing."""
    first = codec.settles if codec.settles is not None else codec.compared_from
    return slice(first * codec.hop, frames * codec.hop - max(lag, codec.context * codec.hop))


def _compared(played: np.ndarray[Any, Any], original: Tensor, lag: int, heard: slice) -> float:
    here = torch.from_numpy(played[:, lag:])[:, heard]
    there = original[:, heard]
    length = min(here.shape[1], there.shape[1])
    assert length > 0
    return _largest(here[:, :length] - there[:, :length])


def _check_encoder(codec: Codec, graph: StreamedGraph, bundle: OnnxAutoencoder, audio: Tensor) -> tuple[float, float]:
    early = graph.lag // codec.hop
    frames = audio.shape[1] // codec.hop
    stream = bundle.stream_encoder()
    cut = [slice(part.start * codec.hop, part.stop * codec.hop) for part in blocks(frames)]
    got = np.concatenate([stream.encode(audio[:, part].numpy()) for part in cut])
    assert len(got) == frames - early
    first = 0
    exact: Callable[[], Tensor]
    if codec.encoder_is_ours:
        # What the windows see is not what the whole sound would give: the graph is held against our own torch.
        def ours(graph: StreamedGraph, audio: Tensor) -> Tensor:
            caches, parts = graph.empty(audio.dtype), []
            for part in cut:
                latents, *caches = graph(audio[:, part], *caches)
                parts.append(latents)
            return torch.cat(parts)[early:]

        original = ours(graph, audio)
        there = codec.double().encoder()
        exact = lambda: ours(_measured(there, audio[:, : 2 * codec.hop].double()), audio.double())  # noqa: E731
    else:
        original, first = codec.encode(audio)[: len(got)], codec.encoder_settles
        exact = lambda: codec.double().encode(audio.double())[: len(got)]  # noqa: E731
    peak = float(original.abs().max())
    error = _largest(torch.from_numpy(got[first:]) - original[first:]) / peak
    limit = MOST_LATENT_ERROR
    return error, limit if error <= limit else _limit(error, lambda: _largest(exact() - original) / peak)


def _measured(graph: StreamedGraph, example: Tensor) -> StreamedGraph:
    graph.measure([example])
    return graph


def _largest(difference: Tensor) -> float:
    assert difference.numel()
    value = float(difference.abs().max())
    return value if np.isfinite(value) else float("inf")


def _limit(error: float, rounding: Callable[[], float]) -> float:
    """What is allowed; the costly rounding is looked at only where it is needed."""
    if error <= MOST_ERROR:
        return MOST_ERROR
    own = rounding()
    return max(MOST_ERROR, 4 * own) if own <= MOST_ROUNDING else MOST_ERROR


def speeds(codec: Codec, graph: StreamedGraph, bundle: OnnxAutoencoder, frames: int = 1) -> tuple[float, float]:
    """Seconds for a block of frames on one thread, eager torch and ONNX, medians, in turn."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        latents, noise, _ = examples(codec)
        z, given = latents[:frames], [noise[:frames]] if len(noise) else []
        stream, caches = bundle.stream(), graph.empty()
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(SPEED_TURNS):
            began = time.perf_counter()
            _, *caches = graph(z, *given, *caches)
            between = time.perf_counter()
            stream.decode(z.numpy())
            times[0].append(between - began)
            times[1].append(time.perf_counter() - between)
    finally:
        torch.set_num_threads(threads)
    eager, onnx = (float(np.median(series[2:])) for series in times)
    return eager, onnx
