"""The parts of a data set: what they are called, and which files of the Hub's layout belong to one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from igan_zoo.errors import DataError

# What a split may be called, best first: validation images may serve as the test split.
_NAMES = {
    "train": ("train", "training"),
    "test": ("test", "val", "validation", "valid"),
    "validation": ("validation", "val", "valid"),
    "val": ("val", "validation", "valid"),
}
SPLITS = {name for names in _NAMES.values() for name in names}
_PATTERNS = ("*.parquet", "*/*.parquet")


def split_names(split: str) -> tuple[str, ...]:
    """Returns what a split may be called, best first."""
    return _NAMES.get(split, (split,))


def choose_split(reference: str, splits: Iterable[str], split: str | None) -> str:
    """Returns the one of ``splits`` that is meant: ``split`` need not be given where there is only one.

    Raises:
        DataError: it is not among them, or not given.
    """
    known = sorted(set(splits))
    listed = ", ".join(known) or "none"
    if split is None and len(known) != 1:
        raise DataError(f"{reference} has the splits {listed}; say which one with --split.")
    for name in known if split is None else split_names(split):
        if name in known:
            return name
    raise DataError(f"{reference} has no split {split!r}; it has {listed}.")


def parquet_names(root: Path) -> list[str]:
    """Returns the parquet files in a directory and in those right below it, relative to it, sorted."""
    return sorted(path.relative_to(root).as_posix() for pattern in _PATTERNS for path in root.glob(pattern))


def files_by_split(reference: str, names: Sequence[str], split: str | None) -> tuple[list[str], list[str]]:
    """Returns which of the parquet files ``names`` are the split that is meant, and which are its folder's others.

    A split is the first word of the name of its files (``train-00000-of-00001.parquet``) or the folder that they are
    in.

    Raises:
        DataError: there is no such split, it has to be given, or several folders have one of that name.
    """
    splits: dict[str, list[str]] = {}
    for name in names:
        splits.setdefault(_split_of(PurePosixPath(name)), []).append(name)
    found = choose_split(reference, splits, split)
    chosen = splits[found]
    folders = sorted({_folder(name) for name in chosen})
    if len(folders) > 1:
        listed = ", ".join(folders)
        raise DataError(
            f"{reference} has the split {found!r} in several folders ({listed}); name one of them, written "
            f"{reference}:FOLDER."
        )
    return chosen, [name for name in names if name not in chosen and _folder(name) == folders[0]]


def _split_of(name: PurePosixPath) -> str:
    word = name.name.replace(".", "-").partition("-")[0]
    parent = name.parent.name
    return parent if parent and (parent in SPLITS or not word.isalpha()) else word


def _folder(name: str) -> str:
    """Returns the folder of a file without the one of its split."""
    path = PurePosixPath(name)
    parent = path.parent
    return str(parent.parent if parent.name and parent.name == _split_of(path) else parent)
