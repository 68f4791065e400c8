"""The sounds that an instrument was made from: their latents, groups, and where each came from."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrain_core.audio_files import read_sound, to_channels
from terrain_core.autoencoders.protocol import Audio, Autoencoder, Latents
from terrain_core.errors import FileError, InputError
from terrain_core.trajectories.encode import EncodeSettings, encode_files
from terrain_core.trajectories.kinds import checked_rows
from terrain_core.trajectories.latents import latents_of_file

FRAMES = "frames"
"""The tensor that holds all sounds' latents, one after another."""


@dataclass(frozen=True)
class Sound:
    """A sound as latents, and where it came from.

    Attributes:
        name: for people, and to find it by; unique in a collection.
        latents: shape (frames, D), read-only; one frame where the autoencoder is a one-shot one.
        held: the frame that stands for the sound where one has to: the loudest part's most typical.
        group: its class; of a sound in a folder, the folder's name. Empty if it has none.
        path, sha256: the file, and its bytes' identity: with another autoencoder, the sound can be encoded again.
    """

    name: str
    latents: Latents
    held: int = 0
    group: str = ""
    path: str = ""
    sha256: str = ""

    def __post_init__(self) -> None:
        rows = checked_rows(self.latents, f"sound {self.name!r}", "latent_size", np.float32)
        object.__setattr__(self, "latents", rows)
        if not 0 <= self.held < len(rows):
            raise InputError(f"sound {self.name!r} holds frame {self.held}: expected 0..{len(rows) - 1}")

    def __len__(self) -> int:
        """Frames."""
        return len(self.latents)

    @property
    def latent(self) -> NDArray[np.float32]:
        """(D,): the held frame."""
        row: NDArray[np.float32] = self.latents[self.held]
        return row

    @property
    def portrait(self) -> NDArray[np.float64]:
        """(2 D,): mean and standard deviation in time; sounds are alike where these are."""
        rows = self.latents.astype(np.float64)
        return np.concatenate([rows.mean(axis=0), rows.std(axis=0)])


def encode_sound(
    path: str | PathLike[str], autoencoder: Autoencoder, *, name: str = "", group: str | None = None
) -> Sound:
    """A sound file as a `Sound`.

    Args:
        name: None for the file's own, without its ending.
        group: None for the name of the folder that it is in.
    Raises:
        FileError: not a sound file, or it cannot be encoded.
    """
    return sound_of(path, latents_of_file(path, autoencoder), autoencoder, name=name, group=group)


def sound_of(
    path: str | PathLike[str],
    latents: Latents,
    autoencoder: Autoencoder,
    *,
    name: str = "",
    group: str | None = None,
) -> Sound:
    """A sound file whose latents (frames, D) are known, as a `Sound`. Arguments and errors as `encode_sound`."""
    file = Path(path)
    audio, rate = read_sound(file)  # as it is: levels need no resampling
    audio = to_channels(file, audio, autoencoder.channels)
    levels = frame_levels(audio, autoencoder.hop * rate / autoencoder.sample_rate, len(latents))
    return Sound(
        name or file.stem,
        latents,
        held_frame(latents, levels),
        file.resolve().parent.name if group is None else group,
        str(file.absolute()),
        file_sha256(file),
    )


def file_sha256(path: Path) -> str:
    """Identity of a file's bytes."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror})") from error


def frame_levels(audio: Audio, hop: float, frames: int) -> NDArray[np.float64]:
    """Mean square of each frame's samples, (frames,); `hop` samples a frame, which need not be whole."""
    edges = np.ceil(np.arange(frames + 1) * hop - 1e-9).astype(np.intp)
    squares = (audio[:, : edges[-1]].astype(np.float64) ** 2).mean(axis=0)
    squares = np.pad(squares, (0, edges[-1] - len(squares)))
    return np.asarray(np.add.reduceat(squares, edges[:-1]) / np.maximum(np.diff(edges), 1))


def held_frame(latents: Latents, levels: NDArray[np.float64]) -> int:
    """Of the frames within 12 dB of the loudest, the one nearest to their mean: not the silence that a hit ends in, nor
    something between two notes that never sounded.
    """
    loud = np.flatnonzero(levels >= levels.max() / 16)
    rows = latents[loud].astype(np.float64)
    spread = latents.std(axis=0).astype(np.float64)
    away = (rows - rows.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    return int(loud[np.einsum("nd,nd->n", away, away).argmin()])


class Collection:
    """Sounds of one autoencoder, in an order. Read-only: adding gives another."""

    def __init__(self, sounds: Iterable[Sound]) -> None:
        """
        Raises:
            InputError: no sounds, different latent sizes, or two of one name.
        """
        self.sounds = tuple(sounds)
        if not self.sounds:
            raise InputError("a collection without sounds: expected at least one")
        sizes = sorted({sound.latents.shape[1] for sound in self.sounds})
        if len(sizes) > 1:
            raise InputError(f"sounds have {sizes} latents; expected the same number in all")
        self._index = {sound.name: index for index, sound in enumerate(self.sounds)}
        if len(self._index) < len(self.sounds):
            double = next(name for i, name in enumerate(self.names) if self._index[name] != i)
            raise InputError(f"two sounds are called {double!r}: expected names that differ")

    def __len__(self) -> int:
        return len(self.sounds)

    @property
    def names(self) -> list[str]:
        return [sound.name for sound in self.sounds]

    @property
    def groups(self) -> list[str]:
        return [sound.group for sound in self.sounds]

    @property
    def latent_size(self) -> int:
        """D"""
        return int(self.sounds[0].latents.shape[1])

    def frames(self) -> Latents:
        """All sounds' latents, one after another: (frames, D)."""
        rows: Latents = np.concatenate([sound.latents for sound in self.sounds])
        return rows

    def lengths(self) -> NDArray[np.int64]:
        """Frames of each sound, (n,)."""
        return np.array([len(sound) for sound in self.sounds])

    def held(self) -> Latents:
        """The latent that stands for each sound, (n, D)."""
        return np.stack([sound.latent for sound in self.sounds])

    def portraits(self) -> NDArray[np.float64]:
        """What sounds are compared by, (n, 2 D)."""
        return np.stack([sound.portrait for sound in self.sounds])

    def index(self, name: str) -> int:
        """Where the sound of that name is.

        Raises:
            InputError: there is none; says what is called alike.
        """
        if name not in self._index:
            alike = difflib.get_close_matches(name, self.names, 3, 0.4) or self.names[:3]
            raise InputError(
                f"no sound is called {name!r}: expected one of {len(self)}, such as {', '.join(map(repr, alike))}"
            )
        return self._index[name]

    def find(self, name: str) -> Sound:
        """The sound of that name; errors as `index`."""
        return self.sounds[self.index(name)]

    def with_sounds(self, sounds: Iterable[Sound]) -> Collection:
        """With more sounds at its end; those whose names are taken get a number, those that are there already (by
        their files' bytes) are left out.
        """
        known = {sound.sha256 for sound in self.sounds if sound.sha256}
        fresh = [sound for sound in sounds if not sound.sha256 or sound.sha256 not in known]
        return Collection(with_own_names([*self.sounds, *fresh]))

    def encoded_again(
        self, autoencoder: Autoencoder, folders: Sequence[Path] = (), settings: EncodeSettings | None = None
    ) -> tuple[Collection, list[str]]:
        """The same sounds with another autoencoder's latents, from the files they came from.

        Args:
            folders: where to look, by name, for files that are no longer where they were.
            settings: cache, cores or cluster; None for one file after the other, kept nowhere.
        Returns:
            the sounds that were found, and a line for each that was not.
        """
        there: list[tuple[Sound, Path]] = []
        missing = []
        for sound in self.sounds:
            file = locate(sound, folders)
            if file is None:
                missing.append(f"{sound.name}: {sound.path or 'came from no file'} is not there any more")
                continue
            there.append((sound, file))
        if not there:
            raise InputError(
                f"none of {len(self)} sounds can be encoded again: {missing[0]}; name the folders that they are in now"
            )
        encoded = encode_files([file for _, file in there], autoencoder, settings=settings)
        if encoded.problems:
            raise encoded.problems[0]
        return Collection(
            sound_of(file, found.latents, autoencoder, name=sound.name, group=sound.group)
            for (sound, file), found in zip(there, encoded.trajectories, strict=True)
        ), missing

    def to_parts(self) -> tuple[list[dict[str, Any]], dict[str, NDArray[Any]]]:
        """JSON values and tensors; `from_parts` reads them."""
        facts = [
            {
                "name": sound.name,
                "frames": len(sound),
                "held": sound.held,
                "group": sound.group,
                "path": sound.path,
                "sha256": sound.sha256,
            }
            for sound in self.sounds
        ]
        return facts, {FRAMES: self.frames()}

    @classmethod
    def from_parts(cls, facts: Any, arrays: Mapping[str, NDArray[Any]]) -> Collection:
        """
        Raises:
            InputError: what is there cannot be a collection.
        """
        try:
            counts = [int(fact["frames"]) for fact in facts]
            rows = arrays[FRAMES]
            if min(counts, default=0) < 1 or rows.ndim != 2 or sum(counts) != len(rows):
                raise InputError(f"the sounds have {sum(counts)} frames, their latents the shape {rows.shape}")
            parts = np.split(rows, np.cumsum(counts)[:-1])
            texts = ("name", "group", "path", "sha256")
            return cls(
                Sound(held=int(fact.get("held", 0)), latents=part, **{key: str(fact.get(key, "")) for key in texts})
                for fact, part in zip(facts, parts, strict=True)
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"the sounds are not a list of names and frames ({error!r})") from error


def locate(sound: Sound, folders: Sequence[Path] = ()) -> Path | None:
    """The file that a sound came from, or one of the same name and bytes in the folders."""
    candidates = [Path(sound.path)] if sound.path else []
    candidates += [found for folder in folders for found in sorted(folder.rglob(Path(sound.path).name or "?"))]
    for file in candidates:
        if file.is_file() and (not sound.sha256 or file_sha256(file) == sound.sha256):
            return file
    return None


@dataclass(frozen=True)
class Encoded:
    """What came of a corpus.

    Attributes:
        problems: one for each file that could not be used.
    """

    collection: Collection
    problems: tuple[FileError, ...]


def encode_collection(
    paths: Iterable[str | PathLike[str]],
    autoencoder: Autoencoder,
    *,
    skip_bad: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
    settings: EncodeSettings | None = None,
) -> Encoded:
    """Encode files; names that occur twice get a number.

    Args:
        settings: cache, cores or cluster; None for one file after the other, kept nowhere.
    Raises:
        FileError: a file cannot be used (unless `skip_bad`), or none can.
    """
    found = encode_files(paths, autoencoder, lambda done, total, path: progress(done, total), settings)
    if found.problems and (not skip_bad or not found.trajectories):
        raise found.problems[0]
    pairs = zip(found.files, found.trajectories, strict=True)
    sounds = [sound_of(file, encoded.latents, autoencoder) for file, encoded in pairs]
    return Encoded(Collection(with_own_names(sounds)), found.problems)


def with_own_names(sounds: Iterable[Sound]) -> list[Sound]:
    """The sounds, with `own_names`."""
    given = list(sounds)
    names = own_names(sound.name for sound in given)
    return [
        sound if name == sound.name else replace(sound, name=name) for sound, name in zip(given, names, strict=True)
    ]


def own_names(names: Iterable[str]) -> list[str]:
    """The names; of several that are the same, the second and later ones with a number after it."""
    taken: set[str] = set()
    found = []
    for given in names:
        name, number = given, 2
        while name in taken:
            name, number = f"{given} {number}", number + 1
        taken.add(name)
        found.append(name)
    return found
