"""Writing a stream of samples to one of several formats, in bounded memory, whole or not at all."""

from __future__ import annotations

import io
import json
import math
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from igan_zoo.errors import MissingExtraError, OutputError, pip_install
from igan_zoo.images.files.decoding import decode_image
from igan_zoo.images.pixels import Shape, encode_png, grid, write_image
from igan_zoo.machine.files import atomic_directory, atomic_file, refuse_full, refuse_small_disk
from igan_zoo.machine.progress import Progress

_ROWS_PER_GROUP = 1000
_SMALLEST_PNG = 57
_MOST_IN_A_PICTURE = 2500
_FEATURES = {"info": {"features": {"image": {"_type": "Image"}}}}

Images = NDArray[np.uint8]
# Images, or the PNG files of some.
Batch = Images | list[bytes]
Add = Callable[[Batch], None]


@dataclass(frozen=True)
class Samples:
    """Which images are to come: uint8 ``[count, *image_shape]``, numbers ``start`` on of ``seed``."""

    image_shape: tuple[int, ...]
    seed: int
    start: int
    count: int


def write_samples(
    out: Path,
    batches: Iterator[Batch],
    *,
    image_shape: tuple[int, ...],
    seed: int,
    start: int,
    count: int,
    replace: bool,
) -> Images:
    """Writes a stream of images to ``out`` and returns the first hundred, for a grid.

    The suffix says the format. ``.npz``: ``images`` uint8 ``[N, H, W, C]``, ``seed`` and ``start``. ``.tar``: PNG files
    named by index. ``.parquet``: a column ``image`` of the Hub's type Image. None:
    a folder of PNG files named by index. The same images give the same bytes, however they are batched, and whether
    they come as pixels or, where ``holds_png``, as what ``encoded`` gives.

    Raises:
        OutputError: another suffix, an existing file or folder without ``replace``, or a place that cannot be
            written or has too little room.
        MissingExtraError: ``.parquet`` without ``pyarrow``.
    """
    check_output(out, replace=replace)
    # Of PNG files only the least is known: two chunks without a pixel.
    refuse_small_disk(out.parent, count * (_SMALLEST_PNG if holds_png(out) else math.prod(image_shape)))
    samples = Samples(image_shape, seed, start, count)
    if out.suffix == "":
        writer: AbstractContextManager[Add] = _folder(out, samples, replace)
    else:
        writer = _WRITERS[out.suffix](out, samples)
    shown = _FirstImages(image_shape[-1])
    with writer as add, Progress("sampling", count, unit="images") as progress:
        for images in batches:
            add(images)
            shown.add(images)
            progress.advance(len(images))
    return shown.images


def check_output(out: Path, *, replace: bool) -> None:
    """Refuses a suffix that says no format, a file that is there, and a folder with something in it.

    Raises:
        OutputError: names the formats; or the file or folder, unless ``replace`` is true.
    """
    refuse_full(out, replace=replace)
    if out.suffix != "" and out.suffix not in _WRITERS:
        listed = ", ".join(_WRITERS)
        raise OutputError(
            f"Cannot write samples as {out.suffix}: end --out in one of {listed}, or name a folder for PNG files."
        )


@contextmanager
def _npz(out: Path, samples: Samples) -> Iterator[Add]:
    with atomic_file(out) as temporary, npz_archive(temporary, samples) as add:
        yield add


@contextmanager
def npz_archive(file: Path | IO[bytes], samples: Samples) -> Iterator[Add]:
    """Yields what adds images to a new ``.npz`` archive as ``write_samples`` writes it, to a path or an open file."""
    header = {"descr": "|u1", "fortran_order": False, "shape": (samples.count, *samples.image_shape)}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, number in (("seed", np.uint64(samples.seed)), ("start", np.int64(samples.start))):
            with archive.open(_member(name), "w") as member:
                np.lib.format.write_array(member, np.asarray(number))
        with archive.open(_member("images"), "w", force_zip64=True) as member:
            np.lib.format.write_array_header_2_0(member, header)

            def add(images: Batch) -> None:
                member.write(np.ascontiguousarray(images).data)

            yield add


def _member(name: str) -> zipfile.ZipInfo:
    """Returns the entry of an array, of the first day that a zip archive can name and not of today."""
    return zipfile.ZipInfo(f"{name}.npy")


@contextmanager
def _folder(out: Path, samples: Samples, replace: bool) -> Iterator[Add]:
    with atomic_directory(out, replace=replace) as temporary:
        index = samples.start

        def add(images: Batch) -> None:
            nonlocal index
            for image in images:
                (temporary / _file_name(index)).write_bytes(encoded(image))
                index += 1

        yield add


@contextmanager
def _tar(out: Path, samples: Samples) -> Iterator[Add]:
    """Writes header and content of each file as ``tarfile`` does, which would keep every header in memory."""
    with atomic_file(out) as temporary, temporary.open("wb") as file:
        index = samples.start

        def add(images: Batch) -> None:
            nonlocal index
            for image in images:
                content = encoded(image)
                member = tarfile.TarInfo(_file_name(index))
                member.size = len(content)
                file.write(member.tobuf(tarfile.USTAR_FORMAT))
                file.write(content)
                file.write(bytes(-len(content) % tarfile.BLOCKSIZE))
                index += 1

        yield add
        file.write(bytes(2 * tarfile.BLOCKSIZE))
        file.write(bytes(-file.tell() % tarfile.RECORDSIZE))


@contextmanager
def _parquet(out: Path, samples: Samples) -> Iterator[Add]:
    try:
        import pyarrow
        import pyarrow.parquet as parquet
    except ImportError:
        raise MissingExtraError(f"Writing parquet files needs the data extra: {pip_install('data')}.") from None

    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    said = {"huggingface": json.dumps(_FEATURES), "igan_zoo.seed": str(samples.seed)}
    schema = pyarrow.schema([("image", kind)], metadata=said)
    # PNG does not get smaller.
    with atomic_file(out) as temporary, parquet.ParquetWriter(temporary, schema, compression="none") as writer:
        rows: list[dict[str, bytes | str]] = []
        index = samples.start

        def flush() -> None:
            writer.write_table(pyarrow.table({"image": pyarrow.array(rows, kind)}, schema=schema))
            rows.clear()

        def add(images: Batch) -> None:
            nonlocal index
            for image in images:
                rows.append({"bytes": encoded(image), "path": _file_name(index)})
                index += 1
                if len(rows) == _ROWS_PER_GROUP:
                    flush()

        yield add
        if rows:
            flush()


@contextmanager
def _picture(out: Path, samples: Samples) -> Iterator[Add]:
    """All images in one picture, as a grid."""
    if samples.count > _MOST_IN_A_PICTURE:
        raise OutputError(
            f"A picture shows at most {_MOST_IN_A_PICTURE:,} images, not {samples.count:,}; write .npz, .tar or "
            ".parquet, or a folder."
        )
    shown: list[Images] = []

    def add(images: Batch) -> None:
        channels = samples.image_shape[-1]
        shown.extend(
            decode_image(image, out.name, Shape(channels)) if isinstance(image, bytes) else image for image in images
        )

    yield add
    write_image(out, grid(np.stack(shown)))


_WRITERS: dict[str, Callable[[Path, Samples], AbstractContextManager[Add]]] = {
    ".npz": _npz,
    ".tar": _tar,
    ".parquet": _parquet,
    ".png": _picture,
}


def _file_name(index: int) -> str:
    return f"{index:08d}.png"


def holds_png(out: Path) -> bool:
    """Returns whether what ``out`` names has PNG files in it and not pixels."""
    return out.suffix != ".npz"


def encoded(image: Images | bytes) -> bytes:
    """Returns the PNG file of an image uint8 ``[H, W, C]``, or what is one already."""
    if isinstance(image, bytes):
        return image
    content = io.BytesIO()
    encode_png(content, image)
    return content.getvalue()


class _FirstImages:
    """Keeps the first hundred images of a stream."""

    def __init__(self, channels: int) -> None:
        self._kept: list[Images] = []
        self._missing, self._channels = 100, channels

    def add(self, images: Batch) -> None:
        if self._missing > 0:
            self._kept.append(np.stack([self._pixels(image) for image in images[: self._missing]]))
            self._missing -= len(self._kept[-1])

    def _pixels(self, image: Images | bytes) -> Images:
        return decode_image(image, "a sample", Shape(self._channels)) if isinstance(image, bytes) else image

    @property
    def images(self) -> Images:
        return np.concatenate(self._kept)
