"""Images in a folder of PNG and JPEG files: one folder a class, or flat with a CSV file of labels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from igan_zoo.errors import DataError
from igan_zoo.images.pixels import image_files
from igan_zoo.images.splits import SPLITS, split_names
from igan_zoo.images.stored import Content, LabeledSource
from igan_zoo.machine.files import sha256_of
from igan_zoo.machine.progress import Progress

_UNLABELED = {"unlabeled", "unlabelled"}


class FolderSource(LabeledSource):
    """Files relative to ``root``, in sorted order; a file of labels puts ``prefix`` before their names."""

    def __init__(self, root: Path, files: Sequence[str], prefix: str = "") -> None:
        super().__init__(str(root))
        self.root, self.files, self._prefix = root, files, prefix

    def __len__(self) -> int:
        return len(self.files)

    def name(self, index: int) -> str:
        return self.files[index]

    def file_names(self) -> Sequence[str]:
        return [self._prefix + file for file in self.files]

    def _contents(self, indices: Sequence[int]) -> Sequence[Content]:
        return [self.root / self.files[index] for index in indices]

    def fingerprint(self) -> str:
        """Returns the sha256 over the name and the sha256 of every file, all of which are read."""
        digest = hashlib.sha256()
        with Progress(f"checking {self.root}", len(self), unit="images") as progress:
            for file in self.files:
                try:
                    content = sha256_of(self.root / file)
                except OSError:
                    content = "unreadable"
                digest.update(f"{file}\0{content}\n".encode("utf-8", "surrogateescape"))
                progress.advance(1)
        return digest.hexdigest()


def open_folder(
    root: Path, split: str | None = None, *, labeled: bool = False, labels_file: Path | None = None
) -> FolderSource:
    """Lists the PNG and JPEG files anywhere below ``root``, as ``image_files`` does.

    A split is the folder of that name, or of one of its other names. A folder without splits is the split ``train``,
    unless ``labels_file`` says which of its images are meant; without ``split`` all images below it are.

    With ``labeled`` the class folders of all splits are the classes, in sorted order, so that every split numbers them
    alike; one named ``unlabeled`` or ``unlabelled`` holds images without a label. Without any class folder no image has
    a label. With ``labels_file`` the labels are those of the CSV file, which names images relative to ``root``; images
    that it does not name have none. Its labels, sorted, are the classes of every split.

    Raises:
        DataError: the split is missing, there is no image, a class folder is empty, images lie beside class folders,
            or the file of labels is not as ``read_labels`` wants it.
    """
    splits = split_folders(root)
    prefix = "" if split is None or (labels_file is not None and not splits) else _split_prefix(root, split, splits)
    files = image_files(root / prefix)
    if not files:
        raise DataError(f"There is no PNG or JPEG file in {root / prefix}, nor a data set in the Hub's layout.")
    source = FolderSource(root / prefix, files, prefix)
    if labels_file is not None:
        source.read_labels(labels_file, str(root), set(image_files(root)))
    elif labeled:
        source._labels, source.classes = _labels_by_folder(root, prefix, files, splits)
    return source


def _labels_by_folder(
    root: Path, prefix: str, files: Sequence[str], splits: Sequence[str]
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    folders = _class_folders(root / prefix)
    if not folders:
        return np.full(len(files), -1, np.int64), ()
    loose = [file for file in files if "/" not in file]
    if loose:
        raise DataError(
            f"{root / prefix / loose[0]} lies beside class folders; move such images into a class folder or into one "
            "named unlabeled, or give a CSV file of labels."
        )
    owners = [file.partition("/")[0] for file in files]
    empty = sorted(folders - set(owners))
    if empty:
        raise DataError(f"The class folder {root / prefix / empty[0]} has no PNG or JPEG file; fill or remove it.")
    names = folders.union(*(_class_folders(root / name) for name in splits))
    classes = tuple(sorted(name for name in names if name.lower() not in _UNLABELED))
    for name in classes:
        if any("\ud800" <= letter <= "\udfff" for letter in name):
            raise DataError(f"The name of the class folder {name!r} is not UTF-8; rename it.")
    index = {name: label for label, name in enumerate(classes)}
    return np.array([index.get(owner, -1) for owner in owners], np.int64), classes


def split_folders(root: Path) -> list[str]:
    """Returns the folders of ``root`` that are splits, sorted: none where one is a class that only sounds like it."""
    folders = _class_folders(root)
    splits = sorted(folders & SPLITS)
    nested = any(_class_folders(root / name) for name in splits)
    return splits if nested or folders <= SPLITS else []


def _split_prefix(root: Path, split: str, splits: Sequence[str]) -> str:
    """Returns the folder of the split with a slash behind, or nothing when ``root`` itself is the split train."""
    for name in split_names(split):
        if name in splits or (name not in SPLITS and (root / name).is_dir()):
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
