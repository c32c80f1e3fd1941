"""What the members of an archive are: images, their labels beside them, and folders that are splits or classes."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from igan_zoo.errors import DataError
from igan_zoo.images.files.kinds import is_image_name
from igan_zoo.images.findings import Findings
from igan_zoo.images.folders.layout import FolderTree, folders_of
from igan_zoo.images.folders.listing import add_other, is_system_path
from igan_zoo.images.label_lines import LABEL_COLUMNS
from igan_zoo.images.labels import number_labels
from igan_zoo.images.stored import Content, LabeledSource

# Members with the label of the image of the same name, as webdataset has them.
_LABELS = (".cls", ".json")
LONGEST_LABEL = 2**16


@dataclass
class Members:
    """The images of an archive in its order: their names, where each one is, and the labels that lie beside them."""

    names: list[str] = field(default_factory=list)
    places: list[tuple[int, int, int]] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    findings: Findings = field(default_factory=Findings)

    def takes(self, name: str, *, labeled: bool) -> bool:
        """Returns whether a member is to be read: an image, or with ``labeled`` its label; others are counted."""
        if is_system_path(name):
            self.findings.add("hidden or system file", "", name, expected=True)
        elif is_image_name(name) or (labeled and name.endswith(_LABELS)):
            return True
        else:
            add_other(self.findings, name)
        return False

    def add_label(self, name: str, content: bytes) -> None:
        """Takes the label of the sample ``name`` from the content of its ``.cls`` or ``.json`` file, if it has one."""
        text = content.decode("utf-8", "replace").strip()
        if name.endswith(".json"):
            try:
                found = json.loads(text)
            except (ValueError, RecursionError):
                return
            values = [found.get(key) for key in (*LABEL_COLUMNS, "cls")] if isinstance(found, dict) else []
            value = next((value for value in values if isinstance(value, int | str)), "")
            text = str(value)
        if text and text != "-1":
            self.labels[_sample(name)] = text


class ArchiveSource(LabeledSource):
    """The images of one or several archives, of which ``_members`` says where they are."""

    def __init__(self, paths: Sequence[Path], reference: str, members: Members) -> None:
        super().__init__(reference, paths)
        if not members.names:
            raise DataError(f"There is no image in {reference}.")
        self._members = members
        self._chosen: Sequence[int] = range(len(members.names))
        self.findings = members.findings.listed()

    def __len__(self) -> int:
        return len(self._chosen)

    def name(self, index: int) -> str:
        return self._members.names[self._chosen[index]]

    def file_names(self) -> Sequence[str]:
        return [self._members.names[index] for index in self._chosen]

    def arrange(self, split: str | None, labels_file: Path | None, *, labeled: bool, depth: int = 0) -> None:
        """Takes the images of ``split``, if folders in the archive are splits, and their labels.

        Labels are those of ``labels_file``, or else of files beside the images, or else the folders that they are in,
        without what all names have in common and their first ``depth`` parts.

        Raises:
            DataError: there is no such split, samples have several images each, the folders are no classes, or the file
                of labels is not as ``read_labels`` wants it.
        """
        names = self._members.names
        _refuse_several(self.reference, names)
        if labels_file is not None:
            self.read_labels(labels_file, self.reference)
            return
        inner = _without_common(["/".join(name.removeprefix("./").split("/")[depth:]) for name in names])
        tree = FolderTree(self.reference, folders_of(inner))
        prefixes = tree.prefixes(split) if tree.splits else ("",)
        self._chosen = [index for index, name in enumerate(inner) if name.startswith(prefixes)]
        if labeled and self._members.labels:
            samples = [_sample(name) for name in self.file_names()]
            self._labels, self.classes = number_labels(samples, self._members.labels)
        elif labeled:
            self._labels, self.classes = tree.labels([inner[index] for index in self._chosen], prefixes)

    def _contents(self, indices: Sequence[int]) -> Sequence[Content]:
        return [self._content(self._chosen[index]) for index in indices]

    @abstractmethod
    def _content(self, member: int) -> Content:
        """Returns the content of an image by its number among all images of the archives."""


def _sample(name: str) -> str:
    """Returns what the members of one sample have in common: their name up to the first dot."""
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.partition(".")[0]


def _refuse_several(reference: str, names: Sequence[str]) -> None:
    """Refuses samples that all have the same two or more images: an input and its target, say."""
    kinds: dict[str, set[str]] = {}
    for name in names:
        sample = _sample(name)
        kinds.setdefault(sample, set()).add(name[len(sample) :])
    first = next(iter(kinds.values()))
    if len(kinds) > 1 and len(first) > 1 and all(found == first for found in kinds.values()):
        listed = " and ".join(sorted(kind.removeprefix(".") for kind in first))
        raise DataError(f"Each sample of {reference} has several images ({listed}); make an archive of one kind.")


def _without_common(names: Sequence[str]) -> list[str]:
    """Returns names without the folders that all of them are in."""
    shared = list(names[0].split("/")[:-1])
    for name in names:
        parts = name.split("/")[:-1]
        same = next((at for at, (one, two) in enumerate(zip(shared, parts, strict=False)) if one != two), None)
        shared = shared[: min(len(shared), len(parts)) if same is None else same]
    prefix = "".join(f"{part}/" for part in shared)
    return [name.removeprefix(prefix) for name in names]
