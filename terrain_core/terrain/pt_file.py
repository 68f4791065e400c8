"""Terrains as `.pt` files of nn.terrain (Max), read and written without torch and without running anything in them.

Such a file is a TorchScript archive, a zip:

    NAME/data.pkl               modules and tensors (torchscript_pickle.py)
    NAME/data/0, data/1, …      the tensors' numbers
    NAME/code/__torch__.py …    class declarations, one for each module; no code
    NAME/constants.pkl, NAME/version, NAME/byteorder

The tensors are those of `Architecture.tensors()`, plus `two_pi` and five scalars (`SCALARS`). A `.pt` knows no bounds:
they are given when reading.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from terrain_core.errors import FileError
from terrain_core.safe_write import replacing
from terrain_core.terrain.model import Terrain
from terrain_core.terrain.network import Architecture
from terrain_core.terrain.torchscript_pickle import (
    Module,
    NotPlainDataError,
    Storage,
    StoredTensor,
    contiguous,
    read_pickle,
    write_pickle,
)

SCALARS: Mapping[str, str] = MappingProxyType(
    {
        "m_in_dim": "control_size",
        "m_out_dim": "latent_size",
        "m_cmax": "width",
        "m_gauss_scale": "gauss_scale",
        "m_mapping_size": "features",
    }
)
"""nn.terrain's names for the settings, in the order of its files."""

GUI_BOUNDS: NDArray[np.float64] = np.array([[-16.0, 16.0], [-4.0, 4.0]])
"""nn.terrain.gui's own boundary; what `read_pt` takes for two dimensions unless told otherwise."""
GUI_BOUNDS.setflags(write=False)

MAX_PICKLE_BYTES = 1 << 20
MAX_TENSOR_BYTES = 1 << 26  # the largest terrain there can be (width 1024, 2048 features, 1024 latents) has 34 MB
HINT = "expected a terrain that nn.terrain~ or this program saved"


def read_pt(path: str | PathLike[str], bounds: ArrayLike | None = None) -> Terrain:
    """Read a terrain of nn.terrain.

    Args:
        path: the `.pt` file.
        bounds: shape (C, 2), the part of the control space that is to be played; the file does not say. If None:
            -16..16 and -4..4 for two dimensions, as nn.terrain.gui has them, else -1..1.
    Raises:
        FileError: missing, truncated, not such a file, with tensors missing, of wrong shapes or with NaN.
    """
    tensors = read_tensors(path)
    missing = [name for name in SCALARS if name not in tensors]
    if missing:
        raise FileError(path, f"has no tensor {missing[0]!r}", hint=HINT)
    try:
        settings = {ours: tensors[theirs].item() for theirs, ours in SCALARS.items()}
        # 0.12 is stored as a float32; the shortest decimal that gives it is what was typed.
        settings["gauss_scale"] = float(str(np.float32(settings["gauss_scale"])))
        architecture = Architecture(**settings)
        extra = {*SCALARS, "two_pi"}
        weights = {name: tensor for name, tensor in tensors.items() if name not in extra}
        if bounds is None:
            bounds = GUI_BOUNDS if architecture.control_size == 2 else [[-1.0, 1.0]] * architecture.control_size
        return Terrain(architecture, weights, bounds)
    except ValueError as error:  # InputError is one; item() of an array of several raises one
        raise FileError(path, str(error), hint=HINT) from error


def read_tensors(path: str | PathLike[str]) -> dict[str, NDArray[Any]]:
    """All tensors of a TorchScript file by their dotted names, e.g. "fc2.weight"; nothing in the file is run.

    Raises:
        FileError: as `read_pt`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _Archive(path, archive).tensors()
    except OSError as error:
        raise FileError(path, f"could not be read: {error.strerror or error}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        if isinstance(error, FileError):
            raise
        raise FileError(path, f"is not a whole zip archive ({error})", hint=HINT) from error


class _Archive:
    """The open zip of a TorchScript file, read within bounds."""

    def __init__(self, path: str | PathLike[str], archive: zipfile.ZipFile) -> None:
        self.path = path
        self.archive = archive
        self.members = {name.partition("/")[2]: name for name in archive.namelist()}
        self.budget = MAX_TENSOR_BYTES
        self.order = "<"

    def tensors(self) -> dict[str, NDArray[Any]]:
        if "data.pkl" not in self.members:
            raise FileError(self.path, "is a zip archive without data.pkl", hint=HINT)
        if "byteorder" in self.members and self.read("byteorder", 16).strip() == b"big":
            self.order = ">"
        try:
            root = read_pickle(self.read("data.pkl", MAX_PICKLE_BYTES))
        except NotPlainDataError as error:
            raise FileError(self.path, f"data.pkl, {error}", hint=HINT) from error
        if not isinstance(root, Module):
            raise FileError(self.path, "data.pkl does not hold a module", hint=HINT)
        return {name: self.numbers(name, tensor) for name, tensor in _named_tensors(root)}

    def read(self, member: str, limit: int) -> bytes:
        if member not in self.members:
            raise FileError(self.path, f"has no member {member}", hint=HINT)
        with self.archive.open(self.members[member]) as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise FileError(self.path, f"{member} has more than {limit:,} bytes", hint=HINT)
        return data

    def numbers(self, name: str, tensor: StoredTensor) -> NDArray[Any]:
        dtype = np.dtype(self.order + tensor.storage.dtype)
        size = tensor.storage.size * dtype.itemsize
        self.budget -= size + math.prod(tensor.shape) * dtype.itemsize
        if self.budget < 0:
            raise FileError(self.path, f"tensor {name!r} makes it larger than any terrain", hint=HINT)
        data = self.read(f"data/{tensor.storage.key}", size)
        if len(data) != size:
            raise FileError(self.path, f"tensor {name!r} has {len(data)} bytes, expected {size}", hint=HINT)
        if 0 in tensor.shape:
            return np.empty(tensor.shape, dtype)
        start = np.frombuffer(data, dtype)[tensor.offset :]
        steps = [step * dtype.itemsize for step in tensor.strides]
        return np.lib.stride_tricks.as_strided(start, tensor.shape, steps, writeable=False).copy()


def _named_tensors(root: Module) -> list[tuple[str, StoredTensor]]:
    """The tensors of the root and of its modules; a terrain has no deeper ones."""
    found: list[tuple[str, StoredTensor]] = []
    for name, value in root.state.items():
        if isinstance(value, StoredTensor):
            found.append((name, value))
        elif isinstance(value, Module):
            found += [(f"{name}.{key}", item) for key, item in value.state.items() if isinstance(item, StoredTensor)]
    return found


def write_pt(terrain: Terrain, path: str | PathLike[str]) -> None:
    """Write a terrain so that nn.terrain~ and `torch.jit.load` open it. The bounds are not part of such a file.

    Raises:
        FileError: the file cannot be written; there is then no half-written one.
    """
    tensors = _tensors_to_write(terrain)
    modules: dict[str, list[str]] = {}
    for name in tensors:
        layer, dot, _ = name.partition(".")
        if dot:
            modules.setdefault(layer, []).append(name)
    classes = {layer: f"___torch_mangle_{number}" for number, layer in enumerate(modules)}
    stem = Path(path).stem or "terrain"
    with replacing(path) as beside, zipfile.ZipFile(beside, "w") as archive:
        root = Module("__torch__ Module")
        for number, (name, tensor) in enumerate(tensors.items()):
            archive.writestr(_member(f"{stem}/data/{number}"), tensor.astype(tensor.dtype.newbyteorder("<")).tobytes())
            layer, dot, key = name.partition(".")
            if dot:
                home = root.state.setdefault(layer, Module(f"__torch__.{classes[layer]} Module"))
            else:
                home, key = root, name
            home.state[key] = contiguous(Storage(tensor.dtype.str[1:], str(number), tensor.size), tensor.shape)
        archive.writestr(_member(f"{stem}/data.pkl"), write_pickle(root))
        archive.writestr(_member(f"{stem}/code/__torch__.py"), _root_declaration(root, classes))
        for layer, class_name in classes.items():
            declaration = _declaration(parameters=list(root.state[layer].state), types={})
            archive.writestr(_member(f"{stem}/code/__torch__/{class_name}.py"), declaration)
        archive.writestr(_member(f"{stem}/constants.pkl"), write_pickle(()))
        archive.writestr(_member(f"{stem}/version"), "3\n")
        archive.writestr(_member(f"{stem}/byteorder"), "little")


def _member(name: str) -> zipfile.ZipInfo:
    """An uncompressed member with a fixed date, so that equal terrains give equal files."""
    return zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))


def _tensors_to_write(terrain: Terrain) -> dict[str, NDArray[Any]]:
    tensors: dict[str, NDArray[Any]] = {}
    if terrain.gauss_scale:
        tensors["two_pi"] = np.array(2 * np.pi, np.float32)
    tensors.update(terrain.weights)
    for theirs, ours in SCALARS.items():
        value = getattr(terrain, ours)
        tensors[theirs] = np.array(value, np.int64 if isinstance(value, int) else np.float32)
    return tensors


def _root_declaration(root: Module, classes: Mapping[str, str]) -> str:
    buffers = [name for name in root.state if name in ("two_pi", "B_T")]
    types = {layer: f"__torch__.{class_name}.Module" for layer, class_name in classes.items()}
    return _declaration(list(SCALARS), types, buffers, attributes=list(root.state))


def _declaration(
    parameters: list[str],
    types: Mapping[str, str],
    buffers: list[str] | None = None,
    attributes: list[str] | None = None,
) -> str:
    """The TorchScript declaration of a module that has attributes and no methods."""

    def listed(names: list[str] | None) -> str:
        return "[" + "".join(f'"{name}", ' for name in names or []) + "]"

    lines = [f"__parameters__ = {listed(parameters)}", f"__buffers__ = {listed(buffers)}"]
    lines += [f"{name} : {types.get(name, 'Tensor')}" for name in attributes or parameters]
    return "class Module(Module):\n" + "".join(f"  {line}\n" for line in lines)
