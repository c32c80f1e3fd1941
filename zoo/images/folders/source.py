"""Images in a folder: one folder a class, or flat with a CSV file of labels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from igan_zoo.errors import DataError
from igan_zoo.images.files.kinds import FORMATS
from igan_zoo.images.findings import Finding
from igan_zoo.images.folders.layout import FolderTree
from igan_zoo.images.folders.listing import image_files, is_system_name, list_images
from igan_zoo.images.stored import Content, LabeledSource
from igan_zoo.machine.files import sha256_of
from igan_zoo.machine.progress import Progress


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
    """Lists the images anywhere below ``root``, as ``list_images`` does.

    A split is the folder of that name, or of one of its other names; images in a folder ``unlabeled`` beside the splits
    are training images, too. A folder without splits is the split ``train``, unless ``labels_file`` says which of its
    images are meant; without ``split`` all images below it are.

    With ``labeled`` the class folders of all splits are the classes, numbers in their order and other names sorted, so
    that every split numbers them alike; one named ``unlabeled`` or the like holds images without a label. Without any
    class folder no image has a label. With ``labels_file`` the labels are those of the CSV file, which names images
    relative to ``root``; images that it does not name have none. Its labels are the classes of every split.

    Raises:
        DataError: the split is missing, there is no image, a class folder is empty, images lie beside class folders,
            the folders cannot be classes, or the file of labels is not as ``read_labels`` wants it.
    """
    tree = _tree(root)
    prefixes = ("",) if labels_file is not None and not tree.splits else tree.prefixes(split)
    listings = [list_images(root / prefix) for prefix in prefixes]
    files = [prefix + file for prefix, listing in zip(prefixes, listings, strict=True) for file in listing.files]
    findings = [finding for listing in listings for finding in listing.findings]
    if beside := tree.beside(prefixes) if split is not None else []:
        findings.append(Finding("folder", " next to the splits, not read", len(beside), tuple(beside[:3])))
    if not files:
        unread = "".join(f"; it has {finding}" for finding in findings if not finding.expected)
        raise DataError(
            f"There is no image in {root / prefixes[0]} ({FORMATS}), nor a data set in the Hub's layout{unread}."
        )
    # With one folder a file is called by its name in it.
    prefix = prefixes[0] if len(prefixes) == 1 else ""
    source = FolderSource(root / prefix, [file.removeprefix(prefix) for file in files], prefix)
    source.findings = tuple(findings)
    if labels_file is not None:
        source.read_labels(labels_file, str(root), set(image_files(root)))
    elif labeled:
        source._labels, source.classes = tree.labels(files, prefixes)
    return source


def split_folders(root: Path) -> list[str]:
    """Returns the folders of ``root`` that are splits, sorted: none where one is a class that only sounds like it."""
    return _tree(root).splits


def _tree(root: Path) -> FolderTree:
    return FolderTree(str(root), lambda prefix: _subfolders(root / prefix))


def _subfolders(folder: Path) -> set[str]:
    """Returns the folders that may be splits or classes: none that img2dataset numbered beside its statistics."""
    if not folder.is_dir():
        return set()
    names = {path.name for path in folder.iterdir() if path.is_dir() and not is_system_name(path.name)}
    return {name for name in names if not (folder / f"{name}_stats.json").exists()}
