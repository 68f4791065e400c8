"""The `data.pkl` of a TorchScript file, read and written as plain data.

A pickle is a program. This reader follows the two dozen opcodes that describe modules and tensors and knows no way to
call anything: a file with any other opcode or name is refused. Opcodes: the table in Python's `pickletools`; layout:
PyTorch, torch/csrc/jit/serialization/pickler.cpp.
"""

from __future__ import annotations

import math
import pickle
import pickletools
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

STORAGE_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "torch FloatStorage": "f4",
        "torch DoubleStorage": "f8",
        "torch HalfStorage": "f2",
        "torch LongStorage": "i8",
        "torch IntStorage": "i4",
        "torch ShortStorage": "i2",
        "torch CharStorage": "i1",
        "torch ByteStorage": "u1",
        "torch BoolStorage": "?",
    }
)
"""PyTorch's storage classes and NumPy's names for what lies in them."""

MODULE_NAME = re.compile(r"__torch__\S* \S+")
REBUILD_TENSOR = "torch._utils _rebuild_tensor_v2"
ORDERED_DICT = "collections OrderedDict"


class NotPlainDataError(ValueError):
    """The pickle is damaged, or holds what does not describe modules and tensors. The text names the byte."""


@dataclass(frozen=True)
class Name:
    """A class or function that the pickle names; never looked up."""

    text: str


@dataclass(frozen=True)
class Storage:
    """A run of numbers in the archive: `data/<key>`."""

    dtype: str
    key: str
    size: int


@dataclass(frozen=True)
class StoredTensor:
    """A view of a storage; offset and strides in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def fits(self) -> bool:
        """Whether all elements lie inside the storage."""
        if not all(type(number) is int and number >= 0 for number in (self.offset, *self.shape, *self.strides)):
            return False
        if len(self.shape) != len(self.strides) or self.storage.size < 0:
            return False
        if 0 in self.shape:
            return True
        return (
            self.offset + sum((n - 1) * step for n, step in zip(self.shape, self.strides, strict=True))
            < self.storage.size
        )


@dataclass
class Module:
    """A module of the file: its class name, and its attributes (tensors, modules, numbers)."""

    class_name: str
    state: dict[str, Any] = field(default_factory=dict)


MARK = object()


def read_pickle(data: bytes) -> Any:
    """The value that the pickle describes: `Module`, `StoredTensor`, dict, tuple, list, str, int, float, bool or None.

    Raises:
        NotPlainDataError: anything else is in it, or it is damaged.
    """
    reader = _Reader(memo_limit=len(data))
    position: int | None = 0
    try:
        for opcode, argument, start in pickletools.genops(data):
            position = start
            action = ACTIONS.get(opcode.name)
            if action is None:
                raise NotPlainDataError(f"opcode {opcode.name}, which has no place among modules and tensors")
            action(reader, argument)
        (value,) = reader.stack
    except (ValueError, IndexError, KeyError, TypeError, RecursionError, OverflowError) as error:
        what = str(error) if isinstance(error, NotPlainDataError) else "damaged or cut off"
        raise NotPlainDataError(f"byte {position}: {what}") from None
    return value


class _Reader:
    """The stack and the memo of a pickle."""

    def __init__(self, memo_limit: int) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.memo_limit = memo_limit

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        if not self.stack:
            raise NotPlainDataError("nothing on the stack")
        return self.stack.pop()

    def pop_to_mark(self) -> list[Any]:
        items: list[Any] = []
        while (item := self.pop()) is not MARK:
            items.append(item)
        return items[::-1]

    def pop_tuple(self, size: int) -> None:
        items = [self.pop() for _ in range(size)]
        self.push(tuple(items[::-1]))

    def remember(self, key: int | None) -> None:
        self.memo[len(self.memo) if key is None else key] = self.stack[-1]

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(items) % 2 or not all(isinstance(key, str) for key in items[::2]):
            raise NotPlainDataError("entries that are not those of a dictionary with text keys")
        target.update(zip(items[::2], items[1::2], strict=True))

    def append(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise NotPlainDataError("items without a list")
        target.extend(items)

    def new_module(self) -> None:
        arguments, name = self.pop(), self.pop()
        if arguments != () or not isinstance(name, Name) or not MODULE_NAME.fullmatch(name.text):
            raise NotPlainDataError(f"a new {_called(name)}; only modules are known")
        self.push(Module(name.text))

    def reduce(self) -> None:
        arguments, name = self.pop(), self.pop()
        if name == Name(REBUILD_TENSOR):
            self.push(_tensor(arguments))
        elif name == Name(ORDERED_DICT) and arguments == ():
            self.push({})
        else:
            raise NotPlainDataError(f"a call of {_called(name)}; only tensors are known")

    def build(self) -> None:
        state, target = self.pop(), self.stack[-1]
        if not isinstance(target, Module) or type(state) is not dict:
            raise NotPlainDataError("a state that belongs to no module")
        target.state.update(state)

    def storage(self) -> None:
        kind, name, key, _device, size = self.pop()
        if kind != "storage" or not isinstance(name, Name) or name.text not in STORAGE_TYPES:
            raise NotPlainDataError(f"a storage of {_called(name)}; known: {', '.join(STORAGE_TYPES)}")
        if not isinstance(key, str) or type(size) is not int:
            raise NotPlainDataError("a storage without key and size")
        self.push(Storage(STORAGE_TYPES[name.text], key, size))


def _tensor(arguments: Any) -> StoredTensor:
    storage, offset, shape, strides = arguments[:4]
    if not isinstance(storage, Storage) or type(shape) is not tuple or type(strides) is not tuple:
        raise NotPlainDataError("a tensor without storage, shape and strides")
    tensor = StoredTensor(storage, offset, shape, strides)
    if not tensor.fits:
        raise NotPlainDataError(f"a tensor that does not fit its storage of {storage.size} elements")
    return tensor


def _called(value: Any) -> str:
    """A short name for what may be hostile: nested tuples that share their items print without end."""
    return repr(value.text[:80]) if isinstance(value, Name) else type(value).__name__


Action = Callable[[_Reader, Any], None]

ACTIONS: Mapping[str, Action] = MappingProxyType(
    {
        "PROTO": lambda reader, version: None,
        "FRAME": lambda reader, size: None,
        "STOP": lambda reader, argument: None,
        "MARK": lambda reader, argument: reader.push(MARK),
        "NONE": lambda reader, argument: reader.push(None),
        "NEWTRUE": lambda reader, argument: reader.push(True),
        "NEWFALSE": lambda reader, argument: reader.push(False),
        "BININT": lambda reader, number: reader.push(number),
        "BININT1": lambda reader, number: reader.push(number),
        "BININT2": lambda reader, number: reader.push(number),
        "LONG1": lambda reader, number: reader.push(number),
        "BINFLOAT": lambda reader, number: reader.push(number),
        "BINUNICODE": lambda reader, text: reader.push(text),
        "SHORT_BINUNICODE": lambda reader, text: reader.push(text),
        "GLOBAL": lambda reader, name: reader.push(Name(name)),
        "EMPTY_DICT": lambda reader, argument: reader.push({}),
        "EMPTY_LIST": lambda reader, argument: reader.push([]),
        "EMPTY_TUPLE": lambda reader, argument: reader.push(()),
        "TUPLE": lambda reader, argument: reader.push(tuple(reader.pop_to_mark())),
        "TUPLE1": lambda reader, argument: reader.pop_tuple(1),
        "TUPLE2": lambda reader, argument: reader.pop_tuple(2),
        "TUPLE3": lambda reader, argument: reader.pop_tuple(3),
        "SETITEM": lambda reader, argument: reader.set_items([reader.pop(), reader.pop()][::-1]),
        "SETITEMS": lambda reader, argument: reader.set_items(reader.pop_to_mark()),
        "APPEND": lambda reader, argument: reader.append([reader.pop()]),
        "APPENDS": lambda reader, argument: reader.append(reader.pop_to_mark()),
        "BINPUT": lambda reader, key: reader.remember(key),
        "LONG_BINPUT": lambda reader, key: reader.remember(key),
        "MEMOIZE": lambda reader, argument: reader.remember(None),
        "BINGET": lambda reader, key: reader.push(reader.memo[key]),
        "LONG_BINGET": lambda reader, key: reader.push(reader.memo[key]),
        "NEWOBJ": lambda reader, argument: reader.new_module(),
        "REDUCE": lambda reader, argument: reader.reduce(),
        "BUILD": lambda reader, argument: reader.build(),
        "BINPERSID": lambda reader, argument: reader.storage(),
    }
)


def write_pickle(value: Any) -> bytes:
    """The pickle (protocol 2) from which `read_pickle`, and `torch.jit.load`, get the value back."""
    return pickle.PROTO + b"\x02" + _encoded(value) + pickle.STOP


def _encoded(value: Any) -> bytes:
    match value:
        case bool():
            return pickle.NEWTRUE if value else pickle.NEWFALSE
        case int():
            return pickle.BININT + struct.pack("<i", value)
        case str():
            text = value.encode()
            return pickle.BINUNICODE + struct.pack("<I", len(text)) + text
        case tuple():
            return pickle.MARK + b"".join(map(_encoded, value)) + pickle.TUPLE
        case Name():
            return pickle.GLOBAL + value.text.replace(" ", "\n").encode() + b"\n"
        case dict():
            entries = b"".join(_encoded(key) + _encoded(item) for key, item in value.items())
            return pickle.EMPTY_DICT + pickle.MARK + entries + pickle.SETITEMS
        case Module():
            new = _encoded(Name(value.class_name)) + pickle.EMPTY_TUPLE + pickle.NEWOBJ
            return new + _encoded(value.state) + pickle.BUILD
        case StoredTensor():
            return _encoded_tensor(value)
    raise TypeError(f"{type(value).__name__} has no place in a TorchScript pickle")


def _encoded_tensor(tensor: StoredTensor) -> bytes:
    storage = tensor.storage
    torch_type = next(name for name, dtype in STORAGE_TYPES.items() if dtype == storage.dtype)
    reference = _encoded(("storage", Name(torch_type), storage.key, "cpu", storage.size)) + pickle.BINPERSID
    view = _encoded(tensor.offset) + _encoded(tensor.shape) + _encoded(tensor.strides)
    hooks = _encoded(Name(ORDERED_DICT)) + pickle.EMPTY_TUPLE + pickle.REDUCE
    arguments = pickle.MARK + reference + view + pickle.NEWFALSE + hooks + pickle.TUPLE
    return _encoded(Name(REBUILD_TENSOR)) + arguments + pickle.REDUCE


def contiguous(storage: Storage, shape: tuple[int, ...]) -> StoredTensor:
    """The whole storage as a tensor of this shape, rows one after another."""
    strides = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    return StoredTensor(storage, 0, shape, strides)
