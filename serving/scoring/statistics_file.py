"""Statistics as one safetensors file, arrays and JSON; and other tools' ``.npz`` of mean and covariance."""

from __future__ import annotations

import logging
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from igan_zoo.errors import OutputError, ScoringError
from igan_zoo.machine.files import atomic_file, reading
from igan_zoo.serving.scoring.metrics.frechet_distance import Gaussian, check_covariance
from igan_zoo.serving.scoring.metrics.moments import check_total
from igan_zoo.serving.scoring.statistics import Facts, Statistics, check_facts, kept_images

_METADATA_KEY = "igan_zoo.statistics"
_ARRAYS = (
    "split_counts",
    "split_probabilities",
    "split_entropies",
    "class_moments",
    "feature_moments",
    "kept_features",
)
_BITS = ("covered", "skipped")
# pytorch-fid's arrays may have as many features as ours.
_LARGEST_SIZE = 2**13


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``checksum`` is the CRC-32 of all arrays, in their order; older files have none."""

    facts: Facts
    shard: tuple[int, int] | None = None
    checksum: int | None = None


def save_statistics(statistics: Statistics, path: Path) -> None:
    """Writes statistics to ``path``, whole or not at all; the same statistics give the same bytes.

    Raises:
        OutputError: the file cannot be written.
    """
    from safetensors.numpy import save

    arrays: dict[str, NDArray[Any]] = {name: np.ascontiguousarray(getattr(statistics, name)) for name in _ARRAYS}
    arrays |= {name: np.packbits(getattr(statistics, name)) for name in _BITS}
    header = msgspec.json.encode(_Header(statistics.facts, statistics.shard, _checksum(arrays))).decode()
    with atomic_file(path) as temporary:
        temporary.write_bytes(save(arrays, metadata={_METADATA_KEY: header}))


def keep_statistics(statistics: Statistics, path: Path) -> bool:
    """Writes statistics that only save work later; if that fails, says so on stderr and returns false."""
    try:
        save_statistics(statistics, path)
    except OutputError as error:
        logging.getLogger(__name__).warning("The statistics were not cached: %s", error)
        return False
    return True


def load_statistics(path: Path) -> Statistics:
    """Returns the statistics of a file, everything about them checked.

    Raises:
        ScoringError: the file is missing, damaged, or of another kind or version.
    """
    from safetensors import safe_open

    if not path.exists():
        raise ScoringError(f"There is no statistics file {path}.")
    with reading(path, "a statistics file of this version", ScoringError), safe_open(path, framework="numpy") as file:
        header = msgspec.json.decode((file.metadata() or {})[_METADATA_KEY], type=_Header)
        check_facts(header.facts)
        arrays = {name: file.get_tensor(name) for name in (*_ARRAYS, *_BITS)}
    if not _is_consistent(header.facts, arrays):
        raise ScoringError(f"The statistics file {path} is damaged: its parts do not fit together; score again.")
    if header.checksum not in (None, _checksum(arrays)):
        raise ScoringError(f"The statistics file {path} is damaged: its checksum does not match; score again.")
    arrays |= {name: _unpacked(arrays[name], header.facts.images) for name in _BITS}
    check_total(arrays["class_moments"])
    check_total(arrays["feature_moments"])
    return Statistics(facts=header.facts, shard=header.shard, name=str(path), **arrays)


def _checksum(arrays: Mapping[str, NDArray[Any]]) -> int:
    """A sum that was damaged would give another score without a word."""
    checksum = 0
    for name in (*_ARRAYS, *_BITS):
        checksum = zlib.crc32(np.ascontiguousarray(arrays[name]).data, checksum)
    return checksum


def _is_consistent(facts: Facts, arrays: dict[str, NDArray[Any]]) -> bool:
    shapes = {
        "split_counts": (facts.splits,),
        "split_probabilities": (facts.splits, facts.classes),
        "split_entropies": (facts.splits,),
        "class_moments": (facts.classes + 2, facts.classes + 2),
        "feature_moments": (facts.features + 1, facts.features + 1),
        **dict.fromkeys(_BITS, (-(-facts.images // 8),)),
    }
    types = {"kept_features": np.float32, **dict.fromkeys(_BITS, np.uint8)}
    if any(arrays[name].shape != shape for name, shape in shapes.items()):
        return False
    if any(array.dtype != types.get(name, np.int64) for name, array in arrays.items()):
        return False
    covered, skipped = (_unpacked(arrays[name], facts.images) for name in _BITS)
    counts = {int(arrays["split_counts"].sum()), *(int(arrays[f"{name}_moments"][-1, -1]) for name in _MOMENTS)}
    kept = (int(covered[kept_images(facts)].sum()), facts.features)
    return (
        counts == {int(covered.sum())}
        and not (covered & skipped).any()
        and arrays["kept_features"].shape == kept
        and bool(np.isfinite(arrays["kept_features"]).all())
    )


_MOMENTS = ("class", "feature")


def _unpacked(bits: NDArray[np.uint8], count: int) -> NDArray[np.bool_]:
    return np.unpackbits(bits, count=count).astype(np.bool_)


def save_gaussian(one: Gaussian, path: Path) -> None:
    """Writes ``mu`` and ``sigma``, float64, as pytorch-fid and clean-fid read them.

    Raises:
        OutputError: the file cannot be written.
    """
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        np.savez(file, mu=one.mean, sigma=one.covariance)


# What tools call mean and covariance: pytorch-fid, clean-fid, TTUR and ADM; chainer-gan-lib; torchmetrics and others.
_GAUSSIANS = (("mu", "sigma"), ("mean", "cov"), ("mean", "sigma"), ("ref_mu", "ref_sigma"))


def holds_gaussian(path: Path) -> bool:
    """Returns whether a file is a zip with a mean and a covariance, and so no ``.npz`` of images."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _names(archive) is not None
    except Exception:  # Whatever is wrong with it, it is no such file.
        return False


def load_gaussian(path: Path) -> Gaussian:
    """Returns the Gaussian of an ``.npz`` with a mean ``[F]`` or ``[1, F]`` and a covariance ``[F, F]``.

    They are called ``mu`` and ``sigma`` in pytorch-fid's files, ``mean`` and ``cov`` or ``ref_mu`` and ``ref_sigma`` in
    others'. Nothing is unpickled. Such a file does not say how many images, which scorer or which resize it is of.

    Raises:
        ScoringError: the file is missing or damaged, or its arrays are not these, or no covariance.
    """
    if not path.exists():
        raise ScoringError(f"There is no file {path}.")
    kind = "an .npz with float mu [F] and sigma [F, F] as pytorch-fid writes it"
    with reading(path, kind, ScoringError), zipfile.ZipFile(path) as archive:
        names = _names(archive) or _GAUSSIANS[0]
        mean = _member(archive, f"{names[0]}.npy", shapes=(1, 2))
        covariance = _member(archive, f"{names[1]}.npy", shapes=(2,))
    mean = mean.reshape(-1) if mean.shape[:-1] in ((), (1,)) else mean
    if covariance.shape != (mean.size, mean.size) or not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise ScoringError(
            f"{names[0]} {list(mean.shape)} and {names[1]} {list(covariance.shape)} in {path} do not match in size, "
            "or contain values that are not numbers."
        )
    covariance = covariance.astype(np.float64)
    damage = check_covariance(covariance)
    if damage is not None:
        raise ScoringError(f"{names[1]} in {path} {damage}, so it is not a covariance: compute the file again.")
    return Gaussian(mean.astype(np.float64), covariance)


def _names(archive: zipfile.ZipFile) -> tuple[str, str] | None:
    members = set(archive.namelist())
    return next((names for names in _GAUSSIANS if {f"{name}.npy" for name in names} <= members), None)


def _member(archive: zipfile.ZipFile, name: str, *, shapes: tuple[int, ...]) -> NDArray[Any]:
    """Returns an array of a zip, its header checked before room is made for it."""
    with archive.open(name) as file:
        version = np.lib.format.read_magic(file)
        if version != (1, 0):
            raise ValueError(f"format {version}")
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    if len(shape) not in shapes or dtype.kind != "f" or any(not 1 <= size <= _LARGEST_SIZE for size in shape):
        raise ValueError(f"shape {shape}, type {dtype}")
    with archive.open(name) as file:
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))
