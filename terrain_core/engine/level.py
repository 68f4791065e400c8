"""How loud: the Level and Pressure parameters, and the gate that the run modes open and close. Nothing here clicks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from terrain_core.autoencoders.protocol import Audio
from terrain_core.engine.controls import Controls
from terrain_core.parameters import PressureTarget, Run, by_key

FADE_SECONDS: Final = 0.01
"""Length of the gate's fades, in and out."""

_SILENT_DB = by_key("level").low


def pressed(controls: Controls) -> NDArray[np.float64]:
    """(frames,) how loud the hand plays: Pressure where it goes to Level, else 1."""
    if controls.steady("pressure") == 1:
        return np.ones(len(controls))
    return np.where(controls["pressure_target"] == PressureTarget.LEVEL, controls["pressure"], 1.0)


def level_gains(controls: Controls) -> NDArray[np.float64] | float:
    """(frames,) linear gain of Level in dB, silent at its bottom; 1 where it is that at all frames."""
    level_db = controls["level"]
    if controls.steady("level") == 0:
        return 1.0
    gains: NDArray[np.float64] = np.where(level_db > _SILENT_DB, 10 ** (level_db / 20), 0.0)
    return gains


class LevelRamp:
    """Gains read once a frame, applied to every sample: a straight line over the frame, from the frame before's gain to
    its own.

    The line is delayed as the decoder's audio is, so that level and latents of one moment are heard together.
    It stands before the resampler, where frames have a whole number of samples; a gain that changes this slowly passes
    the resampler unchanged.
    """

    def __init__(self, hop: int, delay: int) -> None:
        self._delay = delay
        self._ramp = (np.arange(1, hop + 1) / hop).astype(np.float32)
        self.reset()

    def reset(self) -> None:
        """Forget the past: the next frame starts at its own gain."""
        self._last: np.float32 | None = None
        self._pending = np.zeros(0, np.float32)  # gains of samples whose audio the decoder has yet to give
        self._steady = True  # whether all pending gains equal the last one

    def process(self, audio: Audio, gains: NDArray[np.float64]) -> Audio:
        """Apply gains (frames,) to the decoder's audio (channels, frames * hop)."""
        targets = gains.astype(np.float32)
        if not len(targets):
            return audio
        if self._last is None:
            self._last = targets[0]
            self._pending = np.full(self._delay, self._last, np.float32)
        if self._steady and (targets == self._last).all():
            return audio if self._last == 1 else audio * self._last
        return audio * self._curve(targets)

    def _curve(self, targets: NDArray[np.float32]) -> NDArray[np.float32]:
        """The gain of each sample of the audio that goes with these frames' latents, delayed."""
        before = np.concatenate([[self._last], targets[:-1]]).astype(np.float32)
        line = before[:, np.newaxis] + (targets - before)[:, np.newaxis] * self._ramp
        curve = np.concatenate([self._pending, line.ravel()])
        self._last = targets[-1]
        self._pending = curve[line.size :]
        self._steady = bool((self._pending == self._last).all())
        return curve[: line.size]


class GateStep(NamedTuple):
    """The gate begins to open or to close at a host sample of the block."""

    offset: int
    open: bool


class Switch(NamedTuple):
    """Something that run modes go by changes at a host sample of the block; None: it stays."""

    offset: int
    run: Run | None = None
    playing: bool | None = None
    notes: bool | None = None


class Gate:
    """Opens and closes at the very host sample (plus the engine's latency) at which a note or the transport starts and
    stops.

    Fades are raised cosines of 10 ms; one that is turned around half-way goes back from where it is.
    """

    def __init__(self, host_rate_hz: float, latency: int) -> None:
        self._length = max(1, round(FADE_SECONDS * host_rate_hz))
        steps = np.arange(self._length + 1) / self._length
        self._shape = (0.5 - 0.5 * np.cos(np.pi * steps)).astype(np.float32)
        self._latency = latency
        self.reset(open=True)

    def reset(self, *, open: bool) -> None:
        """Be open or closed, without a fade."""
        self._open = open
        self._position = self._length if open else 0  # in the fade
        self._pending = np.full(self._latency, self._shape[self._position])  # gains on their way to the output
        self._settled = True  # whether all of these, and all to come, are the same

    @property
    def silent(self) -> bool:
        """Whether it is closed and nothing is on its way to the output any more."""
        return self._settled and not self._open

    def process(self, audio: Audio, steps: Sequence[GateStep]) -> Audio:
        """Apply the gate to output audio (channels, samples); steps by rising offset."""
        if self._settled and all(step.open == self._open for step in steps):
            return audio if self._open else np.zeros_like(audio)
        samples = audio.shape[1]
        gains = np.concatenate([self._pending, self._curve(samples, steps)])
        self._pending = gains[samples:]
        arrived = self._position == (self._length if self._open else 0)
        self._settled = arrived and bool((self._pending == self._shape[self._position]).all())
        gated: Audio = audio * gains[:samples]
        return gated

    def _curve(self, samples: int, steps: Sequence[GateStep]) -> NDArray[np.float32]:
        """The gate's gain at the block's own samples, latency left aside."""
        edges = [*(step.offset for step in steps), samples]
        pieces = [self._go_on(edges[0])]
        for step, end in zip(steps, edges[1:], strict=True):
            self._open = step.open
            pieces.append(self._go_on(end - step.offset))
        return np.concatenate(pieces)

    def _go_on(self, samples: int) -> NDArray[np.float32]:
        """Gains of the next samples, on the way that was begun."""
        direction = 1 if self._open else -1
        positions = np.clip(self._position + direction * np.arange(1, samples + 1), 0, self._length)
        if samples:
            self._position = int(positions[-1])
        gains: NDArray[np.float32] = self._shape[positions]
        return gains


_FREE, _TRANSPORT = Run.FREE, Run.TRANSPORT  # looking up a member of an enumeration takes its time, every block


class RunState:
    """What the run modes go by; says when the gate is open."""

    def __init__(self) -> None:
        self.run = Run.FREE
        self.playing = True
        self.notes = False

    @property
    def open(self) -> bool:
        return self.run == _FREE or (self.playing if self.run == _TRANSPORT else self.notes)

    def gate_steps(self, switches: Sequence[Switch]) -> list[GateStep]:
        """Take in a block's switches; give the gate's steps that follow."""
        if not switches:
            return []
        steps = []
        before = self.open
        for switch in sorted(switches, key=lambda switch: switch.offset):
            self.run = self.run if switch.run is None else switch.run
            self.playing = self.playing if switch.playing is None else switch.playing
            self.notes = self.notes if switch.notes is None else switch.notes
            if self.open != before:
                before = self.open
                steps.append(GateStep(switch.offset, before))
        return steps
