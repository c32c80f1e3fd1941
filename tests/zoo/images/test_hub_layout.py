"""Which parquet files are a split of a data set in the Hub's layout."""

from __future__ import annotations

from pathlib import Path

import pytest

from igan_zoo.errors import DataError
from igan_zoo.images.hub_layout import has_hub_layout, parquet_files


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
        (["plain/train-1.parquet", "plain/train-0.parquet"], None, [1, 0]),
        (["train-0.parquet", "deep/deeper/train-1.parquet"], "train", [0]),
    ],
)
def test_a_split_is_found_by_file_or_folder_name(
    tmp_path: Path, names: list[str], split: str | None, found: list[int]
) -> None:
    root = touch(tmp_path, *names)
    assert has_hub_layout(root)
    assert parquet_files(root, split) == [root / names[index] for index in found]


def test_a_split_that_is_missing_or_not_clear_is_refused(tmp_path: Path) -> None:
    root = touch(tmp_path, "a/train-0.parquet", "b/train-0.parquet", "a/test-0.parquet")
    with pytest.raises(DataError, match="has the splits test, train; say which one"):
        parquet_files(root)
    with pytest.raises(DataError, match="no split 'val'; it has test, train"):
        parquet_files(root, "val")
    with pytest.raises(DataError, match=r"several folders \(a, b\)"):
        parquet_files(root, "train")
    assert not has_hub_layout(root / "none")
