"""Image data sets in the Hub's layout: which parquet files are a split, in a directory or on the Hub."""

from __future__ import annotations

import re
from pathlib import Path

from igan_zoo.errors import DataError, first_line

_PATTERNS = ("*.parquet", "*/*.parquet")


def has_hub_layout(root: Path) -> bool:
    """Returns whether there are parquet files in the directory or in one right below it."""
    return any(any(root.glob(pattern)) for pattern in _PATTERNS)


def parquet_files(root: Path, split: str | None = None) -> list[Path]:
    """Returns the parquet files of one split of a directory in the Hub's layout, sorted.

    A split is the first word of the name of its files (``train-00000-of-00001.parquet``) or the folder that they are
    in. It need not be named where there is only one.

    Raises:
        DataError: there is no such split, it has to be named, or several folders have one of that name.
    """
    splits: dict[str, list[Path]] = {}
    for path in sorted(path for pattern in _PATTERNS for path in root.glob(pattern)):
        splits.setdefault(_split_of(root, path), []).append(path)
    listed = ", ".join(sorted(splits)) or "none"
    if split is None and len(splits) == 1:
        (split,) = splits
    if split is None:
        raise DataError(f"{root} has the splits {listed}; say which one with --split.")
    if split not in splits:
        raise DataError(f"{root} has no split {split!r}; it has {listed}.")
    folders = sorted({str(path.parent.relative_to(root)) for path in splits[split]})
    if len(folders) > 1:
        raise DataError(f"{root} has the split {split!r} in several folders ({', '.join(folders)}); name one of them.")
    return splits[split]


def download_parquet(name: str) -> Path:
    """Fetches the parquet files of a data set of the Hub into the Hub's own cache and returns their directory.

    ``name`` is ``owner/name``, or ``owner/name:configuration`` for one of several folders of files.

    Raises:
        DataError: there is no such data set, it has no parquet files, or it can neither be reached nor is it cached.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    name, _, configuration = name.partition(":")
    folder = f"{configuration}/" if configuration else ""
    patterns = [folder + pattern for pattern in _PATTERNS]
    try:
        root = Path(snapshot_download(name, repo_type="dataset", allow_patterns=patterns)) / configuration
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = first_line(error).rstrip(".")
        raise DataError(
            f"Cannot get {name} from the Hub ({reason}); check name and network, or give a folder."
        ) from error
    if not has_hub_layout(root):
        raise DataError(f"{name} has no parquet files on the Hub; download it and give its folder of images.")
    return root


def _split_of(root: Path, path: Path) -> str:
    if path.parent != root and path.parent.name in ("train", "test", "validation", "val"):
        return path.parent.name
    return re.split(r"[-.]", path.name, maxsplit=1)[0]
