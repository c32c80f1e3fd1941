"""Label files as spreadsheets, pandas and other programs write them."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from igan_zoo.errors import DataError
from igan_zoo.images.labels import FileLabels, number_labels, read_labels

KNOWN = {"IMG_0000.jpg", "IMG_0001.jpg", "sub dir/x0.jpg", "a/0.png", "b/0.png", "c/only.PNG", "Ünï.jpg", "7.jpg"}


def read(folder: Path, text: str | bytes, known: set[str] = KNOWN) -> FileLabels:
    path = folder / "labels.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_labels(path, known, "photos")


TWO = {"IMG_0000.jpg": "cat", "IMG_0001.jpg": "dog"}


@pytest.mark.parametrize(
    "header",
    [
        *("file_name,label", "id,label", "image_id,labels", "Filename,Category", "Image Path,class name", "path,Class"),
        *("file;label", "file\tlabel", "file|label"),
    ],
)
def test_the_header_and_the_delimiter_are_found(tmp_path: Path, header: str) -> None:
    delimiter = next(letter for letter in ",;\t|" if letter in header)
    rows = "IMG_0000.jpg,cat\nIMG_0001.jpg,dog\n".replace(",", delimiter)
    assert read(tmp_path, f"{header}\n{rows}").labels == TWO


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_the_encoding_is_found(tmp_path: Path, encoding: str, caplog: pytest.LogCaptureFixture) -> None:
    found = read(tmp_path, "file,label\nIMG_0000.jpg,café\nÜnï.jpg,dog\n".encode(encoding))
    assert found.labels == {"IMG_0000.jpg": "café", "Ünï.jpg": "dog"}
    assert ("reading it as Windows-1252" in caplog.text) == (encoding == "cp1252")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("sub dir\\x0.jpg", "sub dir/x0.jpg"),
        ("IMG_0000", "IMG_0000.jpg"),
        ("img_0000.JPG", "IMG_0000.jpg"),
        ("IMG_0000.png", "IMG_0000.jpg"),
        ("/home/me/photos/IMG_0000.jpg", "IMG_0000.jpg"),
        ("C:\\photos\\a\\0.png", "a/0.png"),
        ("data/a/0.png", "a/0.png"),
        ("../photos/b/0.png", "b/0.png"),
        ("x0.jpg", "sub dir/x0.jpg"),
        ("only.png", "c/only.PNG"),
        (unicodedata.normalize("NFD", "Ünï.jpg"), "Ünï.jpg"),
        ("7", "7.jpg"),
    ],
)
def test_a_name_is_accepted_where_one_image_is_meant(
    tmp_path: Path, written: str, meant: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "igan_zoo")
    found = read(tmp_path, f"file,label\n{written},cat\n")
    assert found.labels == {meant: "cat"}
    looks_the_same = "\\x0" in written or unicodedata.normalize("NFC", written) == meant
    assert ("1 name written otherwise than in photos" in caplog.text) != looks_the_same


def test_the_name_as_it_is_goes_first(tmp_path: Path) -> None:
    known = {"a.jpg", "A.jpg", "a.png", "sub\\a.jpg", "sub/a.jpg"}
    for name in known:
        assert read(tmp_path, f"file,label\n{name},cat\n", known).labels == {name: "cat"}


def test_empty_rows_and_words_for_no_label_are_passed_over_and_said(tmp_path: Path) -> None:
    rows = "IMG_0000.jpg,cat\n\n,,\nIMG_0001.jpg,NaN\n7.jpg,unlabeled\na/0.png,\nb/0.png,Unknown\n"
    found = read(tmp_path, f"file,label,note\n{rows}")
    assert found.labels == {"IMG_0000.jpg": "cat"}
    assert {finding.reason.split()[6].rstrip(",") for finding in found.findings} == {"NaN", "unlabeled", "Unknown"}
    assert not any(finding.expected for finding in found.findings)


def test_minus_one_and_gaps_of_pandas_are_no_class(tmp_path: Path) -> None:
    found = read(tmp_path, "file,label\nIMG_0000.jpg,1.0\nIMG_0001.jpg,10.0\n7.jpg,-1.0\na/0.png,nan\n")
    assert found.labels == {"IMG_0000.jpg": "1", "IMG_0001.jpg": "10"}


def test_classes_that_are_numbers_are_in_numeric_order() -> None:
    assert number_labels(["a", "b", "c"], {"a": "10", "b": "2", "c": "0"})[1] == ("0", "2", "10")
    assert number_labels(["a", "b"], {"a": "10", "b": "2x"})[1] == ("10", "2x")


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ("IMG_0000.jpg,Truck\nIMG_0001.jpg,truck\n", r"the classes 'Truck' and 'truck', which differ only in case"),
        ('IMG_0000.jpg,"truck;golf"\n', r"Line 2 of .* gives 'IMG_0000\.jpg' several labels \(truck;golf\)"),
        (
            "IMG_000.jpg,cat\n",
            r"names 'IMG_000\.jpg', but there is no such image in photos; did you mean IMG_000.\.jpg\?",
        ),
        ("zzz,cat\n", r"names 'zzz', but there is no such image in photos\.$"),
        ("0.png,cat\n", r"names '0\.png', which may be a/0\.png, b/0\.png; write the folder"),
        ("IMG_0000.jpg,cat\nimg_0000,cat\n", r"'img_0000' and an earlier one 'IMG_0000\.jpg', which both mean"),
        (",cat\n", "Line 2 of .* names no image"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, rows: str, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        read(tmp_path, f"file,label\n{rows}")
