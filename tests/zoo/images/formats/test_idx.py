"""MNIST's own files, and arrays of grey images without an axis for channels."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from igan_zoo.errors import DataError
from igan_zoo.images.formats.idx import is_idx_images
from igan_zoo.images.sources import open_source
from igan_zoo.images.stored import read

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 5, 4), np.uint8)
DIGITS = np.array([7, 2, 1, 0, 4, 1], np.uint8)


def idx(values: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.tobytes()


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    for split, count in (("train", 6), ("t10k", 3)):
        (tmp_path / f"{split}-images-idx3-ubyte").write_bytes(idx(IMAGES[:count]))
        (tmp_path / f"{split}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(DIGITS[:count])))
    for path in tmp_path.glob("*-images-*"):
        (tmp_path / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    return tmp_path


def test_mnists_own_files_are_read(mnist: Path) -> None:
    for split, count in (("train", 6), ("test", 3)):
        source = open_source(str(mnist), split=split, labeled=True)
        np.testing.assert_array_equal(np.stack(read(source, range(count))), IMAGES[:count, ..., None].repeat(3, 3))
        assert [source.classes[label] for label in source.labels(range(count))] == [str(d) for d in DIGITS[:count]]
    with pytest.raises(DataError, match="has no split 'extra'; it has test, train"):
        open_source(str(mnist), split="extra")
    plain = mnist / "plain"
    plain.write_bytes(idx(IMAGES))
    assert (len(open_source(str(plain), labeled=True)), open_source(str(plain), labeled=True).classes) == (6, ())


def test_damaged_files_of_mnist_are_refused(tmp_path: Path) -> None:
    whole = idx(IMAGES)
    huge, flat = whole[:4] + b"\x7f" + whole[5:], whole[:8] + bytes(4) + whole[12:]
    endless = whole[:4] + b"\xfe" * 8 + bytes(4)
    for content in (whole[:-1], whole + b"x", whole[:10], huge, flat, endless):
        for damaged in (content, gzip.compress(content), gzip.compress(content)[:-20]):
            (tmp_path / "train-images-idx3-ubyte").write_bytes(damaged)
            with pytest.raises(DataError, match="train-images-idx3-ubyte"):
                open_source(str(tmp_path))


def test_a_compressed_file_that_is_damaged_at_its_start_is_none_of_mnist(tmp_path: Path) -> None:
    damaged = bytearray(gzip.compress(idx(IMAGES)))
    damaged[10:15] = b"\1\xff\xff\xff\xff"
    (tmp_path / "it").write_bytes(damaged)
    assert not is_idx_images(tmp_path / "it")


def test_labels_must_be_as_many_as_the_images(mnist: Path) -> None:
    (mnist / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(DIGITS[:2])))
    with pytest.raises(DataError, match="has 2 labels, but train-images"):
        open_source(str(mnist), split="train", labeled=True)


def test_arrays_without_an_axis_for_channels_are_grey(tmp_path: Path) -> None:
    np.save(tmp_path / "it.npy", IMAGES)
    np.testing.assert_array_equal(
        read(open_source(str(tmp_path / "it.npy")), [4])[0], IMAGES[4][..., None].repeat(3, 2)
    )
    np.savez(tmp_path / "keras.npz", x_train=IMAGES, y_train=DIGITS, x_test=IMAGES[:2], y_test=DIGITS[:2, None])
    for split, count in (("train", 6), ("test", 2)):
        source = open_source(str(tmp_path / "keras.npz"), split=split, labeled=True)
        assert [source.classes[label] for label in source.labels(range(count))] == [str(d) for d in DIGITS[:count]]
    with pytest.raises(DataError, match="splits test, train; choose one"):
        open_source(str(tmp_path / "keras.npz"))
    # Those of ADM have images beside the statistics of more.
    np.savez(tmp_path / "both.npz", arr_0=IMAGES, mu=np.zeros(3), sigma=np.eye(3))
    assert len(open_source(str(tmp_path / "both.npz"))) == len(IMAGES)
    np.savez(tmp_path / "statistics.npz", mean=np.zeros(3), cov=np.eye(3))
    with pytest.raises(DataError, match=r"holds statistics \(mean, cov\) instead of images"):
        open_source(str(tmp_path / "statistics.npz"))
