"""A scorer with 8-bit layers: a preview of what it would score in float32, and no replacement of that."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from igan_zoo.counts import counted
from igan_zoo.errors import OutputError, ScoringError
from igan_zoo.export.graphs.building import metadata_of, to_bytes
from igan_zoo.export.graphs.quantization import quantized
from igan_zoo.images.pixels import Shape
from igan_zoo.images.stored import ImageSource, read
from igan_zoo.machine.files import atomic_file
from igan_zoo.machine.progress import Progress
from igan_zoo.models.interface import PRECISION_KEY, SCORER_KEY
from igan_zoo.serving.scoring.gathering import choose_images
from igan_zoo.serving.scoring.network import open_network
from igan_zoo.serving.scoring.precision import PreviewError, preview_error
from igan_zoo.serving.scoring.statistics import DEFAULT_SEED

# Ranges of activations settle early, and every activation of a batch is in memory.
CALIBRATION_IMAGES = 96
_BATCH = 8


def int8_path(scorer: Path) -> Path:
    """Returns where the 8-bit form of a scorer's file stands."""
    return scorer.with_name(f"{scorer.stem}-int8.onnx")


def int8_scorer(content: bytes, images: NDArray[np.uint8]) -> bytes:
    """Returns the scorer ``content`` with 8-bit layers, calibrated on ``images`` uint8 ``[N, H, W, 3]``.

    Its name ends in ``-int8`` and its metadata says the precision, so that no number of it passes for one of fp32.

    Raises:
        ParityError: the graph has no layer that can have 8 bits.
    """
    model = onnx.load_from_string(quantized(content, images, batch=_BATCH))
    metadata = metadata_of(model)
    return to_bytes(
        model, {**metadata, SCORER_KEY: f"{metadata.get(SCORER_KEY, 'scorer')}-int8", PRECISION_KEY: "int8"}
    )


def write_int8_scorer(
    scorer: Path, source: ImageSource, *, size: int, replace: bool = False
) -> tuple[Path, PreviewError]:
    """Writes the 8-bit form beside a scorer's file, calibrated on ``source``, and measures it on others of its images.

    ``size`` is that to which calibration images are cropped and resized.

    Raises:
        OutputError: it is there already, without ``replace``, or cannot be written.
        ScoringError: ``source`` has too few images.
        ImageError, DataError: an image does not decode, or the source broke.
    """
    path = int8_path(scorer)
    if path.exists() and not replace:
        raise OutputError(f"{path} already exists; choose another --out, or add --force to replace it.")
    if len(source) < 2 * CALIBRATION_IMAGES:
        raise ScoringError(
            f"{source.reference} has {counted(len(source), 'image')}; an int8 scorer is calibrated and measured on "
            f"at least {2 * CALIBRATION_IMAGES}."
        )
    chosen = choose_images(len(source), CALIBRATION_IMAGES, DEFAULT_SEED)
    shape = Shape(3, size, size, crop=True)
    images = []
    with Progress("reading", len(chosen), unit="images") as bar:
        for index in chosen.tolist():
            images += read(source, [index], shape)
            bar.advance(1)
    content = int8_scorer(scorer.read_bytes(), np.stack(images))
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)
    # Another seed: other images than those of the calibration, but for a few.
    return path, preview_error(open_network(str(scorer)), open_network(str(path)), source, seed=DEFAULT_SEED + 1)
