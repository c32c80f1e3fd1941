"""The parts of a data set: what they are called, and which files of the Hub's layout belong to one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from igan_zoo.errors import DataError

# What splits are called, the usual name first; a word such as set or data may follow.
_KINDS = {
    "train": ("train", "training"),
    "test": ("test", "testing", "eval", "evaluation"),
    "validation": ("validation", "val", "valid", "dev"),
}
_ENDING = re.compile(r"[ _-]?(set|data|images|split)$")


def split_kind(name: str) -> str | None:
    """Returns whether a name means ``train``, ``test`` or ``validation``, in any case: ``Training_set``; else None."""
    word = _ENDING.sub("", name.lower())
    return next((kind for kind, words in _KINDS.items() if word in words), None)


def means_split(name: str, split: str) -> bool:
    """Returns whether ``name`` is the split that is asked for: validation images may serve as the test split."""
    kind, wanted = split_kind(name), split_kind(split)
    return name == split or (kind is not None and (kind == wanted or (kind, wanted) == ("validation", "test")))


def choose_split(reference: str, splits: Iterable[str], split: str | None) -> str:
    """Returns the one of ``splits`` that is meant: ``split`` need not be given where there is only one.

    Raises:
        DataError: it is not among them, not given, or two have the same meaning.
    """
    known = sorted(set(splits))
    listed = ", ".join(known) or "none"
    if split is None and len(known) != 1:
        raise DataError(f"{reference} has the splits {listed}; choose one with --split.")
    if split is None or split in known:
        return split or known[0]
    found = [name for name in known if means_split(name, split)]
    same = [name for name in found if split_kind(name) == split_kind(split)] or found
    if not found:
        raise DataError(f"{reference} has no split {split!r}; it has {listed}.")
    if len(same) > 1 and split_kind(split) == "train":
        raise DataError(f"{reference} has {' and '.join(same)}, which both mean {split}; rename or move one of them.")
    return min(same, key=_usual)


def _usual(name: str) -> tuple[int, str]:
    words = [word for words in _KINDS.values() for word in words]
    word = _ENDING.sub("", name.lower())
    return (words.index(word) if word in words else len(words)), name


def shard_names(root: Path, suffix: str) -> list[str]:
    """Returns the files with a suffix in a directory and in those right below it, relative to it, sorted."""
    return sorted(path.relative_to(root).as_posix() for top in ("", "*/") for path in root.glob(f"{top}*{suffix}"))


def files_by_split(reference: str, names: Sequence[str], split: str | None) -> tuple[list[str], list[str]]:
    """Returns which of the files ``names`` are the split that is meant, and which are its folder's others.

    A split is the first word of the name of its files (``train-00000-of-00001.parquet``), or one that is known, or the
    folder that they are in. Where none is known, and files are numbered or share a word, all are the split ``train``.

    Raises:
        DataError: there is no such split, it has to be given, or several folders have one of that name.
    """
    splits: dict[str, list[str]] = {}
    for name in names:
        splits.setdefault(_split_of(PurePosixPath(name)), []).append(name)
    one = len(splits) == 1 or not any(name[:1].isalpha() for name in splits)
    if one and split not in splits and not any(map(split_kind, splits)) and split_kind(split or "train") == "train":
        return list(names), []
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
    words = name.name.replace(".", "-").split("-")
    word = next((word for word in words if split_kind(word)), words[0])
    parent = name.parent.name
    return parent if parent and (split_kind(parent) or not word.isalpha()) else word


def _folder(name: str) -> str:
    """Returns the folder of a file without the one of its split."""
    path = PurePosixPath(name)
    parent = path.parent
    return str(parent.parent if parent.name and parent.name == _split_of(path) else parent)
