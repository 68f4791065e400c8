"""What a page shows of an engine that plays: a message for each latent frame, with level, spectrum and loops now and
then. The editor's own player makes them, and so does the engine of a plugin.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from terrain_core.engine.controls import COLUMN
from terrain_core.looper import ChainEffect

SPECTRUM_SIZE: Final = 2048
SPECTRUM_BANDS: Final = 64
LOWEST_BAND_HZ: Final = 40.0
RING: Final = 96
"""Places at which a loop is shown."""

EVERY_RING: Final = 128
"""Frames after which rings are told again, for pages that came later."""

Audio = NDArray[np.float32]


class Played(NamedTuple):
    """A frame that went to the decoder."""

    beat: float
    controls: NDArray[np.float64]
    latents: NDArray[np.float32]


class Shown:
    """One engine's sound and frames, as a page takes them."""

    def __init__(self, sample_rate: float) -> None:
        """
        Args:
            sample_rate: Hz, of what is heard.
        """
        self.heard = np.zeros(SPECTRUM_SIZE, np.float32)
        """The newest samples, in mono."""
        self.count = 0
        """Frames so far."""
        self._rate = sample_rate
        self._window = np.hanning(SPECTRUM_SIZE).astype(np.float32)
        self._peak = self._power = 0.0
        self._ring_seen: dict[str, int] = {}

    def hear(self, audio: Audio) -> None:
        """Sound, (channels, samples), for the level and the spectrum."""
        mono = audio.mean(axis=0)
        self._peak = max(self._peak, float(np.abs(audio).max()))
        self._power += (float(np.square(mono).mean()) - self._power) * 0.1
        self.heard = np.concatenate([self.heard[len(mono) :], mono[-SPECTRUM_SIZE:]])

    def tell_rings_again(self) -> None:
        """The loops are others now, or somebody new looks at them."""
        self._ring_seen.clear()

    def frame(self, played: Played, chain: ChainEffect | None) -> dict[str, Any]:
        """The message about a frame: cursor, latents, and every second time what takes longer to read."""
        self.count += 1
        message: dict[str, Any] = {
            "type": "frame",
            "n": self.count,
            "beat": round(played.beat, 4),
            "x": round(float(played.controls[COLUMN["x"]]), 5),
            "y": round(float(played.controls[COLUMN["y"]]), 5),
            "p": round(float(played.controls[COLUMN["pressure"]]), 4),
            "z": [round(value, 4) for value in played.latents.tolist()],
        }
        if self.count % 2 == 0:
            message |= {"peak": self._peak, "rms": self._power**0.5}
            self._peak = 0.0
            if self.count % 4 == 0:
                message["spectrum"] = self._spectrum()
            if chain is not None:
                message["loops"] = self._loops(chain, played.beat)
        return message

    def _spectrum(self) -> list[int]:
        """dB below full scale in bands of equal ratio, the loudest bin of each, -96..0."""
        power = np.abs(np.fft.rfft(self.heard * self._window)) / (SPECTRUM_SIZE / 4)
        edges = np.geomspace(LOWEST_BAND_HZ, self._rate / 2, SPECTRUM_BANDS + 1)
        bins = np.minimum((edges * SPECTRUM_SIZE / self._rate).astype(int), len(power) - 1)
        bands = np.maximum.reduceat(power, bins[:-1])
        levels: list[int] = np.rint(20 * np.log10(np.clip(bands, 10 ** (-96 / 20), 1))).astype(int).tolist()
        return levels

    def _loops(self, chain: ChainEffect, beat: float) -> list[dict[str, Any]]:
        rows = []
        for name, voice in chain.voices.items():
            row: dict[str, Any] = {
                "name": name,
                "state": voice.state.value,
                "phase": round(float(voice.phase_at(beat)), 4),
                "muted": bool(voice.muted),
                "undo": len(voice.past),
                "redo": len(voice.future),
            }
            content = voice.content
            row["beats"] = round(content.beats, 3) if content else 0
            seen = id(content.layer) if content else 0
            if self._ring_seen.get(name) != seen or self.count % EVERY_RING == 0:
                self._ring_seen[name] = seen
                row["ring"] = []
                if content:
                    phases = np.arange(RING) / RING
                    vectors = content.layer.at(phases)[:, :3]
                    spread = np.ptp(vectors, axis=0)
                    level = np.where(spread > 0, (vectors - vectors.min(axis=0)) / np.where(spread > 0, spread, 1), 0.5)
                    row["ring"] = np.rint(level * 99).astype(int).tolist()
            rows.append(row)
        return rows
