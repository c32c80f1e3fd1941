"""Zip and tar archives as people and other tools make them."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from igan_zoo.errors import DataError
from igan_zoo.images.loading import load_images
from igan_zoo.images.sources import open_source
from igan_zoo.images.stored import LabeledSource, read
from tests.zoo.images.test_sources import add_to_tar, pictures, png

IMAGES = pictures(6)


def write(path: Path, files: dict[str, bytes]) -> Path:
    if path.suffix == ".tar":
        return add_to_tar(path, files)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def named(*names: str) -> dict[str, bytes]:
    return {name: png(image) for name, image in zip(names, IMAGES, strict=False)}


def labels_of(source: LabeledSource) -> list[str | None]:
    return [source.classes[label] if label >= 0 else None for label in source.labels(range(len(source)))]


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
def test_folders_in_an_archive_are_classes_and_splits(tmp_path: Path, suffix: str) -> None:
    junk = {"__MACOSX/it/a/._1.png": b"", "it/.DS_Store": b"", "it/readme.txt": b"words"}
    path = write(tmp_path / f"it{suffix}", {**named("it/b/1.png", "it/a/2.png", "it/unlabeled/3.png"), **junk})
    source = open_source(str(path), labeled=True)
    assert (source.classes, labels_of(source)) == (("a", "b"), ["b", "a", None])
    np.testing.assert_array_equal(read(source, [2, 0]), IMAGES[[2, 0]])
    assert {finding.reason: finding.count for finding in source.findings} == {
        "hidden or system files": 2,
        ".txt files": 1,
    }
    splits = write(tmp_path / f"splits{suffix}", named("Train/a/1.png", "Train/b/1.png", "Test/b/1.png"))
    test = open_source(str(splits), split="test", labeled=True)
    assert (test.classes, labels_of(test), test.name(0)) == (("a", "b"), ["b"], "Test/b/1.png")
    with pytest.raises(DataError, match="no split 'extra'; it has Test, Train"):
        open_source(str(splits), split="extra")


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
def test_webdatasets_labels_lie_beside_the_images(tmp_path: Path, suffix: str) -> None:
    files = {"0.png": png(IMAGES[0]), "0.cls": b"10\n", "1.png": png(IMAGES[1]), "1.cls": b"2", "2.png": png(IMAGES[2])}
    source = open_source(str(write(tmp_path / f"cls{suffix}", files)), labeled=True)
    assert (source.classes, labels_of(source)) == (("2", "10"), ["10", "2", None])
    notes = [{"label": "cat", "caption": "x"}, {"caption": "y"}, ["none"], {"class": 7}]
    files = {f"{index}.json": json.dumps(note).encode() for index, note in enumerate(notes)}
    path = write(tmp_path / f"json{suffix}", {**files, **named("0.png", "1.png", "2.png", "3.png"), "4.json": b"{"})
    assert labels_of(open_source(str(path), labeled=True)) == ["cat", None, None, "7"]
    assert open_source(str(path)).classes == ()


def test_a_file_of_labels_goes_before_those_beside_the_images(tmp_path: Path) -> None:
    path = write(tmp_path / "it.zip", {**named("d/0.png", "d/1.png"), "d/0.cls": b"9"})
    (tmp_path / "labels.csv").write_text("file,label\n1,dog\n")
    assert labels_of(open_source(str(path), labels_file=tmp_path / "labels.csv")) == [None, "dog"]


@pytest.mark.parametrize("kinds", [("input.png", "target.png"), ("jpg", "mask.png")])
def test_samples_of_several_images_are_refused(tmp_path: Path, kinds: tuple[str, str]) -> None:
    path = write(tmp_path / "it.tar", named(*(f"{index}.{kind}" for index in range(3) for kind in kinds)))
    with pytest.raises(DataError, match=rf"several images \({kinds[0]} and {kinds[1]}\)"):
        open_source(str(path))


def test_a_folder_of_tar_archives_is_read_as_one(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    for number in range(2):
        write(tmp_path / "plain" / f"{number:05d}.tar", named("0.png", "1.png"))
    # As img2dataset leaves it.
    (tmp_path / "plain" / "00000.parquet").write_bytes(b"PAR1")
    for source in (open_source(str(tmp_path / "plain")), open_source(str(tmp_path / "plain"), split="train")):
        assert source.file_names() == ["00000.tar/0.png", "00000.tar/1.png", "00001.tar/0.png", "00001.tar/1.png"]
        np.testing.assert_array_equal(read(source, [3, 0]), IMAGES[[1, 0]])
        assert len(source.fingerprint()) == 64
    (tmp_path / "named").mkdir()
    for name in ("set-train-0", "set-train-1", "set-val-0"):
        write(tmp_path / "named" / f"{name}.tar", {**named("0.png"), "0.cls": name[-5:].encode()})
    assert [len(open_source(str(tmp_path / "named"), split=split)) for split in ("train", "test")] == [2, 1]
    assert labels_of(open_source(str(tmp_path / "named"), split="train", labeled=True)) == ["ain-0", "ain-1"]


def test_a_member_of_a_zip_archive_without_a_name_is_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path / "it.zip", named("a.png", "b.png"))
    content = path.read_bytes().replace(b"a.png", b"/.png")
    start = content.index(b"PK\1\2")
    central = bytearray(content[start:])
    # No name in the directory at the end, which counts.
    central[28:30] = b"\0\0"
    del central[46:51]
    ends = central.index(b"PK\5\6")
    size = int.from_bytes(central[ends + 12 : ends + 16], "little") - 5
    central[ends + 12 : ends + 16] = size.to_bytes(4, "little")
    path.write_bytes(content[:start] + bytes(central))
    source = open_source(str(path))
    assert [image.content for image in source.fetch(range(len(source)))] == [png(IMAGES[1])]


def test_damaged_and_encrypted_zip_archives_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "it.zip", named("a.png", "b.png"))
    content = bytearray(path.read_bytes())
    path.write_bytes(content[:-30])
    with pytest.raises(DataError, match="is not a complete zip archive"):
        open_source(str(path))
    content[60] ^= 1
    path.write_bytes(content)
    source = open_source(str(path))
    assert [image.content for image in source.fetch([1])] == [png(IMAGES[1])]
    assert "a.png cannot be unpacked" in str(source.fetch([0])[0].content)
    at = content.index(b"PK\1\2")
    content[at + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="is encrypted"):
        open_source(str(path))
    with pytest.raises(DataError, match="There is no image in"):
        open_source(str(write(tmp_path / "none.zip", {"a.txt": b""})))


def test_encoded_images_may_be_a_plain_column_of_parquet(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="parquet files need the data extra")
    import pyarrow.parquet

    contents = {"other": [b""] * 6, "image": [png(image) for image in IMAGES], "label": [1, 0] * 3}
    table = pa.table(contents)
    pyarrow.parquet.write_table(table, tmp_path / "it.parquet")
    data = load_images(str(tmp_path / "it.parquet"), "train", height=6, width=5, channels=3)
    np.testing.assert_array_equal(data.images[:], IMAGES)
    assert data.labels.tolist() == [1, 0] * 3
    pyarrow.parquet.write_table(table.rename_columns(["other", "data", "label"]), tmp_path / "it.parquet")
    with pytest.raises(DataError, match=r"several columns of images \(other, data\)"):
        open_source(str(tmp_path / "it.parquet"))
