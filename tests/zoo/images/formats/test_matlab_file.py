"""MATLAB 5 files: the same arrays as SciPy reads, and one error for whatever is not as the format says."""

from __future__ import annotations

import contextlib
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import loadmat, savemat

from igan_zoo.errors import DataError
from igan_zoo.images.formats.matlab_file import MatlabFormatError, list_variables, read_variable
from igan_zoo.images.formats.svhn import open_svhn

TYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"]


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("kind", TYPES)
def test_arrays_are_those_that_scipy_reads(kind: str, compressed: bool, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    arrays = {name: generator.integers(0, 100, shape).astype(kind) for name, shape in SHAPES.items()}
    path = tmp_path / "it.mat"
    savemat(path, {**arrays, "text": "abc", "cell": np.array(["a", 1], object)}, do_compression=compressed)
    variables = list_variables(path)
    assert variables["text"].kind == "char"
    assert variables["cell"].kind == "cell"
    expected = loadmat(path)
    for name in SHAPES:
        found = read_variable(path, variables[name])
        assert (found.dtype, found.shape) == (expected[name].dtype, expected[name].shape)
        np.testing.assert_array_equal(found, expected[name])


SHAPES = {"X": (3, 4, 2, 5), "y": (5, 1), "one": (1, 1), "a_name_that_is_longer": (7, 3)}


def element(kind: int, content: bytes, order: str = "<") -> bytes:
    return struct.pack(f"{order}II", kind, len(content)) + content + bytes(-len(content) % 8)


def file_of(content: bytes, *, order: str = "<") -> bytes:
    mark = b"IM" if order == "<" else b"MI"
    return b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack(f"{order}H", 0x0100) + mark + content


def array(name: bytes, kind: int, shape: tuple[int, ...], stored: int, content: bytes, order: str = "<") -> bytes:
    parts = element(6, struct.pack(f"{order}II", kind, 0), order) + element(
        5, struct.pack(f"{order}{len(shape)}i", *shape), order
    )
    return element(14, parts + element(1, name, order) + element(stored, content, order), order)


@pytest.mark.parametrize("order", ["<", ">"])
def test_either_order_of_bytes_and_numbers_stored_smaller_than_their_class(order: str, tmp_path: Path) -> None:
    """MATLAB stores doubles that are whole as bytes."""
    (tmp_path / "it.mat").write_bytes(file_of(array(b"y", 6, (3, 1), 2, b"\1\2\12", order), order=order))
    values = read_variable(tmp_path / "it.mat", list_variables(tmp_path / "it.mat")["y"])
    assert values.dtype == np.float64
    assert values.tolist() == [[1], [2], [10]]


def compressed(content: bytes) -> bytes:
    packed = zlib.compress(content)
    return struct.pack("<II", 15, len(packed)) + packed


X = array(b"X", 9, (32, 32, 3, 2), 2, bytes(6144))
HUGE = array(b"X", 9, (32, 32, 3, 2**31 - 1), 2, bytes(6144))


@pytest.mark.parametrize(
    "content",
    [
        HUGE,
        compressed(HUGE),
        array(b"X", 9, (32, 32, 3, -2), 2, bytes(6144)),
        array(b"X", 9, (1,) * 40, 2, bytes(6144)),
        array(b"X", 9, (32, 32, 3, 2), 99, bytes(6144)),
        array(b"X", 9, (32, 32, 3, 2), 2, bytes(6143)),
        array(b"X" * 1000, 9, (32, 32, 3, 2), 2, bytes(6144)),
        X[:-100],
        compressed(X)[:-6],
        compressed(X)[:-1] + b"\0",
        compressed(b""),
        compressed(compressed(X)),
        struct.pack("<II", 15, 0),
        struct.pack("<II", 14, 0xFFFFFFFF),
        struct.pack("<II", 14, 3),
        b"\0",
    ],
)
def test_what_is_not_as_promised_is_refused_before_room_is_made_for_it(content: bytes, tmp_path: Path) -> None:
    y = array(b"y", 6, (2, 1), 2, b"\1\2")
    (tmp_path / "test_32x32.mat").write_bytes(file_of(y + content))
    tracemalloc.start()
    with pytest.raises(DataError, match=r"test_32x32\.mat (is not a MATLAB file, or is damaged|must have)"):
        open_svhn(tmp_path, "test")
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[bytes]]:
    """A place for a file, and whole files."""
    folder = tmp_path_factory.mktemp("matlab")
    contents: dict[str, Any] = {"X": np.zeros((32, 32, 3, 4), np.uint8), "y": np.ones((4, 1))}
    files = []
    for packed in (True, False):
        savemat(folder / "it.mat", contents, do_compression=packed)
        files.append((folder / "it.mat").read_bytes())
    return folder, files


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_no_change_of_bytes_gives_another_error(data: st.DataObject, corpus: tuple[Path, list[bytes]]) -> None:
    folder, files = corpus
    content = bytearray(data.draw(st.sampled_from(files)))
    values = st.one_of(st.sampled_from([0, 1, 127, 128, 255]), st.integers(0, 255))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.one_of(st.integers(0, 300), st.integers(0, len(content) - 1)))
        content[min(place, len(content) - 1)] = data.draw(values)
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    (folder / "test_32x32.mat").write_bytes(content)
    with contextlib.suppress(DataError):
        open_svhn(folder, "test")


def test_an_error_of_the_reader_is_its_own(tmp_path: Path) -> None:
    (tmp_path / "it.mat").write_bytes(b"x" * 200)
    with pytest.raises(MatlabFormatError):
        list_variables(tmp_path / "it.mat")
