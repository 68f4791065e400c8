"""One-shots: what a hit costs when it is new and when it repeats, how far our training loop is from a bare one, and the
memory that comes back when a model is unloaded.

Claims: a new hit of the shipped drums costs less than 128 samples last at 44.1 kHz (2.9 ms); the training suite takes
at most a tenth longer than the same steps in a bare loop. Processor time of this process; medians.
"""

from __future__ import annotations

import dataclasses
import gc
import tempfile
import time
from pathlib import Path

import psutil
import torch

from benchmarks._numbers import note
from benchmarks.builtin_decoder import processor_seconds
from terrain_core.autoencoders.one_shot import OneShotAutoencoder
from terrain_core.engine import Block, Engine, MidiEvent
from terrain_core.instrument import Instrument
from terrain_core.one_shots import shards
from terrain_core.one_shots.config import preset
from terrain_core.one_shots.training.drum_data import synthesise
from terrain_core.one_shots.training.module import TrainingModule
from terrain_core.one_shots.training.train import train
from terrain_plugin.shipped import DRUM_INSTRUMENT

BATCHES = 24
MIB = 1 << 20


def hits() -> None:
    drums = Instrument.load(DRUM_INSTRUMENT)
    autoencoder = drums.autoencoder
    assert isinstance(autoencoder, OneShotAutoencoder)
    latent = autoencoder.latent_mean
    new = processor_seconds(lambda: autoencoder.hit(latent))
    engine = Engine(drums, 44100)
    note = Block(64, midi=[MidiEvent(0, bytes((0x90, drums.kit.pads[0].key if drums.kit else 60, 100)))])
    again = processor_seconds(lambda: engine.process(note))
    process = psutil.Process()
    full = process.memory_info().rss
    autoencoder.unload()
    gc.collect()
    back = full - process.memory_info().rss
    print(f"a new hit {1000 * new:.1f} ms, a block with a hit that repeats {1000 * again:.2f} ms")
    print(
        f"unloading gives {back / MIB:.1f} MiB back to the system; the allocator may keep the rest for what comes next"
    )


def training() -> None:
    """The same batches through Lightning and through a loop of eight lines."""
    chosen = preset("tiny")
    settings = dataclasses.replace(chosen.train, epochs=1, warm_steps=0)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        synthesise(folder / "data", chosen.model, train=BATCHES * settings.batch, test=2, workers=1)
        parts = [shards.open_part(folder / "data", part) for part in shards.PARTS]
        marks: list[float] = []
        train(
            folder / "data",
            chosen.model,
            settings,
            folder / "run",
            progress=lambda *_: marks.append(time.process_time()),
            accelerator="cpu",
        )
        ours = (marks[-1] - marks[3]) / (len(marks) - 4)  # without the first batches, which set things up
        bare = _bare_loop(TrainingModule(chosen.model, settings, parts[0], parts[1]))
    note("a training batch", ours, bare, "s", "a bare loop")
    print(f"a training batch {1000 * ours:.0f} ms, in a bare loop {1000 * bare:.0f} ms: {ours / bare:.2f} times")


def _bare_loop(module: TrainingModule) -> float:
    """Seconds of processor time for a batch."""
    settings = module.settings
    module.log = module.log_dict = lambda *_, **__: None  # type: ignore[method-assign, assignment]  # nobody listens
    type(module).current_epoch = property(lambda _: 0)  # type: ignore[method-assign, assignment]
    optimizer = torch.optim.AdamW(module.model.parameters(), settings.learning_rate)
    marks = []
    for batch in range(BATCHES):
        optimizer.zero_grad()
        module.training_step(batch, batch).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(module.model.parameters(), settings.clip)
        optimizer.step()
        marks.append(time.process_time())
    return (marks[-1] - marks[3]) / (len(marks) - 4)


if __name__ == "__main__":
    hits()
    training()
