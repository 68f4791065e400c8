"""What was played, as lanes: a recording becomes a project of any format, and renders to the audio that was heard."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from terrain_core.engine.controls import COLUMN
from terrain_core.instrument import Instrument
from terrain_core.lanes import Lane, Shape
from terrain_core.parameters import PARAMETERS
from terrain_core.plugin_state import InstrumentReference, PluginState
from terrain_core.tempo import TempoMap
from terrain_daws import PluginInstance, Project, Track, write
from terrain_plugin.shown import Played

FORMATS: Final[Mapping[str, str]] = {
    "dawproject": ".dawproject",
    "reaper": ".rpp",
    "midi": ".mid",
    "live": ".als",
}
"""What a gesture can be downloaded as, and the file's ending."""

ALWAYS: Final = ("x", "y", "pressure")
TRACK: Final = "Terrain"


@dataclass(frozen=True)
class Gesture:
    """A recording. It begins at beat 0, at which the engine began anew.

    Attributes:
        instrument: what it was played on; of one that an earlier session recorded, what a project says of it (None for
            the built-in one).
        bpm: the tempo, in quarter notes a minute.
        beats: (frames,) where each latent frame began.
        controls: (frames, parameters) what every parameter was at it, plain values in the table's order.
        audio: (channels, samples) what was heard, from the sample on that depends on the first frame.
        sample_rate: Hz, of `audio`.
        loops: what the loopers remembered at the beginning.
    """

    id: int
    name: str
    instrument: Instrument | InstrumentReference | None = field(repr=False)
    bpm: float
    beats: NDArray[np.float64]
    controls: NDArray[np.float64]
    audio: NDArray[np.float32] = field(repr=False)
    sample_rate: float
    loops: bytes = field(default=b"", repr=False)

    @classmethod
    def of(
        cls,
        id: int,
        name: str,
        instrument: Instrument,
        bpm: float,
        frames: Sequence[Played],
        audio: NDArray[np.float32],
        sample_rate: float,
        loops: bytes,
    ) -> Gesture:
        """A recording of frames, at least one."""
        beats = np.array([frame.beat for frame in frames])
        controls = np.stack([frame.controls for frame in frames])
        return cls(id, name, instrument, bpm, beats, controls, audio, sample_rate, loops)

    @property
    def seconds(self) -> float:
        """How long it is."""
        return float(self.audio.shape[1] / self.sample_rate)

    def as_json(self) -> dict[str, Any]:
        """For the page."""
        moved = [parameter.name for parameter in PARAMETERS if self._moves(parameter.key)]
        return {"id": self.id, "name": self.name, "seconds": self.seconds, "frames": len(self.beats), "lanes": moved}

    def path(self, most: int = 1024) -> NDArray[np.float64]:
        """Where X and Y went, shape (n, 2), without the places where nothing moved."""
        points = self.controls[:, [COLUMN["x"], COLUMN["y"]]]
        kept = np.append(True, np.abs(np.diff(points, axis=0)).max(axis=1) > 1e-6)
        path: NDArray[np.float64] = points[kept][:: max(1, int(kept.sum()) // most)]
        return path

    def _moves(self, key: str) -> bool:
        column = self.controls[:, COLUMN[key]]
        return bool((column != column[0]).any())

    def lanes(self) -> list[Lane]:
        """X, Y, Pressure and whatever else moved. Values 0..1 of the parameters' ranges, over beats.

        A point stands at each frame where something changes, so that a render, which reads its lanes at the very same
        frames, reads what was played; steps stand half a frame early, on the safe side of rounding.
        """
        made = []
        for parameter in PARAMETERS:
            if parameter.read_only or not (parameter.key in ALWAYS or self._moves(parameter.key)):
                continue
            values = (self.controls[:, COLUMN[parameter.key]] - parameter.low) / (parameter.high - parameter.low)
            same = np.diff(values) == 0
            # Within a run of equal values only its ends are needed.
            kept = ~(np.append(False, same) & np.append(same, False))
            times, shape = self.beats[kept], Shape.LINEAR
            if parameter.stepped:
                shape = Shape.HOLD
                step = float(np.diff(self.beats).min()) if len(self.beats) > 1 else 0.0
                times = np.maximum(times - step / 2, 0)
            made.append(
                Lane(
                    times,
                    np.clip(values[kept], 0, 1),
                    shape,
                    name=parameter.name,
                    key=parameter.key,
                    track=TRACK,
                    parameter_id=parameter.id,
                )
            )
        return made

    def project(self, instrument: InstrumentReference | None) -> Project:
        """The recording as a project with our plugin in it: its lanes, and its state as it was at the beginning.

        Args:
            instrument: None for the built-in one.
        """
        lanes = self.lanes()
        first = dict(zip(COLUMN, self.controls[0].tolist(), strict=True))
        held = {p.key: first[p.key] for p in PARAMETERS if not p.read_only and first[p.key] != p.default}
        state = PluginState(held, instrument, self.loops)
        return Project(
            "dawproject",
            Path(self.name),
            tracks=[Track(TRACK)],
            lanes=lanes,
            tempo_map=TempoMap.constant(self.bpm),
            instances=[PluginInstance(TRACK, lanes=lanes, state=state)],
        )

    def file(self, format: str, instrument: InstrumentReference | None) -> bytes:
        """The recording as a file of one of `FORMATS`."""
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / f"gesture{FORMATS[format]}"
            write(self.project(instrument), place)
            return place.read_bytes()

    def wav(self) -> bytes:
        """What was heard, as a WAV of floats."""
        import soundfile

        buffer = io.BytesIO()
        soundfile.write(buffer, self.audio.T, round(self.sample_rate), format="WAV", subtype="FLOAT")
        return buffer.getvalue()
