"""A corpus encoded by the workers of a Dask cluster (extra `cluster`), for corpora too large for one machine.

Workers need this package and nothing else of ours: bundle and audio travel to them as bytes, so no folder has to be
shared. A worker that dies loses nothing but the files it was at, which others take over.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terrain_core.autoencoders.onnx_autoencoder import OnnxAutoencoder
from terrain_core.autoencoders.protocol import Autoencoder, Latents
from terrain_core.errors import FileError, InputError

if TYPE_CHECKING:
    from distributed import Client

WORKERS_WITHIN_S = 30.0
"""How long to wait for the first worker, and for another one when all have gone."""
AHEAD = 2
"""Files under way per thread of the cluster: enough to keep it busy, few enough to hold in memory."""

Answer = tuple[Latents | None, tuple[str, str, str]]
"""Latents, or what is wrong: problem, position, hint. (Our errors do not survive a pickle.)"""


def encode_on_cluster(
    files: dict[int, Path], autoencoder: Autoencoder, address: str
) -> Iterator[tuple[int, Latents | FileError]]:
    """Encode files, by number, each as soon as it is ready.

    Args:
        address: the scheduler's, e.g. "tcp://10.0.0.1:8786". Whoever can reach a scheduler can run code on its
            workers, and workers on whoever asks them: use one only in a network that you trust.
    Raises:
        InputError: Dask is not installed, the scheduler does not answer, it has no workers, or the autoencoder cannot
            be sent (a TorchScript).
    """
    if not isinstance(autoencoder, OnnxAutoencoder):
        raise InputError(f"{autoencoder.name} cannot be sent to a cluster: convert it first (terrain convert)")
    try:
        from distributed import Client
    except ImportError:
        raise InputError("encoding on a cluster needs Dask: pip install 'latent-terrain[cluster]'") from None
    try:
        client = Client(address, timeout=WORKERS_WITHIN_S, set_as_default=False)
    except (OSError, ValueError) as error:  # TimeoutError is an OSError
        raise InputError(f"no Dask scheduler answers at {address} ({type(error).__name__})") from None
    with client:
        try:
            client.wait_for_workers(1, timeout=WORKERS_WITHIN_S)
        except TimeoutError:
            raise InputError(f"the Dask scheduler at {address} has no workers: dask worker {address}") from None
        yield from _encode(client, files, autoencoder)


def _encode(
    client: Client, files: dict[int, Path], autoencoder: OnnxAutoencoder
) -> Iterator[tuple[int, Latents | FileError]]:
    from distributed import wait

    from terrain_core.trajectories.cluster_dask import BundlePlugin, encode_there

    # The scheduler keeps a plugin and hands it to every worker that comes, also to one that replaces a dead one.
    name = f"terrain-{autoencoder.sha256}"
    client.register_plugin(BundlePlugin(autoencoder.to_bytes()), name=name)
    ahead = max(2, AHEAD * sum(client.nthreads().values()))
    left = list(files.items())[::-1]
    under_way: dict[Any, int] = {}
    alone_since: float | None = None
    while left or under_way:
        while left and len(under_way) < ahead:
            number, path = left.pop()
            try:
                data = path.read_bytes()
            except OSError as error:
                yield number, FileError(path, f"cannot be read ({error.strerror})")
                continue
            future = client.submit(encode_there, name, path.suffix, data, pure=False)
            del data
            under_way[future] = number
        if not under_way:
            continue
        try:
            with client.as_current():
                finished = wait(list(under_way), timeout=2, return_when="FIRST_COMPLETED").done
        except TimeoutError:
            finished = set()
        alone_since = None if client.nthreads() else alone_since or time.monotonic()
        if alone_since is not None and time.monotonic() - alone_since > WORKERS_WITHIN_S:
            raise InputError(
                f"the cluster lost all its workers with {len(left) + len(under_way)} files to go; "
                "what was encoded before is in the cache: start workers and call again"
            )
        for future in finished:
            number = under_way.pop(future)
            yield number, _answer(future, files[number])


def _answer(future: Any, path: Path) -> Latents | FileError:
    if future.status != "finished":
        return FileError(path, f"could not be encoded on the cluster ({str(future.exception()).splitlines()[0][:200]})")
    latents, (problem, position, hint) = future.result()
    return FileError(path, problem, position=position, hint=hint) if latents is None else latents
