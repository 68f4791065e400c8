"""From controls at frame starts to host audio: everything that block mode and batch mode share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from terrain_core.autoencoders.protocol import Audio, Latents
from terrain_core.engine.clock import FrameClock
from terrain_core.engine.effects import Frames, LatentEffect, standard_effects
from terrain_core.engine.level import Gate, LevelRamp, RunState, Switch, level_gains, pressed
from terrain_core.engine.resampling import Resampler
from terrain_core.engine.sources import Sources
from terrain_core.instrument import Instrument
from terrain_core.parameters import Run


@dataclass
class Faults:
    """What went wrong and was covered up, so that it can be shown; counted since the engine was made."""

    control_values: int = 0
    """Parameter values that were no numbers; the last good one went on."""
    latent_frames: int = 0
    """Latent frames with NaN or infinity; the last good frame took their place."""
    audio_calls: int = 0
    """Decoder calls that gave NaN or infinity; silence took their place and the decoder began anew."""


CEILING: Final = 2.0
"""What the decoder's audio stays below before the level: 6 dB over full scale."""


class Player:
    """One voice of an instrument at a host's sample rate.

    Latency: host sample n of the output is what the controls at host sample n - `latency` lead to. It is the decoder's
    own delay plus the time soxr holds samples back; zero for a decoder without delay at the host's own rate, since a
    frame is decoded in the very block in which it starts. That block does the work of the whole frame: a host with
    short blocks sees one expensive block per frame, with hardly any work between (a host-side thread evens this out, at
    the price of latency).
    """

    def __init__(
        self,
        instrument: Instrument,
        sample_rate: float,
        *,
        seed: int,
        threads: int,
        hears: bool = False,
        effects: Sequence[LatentEffect] = (),
    ) -> None:
        autoencoder = instrument.autoencoder
        self.autoencoder = autoencoder
        self.clock = FrameClock(autoencoder.hop, autoencoder.sample_rate, sample_rate)
        self.sources = Sources(autoencoder, instrument.terrain, instrument.sound_map, hears=hears)
        self.faults = Faults()
        self._decoder = autoencoder.stream(seed=seed, threads=threads)
        self._effects = [*standard_effects(autoencoder, seed), *effects]
        self._resampler = Resampler(autoencoder.sample_rate, sample_rate, autoencoder.channels)
        decoder_delay = round(self._decoder.delay * self.clock.host_rate / autoencoder.sample_rate)
        self.latency = self._resampler.latency + decoder_delay
        """Host samples."""
        self._level = LevelRamp(autoencoder.hop, self._decoder.delay)
        self._gate = Gate(sample_rate, self.latency)
        self._run = RunState()
        self.restart(0)

    def append(self, effects: Sequence[LatentEffect]) -> None:
        """Put further latent effects after those that are there."""
        self._effects += effects

    def restart(self, frame_number: int) -> None:
        """Begin a new stream at the next host sample; what is left of the old one is dropped.

        Args:
            frame_number: number of its first frame (see `Frames.first`).
        """
        self._decoder.reset(frame_number)
        self._resampler.reset()
        self._level.reset()
        for effect in self._effects:
            effect.reset()
        self._good = self.autoencoder.latent_mean
        self._ready: Audio = np.zeros((self.autoencoder.channels, self._resampler.latency), np.float32)
        self._fresh = True

    @property
    def silent(self) -> bool:
        """Whether the gate is closed and nothing can be heard of what the decoder does."""
        return self._gate.silent

    def advance(self, samples: int, frames: Frames, due: NDArray[np.int64], switches: Sequence[Switch]) -> Audio:
        """Play on.

        Args:
            samples: how many host samples to give.
            frames: the frames that start within them, all of them.
            due: (frames,) their due samples, from the first of these samples.
            switches: changes of the transport and of held notes.
        Returns:
            (channels, samples)
        """
        if len(frames):
            self._ready = np.concatenate([self._ready, self._render(frames)], axis=1)
            switches = [*switches, *self._run_switches(frames, due)]
        audio, self._ready = self._ready[:, :samples], self._ready[:, samples:]
        return self._through_gate(audio, switches)

    def _run_switches(self, frames: Frames, due: NDArray[np.int64]) -> list[Switch]:
        if frames.controls.steady("run") == self._run.run:
            return []
        runs = frames.controls["run"]
        return [Switch(offset, run=Run(run)) for offset, run in zip(due.tolist(), runs.tolist(), strict=True)]

    def _through_gate(self, audio: Audio, switches: Sequence[Switch]) -> Audio:
        if self._fresh:  # a stream starts open or closed, not with a fade
            self._run.gate_steps([switch for switch in switches if switch.offset == 0])
            self._gate.reset(open=self._run.open)
            self._fresh = False
        return self._gate.process(audio, self._run.gate_steps(switches))

    def _render(self, frames: Frames) -> Audio:
        """The host audio that becomes ready with these frames."""
        playable = self.sources.playable(frames.controls)
        latents = self._hold_good(self.sources.latents(frames), playable)
        # A source that is not there: the last sound is held and faded out. Loops go on.
        loudness = pressed(frames.controls) * playable
        frames = replace(frames, loudness=loudness)
        for effect in self._effects:
            latents = effect.process(latents, frames)
            changed = getattr(effect, "loudness", None)
            if changed is not None and changed is not loudness:
                loudness = changed
                frames = replace(frames, loudness=loudness)
        audio = self._decode(self._hold_good(latents, True), frames)
        return self._resampler.process(self._level.process(audio, loudness * level_gains(frames.controls)))

    def _hold_good(self, latents: Latents, playable: NDArray[np.bool_] | bool) -> Latents:
        """The latents, each frame that no source made, or that holds NaN or infinity, replaced by the last good one."""
        if playable is not True or not np.isfinite(latents).all():
            finite = np.isfinite(latents).all(axis=1)
            good = finite & playable
            self.faults.latent_frames += int((~finite).sum())
            last_good = np.maximum.accumulate(np.where(good, np.arange(len(latents)), -1))
            latents = np.where(last_good[:, np.newaxis] >= 0, latents[last_good], self._good)
        self._good = latents[-1]
        return latents

    def _decode(self, latents: Latents, frames: Frames) -> Audio:
        audio = self._decoder.decode(latents)
        loudest = np.abs(audio).max(initial=0.0)
        if loudest <= 1:
            return audio
        if np.isfinite(loudest):
            return under_ceiling(audio)
        self.faults.audio_calls += 1
        self._decoder.reset(frames.first + len(frames))  # its state holds what made it fail
        return np.zeros_like(audio)


def under_ceiling(audio: Audio) -> Audio:
    """The decoder's audio, bent over above full scale so that it stays below `CEILING`; unchanged up to full scale.

    Latents far from everything that a decoder was trained on (Offset and Scale lead there) can come out a thousand
    times too loud. The bend is smooth and has no memory: it is the same for any way of cutting a stream.
    """
    size = np.abs(audio)
    room = np.float32(CEILING - 1)
    bent: Audio = np.copysign(1 + room * np.tanh((size - 1) / room), audio)
    return np.where(size > 1, bent, audio)
