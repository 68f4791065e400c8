"""A corpus becomes latents once: from the cache after that, after a kill, and on a cluster that loses a worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile

from terrain_core import autoencoders
from terrain_core.errors import InputError
from terrain_core.trajectories import EncodeSettings, LatentCache, encode_file, encode_files
from terrain_core.trajectories.latent_cache import cache_key, cache_size

RATE = 44100


class Counting:
    """The built-in autoencoder, which says how often it was asked to encode."""

    def __init__(self, sha256="one", channels=1):
        self.inner = autoencoders.load("builtin")
        self.name, self.sample_rate, self.hop = "counting", RATE, self.inner.hop
        self.latent_size, self.sha256, self.channels = self.inner.latent_size, sha256, channels
        self.asked = 0

    def encode(self, audio):
        self.asked += 1
        return self.inner.encode(audio.mean(axis=0, keepdims=True))


@pytest.fixture
def corpus(tmp_path, rng):
    """Five short sounds of odd lengths, rates and channels, one of them twice."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    for i, (rate, channels) in enumerate([(44100, 1), (48000, 1), (22050, 2), (44100, 2)]):
        sound = 0.1 * rng.standard_normal((rate // 3 + 17 * i, channels))
        soundfile.write(folder / f"{i}.wav", sound, rate)
    (folder / "copy of 1.wav").write_bytes((folder / "1.wav").read_bytes())
    return sorted(folder.iterdir())


def same(a, b):
    assert [t.name for t in a] == [t.name for t in b]
    assert len(a)
    assert all(np.array_equal(x.latents, y.latents) for x, y in zip(a, b, strict=True))


def test_nothing_is_encoded_twice(corpus, tmp_path):
    model, settings = Counting(), EncodeSettings(LatentCache(tmp_path / "cache"))
    first = encode_files(corpus, model, settings=settings)
    assert (model.asked, first.encoded) == (4, 4)  # the copy is no other sound
    again = encode_files(corpus, model, settings=settings)
    assert (model.asked, again.encoded) == (4, 0)
    same(first.trajectories, again.trajectories)
    same(first.trajectories, [encode_file(path, model) for path in corpus])


def test_beyond_its_size_what_was_not_used_for_longest_goes(corpus, tmp_path):
    """Five sounds, four entries, aged; room for two and a half."""
    folder = tmp_path / "cache"
    encode_files(corpus, Counting(), settings=EncodeSettings(LatentCache(folder)))
    ages = {path: 1000 - 100 * n for n, path in enumerate(sorted(folder.rglob("*.safetensors")))}
    now = time.time()
    for path, age in ages.items():
        os.utime(path, (now - age, now - age))
    used = sorted(ages)[0]  # the oldest: looked up, it becomes the youngest
    kept = LatentCache(folder, sum(path.stat().st_size for path in ages) * 5 // 8)
    assert kept.get(used.parent.name + used.stem, 8) is not None
    freed = kept.trim(time.time_ns())
    left = sorted(folder.rglob("*.safetensors"))
    assert used in left
    assert left == sorted(ages)[:1] + sorted(ages)[-len(left) + 1 :]
    assert len(left) == 2
    assert freed > 0
    assert kept.trim(time.time_ns()) == 0


def test_what_is_being_used_is_not_deleted(corpus, tmp_path):
    """A cache without room keeps the corpus that is being encoded, and loses the one before."""
    model, settings = Counting(), EncodeSettings(LatentCache(tmp_path / "cache", 0))
    encode_files(corpus[:2], model, settings=settings)
    before = sorted((tmp_path / "cache").rglob("*.safetensors"))
    assert len(before) == 2
    for path in before:
        os.utime(path, (1e9, 1e9))
    encode_files(corpus[2:], model, settings=settings)
    left = set((tmp_path / "cache").rglob("*.safetensors"))
    asked = model.asked
    assert left
    assert len(left & set(before)) == 1  # the copy of sound 1 was used again
    assert encode_files(corpus[2:], model, settings=settings).encoded == 0
    assert model.asked == asked


def test_sizes_are_read(monkeypatch):
    assert [cache_size(text) for text in ("500M", "1.5k", "7", "0", "2 g".replace(" ", ""), "none")] == [
        500 << 20, 1536, 7, 0, 2 << 30, None
    ]  # fmt: skip
    assert cache_size() == 4 << 30
    monkeypatch.setenv("LATENT_TERRAIN_CACHE_SIZE", "10M")
    assert cache_size() == 10 << 20
    monkeypatch.setenv("LATENT_TERRAIN_CACHE_SIZE", "much")
    with pytest.raises(InputError, match="the cache's size in LATENT_TERRAIN_CACHE_SIZE is 'much': expected bytes"):
        cache_size()


def test_other_audio_or_another_autoencoder_is_encoded(corpus, tmp_path, rng):
    settings = EncodeSettings(LatentCache(tmp_path / "cache"))
    encode_files(corpus, Counting(), settings=settings)
    for model in (Counting(sha256="two"), Counting(channels=2)):
        if model.channels == 1:
            encode_files(corpus, model, settings=settings)
            assert model.asked == 4
    assert cache_key("a", Counting()) != cache_key("a", Counting(channels=2)) != cache_key("b", Counting(channels=2))
    soundfile.write(corpus[0], 0.1 * rng.standard_normal(9000), RATE)
    model = Counting()
    found = encode_files(corpus, model, settings=settings)
    assert model.asked == 1
    assert len(found.trajectories[0]) == -(-9000 // model.hop)


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_entry_counts_as_not_there(corpus, tmp_path, damage):
    model, cache = Counting(), LatentCache(tmp_path / "cache")
    good = encode_files(corpus, model, settings=EncodeSettings(cache))
    entry = next(cache.folder.rglob("*.safetensors"))
    data = bytearray(entry.read_bytes())
    data[-70] ^= 1
    entry.write_bytes({"cut": bytes(data[:-9]), "flip": bytes(data), "empty": b""}[damage])
    again = encode_files(corpus, model, settings=EncodeSettings(cache))
    assert again.encoded == 1
    same(good.trajectories, again.trajectories)


def test_several_at_once_give_the_same_bits_in_the_same_order(corpus):
    model = autoencoders.load("builtin")
    same(
        encode_files(corpus, model, settings=EncodeSettings(jobs=4)).trajectories,
        encode_files(corpus, model).trajectories,
    )


def test_bad_files_are_named_and_not_kept(corpus, tmp_path):
    bad, missing = tmp_path / "bad.wav", tmp_path / "missing.wav"
    bad.write_bytes(b"RIFF, but no more")
    twin = tmp_path / "twin.wav"
    twin.write_bytes(bad.read_bytes())
    settings = EncodeSettings(LatentCache(tmp_path / "cache"), jobs=2)
    for _ in range(2):
        found = encode_files([bad, *corpus, twin, missing], autoencoders.load("builtin"), settings=settings)
        assert [error.path for error in found.problems] == [str(bad), str(twin), str(missing)]
        assert len(found.trajectories) == 5


KILLED = """
import sys, time
from pathlib import Path
from terrain_core import autoencoders
from terrain_core.trajectories import EncodeSettings, LatentCache, encode_files
def slowly(done, total, path):
    print(done, flush=True)
    time.sleep(0.2)
encode_files(sorted(Path(sys.argv[1]).iterdir()), autoencoders.load("builtin"), slowly,
             EncodeSettings(LatentCache(Path(sys.argv[2]))))
"""


def test_after_a_kill_it_goes_on(corpus, tmp_path):
    cache = LatentCache(tmp_path / "cache")
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(corpus[0].parent), str(cache.folder)], stdout=subprocess.PIPE
    )
    with child:
        assert child.stdout.readline() == b"1\n"
        assert child.stdout.readline() == b"2\n"
        child.kill()
    model = autoencoders.load("builtin")
    found = encode_files(corpus, model, settings=EncodeSettings(cache))
    assert 1 <= found.encoded <= 3  # of 4 different ones
    same(found.trajectories, encode_files(corpus, model).trajectories)


@pytest.fixture
def cluster():
    """A scheduler and two workers, each a process."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs="ERROR"
    ) as found:
        yield found


quiet = pytest.mark.filterwarnings("ignore")  # Dask's, about its own sockets and clocks


@quiet
def test_a_cluster_that_loses_a_worker_encodes_everything(cluster, tmp_path, rng):
    files = []
    for i in range(12):
        files.append(tmp_path / f"{i:02}.wav")
        soundfile.write(files[-1], 0.1 * rng.standard_normal(4 * RATE), RATE)
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"no sound")
    model, cache = autoencoders.load("builtin"), LatentCache(tmp_path / "cache")
    victim = next(iter(cluster.workers.values())).pid
    dead = []

    def kill(done, total, path):
        if done == 3:
            os.kill(victim, signal.SIGKILL)
            dead.append(victim)

    settings = EncodeSettings(cache, scheduler=cluster.scheduler_address)
    found = encode_files([*files, bad], model, kill, settings)
    assert dead
    deadline = time.monotonic() + 10
    while cluster.workers[next(iter(cluster.workers))].pid == victim:
        assert time.monotonic() < deadline, "the worker was not replaced: was it killed?"
        time.sleep(0.1)
    assert [error.path for error in found.problems] == [str(bad)]
    same(found.trajectories, encode_files(files, model, settings=EncodeSettings(jobs=2)).trajectories)
    assert encode_files(files, model, settings=EncodeSettings(cache)).encoded == 0


@quiet
def test_no_scheduler_is_said_in_a_line(corpus, monkeypatch):
    from terrain_core.trajectories import cluster as module

    monkeypatch.setattr(module, "WORKERS_WITHIN_S", 0.5)
    with pytest.raises(InputError, match="no Dask scheduler answers"):
        encode_files(corpus, autoencoders.load("builtin"), settings=EncodeSettings(scheduler="tcp://127.0.0.1:9"))
    with pytest.raises(InputError, match="convert it first"):
        encode_files(corpus, Counting(), settings=EncodeSettings(scheduler="tcp://127.0.0.1:9"))
