"""An instrument as one TorchScript of the nn~ convention, checked against the engine before it is written."""

from __future__ import annotations

import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from terrain_core.autoencoders.protocol import Audio
from terrain_core.export.nn_module_torch import NnModule
from terrain_core.export.onnx_torch import traced
from terrain_core.export.parts import PLAYED, Lanes, against_engine, playable_parts
from terrain_core.instrument import Instrument
from terrain_core.parameters import by_key
from terrain_core.safe_write import replacing

MOST_ERROR = 1e-4
"""Between the module and the engine, of full scale: torch rounds otherwise than ONNX Runtime."""
FLOATS, INTEGERS = ("level", "glide", "intensity", "noise"), ("pressure_target", "seed")
INT, FLOAT = 1, 2
"""nn~'s numbers for types of attributes."""
MOST_SEED = 2**31 - 1


def export_nn(instrument: Instrument, out: str | Path, *, path: str = "<instrument>") -> dict[str, Any]:
    """Write an instrument as a TorchScript for nn~.

    Args:
        out: the .ts.
        path: what errors call the instrument.
    Returns:
        facts: methods, attributes, and how far it is from the engine.
    Raises:
        FileError: the instrument cannot be exported, the module differs from the engine by more than `MOST_ERROR`, or
            it cannot be written.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # TorchScript is old, but nn~ takes nothing else
        return _exported(instrument, Path(out), path)


def _exported(instrument: Instrument, out: Path, path: str) -> dict[str, Any]:
    module = scripted(instrument, path)
    check = against_engine(instrument, lambda lanes: play(module, lanes), path, MOST_ERROR)
    module.reset()
    with replacing(out) as beside:
        torch.jit.save(module, str(beside))
    return {
        "sample_rate": int(module.sr),
        "hop": int(module.hop),
        "channels": int(module.channels),
        "delay": int(module.delay),
        "methods": list(module.get_methods()),
        "attributes": list(module.get_attributes()),
        **asdict(check),
    }


def scripted(instrument: Instrument, path: str = "<instrument>") -> Any:
    """The module, compiled.

    Raises:
        FileError: the instrument cannot be exported.
    """
    terrain, autoencoder = playable_parts(instrument, path)
    decoder, sizes = traced(autoencoder)
    card = autoencoder.card
    module = NnModule(terrain, card, decoder, sizes, min(terrain.control_size, PLAYED))
    rows = ["x", "y", "pressure", *(["z"] if terrain.control_size >= PLAYED else [])]
    places = ["x", "y", "z"][: max(2, min(terrain.control_size, PLAYED))]
    latents = [f"latent {n}" for n in range(1, card.latent_size + 1)]
    audio = [f"audio {n}" for n in range(1, card.channels + 1)]
    methods = {
        "play": (rows, card.hop, audio, 1),
        "forward": (rows, card.hop, audio, 1),
        "terrain": (places, card.hop, latents, card.hop),
        "decode": (latents, card.hop, audio, 1),
    }
    for name, (inputs, in_ratio, outputs, out_ratio) in methods.items():
        numbers = [len(inputs), in_ratio, len(outputs), out_ratio]
        module.register_buffer(f"{name}_params", torch.tensor(numbers, dtype=torch.int64))
        setattr(module, f"{name}_input_labels", [f"(signal) {label}" for label in inputs])
        setattr(module, f"{name}_output_labels", [f"(signal) {label}" for label in outputs])
    knobs = [f"{kind}_{n}" for kind in ("offset", "scale") for n in range(1, module.knobs + 1)]
    attributes = [*FLOATS, *INTEGERS, *knobs]
    for name in attributes:
        kind = INT if name in INTEGERS else FLOAT
        module.register_buffer(f"{name}_params", torch.tensor([kind], dtype=torch.int64))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that TorchScript is old: nn~ takes nothing else
        made = torch.jit.script(module.eval())
    made.define(_list_of_texts("get_methods", list(methods)))
    made.define(_list_of_texts("get_attributes", attributes))
    for name in attributes:
        for source in _access(name):
            made.define(source)
    return made


def _list_of_texts(name: str, texts: list[str]) -> str:
    listed = ", ".join(f'"{text}"' for text in texts)
    return f"def {name}(self) -> List[str]:\n    return [{listed}]\n"


def _access(name: str) -> tuple[str, str]:
    """Source of an attribute's getter and setter. What is no number changes nothing; all else is clamped."""
    kind = "int" if name in INTEGERS else "float"
    low, high = (0, MOST_SEED) if name == "seed" else (by_key(name).low, by_key(name).high)
    if kind == "int":
        low, high = int(low), int(high)
    place = f"self.{name}"
    read, write = place, f"{place} = value"
    stem, _, number = name.partition("_")
    if stem in ("offset", "scale"):
        place = f"self.{stem}s[{int(number) - 1}]"
        read, write = f"float({place})", f"{place} = value"
    return (
        f"def get_{name}(self) -> List[{kind}]:\n    return [{read}]\n",
        f"def set_{name}(self, value: {kind}) -> int:\n"
        f"    if value == value:\n        value = min(max(value, {low!r}), {high!r})\n        {write}\n    return 0\n",
    )


def play(module: Any, lanes: Lanes, block: int = 1) -> Audio:
    """Play lanes with a module from a clean start, `block` frames a call; (channels, frames * hop)."""
    rows = [lanes["x"], lanes.get("y", np.full_like(lanes["x"], 0.5)), lanes["pressure"]]
    rows += [lanes["z"]] if "z" in lanes else []
    controls = torch.from_numpy(np.stack(rows).astype(np.float32))[None]
    module.reset()
    with torch.inference_mode():
        parts = [module.play(controls[:, :, k : k + block])[0] for k in range(0, controls.shape[2], block)]
    return torch.cat(parts, 1).numpy()
