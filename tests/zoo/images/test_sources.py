"""Images to score from every kind of source: the same pixels by index, and one sentence for each bad source."""

from __future__ import annotations

import builtins
import gzip
import io
import shutil
import struct
import tarfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from igan_zoo.errors import DataError, IganZooError, ImageError, MissingExtraError, OutputError, UnknownNameError
from igan_zoo.images.batches import ImageBatches, decode_ahead
from igan_zoo.images.pixels import Shape, write_image
from igan_zoo.images.sources import open_source
from igan_zoo.images.stored import ImageSource, consecutive_runs, read
from igan_zoo.serving.model_source import is_model, open_images
from tests.hub_standin.server import StandIn
from tests.parquet import write_images

COUNT = 150


def pictures(count: int = COUNT, channels: int = 3, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, 6, 5, channels), np.uint8)


def png(image: NDArray[np.uint8]) -> bytes:
    content = io.BytesIO()
    Image.fromarray(image.squeeze(axis=2) if image.shape[2] == 1 else image).save(content, format="PNG")
    return content.getvalue()


def add_to_tar(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def write_parquet(path: Path, rows: list[dict[str, Any] | None], column: str = "image", **options: Any) -> Path:
    pyarrow = pytest.importorskip("pyarrow", reason="parquet files need the data extra")
    import pyarrow.parquet as parquet

    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    table = pyarrow.table({"label": list(range(len(rows))), column: pyarrow.array(rows, kind)})
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, path, **options)
    return path


def as_folder(root: Path, images: NDArray[np.uint8]) -> Path:
    for index, image in enumerate(images):
        (root / f"part{index // 100}").mkdir(parents=True, exist_ok=True)
        write_image(root / f"part{index // 100}" / f"{index:03d}.png", image)
    return root


def as_npy(root: Path, images: NDArray[np.uint8]) -> Path:
    np.save(root.with_suffix(".npy"), images)
    return root.with_suffix(".npy")


def as_npz(root: Path, images: NDArray[np.uint8]) -> Path:
    np.savez(root.with_suffix(".npz"), images=images, labels=np.arange(len(images)))
    return root.with_suffix(".npz")


def as_packed_npz(root: Path, images: NDArray[np.uint8]) -> Path:
    np.savez_compressed(root.with_suffix(".npz"), arr_0=images, arr_1=np.arange(len(images)))
    return root.with_suffix(".npz")


def as_tar(root: Path, images: NDArray[np.uint8]) -> Path:
    files = {f"{index:03d}.png": png(image) for index, image in enumerate(images)}
    return add_to_tar(root.with_suffix(".tar"), {"readme.txt": b"none", "._000.png": b"none", **files})


def as_parquet(root: Path, images: NDArray[np.uint8]) -> Path:
    rows: list[dict[str, Any] | None] = [{"bytes": png(image), "path": None} for image in images]
    return write_parquet(root.with_suffix(".parquet"), rows, row_group_size=70)


def as_hub_layout(root: Path, images: NDArray[np.uint8]) -> Path:
    rows: list[dict[str, Any] | None] = [{"bytes": png(image), "path": None} for image in images]
    write_parquet(root / "data" / "train-00000-of-00002.parquet", rows[:97])
    write_parquet(root / "data" / "train-00001-of-00002.parquet", rows[97:])
    return root


KINDS: list[Callable[[Path, NDArray[np.uint8]], Path]] = [
    as_folder,
    as_npy,
    as_npz,
    as_packed_npz,
    as_tar,
    as_parquet,
    as_hub_layout,
]
kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


@kinds
@pytest.mark.parametrize("channels", [1, 3])
def test_every_kind_of_source_gives_the_same_images_by_index(kind: Any, channels: int, tmp_path: Path) -> None:
    images = pictures(channels=channels)
    source = open_source(str(kind(tmp_path / "it", images)))
    assert len(source) == COUNT
    for indices in (list(range(COUNT)), [149, 0, 96, 97, 70, 69, 3, 3, 4, 5], [], [12]):
        for image, index in zip(read(source, indices, Shape(channels)), indices, strict=True):
            np.testing.assert_array_equal(image, images[index])
    with pytest.raises(IndexError):
        source.fetch([COUNT])
    with pytest.raises(IndexError):
        source.fetch([-1])
    assert len({source.name(index) for index in range(COUNT)}) == COUNT


@kinds
def test_grey_becomes_colour_and_colour_grey_alike_in_every_kind(kind: Any, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    grey, colour = pictures(3, 1), pictures(3, 3)
    (repeated,) = {image.tobytes() for image in read(open_source(str(kind(tmp_path / "a" / "grey", grey))), [1])}
    assert repeated == np.repeat(grey[1], 3, axis=2).tobytes()
    (mixed,) = read(open_source(str(kind(tmp_path / "a" / "colour", colour))), [2], Shape(1))
    np.testing.assert_array_equal(mixed[..., 0], np.asarray(Image.fromarray(colour[2]).convert("L")))


@kinds
def test_a_fingerprint_is_that_of_the_contents(kind: Any, tmp_path: Path) -> None:
    images, other = pictures(5), pictures(5)
    other[3, 0, 0, 0] ^= 1
    sums = []
    for name, content in (("a", images), ("b", images), ("c", other)):
        (tmp_path / name).mkdir()
        sums.append(open_source(str(kind(tmp_path / name / "it", content))).fingerprint())
    assert sums[0] == sums[1] != sums[2]
    assert len(sums[0]) == 64


def test_a_folder_whose_files_change_places_has_another_fingerprint(tmp_path: Path) -> None:
    images = pictures(2)
    for name, order in (("a", (0, 1)), ("b", (1, 0))):
        for index, place in enumerate(order):
            (tmp_path / name).mkdir(exist_ok=True)
            write_image(tmp_path / name / f"{place}.png", images[index])
    assert open_source(str(tmp_path / "a")).fingerprint() != open_source(str(tmp_path / "b")).fingerprint()


def test_files_of_any_mode_become_eight_bit_colour_at_their_own_size(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright
    Image.new("P", (4, 3)).save(tmp_path / "palette.png")
    Image.new("I;16", (9, 2), 65535).save(tmp_path / "deep.png")
    Image.new("CMYK", (8, 8), (0, 0, 0, 0)).save(tmp_path / "print.jpg")
    Image.new("RGBA", (5, 5), (255, 255, 255, 0)).save(tmp_path / "transparent.png")
    Image.new("L", (20, 40), 200).save(tmp_path / "sideways.jpg", exif=exif)
    source = open_source(str(tmp_path))
    images = dict(zip(sorted(path.name for path in tmp_path.iterdir()), read(source, range(5)), strict=True))
    shapes = {name: image.shape for name, image in images.items()}
    assert shapes == {
        "palette.png": (3, 4, 3),
        "deep.png": (2, 9, 3),
        "print.jpg": (8, 8, 3),
        "transparent.png": (5, 5, 3),
        "sideways.jpg": (20, 40, 3),
    }
    assert images["deep.png"].min() == 255
    assert images["print.jpg"].min() >= 254
    assert images["transparent.png"].max() == 0


@given(st.lists(st.integers(0, 12)))
def test_runs_of_indices_are_the_indices_again(indices: list[int]) -> None:
    runs = list(consecutive_runs(indices))
    assert [first + step for first, count in runs for step in range(count)] == indices
    assert all(first + count != following for (first, count), (following, _) in pairwise(runs))


# Labels, and images in memory.


def test_an_array_of_labels_in_an_npz_file_is_read(tmp_path: Path) -> None:
    path = saved(tmp_path / "it.npz", images=pictures(4), labels=np.array([7, -1, 3, 7], np.int16))
    source = open_source(str(path), labeled=True)
    assert source.classes == ("3", "7")
    assert source.labels(range(4)).tolist() == [1, -1, 0, 1]
    assert open_source(str(path)).classes == ()
    for wrong in (np.zeros(3, int), np.zeros(4), np.array([None] * 4)):
        with pytest.raises(DataError, match=r"it\.npz\[labels\] is .*, not integers \[4\]"):
            open_source(str(saved(tmp_path / "it.npz", images=pictures(4), labels=wrong)), labeled=True)


def test_a_csv_file_labels_the_members_of_a_tar_archive(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("file,label\n002.png,dog\n000.png,cat\n")
    source = open_source(str(as_tar(tmp_path / "it", pictures(3))), labels_file=tmp_path / "labels.csv")
    assert (source.classes, source.labels([0, 1, 2]).tolist()) == (("cat", "dog"), [0, -1, 1])
    with pytest.raises(DataError, match="have no names, or already have labels"):
        open_source(str(as_npy(tmp_path / "it", pictures(3))), labels_file=tmp_path / "labels.csv")


def test_arrays_in_memory_are_sources(tmp_path: Path) -> None:
    images = pictures(5)
    source = open_source(images)
    np.testing.assert_array_equal(read(source, [4, 0, 0]), images[[4, 0, 0]])
    (batch,) = ImageBatches(source, range(5), 10)
    np.testing.assert_array_equal(batch.images, images)
    assert source.fingerprint() != open_source(pictures(5, seed=1)).fingerprint()
    assert read(open_source(images[..., 0]), [1], Shape(1))[0].shape == (6, 5, 1)
    for wrong in (images / 255, images[0, 0], images[..., :2], images[:0]):
        with pytest.raises(DataError, match=r"give uint8 \[N, H, W, C\]"):
            open_source(wrong)


def test_iterables_of_images_are_sources(tmp_path: Path) -> None:
    (image,) = pictures(1)
    write_image(tmp_path / "a.png", image)
    given = [image, Image.fromarray(image), png(image), tmp_path / "a.png", str(tmp_path / "a.png")]
    source = open_source(iter(given))
    assert all((found == image).all() for found in read(source, range(5)))
    assert source.name(3) == str(tmp_path / "a.png")
    assert len(source.fingerprint()) == 64
    with pytest.raises(ImageError, match=r"this one is float64 \[6, 5, 3\]"):
        open_source([image, image / 2])
    with pytest.raises(DataError, match="no images"):
        open_source([])


def test_shards_and_svhns_files_are_sources(tmp_path: Path, sources: dict[str, Path]) -> None:
    from igan_zoo.images.formats.preparing import prepare_shards

    svhn = open_source(str(sources["ufldl-stanford/svhn"]), split="test", labeled=True)
    for split in ("train", "test"):
        prepare_shards(str(sources["ufldl-stanford/svhn"]), split, tmp_path / split, size=32, shard_images=25)
    shards = open_source(str(tmp_path), split="test", labeled=True)
    assert len(svhn) == len(shards) == 60
    indices = [59, 0, 24, 25]
    np.testing.assert_array_equal(read(shards, indices), read(svhn, indices))
    assert shards.labels(indices).tolist() == svhn.labels(indices).tolist()
    assert shards.classes == svhn.classes == tuple("0123456789")
    assert len(shards.fingerprint()) == 64
    with pytest.raises(DataError, match="has the splits test, train"):
        open_source(str(tmp_path))


# Models.


def test_a_model_draws_the_same_bits_whatever_is_asked_for_and_how_many(exported_model: Path) -> None:
    whole = open_images(str(exported_model), count=250, seed=3)
    images = read(whole, range(250), Shape(1))
    assert images[0].shape == (28, 28, 1)
    assert len({image.tobytes() for image in images}) == 250
    for count, indices in ((250, [249, 0, 101, 7]), (8, [7, 0]), (1000, range(95, 205))):
        for image, index in zip(
            read(open_images(str(exported_model), count=count, seed=3), indices, Shape(1)), indices, strict=True
        ):
            np.testing.assert_array_equal(image, images[index])


def test_a_model_draws_what_sample_draws(exported_model: Path) -> None:
    from igan_zoo.models import store
    from igan_zoo.serving.engine import load_engine
    from igan_zoo.serving.sampling import sample

    engine = load_engine(store.resolve(str(exported_model)), ["generator"])
    drawn = np.concatenate(list(sample(engine, "uniform", seed=3, start=0, count=150, batch_size=250)))
    streamed = np.stack(read(open_images(str(exported_model), count=150, seed=3), range(150), Shape(1)))
    # Matrix products of other sizes round differently.
    assert np.abs(drawn.astype(int) - streamed).max() <= 1


def test_fingerprints_of_models_tell_seeds_and_counts_apart(exported_model: Path) -> None:
    asked = [(10, 0), (10, 1), (11, 0), (10, 0)]
    sums = [open_images(str(exported_model), count=count, seed=seed).fingerprint() for count, seed in asked]
    assert len(set(sums)) == 3
    assert sums[0] == sums[3]


def test_what_exists_under_a_path_goes_before_a_model(
    exported_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_model("mnist-ssl")
    assert is_model(str(exported_model))
    assert is_model(str(exported_model / "onnx" / "generator.onnx"))
    as_folder(tmp_path / "mnist-ssl", pictures(2))
    assert not is_model("mnist-ssl")
    assert len(open_images("mnist-ssl")) == 2
    assert not is_model("uoft-cs/cifar10")
    with pytest.raises(DataError, match="is a model; set the number"):
        open_images(str(exported_model))
    with pytest.raises(UnknownNameError, match="There is no file or folder mnist-sl, and there is no model 'mnist-sl'"):
        open_images("mnist-sl")


# Splits.


def test_a_split_is_a_folder_or_the_first_word_of_parquet_files(tmp_path: Path) -> None:
    as_folder(tmp_path / "photos" / "train" / "cat", pictures(3))
    as_folder(tmp_path / "photos" / "val" / "cat", pictures(2))
    as_folder(tmp_path / "photos" / "holdout" / "cat", pictures(1))
    for split, count in (("val", 2), ("test", 2), ("train", 3), ("holdout", 1), (None, 6)):
        assert len(open_source(str(tmp_path / "photos"), split=split)) == count
    whole, part = open_source(str(tmp_path / "photos"), split="val"), open_source(str(tmp_path / "photos" / "val"))
    assert whole.fingerprint() == part.fingerprint()
    with pytest.raises(DataError, match=r"photos has no split 'extra'; it has train, val"):
        open_source(str(tmp_path / "photos"), split="extra")
    as_folder(tmp_path / "plain", pictures(3))
    with pytest.raises(DataError, match="plain has no split 'test': without the folders train and test"):
        open_source(str(tmp_path / "plain"), split="test")

    rows: list[dict[str, Any] | None] = [{"bytes": png(image), "path": None} for image in pictures(3)]
    write_parquet(tmp_path / "hub" / "plain" / "train-00000-of-00001.parquet", rows, "img")
    write_parquet(tmp_path / "hub" / "plain" / "test-00000-of-00001.parquet", rows[:1], "img")
    assert len(open_source(str(tmp_path / "hub"), split="test")) == 1
    with pytest.raises(DataError, match="has the splits test, train; choose one with --split"):
        open_source(str(tmp_path / "hub"))
    with pytest.raises(DataError, match="has no split 'val'; it has test, train"):
        open_source(str(tmp_path / "hub"), split="val")
    write_parquet(tmp_path / "hub" / "other" / "test-00000-of-00001.parquet", rows, "img")
    with pytest.raises(DataError, match=r"in several folders \(other, plain\); name one of them"):
        open_source(str(tmp_path / "hub"), split="test")
    assert len(open_source(str(as_npy(tmp_path / "it", pictures(2))), split="test")) == 2


@pytest.fixture
def hub(standin: StandIn, tmp_path: Path) -> StandIn:
    """A Hub with a data set of parquet files, and one of another format of which it made parquet files."""
    root = tmp_path / "sets"
    grey = [Image.new("L", (6, 5), 10 * index) for index in range(5)]
    for split, words in (("train", ["b", "c", "b", None, "c"]), ("test", ["a", "c", "a", "a", "a"])):
        write_images(root / "words" / "data" / f"{split}-00000-of-00001.parquet", grey, label=words)
        write_images(root / "converted" / "small" / split / "0000.parquet", grey, names="xyz", label=[0, 1, 2, 1, 0])
        write_images(root / "converted" / "large" / split / "0000.parquet", grey[:3])
    standin.add("datasets/org/words", root / "words")
    (root / "zipped").mkdir()
    (root / "zipped" / "images.zip").write_bytes(b"PK")
    zipped, _ = standin.add("datasets/org/zipped", root / "zipped")
    zipped.add_directory(root / "converted", "refs/convert/parquet")
    return standin


def gray_levels(source: ImageSource) -> list[int]:
    return [int(image[0, 0, 0]) for image in read(source, range(len(source)))]


@pytest.mark.parametrize("stream", [False, True])
def test_a_split_of_the_hub_is_read_in_place_or_from_the_cache(hub: StandIn, stream: bool) -> None:
    source = open_source("org/words", split="train", labeled=True, stream=stream)
    assert source.reference == "org/words (train)"
    assert gray_levels(source) == [0, 10, 20, 30, 40]
    assert source.classes == ("a", "b", "c")
    assert source.labels(range(5)).tolist() == [1, 2, 1, -1, 2]
    assert len(source.fingerprint()) == 64
    # Of the other split only the labels are read, and a stream fetches no whole file.
    assert any("/resolve/main/" in request for request in hub.requests) != stream
    with pytest.raises(DataError, match="org/words has the splits test, train"):
        open_source("org/words")


@pytest.mark.parametrize("stream", [False, True])
def test_a_data_set_in_another_format_is_what_the_hub_made_of_it(hub: StandIn, stream: bool) -> None:
    source = open_source("org/zipped:small", split="test", labeled=True, stream=stream)
    assert (gray_levels(source), source.classes) == ([0, 10, 20, 30, 40], ("x", "y", "z"))
    assert source.labels([3, 2]).tolist() == [1, 2]
    with pytest.raises(
        DataError, match=r"several folders \(large, small\); name one of them, written org/zipped:FOLDER"
    ):
        open_source("org/zipped", split="test")
    with pytest.raises(DataError, match="org/zipped:none has no parquet files on the Hub"):
        open_source("org/zipped:none", split="test")
    with pytest.raises(DataError, match="Cannot get org/nothing from the Hub"):
        open_source("org/nothing", split="test")


def test_without_a_network_the_cache_is_read(hub: StandIn) -> None:
    references = ("org/words", "org/zipped:small")
    online = [gray_levels(open_source(reference, split="train")) for reference in references]
    hub.stop()
    assert [gray_levels(open_source(reference, split="train")) for reference in references] == online
    with pytest.raises(DataError, match="org/words has no split 'test'; it has train"):
        open_source("org/words", split="test")
    with pytest.raises(DataError, match="Cannot get org/other from the Hub"):
        open_source("org/other", split="train")


def test_a_hub_that_breaks_off_is_one_sentence(hub: StandIn) -> None:
    source = open_source("org/words", split="train", stream=True)
    hub.stop()
    with pytest.raises(DataError, match=r"org/words \(train\) .*at image 0"):
        read(source, [0])


def test_a_data_set_that_cannot_be_reached_is_one_sentence() -> None:
    with pytest.raises(DataError, match=r"Cannot get someone/pictures from the Hub \("):
        open_source("someone/pictures")


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_real_cifar10_is_read(split: str) -> None:
    from tests.conftest import REPOSITORY

    root = REPOSITORY.parent / "shared" / "data" / "cifar10"
    if not root.is_dir():
        pytest.skip(f"needs CIFAR-10 in the Hub's layout at {root}")
    source = open_source(str(root), split=split)
    assert len(source) == {"train": 50_000, "test": 10_000}[split]
    images = read(source, [0, 1, 300])
    assert {image.shape for image in images} == {(32, 32, 3)}


# Refusals: one sentence each.


def damaged(path: Path, keep: float) -> Path:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    return path


def saved(path: Path, **arrays: NDArray[Any]) -> Path:
    np.savez(path, **arrays)
    return path


def refusal(reference: Path) -> str:
    with pytest.raises(IganZooError) as caught:
        source = open_source(str(reference))
        read(source, range(len(source)))
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    return sentence


def test_what_is_not_there_is_said_with_what_could_be(tmp_path: Path) -> None:
    assert "There are no images at" in refusal(tmp_path / "none" / "deep" / "down")
    assert "There are no images at" in refusal(tmp_path / "none.npz")
    (tmp_path / "film.mp4").touch()
    assert "film.mp4 is not a source of images: give a folder, .npz" in refusal(tmp_path / "film.mp4")


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").touch()
    assert "There is no image in" in refusal(tmp_path / "empty")


def test_links_that_go_round_end(tmp_path: Path) -> None:
    as_folder(tmp_path / "it", pictures(3))
    (tmp_path / "it" / "again").symlink_to(tmp_path / "it", target_is_directory=True)
    assert len(open_source(str(tmp_path / "it"))) == 3
    (tmp_path / "it" / "zz.png").symlink_to("zz.png")
    source = open_source(str(tmp_path / "it"))
    assert len(source) == 4
    assert len(source.fingerprint()) == 64
    with pytest.raises(ImageError, match=r"zz\.png cannot be read"):
        read(source, [3])


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"labels": np.arange(3)}, r"has no array of images, uint8 \[N, H, W, C\] or \[N, H, W\], but labels"),
        ({"a": np.arange(3), "b": pictures(2) / 255}, "has no array of images"),
        ({"mu": np.arange(3), "cova": np.eye(3)}, r"holds statistics \(mu, cova\) instead of images; a ref"),
        ({"a": pictures(2), "b": pictures(2)}, r"has several arrays of images \(a, b\); keep one, or name it images"),
        ({"images": pictures(2) / 255}, r"\[images\] holds float64, not uint8"),
        ({"only": pictures(2) / 255}, r"\[only\] holds float64, not uint8"),
        ({"images": np.array([{}, None])}, r"\[images\] holds Python objects, which are never read"),
        ({"images": pictures(0)}, r"\[images\] has no images"),
        ({"images": pictures(2)[..., :2]}, r"images must be \[N, H, W\] or \[N, H, W, C\] with C = 1 or 3"),
        ({"images": pictures(2)[0]}, r"has the shape \[6, 5, 3\]"),
        ({"images": np.asfortranarray(pictures(2))}, "Fortran order"),
        ({}, "has no array of images"),
    ],
)
def test_archives_without_one_array_of_images_are_refused(
    arrays: dict[str, NDArray[Any]], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=sentence):
        open_source(str(saved(tmp_path / "it.npz", **arrays)))


def test_the_array_that_was_taken_is_named(tmp_path: Path) -> None:
    both = saved(tmp_path / "both.npz", other=pictures(3), images=pictures(2))
    assert open_source(str(both)).reference == f"{both}[images]"
    assert len(open_source(str(both))) == 2
    one = saved(tmp_path / "one.npz", arr_0=pictures(2), arr_1=np.arange(2))
    assert open_source(str(one)).reference == f"{one}[arr_0]"


@pytest.mark.parametrize("keep", [0.0, 0.01, 0.5, 0.9])
@pytest.mark.parametrize("kind", [as_npy, as_npz, as_packed_npz, as_tar, as_parquet], ids=lambda kind: kind.__name__)
def test_files_that_are_cut_off_are_refused(kind: Any, keep: float, tmp_path: Path) -> None:
    path = damaged(kind(tmp_path / "it", pictures()), keep)
    assert path.name in refusal(path)


def test_every_length_of_a_tar_archive_but_the_whole_is_refused_or_has_all_images(tmp_path: Path) -> None:
    whole = as_tar(tmp_path / "it", pictures(4)).read_bytes()
    for length in range(0, len(whole), 256):
        (tmp_path / "cut.tar").write_bytes(whole[:length])
        try:
            source: ImageSource | None = open_source(str(tmp_path / "cut.tar"))
        except DataError:
            source = None
        # The end of an archive is a block of zeros and as many more as the writer likes.
        assert source is None or len(source) == 4


def test_a_tar_archive_with_a_damaged_header_is_refused(tmp_path: Path) -> None:
    path = as_tar(tmp_path / "it", pictures(4))
    content = bytearray(path.read_bytes())
    with tarfile.open(path) as archive:
        content[archive.getmember("002.png").offset + 3] ^= 1
    path.write_bytes(content)
    assert "is damaged at byte" in refusal(path)


@pytest.mark.parametrize("suffix", [".tar.gz", ".tgz", ".tar"])
def test_a_compressed_archive_is_refused_by_its_contents(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"it{suffix}"
    path.write_bytes(gzip.compress(as_tar(tmp_path / "plain", pictures(2)).read_bytes()))
    assert "is compressed with gzip" in refusal(path)


def test_an_archive_without_images_is_refused_and_special_members_are_no_images(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "it.tar", "w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE):
            member = tarfile.TarInfo("a.png")
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
    assert "There is no image in" in refusal(tmp_path / "it.tar")


def test_names_that_climb_out_of_an_archive_reach_nothing(tmp_path: Path) -> None:
    (image,) = pictures(1)
    (tmp_path / "in").mkdir()
    path = add_to_tar(tmp_path / "in" / "it.tar", {"../../climbed.png": png(image), "/etc/x.png": png(image)})
    source = open_source(str(path))
    np.testing.assert_array_equal(read(source, [0, 1]), [image, image])
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_parquet_files_without_one_column_of_images_are_refused(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="parquet files need the data extra")
    import pyarrow.parquet as parquet

    parquet.write_table(pyarrow.table({"label": [1], "text": ["a"]}), tmp_path / "none.parquet")
    assert "has no column of images, bytes or a struct with bytes and path, but label, text" in refusal(
        tmp_path / "none.parquet"
    )
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    row = pyarrow.array([{"bytes": png(pictures(1)[0]), "path": None}], kind)
    parquet.write_table(pyarrow.table({"left": row, "right": row}), tmp_path / "two.parquet")
    assert "several columns of images (left, right)" in refusal(tmp_path / "two.parquet")
    parquet.write_table(pyarrow.table({"left": row, "image": row}), tmp_path / "usual.parquet")
    assert len(open_source(str(tmp_path / "usual.parquet"))) == 1
    assert "has no images" in refusal(write_parquet(tmp_path / "empty.parquet", []))


def test_damage_inside_a_parquet_file_is_one_sentence(tmp_path: Path) -> None:
    path = as_parquet(tmp_path / "it", pictures())
    content = bytearray(path.read_bytes())
    content[100 : len(content) // 2] = bytes(len(content) // 2 - 100)
    path.write_bytes(content)
    assert "it.parquet" in refusal(path)


def test_a_row_without_bytes_is_an_image_that_does_not_decode(tmp_path: Path) -> None:
    good = {"bytes": png(pictures(1)[0]), "path": None}
    source = open_source(
        str(write_parquet(tmp_path / "it.parquet", [good, None, {"bytes": None, "path": "a.png"}, good]))
    )
    assert len(read(source, [0, 3])) == 2
    for index in (1, 2):
        with pytest.raises(ImageError, match=f"image {index} of .* is missing from the file"):
            read(source, [index])


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = as_parquet(tmp_path / "it", pictures(2))
    refuse_import(monkeypatch, "pyarrow")
    with pytest.raises(MissingExtraError, match=r"needs the data extra: pip install '\.\[data\]'"):
        open_source(str(path))


def refuse_import(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name.partition(".")[0] == package:
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)


def bomb() -> bytes:
    """A PNG whose header promises 10 billion pixels."""
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b""))
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def test_an_image_that_would_fill_the_memory_is_refused_before_decoding(tmp_path: Path) -> None:
    (tmp_path / "it").mkdir()
    (tmp_path / "it" / "bomb.png").write_bytes(bomb())
    assert "bomb.png has 100000x100000 pixels" in refusal(tmp_path / "it")
    assert "bomb.png has 100000x100000 pixels" in refusal(add_to_tar(tmp_path / "a.tar", {"bomb.png": bomb()}))
    assert "at most 50,000,000 are decoded" in refusal(
        write_parquet(tmp_path / "a.parquet", [{"bytes": bomb(), "path": None}])
    )


def test_a_file_of_too_many_bytes_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("igan_zoo.images.formats.tars.MAX_ENCODED_BYTES", 50)
    assert "an image has at most 50" in refusal(as_tar(tmp_path / "it", pictures(2)))


def test_an_archive_that_promises_more_than_it_has_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_2_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (10**12, 10**6, 10**6, 3)}
    )
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(tmp_path / "it.npz", "w", compression) as archive:
            archive.writestr("images.npy", header.getvalue() + bytes(1000))
        assert "[images] is truncated" in refusal(tmp_path / "it.npz")


def with_array(path: Path, compression: int = zipfile.ZIP_STORED) -> Path:
    images = np.random.default_rng(0).integers(0, 256, (50, 28, 28, 1), np.uint8)
    header = io.BytesIO()
    np.lib.format.write_array(header, images)
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("images.npy", header.getvalue())
    return path


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_damaged_pixel_of_an_npz_is_noticed(compression: int, tmp_path: Path) -> None:
    path = with_array(tmp_path / "it.npz", compression)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert "damaged" in refusal(path)


def patched(content: bytes, old: bytes, new: bytes) -> bytes:
    assert old in content
    return content.replace(old, new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"(50, 28, 28, 1)", b"((((((((((((((("),
        (b"(50, 28, 28, 1)", b'"""            '),
        (b"(50, 28, 28, 1)", b"(9**99,1,1,1)  "),
        (b"(50, 28, 28, 1)", b"(4**9,4**9,9,1)"),
        (b"'|u1'", b"'|u\xff'"),
    ],
)
def test_a_header_that_numpy_stumbles_over_is_damage(old: bytes, new: bytes, tmp_path: Path) -> None:
    content = with_array(tmp_path / "it.npz").read_bytes()
    assert len(old) == len(new)
    (tmp_path / "it.npz").write_bytes(patched(content, old, new))
    assert str(tmp_path / "it.npz") in refusal(tmp_path / "it.npz")
    at = content.index(b"\x93NUMPY")
    (tmp_path / "it.npy").write_bytes(patched(content[at:], old, new))
    assert str(tmp_path / "it.npy") in refusal(tmp_path / "it.npy")


def test_an_archive_larger_than_the_disk_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr("igan_zoo.machine.files.shutil.disk_usage", lambda place: usage)
    with pytest.raises(OutputError, match=r"needs 0\.0 GB in .*, which has 0\.0 GB free"):
        open_source(str(with_array(tmp_path / "it.npz", zipfile.ZIP_DEFLATED)))


def test_a_full_disk_of_temporary_files_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not the archive, which is whole."""
    monkeypatch.setattr("tempfile.TemporaryFile", lambda: Path("/dev/full").open("r+b", buffering=0))  # noqa: SIM115
    with pytest.raises(OutputError, match=r"Cannot unpack .*it\.npz in .*: No space left on device; set TMPDIR"):
        open_source(str(with_array(tmp_path / "it.npz", zipfile.ZIP_DEFLATED)))


@pytest.mark.parametrize("field", [b"\x80" + bytes(3) + b"\x01" + bytes(7), b"\xff" * 12])
def test_sizes_in_a_tar_that_no_file_has_are_refused(field: bytes, tmp_path: Path) -> None:
    header = bytearray(tarfile.TarInfo("a.png").tobuf())
    header[124:136] = field
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "it.tar").write_bytes(header + bytes(10_240 - len(header)))
    assert "it.tar is" in refusal(tmp_path / "it.tar")


# Memory.


def test_rows_that_repeat_a_large_one_are_not_all_in_memory(tmp_path: Path) -> None:
    """A parquet file has them once, in a dictionary: 0.5 MB here, and 640 MB written out."""
    pyarrow = pytest.importorskip("pyarrow", reason="parquet files need the data extra")

    image = {"bytes": png(pictures(1)[0]) + bytes(10_000_000), "path": None}
    path = write_parquet(tmp_path / "it.parquet", [image] * 64, dictionary_pagesize_limit=2**30)
    assert path.stat().st_size < 1_000_000
    source = open_source(str(path))
    before, highest = pyarrow.total_allocated_bytes(), 0
    for index in range(64):
        source.fetch([index])
        highest = max(highest, pyarrow.total_allocated_bytes() - before)
    assert highest < 100_000_000


def test_images_are_decoded_ahead_by_their_bytes_and_not_by_their_number(tmp_path: Path) -> None:
    """Four megapixels each: as pixels 12 MB, and as PNG files next to nothing."""
    large = np.zeros((20, 2000, 2000, 3), np.uint8)
    saved(tmp_path / "it.npz", images=large)
    (tmp_path / "it").mkdir()
    for index, image in enumerate(large):
        write_image(tmp_path / "it" / f"{index}.png", image)
    for name in ("it.npz", "it"):
        source = open_source(str(tmp_path / name))

        def go(source: ImageSource = source) -> None:
            for _ in decode_ahead(source, range(len(source)), threads=2):
                pass

        assert highest_memory(go) < 160_000_000


def test_archives_of_arrays_are_not_in_memory(tmp_path: Path) -> None:
    path = saved(tmp_path / "it.npz", images=np.zeros((20_000, 28, 28, 1), np.uint8))
    assert highest_memory(lambda: stream(open_source(str(path)))) < 2_000_000 < path.stat().st_size


def test_models_keep_no_image(exported_model: Path) -> None:
    source = open_images(str(exported_model), count=5000)
    read(source, [0])
    assert highest_memory(lambda: stream(source)) < 2_000_000 < 5000 * 28 * 28


def test_a_parquet_file_of_one_row_group_is_not_in_memory(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="parquet files need the data extra")
    noise = np.random.default_rng(0)
    rows: list[dict[str, Any] | None] = [{"bytes": noise.bytes(3000), "path": None} for _ in range(8000)]
    path = write_parquet(tmp_path / "it.parquet", rows)
    source = open_source(str(path))
    before, highest = pyarrow.total_allocated_bytes(), 0
    for index in range(0, len(source), 50):
        source.fetch([index])
        highest = max(highest, pyarrow.total_allocated_bytes() - before)
    # Twice a page, which has up to 1024 rows whatever their size.
    assert highest < 10_000_000 < 24_000_000 < path.stat().st_size


def stream(source: ImageSource) -> None:
    for batch in ImageBatches(source, range(len(source)), batch_size=100, shape=Shape(1)):
        assert len(batch) == 100


def highest_memory(work: Callable[[], None]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
