"""Which kind of source of images a reference means; ``docs/images.md`` shows every kind."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from igan_zoo.errors import DataError, MissingExtraError
from igan_zoo.images.folders.listing import image_files
from igan_zoo.images.folders.source import open_folder, split_folders
from igan_zoo.images.formats.arrays import open_npy, open_npz
from igan_zoo.images.formats.idx import choose_idx, idx_files, is_idx_images, open_idx
from igan_zoo.images.formats.parquet import has_image_column, open_parquet
from igan_zoo.images.formats.shards import MANIFEST, open_shards
from igan_zoo.images.formats.svhn import has_svhn_files, open_svhn
from igan_zoo.images.formats.tars import open_tars
from igan_zoo.images.formats.zips import open_zip
from igan_zoo.images.hub_data import hub_files
from igan_zoo.images.memory import JoinedSource, list_given, open_memory
from igan_zoo.images.splits import choose_split, files_by_split, shard_names, split_kind
from igan_zoo.images.stored import LabeledSource

if TYPE_CHECKING:
    from igan_zoo.images.given import GivenImage, GivenImages

_KINDS = (
    "a folder, .npz, .npy, .tar, .zip or .parquet file, shards, SVHN's or MNIST's files, or a Hub id such as "
    "uoft-cs/cifar10"
)
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")
_ARCHIVES = (".npz", ".npy", ".tar", ".parquet", ".zip", *_COMPRESSED)
# Configurations that are meant when none is named.
_CONFIGURATIONS = {"ufldl-stanford/svhn": "cropped_digits"}


def open_source(
    images: str | Path | NDArray[Any] | Iterable[GivenImage],
    *,
    split: str | None = None,
    labeled: bool = False,
    labels_file: Path | None = None,
    stream: bool = False,
) -> LabeledSource:
    """Opens images without decoding one.

    ``images`` is a reference: a folder of images, a ``.npz``, ``.npy``, ``.tar``, ``.zip``, ``.parquet`` or IDX file, a
    directory in the Hub's layout, of tar archives, of shards, or with SVHN's or MNIST's files, or a Hub id
    (``ylecun/mnist``, ``owner/name:configuration``). Or it is an array uint8 ``[N, H, W, C]`` or ``[N, H, W]``, or an
    iterable of what ``stored_images`` takes. ``split`` names a part of a directory, an archive or a Hub id; what has no
    parts is every split of itself.

    Labels are looked for only with ``labeled``, or with ``labels_file``, a CSV file of them. With ``stream`` the files
    of the Hub are read where they are, by row groups, and not copied to its cache.

    Raises:
        DataError: there is nothing of that name, it has no images or no such split, it is damaged, or its labels
            contradict each other.
        ImageError: an element of the iterable is no image.
        MissingExtraError: a package of an extra is not installed.
    """
    if not isinstance(images, str | Path):
        return open_memory(images)
    path, reference = Path(images), str(images)
    labeled = labeled or labels_file is not None
    if path.is_file():
        return _open_file(path, split, labeled, labels_file)
    name, _, configuration = (reference, "", "") if path.exists() else reference.partition(":")
    if Path(name).is_dir():
        return _open_directory(Path(name) / configuration, split, labeled, labels_file)
    if Path(name).exists():
        raise DataError(f"{name} is neither an image file nor a folder, but a special file.")
    if not _is_hub_id(name):
        raise DataError(f"There are no images at {reference}: give {_KINDS}.")
    configuration = configuration or _CONFIGURATIONS.get(name.lower(), "")
    files, others = hub_files(name, configuration, split, stream=stream)
    title = f"{reference} ({split})" if split else reference
    return open_parquet(files, title, labeled=labeled, labels_file=labels_file, others=others)


def open_given(images: GivenImages) -> LabeledSource:
    """Opens what ``stored_images`` takes, one or several, and archives and files of arrays beside them.

    Raises:
        ImageError: a folder without images, or something that is none of these.
        DataError: an archive is damaged.
    """
    if isinstance(images, str | PathLike):
        images = [images]
    if not isinstance(images, list | tuple) or not any(map(_is_archive, images)):
        return list_given(images)
    parts: list[LabeledSource] = []
    for archive, group in groupby(images, _is_archive):
        some = list(group)
        parts += [open_source(Path(one)) for one in some] if archive else [list_given(some)]
    return parts[0] if len(parts) == 1 else JoinedSource(parts)


def names_several(images: GivenImages) -> bool:
    """Returns whether there is a folder, an archive or a file of arrays among what ``open_given`` takes."""
    given = images if isinstance(images, list | tuple) else [images]
    return any(_is_archive(one) or (isinstance(one, str | PathLike) and Path(one).is_dir()) for one in given)


def _is_archive(image: Any) -> bool:
    """Returns whether an image stands for an archive, a file of arrays, or a folder of archives without images."""
    if not isinstance(image, str | PathLike):
        return False
    path = Path(image)
    if path.is_dir():
        return any(shard_names(path, suffix) for suffix in (".tar", ".parquet")) and not image_files(path)
    return path.is_file() and path.name.lower().endswith(_ARCHIVES)


def is_local(reference: str) -> bool:
    """Returns whether a reference is something on this machine, or nothing at all, and not a data set of the Hub."""
    name = reference.partition(":")[0]
    return Path(reference).exists() or Path(name).exists() or not _is_hub_id(name)


def is_undivided(reference: str) -> bool:
    """Returns whether a reference is a folder of images without splits, all of which may be what one takes them for."""
    root = Path(reference)
    if (
        not root.is_dir()
        or has_svhn_files(root)
        or idx_files(root)
        or _hold_images(root, shard_names(root, ".parquet"))
    ):
        return False
    usual = any((root / name).is_dir() for name in _CONFIGURATIONS.values())
    return (
        not usual and not list(root.glob(MANIFEST)) and not list(root.glob(f"*/{MANIFEST}")) and not split_folders(root)
    )


def _open_directory(root: Path, split: str | None, labeled: bool, labels_file: Path | None) -> LabeledSource:
    parts = [path.parent.name for path in root.glob(f"*/{MANIFEST}") if split_kind(path.parent.name)]
    if parts or (root / MANIFEST).is_file():
        _refuse_labels(root, labels_file)
        return open_shards(root / choose_split(str(root), parts, split) if parts else root, split)
    if has_svhn_files(root):
        _refuse_labels(root, labels_file)
        return open_svhn(root, split)
    if idx_files(root):
        _refuse_labels(root, labels_file)
        return open_idx(choose_idx(root, split), labeled=labeled)
    for usual in _CONFIGURATIONS.values():
        root = root / usual if (root / usual).is_dir() else root
    title = f"{root} ({split})" if split else str(root)
    names, tars = shard_names(root, ".parquet"), shard_names(root, ".tar")
    if names and (_hold_images(root, names) or not (tars or image_files(root))):
        chosen, others = ([root / name for name in part] for part in files_by_split(str(root), names, split))
        return open_parquet(chosen, title, labeled=labeled, labels_file=labels_file, others=others)
    if tars and not image_files(root):
        archives, _ = files_by_split(str(root), tars, split)
        return open_tars([root / name for name in archives], title, labeled=labeled, labels_file=labels_file)
    return open_folder(root, split, labeled=labeled, labels_file=labels_file)


def _hold_images(root: Path, names: Sequence[str]) -> bool:
    """Returns whether parquet files are images, and not lists or statistics beside them."""
    try:
        return any(has_image_column(root / name) for name in names)
    except MissingExtraError:
        if image_files(root):
            return False
        raise


def _open_file(path: Path, split: str | None, labeled: bool, labels_file: Path | None) -> LabeledSource:
    suffix = path.suffix.lower()
    if suffix in (".npz", ".npy"):
        _refuse_labels(path, labels_file)
        return open_npz(path, split, labeled=labeled) if suffix == ".npz" else open_npy(path)
    if suffix == ".tar" or path.name.lower().endswith(_COMPRESSED):
        return open_tars([path], str(path), split, labeled=labeled, labels_file=labels_file)
    if suffix == ".zip":
        return open_zip(path, split, labeled=labeled, labels_file=labels_file)
    if suffix == ".parquet":
        return open_parquet([path], str(path), labeled=labeled, labels_file=labels_file)
    if is_idx_images(path):
        _refuse_labels(path, labels_file)
        return open_idx(path, labeled=labeled)
    raise DataError(f"{path} is not a source of images: give {_KINDS}.")


def _refuse_labels(place: Path, labels_file: Path | None) -> None:
    if labels_file is not None:
        raise DataError(f"The images of {place} have no names, or already have labels; remove {labels_file}.")


def _is_hub_id(reference: str) -> bool:
    owner, _, name = reference.partition("/")
    is_file = Path(name).suffix.lower() in (".npz", ".npy", ".tar", ".zip", ".parquet", ".gz", ".tgz")
    return owner not in ("", ".", "..") and name != "" and "/" not in name and not is_file
