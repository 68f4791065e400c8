"""Audio files -> latent trajectories. Every file from a clean state, none shifted by its neighbours."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np

from terrain_core.autoencoders.onnx_autoencoder import OnnxAutoencoder
from terrain_core.autoencoders.protocol import Autoencoder, Latents
from terrain_core.errors import FileError
from terrain_core.trajectories.kinds import LatentTrajectory
from terrain_core.trajectories.latent_cache import LatentCache, cache_key
from terrain_core.trajectories.latents import latents_of_file

Result = Latents | FileError
"""What came of one file."""


@dataclass(frozen=True)
class EncodedFiles:
    """What came of a corpus."""

    trajectories: tuple[LatentTrajectory, ...]
    """In the order of the files."""
    problems: tuple[FileError, ...]
    """One for each file that could not be used."""
    encoded: int = 0
    """Files that had to be encoded; all others came out of the cache, or are copies of one that did not."""
    files: tuple[Path, ...] = ()
    """The file of each trajectory."""


@dataclass(frozen=True)
class EncodeSettings:
    """How to encode a corpus.

    Attributes:
        cache: where latents are looked up before, and kept after; None for nowhere.
        jobs: files at once on this machine, one thread each. The graphs have no batch axis, since their state would
            need one, so this is what fills the cores; it changes no bit. Only where the autoencoder is a bundle.
        scheduler: address of a Dask scheduler whose workers encode instead ("tcp://host:8786"); None for this machine.
    """

    cache: LatentCache | None = None
    jobs: int = 1
    scheduler: str | None = None


def encode_file(path: str | PathLike[str], autoencoder: Autoencoder) -> LatentTrajectory:
    """A sound file as a latent trajectory.

    The file is resampled to the autoencoder's rate, brought to its channels by the rule of `audio_files`, padded with
    silence to whole frames, and encoded from a clean state.

    Returns:
        frames = ceil(samples / hop), samples counted at the autoencoder's rate.
    Raises:
        FileError: as `audio_files.read_audio`.
    """
    return _trajectory(Path(path), latents_of_file(path, autoencoder), autoencoder)


def encode_files(
    paths: Iterable[str | PathLike[str]],
    autoencoder: Autoencoder,
    progress: Callable[[int, int, Path], None] | None = None,
    settings: EncodeSettings | None = None,
) -> EncodedFiles:
    """Encode a corpus; files that cannot be used are listed, the others go on.

    What is done is in the cache at once: killed in the middle, the next call goes on from there.

    Args:
        paths: audio files.
        autoencoder: for all of them.
        progress: called with (files done, files in all, the file just done), the bad ones counted too.
    Raises:
        FileError: the cache cannot be written to.
        InputError: the cluster cannot be reached, or the autoencoder cannot be sent there.
    """
    settings = settings or EncodeSettings()
    began = time.time_ns()
    files = [Path(path) for path in paths]
    results: dict[int, Result] = {}
    waiting: dict[str, list[int]] = {}  # key -> the files that have this content

    def done(number: int, result: Result) -> None:
        results[number] = result
        if progress is not None:
            progress(len(results), len(files), files[number])

    for number, path in enumerate(files):
        try:
            key = cache_key(_sha256(path), autoencoder) if settings.cache is not None else None
        except FileError as error:
            done(number, error)
            continue
        found = settings.cache.get(key, autoencoder.latent_size) if settings.cache is not None and key else None
        if found is not None:
            done(number, found)
        else:
            waiting.setdefault(key or f"file {number}", []).append(number)

    keys = {numbers[0]: key for key, numbers in waiting.items()}
    for first, result in _encode_all({number: files[number] for number in keys}, autoencoder, settings):
        key = keys[first]
        if settings.cache is not None and not isinstance(result, FileError) and not key.startswith("file "):
            settings.cache.put(key, result)
        for number in waiting[key]:
            # A copy of a bad file is bad for the same reason, but it is another file.
            own = _named(result, files[number]) if isinstance(result, FileError) else result
            done(number, own)

    if settings.cache is not None:
        settings.cache.trim(began)
    trajectories: list[LatentTrajectory] = []
    used: list[Path] = []
    problems: list[FileError] = []
    for number, path in enumerate(files):
        result = results[number]
        if isinstance(result, FileError):
            problems.append(result)
        else:
            trajectories.append(_trajectory(path, result, autoencoder))
            used.append(path)
    return EncodedFiles(tuple(trajectories), tuple(problems), len(waiting), tuple(used))


def _encode_all(
    files: dict[int, Path], autoencoder: Autoencoder, settings: EncodeSettings
) -> Iterator[tuple[int, Result]]:
    """Encode files, by number, each as soon as it is ready."""
    if settings.scheduler is not None and files:
        from terrain_core.trajectories.cluster import encode_on_cluster

        yield from encode_on_cluster(files, autoencoder, settings.scheduler)
        return
    if settings.jobs <= 1 or not isinstance(autoencoder, OnnxAutoencoder):
        for number, path in files.items():
            yield number, _result(path, autoencoder)
        return
    pool = ThreadPoolExecutor(settings.jobs, "encode")
    try:
        futures = {pool.submit(_result, path, autoencoder): number for number, path in files.items()}
        for future in as_completed(futures):
            yield futures.pop(future), future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _result(path: Path, autoencoder: Autoencoder) -> Result:
    try:
        return latents_of_file(path, autoencoder)
    except FileError as error:
        return error


def _named(error: FileError, path: Path) -> FileError:
    """The same about another file."""
    return FileError(path, error.problem, position=error.position, hint=error.hint)


def _trajectory(path: Path, latents: Latents, autoencoder: Autoencoder) -> LatentTrajectory:
    return LatentTrajectory(path.stem, latents, autoencoder.sample_rate / autoencoder.hop)


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise FileError(path, "there is no such file") from None
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror})") from error


def write_latents(path: str | PathLike[str], trajectories: Sequence[LatentTrajectory], about: dict[str, str]) -> None:
    """Write trajectories as safetensors: "1", "2", … in their order, each (frames, D) float32; names in the metadata.

    Raises:
        FileError: it cannot be written.
    """
    import json

    from safetensors.numpy import save

    from terrain_core.safe_write import replacing

    tensors = {str(i): np.ascontiguousarray(t.latents) for i, t in enumerate(trajectories, start=1)}
    names = json.dumps([t.name for t in trajectories], ensure_ascii=False)
    data = save(tensors, {**about, "names": names})
    with replacing(path) as beside:
        beside.write_bytes(data)
