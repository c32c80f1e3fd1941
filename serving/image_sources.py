"""Which kind of source of images a reference means; ``docs/image-sources.md`` shows every kind."""

from __future__ import annotations

from pathlib import Path

from igan_zoo.errors import DataError, UnknownNameError
from igan_zoo.images.hub_layout import download_parquet, has_hub_layout, parquet_files
from igan_zoo.models import store
from igan_zoo.models.spec import CONFIG
from igan_zoo.serving.array_source import open_npy, open_npz
from igan_zoo.serving.engine import Device
from igan_zoo.serving.folder_source import open_folder
from igan_zoo.serving.model_source import open_model
from igan_zoo.serving.parquet_source import open_parquet
from igan_zoo.serving.stored_images import ImageSource
from igan_zoo.serving.tar_source import open_tar

_KINDS = "a folder, .npz, .npy, .tar or .parquet file, a model, or a Hub id such as uoft-cs/cifar10"
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")


def open_source(
    reference: str,
    *,
    split: str | None = None,
    count: int | None = None,
    seed: int = 0,
    device: Device = "cpu",
    threads: int | None = None,
) -> ImageSource:
    """Opens whatever ``reference`` names as a source of images, without decoding one.

    A folder or a ``.npz``, ``.npy``, ``.tar`` or ``.parquet`` file; a directory in the Hub's layout or a Hub id, of
    which ``split`` names the part, as it names a folder inside a folder of images; or a model (a name, a model
    directory, an ``.onnx`` file) that draws ``count`` images of ``seed`` on ``device``.

    Raises:
        DataError: there is nothing of that name, it has no images, or it is damaged.
        UnknownNameError: it is neither a path nor a Hub id nor a model.
        ModelDirectoryError, InterfaceError, DeviceError: the model cannot be used.
        MissingExtraError: a package of an extra is not installed.
    """
    path = Path(reference)
    if is_model(reference):
        model = _resolve(reference)
        if count is None:
            raise DataError(f"{reference} is a model; say with --n how many images it is to draw.")
        return open_model(model, count=count, seed=seed, device=device, threads=threads)
    if path.is_dir():
        return _open_directory(path, split, reference)
    if path.exists():
        return _open_file(path, split)
    if _is_hub_id(reference):
        return _open_hub_layout(download_parquet(reference), split, reference)
    raise DataError(f"There are no images at {reference}: give {_KINDS}.")


def is_model(reference: str) -> bool:
    """Returns whether ``reference`` means a model and not stored images: what exists under that path goes first."""
    path = Path(reference)
    if path.exists():
        return path.suffix == ".onnx" or (path / CONFIG).is_file()
    return path.suffix == ".onnx" or (path.name == reference and path.suffix == "")


def _resolve(reference: str) -> store.Model:
    try:
        return store.resolve(reference)
    except UnknownNameError as error:
        reason = str(error)
        raise UnknownNameError(
            f"There is no file or folder {reference}, and {reason[:1].lower()}{reason[1:]}"
        ) from None


def _open_directory(root: Path, split: str | None, reference: str) -> ImageSource:
    if has_hub_layout(root):
        return _open_hub_layout(root, split, reference)
    if split is not None:
        if not (root / split).is_dir():
            raise DataError(f"{root} has no folder {split!r} for that split.")
        root = root / split
    return open_folder(root)


def _open_hub_layout(root: Path, split: str | None, reference: str) -> ImageSource:
    files = parquet_files(root, split)
    return open_parquet(files, f"{reference} ({split})" if split else reference)


def _open_file(path: Path, split: str | None) -> ImageSource:
    if split is not None:
        raise DataError(f"{path} is a single file without splits; leave --split out.")
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return open_npz(path)
    if suffix == ".npy":
        return open_npy(path)
    if suffix == ".tar" or path.name.lower().endswith(_COMPRESSED):
        return open_tar(path)
    if suffix == ".parquet":
        return open_parquet([path], str(path))
    raise DataError(f"{path} is no source of images: give {_KINDS}.")


def _is_hub_id(reference: str) -> bool:
    owner, _, name = reference.partition("/")
    is_file = Path(name).suffix.lower() in (".npz", ".npy", ".tar", ".parquet", ".gz", ".tgz")
    return owner not in ("", ".", "..") and name != "" and "/" not in name and not is_file
