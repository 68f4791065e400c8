"""Damaged instruments, terrains, states, chains and bridge traffic by the million:
`python tests/fuzz_core.py [--inputs N] [--seed S] [--target NAME]`.

Each input is a small good one, damaged as `terrain_daws/fuzz.py` damages projects; what is packed or has a checksum is
damaged within. Whatever comes must be read, or refused with an error of one line (`TerrainError`), within five seconds;
audio that comes of it must be finite. Anything else ends the run, with the input kept in `fuzz-failure.bin`.
"""

from __future__ import annotations

import argparse
import signal
import socket
import struct
import sys
import tempfile
import time
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from terrain_core.errors import TerrainError
from terrain_core.instrument import Instrument
from terrain_core.looper import Layer, Looper, LooperChain
from terrain_core.looper.toml_file import read_chain, write_chain
from terrain_core.plugin_state import HEADER, MAGIC, VERSION, InstrumentReference, PluginState
from terrain_core.terrain import Terrain
from terrain_core.terrain.pt_file import read_pt, write_pt
from terrain_plugin.bridge import protocol
from terrain_plugin.bridge.messages import Connection
from terrain_plugin.bridge.processor import TerrainProcessor
from terrain_plugin.bridge.shared_memory import Request
from terrain_plugin.instrument_shelf import InstrumentShelf
from tests.terrain_core.reference_autoencoder import LinearAutoencoder
from tests.terrain_daws.fuzz import PATIENCE_S, damaged

D = 3
Target = tuple[bytes, Callable[[bytes], None]]
"""What is damaged, and what reads it."""


def small_instrument() -> Instrument:
    instrument = Instrument(LinearAutoencoder(latent_size=D), Terrain.create(2, D, seed=3, width=8, features=16))
    loop = Layer.of(np.arange(6) / 6, np.random.default_rng(1).normal(size=(6, D)))
    instrument.chain = LooperChain(Looper("a", speed=0.5).holding(loop, 4), Looper("b", beats=2), mode="parallel")
    instrument.presets = {"one": {"x": 0.25}}
    return instrument


def members(path: Path, folder: Path, read: Callable[[Path], object]) -> Target:
    """A zip, its members one after the other, each with its length: a damaged member is packed again."""
    with zipfile.ZipFile(path) as archive:
        parts = {info.filename: archive.read(info) for info in archive.infolist() if not info.is_dir()}
    order = list(parts)
    whole = b"".join(parts.values())
    ends = np.cumsum([len(part) for part in parts.values()]).tolist()

    def check(data: bytes) -> None:
        target = folder / f"fuzzed{path.suffix}"
        begins = [0, *ends[:-1]]
        with zipfile.ZipFile(target, "w") as archive:
            for name, begin, end in zip(order, begins, ends, strict=True):
                last = name == order[-1]
                archive.writestr(name, data[begin:] if last else data[begin:end])
        read(target)

    return whole, check


def targets(folder: Path) -> dict[str, Target]:
    """Name -> what is damaged, and what reads it."""
    instrument = small_instrument()
    autoencoder = instrument.autoencoder
    instrument.save(folder / "small.terrain")
    assert instrument.terrain is not None
    write_pt(instrument.terrain, folder / "small.pt")
    assert instrument.chain is not None
    write_chain(instrument.chain, folder / "chain.toml")
    effect = instrument.chain.effect(instrument)
    state = PluginState({"x": 0.5, "loop_speed": 2.0}, InstrumentReference("/a", "0" * 64, "a"), b"LOOPS001")
    processor = TerrainProcessor(44100.0, 64, InstrumentShelf())
    processor.restore(PluginState().to_bytes())

    def read_state(data: bytes) -> None:
        body = data[HEADER.size :]
        whole = HEADER.pack(MAGIC, VERSION, zlib.crc32(body), len(body)) + body
        PluginState.from_bytes(whole).to_bytes()

    def read_toml(data: bytes) -> None:
        (folder / "fuzzed.toml").write_bytes(data)
        read_chain(folder / "fuzzed.toml", instrument, lambda name, beats: [])

    events = np.zeros(4, protocol.EVENT.dtype)
    events["kind"], events["id"], events["value"] = [1, 1, 2, 3], [1, 21, 0, 0], [0.5, 1.0, 0.0, 0.8]
    requests = protocol.REQUEST.struct.pack(1, 64, 0x1F30, 4, 0, 1.0, 120.0, 0.5, 0.0, 0.0, 4.0, 0, 4, 4, 0, 0)

    def play(data: bytes) -> None:
        size = protocol.REQUEST.struct.size
        raw = data[:size].ljust(size, b"\0")
        request = Request._make(protocol.REQUEST.struct.unpack(raw))
        request = request._replace(samples=min(max(request.samples, 1), 64))
        width = protocol.EVENT.struct.size
        rest = data[size:]
        rows = [protocol.EVENT.struct.unpack(rest[i : i + width]) for i in range(0, len(rest) - width + 1, width)]
        sound = processor.process(request, rows, np.zeros((2, 64), np.float32))
        assert np.isfinite(sound).all()

    def receive(data: bytes) -> None:
        here, there = socket.socketpair()
        with here, there:
            connection = Connection(here)
            there.setblocking(False)
            there.send(data[: 1 << 16])
            there.close()
            for message in connection.receive():
                assert len(message.payload) <= protocol.MAX_MESSAGE_BYTES

    message = struct.pack("=II", protocol.Message.STATE, 12) + b"\0" * 12
    return {
        "instrument": members(
            folder / "small.terrain", folder, lambda path: Instrument.load(path, resolve=lambda *_: autoencoder)
        ),
        "pt": members(folder / "small.pt", folder, read_pt),
        "state": (state.to_bytes(), read_state),
        "loops": (effect.to_bytes(), lambda data: instrument.chain.effect(instrument).restore(data)),
        "toml": ((folder / "chain.toml").read_bytes(), read_toml),
        "requests": (requests + events.tobytes(), play),
        "messages": (message * 3, receive),
    }


def run(names: list[str], inputs: int, seed: int, told: Callable[[str], None] = lambda line: None) -> Counter[str]:
    """Try so many inputs of each target in turn; what came of them.

    Raises:
        AssertionError: something that must not happen did; the input is in fuzz-failure.bin.
    """
    signal.signal(signal.SIGALRM, _too_long)
    counts: Counter[str] = Counter()
    rng = np.random.default_rng(seed)
    slowest = 0.0
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DeprecationWarning)  # pickletools, of odd escapes
        found = targets(Path(name))
        texts = [data for data, _ in found.values()]
        for number in range(inputs):
            target = names[number % len(names)]
            data, check = found[target]
            hurt = damaged(data, texts, rng)
            began = time.perf_counter()
            signal.setitimer(signal.ITIMER_REAL, 2 * PATIENCE_S)  # what never ends is a finding too
            try:
                check(hurt)
                counts[f"{target} read"] += 1
            except TerrainError as error:
                counts[f"{target} refused"] += 1
                if "\n" in str(error):
                    _keep(hurt, target)
                    raise AssertionError(f"{target}: an error of several lines: {error}") from error
            except BaseException:
                _keep(hurt, target)
                raise
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            slowest = max(slowest, time.perf_counter() - began)
            assert slowest < PATIENCE_S, f"{target}: {slowest:.1f} s"
            if (number + 1) % 20_000 == 0:
                told(f"{number + 1:,}: {dict(counts)}, slowest {1000 * slowest:.0f} ms")
    return counts


def _too_long(*_: object) -> None:
    raise TimeoutError("it did not end")


def _keep(data: bytes, target: str) -> None:
    Path("fuzz-failure.bin").write_bytes(data)
    print(f"{target}: the input is in fuzz-failure.bin", file=sys.stderr)


TARGETS = ("instrument", "pt", "state", "loops", "toml", "requests", "messages")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1_000_000, help="in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", choices=TARGETS, help="only this one")
    arguments = parser.parse_args()
    names = [arguments.target] if arguments.target else list(TARGETS)
    print(dict(run(names, arguments.inputs, arguments.seed, lambda line: print(line, flush=True))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
