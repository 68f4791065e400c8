"""A decoder's ONNX graph as a torch module that can be traced: for exactly one frame a call, its state in two vectors.

With one frame a call every shape is known, so all that is computed from shapes is computed once and kept; what is left
are the operators that touch latents, noise or state.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

from terrain_core.autoencoders import OnnxAutoencoder
from terrain_core.autoencoders.onnx_autoencoder import DECODER
from terrain_core.errors import FileError

DTYPES = {1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool, 11: torch.float64}
"""ONNX's numbers for types."""
STATE_DTYPES = (torch.float32, torch.float64)

Attributes = dict[str, Any]
Operator = Callable[[list[Any], Attributes], Any]


class UnknownOperatorError(Exception):
    """The graph has an operator that is not among ours."""


def _ints(value: Tensor) -> list[int]:
    return [int(n) for n in value.reshape(-1).tolist()]


def _slice(values: list[Any], attributes: Attributes) -> Tensor:
    data: Tensor = values[0]
    starts, ends = _ints(values[1]), _ints(values[2])
    axes = _ints(values[3]) if len(values) > 3 and values[3] is not None else list(range(len(starts)))
    steps = _ints(values[4]) if len(values) > 4 and values[4] is not None else [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = int(data.shape[axis])
        picked = list(range(size))[slice(start, end if step > 0 or end >= -size else None, step)]
        if step == 1:
            data = data.narrow(axis, picked[0] if picked else 0, len(picked))
        else:
            data = data.index_select(axis, torch.tensor(picked, dtype=torch.int64))
    return data


def _gather(values: list[Any], attributes: Attributes) -> Tensor:
    data, index = values
    axis = int(attributes.get("axis", 0)) % data.dim()
    index = torch.where(index < 0, index + data.shape[axis], index)
    picked = data.index_select(axis, index.reshape(-1))
    shaped: Tensor = picked.reshape([*data.shape[:axis], *index.shape, *data.shape[axis + 1 :]])
    return shaped


def _gather_elements(values: list[Any], attributes: Attributes) -> Tensor:
    return torch.gather(values[0], int(attributes.get("axis", 0)), values[1])


def _reshape(values: list[Any], attributes: Attributes) -> Tensor:
    wanted = _ints(values[1])
    return values[0].reshape([values[0].shape[i] if n == 0 else n for i, n in enumerate(wanted)])  # type: ignore[no-any-return]


def _squeeze(values: list[Any], attributes: Attributes) -> Tensor:
    data: Tensor = values[0]
    axes = _ints(values[1]) if len(values) > 1 else [i for i, n in enumerate(data.shape) if n == 1]
    for axis in sorted((axis % data.dim() for axis in axes), reverse=True):
        data = data.squeeze(axis)
    return data


def _unsqueeze(values: list[Any], attributes: Attributes) -> Tensor:
    data: Tensor = values[0]
    axes = _ints(values[1])
    for axis in sorted(axis % (data.dim() + len(axes)) for axis in axes):
        data = data.unsqueeze(axis)
    return data


def _split(values: list[Any], attributes: Attributes) -> tuple[Tensor, ...]:
    data, axis = values[0], int(attributes.get("axis", 0))
    return tuple(torch.split(data, _ints(values[1]), axis))


def _clip(values: list[Any], attributes: Attributes) -> Tensor:
    low, high = ([*values, None, None])[1:3]
    data: Tensor = values[0]
    return data.clamp(None if low is None else low.item(), None if high is None else high.item())


def _pads(attributes: Attributes, axes: int) -> list[int]:
    """In the order of torch's pad: the last axis first, each its start and end."""
    pads = list(attributes.get("pads", [0] * (2 * axes)))
    return [pads[axis + side * axes] for axis in reversed(range(axes)) for side in (0, 1)]


def _conv(values: list[Any], attributes: Attributes) -> Tensor:
    data, weight, bias = [*values, None][:3]
    axes = weight.dim() - 2
    if axes != 1:
        raise UnknownOperatorError(f"Conv in {axes} dimensions")
    pads = _pads(attributes, axes)
    data = nnf.pad(data, pads) if any(pads) else data
    (stride,), (dilation,) = attributes.get("strides", [1]), attributes.get("dilations", [1])
    group, taps = int(attributes.get("group", 1)), weight.shape[2]
    length = (data.shape[2] - (taps - 1) * dilation - 1) // stride + 1
    if group > 1 or data.shape[0] > 1 or (dilation == 1 and length > 1):
        plain: Tensor = nnf.conv1d(data, weight, bias, stride, 0, dilation, group)
        return plain
    # torch's dilated convolutions of a few samples take several times as long as the matrix product they are.
    span = (length - 1) * stride + 1
    windows = [data[:, :, k * dilation : k * dilation + span : stride] for k in range(taps)]
    product: Tensor = weight.reshape(len(weight), -1) @ torch.stack(windows, dim=2).reshape(1, -1, length)
    return product if bias is None else product + bias[:, None]


def _conv_transpose(values: list[Any], attributes: Attributes) -> Tensor:
    data, weight, bias = [*values, None][:3]
    start, end = attributes.get("pads", [0, 0])
    if weight.dim() != 3 or start != end:
        raise UnknownOperatorError("ConvTranspose of that shape")
    return nnf.conv_transpose1d(
        data,
        weight,
        bias,
        list(attributes.get("strides", [1])),
        [start],
        list(attributes.get("output_padding", [0])),
        int(attributes.get("group", 1)),
        list(attributes.get("dilations", [1])),
    )


def _layer_normalization(values: list[Any], attributes: Attributes) -> Tensor:
    data, scale, bias = [*values, None][:3]
    axis = int(attributes.get("axis", -1)) % data.dim()
    return nnf.layer_norm(data, data.shape[axis:], scale, bias, float(attributes.get("epsilon", 1e-5)))


def _constant_of_shape(values: list[Any], attributes: Attributes) -> Tensor:
    fill = attributes.get("value", torch.zeros(1))
    return fill.reshape(()).expand(_ints(values[0])).clone()  # type: ignore[no-any-return]


def _expand(values: list[Any], attributes: Attributes) -> Tensor:
    data, shape = values[0], _ints(values[1])
    both = torch.broadcast_shapes(data.shape, shape)  # type: ignore[no-untyped-call]
    return data.expand(both)  # type: ignore[no-any-return]


def _transpose(values: list[Any], attributes: Attributes) -> Tensor:
    data: Tensor = values[0]
    return data.permute(list(attributes.get("perm", range(data.dim())[::-1])))


def _pad(values: list[Any], attributes: Attributes) -> Tensor:
    if attributes.get("mode", b"constant") != b"constant" or len(values) > 3:
        raise UnknownOperatorError("Pad of that kind")
    fill = 0.0 if len(values) < 3 or values[2] is None else values[2].item()
    return nnf.pad(values[0], _pads({"pads": _ints(values[1])}, values[0].dim()), value=fill)


def _cumsum(values: list[Any], attributes: Attributes) -> Tensor:
    if attributes.get("exclusive") or attributes.get("reverse"):
        raise UnknownOperatorError("CumSum of that kind")
    return torch.cumsum(values[0], int(values[1].item()))


def _reduce_mean(values: list[Any], attributes: Attributes) -> Tensor:
    return values[0].mean(list(attributes["axes"]), keepdim=bool(attributes.get("keepdims", 1)))  # type: ignore[no-any-return]


def _divide(values: list[Any], attributes: Attributes) -> Tensor:
    if values[0].is_floating_point():
        return torch.div(values[0], values[1])
    return torch.div(values[0], values[1], rounding_mode="trunc")


def _simple(function: Callable[..., Tensor]) -> Operator:
    return lambda values, attributes: function(*values)


OPERATORS: dict[str, Operator] = {
    "Abs": _simple(torch.abs),
    "Add": _simple(torch.add),
    "Cast": lambda values, attributes: values[0].to(DTYPES[attributes["to"]]),
    "Clip": _clip,
    "Concat": lambda values, attributes: torch.cat(values, attributes["axis"]),
    "ConstantOfShape": _constant_of_shape,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Cos": _simple(torch.cos),
    "CumSum": _cumsum,
    "Div": _divide,
    "Equal": _simple(torch.eq),
    "Exp": _simple(torch.exp),
    "Expand": _expand,
    "Floor": _simple(torch.floor),
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "Greater": _simple(torch.gt),
    "Identity": _simple(lambda value: value),
    "LayerNormalization": _layer_normalization,
    "LeakyRelu": lambda values, attributes: nnf.leaky_relu(values[0], float(attributes.get("alpha", 0.01))),
    "Less": _simple(torch.lt),
    "Log": _simple(torch.log),
    "MatMul": _simple(torch.matmul),
    "Max": _simple(torch.maximum),
    "Min": _simple(torch.minimum),
    "Mul": _simple(torch.mul),
    "Neg": _simple(torch.neg),
    "Pad": _pad,
    "Pow": _simple(torch.pow),
    "Reciprocal": _simple(torch.reciprocal),
    "ReduceMean": _reduce_mean,
    "Reshape": _reshape,
    "Round": _simple(torch.round),
    "Shape": lambda values, attributes: torch.tensor([int(n) for n in values[0].shape], dtype=torch.int64),
    "Sigmoid": _simple(torch.sigmoid),
    "Sign": _simple(torch.sign),
    "Sin": _simple(torch.sin),
    "Slice": _slice,
    "Softplus": _simple(nnf.softplus),
    "Split": _split,
    "Sqrt": _simple(torch.sqrt),
    "Squeeze": _squeeze,
    "Sub": _simple(torch.sub),
    "Tanh": _simple(torch.tanh),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Where": _simple(torch.where),
}


class Node:
    """One operator of the graph that depends on its inputs."""

    def __init__(self, kind: str, inputs: list[str], outputs: list[str], attributes: Attributes) -> None:
        self.kind, self.inputs, self.outputs, self.attributes = kind, inputs, outputs, attributes


class OneFrameDecoder(nn.Module):
    """(latents (1, D), noise (1, …), single, double) -> (audio (channels, hop), single, double).

    `single` and `double` hold all states of those precisions one after another, zeros at a start.
    """

    def __init__(self, autoencoder: OnnxAutoencoder) -> None:
        """
        Raises:
            FileError: the graph has an operator that is not known, or a state of another type.
        """
        super().__init__()
        import onnx
        from onnx import numpy_helper

        graph = onnx.load_model_from_string(autoencoder.files[DECODER]).graph
        card = autoencoder.card
        self.noisy = bool(card.noise_per_frame)
        self.states: list[tuple[str, tuple[int, ...], torch.dtype]] = []
        values: dict[str, Tensor | None] = {"": None}
        for entry in graph.input:
            shape = tuple(d.dim_value for d in entry.type.tensor_type.shape.dim)
            dtype = DTYPES[entry.type.tensor_type.elem_type]
            if entry.name == "latents":
                values["latents"] = torch.zeros(1, card.latent_size)
            elif entry.name == "noise":
                values["noise"] = torch.zeros(1, *(card.noise_per_frame or (0,)))
            elif dtype in STATE_DTYPES:
                self.states.append((entry.name, shape, dtype))
                values[entry.name] = torch.zeros(shape, dtype=dtype)
            else:
                raise FileError(autoencoder.path, f"its state {entry.name} is of type {dtype}", position=DECODER)
        moving = set(values) - {""}
        constants = {
            entry.name: torch.from_numpy(np.array(numpy_helper.to_array(entry))) for entry in graph.initializer
        }
        values.update(constants)
        self.nodes: list[Node] = []
        for raw in graph.node:
            node = Node(raw.op_type, list(raw.input), list(raw.output), _attributes(raw))
            try:
                results = _run(node, values)
            except UnknownOperatorError as error:
                raise FileError(
                    autoencoder.path, f"its decoder has the operator {error}, which is not known", position=DECODER
                ) from None
            values.update(zip(node.outputs, results, strict=False))
            if node.kind != "Shape" and moving & set(node.inputs):
                moving |= set(node.outputs)
                self.nodes.append(node)
        wanted = {name for node in self.nodes for name in node.inputs} - moving
        self.names: dict[str, str] = {}
        for number, name in enumerate(sorted(wanted - {""})):
            self.names[name] = f"constant_{number}"
            value = values[name]
            assert value is not None
            self.register_buffer(f"constant_{number}", value.contiguous())

    def sizes(self) -> tuple[int, int]:
        """How many numbers `single` and `double` hold."""
        single, double = (sum(math.prod(shape) for _, shape, d in self.states if d == dtype) for dtype in STATE_DTYPES)
        return single, double

    def forward(self, latents: Tensor, noise: Tensor, single: Tensor, double: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        values: dict[str, Tensor | None] = {"": None, "latents": latents, "noise": noise}
        values.update({name: getattr(self, buffer) for name, buffer in self.names.items()})
        at = [0, 0]
        for name, shape, dtype in self.states:
            kind = STATE_DTYPES.index(dtype)
            size = math.prod(shape)
            values[name] = (single, double)[kind].narrow(0, at[kind], size).reshape(shape)
            at[kind] += size
        for node in self.nodes:
            values.update(zip(node.outputs, _run(node, values), strict=False))
        after: tuple[list[Tensor], list[Tensor]] = ([single[:0]], [double[:0]])
        for name, _, dtype in self.states:
            value = values[f"{name}_out"]
            assert value is not None
            after[STATE_DTYPES.index(dtype)].append(value.reshape(-1))
        audio = values["audio"]
        assert audio is not None
        return audio, torch.cat(after[0]), torch.cat(after[1])


def _attributes(raw: Any) -> Attributes:
    from onnx import helper, numpy_helper

    found: Attributes = {}
    for attribute in raw.attribute:
        value = helper.get_attribute_value(attribute)
        is_tensor = attribute.type == attribute.TENSOR
        found[attribute.name] = torch.from_numpy(np.array(numpy_helper.to_array(value))) if is_tensor else value
    return found


def _run(node: Node, values: dict[str, Tensor | None]) -> tuple[Tensor, ...]:
    if node.kind == "Constant":
        return (node.attributes["value"],)
    if node.kind not in OPERATORS:
        raise UnknownOperatorError(node.kind)
    result = OPERATORS[node.kind]([values[name] for name in node.inputs], node.attributes)
    return result if isinstance(result, tuple) else (result,)


def traced(autoencoder: OnnxAutoencoder) -> tuple[Any, tuple[int, int]]:
    """The decoder as a TorchScript of one frame, and the sizes of its two state vectors.

    Raises:
        FileError: see `OneFrameDecoder`.
    """
    decoder = OneFrameDecoder(autoencoder).eval()
    single, double = decoder.sizes()
    card = autoencoder.card
    example = (
        torch.zeros(1, card.latent_size),
        torch.zeros(1, *(card.noise_per_frame or (0,))),
        torch.zeros(single),
        torch.zeros(double, dtype=torch.float64),
    )
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # that shapes become constants, which is what is wanted
        made = torch.jit.trace(decoder, example, check_trace=False)  # type: ignore[no-untyped-call]
    return made, (single, double)
