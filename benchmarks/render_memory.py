"""Peak memory of `terrain render`: an hour of sound against a minute, so that what grows with the length shows.

Claim: an hour takes no more memory than a minute, but for noise; an hour of 44.1 kHz mono in float32 alone
would be 635 MB.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks._numbers import note

MINUTES = (1, 60)

RENDER = """
import json, resource, sys
import numpy as np
from terrain_core import autoencoders
from terrain_core.instrument import Instrument
from terrain_core.lanes import Lane
from terrain_core.terrain import Terrain
from terrain_daws import Project
from terrain_plugin.render import RenderSettings, render

out, seconds = sys.argv[1], float(sys.argv[2])
autoencoder = autoencoders.load("builtin")
instrument = Instrument(autoencoder, Terrain.create(2, autoencoder.latent_size, seed=1))
beats = np.arange(0, seconds * 2)  # a breakpoint at every beat of 120 bpm
values = np.random.default_rng(0).uniform(size=(3, len(beats)))
lanes = {key: Lane(beats, row, key=key) for key, row in zip(("x", "y", "pressure"), values)}
done = render(Project("midi", out), instrument, out, RenderSettings(end=seconds), lanes=lanes)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
print(json.dumps({"peak_mib": peak, "realtime_factor": done.realtime_factor}))
"""


def measure(minutes: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", RENDER, str(Path(folder) / "song.flac"), str(minutes * 60)]
        result: dict[str, float] = json.loads(
            subprocess.run(command, check=True, capture_output=True, text=True).stdout
        )
        return result


def main() -> None:
    found = {minutes: measure(minutes) for minutes in MINUTES}
    for minutes, result in found.items():
        print(
            f"{minutes:3} min of sound: peak memory {result['peak_mib']:6.0f} MiB, "
            f"rendered {result['realtime_factor']:.1f} times faster than real time"
        )
    short, long = (found[minutes]["peak_mib"] for minutes in MINUTES)
    note("memory of an hour's render", long, short, "MiB", "a minute's")
    print(f"an hour takes {long / short:.3f} times the memory of a minute")


if __name__ == "__main__":
    main()
