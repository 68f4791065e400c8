"""What an exported instrument costs beside the engine: a frame at a time on one thread, in turn in one process; and how
equal they are.

Claim: the ONNX graph takes no more than the engine does for the same frames (it does less: no resampler, no effects),
and the TorchScript for nn~ plays in real time. Medians and 99th percentiles of wall time.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable

import numpy as np

from benchmarks._numbers import note

FRAMES = 300


def main() -> None:
    import torch

    from terrain_core.engine import Block, Engine
    from terrain_core.export import nn_export_torch, onnx_graph, parts
    from terrain_core.instrument import Instrument
    from terrain_core.parameters import by_key
    from terrain_plugin.shipped import DEFAULT_INSTRUMENT

    torch.set_num_threads(1)
    warnings.simplefilter("ignore", DeprecationWarning)
    instrument = Instrument.load(DEFAULT_INSTRUMENT)
    autoencoder = instrument.autoencoder
    lanes = parts.gesture(2, FRAMES)
    graph = onnx_graph.make_graph(instrument)
    module = nn_export_torch.scripted(instrument)
    check = parts.against_engine(instrument, lambda played: nn_export_torch.play(module, played), "forest", 1e-4)
    print(f"error, of full scale: ONNX {graph.check.error:.1e}, nn~ {check.error:.1e}")

    engine = Engine(instrument, autoencoder.sample_rate, max_block=autoencoder.hop)
    from terrain_core.engine import ParameterPoint

    from_graph = onnx_graph.Player(graph.graph, graph.facts)
    module.reset()

    def by_engine(k: int) -> object:
        points = [ParameterPoint(by_key(key).id, 0, float(values[k])) for key, values in lanes.items()]
        return engine.process(Block(autoencoder.hop, points=points))

    def by_graph(k: int) -> object:
        return from_graph.play({key: values[k : k + 1] for key, values in lanes.items()})

    def by_module(k: int) -> object:
        controls = np.array([[[lanes[key][k]] for key in ("x", "y", "pressure")]], np.float32)
        with torch.inference_mode():
            return module.play(torch.from_numpy(controls))

    ways: dict[str, Callable[[int], object]] = {"engine": by_engine, "ONNX graph": by_graph, "nn~ module": by_module}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for k in range(FRAMES):
        for name, way in ways.items():
            began = time.perf_counter()
            way(k)
            times[name].append(time.perf_counter() - began)
    hop = 1000 * autoencoder.hop / autoencoder.sample_rate
    engine_ms = 1000 * float(np.median(times["engine"]))
    for name, series in times.items():
        median, late = 1000 * np.median(series), 1000 * np.percentile(series, 99)
        note(f"{name}: a frame", float(median), engine_ms, "ms", "the engine")
        print(
            f"{name:12} {median:6.3f} ms a frame, p99 {late:6.3f}, {median / hop:.3f} of real time, "
            f"{median / engine_ms:.2f} of the engine"
        )


if __name__ == "__main__":
    main()
