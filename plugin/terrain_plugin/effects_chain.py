"""A chain of pedalboard effects, written in a line of text and run over a sound of any length.

reverb:room_size=0.4,wet_level=0.2        an effect of pedalboard, with its parameters
limiter                                   with pedalboard's own defaults
/usr/lib/vst3/Dragonfly.vst3:decay_s=4    any VST3 plugin, by its path
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

import numpy as np
import pedalboard

from terrain_core.autoencoders.protocol import Audio
from terrain_core.errors import FileError, InputError

EFFECTS: dict[str, tuple[type[pedalboard.Plugin], tuple[str, ...]]] = {
    "bitcrush": (pedalboard.Bitcrush, ("bit_depth",)),
    "brickwall": (pedalboard.BrickwallLimiter, ("ceiling_db", "release_ms", "lookahead_ms", "true_peak")),
    "chorus": (pedalboard.Chorus, ("rate_hz", "depth", "centre_delay_ms", "feedback", "mix")),
    "clipping": (pedalboard.Clipping, ("threshold_db",)),
    "compressor": (pedalboard.Compressor, ("threshold_db", "ratio", "attack_ms", "release_ms")),
    "convolution": (pedalboard.Convolution, ("impulse_response_filename", "mix")),
    "delay": (pedalboard.Delay, ("delay_seconds", "feedback", "mix")),
    "distortion": (pedalboard.Distortion, ("drive_db",)),
    "gain": (pedalboard.Gain, ("gain_db",)),
    "gate": (pedalboard.NoiseGate, ("threshold_db", "ratio", "attack_ms", "release_ms")),
    "gsm": (pedalboard.GSMFullRateCompressor, ()),
    "highpass": (pedalboard.HighpassFilter, ("cutoff_frequency_hz",)),
    "highshelf": (pedalboard.HighShelfFilter, ("cutoff_frequency_hz", "gain_db", "q")),
    "ladder": (pedalboard.LadderFilter, ("cutoff_hz", "resonance", "drive")),
    "limiter": (pedalboard.Limiter, ("threshold_db", "release_ms")),
    "lowpass": (pedalboard.LowpassFilter, ("cutoff_frequency_hz",)),
    "lowshelf": (pedalboard.LowShelfFilter, ("cutoff_frequency_hz", "gain_db", "q")),
    "mp3": (pedalboard.MP3Compressor, ("vbr_quality",)),
    "peak": (pedalboard.PeakFilter, ("cutoff_frequency_hz", "gain_db", "q")),
    "phaser": (pedalboard.Phaser, ("rate_hz", "depth", "centre_frequency_hz", "feedback", "mix")),
    "resample": (pedalboard.Resample, ("target_sample_rate",)),
    "reverb": (pedalboard.Reverb, ("room_size", "damping", "wet_level", "dry_level", "width", "freeze_mode")),
}
"""Name -> (pedalboard's class, its parameters). PitchShift is left out: in pedalboard 0.9 it gives silence when a
sound comes in blocks.
"""

SILENCE = 10 ** (-80 / 20)
"""A tail is over once it stays below -80 dBFS …"""

QUIET_S = 2.0
"""… for this long, so that the gaps between echoes do not end it."""

LONGEST_TAIL_S = 60.0
"""A tail that never ends (a frozen reverb) is cut here, with a fade."""

FADE_S = 2.0
"""How long that fade is."""

BLOCK = 8192
"""Samples that the effects are given at a time."""


def parse_effect(text: str) -> pedalboard.Plugin:
    """Make one effect from `name:parameter=value,…` or `path.vst3:parameter=value,…`.

    Raises:
        InputError: an unknown effect or parameter (the message lists those there are), or a value that is no number.
        FileError: the VST3 plugin or the impulse response does not open.
    """
    name, _, settings = text.partition(":")
    parameters = dict(_parse_setting(text, setting) for setting in settings.split(",") if setting.strip())
    if name.lower().rstrip("/").endswith(".vst3"):
        return _load_vst3(name, parameters)
    if name not in EFFECTS:
        raise InputError(
            f"effect {name!r} is unknown{_suggestion(name, EFFECTS)}: "
            f"use one of {', '.join(EFFECTS)}, or the path of a .vst3"
        )
    kind, known = EFFECTS[name]
    for parameter in parameters:
        if parameter not in known:
            raise InputError(
                f"effect {name} has no parameter {parameter!r}{_suggestion(parameter, known)}: use {', '.join(known)}"
            )
    return _make(text, kind, parameters)


def _suggestion(word: str, known: Sequence[str] | dict[str, Any]) -> str:
    close = get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _parse_setting(effect: str, setting: str) -> tuple[str, float | bool | str]:
    name, equals, value = (part.strip() for part in setting.partition("="))
    if not (name and equals and value):
        raise InputError(f"effect {effect!r}: {setting!r} should read parameter=value")
    if value.lower() in ("true", "false"):
        return name, value.lower() == "true"
    try:
        return name, float(value)
    except ValueError:
        return name, value


def _make(text: str, kind: type[pedalboard.Plugin], parameters: dict[str, float | bool | str]) -> pedalboard.Plugin:
    impulse_response = parameters.get("impulse_response_filename")
    if kind is pedalboard.Convolution and not impulse_response:
        raise InputError(
            f"effect {text!r} needs a sound to convolve with: convolution:impulse_response_filename=hall.wav"
        )
    if impulse_response and not Path(str(impulse_response)).is_file():
        raise FileError(str(impulse_response), "there is no such file to convolve with")
    try:
        return kind(**parameters)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"effect {text!r}: {_first_line(error)}") from error


def _load_vst3(path: str, parameters: dict[str, Any]) -> pedalboard.Plugin:
    if not Path(path).exists():
        raise FileError(path, "there is no such VST3 plugin")
    try:
        plugin: Any = pedalboard.VST3Plugin(path)
    except (ImportError, RuntimeError, ValueError) as error:
        raise FileError(path, f"does not open as a VST3 plugin: {_first_line(error)}") from error
    if not plugin.is_effect:
        raise InputError(f"{path} is an instrument, not an effect")
    for name, value in parameters.items():
        if name not in plugin.parameters:
            raise InputError(f"{path} has no parameter {name!r}: use {', '.join(plugin.parameters)}")
        try:
            setattr(plugin, name, value)
        except (TypeError, ValueError) as error:
            raise InputError(f"{path}: {name}={value}: {_first_line(error)}") from error
    return cast(pedalboard.Plugin, plugin)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


class EffectsChain:
    """Effects one after the other, over a sound that comes in pieces: however it is cut, the same samples come out.

    The effects themselves always see blocks of `BLOCK` samples, since pedalboard clears an effect's memory when a
    block is longer than the ones before, and some effects depend on the size. The latency of the effects is taken out:
    sample n of what comes out of `process` and `finish` together belongs to sample n of what went in. After the last
    sound comes the tail (reverb, echoes).
    """

    def __init__(self, effects: Sequence[pedalboard.Plugin], sample_rate: float, channels: int) -> None:
        self._board = pedalboard.Pedalboard(list(effects))  # type: ignore[attr-defined]  # its stub forgets it
        self._sample_rate = sample_rate
        self._waiting = np.zeros((channels, 0), dtype=np.float32)
        self._owed = 0  # samples that went in and have not come out yet

    def process(self, audio: Audio) -> Iterator[Audio]:
        """Pass the next piece, shape (channels, samples), through; what comes out is late by up to a block and the
        effects' latency.
        """
        if not len(self._board):
            yield audio
            return
        self._owed += audio.shape[1]
        self._waiting = np.concatenate([self._waiting, audio], axis=1)
        while self._waiting.shape[1] >= BLOCK:
            block, self._waiting = self._waiting[:, :BLOCK], self._waiting[:, BLOCK:]
            out = self._play(block)
            self._owed -= out.shape[1]
            yield out

    def finish(self) -> Iterator[Audio]:
        """What is still to come once the sound is over: the samples held back, then the tail until it is silent."""
        if not len(self._board):
            return
        block = np.zeros((len(self._waiting), BLOCK), dtype=np.float32)
        block[:, : self._waiting.shape[1]] = self._waiting
        tail = _Tail(self._sample_rate)
        for _ in range(math.ceil((self._owed + tail.limit) / BLOCK)):
            out = self._play(block)
            held_back, rest = out[:, : self._owed], out[:, self._owed :]
            self._owed -= held_back.shape[1]
            yield held_back
            yield from tail.pass_on(rest)
            if tail.over:
                return
            block = np.zeros_like(block)

    def _play(self, block: Audio) -> Audio:
        # pedalboard holds back as many samples at the start as its effects are late.
        try:
            played = self._board.process(block, self._sample_rate, buffer_size=BLOCK, reset=False)
        except ValueError as error:  # a VST3 plugin of another width
            raise InputError(f"{_first_line(error)} Effects are given {len(block)} channels.") from error
        return np.asarray(played, dtype=np.float32)


class _Tail:
    """Lets through what is heard, and the gaps in it, but not the silence at its end."""

    def __init__(self, sample_rate: float) -> None:
        self.limit = round(LONGEST_TAIL_S * sample_rate)
        self._patience = round(QUIET_S * sample_rate)
        self._fade = FADE_S * sample_rate
        self._position = 0
        self._gap: list[Audio] = []

    @property
    def over(self) -> bool:
        return self._position >= self.limit or sum(block.shape[1] for block in self._gap) >= self._patience

    def pass_on(self, block: Audio) -> Iterator[Audio]:
        if not block.size:
            return
        to_the_limit = self.limit - self._position - np.arange(block.shape[1])
        block = (block * np.clip(to_the_limit / self._fade, 0, 1)).astype(np.float32)
        self._position += block.shape[1]
        self._gap.append(block)
        if np.abs(block).max() >= SILENCE:
            yield from self._gap
            self._gap = []
