"""Which kind of source it is, and the list of its images."""

from __future__ import annotations

from pathlib import Path

from igan_zoo.errors import DataError
from igan_zoo.training.data.hub_data import list_hub_data, stream_hub_data
from igan_zoo.training.data.image_folders import list_folder, list_labelled_folder
from igan_zoo.training.data.labelled_images import Listing
from igan_zoo.training.data.svhn_files import has_svhn_files, list_svhn


def list_images(source: str, split: str, *, labels_file: Path | None = None, stream: bool = False) -> Listing:
    """Lists one split of a source without decoding an image.

    ``source`` is a Hub id (``ylecun/mnist``, ``owner/name:configuration``), a directory in the Hub's layout, one with
    SVHN's own files, or a folder of images; ``labels_file`` a CSV file of labels for it. With ``stream`` the files of
    the Hub are not copied to its cache first, where the data set says how many images it has.

    Raises:
        DataError: the source, the split, the images or the labels are missing or contradict each other.
        MissingExtraError: a package of the data extra is not installed.
    """
    root = Path(source)
    if root.is_dir() and has_svhn_files(root):
        if labels_file is not None:
            raise DataError(f"{root} has labels of its own in its .mat files; leave {labels_file} out.")
        return list_svhn(root, split)
    if root.is_dir() and not _is_hub_layout(root):
        return list_labelled_folder(root, split, labels_file) if labels_file else list_folder(root, split)
    streamed = stream_hub_data(source, split) if stream and labels_file is None else None
    return streamed or list_hub_data(source, split, labels_file)


def _is_hub_layout(root: Path) -> bool:
    return any(any(root.glob(pattern)) for pattern in ("*.parquet", "*/*.parquet"))
