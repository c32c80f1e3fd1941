"""Features of all photos of a source, each computed once and kept by the content of the photo."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from igan_zoo.counts import none_usable
from igan_zoo.errors import DataError, ImageError
from igan_zoo.images.loading import report_skipped
from igan_zoo.images.stored import LabeledSource, StoredImage
from igan_zoo.machine.progress import Progress
from igan_zoo.models import store
from igan_zoo.serving.feature_store import FeatureStore, Photo, content_key
from igan_zoo.serving.scorers.feature_encoders import FeatureEncoder


def feature_rows(
    source: LabeledSource, encoder: FeatureEncoder, *, threads: int | None = None, strict: bool = False
) -> tuple[NDArray[np.float32], list[int]]:
    """Returns features float32 ``[n, F]`` of the photos that can be used, and their places in ``source``.

    Those that are known from an earlier run are not computed; photos that cannot be used are named on stderr.

    Raises:
        DataError: no photo can be used.
        ImageError: one cannot, and ``strict`` is true.
        OutputError: the cache cannot be written, or another process is at work there.
    """
    engine = encoder.engine(threads)
    (width,) = engine.graphs["scorer"].outputs["features"]

    def photos() -> Iterator[Photo]:
        for index in range(len(source)):
            yield photo_of(source.fetch([index])[0], encoder)

    with (
        FeatureStore(store.home() / "features" / encoder.name, width, strict=strict) as kept,
        Progress("features", len(source), unit="photos") as progress,
    ):
        rows, places = kept.rows_of(
            photos(), lambda pixels: engine.run("scorer", {"images": pixels})["features"], progress.advance
        )
    report_skipped(kept.skipped)
    if not places:
        raise DataError(f"{none_usable(len(source), 'photo', source.reference)}: {kept.skipped[0]}")
    return rows, places


def photo_of(image: StoredImage, encoder: FeatureEncoder) -> Photo:
    """Returns an image of a source with a key of its content, decoded as the encoder takes it."""
    shape = encoder.shape
    content = image.content
    if isinstance(content, (Path, ImageError)):
        # Decoded, and so read once more, only where the features are not known yet; that says what is wrong with it.
        try:
            known = content.read_bytes() if isinstance(content, Path) else image.name.encode("utf-8", "surrogateescape")
        except OSError:
            known = image.name.encode("utf-8", "surrogateescape")
    else:
        known = content if isinstance(content, bytes) else repr(content.shape).encode() + content.tobytes()
    return Photo(image.name, content_key(known), lambda: image.decode(shape))
