"""Data sets of the Hugging Face Hub and local copies in their layout, through ``datasets``."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from igan_zoo.errors import DataError, MissingExtraError, first_line
from igan_zoo.training.data.label_files import number_labels, read_labels
from igan_zoo.training.data.labelled_images import Picture

# Configurations that are meant when none is named.
_CONFIGURATIONS = {"ufldl-stanford/svhn": "cropped_digits"}
_LABEL_COLUMNS = ("label", "labels", "class", "fine_label")
_ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class HubListing:
    """Rows of ``datasets`` whose images are still encoded, and their labels, int64 ``[N]``."""

    source: str
    rows: Any
    image_column: str
    labels: NDArray[np.int64]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def pictures(self, start: int = 0) -> Iterator[Picture]:
        """Yields the rows from index ``start`` on."""
        for first in range(start, len(self), _ROWS_AT_ONCE):
            images = self.rows[first : first + _ROWS_AT_ONCE][self.image_column]
            for index, image in enumerate(images, start=first):
                yield _picture(self.source, index, image, int(self.labels[index]))

    def fingerprint(self) -> str:
        """Returns the sha256 over the classes and the labels."""
        digest = hashlib.sha256(f"{len(self)}\0{self.classes!r}\0".encode())
        digest.update(self.labels.tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class HubStream:
    """Rows of ``datasets`` that arrive one after the other from parquet ``files``, ``count`` in all."""

    source: str
    rows: Any
    image_column: str
    label_column: str | None
    classes: tuple[str, ...]
    count: int
    files: tuple[str, ...]

    def __len__(self) -> int:
        return self.count

    def pictures(self, start: int = 0) -> Iterator[Picture]:
        """Yields the rows from index ``start`` on.

        Raises:
            DataError: the stream breaks.
        """
        index = start
        try:
            for index, row in enumerate(self.rows.skip(start), start=start):
                label = row[self.label_column] if self.label_column is not None else None
                yield _picture(self.source, index, row[self.image_column], -1 if label is None else label)
        except Exception as error:
            # The network, the Hub and the parquet reader each have errors of their own.
            raise DataError(
                f"Reading {self.source} broke off after image {index} ({first_line(error).rstrip('.')}); "
                "the same command goes on."
            ) from error

    def fingerprint(self) -> str:
        """Returns the sha256 over the files, whose addresses on the Hub have their revision, and the classes."""
        sizes = [Path(file).stat().st_size if Path(file).is_file() else None for file in self.files]
        return hashlib.sha256(repr((self.files, sizes, self.count, self.classes)).encode()).hexdigest()


def _picture(source: str, index: int, image: dict[str, Any] | None, label: int) -> Picture:
    image = image or {"bytes": b"", "path": None}
    content = Path(image["path"]) if image["bytes"] is None else image["bytes"]
    return Picture(f"Image {index} of {source}", content, label)


def list_hub_data(source: str, split: str, labels_file: Path | None = None) -> HubListing:
    """Lists a split of a Hub id (``ylecun/mnist``, ``owner/name:configuration``) or of a directory in that layout.

    The image column is found by its type. Labels are a ClassLabel column, else a column of strings or integers named
    label, labels, class or fine_label, whose sorted values are the classes; without either no image has a label.
    ``labels_file`` goes before them: its CSV names images by the paths stored with them, or else by row numbers.

    Raises:
        DataError: the source, the configuration, the split or the image column is missing, or the split is empty.
        MissingExtraError: ``datasets`` is not installed.
    """
    datasets = _datasets()
    splits = _load(source, datasets.load_dataset)
    if split not in splits:
        raise DataError(f"{source} has no split {split!r}; it has {', '.join(splits)}.")
    rows = splits[split]
    if len(rows) == 0:
        raise DataError(f"The split {split!r} of {source} is empty.")
    image_column = _column_of(rows.features, datasets.Image)
    if image_column is None:
        raise DataError(f"{source} has no column of images; it has {', '.join(rows.features)}.")
    rows = rows.select_columns([image_column]).cast_column(image_column, datasets.Image(decode=False))
    if labels_file is None:
        labels, classes = _labels(splits, split)
    else:
        names = [image["path"] or str(index) for index, image in enumerate(rows[image_column])]
        labels, classes = number_labels(names, read_labels(labels_file, set(names), source))
    return HubListing(source, rows, image_column, labels, classes)


def stream_hub_data(source: str, split: str) -> HubStream | None:
    """Lists what ``list_hub_data`` does without copying the data to the cache of ``datasets`` first.

    Returns nothing where that cannot be: the files are no parquet files, the data set does not say how many images the
    split has, or the labels have to be read to know the classes.

    Raises:
        DataError, MissingExtraError: as ``list_hub_data``.
    """
    datasets = _datasets()
    builder = _load(source, datasets.load_dataset_builder)
    files = tuple(map(str, (builder.config.data_files or {}).get(split, ())))
    expected = (builder.info.splits or {}).get(split)
    features = builder.info.features
    if features is None or expected is None or not files or not all(file.endswith(".parquet") for file in files):
        return None
    image_column = _column_of(features, datasets.Image)
    label_column = _column_of(features, datasets.ClassLabel)
    if image_column is None or (label_column is None and any(name in features for name in _LABEL_COLUMNS)):
        return None
    columns = [name for name in (image_column, label_column) if name is not None]
    rows = builder.as_streaming_dataset(split=split).select_columns(columns)
    rows = rows.cast_column(image_column, datasets.Image(decode=False))
    classes = () if label_column is None else tuple(map(str, features[label_column].names))
    return HubStream(source, rows, image_column, label_column, classes, expected.num_examples, files)


def _datasets() -> Any:
    try:
        import datasets
    except ImportError:
        raise MissingExtraError("Reading data sets needs the data extra: pip install 'igan-zoo[data]'.") from None
    return datasets


def _column_of(features: Any, kind: type) -> str | None:
    return next((str(name) for name, feature in features.items() if isinstance(feature, kind)), None)


def _load(source: str, load: Callable[..., Any]) -> Any:
    datasets = _datasets()
    name, configuration = _locate(source)
    try:
        return load(name, configuration)
    except ValueError as error:
        reason = first_line(error)
        if "onfig" in reason:
            raise DataError(f"{source} needs a configuration, written {name}:CONFIGURATION: {reason}") from error
        raise DataError(f"Cannot load {source}: {reason}") from error
    except (OSError, datasets.exceptions.DatasetsError) as error:
        reason = first_line(error).rstrip(".")
        raise DataError(f"Cannot load {source} ({reason}); check name and network, or give a folder.") from error


def _locate(source: str) -> tuple[str, str | None]:
    """Splits ``name:configuration`` into what ``datasets`` is to load, and which configuration of it.

    A configuration of a directory is the folder of that name in it.

    Raises:
        DataError: the name is neither an existing directory nor a Hub id.
    """
    name, _, configuration = (source, "", "") if Path(source).exists() else source.partition(":")
    if Path(name).exists():
        folder = Path(name) / configuration if configuration else Path(name)
        for usual in _CONFIGURATIONS.values():
            folder = folder / usual if (folder / usual).is_dir() else folder
        return str(folder), None
    if name.count("/") != 1:
        raise DataError(f"There is no data at {source}: give a folder, or a Hub id such as ylecun/mnist.")
    return name, configuration or _CONFIGURATIONS.get(name.lower())


def _labels(splits: Any, split: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Returns the labels of a split and the names of the classes, which all splits together have."""
    rows = splits[split]
    named = _column_of(rows.features, _datasets().ClassLabel)
    if named is not None:
        labels = np.array([-1 if value is None else value for value in rows[named][:]], np.int64)
        return labels, tuple(map(str, rows.features[named].names))
    column = next((name for name in _LABEL_COLUMNS if name in rows.features), None)
    if column is None or not _is_plain(rows.features[column]):
        return np.full(len(rows), -1, np.int64), ()
    known = {value for part in splits.values() if column in part.features for value in part[column][:]} - {None}
    index = {value: label for label, value in enumerate(sorted(known))}
    labels = np.array([index.get(value, -1) for value in rows[column][:]], np.int64)
    return labels, tuple(map(str, index))


def _is_plain(kind: Any) -> bool:
    dtype = str(getattr(kind, "dtype", ""))
    return dtype in ("string", "large_string", "bool") or dtype.startswith(("int", "uint"))
