"""A TorchScript of ours as a model for Neutone: `python neutone_torch.py IN.ts FACTS.json OUT.nm`, by a Python that has
neutone_sdk; it needs nothing of this package. Says on stdout, as JSON, what it found out.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any  # what TorchScript understands everywhere

import torch
from neutone_sdk import WaveformToWaveformBase
from neutone_sdk.parameter import ContinuousNeutoneParameter
from neutone_sdk.utils import load_neutone_model, save_neutone_model
from torch import Tensor

LARGEST_BUFFER = 8192
"""Samples: no native buffer size is larger, unless a frame is."""
CHECKED_BUFFERS = 16


class TerrainInstrument(WaveformToWaveformBase):  # type: ignore[misc]  # neutone_sdk is not installed everywhere
    """An instrument in the place of an effect: what comes in is ignored."""

    __constants__ = ("NAME", "DESCRIPTION", "TECHNICAL", "SAMPLE_RATE", "HOP", "CHANNELS", "DELAY", "DEEP", "BUFFERS")
    NAME: str
    DESCRIPTION: str
    TECHNICAL: str
    SAMPLE_RATE: int
    HOP: int
    CHANNELS: int
    DELAY: int
    DEEP: bool
    BUFFERS: list[int]
    # TorchScript looks for annotations in this class alone, not in the one it is derived from.
    neutone_parameters_metadata: dict[str, dict[str, int | float | str | bool | list[str] | list[int]]]
    remapped_params: dict[str, Tensor]
    neutone_parameter_names: list[str]

    def get_model_name(self) -> str:
        return self.NAME

    def get_model_authors(self) -> list[str]:
        return ["Latent Terrain"]

    def get_model_short_description(self) -> str:
        return self.DESCRIPTION

    def get_model_long_description(self) -> str:
        return self.DESCRIPTION

    def get_technical_description(self) -> str:
        return self.TECHNICAL

    def get_tags(self) -> list[str]:
        return ["instrument", "latent terrain"]

    def get_model_version(self) -> str:
        return "1"

    def is_experimental(self) -> bool:
        return True

    def get_neutone_parameters(self) -> list[Any]:
        fourth = (
            ("z", "Third dimension of the terrain", 0.5) if self.DEEP else ("intensity", "Half is as it comes", 0.5)
        )
        told = [("x", "First dimension", 0.5), ("y", "Second dimension", 0.5), ("pressure", "Loudness", 1.0), fourth]
        return [ContinuousNeutoneParameter(name, text, value) for name, text, value in told]

    @torch.jit.export
    def is_input_mono(self) -> bool:
        return True

    @torch.jit.export
    def is_output_mono(self) -> bool:
        return self.CHANNELS == 1

    @torch.jit.export
    def get_native_sample_rates(self) -> list[int]:
        return [self.SAMPLE_RATE]

    @torch.jit.export
    def get_native_buffer_sizes(self) -> list[int]:
        return self.BUFFERS

    @torch.jit.export
    def calc_model_delay_samples(self) -> int:
        return self.DELAY

    def reset_model(self) -> bool:
        self.model.reset()
        return True

    def aggregate_params(self, params: Tensor) -> Tensor:
        """(4, samples) -> (4, frames): as they are where each frame starts."""
        return params[:, :: self.HOP]

    def do_forward_pass(self, x: Tensor, params: dict[str, Tensor]) -> Tensor:
        rows = [params["x"], params["y"], params["pressure"]]
        if self.DEEP:
            rows.append(params["z"])
        else:
            self.model.set_intensity(2.0 * float(params["intensity"].mean()))
        return self.model.play(torch.stack(rows)[None])[0]  # type: ignore[no-any-return]


def main(source: str, facts_file: str, out: str) -> None:
    facts: dict[str, Any] = json.loads(Path(facts_file).read_text())
    hop, rate = int(facts["hop"]), int(facts["sample_rate"])
    buffers = [hop << k for k in range(16) if k == 0 or hop << k <= LARGEST_BUFFER]
    values = {
        "NAME": facts["name"][:30],
        "DESCRIPTION": facts["description"][:150],
        "TECHNICAL": facts["technical"][:500],
        "SAMPLE_RATE": rate,
        "HOP": hop,
        "CHANNELS": int(facts["channels"]),
        "DELAY": int(facts["delay"]),
        "DEEP": bool(facts["deep"]),
        "BUFFERS": buffers,
    }
    for name, value in values.items():
        setattr(TerrainInstrument, name, value)
    original = torch.jit.load(source).eval()  # type: ignore[no-untyped-call]
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        save_neutone_model(
            TerrainInstrument(torch.jit.load(source).eval()),  # type: ignore[no-untyped-call]
            Path(folder),
            dump_samples=False,
            submission=False,
            speed_benchmark=False,
            test_offline_mode=False,
        )
        saved = str(Path(folder) / "model.nm")
        error, peak = check(original, saved, values)
        resampled = resampled_peak(saved)
        Path(out).write_bytes(Path(saved).read_bytes())
    found = {"buffers": buffers, "neutone_error": error, "peak": peak, "peak_at_48000": resampled}
    print(json.dumps({**found, "pytorch_version": str(torch.__version__)}))


def check(original: Any, saved: str, values: dict[str, Any]) -> "tuple[float, float]":
    """The largest difference between the saved model, loaded and played by Neutone's own wrapper in its native format,
    and the module it was made of, less the wrapper's delay; and the loudest sample.
    """
    hop, buffer = values["HOP"], values["BUFFERS"][0]
    model, _ = load_neutone_model(saved)
    model.set_daw_sample_rate_and_buffer_size(values["SAMPLE_RATE"], buffer)
    model.reset()
    frames = CHECKED_BUFFERS * buffer // hop
    lanes = torch.rand(4, frames, generator=torch.Generator().manual_seed(0))
    lanes[3] = 0.5
    params = lanes.repeat_interleave(hop, 1)
    silence = torch.zeros(values["CHANNELS"], buffer)  # as many channels as go in come out
    parts = [model.forward(silence, params[:, k : k + buffer]).clone() for k in range(0, frames * hop, buffer)]
    played = torch.cat(parts, 1)
    original.reset()
    expected = original.play(lanes[None, : 4 if values["DEEP"] else 3])[0]
    delay = int(model.calc_buffering_delay_samples())
    compared = played[:, delay:]
    assert len(compared) == len(expected)
    return float((compared - expected[:, : compared.shape[1]]).abs().max()), float(expected.abs().max())


def resampled_peak(saved: str) -> float:
    """The loudest sample in a host at 48 kHz with small buffers; not finite counts as a failure."""
    model, _ = load_neutone_model(saved)
    model.set_daw_sample_rate_and_buffer_size(48000, 256)
    model.reset()
    params = torch.tensor([[0.3], [0.6], [1.0], [0.5]]).repeat(1, 256)
    played = torch.cat([model.forward(torch.zeros(1, 256), params).clone() for _ in range(128)], 1)
    assert bool(torch.isfinite(played).all())
    return float(played.abs().max())


if __name__ == "__main__":
    main(*sys.argv[1:])
