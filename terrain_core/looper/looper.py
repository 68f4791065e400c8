"""A looper as a value: what it is set to and what it holds. `voice` plays it."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from terrain_core.autoencoders.protocol import Autoencoder
from terrain_core.errors import InputError
from terrain_core.lanes import Lane
from terrain_core.looper.layer import INTERPOLATIONS, Interpolation, Layer
from terrain_core.tempo import TempoMap

if TYPE_CHECKING:
    from terrain_core.instrument import Instrument

Quantise = Literal["none", "beat", "bar", "loop"]
Rounding = Literal["free", "beat", "bar", "loop"]
Kind = Literal["latents", "coordinates"]

SHORTEST, LONGEST = Fraction(1, 16), Fraction(256)
"""Beats that a loop may have."""

FASTEST: Final = 4.0

SILENT_DB: Final = -60.0
"""A loop's level at which it is silent, as a fader's bottom."""


def fraction(value: Fraction | float | int | str) -> Fraction:
    """A number of beats, also as text: "4", "7/3", "2.5".

    Raises:
        InputError: neither; also a text with an exponent, which could ask for a number of a billion digits.
    """
    if isinstance(value, str) and not re.fullmatch(r"\s*\d{1,9}(/\d{1,9}|\.\d{1,9})?\s*", value):
        raise InputError(f"{value[:40]!r} is no number of beats, expected one such as 4, 2.5 or 7/3")
    try:
        return Fraction(value).limit_denominator(1 << 20)
    except (TypeError, ValueError, OverflowError, ZeroDivisionError):
        raise InputError(f"{value!r} is no number of beats, expected one such as 4, 2.5 or 7/3") from None


class Action(enum.Enum):
    """What a player does to a looper."""

    RECORD = "record"  # begins a new loop; again: ends it and plays
    PLAY = "play"  # ends whatever writes, and plays
    OVERDUB = "overdub"  # blends what comes into the loop; again: plays
    REPLACE = "replace"  # what comes takes the loop's place, and is heard
    SUBSTITUTE = "substitute"  # the same, but the old is heard meanwhile
    MULTIPLY = "multiply"  # overdubs over as many repetitions as it takes, which become the loop
    INSERT = "insert"  # what comes is put in at this place; the loop gets longer
    STOP = "stop"
    MUTE = "mute"  # and again: not
    UNDO = "undo"
    REDO = "redo"
    CLEAR = "clear"
    REVERSE = "reverse"  # and again: forwards
    HALF = "half"  # half the speed
    DOUBLE = "double"
    TRIGGER = "trigger"  # play from the loop's beginning, now
    ONE_SHOT = "one-shot"  # the same, once
    FREEZE = "freeze"  # the frozen latents stay as they are now; again: go on


class State(enum.Enum):
    """What a looper is doing."""

    EMPTY = "empty"
    WAIT_START = "waiting to start"
    RECORDING = "recording"
    WAIT_STOP = "waiting to stop"
    PLAYING = "playing"
    OVERDUBBING = "overdubbing"
    REPLACING = "replacing"
    SUBSTITUTING = "substituting"
    MULTIPLYING = "multiplying"
    INSERTING = "inserting"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Looper:
    """A looper. Every setting has the value that does nothing.

    Attributes:
        name: unique within a chain.
        beats: the loop's length in quarter notes, 1/16 to 256, any fraction; None: what is played, rounded to
            `round_to`.
        quantise: what actions wait for: nothing, the next beat, bar, or the loop's beginning.
        round_to: to what a free length is rounded.
        count_in: beats between the boundary and the recording.
        threshold: recording waits until the pressure is above this; 0: it does not wait.
        overdub: how much of what comes is blended in, 0 (nothing) to 1 (all of it).
        feedback: how much of what was there stays in a pass that is overdubbed, 0..1.
        crossfade: beats over which a recording's end is blended into its beginning.
        speed: -4 to 4; 0.5 is half as fast and nothing else.
        locked: the phase follows from the song's position alone (ratio-locked), so that a change of speed jumps; else
            it goes on from where it is.
        one_shot: play once from each trigger.
        kind: the loop holds latents, or coordinates that are played on whatever terrain is there.
        interpolation: between the loop's vectors.
        level: dB, -60 (silence) to 12: how loud the loop is beside what was recorded.
        mix: 0 (what comes in) to 1 (the loop).
        morph: from the loop (0) to the one before the last change (1), what UNDO would bring back.
        decay: of the distance from the latent mean, how much each pass loses, 0..1.
        mutate: standard deviations of noise, anew in each pass.
        transpose: shape (D,), added in standard deviations.
        swing: 0.5 (even) to 0.75: where in each pair of `swing_grid`s the second begins.
        swing_grid: beats.
        slices: which slice plays at which place; of as many as there are. Empty: as they come.
        frozen: latents that FREEZE holds, counted from 0; empty: all of them.
        seed: of the mutation.
        muted: whether it begins muted.
        layer: what it holds; None: nothing yet.
        origin: the beat at which the loop's phase is 0.
    """

    name: str
    beats: Fraction | float | int | None = None
    quantise: Quantise = "bar"
    round_to: Rounding = "beat"
    count_in: float = 0.0
    threshold: float = 0.0
    overdub: float = 0.5
    feedback: float = 1.0
    crossfade: float = 0.0
    speed: float = 1.0
    locked: bool = False
    one_shot: bool = False
    kind: Kind = "latents"
    interpolation: Interpolation = "linear"
    level: float = 0.0
    mix: float = 1.0
    morph: float = 0.0
    decay: float = 0.0
    mutate: float = 0.0
    transpose: tuple[float, ...] = ()
    swing: float = 0.5
    swing_grid: float = 0.5
    slices: tuple[int, ...] = ()
    frozen: tuple[int, ...] = ()
    seed: int = 0
    muted: bool = False
    layer: Layer | None = None
    origin: float = 0.0

    def __post_init__(self) -> None:
        if self.beats is not None:
            beats = fraction(self.beats)
            if not SHORTEST <= beats <= LONGEST:
                raise InputError(f"looper {self.name!r} has {self.beats} beats, expected {SHORTEST} to {LONGEST}")
            object.__setattr__(self, "beats", beats)
        if self.layer is not None and self.beats is None:
            raise InputError(f"looper {self.name!r} holds a loop, and does not say how many beats it has")
        for name, low, high in RANGES:
            if not low <= getattr(self, name) <= high:
                raise InputError(f"looper {self.name!r} has {name}={getattr(self, name)}, expected {low:g} to {high:g}")
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise InputError(
                    f"looper {self.name!r} has {name}={getattr(self, name)!r}, expected one of {', '.join(choices)}"
                )
        if any(not 0 <= index < len(self.slices) for index in self.slices):
            raise InputError(
                f"looper {self.name!r} has slices {self.slices}, expected numbers from 0 to their count - 1"
            )

    def holding(self, layer: Layer, beats: Fraction | float | int, origin: float = 0.0) -> Looper:
        """The same looper with a loop in it."""
        return replace(self, layer=layer, beats=fraction(beats), origin=origin)

    def record(
        self, instrument: Instrument, gesture: Iterable[Lane], at: str | float = "1.1", tempo: float = 120.0
    ) -> Looper:
        """The same looper with a gesture in it, played on an instrument's terrain.

        Args:
            gesture: lanes over beats (or seconds, at `tempo`) from 0 on, that drive X, Y, Z and Pressure (how loud).
            at: where the loop begins, "bar.beat" in 4/4, or in beats.
            tempo: bpm at which it is played: how many frames the loop gets.
        Raises:
            InputError: the looper has no length, the instrument no terrain, or the place is none.
        """
        terrain = instrument.terrain
        if self.beats is None or terrain is None:
            missing = "a length (beats=)" if self.beats is None else "an instrument with a terrain"
            raise InputError(f"looper {self.name!r} needs {missing} to record a gesture")
        beats = float(self.beats)
        frame_rate = instrument.autoencoder.sample_rate / instrument.autoencoder.hop
        count = max(round(beats * 60 / tempo * frame_rate), 1)
        phases = np.arange(count) / count
        columns = {
            lane.key: lane.values_at(phases * beats * 60 / tempo, TempoMap.constant(tempo))
            for lane in gesture
            if lane.key
        }
        unit = np.full((count, terrain.control_size), 0.5)
        for dimension, key in enumerate(("x", "y", "z")[: terrain.control_size]):
            if key in columns:
                unit[:, dimension] = np.clip(columns[key], 0, 1)
        vectors = unit if self.kind == "coordinates" else terrain.at(unit)
        loudness = np.clip(columns["pressure"], 0, 1) if "pressure" in columns else None
        return self.holding(Layer.of(phases, vectors.astype(np.float32), loudness), self.beats, beat_of(at))

    def with_settings(self, settings: Mapping[str, Any]) -> Looper:
        """The same looper with other settings, by name.

        Raises:
            InputError: no such setting, or a value that it cannot have.
        """
        known = {field.name for field in fields(self)} - {"name", "layer"}
        for name in settings:
            if name not in known:
                raise InputError(
                    f"looper {self.name!r} has no setting {name!r}, expected one of {', '.join(sorted(known))}"
                )
        return replace(self, **settings)

    def settings(self) -> dict[str, Any]:
        """Everything but the loop itself, as JSON values; undone by `from_settings`."""
        plain = asdict(replace(self, layer=None))
        del plain["layer"]
        if self.beats is not None:
            plain["beats"] = str(self.beats)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], layer: Layer | None = None) -> Looper:
        """The looper of `settings`, with a loop in it or not.

        Raises:
            InputError: a setting that there is not, or a value that it cannot have.
        """
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
        try:
            if plain.get("beats") is not None:
                plain["beats"] = fraction(plain["beats"])
            return cls(**plain, layer=layer)
        except InputError:
            raise
        except (TypeError, ValueError, ZeroDivisionError) as error:
            raise InputError(f"a looper's settings make no sense ({error})") from None

    def shuffled(self, count: int, seed: int = 0) -> Looper:
        """The same looper with its loop cut into `count` slices, in an order drawn by `seed`."""
        order = np.random.default_rng(seed).permutation(count)
        return replace(self, slices=tuple(int(index) for index in order))

    def stuttered(self, count: int, slice_: int = 0) -> Looper:
        """The same looper with one of `count` slices in the place of all."""
        return replace(self, slices=(slice_,) * count)


def beat_of(place: str | float) -> float:
    """ "2.3" (bar 2, beat 3, in 4/4) or a number of beats -> beats.

    Raises:
        InputError: neither.
    """
    if not isinstance(place, str):
        return float(place)
    bar, dot, beat = place.partition(".")
    if not (bar.isdecimal() and int(bar) >= 1 and (not dot or (beat.isdecimal() and int(beat) >= 1))):
        raise InputError(f"{place!r} is no place in a song, expected bar.beat, such as 1.1")
    return (int(bar) - 1) * 4.0 + (int(beat) - 1 if dot else 0)


RANGES: Final = (
    ("count_in", 0.0, 64.0),
    ("threshold", 0.0, 1.0),
    ("overdub", 0.0, 1.0),
    ("feedback", 0.0, 1.0),
    ("crossfade", 0.0, 16.0),
    ("speed", -FASTEST, FASTEST),
    ("level", SILENT_DB, 12.0),
    ("mix", 0.0, 1.0),
    ("morph", 0.0, 1.0),
    ("decay", 0.0, 1.0),
    ("mutate", 0.0, 4.0),
    ("swing", 0.5, 0.75),
    ("swing_grid", 1 / 64, 64.0),
)
CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "quantise": ("none", "beat", "bar", "loop"),
    "round_to": ("free", "beat", "bar", "loop"),
    "kind": ("latents", "coordinates"),
    "interpolation": tuple(INTERPOLATIONS),
}


@dataclass(frozen=True)
class Statistics:
    """Mean and spread of the vectors that a looper handles, shape (D,) each."""

    mean: Any
    std: Any

    @classmethod
    def of(cls, autoencoder: Autoencoder) -> Statistics:
        """Those of an autoencoder's latents."""
        return cls(autoencoder.latent_mean.astype(np.float32), autoencoder.latent_std.astype(np.float32))
