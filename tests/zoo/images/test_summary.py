"""What is said of a data set before any work: counts, formats, what was skipped, and duplicates."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from igan_zoo.images.sources import open_source
from igan_zoo.images.summary import inspect_images, log_summary

Cli = Callable[..., tuple[int, str, str]]


def save(path: Path, seed: int, **how: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (20, 30, 3), np.uint8)).save(path, **how)  # type: ignore[arg-type]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Cats and dogs in two parts, stray files, and one test photo that is a training photo in another format."""
    root = tmp_path / "photos"
    for number in range(3):
        save(root / "train" / "cat" / f"{number}.png", number)
        save(root / "train" / "unlabeled" / f"{number}.jpg", 20 + number)
    for number in range(2):
        save(root / "train" / "dog" / f"{number}.webp", 10 + number, lossless=True)
        save(root / "test" / "cat" / f"{number}.png", 30 + number)
    save(root / "test" / "dog" / "same.png", 11)
    (root / "train" / "dog" / "empty.png").write_bytes(b"")
    (root / "train" / "dog" / "page.jpg").write_bytes(b"<html>")
    (root / "train" / "dog" / "raw.nef").write_bytes(b"raw")
    (root / "train" / "Thumbs.db").write_bytes(b"x")
    return root


def test_truncated_photos_are_one_kind_of_unusable_images(tmp_path: Path) -> None:
    """However much is left of them: their lower part would be gray."""
    for number in range(3):
        save(tmp_path / f"{number}.jpg", number)
    for name, left in (("0.jpg", 0.9), ("1.jpg", 0.6)):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: int(left * len(content))])
    (found,) = inspect_images(str(tmp_path)).splits
    assert list(map(str, found.unusable or ())) == [
        "2 images whose file cannot be decoded: image file is truncated (0.jpg, 1.jpg)"
    ]


def test_every_file_of_a_folder_is_accounted_for(photos: Path) -> None:
    found = inspect_images(str(photos))
    train, test = found.splits
    assert (train.name, train.images, train.labeled, train.unlabeled) == ("train", 10, 7, 3)
    assert (train.classes, test.classes) == ({"cat": 3, "dog": 4}, {"cat": 2, "dog": 1})
    assert train.formats == {"PNG": 3, "JPEG": 3, "WEBP": 2, "unknown": 2}
    passed = {finding.reason: (finding.count, finding.expected) for finding in train.passed_over}
    assert passed[".nef images in an unsupported format"] == (1, False)
    assert passed["hidden or system files"] == (1, True)
    assert train.unusable is not None
    reasons = {finding.reason: finding.examples for finding in train.unusable}
    assert reasons["images whose file is empty"] == ("dog/empty.png",)
    assert any("is a web page" in reason for reason in reasons)
    assert sum(finding.count for finding in train.unusable) == 2
    assert test.unusable == ()


def test_a_link_to_nothing_is_a_missing_file(tmp_path: Path) -> None:
    save(tmp_path / "a.png", 1)
    (tmp_path / "b.png").symlink_to("nowhere.png")
    (part,) = inspect_images(str(tmp_path)).splits
    assert list(map(str, part.unusable or ())) == ["1 image whose file is missing (b.png)"]


def test_a_test_image_with_the_pixels_of_a_training_image_is_named(photos: Path) -> None:
    (duplicate,) = inspect_images(str(photos)).duplicates or ()
    assert (duplicate.reason, duplicate.count) == ("images of test with the pixels of one of train", 1)
    assert duplicate.examples == ("dog/same.png = dog/1.webp",)
    assert inspect_images(str(photos), decode=False).duplicates is None


def test_one_folder_and_one_archive_have_one_part(photos: Path, tmp_path: Path) -> None:
    (found,) = inspect_images(str(photos / "train")).splits
    assert (found.name, found.classes) == ("all", {"cat": 3, "dog": 4})
    np.savez(tmp_path / "a.npz", images=np.zeros((4, 5, 6, 3), np.uint8))
    (found,) = inspect_images(str(tmp_path / "a.npz")).splits
    assert (found.images, found.unlabeled, found.formats) == (4, 4, {})


def test_a_line_says_it_before_work(photos: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        log_summary(open_source(str(photos), split="train", labeled=True), "train")
    assert caplog.messages == [
        "train: 10 images (PNG 3, JPEG 3, WEBP 2, unknown 2); 2 classes: cat 3, dog 4; 3 without a label",
        "Ignored: 1 hidden or system file (Thumbs.db)",
        "Passed over: 1 .nef image in an unsupported format (dog/raw.nef)",
    ]


def test_inspect_prints_a_table_json_and_a_page(igan_zoo: Cli, photos: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.png"
    code, out, _ = igan_zoo("inspect", photos, "--page", page)
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    for row in (["train", "cat", "3"], ["dog", "4"], ["without", "a", "label", "3"], ["test", "cat", "2"]):
        assert row in lines
    assert "duplicates: 1 image of test with the pixels of one of train (dog/same.png = dog/1.webp)" in out
    assert "  skipped: 1 image whose file is empty (dog/empty.png)" in out
    with Image.open(page) as picture:
        assert picture.width == 6 * 212
        assert picture.height > 5 * 200, "a row for each class of each part, and one for those without a label"
    assert "already exists; choose another --page" in igan_zoo("inspect", photos, "--page", page)[2]
    code, _, errors = igan_zoo("inspect", photos, "--page", tmp_path / "page.jpg")
    assert (code, "page.jpg in .png" in errors) == (2, True)

    found = json.loads(igan_zoo("inspect", photos, "--json", "--quick")[1])
    assert found["parts"][0]["classes"] == {"cat": 3, "dog": 4}
    assert (found["parts"][0]["unusable"], found["duplicates"]) == (None, None)
    code, _, errors = igan_zoo("inspect", tmp_path / "nothing")
    assert (code, "There are no images at" in errors) == (1, True)
