"""Reading PyTorch's state dicts without PyTorch: the zip archives of today and the files from before version 1.6."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from igan_zoo.serving.scorers.pickled_tensors import BFLOAT16, StorageKey, TensorView, read_pickle

Tensors = dict[str, NDArray[Any]]

# How the files from before version 1.6 begin: two pickled numbers.
_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001


class NotTensorsError(Exception):
    """A file that is damaged, or holds more than tensors."""


class NotAStateDictError(Exception):
    """A file of tensors that is no mapping from names to tensors."""


def read_state_dict(content: bytes) -> Tensors:
    """Returns the tensors of a file of ``torch.save`` by name, views of ``content`` where they can be.

    Nothing is unpickled, imported or called (:mod:`~igan_zoo.serving.scorers.pickled_tensors`). bfloat16 becomes
    float32.

    Raises:
        NotTensorsError: the file is damaged, or holds anything but tensors and plain containers.
        NotAStateDictError: it holds those in another way.
    """
    try:
        return _read_archive(content) if content.startswith(b"PK") else _read_old_file(content)
    except (NotTensorsError, NotAStateDictError):
        raise
    except Exception as error:
        # zipfile alone raises eight kinds of them at damaged archives.
        raise NotTensorsError from error


def _read_archive(content: bytes) -> Tensors:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.namelist()
        (name,) = (name for name in members if name.rpartition("/")[2] == "data.pkl")
        folder = name.removesuffix("data.pkl")
        if f"{folder}byteorder" in members and _stored(archive, f"{folder}byteorder") != b"little":
            raise NotTensorsError
        described = _checked(read_pickle(io.BytesIO(_stored(archive, name))))
        return _tensors(described, lambda storage: _stored(archive, f"{folder}data/{storage.key}"))


def _stored(archive: zipfile.ZipFile, name: str) -> bytes:
    """Returns a member, which PyTorch never compresses: so none is larger than the file."""
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise NotTensorsError
    return archive.read(name)


def _read_old_file(content: bytes) -> Tensors:
    file = io.BytesIO(content)
    if read_pickle(file) != _MAGIC or read_pickle(file) != _PROTOCOL:
        raise NotTensorsError
    machine = read_pickle(file)
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise NotTensorsError
    described = _checked(read_pickle(file))
    keys = read_pickle(file)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise NotTensorsError
    # The storages follow in the order of their keys: how many numbers, and the numbers.
    storages = {view.storage.key: view.storage for view in described.values()}
    found: dict[str, memoryview] = {}
    position = file.tell()
    for key in keys:
        count = int.from_bytes(content[position : position + 8], "little")
        position += 8
        # Of a storage without numbers nothing else says that the file was cut.
        if key not in storages or storages[key].count != count or position > len(content):
            raise NotTensorsError
        size = count * _item_size(storages[key])
        found[key] = memoryview(content)[position : position + size]
        position += size
    return _tensors(described, lambda storage: found[storage.key])


def _checked(described: Any) -> Mapping[str, TensorView]:
    if not isinstance(described, dict):
        raise NotAStateDictError
    if not all(isinstance(key, str) and isinstance(value, TensorView) for key, value in described.items()):
        raise NotAStateDictError
    return described


def _tensors(described: Mapping[str, TensorView], numbers: Callable[[StorageKey], bytes | memoryview]) -> Tensors:
    storages: dict[StorageKey, NDArray[Any]] = {}
    tensors = {}
    for name, view in described.items():
        if view.storage not in storages:
            storages[view.storage] = _storage(view.storage, numbers(view.storage))
        tensors[name] = _viewed(storages[view.storage], view)
    return tensors


def _storage(storage: StorageKey, content: bytes | memoryview) -> NDArray[Any]:
    if len(content) != storage.count * _item_size(storage):
        raise NotTensorsError
    if isinstance(storage.dtype, np.dtype):
        return np.frombuffer(content, storage.dtype.newbyteorder("<"))
    return (np.frombuffer(content, "<u2").astype(np.uint32) << 16).view(np.float32)


def _item_size(storage: StorageKey) -> int:
    return 2 if storage.dtype == BFLOAT16 else np.dtype(storage.dtype).itemsize


def _viewed(storage: NDArray[Any], view: TensorView) -> NDArray[Any]:
    """Returns the part of a storage that a tensor is, which cannot be larger than the storage."""
    if len(view.shape) != len(view.strides) or len(view.shape) > 8:
        raise NotTensorsError
    count = int(np.prod([1, *view.shape], dtype=object))
    last = view.offset + sum((size - 1) * stride for size, stride in zip(view.shape, view.strides, strict=True))
    if count > len(storage) or (count and last >= len(storage)):
        raise NotTensorsError
    if not count:
        return np.empty(view.shape, storage.dtype)
    steps = [stride * storage.itemsize for stride in view.strides]
    return np.lib.stride_tricks.as_strided(storage[view.offset :], view.shape, steps, writeable=False)
