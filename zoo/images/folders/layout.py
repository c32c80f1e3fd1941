"""What the folders around images mean: which part of a data set they are, and which class.

Names are relative to one place with ``/`` between, on a disk or in an archive.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from igan_zoo.errors import DataError
from igan_zoo.images.labels import refuse_odd_classes, sorted_classes
from igan_zoo.images.splits import choose_split, means_split, split_kind

_UNLABELED = re.compile(r"un-?labell?ed([ _-].*)?|unsup(ervised)?|unknown", re.IGNORECASE)


def means_unlabeled(folder: str) -> bool:
    """Returns whether a folder of this name holds images without a label, and is no class."""
    return _UNLABELED.fullmatch(folder) is not None


class FolderTree:
    """The folders of ``place``, of which ``subfolders`` names those right below a prefix (``""``, ``"train/"``).

    ``splits`` are those at the top that are parts of the data set, sorted: none where one is a class that only sounds
    like it. A folder of unlabeled images beside them belongs to the part ``train``.
    """

    def __init__(self, place: str, subfolders: Callable[[str], set[str]]) -> None:
        self.place, self._subfolders = place, subfolders
        self._top = subfolders("")
        named = sorted(name for name in self._top if split_kind(name))
        nested = any(subfolders(f"{name}/") for name in named)
        rest = {name for name in self._top - set(named) if not means_unlabeled(name)}
        self.splits = named if nested or not rest else []
        self._unlabeled = sorted(name for name in self._top if means_unlabeled(name)) if self.splits else []

    def prefixes(self, split: str | None) -> tuple[str, ...]:
        """Returns the folders of a split with a slash behind; ``("",)`` where all of ``place`` is it.

        Raises:
            DataError: there is no such split.
        """
        if split is None:
            return ("",)
        if split in self._top and split not in self.splits and (not split_kind(split) or self.splits):
            return (f"{split}/",)
        if self.splits:
            chosen = choose_split(self.place, self.splits, split)
            unlabeled = self._unlabeled if split_kind(chosen) == "train" else []
            return (f"{chosen}/", *(f"{name}/" for name in unlabeled))
        if not means_split("train", split):
            raise DataError(
                f"{self.place} has no split {split!r}: without the folders train and test in it all its images are "
                "training images; make these folders, or name the images in a file of labels."
            )
        return ("",)

    def beside(self, prefixes: Sequence[str]) -> list[str]:
        """Returns the folders at the top that are neither a split nor among ``prefixes``, where there are splits."""
        known = {*self.splits, *self._unlabeled, *(prefix.rstrip("/") for prefix in prefixes)}
        return sorted(self._top - known) if self.splits else []

    def labels(self, files: Sequence[str], prefixes: Sequence[str]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """Returns the label of each file below ``prefixes``, int64 ``[N]`` with -1 for none, and the classes.

        The class folders of all splits are the classes, so that every split numbers them alike.

        Raises:
            DataError: a class folder is empty, images lie beside class folders, or the folders are no classes.
        """
        main = prefixes[0]
        inside = [file.removeprefix(main) for file in files if file.startswith(main)]
        folders = {name for name in self._subfolders(main) if main or name not in self._unlabeled}
        classes = {name for name in folders if not means_unlabeled(name)}
        if not classes:
            return np.full(len(files), -1, np.int64), ()
        self._check(main, inside, folders, classes)
        for name in self.splits:
            classes |= {folder for folder in self._subfolders(f"{name}/") if not means_unlabeled(folder)}
        refuse_odd_classes(classes, f"The folders of {self.place}")
        known = sorted_classes(classes)
        index = {name: label for label, name in enumerate(known)}
        owners = [file.removeprefix(main).partition("/")[0] if file.startswith(main) else "" for file in files]
        return np.array([index.get(owner, -1) for owner in owners], np.int64), known

    def _check(self, main: str, inside: Sequence[str], folders: set[str], classes: set[str]) -> None:
        """Checks the files below one prefix, relative to it, against the folders there."""
        where = f"{self.place}/{main}"
        loose = next((file for file in inside if "/" not in file), None)
        if loose is not None:
            raise DataError(
                f"{where}{loose} is next to class folders; move such images into a class folder or into one named "
                "unlabeled, or give a CSV file of labels."
            )
        empty = sorted(folders - {file.partition("/")[0] for file in inside})
        if empty:
            raise DataError(f"The class folder {where}{empty[0]} has no image; fill or remove it.")
        below: dict[str, set[str]] = {name: set() for name in classes}
        for file in inside:
            owner, _, rest = file.partition("/")
            if owner in below:
                below[owner].add(rest.partition("/")[0] if "/" in rest else "")
        same = below[min(classes)]
        if len(classes) > 1 and len(same) > 1 and "" not in same and all(names == same for names in below.values()):
            raise DataError(
                f"The folders {_listed(classes)} of {self.place} have the same folders inside ({_listed(same)}), so "
                "that they cannot be the classes; call them train and test if they are parts of the data, or give a "
                "CSV file of labels."
            )


def folders_of(files: Sequence[str]) -> Callable[[str], set[str]]:
    """Returns what ``FolderTree`` asks for, from the names of files alone, as an archive has them."""

    def subfolders(prefix: str) -> set[str]:
        inside = (file[len(prefix) :] for file in files if file.startswith(prefix))
        return {file.partition("/")[0] for file in inside if "/" in file}

    return subfolders


def _listed(names: set[str]) -> str:
    shown = sorted(names)
    return ", ".join(shown[:5]) + (", ..." if len(shown) > 5 else "")
