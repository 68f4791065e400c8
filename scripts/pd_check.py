"""Play an instrument in Pure Data's nn~, and compare with the engine:

    python scripts/pd_check.py nn~.pd_linux [NAME.terrain]

`pd` must be installed (Debian: puredata-core), and nn~ be there for it. The instrument is exported as `terrain export
--nn` does; Pure Data loads it without a window, faster than real time, plays lanes from a sound file into it, sample by
sample, and writes what comes out.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile

from terrain_core.export import nn_export_torch, parts
from terrain_core.instrument import Instrument
from terrain_plugin.shipped import DEFAULT_INSTRUMENT

FRAMES = 48
BUFFERS = (0, 2048, 8192)
"""nn~'s third argument: 0 computes in Pure Data's own thread, all else beside it."""
SETTINGS: tuple[dict[str, float], ...] = ({}, {"glide": 120.0, "intensity": 1.3, "noise": 0.1, "level": -9.0})
MOST_ERROR = 1e-4
TICK = 64
"""Samples of a block of Pure Data's."""


def main() -> int:
    external = Path(sys.argv[1]).resolve()
    instrument = Instrument.load(sys.argv[2] if len(sys.argv) > 2 else DEFAULT_INSTRUMENT)
    assert instrument.terrain is not None
    lanes = parts.gesture(instrument.terrain.control_size, FRAMES, seed=2)
    worst = 0.0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        nn_export_torch.export_nn(instrument, folder / "instrument.ts")
        (folder / external.name).symlink_to(external)
        for settings in SETTINGS:
            expected = parts.engine_output(instrument, lanes | {k: np.full(FRAMES, v) for k, v in settings.items()})
            for buffer in BUFFERS:
                played, said = play(folder, instrument, lanes, buffer, settings)
                error, late = closest(played, expected)
                worst = max(worst, error)
                print(f"{said}\nbuffer {buffer}, {settings or 'as it comes'}: {error:.1e} from the engine, ", end="")
                print(f"{late} samples late, peak {np.abs(expected).max():.2f}", flush=True)
    return int(not worst <= MOST_ERROR)


def play(
    folder: Path, instrument: Instrument, lanes: parts.Lanes, buffer: int, settings: dict[str, float]
) -> tuple[parts.Audio, str]:
    """What Pure Data writes, (channels, samples), and what it says before that."""
    hop, rate = instrument.autoencoder.hop, instrument.autoencoder.sample_rate
    keys = ["x", "y", "pressure", *(["z"] if "z" in lanes else [])]
    rows = np.stack([lanes[key] for key in keys], axis=1).astype(np.float32)
    soundfile.write(folder / "in.wav", rows.repeat(hop, axis=0), rate, subtype="FLOAT")
    samples = (FRAMES + 2) * hop + 2 * buffer  # so late nn~ may be by itself
    text = patch(len(keys), instrument.autoencoder.channels, samples, rate, buffer, settings)
    (folder / "play.pd").write_text(text)
    (folder / "out.wav").unlink(missing_ok=True)
    command = ["pd", "-nogui", "-batch", "-noaudio", "-r", str(rate), "-stderr", "-path", ".", "-lib", "nn~", "play.pd"]
    # It quits while nn~'s thread is at work, which may end badly; by then the file is whole.
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    if not (folder / "out.wav").exists():
        sys.exit(f"Pure Data wrote nothing:\n{done.stderr}")
    audio, _ = soundfile.read(folder / "out.wav", dtype="float32", always_2d=True)
    return audio.T, done.stderr.partition("out.wav: biggest")[0].strip()


def patch(ins: int, outs: int, samples: int, rate: int, buffer: int, settings: dict[str, float]) -> str:
    """A patch that reads in.wav, plays it into instrument.ts, writes out.wav, and quits."""
    boxes: list[str] = []
    lines: list[tuple[int, int, int, int]] = []

    def box(kind: str, text: str) -> int:
        boxes.append(f"#X {kind} 10 10 {text};")
        return len(boxes) - 1

    nn = box("obj", f"nn~ instrument.ts play {buffer}")
    for name, count in (("in", ins), ("out", outs)):
        for n in range(count):
            box("obj", f"table {name}{n} {samples}")
    files = box("obj", "soundfiler")
    start, go, end = box("obj", "t b b b b b"), box("obj", "t b b"), box("obj", "t b b")
    read = box("msg", "read in.wav " + " ".join(f"in{n}" for n in range(ins)))
    write = box("msg", f"write -wave -bytes 4 -nframes {samples} out.wav " + " ".join(f"out{n}" for n in range(outs)))
    run, leave = box("msg", r"\; pd dsp 1"), box("msg", r"\; pd quit")
    wait = box("obj", f"delay {1000 * (samples + TICK) / rate:.4f}")
    lines += [(box("obj", "loadbang"), 0, start, 0), (start, 4, read, 0), (read, 0, files, 0), (start, 2, run, 0)]
    lines += [(start, 1, go, 0), (start, 0, wait, 0), (wait, 0, end, 0), (end, 1, write, 0), (write, 0, files, 0)]
    lines += [(end, 0, leave, 0)]
    for n in range(ins):
        player = box("obj", f"tabplay~ in{n}")
        lines += [(go, 0, player, 0), (player, 0, nn, n)]
    for n in range(outs):
        recorder = box("obj", f"tabwrite~ out{n}")
        lines += [(go, 1, recorder, 0), (nn, n, recorder, 0)]
    for name, value in settings.items():
        message = box("msg", f"set {name} {value}")
        lines += [(start, 3, message, 0), (message, 0, nn, 0)]
    return "\n".join(
        ["#N canvas 0 0 600 600 10;", *boxes, *(f"#X connect {a} {b} {c} {d};" for a, b, c, d in lines), ""]
    )


def closest(played: parts.Audio, expected: parts.Audio) -> tuple[float, int]:
    """The smallest difference over all whole ticks that it may be late, and that many samples."""
    length = expected.shape[1]
    starts = range(0, played.shape[1] - length + 1, TICK)
    return min((float(np.abs(played[:, k : k + length] - expected).max()), k) for k in starts)


if __name__ == "__main__":
    sys.exit(main())
