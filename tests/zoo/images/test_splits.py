"""Which parquet files are a split of a data set in the Hub's layout."""

from __future__ import annotations

from pathlib import Path

import pytest

from igan_zoo.errors import DataError
from igan_zoo.images.splits import choose_split, files_by_split, shard_names


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


@pytest.mark.parametrize(
    ("names", "split", "found"),
    [
        (["train-00001-of-00002.parquet", "train-00000-of-00002.parquet"], "train", [1, 0]),
        (["data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"], "test", [1]),
        (["train.parquet", "test.parquet"], "train", [0]),
        (["train/0000.parquet", "train/0001.parquet", "test/0000.parquet"], "train", [0, 1]),
        (["all.parquet"], None, [0]),
        (["data-1.parquet", "data-0.parquet"], "train", [1, 0]),
        (["00001.parquet", "00000.parquet"], None, [1, 0]),
        (["00000.parquet", "00001.parquet"], "train", [0, 1]),
        (["set-train-0.parquet", "set-val-0.parquet"], "test", [1]),
        (["plain/train-1.parquet", "plain/train-0.parquet"], None, [1, 0]),
        (["train-0.parquet", "deep/deeper/train-1.parquet"], "train", [0]),
    ],
)
def test_a_split_is_found_by_file_or_folder_name(
    tmp_path: Path, names: list[str], split: str | None, found: list[int]
) -> None:
    root = touch(tmp_path, *names)
    chosen, others = files_by_split(str(root), shard_names(root, ".parquet"), split)
    assert chosen == [names[index] for index in found]
    assert not set(chosen) & set(others)


def test_a_split_that_is_missing_or_not_clear_is_refused() -> None:
    names = ["a/test-0.parquet", "a/train-0.parquet", "b/train-0.parquet"]
    with pytest.raises(DataError, match="has the splits test, train; choose one"):
        files_by_split("it", names, None)
    for other in (["de-0.parquet", "en-0.parquet"], ["00000.parquet", "00001.parquet"]):
        with pytest.raises(DataError, match="no split 'test'; it has"):
            files_by_split("it", other, "test")
    with pytest.raises(DataError, match="no split 'train'; it has de, en"):
        files_by_split("it", ["de-0.parquet", "en-0.parquet"], "train")
    with pytest.raises(DataError, match="no split 'val'; it has test, train"):
        files_by_split("it", names, "val")
    with pytest.raises(DataError, match=r"several folders \(a, b\); name one of them, written it:FOLDER"):
        files_by_split("it", names, "train")


def test_the_folders_that_the_hub_makes_of_other_formats_are_configurations() -> None:
    names = ["large/test/0000.parquet", "large/train/0000.parquet", "large/train/0001.parquet"]
    assert files_by_split("it", names, "train") == (names[1:], names[:1])
    with pytest.raises(DataError, match=r"several folders \(large, small\)"):
        files_by_split("it", [*names, "small/train/0000.parquet"], "train")


@pytest.mark.parametrize(
    ("split", "splits", "chosen"),
    [
        ("test", ["train", "val"], "val"),
        ("test", ["validation", "valid"], "validation"),
        ("test", ["val", "test"], "test"),
        ("train", ["training"], "training"),
        ("val", ["validation"], "validation"),
        ("extra", ["extra", "train"], "extra"),
        ("train", ["Training_set", "Test"], "Training_set"),
        ("test", ["TRAIN", "dev-data"], "dev-data"),
        ("test", ["eval", "val"], "eval"),
        (None, ["extra"], "extra"),
    ],
)
def test_a_split_has_several_names(split: str | None, splits: list[str], chosen: str) -> None:
    assert choose_split("it", splits, split) == chosen
