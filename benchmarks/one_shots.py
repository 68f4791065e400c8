"""One-shots: what a hit costs when it is new and when it repeats, when it begins, how many sound at once before a block
is late, how far our training loop is from a bare one, and the memory that comes back when a model is unloaded.

Claims: decoding a new hit of the shipped drums costs less than 20 ms per second of sound; a hit begins on its note's
sample; 128 hits at once are no late block; the training suite takes at most a tenth longer than the same steps in a
bare loop. Processor time of this process; medians, where nothing else is said.
"""

from __future__ import annotations

import dataclasses
import gc
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import torch

from benchmarks._numbers import note
from benchmarks.builtin_decoder import processor_seconds
from terrain_core.autoencoders.one_shot import OneShotAutoencoder
from terrain_core.engine import Block, Engine, MidiEvent
from terrain_core.instrument import Instrument
from terrain_core.one_shots import shards
from terrain_core.one_shots.config import preset
from terrain_core.one_shots.kit import MOST_VOICES
from terrain_core.one_shots.training.drum_data import synthesise
from terrain_core.one_shots.training.module import TrainingModule
from terrain_core.one_shots.training.train import train
from terrain_plugin.shipped import DRUM_INSTRUMENT

BATCHES = 24
BLOCK = 512
MIB = 1 << 20


def hits() -> None:
    drums = Instrument.load(DRUM_INSTRUMENT)
    autoencoder = drums.autoencoder
    assert isinstance(autoencoder, OneShotAutoencoder)
    latent = autoencoder.latent_mean
    new = processor_seconds(lambda: autoencoder.hit(latent))
    seconds = autoencoder.hop / autoencoder.sample_rate
    again = repeated(drums)
    process = psutil.Process()
    gc.collect()
    full = process.memory_info().rss
    autoencoder.unload()
    gc.collect()
    back = full - process.memory_info().rss
    note("decoding a second of drums", new / seconds, 0.020, "s", "what is allowed")
    print(
        f"a new hit {1000 * new:.1f} ms ({1000 * new / seconds:.1f} ms per second of sound), a block with a hit that "
        f"repeats {1000 * again:.2f} ms"
    )
    print(
        f"unloading gives {back / MIB:.1f} of {full / MIB:.0f} MiB (RSS) back to the system; the allocator may keep "
        "the rest for what comes next"
    )


def repeated(drums: Instrument) -> float:
    """Seconds of a block with a hit that was decoded before."""
    engine = Engine(drums, 44100)
    block = Block(64, midi=[MidiEvent(0, bytes((0x90, drums.kit.pads[0].key if drums.kit else 60, 100)))])
    return processor_seconds(lambda: engine.process(block))


def timing() -> None:
    """First sample that sounds, less the note's, at any rate and cutting. A pad whose sound begins at once."""
    drums = Instrument.load(DRUM_INSTRUMENT)
    assert drums.kit is not None
    rng, errors = np.random.default_rng(0), []
    for rate in (22050, 44100, 48000, 96000):
        engine = Engine(drums, rate)
        for _ in range(20):
            engine.reset()
            offset, size = int(rng.integers(4096)), int(rng.integers(1, 600))
            heard = []
            for start in range(0, 8192, size):
                here = [MidiEvent(offset - start, bytes((0x90, drums.kit.pads[0].key, 127)))]
                heard.append(engine.process(Block(size, midi=here if start <= offset < start + size else [])))
            errors.append(int(np.flatnonzero(np.concatenate(heard, axis=1)[0])[0]) - offset)
    print(f"{len(errors)} notes at four rates: their hits begin {min(errors)} to {max(errors)} samples after them")


def polyphony() -> None:
    """Hits that follow each other so closely that so many sound at once, for two seconds, in blocks of 512."""
    drums = Instrument.load(DRUM_INSTRUMENT)
    assert drums.kit is not None
    keys, length = [pad.key for pad in drums.kit.pads], drums.autoencoder.hop / BLOCK
    for voices in (16, 64, MOST_VOICES):
        pads = tuple(dataclasses.replace(pad, choke=0) for pad in drums.kit.pads)
        drums.kit = dataclasses.replace(drums.kit, voices=voices, pads=pads)
        engine, times, struck = Engine(drums, 44100), [], 0
        for number in range(round(2 * 44100 / BLOCK)):
            due = round((number + 1) * voices / length)
            midi = [MidiEvent(0, bytes((0x90, keys[n % len(keys)], 100))) for n in range(struck, due)]
            struck = due
            began = time.process_time()
            engine.process(Block(BLOCK, midi=midi))
            times.append(time.process_time() - began)
        late, limit = int((np.array(times) > BLOCK / 44100).sum()), 1000 * BLOCK / 44100
        print(
            f"{voices} voices: a block of {BLOCK} takes {1000 * np.median(times):.2f} ms, at most "
            f"{1000 * max(times):.2f} of {limit:.1f} ms; {late} of {len(times)} blocks late"
        )
        note(f"{voices} hits at once, the slowest block", max(times), BLOCK / 44100, "s", "a block's length")


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
        memory: list[int] = []
        process = psutil.Process()
        before = process.memory_info().rss

        def mark(*_: object) -> None:
            marks.append(time.process_time())
            memory.append(process.memory_info().rss)

        outcome = train(folder / "data", chosen.model, settings, folder / "run", progress=mark, accelerator="cpu")
        del outcome
        gc.collect()
        after = process.memory_info().rss
        ours = (marks[-1] - marks[3]) / (len(marks) - 4)  # without the first batches, which set things up
        bare = _bare_loop(TrainingModule(chosen.model, settings, parts[0], parts[1]))
    print(f"RSS {before / MIB:.0f} MiB before training, at most {max(memory) / MIB:.0f}, {after / MIB:.0f} after it")
    note("a training batch", ours, bare, "s", "a bare loop")
    print(
        f"a training batch {1000 * ours:.0f} ms, in a bare loop {1000 * bare:.0f} ms: {ours / bare:.2f} times; "
        f"{settings.batch / ours:.0f} and {settings.batch / bare:.0f} sounds/s on one core"
    )


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
    timing()
    polyphony()
    training()
