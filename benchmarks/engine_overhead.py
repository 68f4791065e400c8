"""What the engine costs beyond the decoder it plays: engine time over the bare ONNX decoder call, in block and in batch
mode.

The decoder has the size and shape of RAVE v2 (16 bands, 2048 samples a frame, some ten million weights, streaming
caches in and out as tensors); its weights are random. Goal: at most 1.05 in both modes.

Times are wall-clock times in short turns of both contestants, medians over the turns: other work on the machine
disturbs both alike. (Processor time would count the decoder's idle threads, which spin.) Both decode latents of the
same kind: on zeros a decoder runs faster than on sound.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from benchmarks._numbers import note
from terrain_core.autoencoders import OnnxAutoencoder
from terrain_core.engine import Block, Engine, ParameterPoint, render_batch
from terrain_core.instrument import Instrument
from terrain_core.lanes import Lane
from terrain_core.parameters import by_key
from terrain_core.tempo import TempoMap
from terrain_core.terrain import Terrain

GOAL = 1.05
SAMPLE_RATE = 44100
HOP = 2048
LATENTS = 8
BANDS = 16
STAGES = ((1280, 4), (768, 4), (384, 4), (160, 2))
"""Channels of each stage, and by what factor it goes on to the next; 4 * 4 * 4 * 2 * 16 bands = 2048 samples."""
DILATIONS = (1, 3, 9)
BLOCK = 512


class DecoderGraph:
    """Puts together a streaming convolutional decoder, node by node; every causal convolution has its cache."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.states: list[tuple[str, str, list[int]]] = []  # input name, output name, shape
        self._count = 0

    def name(self, what: str) -> str:
        self._count += 1
        return f"{what}_{self._count}"

    def add(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        output = self.name(kind.lower())
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(self, value: NDArray[Any]) -> str:
        name = self.name("constant")
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def weight(self, *shape: int) -> str:
        return self.constant((self._rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32))

    def conv(self, x: str, channels_in: int, channels_out: int, kernel: int, dilation: int = 1) -> str:
        past = (kernel - 1) * dilation
        cache, cache_out = self.name("cache"), self.name("cache_out")
        joined = self.add("Concat", [cache, x], axis=2)
        ends = [self.constant(np.array([value], np.int64)) for value in (-past, 2**31, 2)]
        self.nodes.append(helper.make_node("Slice", [joined, *ends], [cache_out]))
        self.states.append((cache, cache_out, [1, channels_in, past]))
        return self.add("Conv", [joined, self.weight(channels_out, channels_in, kernel)], dilations=[dilation])

    def model(self) -> onnx.ModelProto:
        x = self.add("Unsqueeze", [self.add("Transpose", ["latents"]), self.constant(np.array([0], np.int64))])
        x = self.conv(x, LATENTS, STAGES[0][0], 5)
        for (channels, factor), (following, _) in zip(STAGES, [*STAGES[1:], (64, 1)], strict=True):
            x = self.add("LeakyRelu", [x], alpha=0.2)
            x = self.add("ConvTranspose", [x, self.weight(channels, following, factor)], strides=[factor])
            for dilation in DILATIONS:
                inner = self.conv(self.add("LeakyRelu", [x], alpha=0.2), following, following, 3, dilation)
                x = self.add("Add", [x, inner])
        x = self.add("Tanh", [self.conv(x, 64, BANDS, 5)])
        x = self.add("Transpose", [x], perm=[0, 2, 1])
        self.nodes.append(helper.make_node("Reshape", [x, self.constant(np.array([1, -1], np.int64))], ["audio"]))
        return helper.make_model(self._graph(), opset_imports=[helper.make_opsetid("", 17)], ir_version=9)

    def _graph(self) -> onnx.GraphProto:
        def tensor(name: str, shape: list[Any]) -> onnx.ValueInfoProto:
            return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

        inputs = [tensor("latents", ["frames", LATENTS]), *(tensor(name, shape) for name, _, shape in self.states)]
        outputs = [tensor("audio", [1, "samples"]), *(tensor(name, shape) for _, name, shape in self.states)]
        return helper.make_graph(self.nodes, "decoder", inputs, outputs, self.weights)


def autoencoder() -> OnnxAutoencoder:
    card = {
        "name": "RAVE-sized",
        "sample_rate": SAMPLE_RATE,
        "channels": 1,
        "latent_size": LATENTS,
        "hop": HOP,
        "delay": 0,
        "latent_mean": [0.0] * LATENTS,
        "latent_std": [1.0] * LATENTS,
    }
    decoder = DecoderGraph().model()
    return OnnxAutoencoder({"autoencoder.json": json.dumps(card).encode(), "decoder.onnx": decoder.SerializeToString()})


class BareDecoder:
    """The floor: nothing but `session.run`, with the caches handed on."""

    def __init__(self, model: OnnxAutoencoder, threads: int) -> None:
        self._session = model.session("decoder.onnx", threads)
        self._state = {i.name: np.zeros(i.shape, np.float32) for i in self._session.get_inputs() if i.name != "latents"}

    def decode(self, latents: NDArray[np.float32]) -> NDArray[np.float32]:
        audio, *state = self._session.run(None, {"latents": latents, **self._state})
        self._state = dict(zip(self._state, state, strict=True))
        decoded: NDArray[np.float32] = audio
        return decoded


def milliseconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1000


def in_turns(turns: int, *calls: Callable[[], object]) -> list[float]:
    """Median milliseconds of each call."""
    for call in calls:
        call()
    times = [[milliseconds(call) for call in calls] for _ in range(turns)]
    return [statistics.median(column) for column in zip(*times, strict=True)]


def moving_blocks(host_rate: int) -> list[Block]:
    """About ten frames of blocks, X and Y on the move in each, as VST3 gives them."""
    x, y = by_key("x").id, by_key("y").id
    rng = np.random.default_rng(1)
    count = round(10 * HOP * host_rate / SAMPLE_RATE / BLOCK)
    return [
        Block(BLOCK, [ParameterPoint(key, BLOCK - 1, rng.uniform()) for key in (x, y)], lines=True)
        for _ in range(count)
    ]


def some_latents(instrument: Instrument, frames: int) -> NDArray[np.float32]:
    """Of a walk over the terrain."""
    assert instrument.terrain is not None
    return instrument.terrain.at(np.random.default_rng(1).uniform(size=(frames, 2)))


def block_mode(instrument: Instrument, bare: BareDecoder, host_rate: int) -> float:
    engine = Engine(instrument, host_rate, BLOCK)
    blocks = moving_blocks(host_rate)
    frames = len(blocks) * BLOCK * SAMPLE_RATE / host_rate / HOP
    latents = some_latents(instrument, 10)

    def play() -> None:
        for block in blocks:
            engine.process(block)

    def decode() -> None:
        for k in range(10):
            bare.decode(latents[k : k + 1])

    decode_ms, play_ms = (value / count for value, count in zip(in_turns(40, decode, play), (10, frames), strict=True))
    ratio = play_ms / decode_ms
    note(f"a frame live at {host_rate} Hz", play_ms, decode_ms, "ms", "the bare decoder")
    print(
        f"block mode at {host_rate} Hz: decoder {decode_ms:.3f} ms a frame, engine {play_ms:.3f} ms, ratio {ratio:.3f} "
        f"({(play_ms - decode_ms) * 1000:.0f} µs a frame beyond the decoder)"
    )
    return ratio


def idle_blocks(instrument: Instrument) -> None:
    """Blocks in which no frame starts: what the engine's bookkeeping costs."""
    engine = Engine(instrument, SAMPLE_RATE, BLOCK)
    blocks = moving_blocks(SAMPLE_RATE)[: HOP // BLOCK]
    times = [[milliseconds(partial(engine.process, block)) for block in blocks][1:] for _ in range(300)]
    print(f"a block of {BLOCK} in which no frame starts: {np.median(times) * 1000:.0f} µs at the median")


def batch_mode(instrument: Instrument, bare: BareDecoder, chunk_frames: int) -> float:
    chunks = 10
    seconds = chunks * chunk_frames * HOP / SAMPLE_RATE
    lanes = {key: Lane([0.0, seconds / 2, seconds], [0.1, 0.9, 0.3], unit="seconds") for key in ("x", "y")}
    tempo_map = TempoMap.constant(120)
    latents = some_latents(instrument, chunk_frames)

    def render() -> None:
        for _ in render_batch(instrument, lanes, tempo_map, SAMPLE_RATE, 0.0, seconds, chunk_frames=chunk_frames):
            pass

    def decode() -> None:
        for _ in range(chunks):
            bare.decode(latents)

    decode_ms, render_ms = in_turns(7, decode, render)
    ratio = render_ms / decode_ms
    note(f"a render, {chunk_frames} frames at once", render_ms, decode_ms, "ms", "the bare decoder")
    frames = chunks * chunk_frames
    print(
        f"batch mode, {chunk_frames} frames at once: decoder {decode_ms / frames:.3f} ms a frame, "
        f"render {render_ms / frames:.3f} ms, ratio {ratio:.3f}"
    )
    return ratio


def main() -> int:
    model = autoencoder()
    print(f"decoder: {len(model.to_bytes()) / 4e6:.1f} million weights")
    instrument = Instrument(model, Terrain.create(2, LATENTS))
    live = BareDecoder(model, 1)
    ratios = [block_mode(instrument, live, SAMPLE_RATE)]
    block_mode(instrument, live, 48000)
    idle_blocks(instrument)
    ratios.append(batch_mode(instrument, BareDecoder(model, 0), 64))
    met = max(ratios) <= GOAL
    print(f"goal of {GOAL}: {'met' if met else 'missed'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
