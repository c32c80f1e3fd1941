"""Writing a training's numbers and pictures where TensorBoard shows them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from igan_zoo.errors import MissingExtraError, OutputError, pip_install

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_SECONDS_BETWEEN_FLUSHES = 10


class TensorBoardLog:
    """Event files in the folder ``path``, for ``tensorboard --logdir``.

    Steps are written in ascending order. A resumed run opens the same folder again: its first step, and all after it,
    replace what was written for them before.

    Raises:
        MissingExtraError: TensorBoard is not installed.
    """

    def __init__(self, path: Path) -> None:
        try:
            import torch.utils.tensorboard  # noqa: F401 - to fail now and not after the first epoch
        except ImportError as error:
            raise MissingExtraError(
                f"This needs {error.name or error}, of the tensorboard extra: {pip_install('tensorboard')}."
            ) from error
        self.path = path
        self._writer: SummaryWriter | None = None

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Writes numbers by name.

        Raises:
            OutputError: the folder cannot be written.
        """
        writer = self._writer_from(step)
        for name, value in values.items():
            writer.add_scalar(name, value, step)

    def image(self, step: int, name: str, image: NDArray[np.uint8]) -> None:
        """Writes a picture, uint8 ``[H, W, C]`` with C = 1 (grey) or 3 (RGB).

        Raises:
            OutputError: the folder cannot be written.
        """
        self._writer_from(step).add_image(name, image, step, dataformats="HWC")

    def close(self) -> None:
        """Writes out what is still in memory."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _writer_from(self, step: int) -> SummaryWriter:
        """Returns the open file; the first call opens it, and makes readers forget earlier files from ``step`` on."""
        from torch.utils.tensorboard import SummaryWriter

        if self._writer is None:
            try:
                self._writer = SummaryWriter(self.path, purge_step=step, flush_secs=_SECONDS_BETWEEN_FLUSHES)
            except OSError as error:
                raise OutputError(
                    f"Cannot write {self.path}: {error.strerror or error}; free some space or choose another place."
                ) from error
        return self._writer
