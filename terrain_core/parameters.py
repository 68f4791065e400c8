"""The one table of parameters: hosts, editor, command line, the C++ shim and the docs all read it.

Ids are for ever: projects on musicians' disks refer to them. A new parameter gets a new id (under 2^31, since
DAWproject stores them as signed 32-bit integers), and the id of a parameter that goes is never used again.

Places in the table are for ever too: Ardour's sessions and REAPER's envelopes name a parameter by its place in the
plugin's list. A new parameter goes to the end.

Plain values are what a musician reads (dB, ms, 0..1); normalised values are what VST3 and Ableton Live store (0..1).
The law between the two is a straight line for every parameter, so that a straight line between two VST3 points is a
straight line in plain values as well and VST3 and CLAP automation mean the same.

`python -m terrain_core.parameters` prints the table as Markdown: it is how `docs/parameters.md` is made.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from terrain_core.errors import InputError

LATENT_KNOBS = 8
"""How many latents have their own offset and scale parameter."""

LOOP_SLOTS = 64
"""How many loops of a chain the loop parameters reach."""

OFF_ON = ("Off", "On")


class PressureTarget(enum.IntEnum):
    """What the Pressure control does (parameter 5, "Pressure To")."""

    LEVEL = 0
    INTENSITY = 1
    Z = 2
    OFF = 3


class Source(enum.IntEnum):
    """Where latents come from (parameter 8)."""

    TERRAIN = 0
    MAP = 1
    INPUT = 2


class Run(enum.IntEnum):
    """When the instrument sounds (parameter 13)."""

    FREE = 0
    TRANSPORT = 1
    NOTES = 2


class Blend(enum.IntEnum):
    """How the sound map blends (parameter 56)."""

    OWN = 0
    DISTANCE = 1
    NATURAL = 2


class Status(enum.IntEnum):
    """What the plugin says of its engine (parameter 16, read-only)."""

    OFF = 0
    STARTING = 1
    READY = 2
    LOADING = 3
    RESTARTING = 4
    NO_ENGINE = 5
    WRONG_VERSION = 6


@dataclass(frozen=True)
class Parameter:
    """One row of the table.

    Attributes:
        id: what hosts and project files refer to; never changes.
        key: what this project's files and command line call it; never changes.
        name: what a host shows.
        low, high, default: plain values, in `unit`.
        unit: "dB", "ms", "BPM", or "" for a bare number.
        group: heading under which hosts and docs list it.
        choices: names of the values 0, 1, 2, … of a parameter that picks one of several; None for a number.
        help: one sentence for the musician.
        integer: a number without decimals; always true where there are choices.
        read_only: the plugin says it, nobody sets it; hosts show it and do not automate it.
    """

    id: int
    key: str
    name: str
    low: float
    high: float
    default: float
    unit: str
    group: str
    choices: tuple[str, ...] | None
    help: str
    integer: bool = False
    read_only: bool = False

    @property
    def stepped(self) -> bool:
        """Whether the parameter jumps from value to value (choices and whole numbers)."""
        return self.integer or self.choices is not None

    @property
    def steps(self) -> int:
        """VST3's step count: number of values minus one; 0 for a continuous parameter."""
        return round(self.high - self.low) if self.stepped else 0

    def clamp(self, value: float) -> float:
        """The nearest value that the parameter can take; NaN gives the default."""
        if math.isnan(value):
            return self.default
        value = min(max(value, self.low), self.high)
        return float(round(value)) if self.stepped else value

    def to_normalised(self, value: float) -> float:
        """Plain value to 0..1."""
        return (self.clamp(value) - self.low) / (self.high - self.low)

    def from_normalised(self, normalised: float) -> float:
        """0..1 to plain value. Stepped parameters cut 0..1 into equal parts, as VST3 prescribes: min(steps, floor(x *
        (steps + 1))).
        """
        if math.isnan(normalised):
            return self.default
        normalised = min(max(normalised, 0.0), 1.0)
        if self.stepped:
            return self.low + min(self.steps, math.floor(normalised * (self.steps + 1)))
        return self.clamp(self.low + normalised * (self.high - self.low))

    def text(self, value: float) -> str:
        """The value as a musician reads it, e.g. "-6.0 dB", "Transport", "0.500"."""
        value = self.clamp(value)
        if value in self._words():
            return self._words()[value]
        number = f"{value:z.{self.decimals}f}"  # z: hosts round, and -0.0 is no level that anybody has set
        return f"{number} {self.unit}".rstrip()

    def parse(self, text: str) -> float:
        """The value that a text means: what `text` writes, a choice in any case, or a number with or without its unit.

        Raises:
            InputError: neither a choice nor a number in range.
        """
        wanted = text.strip().casefold()
        for value, word in self._words().items():
            if wanted == word.casefold():
                return value
        number = wanted.removesuffix(self.unit.casefold()).rstrip()
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not self.low <= value <= self.high or (self.stepped and value != round(value)):
            raise InputError(f"{self.name} cannot be {text.strip()!r}: expected {self._expected()}")
        return value

    def _words(self) -> dict[float, str]:
        """Values that have a name."""
        if self.choices is not None:
            return {float(index): choice for index, choice in enumerate(self.choices)}
        return dict(SPECIAL_WORDS.get(self.key, {}))

    @property
    def decimals(self) -> int:
        """How many decimals `text` writes."""
        return 0 if self.stepped else 3 if self.high - self.low <= 10 else 1

    def _expected(self) -> str:
        if self.choices is not None:
            return " or ".join(self.choices)
        unit = f" {self.unit}" if self.unit else ""
        return f"a {'whole ' if self.stepped else ''}number from {self.low:g} to {self.high:g}{unit}"


SPECIAL_WORDS: Mapping[str, Mapping[float, str]] = {
    "level": {-60.0: "-inf dB"},  # the bottom of the fader is silence, as on a mixing desk
    "sync_bpm": {0.0: "Host"},
    "loop_length": {0.0: "Own"},
    "loop_blend": {0.0: "Own"},
    "blend_power": {0.0: "Own"},
    "blend_radius": {0.0: "Own"},
}


def _number(
    id: int,
    key: str,
    name: str,
    low: float,
    high: float,
    default: float,
    unit: str,
    group: str,
    help: str,
    *,
    integer: bool = False,
    read_only: bool = False,
) -> Parameter:
    return Parameter(id, key, name, low, high, default, unit, group, None, help, integer, read_only)


def _choice(
    id: int,
    key: str,
    name: str,
    choices: tuple[str, ...],
    group: str,
    help: str,
    *,
    default: float = 0.0,
    read_only: bool = False,
) -> Parameter:
    return Parameter(id, key, name, 0.0, len(choices) - 1.0, default, "", group, choices, help, True, read_only)


PARAMETERS: tuple[Parameter, ...] = (
    _number(1, "x", "X", 0.0, 1.0, 0.5, "", "Position", "First control dimension, from its low to its high bound."),
    _number(2, "y", "Y", 0.0, 1.0, 0.5, "", "Position", "Second control dimension, from its low to its high bound."),
    _number(
        3, "pressure", "Pressure", 0.0, 1.0, 1.0, "", "Position", "The pen's pressure; Pressure To says what it does."
    ),
    _number(4, "z", "Z", 0.0, 1.0, 0.5, "", "Position", "Third control dimension, where a terrain has one."),
    _choice(
        5,
        "pressure_target",
        "Pressure To",
        ("Level", "Intensity", "Z", "Off"),
        "Position",
        "Pressure multiplies the level or the intensity, takes the place of Z, or does nothing.",
    ),
    _number(6, "level", "Level", -60.0, 12.0, 0.0, "dB", "Output", "Loudness; the bottom is silence."),
    _number(
        7, "glide", "Glide", 0.0, 5000.0, 0.0, "ms", "Latents", "Time constant in which latents approach their target."
    ),
    _choice(
        8,
        "source",
        "Source",
        ("Terrain", "Map", "Input"),
        "Source",
        "Latents come from the terrain, from the sound map, or from incoming audio through the encoder.",
    ),
    _choice(9, "snap", "Snap", ("Off", "On"), "Source", "Sound map: play the nearest sound, not a blend."),
    _number(
        10,
        "neighbours",
        "Neighbours",
        1,
        32,
        8,
        "",
        "Source",
        "Sound map: how many sounds a blend takes.",
        integer=True,
    ),
    _number(
        11,
        "intensity",
        "Intensity",
        0.0,
        2.0,
        1.0,
        "",
        "Latents",
        "Distance from the latent mean: 0 is the mean, 1 as it comes.",
    ),
    _number(
        12,
        "noise",
        "Noise",
        0.0,
        1.0,
        0.0,
        "",
        "Latents",
        "Random motion of the latents; 1 is the autoencoder's own spread.",
    ),
    _choice(
        13,
        "run",
        "Run",
        ("Free", "Transport", "Notes"),
        "Output",
        "It sounds always, while the host plays, or while a note is held.",
    ),
    _number(
        14,
        "sync_bpm",
        "Sync BPM",
        0.0,
        400.0,
        0.0,
        "BPM",
        "Output",
        "Tempo for hosts that report none; Host (or less than 20) trusts the host.",
    ),
    _choice(
        15,
        "bypass",
        "Bypass",
        ("Off", "On"),
        "Output",
        "Incoming audio goes through untouched, or nothing is heard where there is none.",
    ),
    _choice(
        16,
        "status",
        "Status",
        ("Off", "Starting", "Ready", "Loading", "Restarting", "No Engine", "Wrong Version"),
        "Output",
        "How the plugin's engine is; read-only.",
        read_only=True,
    ),
    *(
        _number(
            39 + n,
            f"offset_{n}",
            f"Offset {n}",
            -3.0,
            3.0,
            0.0,
            "",
            "Latents",
            f"Added to latent {n}, in its standard deviations.",
        )
        for n in range(1, LATENT_KNOBS + 1)
    ),
    *(
        _number(
            47 + n,
            f"scale_{n}",
            f"Scale {n}",
            0.0,
            2.0,
            1.0,
            "",
            "Latents",
            f"Multiplies latent {n}'s distance from its mean.",
        )
        for n in range(1, LATENT_KNOBS + 1)
    ),
    # The looper's: they drive the loop that Loop Slot chooses. Each has a value that leaves the loop as it is.
    _number(
        20,
        "loop_slot",
        "Loop Slot",
        1,
        LOOP_SLOTS,
        1,
        "",
        "Loop",
        "Which loop the other loop parameters drive, from the moment they move.",
        integer=True,
    ),
    _choice(
        21, "loop_record", "Loop Record", OFF_ON, "Loop", "On records a new loop; off ends it and plays it on and on."
    ),
    _choice(22, "loop_play", "Loop Play", OFF_ON, "Loop", "Off stops the loop, on plays it again.", default=1.0),
    _choice(
        23, "loop_overdub", "Loop Overdub", OFF_ON, "Loop", "While it is on, what is played is blended into the loop."
    ),
    _number(
        24,
        "loop_length",
        "Loop Length",
        0.0,
        256.0,
        0.0,
        "beats",
        "Loop",
        "Length of what is recorded next; at 0 it is the loop's own, or as long as is played.",
    ),
    _choice(
        25,
        "loop_quantise",
        "Loop Quantise",
        ("Own", "Off", "Beat", "Bar", "Loop"),
        "Loop",
        "What actions wait for; Own is as the loop itself says.",
    ),
    _number(
        26,
        "loop_speed",
        "Loop Speed",
        -4.0,
        4.0,
        1.0,
        "",
        "Loop",
        "Multiplies the loop's own speed; 0.5 is half as fast at the same pitch.",
    ),
    _choice(27, "loop_reverse", "Loop Reverse", OFF_ON, "Loop", "The loop goes backwards from where it is."),
    _number(
        28,
        "loop_feedback",
        "Loop Feedback",
        0.0,
        1.0,
        1.0,
        "",
        "Loop",
        "How much of the loop stays in each overdubbed pass, times the loop's own.",
    ),
    _number(
        29, "loop_mix", "Loop Mix", 0.0, 1.0, 1.0, "", "Loop", "From the hand (0) to the loop (1), times its own mix."
    ),
    _choice(30, "loop_undo", "Loop Undo", OFF_ON, "Loop", "Switched on, takes the last change back."),
    _choice(31, "loop_redo", "Loop Redo", OFF_ON, "Loop", "Switched on, makes the change again."),
    _choice(32, "loop_clear", "Loop Clear", OFF_ON, "Loop", "Switched on, empties the loop; Loop Undo brings it back."),
    _choice(33, "loop_mute", "Loop Mute", OFF_ON, "Loop", "The loop goes on and is not heard."),
    _choice(
        34,
        "loop_action",
        "Loop Action",
        (
            "None",
            "Record",
            "Play",
            "Overdub",
            "Replace",
            "Substitute",
            "Multiply",
            "Insert",
            "Stop",
            "Mute",
            "Undo",
            "Redo",
            "Clear",
            "Reverse",
            "Half",
            "Double",
            "Trigger",
            "One-Shot",
            "Freeze",
        ),
        "Loop",
        "Does what it is turned to, once; go by way of None to do it again.",
    ),
    _number(
        35,
        "loop_blend",
        "Loop Blend",
        0.0,
        1.0,
        0.0,
        "",
        "Loop",
        "How much of what is played an overdub takes in; Own is as the loop itself says.",
    ),
    _number(
        36, "loop_level", "Loop Level", -60.0, 12.0, 0.0, "dB", "Loop", "How loud the loop is; the bottom is silence."
    ),
    _choice(
        37,
        "loop_state",
        "Loop State",
        (
            "Empty",
            "Armed",
            "Recording",
            "Ending",
            "Playing",
            "Overdubbing",
            "Replacing",
            "Substituting",
            "Multiplying",
            "Inserting",
            "Stopped",
        ),
        "Loop",
        "What the chosen loop does; Armed and Ending wait for what Loop Quantise says; read-only.",
        read_only=True,
    ),
    _number(
        38,
        "loop_phase",
        "Loop Phase",
        0.0,
        1.0,
        0.0,
        "",
        "Loop",
        "Where in the chosen loop it is; read-only.",
        read_only=True,
    ),
    _choice(
        39,
        "tap",
        "Tap",
        OFF_ON,
        "Output",
        "Switched on in the beat, gives the tempo where neither the host nor Sync BPM does.",
    ),
    _choice(
        56,
        "blend",
        "Blend",
        ("Own", "Distance", "Natural"),
        "Source",
        "Sound map: sounds weigh by their distance, or natural neighbours by their cells; Own is as the map says.",
    ),
    _number(
        57,
        "blend_power",
        "Blend Power",
        0.0,
        8.0,
        0.0,
        "",
        "Source",
        "Sound map: exponent of the inverse distance, how much a sound keeps for itself; Own is as the map says.",
    ),
    _number(
        58,
        "blend_radius",
        "Blend Radius",
        0.0,
        1.5,
        0.0,
        "",
        "Source",
        "Sound map: sounds further away take no part, in parts of the map's side; Own is as the map says.",
    ),
)

DEFAULTS: Mapping[str, float] = MappingProxyType({parameter.key: parameter.default for parameter in PARAMETERS})
"""key -> default, in plain values."""

_BY_ID = {parameter.id: parameter for parameter in PARAMETERS}
_BY_KEY = {parameter.key: parameter for parameter in PARAMETERS}


def by_id(id: int) -> Parameter:
    """The parameter with this id.

    Raises:
        InputError: there is none.
    """
    if id not in _BY_ID:
        raise InputError(f"no parameter has the id {id}: expected one of {', '.join(map(str, _BY_ID))}")
    return _BY_ID[id]


def by_key(key: str) -> Parameter:
    """The parameter with this key.

    Raises:
        InputError: there is none.
    """
    if key not in _BY_KEY:
        raise InputError(f"no parameter is called {key!r}: expected one of {', '.join(_BY_KEY)}")
    return _BY_KEY[key]


def markdown() -> str:
    """The table as `docs/parameters.md` shows it."""
    lines = [
        "# Parameters",
        "",
        "Made by `python -m terrain_core.parameters`; the table itself is `terrain_core/parameters.py`.",
        "",
        "Ids never change. Hosts that speak normalised values (VST3) see 0..1 along a straight line from the lowest to",
        "the highest value.",
        "",
        "| id | key | name | values (default) | group | what it does |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {p.id} | `{p.key}` | {p.name} | {_values(p)} ({p.text(p.default)}) | {p.group} | {p.help} |"
        for p in PARAMETERS
    ]
    return "\n".join(lines) + "\n"


def _values(parameter: Parameter) -> str:
    if parameter.choices is not None:
        return ", ".join(parameter.choices)
    return f"{parameter.low:g}..{parameter.high:g} {parameter.unit}".rstrip()


if __name__ == "__main__":
    print(markdown(), end="")
