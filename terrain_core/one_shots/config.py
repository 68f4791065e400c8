"""The one place where a one-shot model and its training are set; `PRESETS` names whole sets."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal, Self

from terrain_core.errors import InputError

STRIDES: Final = (16, 4, 4, 4)
"""Of the encoder's stages; the decoder's the other way round."""

STRIDE: Final = math.prod(STRIDES)
"""Samples per frame of the bottleneck; sounds are padded to a multiple of it, so that no layer has to stretch."""

SHORTEST, LONGEST = 0.25, 4.0
"""Seconds of a sound."""

MOST_BOTTLENECK: Final = 2048
"""Numbers (channels · frames) between convolutions and dense layers: what keeps long sounds under ten million
parameters.
"""


@dataclass(frozen=True)
class _Settings:
    """Values that travel as JSON."""

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Of values as JSON has them.

        Raises:
            InputError: a name that is none of the settings'.
        """
        names = [f.name for f in dataclasses.fields(cls)]
        unknown = sorted(set(values) - set(names))
        if unknown:
            raise InputError(f"no setting is called {unknown[0]!r}: expected one of {', '.join(names)}")
        return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


def _between(name: str, value: float, low: float, high: float, unit: str = "") -> None:
    if not isinstance(value, int | float) or not low <= value <= high:
        raise InputError(f"{name} is {value}: expected {low:g} to {high:g} {unit}".rstrip())


def _among(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"{name} is {value!r}: expected one of {', '.join(choices)}")


@dataclass(frozen=True)
class ModelConfig(_Settings):
    """The network.

    Attributes:
        variant: "unet" (skips, and the generator that makes them from the latents) or "simple" (none).
        sample_rate: Hz.
        seconds: length of a sound, 0.25 to 4.
        channels: 1 or 2.
        latent_size: numbers that a sound becomes.
        widths: channels of the network behind each of the four stages.
        blocks: residual blocks per stage.
        bottleneck: channels before the dense layers, fewer for long sounds.
        hidden: units of the dense layers.
        noise, tones: of fixed noise bands and fixed tones in the decoder, which gives each an envelope.
        skip: channels of each skip.
        lowest_log_variance: floor of the posterior's log-variance; smooth, so that a gradient is left below it.
    """

    variant: Literal["unet", "simple"] = "unet"
    sample_rate: int = 44100
    seconds: float = 1.0
    channels: int = 1
    latent_size: int = 128
    widths: tuple[int, int, int, int] = (64, 128, 192, 256)
    blocks: int = 2
    bottleneck: int = 32
    hidden: int = 512
    noise: int = 64
    tones: int = 144
    skip: int = 16
    lowest_log_variance: float = -6.0

    def __post_init__(self) -> None:
        _among("variant", self.variant, ("unet", "simple"))
        _between("sample_rate", self.sample_rate, 8000, 192000, "Hz")
        _between("seconds", self.seconds, SHORTEST, LONGEST, "s")
        _between("channels", self.channels, 1, 2)
        _between("latent_size", self.latent_size, 1, 1024)
        for name in ("blocks", "bottleneck", "hidden", "noise", "tones", "skip"):
            _between(name, getattr(self, name), 1, 4096)
        if len(self.widths) != len(STRIDES) or not all(isinstance(w, int) and 1 <= w <= 4096 for w in self.widths):
            raise InputError(f"widths is {self.widths}: expected {len(STRIDES)} whole numbers from 1 to 4096")
        _between("lowest_log_variance", self.lowest_log_variance, -30, 0)

    @property
    def samples(self) -> int:
        """Of a sound, a multiple of `STRIDE`: at least `seconds`."""
        return -(-round(self.seconds * self.sample_rate) // STRIDE) * STRIDE

    @property
    def frames(self) -> int:
        """Of the bottleneck."""
        return self.samples // STRIDE

    @property
    def bottleneck_channels(self) -> int:
        return max(1, min(self.bottleneck, MOST_BOTTLENECK // self.frames))


@dataclass(frozen=True)
class TrainConfig(_Settings):
    """A training run. The defaults are those of "full".

    Attributes:
        epochs: passes over the data.
        batch, accumulate: sounds at once, and how many such batches make a step.
        learning_rate, weight_decay, clip: AdamW's, and the norm that gradients are cut to.
        schedule: "plateau" (`patience` epochs without a better validation loss, then times `factor`) or "cosine" (down
            to a tenth at the last epoch, after `warm_steps`).
        stop_after: epochs without a better validation loss that end the run; 0 for never.
        beta: weight of the KL divergence in nats, summed over the latents.
        annealing: "linear" or "sigmoid" over `warm_epochs`, or "cyclical" (linear, then a saw-tooth between half and
            all of beta, `cycle_epochs` long).
        free_bits: of each latent, in bits: below, its KL divergence costs nothing. 0 for none.
        stft_sizes: windows of the spectral loss.
        stft_every: batches from one with the spectral loss to the next.
        spectral_weight, complex_weight, waveform_weight, mel_weight, skip_weight: of the terms.
        generated_skips: part of the batches' sounds that are decoded with generated skips.
        validate_every, save_every: epochs. save_every also writes a checkpoint that later ones do not replace.
        precision: Lightning's: "32-true", "bf16-mixed", "16-mixed".
        threads: of the CPU; 0 for as many as there are.
        seed: equal seeds give equal runs on one machine.
    """

    epochs: int = 1500
    batch: int = 8
    accumulate: int = 2
    learning_rate: float = 1e-4
    weight_decay: float = 1e-3
    clip: float = 1.0
    schedule: Literal["plateau", "cosine"] = "plateau"
    warm_steps: int = 100
    patience: int = 150
    factor: float = 0.5
    stop_after: int = 400
    beta: float = 1e-3
    annealing: Literal["linear", "sigmoid", "cyclical"] = "linear"
    warm_epochs: int = 150
    cycle_epochs: int = 100
    free_bits: float = 0.25
    stft_sizes: tuple[int, ...] = (128, 256, 512, 1024, 2048, 4096)
    stft_every: int = 5
    spectral_weight: float = 1.0
    complex_weight: float = 0.1
    waveform_weight: float = 5.0
    mel_weight: float = 0.0
    skip_weight: float = 0.2
    generated_skips: float = 0.5
    validate_every: int = 1
    save_every: int = 100
    precision: str = "32-true"
    threads: int = 0
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "accumulate", "stft_every", "validate_every", "save_every", "patience"):
            _between(name, getattr(self, name), 1, 10**7)
        for name in ("stop_after", "warm_epochs", "warm_steps", "threads"):
            _between(name, getattr(self, name), 0, 10**7)
        _between("cycle_epochs", self.cycle_epochs, 1, 10**7)
        _between("learning_rate", self.learning_rate, 1e-9, 1)
        _between("factor", self.factor, 0.01, 0.99)
        _between("generated_skips", self.generated_skips, 0, 1)
        for name in ("weight_decay", "clip", "beta", "free_bits", "spectral_weight", "complex_weight"):
            _between(name, getattr(self, name), 0, 1e6)
        for name in ("waveform_weight", "mel_weight", "skip_weight"):
            _between(name, getattr(self, name), 0, 1e6)
        _among("schedule", self.schedule, ("plateau", "cosine"))
        _among("annealing", self.annealing, ("linear", "sigmoid", "cyclical"))
        _among("precision", self.precision, ("32-true", "bf16-mixed", "16-mixed"))
        if not self.stft_sizes or not all(16 <= size <= 2**15 for size in self.stft_sizes):
            raise InputError(f"stft_sizes is {self.stft_sizes}: expected windows of 16 to 32768 samples, one at least")


@dataclass(frozen=True)
class Preset:
    """A model and how it is trained; `help` says what for."""

    help: str
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


_SMALL = ModelConfig(
    seconds=0.5,
    latent_size=32,
    widths=(24, 80, 112, 128),
    blocks=1,
    bottleneck=32,
    hidden=256,
    skip=8,
    lowest_log_variance=-9.0,
)
_QUICK = TrainConfig(
    epochs=6,
    batch=4,
    accumulate=1,
    learning_rate=1.2e-3,
    weight_decay=1e-4,
    schedule="cosine",
    stop_after=0,
    beta=5e-5,
    mel_weight=16.0,
    waveform_weight=0.0,
    complex_weight=0.0,
    warm_epochs=2,
    stft_every=1,
    stft_sizes=(256, 2048),
    generated_skips=0.75,
    save_every=4,
    threads=1,
)

PRESETS: Final[Mapping[str, Preset]] = MappingProxyType(
    {
        "tiny": Preset(
            "0.5 s, 32 latents, 0.9 M parameters: minutes on two CPU cores",
            dataclasses.replace(_SMALL, widths=(16, 48, 64, 96), hidden=128),
            _QUICK,
        ),
        "drums": Preset(
            "what the shipped drum instrument was trained with: half an hour on two CPU cores", _SMALL, _QUICK
        ),
        "diverse": Preset(
            "the full model, cyclical annealing",
            train=TrainConfig(annealing="cyclical", beta=4e-3, warm_epochs=100),
        ),
        "full": Preset("1 s, 128 latents: for a GPU"),
    }
)


def preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        InputError: there is none.
    """
    if name not in PRESETS:
        raise InputError(f"no preset is called {name!r}: expected one of {', '.join(PRESETS)}")
    return PRESETS[name]
