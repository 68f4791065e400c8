"""A prepared data set on disk: sounds of one length as memory-mapped arrays, and `dataset.json`, which says what they
are.

dataset.json        sample rate, channels, samples, and for each sound its name, label, group and part
train-000.npy …     (sounds, channels, samples) float32, in the order of dataset.json
test-000.npy …
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from terrain_core.autoencoders.protocol import Audio
from terrain_core.errors import FileError
from terrain_core.safe_write import replacing

CARD: Final = "dataset.json"
FORMAT: Final = "latent-terrain one-shots"
VERSION: Final = 1
PER_SHARD: Final = 256
Part = Literal["train", "test"]
PARTS: Final[tuple[Part, ...]] = ("train", "test")


@dataclass(frozen=True)
class Sound:
    """One sound of a data set.

    Attributes:
        name: its file, from the folder it was found in, or whatever made it.
        label: its kind: the folder it was in; "" if in none.
        group: what must not be split between the parts.
        seconds: how long it is before the padding.
    """

    name: str
    label: str = ""
    group: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Sounds:
    """One part of a data set; read-only, in memory only where it is touched.

    Attributes:
        sounds: what they are.
        sample_rate: Hz.
    """

    sounds: tuple[Sound, ...]
    sample_rate: int
    channels: int
    samples: int
    _shards: tuple[NDArray[np.float32], ...]

    def __len__(self) -> int:
        return len(self.sounds)

    def __getitem__(self, index: int) -> Audio:
        """(channels, samples), a view into the file."""
        shard, row = divmod(index, PER_SHARD)
        sound: Audio = self._shards[shard][row]
        return sound

    def batch(self, indices: Iterable[int]) -> NDArray[np.float32]:
        """(n, channels, samples), a copy."""
        return np.stack([self[index] for index in indices])

    def __iter__(self) -> Iterator[Audio]:
        return (self[index] for index in range(len(self)))


def write(
    folder: Path, part: Part, sounds: Iterable[tuple[Sound, Audio]], channels: int, samples: int
) -> list[dict[str, Any]]:
    """Write a part's shards; give its sounds as `dataset.json` has them. One shard at a time is in memory."""
    listed: list[dict[str, Any]] = []
    waiting: list[Audio] = []
    for sound, audio in sounds:
        assert audio.shape == (channels, samples)
        listed.append(asdict(sound))
        waiting.append(audio)
        if len(waiting) == PER_SHARD:
            _write_shard(folder, part, len(listed), waiting)
    if waiting:
        _write_shard(folder, part, len(listed), waiting)
    return listed


def _write_shard(folder: Path, part: Part, so_far: int, waiting: list[Audio]) -> None:
    with replacing(_shard(folder, part, (so_far - 1) // PER_SHARD)) as beside:
        np.save(beside, np.stack(waiting).astype(np.float32))
    waiting.clear()


def _shard(folder: Path, part: str, number: int) -> Path:
    return folder / f"{part}-{number:03d}.npy"


def write_card(
    folder: Path, parts: dict[Part, list[dict[str, Any]]], sample_rate: int, channels: int, samples: int, **notes: Any
) -> None:
    """Written last: a folder without it is no data set yet."""
    card = {"format": FORMAT, "version": VERSION, "sample_rate": sample_rate, "channels": channels, "samples": samples}
    with replacing(folder / CARD) as beside:
        beside.write_text(json.dumps({**card, **notes, "parts": parts}, indent=1, ensure_ascii=False))


def open_part(folder: Path, part: Part) -> Sounds:
    """Open a part of a prepared folder.

    Raises:
        FileError: no data set, a newer or a damaged one, or the part has no sound.
    """
    card = read_card(folder)
    listed = card["parts"].get(part, [])
    if not listed:
        raise FileError(folder, f"has no sounds for {part!r}", hint="prepare a larger folder with `terrain dataset`")
    sounds = tuple(Sound(**{key: entry[key] for key in Sound.__dataclass_fields__}) for entry in listed)
    channels, samples = card["channels"], card["samples"]
    shards = []
    for number in range(-(-len(sounds) // PER_SHARD)):
        path = _shard(folder, part, number)
        rows = min(PER_SHARD, len(sounds) - number * PER_SHARD)
        try:
            shard = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise FileError(path, f"is not a shard of sounds ({error})", hint="prepare the folder anew") from error
        if shard.shape != (rows, channels, samples) or shard.dtype != np.float32:
            raise FileError(
                path,
                f"holds {shard.dtype} {shard.shape}: expected float32 {(rows, channels, samples)}",
                hint="prepare the folder anew",
            )
        shards.append(shard)
    return Sounds(sounds, card["sample_rate"], channels, samples, tuple(shards))


def read_card(folder: Path) -> dict[str, Any]:
    """`dataset.json` of a prepared folder, looked over."""
    path = folder / CARD
    if not path.is_file():
        raise FileError(folder, f"is no prepared data set (it has no {CARD})", hint="make one with `terrain dataset`")
    try:
        card: dict[str, Any] = json.loads(path.read_text())
        sizes = [card[key] for key in ("sample_rate", "channels", "samples")]
        fine = card["format"] == FORMAT and all(isinstance(n, int) and n > 0 for n in sizes)
        fine = fine and all(isinstance(card["parts"].get(part, []), list) for part in PARTS)
        version = card["version"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileError(path, f"does not describe a data set ({error!r})", hint="prepare the folder anew") from error
    if not fine:
        raise FileError(path, "does not describe a data set of one-shots", hint="prepare the folder anew")
    if version > VERSION:
        raise FileError(path, f"has version {version}, newer than {VERSION}", hint="update Latent Terrain")
    return card
