"""A one-shot autoencoder small enough to know by heart: a hit is its latents' mixture of three decaying sines."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from terrain_core.autoencoders.one_shot import OneShotAutoencoder
from terrain_core.autoencoders.onnx_autoencoder import CARD, DECODER, ENCODER, ONE_SHOT, Card
from terrain_core.instrument import Instrument
from terrain_core.one_shots.kit import Kit, Pad
from terrain_core.sound_map import SoundMap

RATE, SAMPLES, LATENTS = 44100, 4410, 3


def shapes(channels: int = 1) -> np.ndarray:
    """(D, channels * samples): each begins at full strength, so that a hit's first sample shows when it came."""
    time = np.arange(SAMPLES) / RATE
    rows = [np.cos(2 * np.pi * hz * time) * np.exp(-time * 40) for hz in (200.0, 700.0, 3100.0)]
    return np.tile(np.array(rows, np.float32), (1, channels))


def one_shot(channels: int = 1) -> OneShotAutoencoder:
    basis = shapes(channels)
    graphs = {
        DECODER: _graph("latents", [LATENTS], "audio", [channels, SAMPLES], basis),
        ENCODER: _graph("audio", [channels, SAMPLES], "latents", [LATENTS], np.linalg.pinv(basis)),
    }
    zeros, ones = (0.0,) * LATENTS, (1.0,) * LATENTS
    card = Card("sines", RATE, channels, LATENTS, SAMPLES, 0, zeros, ones, frames_per_call=1, kind=ONE_SHOT)
    return OneShotAutoencoder({CARD: json.dumps(asdict(card)).encode(), **graphs})


def _graph(takes: str, inner: list[int], gives: str, outer: list[int], weights: np.ndarray) -> bytes:
    flat = numpy_helper.from_array(np.array([-1, len(weights)], np.int64), "flat")
    shape = numpy_helper.from_array(np.array([-1, *outer], np.int64), "shape")
    nodes = [
        helper.make_node("Reshape", [takes, "flat"], ["rows"]),
        helper.make_node("MatMul", ["rows", "weights"], ["product"]),
        helper.make_node("Reshape", ["product", "shape"], [gives]),
    ]
    graph = helper.make_graph(
        nodes,
        "sines",
        [helper.make_tensor_value_info(takes, TensorProto.FLOAT, ["n", *inner])],
        [helper.make_tensor_value_info(gives, TensorProto.FLOAT, ["n", *outer])],
        [flat, shape, numpy_helper.from_array(weights.astype(np.float32), "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def instrument(kit: Kit | None = None, channels: int = 1) -> Instrument:
    """Three sounds in a row on the map: the three sines, each at half strength."""
    places = [[0.1, 0.5], [0.5, 0.5], [0.9, 0.5]]
    sound_map = SoundMap(places, 0.5 * np.eye(LATENTS), ["low", "middle", "high"])
    return Instrument(one_shot(channels), None, sound_map, kit=kit)


PADS = (Pad(36, 0.1, 0.5, "low"), Pad(42, 0.5, 0.5, "middle", choke=1), Pad(46, 0.9, 0.5, "high", choke=1))
