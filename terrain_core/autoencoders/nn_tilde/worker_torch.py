"""The process that a TorchScript model of the nn~ convention lives in: `python -m …nn_tilde.worker_torch`.

Requests come through stdin, answers go through stdout, see `messages`; `process` is the other end. Whatever the model
itself prints goes to stderr.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from terrain_core.autoencoders import noise
from terrain_core.autoencoders.nn_tilde import rave_torch
from terrain_core.autoencoders.nn_tilde.messages import Arrays, RefusedError, pack, unpack

CACHES = (".pad", ".cache")
"""How the buffers that carry a stream's past end, in cached_conv."""
LARGEST_BLOCK = 8192
"""Samples: models that want more at once than this are refused."""
SMALLEST_HOP = 64
"""Samples: what is decoded at once at the least, since each call costs some 0.1 ms."""
PROBE_SAMPLES = 1 << 17
FAILURES = (RuntimeError, torch.jit.Error)
"""What a model's method may raise."""
CODES = {0: "bool", 1: "int", 2: "float", 3: "str", 4: "tensor", 5: "buffer"}


class Model:
    """A loaded model, its methods, its attributes, and the state of any number of streams."""

    def __init__(self, path: str, sample_rate: int | None) -> None:
        try:
            self.module: Any = torch.jit.load(  # type: ignore[no-untyped-call]
                path, map_location="cpu"
            ).eval()
        except (RuntimeError, OSError, ValueError) as error:
            lines = [line for line in str(error).splitlines() if line.strip()]
            raise RefusedError(
                f"is not a TorchScript that can be loaded ({lines[0][:200] if lines else type(error).__name__})"
            ) from None
        # Read before anybody calls set_sample_rate, after which it would be the host's.
        own = getattr(self.module, "sr", None)
        own = int(own) if isinstance(own, (int, float)) and own > 0 else None
        self.states_rate = own is not None
        if own is None and sample_rate is None:
            raise RefusedError("does not say its sample rate", "name it: --sample-rate 44100")
        if own is not None and sample_rate is not None and own != sample_rate:
            raise RefusedError(f"says that its sample rate is {own} Hz, not {sample_rate}", "leave --sample-rate out")
        self.sample_rate = own or int(sample_rate or 0)
        self.attributes = self._attributes()
        self.methods = self._methods()
        if "decode" not in self.methods:
            listed = ", ".join(self.methods) or "none"
            raise RefusedError(f"has no method decode: its methods are {listed}", "expected an nn~ autoencoder")
        self.latent_size, self.ratio, self.channels, self.out_ratio = self.methods["decode"]
        if self.ratio % self.out_ratio:
            raise RefusedError(f"decodes at ratio {self.ratio} to audio at ratio {self.out_ratio}")
        self.memory: list[tuple[Tensor, Tensor]] = []  # what a run changes, and how it was before
        self.caches = [buffer for name, buffer in self.module.named_buffers() if name.endswith(CACHES)]
        self.rows = max([1, self.channels, *(method[0] for name, method in self.methods.items() if name == "encode")])
        self.block = self._probe()
        self.hop = self.ratio * self.block
        self._streams: dict[int, list[Tensor]] = {}
        self._playing: int | None = None

    def _methods(self) -> dict[str, tuple[int, ...]]:
        """Name -> in channels, in ratio, out channels, out ratio."""
        if hasattr(self.module, "get_methods"):
            names = [str(name) for name in self.module.get_methods()]
        else:  # exports from before there was a list
            buffers = [name for name, _ in self.module.named_buffers() if name.endswith("_params") and "." not in name]
            names = [name.removesuffix("_params") for name in buffers]
            names = [name for name in names if hasattr(self.module, name) and name not in self.attributes]
        methods: dict[str, tuple[int, ...]] = {}
        for name in names:
            numbers = getattr(self.module, f"{name}_params", None)
            values = tuple(int(n) for n in numbers) if isinstance(numbers, Tensor) else ()
            if len(values) != 4 or min(values) < 1 or max(values) > 1 << 20:
                raise RefusedError(f"states {name}_params as {list(values)}: expected four positive numbers")
            methods[name] = values
        return methods

    def _attributes(self) -> dict[str, list[str]]:
        """Name -> types of its values."""
        if not hasattr(self.module, "get_attributes"):
            return {}
        found = {}
        for name in self.module.get_attributes():
            codes = getattr(self.module, f"{name}_params", None)
            if name != "none" and isinstance(codes, Tensor):  # "none" held the place in old exports
                found[str(name)] = [CODES.get(int(code), "unknown") for code in codes.reshape(-1)]
        return found

    def labels(self, method: str, side: str) -> list[str]:
        listed = getattr(self.module, f"{method}_{side}_labels", None)
        return [str(label) for label in listed] if isinstance(listed, (list, tuple)) else []

    def get_attribute(self, name: str) -> list[Any]:
        if name not in self.attributes:
            raise RefusedError(f"has no attribute {name!r}: it has {', '.join(self.attributes) or 'none'}")
        values = getattr(self.module, f"get_{name}")()
        values = values if isinstance(values, (list, tuple)) else (values,)
        return [value if isinstance(value, (bool, int, float, str)) else str(value) for value in values]

    def set_attribute(self, name: str, values: list[Any]) -> None:
        now = self.get_attribute(name)
        if len(values) != len(now):
            raise RefusedError(f"attribute {name!r} has {len(now)} values ({now}), not {len(values)}")
        kinds = {"bool": bool, "int": int, "float": float, "str": str}
        types = self.attributes[name]
        try:
            cast = [kinds[kind](value) for kind, value in zip(types, values, strict=True)]
            code = getattr(self.module, f"set_{name}")(*cast)
        except (KeyError, ValueError, TypeError, *FAILURES) as error:
            raise RefusedError(f"attribute {name!r} ({', '.join(types)}) does not take {values} ({error})") from None
        if code:
            raise RefusedError(f"attribute {name!r} does not take {values} (it answered {code})")

    def _probe(self) -> int:
        """How many latent frames must be decoded at once at the least; also finds what a run changes."""
        known = {id(cache) for cache in self.caches}
        others = [b for _, b in self.module.named_buffers() if id(b) not in known]
        before = [buffer.clone() for buffer in others]
        for cache in self.caches:
            cache.zero_()
        problem, block = "", 1
        while self.ratio * block < SMALLEST_HOP:
            block *= 2
        while self.ratio * block <= max(LARGEST_BLOCK, self.ratio):
            problem = self._problem(block) or self._problem(4 * block)
            if not problem:
                break
            block *= 2
        else:
            raise RefusedError(f"its decode failed at every block up to {LARGEST_BLOCK} samples ({problem})")
        if "encode" in self.methods:
            channels, _, size, _ = self.methods["encode"]
            try:
                self.module.encode(torch.linspace(-1, 1, channels * self.ratio * block).reshape(1, channels, -1))
            except FAILURES:
                del self.methods["encode"]
            else:
                if size != self.latent_size:
                    del self.methods["encode"]
        self.memory = [(b, clean) for b, clean in zip(others, before, strict=True) if not torch.equal(b, clean)]
        return block

    def _problem(self, frames: int) -> str:
        """What is wrong with decoding so many frames; empty if nothing is."""
        try:
            # Not zeros: they might leave unchanged what other latents change.
            z = torch.randn(1, self.latent_size, frames, generator=torch.Generator().manual_seed(0))
            y = self.module.decode(z)
        except FAILURES as error:
            return (str(error).strip().splitlines() or ["it failed"])[-1][:200]
        wanted = (1, self.channels, frames * self.ratio // self.out_ratio)
        if not isinstance(y, Tensor) or tuple(y.shape) != wanted or y.dtype != torch.float32:
            return f"it gave {tuple(y.shape)}, expected {wanted} float32"
        return "" if bool(torch.isfinite(y).all()) else "it gave values that are not finite"

    # Streams

    def clean(self) -> None:
        """Forget the past: every cache zero, whatever else changes as it was loaded."""
        for cache in self.caches:
            cache.zero_()
        for buffer, value in self.memory:
            buffer.copy_(value)
        self._playing = None

    def enter(self, stream: int, fresh: bool) -> None:
        """Make a stream the one that plays: its caches go in, those of the one before are kept."""
        if stream != self._playing:
            self.leave()
            self._playing = None
        if fresh or (stream != self._playing and stream not in self._streams):
            self.clean()
        elif stream != self._playing:
            kept = self._streams[stream]
            for cache, value in zip(self.caches, kept, strict=False):
                cache[: self.rows] = value
            for (buffer, _), value in zip(self.memory, kept[len(self.caches) :], strict=True):
                buffer.copy_(value)
        self._playing = stream

    def leave(self) -> None:
        if self._playing is not None:
            caches = [cache[: self.rows].clone() for cache in self.caches]
            self._streams[self._playing] = caches + [buffer.clone() for buffer, _ in self.memory]

    def drop(self, stream: int) -> None:
        self._streams.pop(stream, None)
        if self._playing == stream:
            self._playing = None

    def decode(self, latents: Tensor, seed: int, first: int) -> Tensor:
        """(frames, D) -> (channels, frames * hop). Frame by frame, each with draws of its own number, so that no
        cutting makes a difference.
        """
        parts = []
        for k in range(len(latents)):
            torch.manual_seed(noise.torch_seed(seed, first + k))
            parts.append(self.decode_block(latents[k].reshape(1, -1, 1).repeat_interleave(self.block, 2)))
        return torch.cat(parts, 1) if parts else torch.zeros(self.channels, 0)

    def decode_block(self, z: Tensor) -> Tensor:
        """(1, D, n) -> (channels, n * ratio)"""
        y: Tensor = self.module.decode(z)[0]
        return y.repeat_interleave(self.out_ratio, 1) if self.out_ratio > 1 else y

    def encode(self, audio: Tensor) -> Tensor:
        """(channels, frames * hop) -> (frames, D): of each block the last latents, of a distribution the mean where the
        model is a RAVE we know.
        """
        rows = []
        for piece in torch.split(audio, self.hop, 1):
            torch.manual_seed(0)
            if rave_torch.family_of(self.module) == "variational":
                z = variational_mean(self.module, network_output(self.module, piece[None]))
            else:
                z = self.module.encode(piece[None])
            rows.append(z[0, :, -1:].T)
        return torch.cat(rows) if rows else torch.zeros(0, self.latent_size)


def network_output(module: Any, x: Tensor) -> Tensor:
    """What a RAVE's encoder network makes of audio (1, channels, samples), before dice, codes or angles."""
    if getattr(module, "resampler", None) is not None:
        x = module.resampler.to_model_sampling_rate(x)
    if getattr(module, "input_mode", "pqmf") == "pqmf":
        x = module.pqmf(x.reshape(-1, 1, x.shape[-1])).reshape(1, -1, x.shape[-1] // int(module.pqmf.n_band))
    elif module.input_mode == "mel":
        x = torch.log1p(module.spectrogram(x)[..., :-1]).reshape(1, -1, x.shape[-1])
    return module.encoder(x)  # type: ignore[no-any-return]


def variational_mean(module: Any, z: Tensor) -> Tensor:
    """What `encode` gives without its dice, (1, D, frames), of its network's output."""
    mean = z.chunk(2, 1)[0] - module.latent_mean[:, None]
    return torch.nn.functional.conv1d(mean, module.latent_pca[:, :, None])[:, : int(module.decode_params[0])]


# Measuring


def statistics(model: Model) -> tuple[list[float], list[float]]:
    """Mean and standard deviation that latents of this kind have by construction, (D,) each."""
    family, size = rave_torch.family_of(model.module), model.latent_size
    if family == "discrete":  # numbers of codes
        codes = int(next(iter(model.module.encoder.rvq.layers.children())).codebook_size)
        return [(codes - 1) / 2] * size, [codes / 12**0.5] * size
    if family == "spherical":  # angles, -1..1
        return [0.0] * size, [3**-0.5] * size
    return [0.0] * size, [1.0] * size


def decoder_delay(model: Model) -> int:
    """Samples by which the decoder is late: of the energy that one frame's change makes, half has come by the middle of
    the frame plus this delay.
    """
    mean, std = (torch.tensor(values) for values in statistics(model))
    frames = max(32, PROBE_SAMPLES // model.hop // 2)
    at = frames // 4
    generator = torch.Generator().manual_seed(1)

    def response(z: Tensor) -> Tensor:
        model.clean()
        torch.manual_seed(0)
        return model.decode_block(z.T[None].repeat_interleave(model.block, 2))

    energy = torch.zeros(frames * model.hop, dtype=torch.float64)
    for _ in range(3):
        z = mean + std * torch.randn(frames, model.latent_size, generator=generator)
        changed = z.clone()
        changed[at] = mean + std * torch.randn(model.latent_size, generator=generator)
        energy += (response(changed) - response(z)).double().pow(2).sum(0)
    model.clean()
    total = energy.cumsum(0)
    if not float(total[-1]) > 0:
        return 0
    half = int(torch.searchsorted(total, total[-1] / 2))
    return max(0, half - at * model.hop - model.hop // 2)


def encoder_lag(model: Model) -> int:
    """Frames by which the encoder is late: of the change that one frame of sound makes, half has come by then."""
    known = bool(rave_torch.family_of(model.module))
    frames, at = max(32, PROBE_SAMPLES // model.hop // 2), 8
    frames = min(frames, 256)
    generator = torch.Generator().manual_seed(1)
    channels = model.methods["encode"][0]
    energy = torch.zeros(frames, dtype=torch.float64)
    for _ in range(2):
        audio = 0.1 * torch.randn(channels, frames * model.hop, generator=generator)
        changed = audio.clone()
        changed[:, at * model.hop : (at + 1) * model.hop] *= 3
        latents = []
        for sound in (audio, changed):
            model.clean()
            if known:  # codes and angles jump: look at what they are made of
                pieces = [network_output(model.module, piece[None])[0] for piece in torch.split(sound, model.hop, 1)]
                latents.append(torch.cat(pieces, 1).T)
            else:
                latents.append(model.encode(sound))
        energy += (latents[1] - latents[0]).double().pow(2).sum(1)
    model.clean()
    if not float(energy.sum()) > 0:
        return 0
    total = torch.cat([torch.zeros(1, dtype=torch.float64), energy.cumsum(0)])
    # Where half the energy lies, between the frames' edges, measured from the middle of the frame that changed.
    edge = int(torch.searchsorted(total, total[-1] / 2)) - 1
    half = edge + float((total[-1] / 2 - total[edge]) / (total[edge + 1] - total[edge]))
    return max(0, round(half - at - 0.5))


def seconds_per_frame(model: Model, turns: int = 30) -> float:
    """The median time for one frame."""
    model.clean()
    z = torch.zeros(1, model.latent_size)
    times = []
    for k in range(turns + 5):
        began = time.perf_counter()
        model.decode(z, 0, k)
        times.append(time.perf_counter() - began)
    model.clean()
    return float(np.median(times[5:]))


def describe(model: Model) -> dict[str, Any]:
    """What the other side is told about a model."""
    family = rave_torch.family_of(model.module)
    mean, std = statistics(model)
    return {
        "sample_rate": model.sample_rate,
        "states_sample_rate": model.states_rate,
        "channels": model.channels,
        "latent_size": model.latent_size,
        "ratio": model.ratio,
        "block_frames": model.block,
        "hop": model.hop,
        "delay": decoder_delay(model),
        "can_encode": "encode" in model.methods and model.methods["encode"][0] == model.channels,
        "encoder_lag": encoder_lag(model) if "encode" in model.methods else 0,
        "latent_mean": mean,
        "latent_std": std,
        "streaming": bool(model.caches or model.memory),
        "caches": len(model.caches),
        "family": f"RAVE {rave_torch.version_of(model.module)}, {family}" if family else "unknown",
        "class": str(model.module.original_name),
        "methods": {
            name: {
                **dict(zip(("in_channels", "in_ratio", "out_channels", "out_ratio"), numbers, strict=True)),
                "input_labels": model.labels(name, "input"),
                "output_labels": model.labels(name, "output"),
            }
            for name, numbers in model.methods.items()
        },
        "attributes": model.attributes,
        "parameters": sum(p.numel() for p in model.module.parameters()),
    }


# Requests


class Worker:
    """Answers requests: `{"do": name, ...}` and arrays in, facts and arrays out."""

    model: Model

    def answer(self, request: dict[str, Any], arrays: Arrays) -> tuple[dict[str, Any], Arrays]:
        doing: Callable[[dict[str, Any], Arrays], tuple[dict[str, Any], Arrays]] = getattr(self, f"do_{request['do']}")
        with torch.no_grad():
            return doing(request, arrays)

    def do_open(self, request: dict[str, Any], arrays: Arrays) -> tuple[dict[str, Any], Arrays]:
        self.model = Model(request["path"], request.get("sample_rate"))
        return describe(self.model), []

    def do_decode(self, request: dict[str, Any], arrays: Arrays) -> tuple[dict[str, Any], Arrays]:
        self.model.enter(int(request["stream"]), bool(request["fresh"]))
        audio = self.model.decode(torch.from_numpy(arrays[0]), int(request["seed"]), int(request["first"]))
        return {}, [audio.numpy()]

    def do_encode(self, request: dict[str, Any], arrays: Arrays) -> tuple[dict[str, Any], Arrays]:
        self.model.enter(int(request["stream"]), bool(request["fresh"]))
        return {}, [self.model.encode(torch.from_numpy(arrays[0])).contiguous().numpy()]

    def do_drop(self, request: dict[str, Any], arrays: Arrays) -> tuple[dict[str, Any], Arrays]:
        self.model.drop(int(request["stream"]))
        return {}, []

    def do_get(self, request: dict[str, Any], arrays: Arrays) -> tuple[dict[str, Any], Arrays]:
        return {"values": self.model.get_attribute(str(request["name"]))}, []

    def do_set(self, request: dict[str, Any], arrays: Arrays) -> tuple[dict[str, Any], Arrays]:
        self.model.set_attribute(str(request["name"]), list(request["values"]))
        return {}, []

    def do_speed(self, request: dict[str, Any], arrays: Arrays) -> tuple[dict[str, Any], Arrays]:
        return {"seconds_per_frame": seconds_per_frame(self.model)}, []

    def do_convert(self, request: dict[str, Any], arrays: Arrays) -> tuple[dict[str, Any], Arrays]:
        from terrain_core.autoencoders.nn_tilde import convert_torch

        facts, graphs = convert_torch.convert(self.model)
        return facts, [np.frombuffer(graph, np.uint8) for graph in graphs]


def main() -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)  # with others it rounds otherwise, and gains next to nothing at a frame's size
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the model prints is no answer
    worker = Worker()

    def read(size: int) -> bytes:
        data = requests.read(size)
        if len(data) < size:
            sys.exit(0)  # nobody asks any more
        return data

    while True:
        request, arrays = unpack(read)
        try:
            facts, found = worker.answer(request, arrays)
        except RefusedError as error:
            facts, found = {"failed": str(error), "hint": error.hint}, []
        except Exception as error:  # whatever a stranger's code raises: it is the asker's to know, and we go on
            last = (str(error).strip().splitlines() or [""])[-1]
            facts, found = {"failed": f"failed ({type(error).__name__}: {last[:300]})"}, []
        for part in pack(facts, found):
            answers.write(part)
        answers.flush()


if __name__ == "__main__":
    main()
