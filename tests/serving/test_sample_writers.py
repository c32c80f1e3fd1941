"""What samples are written as: the same images and the same bytes in every format, whole or not at all."""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from igan_zoo.errors import MissingExtraError, OutputError
from igan_zoo.images.pixels import Shape
from igan_zoo.images.sources import open_source
from igan_zoo.images.stored import read
from igan_zoo.serving.sample_writers import write_samples
from tests.zoo.images.test_sources import highest_memory, refuse_import

FILES = [".npz", ".tar", ".parquet"]


def pictures(count: int, channels: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 256, (count, 6, 5, channels), np.uint8)


def write(out: Path, images: NDArray[np.uint8], *, start: int = 0, batch_size: int = 7) -> NDArray[np.uint8]:
    batches = (images[first : first + batch_size] for first in range(0, len(images), batch_size))
    shape = images.shape[1:]
    return write_samples(out, batches, image_shape=shape, seed=5, start=start, count=len(images), replace=False)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", [*FILES, ""])
def test_every_format_is_a_source_of_the_same_images(suffix: str, channels: int, tmp_path: Path) -> None:
    images = pictures(130, channels)
    first = write(tmp_path / f"it{suffix}", images, start=20)
    np.testing.assert_array_equal(first, images[:100])
    source = open_source(str(tmp_path / f"it{suffix}"))
    np.testing.assert_array_equal(read(source, range(len(source)), Shape(channels)), images)


@pytest.mark.parametrize("suffix", FILES)
def test_the_bytes_do_not_depend_on_the_batches(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("igan_zoo.serving.sample_writers._ROWS_PER_GROUP", 16)
    for name, batch_size in (("a", 1), ("b", 16), ("c", 1000)):
        write(tmp_path / f"{name}{suffix}", pictures(50), batch_size=batch_size)
    assert len({(tmp_path / f"{name}{suffix}").read_bytes() for name in "abc"}) == 1


def test_an_npz_does_not_hold_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "now.npz", pictures(3))
    monkeypatch.setattr(time, "time", lambda: 1e9)
    write(tmp_path / "then.npz", pictures(3))
    assert (tmp_path / "now.npz").read_bytes() == (tmp_path / "then.npz").read_bytes()


def test_a_tar_archive_is_the_one_that_tarfile_writes(tmp_path: Path) -> None:
    images = pictures(12)
    write(tmp_path / "it.tar", images, start=17)
    with tarfile.open(tmp_path / "theirs.tar", "w", format=tarfile.USTAR_FORMAT) as archive:
        for index, image in enumerate(images, start=17):
            content = io.BytesIO()
            Image.fromarray(image).save(content, format="PNG")
            member = tarfile.TarInfo(f"{index:08d}.png")
            member.size = content.tell()
            content.seek(0)
            archive.addfile(member, content)
    assert (tmp_path / "it.tar").read_bytes() == (tmp_path / "theirs.tar").read_bytes()


def test_the_parquet_file_has_a_column_of_the_hubs_type_image(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the data extra")
    write(tmp_path / "it.parquet", pictures(12), start=17)
    table = parquet.read_table(tmp_path / "it.parquet")
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert features == {"image": {"_type": "Image"}}
    assert table["image"][0].as_py()["path"] == "00000017.png"


def test_the_parquet_file_says_its_seed(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the data extra")
    write(tmp_path / "it.parquet", pictures(2))
    assert parquet.read_schema(tmp_path / "it.parquet").metadata[b"igan_zoo.seed"] == b"5"


@pytest.mark.parametrize("suffix", [".npz", ".tar"])
def test_a_long_stream_is_written_in_constant_memory(suffix: str, tmp_path: Path) -> None:
    batch = pictures(50)

    def write_many() -> None:
        write_samples(
            tmp_path / f"it{suffix}",
            iter([batch] * 60),
            image_shape=(6, 5, 3),
            seed=0,
            start=0,
            count=3000,
            replace=False,
        )

    # tarfile itself would keep a kilobyte for each image.
    assert highest_memory(write_many) < 500_000


@pytest.mark.parametrize("suffix", [*FILES, ""])
def test_a_stream_that_breaks_leaves_what_was_there(suffix: str, tmp_path: Path) -> None:
    def broken() -> Iterator[NDArray[np.uint8]]:
        yield pictures(5)
        raise KeyboardInterrupt

    def attempt() -> None:
        write_samples(tmp_path / f"it{suffix}", broken(), image_shape=(6, 5, 3), seed=0, start=0, count=9, replace=True)

    with pytest.raises(KeyboardInterrupt):
        attempt()
    assert list(tmp_path.iterdir()) == []
    if suffix:
        (tmp_path / f"it{suffix}").write_text("before")
        with pytest.raises(KeyboardInterrupt):
            attempt()
        assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]


def test_another_format_is_refused_with_all_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(
        OutputError, match=r"as \.gif: end --out in one of \.npz, \.tar, \.parquet, \.png, or name a folder"
    ):
        write(tmp_path / "a.gif", pictures(1))


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_import(monkeypatch, "pyarrow")
    with pytest.raises(MissingExtraError, match=r"Writing parquet files needs the data extra"):
        write(tmp_path / "a.parquet", pictures(1))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [*FILES, ""])
def test_what_is_there_is_replaced_only_when_told(suffix: str, tmp_path: Path) -> None:
    write(tmp_path / f"it{suffix}", pictures(2))
    with pytest.raises(OutputError, match="already exists; choose another --out, or add --force"):
        write(tmp_path / f"it{suffix}", pictures(3))


@pytest.mark.parametrize("suffix", [".tar", ".parquet"])
def test_the_command_writes_the_format_that_the_suffix_says(
    suffix: str, igan_zoo: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    for out in (tmp_path / "a.npz", tmp_path / f"b{suffix}"):
        code, said, _ = igan_zoo("sample", "mnist-ssl", "--n", 30, "--start", 5, "--out", out)
        assert code == 0
        assert f"{out}: 30 images 28x28x1, seed 0, from index 5" in said
    both = [open_source(str(tmp_path / name)) for name in ("a.npz", f"b{suffix}")]
    np.testing.assert_array_equal(*(read(source, range(30), Shape(1)) for source in both))
