"""The instruments that saved states name."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from terrain_core.errors import FileError
from terrain_core.instrument import Instrument
from terrain_core.looper import ChainEffect, LooperChain
from terrain_core.looper.chain_effect import MAGIC
from terrain_core.plugin_state import InstrumentReference
from terrain_plugin.shipped import DEFAULT_INSTRUMENT


class InstrumentShelf:
    """Instruments that were opened, by SHA-256. An engine that is forked off shares what stands on it."""

    def __init__(self) -> None:
        self._instruments: dict[str, Instrument] = {}

    def get(self, reference: InstrumentReference | None) -> Instrument:
        """The instrument that a state names; the built-in one for None.

        Raises:
            FileError: neither the file nor a copy in the state can be opened.
        """
        key = reference.sha256 if reference else ""
        if key not in self._instruments:
            self._instruments[key] = _open(reference) if reference else Instrument.load(DEFAULT_INSTRUMENT)
        return self._instruments[key]


def _open(reference: InstrumentReference) -> Instrument:
    path = Path(reference.path)
    found = _sha256(path)
    if found == reference.sha256:
        return Instrument.load(path)
    if hashlib.sha256(reference.embedded).hexdigest() == reference.sha256:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / f"{Path(reference.name).name or 'instrument'}.terrain"
            copy.write_bytes(reference.embedded)
            return Instrument.load(copy)
    what = "is another file now than when the project was saved" if found else "is not there any more"
    raise FileError(path, f"{what}, and the project holds no copy of it", hint="bring it back, or choose another one")


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def ours(loops: bytes) -> bytes:
    """A state's loops, if this version wrote them; those of another are kept, and not played."""
    return loops if loops.startswith(MAGIC) else b""


def loopers_of(instrument: Instrument, loops: bytes = b"") -> ChainEffect:
    """What plays an instrument's loops, or empty loopers where it has none, as a state remembers them.

    Raises:
        InputError: the loops are of another instrument's loopers, or damaged.
    """
    effect = (instrument.chain or LooperChain.empty()).effect(instrument)
    effect.restore(ours(loops))
    return effect
