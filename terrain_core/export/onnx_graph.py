"""Terrain and decoder as one ONNX graph, checked against the engine before it is written.

The decoder's nodes are the bundle's own, with the terrain put before them and ceiling and level after them, so that the
decoder computes what it computes in the engine, bit for bit. State goes in and out as tensors, all zeros at a start.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from terrain_core.autoencoders import OnnxAutoencoder, noise
from terrain_core.autoencoders.onnx_autoencoder import DECODER, Card
from terrain_core.autoencoders.protocol import Audio
from terrain_core.autoencoders.runtime import ort
from terrain_core.engine.player import CEILING
from terrain_core.errors import FileError
from terrain_core.export.parts import PLAYED, Check, Lanes, against_engine, playable_parts
from terrain_core.instrument import Instrument
from terrain_core.safe_write import replacing
from terrain_core.terrain import Terrain
from terrain_core.terrain.network import LATENT_LIMIT

if TYPE_CHECKING:
    import onnx

GRAPH, FACTS, README = "instrument.onnx", "instrument.json", "README.md"
MOST_ERROR = 1e-5
"""Between graph and engine, of full scale."""
OPSET = 17
PREFIX = "terrain."
"""Of the names that are ours, so that they never meet the decoder's."""


@dataclass(frozen=True)
class OnnxExport:
    """An exported graph.

    Attributes:
        graph: the ONNX file's bytes.
        facts: what `instrument.json` says: sizes, inputs, outputs, states.
        check: how far it is from the engine.
    """

    graph: bytes
    facts: dict[str, Any]
    check: Check


def export_onnx(instrument: Instrument, folder: str | Path, *, path: str = "<instrument>") -> OnnxExport:
    """Write an instrument as `instrument.onnx`, with `instrument.json` (its inputs and states, for programs) and a
    README (for people) beside it.

    Args:
        folder: made if it is not there; must hold nothing but an earlier export.
        path: what errors call the instrument.
    Raises:
        FileError: the instrument cannot be exported, the graph differs from the engine, or it cannot be written.
    """
    folder = Path(folder)
    if folder.exists() and not (folder.is_dir() and ((folder / GRAPH).exists() or not any(folder.iterdir()))):
        raise FileError(folder, "is there already, and is no export", hint="name another folder")
    export = make_graph(instrument, path)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise FileError(folder, f"could not be made: {error.strerror or error}") from error
    texts = {FACTS: json.dumps(export.facts, indent=1) + "\n", README: readme(export.facts)}
    for name, data in {**{name: text.encode() for name, text in texts.items()}, GRAPH: export.graph}.items():
        with replacing(folder / name) as beside:
            beside.write_bytes(data)
    return export


def make_graph(instrument: Instrument, path: str = "<instrument>") -> OnnxExport:
    """The graph, checked.

    Raises:
        FileError: the instrument cannot be exported, or the graph differs from the engine by more than `MOST_ERROR`.
    """
    terrain, autoencoder = playable_parts(instrument, path)
    model = merged(terrain, autoencoder)
    graph: bytes = model.SerializeToString()
    facts = describe(model, terrain, autoencoder.card)
    check = against_engine(instrument, lambda lanes: play(graph, facts, lanes), path, MOST_ERROR)
    return OnnxExport(graph, {**facts, **asdict(check)}, check)


# Making


class Builder:
    """Nodes and constants of one graph, added one after another."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._count = 0

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        from onnx import numpy_helper

        name = f"{PREFIX}constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(values, dtype, order="C"), name))
        return name

    def add(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """A node with one output; gives the output's name."""
        from onnx import helper

        self._count += 1
        output = name or f"{PREFIX}{kind}_{self._count}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output


def merged(terrain: Terrain, autoencoder: OnnxAutoencoder) -> onnx.ModelProto:
    """Terrain, decoder, ceiling and level in one graph.

    Raises:
        FileError: the bundle's decoder is of another operator set than ours.
    """
    import onnx
    from onnx import TensorProto, helper

    card = autoencoder.card
    model = onnx.load_model_from_string(autoencoder.files[DECODER])
    versions = {entry.domain: entry.version for entry in model.opset_import}
    if versions.get("", 0) != OPSET:
        raise FileError(autoencoder.path, f"its decoder is of ONNX operator set {versions}: expected {OPSET}")
    graph = model.graph
    builder = Builder()
    latents = terrain_nodes(builder, terrain)
    renamed = {"latents": latents, "audio": f"{PREFIX}decoded"}
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    front, builder.nodes = builder.nodes, []
    level_nodes(builder, ceiling_nodes(builder, renamed["audio"]), card)
    player = min(terrain.control_size, PLAYED)
    inputs = [
        helper.make_tensor_value_info("coordinates", TensorProto.FLOAT, ["frames", player]),
        helper.make_tensor_value_info("pressure", TensorProto.FLOAT, ["frames"]),
        *(value for value in graph.input if value.name != "latents"),
        helper.make_tensor_value_info("gain", TensorProto.FLOAT, [2]),
    ]
    outputs = [
        helper.make_tensor_value_info("audio", TensorProto.FLOAT, [card.channels, "samples"]),
        *(_output_like(value, graph.input) for value in graph.output if value.name != "audio"),
        helper.make_tensor_value_info("gain_out", TensorProto.FLOAT, [2]),
    ]
    if card.delay:
        inputs.append(helper.make_tensor_value_info("gains", TensorProto.FLOAT, [card.delay]))
        outputs.append(helper.make_tensor_value_info("gains_out", TensorProto.FLOAT, [card.delay]))
    merged_graph = helper.make_graph(
        [*front, *graph.node, *builder.nodes],
        "instrument",
        inputs,
        outputs,
        [*graph.initializer, *builder.constants],
    )
    made = helper.make_model(merged_graph, opset_imports=model.opset_import, producer_name="Latent Terrain")
    made.ir_version = model.ir_version
    onnx.checker.check_model(made)
    return made


def _output_like(output: Any, inputs: Any) -> Any:
    """A state's output with the shape that its input has: the exporter left it open."""
    from onnx import helper

    found = next((value for value in inputs if value.name == output.name.removesuffix("_out")), None)
    if found is None:
        return output
    kind = found.type.tensor_type
    return helper.make_tensor_value_info(output.name, kind.elem_type, [d.dim_value for d in kind.shape.dim])


def terrain_nodes(builder: Builder, terrain: Terrain) -> str:
    """`coordinates` (frames, up to 3) in 0..1 -> latents (frames, D): see `terrain_core.terrain.network`."""
    from onnx import TensorProto

    double = TensorProto.DOUBLE
    add, constant = builder.add, builder.constant
    player = min(terrain.control_size, PLAYED)
    wide = add("Cast", "coordinates", to=double)
    odd = add("Or", add("IsNaN", wide), add("IsInf", wide))
    known = add("Where", odd, constant(0.5, np.float64), wide)
    unit = add("Clip", known, constant(0.0, np.float64), constant(1.0, np.float64))
    if terrain.control_size > player:
        unit = add("Pad", unit, constant([0, 0, 0, terrain.control_size - player], np.int64), constant(0.5, np.float64))
    low, high = terrain.bounds.T
    units = add("Add", add("Mul", unit, constant(high - low, np.float64)), constant(low, np.float64))
    weights = terrain.weights

    def exact(name: str) -> str:
        """A weight in double precision, stored in single."""
        return add("Cast", constant(weights[name].T if name.endswith(".weight") else weights[name]), to=double)

    hidden = units
    if "B_T" in weights:
        cycles = add("MatMul", units, exact("B_T"))
        phases = add("Mul", add("Sub", cycles, add("Round", cycles)), constant(2 * np.pi, np.float64))
        hidden = add("Concat", add("Sin", phases), add("Cos", phases), axis=1)
    zero = constant(0.0, np.float64)
    layers = terrain.architecture.linear_layers
    for number, layer in enumerate(layers, start=1):
        hidden = add("Add", add("MatMul", hidden, exact(f"{layer}.weight")), exact(f"{layer}.bias"))
        if layer != layers[-1]:
            below = add("Mul", add("Min", hidden, zero), exact(f"prelu{number}.weight"))
            hidden = add("Add", add("Max", hidden, zero), below)
    return add("Clip", add("Cast", hidden, to=TensorProto.FLOAT), constant(-LATENT_LIMIT), constant(LATENT_LIMIT))


def ceiling_nodes(builder: Builder, audio: str) -> str:
    """See `terrain_core.engine.player.under_ceiling`."""
    add, constant = builder.add, builder.constant
    size = add("Abs", audio)
    over = add("Sub", size, constant(1.0))
    room = constant(CEILING - 1)
    bent = add("Add", constant(1.0), add("Mul", room, add("Tanh", add("Div", over, room))))
    return add("Where", add("Greater", size, constant(1.0)), add("Mul", add("Sign", audio), bent), audio)


def level_nodes(builder: Builder, audio: str, card: Card) -> None:
    """Pressure as a level: see `terrain_core.engine.level.LevelRamp`. `gain` holds whether there was a frame before,
    and its gain; `gains` the gains of samples that the decoder has yet to give.
    """
    add, constant = builder.add, builder.constant
    heard = add("Where", add("IsNaN", "pressure"), constant(1.0), "pressure")
    targets = add("Clip", heard, constant(0.0), constant(1.0))
    first = add("Slice", targets, constant([0], np.int64), constant([1], np.int64), constant([0], np.int64))
    went = add("Slice", "gain", constant([0], np.int64), constant([1], np.int64), constant([0], np.int64))
    last = add("Slice", "gain", constant([1], np.int64), constant([2], np.int64), constant([0], np.int64))
    known = add("Greater", went, constant([0.5]))
    start = add("Where", known, last, first)
    shifted = add("Slice", targets, constant([0], np.int64), constant([-1], np.int64), constant([0], np.int64))
    before = add("Concat", start, shifted, axis=0)
    way = add("Sub", targets, before)
    column = constant([-1, 1], np.int64)
    ramp = constant((np.arange(1, card.hop + 1) / card.hop).astype(np.float32)[np.newaxis])
    rise = add("Mul", add("Reshape", way, column), ramp)
    line = add("Reshape", add("Add", add("Reshape", before, column), rise), constant([-1], np.int64))
    end = add("Slice", targets, constant([-1], np.int64), constant([2**31], np.int64), constant([0], np.int64))
    add("Concat", constant([1.0]), end, name="gain_out", axis=0)
    if card.delay:
        pending = add("Where", known, "gains", start)
        curve = add("Concat", pending, line, axis=0)
        edge, far, axis = (constant([n], np.int64) for n in (-card.delay, 2**31, 0))
        line = add("Slice", curve, constant([0], np.int64), edge, axis)
        add("Slice", curve, edge, far, axis, name="gains_out")
    add("Mul", audio, line, name="audio")


# Describing


TYPES = {1: "float32", 11: "float64", 7: "int64"}


def describe(model: onnx.ModelProto, terrain: Terrain, card: Card) -> dict[str, Any]:
    """What a program must know to play the graph; fit for JSON."""
    player = min(terrain.control_size, PLAYED)
    states = []
    for value in model.graph.input:
        if value.name in ("coordinates", "pressure", "noise"):
            continue
        kind = value.type.tensor_type
        shape = [dimension.dim_value for dimension in kind.shape.dim]
        states.append(
            {"input": value.name, "output": f"{value.name}_out", "shape": shape, "type": TYPES[kind.elem_type]}
        )
    return {
        "autoencoder": card.name,
        "sample_rate": card.sample_rate,
        "channels": card.channels,
        "hop": card.hop,
        "delay": card.delay,
        "coordinates": list("xyz"[:player]),
        "noise_per_frame": list(card.noise_per_frame),
        "normals_per_frame": card.normals_per_frame,
        "states": states,
    }


def readme(facts: dict[str, Any]) -> str:
    """The export's README."""
    noise_row = noise_text = ""
    if facts["noise_per_frame"]:
        shape = ", ".join(map(str, facts["noise_per_frame"]))
        normals = facts["normals_per_frame"]
        kinds = (
            f"the first {normals} normally distributed, the others uniform in 0..1" if normals else "uniform in 0..1"
        )
        noise_row = f"| noise | float32 (frames, {shape}) | fresh random numbers for each frame, {kinds} |\n"
        noise_text = (
            "\nThe engine draws its noise from (seed, frame number): "
            "`terrain_core.autoencoders.noise.mixed(seed, frame, frames, normals, uniforms)`. "
            "Any other generator sounds alike; the same sample values come from the same draws only.\n"
        )
    names = ", ".join(facts["coordinates"])
    rows = "".join(
        f"| {state['input']} | {state['output']} | {state['type']} | {state['shape']} |\n" for state in facts["states"]
    )
    rate = facts["sample_rate"] / facts["hop"]
    return f"""# An instrument of Latent Terrain as one ONNX graph

`instrument.onnx` (operator set {OPSET}) turns points into audio: {facts["channels"]} channel(s) at
{facts["sample_rate"]} Hz, {facts["hop"]} samples a frame ({rate:.2f} frames a second), {facts["delay"]} samples late.
`instrument.json` says the same to programs.

| input | type and shape | meaning |
|---|---|---|
| coordinates | float32 (frames, {len(facts["coordinates"])}) | {names}, each in 0..1 |
| pressure | float32 (frames) | 0..1, the loudness: a straight line over each frame, from the frame before's |
{noise_row}
| output | type and shape | |
|---|---|---|
| audio | float32 ({facts["channels"]}, frames * {facts["hop"]}) | below 2.0 (6 dB over full scale), whatever comes in |

Any number of frames a call, at least one. States: zeros at the start of a stream; what comes out goes in with the next
call.

| state, input | output | type | shape |
|---|---|---|---|
{rows}{noise_text}
Checked over {facts["checked_frames"]} frames against the engine: they differ by {facts["error"]:.1e} of full scale.
"""


# Playing


class Player:
    """A graph at play, with the engine's noise: its states go in and out here."""

    def __init__(self, graph: bytes, facts: dict[str, Any], seed: int = 0) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        self._session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._facts, self._seed, self._frame = facts, seed, 0
        self._outputs = ["audio", *(entry["output"] for entry in facts["states"])]
        self._state = {entry["input"]: np.zeros(entry["shape"], entry["type"]) for entry in facts["states"]}

    def play(self, lanes: Lanes) -> Audio:
        """The next frames in one call: lanes (frames,) each -> (channels, frames * hop)."""
        pressure = lanes["pressure"].astype(np.float32)
        coordinates = np.stack([lanes[key] for key in self._facts["coordinates"]], axis=1).astype(np.float32)
        feed: dict[str, Any] = {"coordinates": coordinates, "pressure": pressure, **self._state}
        shape, normals, frames = self._facts["noise_per_frame"], self._facts["normals_per_frame"], len(pressure)
        if shape:
            drawn = noise.mixed(self._seed, self._frame, frames, normals, math.prod(shape) - normals)
            feed["noise"] = drawn.reshape(frames, *shape)
        audio, *after = self._session.run(self._outputs, feed)
        self._state = dict(zip(self._state, after, strict=True))
        self._frame += frames
        return cast(Audio, audio)


def play(graph: bytes, facts: dict[str, Any], lanes: Lanes, seed: int = 0) -> Audio:
    """Play a graph frame by frame from a clean start, with the engine's noise: (channels, frames * hop)."""
    player = Player(graph, facts, seed)
    frames = range(len(lanes["pressure"]))
    return np.concatenate([player.play({key: v[k : k + 1] for key, v in lanes.items()}) for k in frames], axis=1)
