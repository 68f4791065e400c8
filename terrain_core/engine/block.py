"""Block mode: the host hands over blocks of samples, the engine answers each with as many."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from terrain_core.autoencoders.one_shot import OneShotAutoencoder
from terrain_core.autoencoders.protocol import Audio
from terrain_core.engine.controls import ControlState
from terrain_core.engine.effects import LatentEffect
from terrain_core.engine.events import Block
from terrain_core.engine.hits import HitBlocks
from terrain_core.engine.player import Faults
from terrain_core.engine.song import SongPosition, TapTempo
from terrain_core.engine.stream_blocks import StreamBlocks
from terrain_core.errors import InputError
from terrain_core.instrument import Instrument
from terrain_core.parameters import Source, by_key

TAP, SYNC_BPM = by_key("tap").id, by_key("sync_bpm").id


class Blocks(Protocol):
    """How one kind of autoencoder answers blocks. The engine owns song and controls, and lends them."""

    @property
    def rate(self) -> float:
        """The host's, in Hz."""

    @property
    def latency(self) -> int:
        """Host samples."""

    @property
    def input_delay_frames(self) -> int:
        """See `Engine.input_delay_frames`."""

    @property
    def faults(self) -> Faults:
        """What went wrong and was covered up."""

    @property
    def voices(self) -> int:
        """See `Engine.voices`."""

    def problem(self, source: Source) -> str:
        """Why nothing is to be heard with that source; else empty."""

    def warm_up_blocks(self, max_block: int) -> tuple[int, ...]:
        """Lengths of the blocks that the slow first calls are made with."""

    def warmed_up(self, effects: Sequence[LatentEffect]) -> None:
        """Forget the warm-up's faults, take the effects in."""

    def prepare(self, values: NDArray[np.float64]) -> None:
        """Make ahead what these control values (one a parameter) will want."""

    def reset(self, song: SongPosition) -> None:
        """Begin a new stream there."""

    def process(self, block: Block, song: SongPosition, controls: ControlState, *, starts: bool) -> Audio:
        """The next (channels, samples); `starts` says that the song starts or jumps here."""


class Engine:
    """An instrument that a host plays. One thread at a time; any number of engines may share an instrument.

    The life of an engine: made (slow: sessions, filters, warm-up; off the audio thread), then `process` block by block,
    `reset` where the host's stream breaks off (activation, start of a bounce). The output does not depend on how the
    input is cut into blocks.

    What the instrument's autoencoder is decides how blocks are answered: a stream of frames
    (`terrain_core.engine.stream_blocks`), or hits that notes begin (`terrain_core.engine.hits`).
    """

    def __init__(
        self,
        instrument: Instrument,
        sample_rate: float,
        max_block: int = 1024,
        seed: int = 0,
        *,
        effects: Sequence[LatentEffect] = (),
    ) -> None:
        """
        Args:
            instrument: what to play.
            sample_rate: the host's, in Hz.
            max_block: the longest block to be expected; longer ones work, but only these are warmed up.
            seed: same seed, same noise.
            effects: latent effects after the standard ones, in their order. They work on frames that follow each other:
                hits are none, and pass them by.
        Raises:
            InputError: a sample rate or block size that cannot be.
        """
        if max_block < 1:
            raise InputError(f"max_block is {max_block}: expected 1 or more samples")
        one_shots = isinstance(instrument.autoencoder, OneShotAutoencoder)
        self._blocks: Blocks = (HitBlocks if one_shots else StreamBlocks)(instrument, sample_rate, seed)
        self._controls = ControlState()
        self._song = SongPosition(self._blocks.rate)
        self._tap = TapTempo(self._blocks.rate)
        for samples in self._blocks.warm_up_blocks(max_block):
            self.process(Block(samples))
        self.reset()
        self._blocks.warmed_up(effects)
        self._blocks.prepare(self._controls.values)

    @property
    def sample_rate(self) -> float:
        """The host's, in Hz."""
        return self._blocks.rate

    @property
    def latency(self) -> int:
        """Host samples; constant. The first sample that depends on a control value at host sample n is n + latency; the
        hit of a note at n begins at n + latency.

        By a resampler's nature a faint trace comes earlier; the stated sample is where its impulse response peaks.
        """
        return self._blocks.latency

    @property
    def input_delay_frames(self) -> int:
        """How many frames old incoming audio is when it is decoded (source Input); 0 if the autoencoder cannot encode
        a stream.
        """
        return self._blocks.input_delay_frames

    @property
    def voices(self) -> int:
        """How many hits sound, those that fade out among them; 0 where the autoencoder makes a stream."""
        return self._blocks.voices

    @property
    def faults(self) -> Faults:
        """What went wrong so far and was covered up."""
        self._blocks.faults.control_values = self._controls.dropped
        return self._blocks.faults

    @property
    def notice(self) -> str:
        """Why nothing is to be heard, if the chosen source is not there; else empty."""
        return self._blocks.problem(Source(int(self._controls["source"])))

    @property
    def parameters(self) -> dict[str, float]:
        """Every parameter's plain value now, by key."""
        return self._controls.get()

    def set_parameters(self, values: Mapping[str, float]) -> None:
        """Set parameters between blocks (a preset, a restored state), by key, clamped to their ranges.

        Raises:
            InputError: no such parameter, or not a number; nothing was changed.
        """
        self._controls.set(values)
        self._blocks.prepare(self._controls.values)

    def reset(self, position: float = 0.0) -> None:
        """Begin a new stream at a song position in seconds, as if freshly made, with parameters as they are. No note
        is held.
        """
        self._song.reset(position)
        self._blocks.reset(self._song)

    def process(self, block: Block) -> Audio:
        """The next `block.samples` samples of output, (channels, samples) at the host's rate, `latency` samples
        late.
        """
        if any(point.parameter_id == TAP for point in block.points):
            self._tap.take_in((point.offset, point.value) for point in block.points if point.parameter_id == TAP)
        self._tap.go_on(block.samples)
        starts = self._song.enter(block.transport, self._sync_bpm(block), self._tap.bpm)
        audio = self._blocks.process(block, self._song, self._controls, starts=starts)
        self._song.leave(block.samples)
        return audio

    def _sync_bpm(self, block: Block) -> float:
        """As it is at the block's first sample."""
        now = [p.value for p in block.points if p.parameter_id == SYNC_BPM and p.offset <= 0 and math.isfinite(p.value)]
        return now[-1] if now else self._controls["sync_bpm"]
