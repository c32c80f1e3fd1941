"""Where images and labels come from, and one sentence for everything that can be wrong with them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from igan_zoo.errors import DataError, ImageError
from igan_zoo.images.findings import Finding
from igan_zoo.images.labeled import LabeledImages
from igan_zoo.images.loading import load_images
from igan_zoo.images.sources import open_source
from tests.conftest import REAL_MNIST, synthetic_digits
from tests.parquet import write_images

GREY = {"height": 28, "width": 28, "channels": 1}
REAL_CIFAR10 = REAL_MNIST.parent / "cifar10"
REAL_IMAGENETTE = REAL_MNIST.parent / "imagenette"


def picture(path: Path, brightness: int = 100, size: tuple[int, int] = (10, 10)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, brightness).save(path)


def read(root: object, split: str = "train", **more: Any) -> LabeledImages:
    return load_images(str(root), split, **{"height": 8, "width": 8, "channels": 1, **more})


def names_of(data: LabeledImages) -> list[str | None]:
    return [data.classes[label] if label >= 0 else None for label in data.labels]


def brightness_of(data: LabeledImages) -> list[int]:
    return data.images[:][:, 0, 0, 0].tolist()


# --- The Hub's layout


def test_a_directory_in_the_hubs_layout_is_read_bit_for_bit(data_directory: Path) -> None:
    images, labels = synthetic_digits(100, 2)
    data = load_images(str(data_directory), "test", **GREY)
    np.testing.assert_array_equal(data.images[:][..., 0], images)
    np.testing.assert_array_equal(data.labels, labels)
    assert data.classes == tuple("0123456789")
    assert data.skipped == ()


def parquet(path: Path, columns: dict[str, list[Any]], names: Sequence[str] | None = None) -> None:
    """Rows of images of brightness 0, 10, 20, ... with further columns, as the Hub keeps them."""
    count = len(next(iter(columns.values()), range(4)))
    write_images(path, [Image.new("L", (10, 10), 10 * index) for index in range(count)], "photo", names, **columns)


def test_a_column_of_strings_or_integers_is_taken_for_the_labels(tmp_path: Path) -> None:
    parquet(tmp_path / "words" / "train-0.parquet", {"class": ["dog", "cat", None, "dog"]})
    data = read(tmp_path / "words")
    assert data.classes == ("cat", "dog")
    assert data.labels.tolist() == [1, 0, -1, 1]
    numbers = {"fine_label": [10, 2, 2, 10]}
    parquet(tmp_path / "numbers" / "train-0.parquet", numbers)
    data = read(tmp_path / "numbers")
    assert data.classes == ("2", "10")
    assert data.labels.tolist() == [1, 0, 0, 1]


def test_every_split_numbers_the_classes_alike(tmp_path: Path) -> None:
    parquet(tmp_path / "train-0.parquet", {"label": ["a", "b", "c"]})
    parquet(tmp_path / "test-0.parquet", {"label": ["c", "b"]})
    assert read(tmp_path, "test").classes == ("a", "b", "c")
    assert read(tmp_path, "test").labels.tolist() == [2, 1]


def test_without_a_column_of_labels_none_is_known(tmp_path: Path) -> None:
    parquet(tmp_path / "train-0.parquet", {"author": ["x"] * 4})
    data = read(tmp_path)
    assert data.classes == ()
    assert data.labels.tolist() == [-1] * 4
    assert brightness_of(data) == [0, 10, 20, 30]
    with pytest.raises(DataError, match="None of the images has a label"):
        data.with_labels()


def test_a_csv_file_labels_rows_by_their_numbers(tmp_path: Path) -> None:
    parquet(tmp_path / "data" / "train-0.parquet", {})
    (tmp_path / "labels.csv").write_text("file,label\n2,cat\n0,dog\n")
    data = read(tmp_path / "data", labels_file=tmp_path / "labels.csv")
    assert names_of(data) == ["dog", None, "cat", None]
    some = data.with_labels()
    assert names_of(some) == ["dog", "cat"]
    assert brightness_of(some) == [0, 20]


def test_a_folder_of_the_configuration_is_read_and_svhns_is_known(tmp_path: Path) -> None:
    for name, label in (("cropped_digits", "a"), ("full_numbers", "b")):
        parquet(tmp_path / "svhn" / name / "train-0.parquet", {"label": [label] * 3})
    assert read(tmp_path / "svhn").classes == ("a",)
    assert read(f"{tmp_path / 'svhn'}:full_numbers").classes == ("b",)


def test_a_configuration_that_must_be_named_is_asked_for(tmp_path: Path) -> None:
    for name in ("small", "large"):
        parquet(tmp_path / name / "train-0.parquet", {})
    with pytest.raises(DataError, match=r"several folders \(large, small\); name one of them, written .*:FOLDER"):
        read(tmp_path)
    assert len(read(f"{tmp_path}:small")) == 4


def test_damaged_images_in_a_table_are_skipped_by_number(tmp_path: Path) -> None:
    rows = [{"bytes": b"no image", "path": None}, None, Image.new("L", (10, 10), 7)]
    write_images(tmp_path / "train-0.parquet", rows, "photo")
    data = read(tmp_path)
    assert brightness_of(data) == [7]
    assert [sentence.split(" of ")[0] for sentence in data.skipped] == ["image 0", "image 1"]


def test_what_is_missing_is_named(data_directory: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no split 'validation'; it has test, train"):
        load_images(str(data_directory), "validation", **GREY)
    with pytest.raises(DataError, match="no images at nowhere"):
        load_images("nowhere", "train", **GREY)
    with pytest.raises(DataError, match="Cannot get nobody/nothing from the Hub"):
        load_images("nobody/nothing", "train", **GREY)
    with pytest.raises(DataError, match="no image in"):
        read(tmp_path)


def test_labels_are_read_by_row_groups_when_they_are_asked_for(tmp_path: Path) -> None:
    parquet(tmp_path / "train-0.parquet", {"label": [1, 0, None, -1, 0]}, ["cat", "dog"])
    source = open_source(str(tmp_path), labeled=True)
    assert source.classes == ("cat", "dog")
    assert source.labels([4, 0]).tolist() == [0, 1]
    assert source.labels(range(5)).tolist() == [1, 0, -1, -1, 0]
    assert open_source(str(tmp_path)).labels(range(5)).tolist() == [-1] * 5
    parquet(tmp_path / "wrong" / "train-0.parquet", {"label": [1, 2]}, ["cat", "dog"])
    with pytest.raises(DataError, match=r"image 1 of .* has the label 2, but the data has 2 classes"):
        read(tmp_path / "wrong")


# --- SVHN's own files


def svhn(path: Path, count: int = 12, **more: Any) -> np.ndarray:
    """Writes a file in SVHN's layout and returns its pixels, uint8 ``[count, 32, 32, 3]``."""
    images = np.random.default_rng(1).integers(0, 256, (count, 32, 32, 3), np.uint8)
    digits = np.arange(count) % 10
    contents = {
        "X": np.moveaxis(images, 0, -1),  # [32, 32, 3, N]
        "y": np.where(digits == 0, 10, digits).astype(np.uint8)[:, None],
    }
    savemat(path, {**contents, **more}, do_compression=True)
    return images


COLOUR = {"height": 32, "width": 32, "channels": 3}


def test_svhns_files_are_read_bit_for_bit_with_ten_as_zero(tmp_path: Path) -> None:
    svhn(tmp_path / "train_32x32.mat")
    images = svhn(tmp_path / "test_32x32.mat", 5)
    data = read(tmp_path, "test", **COLOUR)
    np.testing.assert_array_equal(data.images[:], images)
    assert data.labels.tolist() == [0, 1, 2, 3, 4]
    assert data.classes == tuple("0123456789")
    assert len(read(tmp_path, **COLOUR)) == 12


def cells(*shape: int) -> np.ndarray:
    """A cell array of MATLAB, which is an array of objects to numpy."""
    return np.full(shape, "x", object)


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ({"X": np.zeros((32, 32, 3, 12))}, r"X of uint8 \[32, 32, 3, N\], but it is double"),
        ({"X": np.zeros((28, 28, 3, 12), np.uint8)}, r"but it is uint8 \[28, 28, 3, 12\]"),
        ({"X": cells(32, 32, 3, 12)}, "but it is cell"),
        ({"y": np.ones((11, 1))}, r"12 numbers in y, but it is double \[11, 1\]"),
        ({"y": cells(12, 1)}, "12 numbers in y, but it is cell"),
        ({"y": np.arange(12)[:, None]}, "labels from 0 to 11, but SVHN's go from 1 to 10"),
    ],
)
def test_other_contents_than_svhns_are_refused(tmp_path: Path, contents: dict[str, Any], message: str) -> None:
    svhn(tmp_path / "train_32x32.mat", **contents)
    with pytest.raises(DataError, match=rf"train_32x32\.mat .*{message}"):
        read(tmp_path, **COLOUR)


@pytest.mark.parametrize("keep", [0, 100, 200, 20_000, -1])
def test_a_truncated_file_of_svhn_is_refused(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "train_32x32.mat"
    svhn(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"train_32x32\.mat"):
        read(tmp_path, **COLOUR)


def test_a_missing_file_of_svhn_and_a_later_matlab_format_are_named(tmp_path: Path) -> None:
    svhn(tmp_path / "train_32x32.mat")
    with pytest.raises(DataError, match="no split 'test'; it has train"):
        read(tmp_path, "test", **COLOUR)
    with pytest.raises(DataError, match="already have labels"):
        read(tmp_path, labels_file=tmp_path / "labels.csv", **COLOUR)
    (tmp_path / "test_32x32.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x89HDF" * 200)
    with pytest.raises(DataError, match=r"MATLAB 7\.3 file; .* -v7"):
        read(tmp_path, "test", **COLOUR)


# --- Folders of images


def test_a_folder_of_class_folders_is_read_and_brought_to_the_shape(tmp_path: Path) -> None:
    for name, colour in (("cat", "white"), ("dog", "black")):
        (tmp_path / "train" / name).mkdir(parents=True)
        for index in range(3):
            Image.new("RGB", (40, 30), colour).save(tmp_path / "train" / name / f"{index}.jpg")
    data = load_images(str(tmp_path), "train", **GREY)
    assert data.classes == ("cat", "dog")
    assert data.images.shape == (6, 28, 28, 1)
    assert data.images[np.flatnonzero(data.labels == 0)].min() > 250
    assert data.images[np.flatnonzero(data.labels == 1)].max() < 5


def test_cropping_keeps_the_centre_of_a_photo(tmp_path: Path) -> None:
    wide = Image.new("L", (40, 10), 0)
    wide.paste(200, (15, 0, 25, 10))
    wide.save(tmp_path / "wide.png")
    assert read(tmp_path, crop=True).images[:].min() == 200
    assert read(tmp_path).images[:].min() == 0


def test_class_folders_alone_are_the_training_images(tmp_path: Path) -> None:
    picture(tmp_path / "dog" / "b" / "deep.PNG", 1)
    picture(tmp_path / "dog" / "a.png", 2)
    picture(tmp_path / "cat" / "a.jpeg", 3)
    picture(tmp_path / "cat" / ".hidden.png", 9)
    picture(tmp_path / "cat" / ".cache" / "c.png", 9)
    (tmp_path / "cat" / "notes.txt").write_text("not an image")
    (tmp_path / ".git").mkdir()
    data = read(tmp_path)
    assert names_of(data) == ["cat", "dog", "dog"]
    assert brightness_of(data) == [3, 2, 1]
    with pytest.raises(DataError, match="no split 'test': without the folders train and test"):
        read(tmp_path, "test")


@pytest.mark.parametrize("name", ["test", "val", "validation", "valid"])
def test_validation_images_serve_as_the_test_split(tmp_path: Path, name: str) -> None:
    picture(tmp_path / "train" / "cat" / "a.png", 1)
    picture(tmp_path / name / "cat" / "a.png", 2)
    assert brightness_of(read(tmp_path)) == [1]
    assert brightness_of(read(tmp_path, "test")) == [2]
    with pytest.raises(DataError, match="no split 'holdout'; it has"):
        read(tmp_path, "holdout")


def test_a_class_that_a_split_lacks_does_not_shift_the_others(tmp_path: Path) -> None:
    for name in ("ant", "bee", "cat"):
        picture(tmp_path / "train" / name / "a.png")
    picture(tmp_path / "test" / "cat" / "a.png")
    assert read(tmp_path, "test").labels.tolist() == [2]
    assert read(tmp_path, "test").classes == ("ant", "bee", "cat")


def test_a_class_may_be_called_like_a_split(tmp_path: Path) -> None:
    picture(tmp_path / "car" / "a.png")
    picture(tmp_path / "train" / "a.png")
    assert read(tmp_path).classes == ("car", "train")


@pytest.mark.parametrize("name", ["unlabeled", "unlabelled", "Unlabeled"])
def test_a_folder_of_images_without_label_is_no_class(tmp_path: Path, name: str) -> None:
    for folder in ("cat", "zebra", name):
        picture(tmp_path / folder / "a.png")
    data = read(tmp_path)
    assert data.classes == ("cat", "zebra")
    assert sorted(map(str, names_of(data))) == ["None", "cat", "zebra"]


def test_a_flat_folder_has_no_labels(tmp_path: Path) -> None:
    picture(tmp_path / "b.png", 2)
    picture(tmp_path / "a.png", 1)
    data = read(tmp_path)
    assert (data.classes, data.labels.tolist(), brightness_of(data)) == ((), [-1, -1], [1, 2])


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    picture(tmp_path / "elsewhere" / "a.png")
    (tmp_path / "data" / "cat").mkdir(parents=True)
    (tmp_path / "data" / "cat" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "cat" / "round").symlink_to(tmp_path / "data")
    assert len(read(tmp_path / "data")) == 1


def test_images_beside_class_folders_and_empty_class_folders_are_named(tmp_path: Path) -> None:
    picture(tmp_path / "cat" / "a.png")
    picture(tmp_path / "stray.png")
    with pytest.raises(DataError, match=r"stray\.png is next to class folders"):
        read(tmp_path)
    (tmp_path / "stray.png").unlink()
    (tmp_path / "dog").mkdir()
    with pytest.raises(DataError, match=r"class folder .*dog has no image"):
        read(tmp_path)


# --- Files that cannot be used


def test_damaged_files_are_named_counted_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for index in range(20):
        picture(tmp_path / f"{index:02d}.png", index)
    for index in range(7):
        (tmp_path / f"bad{index}.jpg").write_bytes(b"\xff\xd8\xff no more")
    data = read(tmp_path)
    assert brightness_of(data) == list(range(20))
    assert len(data.skipped) == 7
    errors = caplog.text
    assert errors.count("Skipped: ") == 5
    assert "bad0.jpg cannot be decoded" in errors
    assert "Skipped 7 images in all." in errors
    with pytest.raises(ImageError, match=r"bad0\.jpg"):
        read(tmp_path, strict=True)


def test_a_source_without_a_single_usable_image_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"The only image of .* cannot be used: .*bad\.jpg"):
        read(tmp_path)


def test_a_few_small_images_are_left_out_but_not_most(tmp_path: Path) -> None:
    for index in range(3):
        picture(tmp_path / f"large{index}.png")
    picture(tmp_path / "small.png", size=(20, 7))
    data = read(tmp_path)
    assert len(data) == 3
    assert [sentence.endswith("small.png is 20x7, smaller than 8x8.") for sentence in data.skipped] == [True]
    with pytest.raises(ImageError, match=r"small\.png is 20x7"):
        read(tmp_path, strict=True)
    with pytest.raises(
        DataError, match=r"Of 4 images of .* 4 would have to be enlarged to 64x64x1 .* choose a smaller size"
    ):
        read(tmp_path, height=64, width=64)


def test_too_many_small_images_are_noticed_on_the_way(tmp_path: Path) -> None:
    svhn(tmp_path / "train_32x32.mat", 300)
    with pytest.raises(DataError, match=r"Of 100 images of .* 100 would have to be enlarged"):
        read(tmp_path, height=64, width=64, channels=3)


def test_what_memory_cannot_hold_is_refused_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "a.png")
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": 63}.__getitem__)
    with pytest.raises(DataError, match="igan-zoo prepare"):
        read(tmp_path)


# --- Labels from a CSV file


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    for index, name in enumerate(("a", "b", "c", "sub/d")):
        picture(tmp_path / "photos" / f"{name}.png", index)
    return tmp_path / "photos"


@pytest.mark.parametrize(
    "text",
    [
        "file,label\na.png,dog\nsub/d.png,cat\n",
        "\ufefffilename,class\r\na.png,dog\r\n./sub/d.png,cat\r\n\r\n",
        'Label, Path ,size\ncat,"sub/d.png",3\n dog ,a.png,4\n,b.png,5\n',
        "image,label\na.png,dog\na.png,dog\nsub/d.png,cat",
    ],
)
def test_a_csv_file_labels_a_flat_folder(flat: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "labels.csv").write_bytes(text.encode())
    data = read(flat, labels_file=tmp_path / "labels.csv")
    assert data.classes == ("cat", "dog")
    assert names_of(data) == ["dog", None, None, "cat"]
    assert brightness_of(data) == [0, 1, 2, 3]


def test_a_csv_file_overrides_the_names_of_class_folders_in_every_split(tmp_path: Path) -> None:
    for file in ("train/x/a.png", "train/y/b.png", "test/x/c.png"):
        picture(tmp_path / file)
    labels = tmp_path / "labels.csv"
    labels.write_text("file,label\ntrain/x/a.png,cat\ntest/x/c.png,dog\n")
    assert names_of(read(tmp_path, labels_file=labels)) == ["cat", None]
    assert names_of(read(tmp_path, "test", labels_file=labels)) == ["dog"]
    assert read(tmp_path, labels_file=labels).classes == ("cat", "dog")


def test_images_without_a_label_need_not_be_read(flat: Path, tmp_path: Path) -> None:
    (flat / "b.png").write_bytes(b"broken")
    labels = tmp_path / "labels.csv"
    labels.write_text("file,label\nsub/d.png,cat\na.png,dog\n")
    data = read(flat, "test", labels_file=labels, labeled_only=True)
    assert (names_of(data), brightness_of(data), data.skipped) == (["dog", "cat"], [0, 3], ())
    picture(tmp_path / "plain" / "a.png")
    with pytest.raises(DataError, match="None of the images has a label"):
        read(tmp_path / "plain", labeled_only=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"labels\.csv is empty"),
        ("\n", r"labels\.csv is empty"),
        ("file,label\n", r"labels\.csv has no labels"),
        ("file,label\na.png,\n", r"labels\.csv has no labels"),
        (
            "name,label\na.png,dog\n",
            "no column file or filename or file_name, but name, label; its first line names them",
        ),
        ("file,kind\na.png,dog\n", "no column label or labels or class, but file, kind"),
        ("file,label\na.png,dog\nz.png,cat\n", r"Line 3 of .*labels\.csv names 'z\.png', but there is no such"),
        ("file,label\na.png,dog\n./a.png,cat\n", r"Line 3 of .* labels './a\.png' as 'cat', an earlier one as 'dog'"),
        ("file,label\na.png\n", "Line 2 of .* has 1 column, not 2"),
        (b"file,label\na.png,caf\x81\n", "cannot be read as CSV"),
        ('file,label\n"a.png,dog\n', "cannot be read as CSV"),
        (None, r"no file of labels .*labels\.csv"),
    ],
)
def test_what_is_wrong_with_a_csv_file_is_named(
    flat: Path, tmp_path: Path, text: str | bytes | None, message: str
) -> None:
    if text is not None:
        (tmp_path / "labels.csv").write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(DataError, match=message):
        read(flat, labels_file=tmp_path / "labels.csv")


# --- Photos as people keep them


def findings_of(data: LabeledImages) -> tuple[Finding, ...]:
    assert data.source is not None
    return data.source.findings


def put(root: Path, *names: str) -> Path:
    for name in names:
        picture(root / name)
    return root


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("Train", "Test"),
        ("training_set", "test_set"),
        ("TRAINING", "Testing"),
        ("train-data", "dev"),
        ("train", "Valid"),
    ],
)
def test_splits_have_their_usual_names_in_any_case(tmp_path: Path, train: str, test: str) -> None:
    put(tmp_path, *(f"{split}/{name}/a.png" for split in (train, test) for name in ("golf", "truck")))
    put(tmp_path, f"{test}/golf/b.png")
    assert [read(tmp_path, split).classes for split in ("train", "test")] == [("golf", "truck")] * 2
    assert [len(read(tmp_path, split)) for split in ("train", "test")] == [2, 3]


def test_two_folders_of_training_images_are_refused(tmp_path: Path) -> None:
    put(tmp_path, *(f"{split}/{name}/a.png" for split in ("Train", "training_set") for name in ("golf", "truck")))
    with pytest.raises(DataError, match="has Train and training_set, which both mean train"):
        read(tmp_path)


def test_unlabeled_images_beside_the_splits_are_training_images(tmp_path: Path) -> None:
    put(tmp_path, *(f"{split}/{name}/a.png" for split in ("train", "test") for name in ("golf", "truck")))
    put(tmp_path, "unlabeled/a.png", "unlabeled/b.png")
    data = read(tmp_path)
    assert (data.classes, names_of(data)) == (("golf", "truck"), ["golf", "truck", None, None])
    assert len(read(tmp_path, "test")) == 2
    assert len(read(tmp_path, "unlabeled")) == 2


def test_what_systems_leave_behind_is_no_class_and_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(
        tmp_path,
        "golf/a.png",
        "truck/a.png",
        "truck/._a.png",
        "@eaDir/a.png",
        "__MACOSX/golf/a.png",
        "lost+found/a.png",
    )
    put(tmp_path, "golf/.ipynb_checkpoints/a.png", "$RECYCLE.BIN/a.png", "unknown/a.png", "unlabeled_data/a.png")
    for name in ("Thumbs.db", "golf/note.txt", "golf/a.jxl", "golf/b.JXL", "golf/raw.cr3"):
        (tmp_path / name).write_text("")
    data = read(tmp_path)
    assert (data.classes, names_of(data)) == (("golf", "truck"), ["golf", "truck", None, None])
    found = {finding.reason: (finding.count, finding.expected) for finding in findings_of(data)}
    assert found == {
        ".jxl images in an unsupported format": (1, False),
        ".JXL images in an unsupported format": (1, False),
        ".cr3 images in an unsupported format": (1, False),
        "hidden or system folders": (5, True),
        "hidden or system files": (2, True),
        ".txt files": (1, True),
    }
    assert "1 .jxl image in an unsupported format (golf/a.jxl)" in map(str, findings_of(data))
    assert caplog.text.count("Passed over: ") == 3


def test_files_without_a_suffix_are_images_by_their_content(tmp_path: Path) -> None:
    put(tmp_path, "golf/a.png", "truck/a.png")
    (tmp_path / "truck" / "a.png").rename(tmp_path / "truck" / "a")
    (tmp_path / "truck" / "README").write_text("not an image")
    data = read(tmp_path)
    assert names_of(data) == ["golf", "truck"]
    assert [finding.examples for finding in findings_of(data)] == [("truck/README",)]


def test_folders_with_the_same_folders_inside_are_no_classes(tmp_path: Path) -> None:
    put(tmp_path, *(f"{part}/{name}/a.png" for part in ("fold1", "fold2") for name in ("golf", "truck")))
    with pytest.raises(DataError, match=r"fold1, fold2 of .* have the same folders inside \(golf, truck\)"):
        read(tmp_path)
    put(tmp_path / "deep", "golf/images/a.png", "truck/images/a.png")
    assert read(tmp_path / "deep").classes == ("golf", "truck")


def test_class_folders_that_are_numbers_are_in_numeric_order(tmp_path: Path) -> None:
    put(tmp_path, *(f"{number}/a.png" for number in (0, 1, 2, 10)))
    assert read(tmp_path).classes == ("0", "1", "2", "10")
    put(tmp_path / "words", "Truck/a.png", "truck/b.png", "golf/c.png")
    with pytest.raises(DataError, match="'Truck' and 'truck', which differ only in case"):
        read(tmp_path / "words")


def test_a_class_that_loses_all_its_images_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "golf/a.png", "truck/a.png")
    (tmp_path / "truck" / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"The only image of the class truck cannot be used: .*a\.png is empty"):
        read(tmp_path)


def test_parquet_files_without_images_do_not_turn_a_folder_into_the_hubs_layout(tmp_path: Path) -> None:
    put(tmp_path, "golf/a.png", "truck/a.png", "unlabeled/a.png")
    (tmp_path / "00000.parquet").write_bytes(b"PAR1")
    assert names_of(read(tmp_path)) == ["golf", "truck", None]
    (tmp_path / "00000.parquet").unlink()
    write_images(tmp_path / "data.parquet", [Image.new("L", (10, 10), 5)], "photo")
    assert brightness_of(read(tmp_path)) == [5]


# --- Real data


@pytest.mark.skipif(not REAL_MNIST.is_dir(), reason=f"needs real MNIST in the Hub's layout at {REAL_MNIST}")
def test_real_mnist_has_its_known_first_labels() -> None:
    data = load_images(str(REAL_MNIST), "test", **GREY)
    assert len(data) == 10_000
    assert data.labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert np.bincount(data.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@pytest.mark.skipif(not REAL_CIFAR10.is_dir(), reason=f"needs real CIFAR-10 in the Hub's layout at {REAL_CIFAR10}")
def test_real_cifar10_has_its_known_classes() -> None:
    data = load_images(str(REAL_CIFAR10), "test", **COLOUR)
    assert data.images.shape == (10_000, 32, 32, 3)
    assert data.classes[:4] == ("airplane", "automobile", "bird", "cat")
    assert np.bincount(data.labels).tolist() == [1000] * 10


@pytest.mark.skipif(not REAL_IMAGENETTE.is_dir(), reason=f"needs photos in class folders at {REAL_IMAGENETTE}")
def test_real_photos_are_read_from_their_class_folders() -> None:
    data = load_images(str(REAL_IMAGENETTE), "test", height=32, width=32, channels=3, crop=True)
    assert (len(data), data.skipped) == (1200, ())
    assert np.bincount(data.labels).tolist() == [120] * 10
    assert data.classes[0] == "n01440764"
