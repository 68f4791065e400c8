"""How fast a RAVE decodes on one thread: as ONNX with its state outside, as the TorchScript it was made of, and as the
rebuilt modules run eagerly by torch; and whether they are the same.

Claim: ONNX takes at most two thirds of the TorchScript's time at a frame a call. The three run in turn in one process,
frame by frame; medians and 99th percentiles of wall time. The models are genuine, with random weights: small ones of
`make rave-env`, and those of published size if `scripts/export_rave.py .cache/rave-models/full --full` made them.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._numbers import note
from terrain_core.autoencoders.onnx_autoencoder import DECODER, OnnxDecoderStream

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".cache" / "rave-models"
SMALL = ("v2_small_causal", "v2", "v1", "v2_noise", "stereo", "v3", "discrete", "brave")
CUTS = (1, 2, 3, 5, 8, 64)
TRUE_DELAY = {"v2_small_causal": 480, "v2": 12512}
"""Samples: what the layers' right halves add up to at capacities of any size."""
FRAMES = 200

MEMORY = """
import sys, resource
from terrain_core import autoencoders
model = autoencoders.load(sys.argv[1], trust=True)
import numpy as np
model.decode(np.zeros((8, model.latent_size), np.float32))
pid = getattr(getattr(model, "process", None), "pid", None) or "self"
print(next(int(l.split()[1]) for l in open(f"/proc/{pid}/status") if l.startswith("VmHWM")) // 1024)
"""

VOICES = """
import sys, time
import numpy as np
from terrain_core import autoencoders
model = autoencoders.load(sys.argv[1])
streams = [model.stream(seed=n) for n in range(int(sys.argv[2]))]
latents = np.random.default_rng(0).normal(0, 1, (60, model.latent_size)).astype(np.float32)
times = []
for row in latents:
    began = time.process_time()
    for stream in streams:
        stream.decode(row[None])
    times.append(time.process_time() - began)
size = next(int(line.split()[1]) for line in open("/proc/self/smaps_rollup") if line.startswith("Pss:"))
print(1000 * np.median(times[10:]) / len(streams), size / 1024, flush=True)
sys.stdin.read()
"""


def main() -> None:
    import torch

    torch.set_num_threads(1)
    full = sorted((FOLDER / "full").glob("*.ts"))
    for path in [*(FOLDER / f"{name}.ts" for name in SMALL), *full]:
        if not path.exists():
            print(f"{path.relative_to(ROOT)} is not there: make rave-env")
            continue
        with torch.no_grad():
            measure(path)


def measure(path: Path) -> None:
    from terrain_core.autoencoders import nn_tilde
    from terrain_core.autoencoders.nn_tilde import bundle

    began = time.perf_counter()
    opened = nn_tilde.open_model(path, trust=True)
    opening = time.perf_counter() - began
    began = time.perf_counter()
    done = nn_tilde.convert(opened)
    converting = time.perf_counter() - began
    place = bundle.save(done.bundle, path.with_suffix(".zip"))
    began = time.perf_counter()
    from terrain_core import autoencoders

    autoencoders.load(place).stream()
    loading = time.perf_counter() - began
    milliseconds = {kind: 1000 * np.array(times) for kind, times in in_turn(path, done.bundle).items()}
    hop = 1000 * done.bundle.hop / done.bundle.sample_rate
    print(f"\n{path.relative_to(FOLDER)}: {done.family}, {done.bundle.latent_size} latents x {done.bundle.hop}")
    onnx = np.median(milliseconds["ONNX"])
    for kind in ("TorchScript", "eager"):
        for peer, values in milliseconds.items():
            if kind in peer:
                note(f"{path.stem}: a frame by ONNX", onnx, float(np.median(values)), "ms", peer)
    for kind, values in milliseconds.items():
        median, late = np.median(values), np.percentile(values, 99)
        print(
            f"  {kind:12} {median:7.3f} ms a frame, p99 {late:7.3f}, {median / hop:.4f} of real time, "
            f"{median / onnx:.2f} of ONNX"
        )
    print(f"  error {done.error:.1e} of full scale, cut into {CUTS}: {cut_difference(done.bundle):.1e}")
    delay, true = done.bundle.card.delay, TRUE_DELAY.get(path.stem)
    print(f"  delay {delay} samples" + (f", by the layers {true}" if true and path.parent == FOLDER else ""))
    print(f"  opened in {opening:.1f} s, converted in {converting:.1f} s, bundle loaded in {loading:.2f} s")
    print(f"  memory: bundle {memory(place)} MB, TorchScript {memory(path)} MB")
    batched, one = offline(done.bundle), offline(done.bundle, 1)
    note(f"{path.stem}: a frame offline, 16 at once", batched, one, "ms", "one by one")
    print(f"  offline {batched:.3f} ms of computing a frame, one by one {one:.3f}: {one / batched:.1f} times less")
    whole, bare = encoding(done.bundle)
    note(f"{path.stem}: encoding files", whole, bare, "of real time", "the bare encoder")
    print(f"  encoding files {whole:.4f} of real time, the bare encoder's graph {bare:.4f}: {whole / bare:.2f}")
    if path in (FOLDER / "v2.ts", FOLDER / "full" / "v2.ts"):
        report_voices(path.stem, place)
    opened.close()


def in_turn(path: Path, built: Any) -> dict[str, list[float]]:
    """Seconds of each of `FRAMES` frames, for each way to decode them."""
    import torch

    from terrain_core.autoencoders.nn_tilde import rave_torch
    from terrain_core.autoencoders.nn_tilde.worker_torch import Model

    model = Model(str(path), None)
    eager = rave_torch.DecoderGraph(model.module)
    caches = [torch.zeros(shape) for shape in eager.shapes]
    stream = built.stream()
    latents = np.random.default_rng(0).normal(0, 1, (FRAMES + 20, built.latent_size)).astype(np.float32)
    times: dict[str, list[float]] = {"ONNX": [], "TorchScript": [], "eager": []}
    for row in latents:
        z, noise = torch.from_numpy(row[None]), torch.rand(1, eager.normals + eager.uniforms)
        began = time.perf_counter()
        stream.decode(row[None])
        after_onnx = time.perf_counter()
        model.decode_block(z.T[None])
        after_script = time.perf_counter()
        _, *caches = eager(z, noise, *caches)
        after_eager = time.perf_counter()
        times["ONNX"].append(after_onnx - began)
        times["TorchScript"].append(after_script - after_onnx)
        times["eager"].append(after_eager - after_script)
    return {kind: values[20:] for kind, values in times.items()}


def cut_difference(built: Any) -> float:
    """The largest difference between ways of cutting 64 frames."""
    latents = np.random.default_rng(0).normal(0, 1, (64, built.latent_size)).astype(np.float32)
    sounds = []
    for frames in CUTS:
        stream = built.stream()
        parts = [stream.decode(latents[k : k + frames]) for k in range(0, 64, frames)]
        sounds.append(np.concatenate(parts, axis=1))
    return max(float(np.abs(sound - sounds[0]).max()) for sound in sounds)


def offline(built: Any, frames: int = 0) -> float:
    """Milliseconds of computing for a frame of a long trajectory; `frames` at once, or as many as the card says."""
    latents = np.random.default_rng(0).normal(0, 1, (64, built.latent_size)).astype(np.float32)
    card = built.card
    stream = OnnxDecoderStream(built, built.session(DECODER, 1), 0, frames or card.frames_per_batch or 1)
    times = []
    for _ in range(6):
        began = time.thread_time()
        stream.decode(latents)
        times.append(time.thread_time() - began)
    return 1000 * float(np.median(times[1:])) / len(latents)


def encoding(built: Any) -> tuple[float, float]:
    """Seconds of computing for a second of sound: files through `encode_files`, one at a time, and the graph alone."""
    import tempfile

    import soundfile

    from terrain_core.trajectories import EncodeSettings, LatentCache, encode_files

    seconds = 8
    audio = (0.1 * np.random.default_rng(2).standard_normal((built.channels, seconds * built.sample_rate))).astype("f4")
    with tempfile.TemporaryDirectory() as place:
        soundfile.write(Path(place) / "noise.wav", audio.T, built.sample_rate, subtype="FLOAT")
        found: dict[str, list[float]] = {"files": [], "bare": []}
        for turn in range(4):
            cache = LatentCache(Path(place) / str(turn))
            began = time.process_time()
            encode_files([Path(place) / "noise.wav"], built, None, EncodeSettings(cache, jobs=1))
            between = time.process_time()
            stream = built.stream_encoder()
            for k in range(0, audio.shape[1], 256 * built.hop):
                stream.encode(audio[:, k : k + 256 * built.hop])
            found["files"].append(between - began)
            found["bare"].append(time.process_time() - between)
    return float(np.median(found["files"][1:])) / seconds, float(np.median(found["bare"][1:])) / seconds


def report_voices(name: str, place: Path) -> None:
    """Four voices in one process beside four processes of one."""
    together = voices(place, 4)[0]
    apart = voices(place, 1, processes=4)
    cost, memory_ = float(np.mean([one[0] for one in apart])), sum(one[1] for one in apart)
    note(f"{name}: memory of 4 voices in one process", together[1], memory_, "MB", "4 processes")
    note(f"{name}: a frame of one of 4 voices in one process", together[0], cost, "ms", "4 processes")
    print(
        f"  4 voices in one process: {together[0]:.3f} ms of computing a frame and voice, {together[1]:.0f} MB; "
        f"in 4 processes: {cost:.3f} ms, {memory_:.0f} MB"
    )


def voices(place: Path, count: int, processes: int = 1) -> list[tuple[float, float]]:
    """Milliseconds of computing a frame and voice, and MB (shared pages divided among who shares them), of each."""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", VOICES, str(place), str(count)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(processes)
    ]
    found = []
    for one in running:  # all measure before the first may end: what ends shares nothing
        assert one.stdout is not None
        cost, size = one.stdout.readline().split()
        found.append((float(cost), float(size)))
    for one in running:
        one.communicate("")
    return found


def memory(path: Path) -> int:
    """MB at the most, of the process that decodes."""
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return int(done.stdout)


if __name__ == "__main__":
    main()
