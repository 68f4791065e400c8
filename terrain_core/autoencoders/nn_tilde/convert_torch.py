"""A loaded RAVE to ONNX graphs, checked against the original on the spot. Runs in the model's own process."""

from __future__ import annotations

import copy
import io
import time
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from terrain_core.autoencoders import noise
from terrain_core.autoencoders.nn_tilde import rave_torch
from terrain_core.autoencoders.nn_tilde.messages import RefusedError
from terrain_core.autoencoders.runtime import ort

if TYPE_CHECKING:
    from terrain_core.autoencoders.nn_tilde.worker_torch import Model

CHECKED_FRAMES = 32
MOST_AUDIO_ERROR = 1e-6
"""Of full scale (1, or the loudest sample of the check where that is more): float32 rounding, in another order."""
MOST_ROUNDING = 1e-5
"""A large model's own float32 rounding may be coarser than that: then the graph may differ by twice as much as the
original differs from the same weights in double precision, as long as that is no more than this."""
MOST_LATENT_ERROR = 1e-4
"""Of the largest latent: the encoder's mean before and after."""
SPEED_TURNS = 40


def convert(model: Model) -> tuple[dict[str, Any], list[bytes]]:
    """The graphs, decoder first, and facts for the card: errors, both speeds, draws per frame.

    Raises:
        RefusedError: a part of the model is not known, or the graph differs from the original; the text says which part
        and how much.
    """
    try:
        decoder = rave_torch.DecoderGraph(model.module)
    except (rave_torch.UnknownModuleError, AttributeError) as error:
        raise RefusedError(
            f"cannot be converted: it has {error}", "it can be played as TorchScript all the same"
        ) from None
    if model.block != 1:
        raise RefusedError("cannot be converted: it decodes no single frames", "it can be played as TorchScript")
    draws = decoder.normals + decoder.uniforms
    inputs: dict[str, Tensor] = {"latents": torch.zeros(2, model.latent_size)}
    if draws:
        inputs["noise"] = torch.zeros(2, draws)
    graph = _export(decoder, inputs, decoder.shapes, "audio", 1, noisy=bool(draws))
    facts, seconds = _check_decoder(model, decoder, graph)
    if not facts["error"] <= facts["limit"]:
        raise RefusedError(
            f"was converted, but the graph differs from the original by {facts['error']:.1e} of full scale "
            f"(at most {facts['limit']:.1e})",
            "nothing was written; it can be played as TorchScript all the same",
        )
    facts |= {"normals": decoder.normals, "uniforms": decoder.uniforms, **seconds}
    graphs = [graph]
    try:
        encoder_graph, encoder_error = _encoder(model)
        graphs.append(encoder_graph)
        facts["encoder_error"] = encoder_error
    except (rave_torch.UnknownModuleError, AttributeError) as reason:
        facts["no_encoder"] = f"it has {reason}"
    return facts, graphs


class _Positional(nn.Module):
    """The tracer passes inputs by position: latents, perhaps noise, caches."""

    def __init__(self, graph: nn.Module, noisy: bool) -> None:
        super().__init__()
        self.graph, self.noisy = graph, noisy

    def forward(self, first: Tensor, *others: Tensor) -> Any:
        if isinstance(self.graph, rave_torch.DecoderGraph) and not self.noisy:
            return self.graph(first, torch.zeros(1, 0), *others)
        return self.graph(first, *others)


def _export(
    graph: nn.Module,
    inputs: dict[str, Tensor],
    shapes: list[tuple[int, int, int]],
    output: str,
    output_axis: int,
    *,
    noisy: bool,
) -> bytes:
    caches = {f"cache_{i}": torch.zeros(shape) for i, shape in enumerate(shapes)}
    axes = {name: {1 if name == "audio" else 0: "frames"} for name in inputs}
    data = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the tracing exporter is the older one, and that shapes are constants
        torch.onnx.export(
            _Positional(graph, noisy).eval(),
            (*inputs.values(), *caches.values()),
            data,  # type: ignore[arg-type]  # the tracing exporter writes into any file
            input_names=[*inputs, *caches],
            output_names=[output, *(f"{name}_out" for name in caches)],
            dynamic_axes={**axes, output: {output_axis: "n"}},
            opset_version=17,
            dynamo=False,
        )
    return data.getvalue()


def _session(graph: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _check_decoder(
    model: Model, decoder: rave_torch.DecoderGraph, graph: bytes
) -> tuple[dict[str, Any], dict[str, float]]:
    """The largest difference over a stream of frames in which both draw the same, and both speeds, in turn."""
    from terrain_core.autoencoders.nn_tilde.worker_torch import statistics

    session = _session(graph)
    caches = {f"cache_{i}": np.zeros(shape, np.float32) for i, shape in enumerate(decoder.shapes)}
    mean, std = (np.array(values, np.float32) for values in statistics(model))
    chance = np.random.default_rng(0)
    worst, peak = 0.0, 1.0
    given: tuple[list[Tensor], list[Tensor], list[Tensor]] = ([], [], [])
    times: tuple[list[float], list[float]] = ([], [])
    model.clean()
    for k in range(CHECKED_FRAMES + SPEED_TURNS):
        latents = (mean + std * chance.standard_normal((1, model.latent_size))).astype(np.float32)
        z = torch.from_numpy(latents).T[None]
        torch.manual_seed(noise.torch_seed(0, k))
        began = time.perf_counter()
        expected = model.decode_block(z)
        times[0].append(time.perf_counter() - began)
        feed: dict[str, Any] = {"latents": latents, **caches}
        if decoder.normals + decoder.uniforms:
            feed["noise"] = _draws(decoder, noise.torch_seed(0, k)).numpy()
        if k < CHECKED_FRAMES:
            drawn = torch.from_numpy(feed["noise"]) if "noise" in feed else torch.zeros(1, 0)
            for series, value in zip(given, (torch.from_numpy(latents), drawn, expected), strict=True):
                series.append(value)
        began = time.perf_counter()
        audio, *after = session.run(None, feed)
        times[1].append(time.perf_counter() - began)
        caches = dict(zip(caches, after, strict=True))
        if k < CHECKED_FRAMES:
            if audio.shape != tuple(expected.shape) or not np.isfinite(audio).all():
                return {"error": float("inf"), "limit": MOST_AUDIO_ERROR, "checked_frames": k + 1}, {}
            worst = max(worst, float(np.abs(audio - expected.numpy()).max()))
            peak = max(peak, float(expected.abs().max()))
    model.clean()
    torchscript, onnx = (float(np.median(series[CHECKED_FRAMES:])) for series in times)
    limit = MOST_AUDIO_ERROR
    if worst / peak > limit:
        rounding = _rounding(decoder, given) / peak
        limit = max(limit, 2 * rounding) if rounding <= MOST_ROUNDING else limit
    return {"error": worst / peak, "limit": limit, "checked_frames": CHECKED_FRAMES}, {
        "torchscript_seconds": torchscript,
        "onnx_seconds": onnx,
    }


def _rounding(decoder: rave_torch.DecoderGraph, given: tuple[list[Tensor], list[Tensor], list[Tensor]]) -> float:
    """How far the original's audio is from the same weights in double precision, of 1."""
    exact = copy.deepcopy(decoder).double()
    latents, drawn, expected = (torch.cat(series, axis) for series, axis in zip(given, (0, 0, 1), strict=True))
    audio = exact(latents.double(), drawn.double(), *(torch.zeros(s, dtype=torch.float64) for s in decoder.shapes))[0]
    return float((audio - expected).abs().max())


def _draws(decoder: rave_torch.DecoderGraph, seed: int) -> Tensor:
    """(1, draws): what the original draws for one frame after it was seeded so, in its order."""
    torch.manual_seed(seed)
    parts = [torch.randn(decoder.normals)] if decoder.normals else []
    if decoder.uniforms:
        parts.append(torch.rand(decoder.uniforms))
    return torch.cat(parts)[None]


def _encoder(model: Model) -> tuple[bytes, float]:
    """The encoder's graph, and its largest difference from the original, of the largest latent.

    Raises:
        UnknownModuleError: it has none that can be rebuilt, or it differs too much.
    """
    if "encode" not in model.methods:
        raise rave_torch.UnknownModuleError("no method encode")
    encoder = rave_torch.EncoderGraph(model.module)
    graph = _export(
        encoder, {"audio": torch.zeros(encoder.channels, 2 * model.hop)}, encoder.shapes, "latents", 0, noisy=False
    )
    session = _session(graph)
    caches = {f"cache_{i}": np.zeros(shape, np.float32) for i, shape in enumerate(encoder.shapes)}
    chance = np.random.default_rng(1)
    worst = peak = 0.0
    model.clean()
    for _ in range(CHECKED_FRAMES):
        audio = (0.3 * chance.standard_normal((encoder.channels, model.hop))).astype(np.float32)
        expected = model.encode(torch.from_numpy(audio)).numpy()
        latents, *after = session.run(None, {"audio": audio, **caches})
        caches = dict(zip(caches, after, strict=True))
        worst = max(worst, float(np.abs(latents - expected).max()))
        peak = max(peak, float(np.abs(expected).max()))
    model.clean()
    error = worst / peak if peak else worst
    if not error <= MOST_LATENT_ERROR:
        raise rave_torch.UnknownModuleError(f"an encoder that comes out differently, by {error:.1e} of a latent")
    return graph, error
