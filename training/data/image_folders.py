"""Folders of PNG and JPEG files: one folder a class, or flat with a CSV file of labels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from igan_zoo.errors import DataError
from igan_zoo.images.pixels import image_files
from igan_zoo.training.data.label_files import number_labels, read_labels
from igan_zoo.training.data.labelled_images import Picture, labelled_indices

_NAMES = {
    "train": ("train", "training"),
    "test": ("test", "val", "validation", "valid"),
    "validation": ("validation", "val", "valid"),
    "val": ("val", "validation", "valid"),
}
_SPLITS = {name for names in _NAMES.values() for name in names}
_UNLABELLED = {"unlabeled", "unlabelled"}


@dataclass(frozen=True)
class FolderListing:
    """Files relative to ``root`` in sorted order, with the label of each, int64 ``[N]``, or -1."""

    root: Path
    files: tuple[str, ...]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]

    @property
    def source(self) -> str:
        """The folder."""
        return str(self.root)

    def __len__(self) -> int:
        return len(self.files)

    def with_labels(self) -> FolderListing:
        """Returns the listing of the files that have a label.

        Raises:
            DataError: there are none.
        """
        known = labelled_indices(self.labels)
        return replace(self, files=tuple(self.files[index] for index in known), labels=self.labels[known])

    def pictures(self, start: int = 0) -> Iterator[Picture]:
        """Yields the files from index ``start`` on."""
        for file, label in zip(self.files[start:], self.labels[start:].tolist(), strict=True):
            yield Picture(file, self.root / file, label)

    def fingerprint(self) -> str:
        """Returns the sha256 over names, sizes and labels of the files."""
        digest = hashlib.sha256(repr(self.classes).encode())
        for file, label in zip(self.files, self.labels.tolist(), strict=True):
            # A name need not be UTF-8.
            line = f"{file}\0{(self.root / file).stat().st_size}\0{label}\n"
            digest.update(line.encode("utf-8", "surrogateescape"))
        return digest.hexdigest()


def list_folder(root: Path, split: str) -> FolderListing:
    """Lists ``root/SPLIT/CLASS/...`` or, when ``root`` has no folders of splits, ``root/CLASS/...`` as the split train.

    The class folders of all splits are the classes, in sorted order, so that every split numbers them alike; one named
    ``unlabeled`` or ``unlabelled`` holds images without a label. Without any class folder no image has a label.

    Raises:
        DataError: the split is missing, there is no image, images lie beside class folders, or such a folder is empty
            or has a name that is not UTF-8.
    """
    splits = _split_folders(root)
    prefix = _split_prefix(root, split, splits)
    files = _images_of(root, prefix)
    folders = _class_folders(root / prefix)
    loose = [file for file in files if "/" not in file[len(prefix) :]]
    if folders and loose:
        raise DataError(
            f"{root / loose[0]} lies beside class folders; move such images into a class folder or into one named "
            "unlabelled, or give a CSV file of labels."
        )
    owners = [file[len(prefix) :].partition("/")[0] for file in files]
    empty = sorted(folders - set(owners))
    if empty:
        raise DataError(f"The class folder {root / prefix / empty[0]} has no PNG or JPEG file; fill or remove it.")
    names = folders.union(*(_class_folders(root / name) for name in splits))
    classes = tuple(sorted(name for name in names if name.lower() not in _UNLABELLED))
    for name in classes:
        if any("\ud800" <= letter <= "\udfff" for letter in name):
            raise DataError(f"The name of the class folder {name!r} is not UTF-8; rename it.")
    index = {name: label for label, name in enumerate(classes)} if folders else {}
    labels = np.array([index.get(owner, -1) for owner in owners], np.int64)
    return FolderListing(root, tuple(files), labels, classes if folders else ())


def list_labelled_folder(root: Path, split: str, labels_file: Path) -> FolderListing:
    """Lists the images below ``root/SPLIT``, or below a ``root`` without splits, with the labels of a CSV file.

    The file names images relative to ``root``. Images that it does not name have no label, whatever their folder; its
    labels, sorted, are the classes of every split.

    Raises:
        DataError: the split or its images are missing, or the file is not as ``read_labels`` wants it.
    """
    splits = _split_folders(root)
    files = _images_of(root, _split_prefix(root, split, splits) if splits else "")
    labels, classes = number_labels(files, read_labels(labels_file, set(image_files(root)), str(root)))
    return FolderListing(root, tuple(files), labels, classes)


def split_names(split: str) -> tuple[str, ...]:
    """Returns what the folder of a split may be called, best first: validation images may serve as the test split."""
    return _NAMES.get(split, (split,))


def _images_of(root: Path, prefix: str) -> list[str]:
    files = [prefix + file for file in image_files(root / prefix)]
    if not files:
        raise DataError(f"There is no PNG or JPEG file in {root / prefix}, nor a data set in the Hub's layout.")
    return files


def _split_folders(root: Path) -> list[str]:
    """Returns the folders of ``root`` that are splits, sorted: none where one is a class that only sounds like it."""
    folders = _class_folders(root)
    splits = sorted(folders & _SPLITS)
    nested = any(_class_folders(root / name) for name in splits)
    return splits if nested or folders <= _SPLITS else []


def _split_prefix(root: Path, split: str, splits: list[str]) -> str:
    """Returns the folder of the split with a slash behind, or nothing when ``root`` itself is the split train."""
    for name in split_names(split):
        if name in splits:
            return f"{name}/"
    if splits:
        raise DataError(f"{root} has no split {split!r}; it has {', '.join(splits)}.")
    if split != "train":
        raise DataError(
            f"{root} has no split {split!r}: without the folders train and test in it all its images are training "
            "images; make these folders, or name the images in a file of labels."
        )
    return ""


def _class_folders(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")}
