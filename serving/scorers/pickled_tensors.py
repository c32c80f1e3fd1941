"""A pickle of tensors as data: its opcodes are read one by one, and nothing that it names is imported or called.

Of the classes and functions that a pickle can name, the reader knows those of PyTorch's state dicts and what they mean:
an ordered dictionary, a storage's type, and a tensor as a view of a storage. Anything else is an error.
Source: ``pickletools`` and ``torch/serialization.py``.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

# The dtypes of storages by their class. NumPy has no bfloat16: its bits are the upper half of float32's.
BFLOAT16 = "bfloat16"
STORAGES: dict[str, np.dtype[Any] | str] = {
    "DoubleStorage": np.dtype(np.float64),
    "FloatStorage": np.dtype(np.float32),
    "HalfStorage": np.dtype(np.float16),
    "BFloat16Storage": BFLOAT16,
    "LongStorage": np.dtype(np.int64),
    "IntStorage": np.dtype(np.int32),
    "ShortStorage": np.dtype(np.int16),
    "CharStorage": np.dtype(np.int8),
    "ByteStorage": np.dtype(np.uint8),
    "BoolStorage": np.dtype(np.bool_),
}


class UnknownPickleError(Exception):
    """A pickle that is damaged, or holds what is no tensor and no plain container of them."""


@dataclass(frozen=True)
class StorageKey:
    """A storage as a pickle names it: its key in the file, its dtype, and how many numbers it has."""

    key: str
    dtype: np.dtype[Any] | str
    count: int


@dataclass(frozen=True)
class TensorView:
    """A tensor as a pickle describes it: a view of a storage. Offset and strides count numbers, not bytes."""

    storage: StorageKey
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True)
class _Name:
    """A class or function that the pickle names."""

    module: str
    name: str


_MARK = object()


def read_pickle(file: BinaryIO) -> Any:
    """Returns what the next pickle of a file describes: numbers, text, lists, dictionaries, tuples and `TensorView`s.

    Raises:
        UnknownPickleError: it is damaged, or holds anything else.
    """
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(file):
            if opcode.name == "STOP":
                (value,) = machine.stack
                return value
            _OPCODES[opcode.name](machine, argument)
    except UnknownPickleError:
        raise
    except Exception as error:
        # Whatever fails on the way, an empty stack, a key that is no key, an opcode that is not in the table: the
        # file is none of ours.
        raise UnknownPickleError from error
    raise UnknownPickleError


class _Machine:
    """The stack and the memory of a pickle that is being read."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memory: dict[int, Any] = {}

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop_mark(self) -> list[Any]:
        """Takes everything above the last mark off the stack, and the mark."""
        position = len(self.stack) - 1
        while self.stack[position] is not _MARK:
            if position == 0:
                raise UnknownPickleError
            position -= 1
        values = self.stack[position + 1 :]
        del self.stack[position:]
        return values

    def pop(self, count: int) -> list[Any]:
        if count > len(self.stack):
            raise UnknownPickleError
        values = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return values


def _put(machine: _Machine, index: int) -> None:
    machine.memory[index] = machine.stack[-1]


def _global(machine: _Machine, argument: str) -> None:
    module, _, name = argument.partition(" ")
    machine.push(_Name(module, name))


def _stack_global(machine: _Machine, _: None) -> None:
    module, name = machine.pop(2)
    if not isinstance(module, str) or not isinstance(name, str):
        raise UnknownPickleError
    machine.push(_Name(module, name))


def _persistent(machine: _Machine, _: None) -> None:
    """A storage: its type, key, device, and count; a file of old also says whether it is a view of another one."""
    (identity,) = machine.pop(1)
    kind, storage, key, _, count, *view = identity
    if kind != "storage" or not isinstance(storage, _Name) or storage.module != "torch" or any(view):
        raise UnknownPickleError
    if not isinstance(key, str) or not _is_count(count):
        raise UnknownPickleError
    machine.push(StorageKey(key, STORAGES[storage.name], count))


def _reduce(machine: _Machine, _: None) -> None:
    """What would call a function: the functions are these, and none is called."""
    function, arguments = machine.pop(2)
    if function == _Name("collections", "OrderedDict") and arguments == ():
        machine.push({})
    elif function in (_Name("torch._utils", "_rebuild_tensor"), _Name("torch._utils", "_rebuild_tensor_v2")):
        machine.push(_tensor(*arguments[:4]))
    elif function == _Name("torch._utils", "_rebuild_parameter") and isinstance(arguments[0], TensorView):
        machine.push(arguments[0])
    else:
        raise UnknownPickleError


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any) -> TensorView:
    if not isinstance(storage, StorageKey) or not _is_count(offset):
        raise UnknownPickleError
    if not all(isinstance(sizes, tuple) and all(map(_is_count, sizes)) for sizes in (shape, strides)):
        raise UnknownPickleError
    return TensorView(storage, offset, shape, strides)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**40


def _build(machine: _Machine, _: None) -> None:
    """The attributes of an ordered dictionary: PyTorch keeps versions of modules there."""
    (state,) = machine.pop(1)
    if not isinstance(state, dict) or not isinstance(machine.stack[-1], dict):
        raise UnknownPickleError


def _set_items(machine: _Machine, items: list[Any]) -> None:
    target = machine.stack[-1]
    if not isinstance(target, dict):
        raise UnknownPickleError
    target.update(_pairs(items))


def _pairs(items: list[Any]) -> dict[Any, Any]:
    # Python hashes tuples of tuples without a limit of depth, and would crash at a hundred thousand of them.
    if not all(isinstance(key, (str, int)) for key in items[::2]):
        raise UnknownPickleError
    return dict(zip(items[::2], items[1::2], strict=True))


def _extend(machine: _Machine, items: list[Any]) -> None:
    target = machine.stack[-1]
    if not isinstance(target, list):
        raise UnknownPickleError
    target.extend(items)


def _push(machine: _Machine, value: Any) -> None:
    machine.push(value)


_Step = Callable[[_Machine, Any], None]


def _constant(value: Any) -> _Step:
    return lambda machine, _: machine.push(value)


_OPCODES: dict[str, _Step] = {
    "PROTO": lambda *_: None,
    "FRAME": lambda *_: None,
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), _put),
    "MEMOIZE": lambda machine, _: _put(machine, len(machine.memory)),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), lambda machine, index: machine.push(machine.memory[index])),
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"), _push),
    **dict.fromkeys(("BINUNICODE", "SHORT_BINUNICODE", "BINSTRING", "SHORT_BINSTRING"), _push),
    "NONE": _constant(None),
    "NEWTRUE": _constant(True),
    "NEWFALSE": _constant(False),
    "MARK": _constant(_MARK),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_TUPLE": _constant(()),
    "DICT": lambda machine, _: machine.push(_pairs(machine.pop_mark())),
    "LIST": lambda machine, _: machine.push(machine.pop_mark()),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.pop_mark())),
    "TUPLE1": lambda machine, _: machine.push(tuple(machine.pop(1))),
    "TUPLE2": lambda machine, _: machine.push(tuple(machine.pop(2))),
    "TUPLE3": lambda machine, _: machine.push(tuple(machine.pop(3))),
    "SETITEM": lambda machine, _: _set_items(machine, machine.pop(2)),
    "SETITEMS": lambda machine, _: _set_items(machine, machine.pop_mark()),
    "APPEND": lambda machine, _: _extend(machine, machine.pop(1)),
    "APPENDS": lambda machine, _: _extend(machine, machine.pop_mark()),
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "BINPERSID": _persistent,
    "REDUCE": _reduce,
    "BUILD": _build,
}
