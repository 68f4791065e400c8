"""How fast the built-in autoencoder is on one thread: decoding and encoding over real time, and our stream over the
bare graph call.

Claim: decoding takes at most a tenth of real time on one CPU thread. Processor time of this process, medians.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np

from benchmarks._numbers import note
from terrain_core import autoencoders
from terrain_core.autoencoders import noise
from terrain_core.autoencoders.onnx_autoencoder import DECODER

FRAMES = 43
"""One second."""
TURNS = 15


def processor_seconds(work: Callable[[], object]) -> float:
    """The median of several turns, after one that warms up."""
    work()
    times = []
    for _ in range(TURNS):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return statistics.median(times)


def main() -> None:
    builtin = autoencoders.load(autoencoders.BUILTIN)
    steps = np.random.default_rng(0).normal(0, 0.1, (FRAMES, builtin.latent_size))
    latents = np.cumsum(steps, axis=0).astype(np.float32)
    audio = builtin.decode(latents)
    stream, encoder, session = builtin.stream(), builtin.stream_encoder(), builtin.session(DECODER, 1)
    _, state = stream.state
    outputs = [output.name for output in session.get_outputs()]
    shape = builtin.card.noise_per_frame
    drawn = noise.uniform(0, 0, FRAMES, int(np.prod(shape))).reshape(FRAMES, *shape)

    def bare() -> None:
        for k in range(FRAMES):
            session.run(outputs, {"latents": latents[k : k + 1], "noise": drawn[k : k + 1], **state})

    def ours() -> None:
        for k in range(FRAMES):
            stream.decode(latents[k : k + 1])

    seconds = FRAMES * builtin.hop / builtin.sample_rate
    floor, decoding = processor_seconds(bare), processor_seconds(ours)
    encoding = processor_seconds(lambda: encoder.encode(audio))
    print(f"decoding  {decoding / seconds:.4f} of real time: {seconds / decoding:.0f} times faster than real time")
    print(f"encoding  {encoding / seconds:.4f} of real time: {seconds / encoding:.0f} times faster than real time")
    note("decoding frame by frame", decoding, floor, "s", "the bare graph call")
    note("decoding", decoding, seconds, "s", "real time")
    note("encoding", encoding, seconds, "s", "real time")
    print(f"our stream / the bare graph call, frame by frame: {decoding / floor:.3f}")


if __name__ == "__main__":
    main()
