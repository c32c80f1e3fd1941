"""The logits of all images of a source, kept in a file without a name: memory does not grow with their number."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from igan_zoo.errors import OutputError, ScoringError
from igan_zoo.images.batches import ImageBatches, Pixels, Skipped
from igan_zoo.images.pixels import Shape
from igan_zoo.images.stored import ImageSource, consecutive_runs
from igan_zoo.machine.progress import Progress
from igan_zoo.serving.scoring.network import Network

_ROWS_AT_ONCE = 1000


class KeptLogits:
    """Logits float32 ``[images, classes]`` by index; ``there`` says which images have some. A context manager.

    They come in any order and are read in ascending order, so that sums over them do not depend on how they came.
    """

    def __init__(self, images: int, classes: int) -> None:
        self.classes = classes
        self.there = np.zeros(images, np.bool_)
        self._row_bytes = 4 * classes
        # It takes 4 bytes a logit of the place for temporary files, and is gone with the process.
        self._file = tempfile.TemporaryFile()  # noqa: SIM115

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        """How many images have logits."""
        return int(self.there.sum())

    def add(self, indices: NDArray[np.int64], logits: NDArray[np.float32]) -> None:
        """Keeps the logits ``[N, classes]`` of the images ``indices`` ``[N]``.

        Raises:
            ScoringError: their shape is not the scorer's, or something is not finite.
            OutputError: there is no room for temporary files.
        """
        if logits.shape != (len(indices), self.classes):
            raise ScoringError(
                f"The scorer gave logits of shape {list(logits.shape)}, not {[len(indices), self.classes]}."
            )
        finite = np.isfinite(logits).all(axis=1)
        if not finite.all():
            raise ScoringError(f"The scorer gave logits that are not finite for image {indices[~finite][0]}.")
        rows = np.ascontiguousarray(logits, np.float32)
        position = 0
        try:
            for first, count in consecutive_runs(indices.tolist()):
                self._file.seek(first * self._row_bytes)
                self._file.write(rows[position : position + count].tobytes())
                position += count
            self._file.flush()
        except OSError as error:
            size = len(self.there) * self._row_bytes / 2**20
            raise OutputError(
                f"Cannot keep the logits, {size:,.0f} MiB, in {tempfile.gettempdir()}: {error.strerror or error}; name "
                "another folder with TMPDIR."
            ) from error
        self.there[indices] = True

    def chunks(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """Yields indices ``[n]`` and logits, float64 ``[n, classes]``, in ascending order, a thousand images a time."""
        for start in range(0, len(self.there), _ROWS_AT_ONCE):
            there = self.there[start : start + _ROWS_AT_ONCE]
            rows = np.zeros((len(there), self.classes), np.float32)
            self._file.seek(start * self._row_bytes)
            content = self._file.read(rows.nbytes)
            # Images without any at the end leave the file shorter.
            rows.reshape(-1)[: len(content) // 4] = np.frombuffer(content, np.float32)
            yield start + np.flatnonzero(there), rows[there].astype(np.float64)


def keep_logits(
    kept: KeptLogits,
    source: ImageSource,
    network: Network,
    *,
    batch_size: int | None,
    threads: int | None = None,
    strict: bool = False,
    change: Callable[[Pixels], Pixels] = lambda images: images,
    title: str = "scoring",
    shape: Shape | None = None,
) -> list[Skipped]:
    """Keeps what ``network`` says of every image of ``source`` after ``change``, and returns the images left out.

    ``shape`` is what images are decoded to, if not what the network takes.

    Raises:
        ImageError: an image does not decode, and ``strict`` is true.
        DataError: the source broke, or no image decodes.
        ScoringError, OutputError: as ``KeptLogits.add``.
    """
    batches = ImageBatches(
        source,
        np.arange(len(source)),
        batch_size or network.batch_size,
        shape or network.input,
        strict=strict,
        threads=threads,
    )
    with Progress(title, len(source), unit="images") as bar:
        for batch in batches:
            kept.add(batch.indices, network.answer(change(batch.images))[1])
            bar.advance(len(batch))
    return batches.skipped
