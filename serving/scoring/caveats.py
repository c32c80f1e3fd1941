"""What a person should know about a score before it is computed: where a metric of these images means little."""

from __future__ import annotations

from collections.abc import Sequence

from igan_zoo.counts import counted
from igan_zoo.errors import ImageError
from igan_zoo.images.stored import ImageSource
from igan_zoo.serving.scoring.network import Network
from igan_zoo.serving.scoring.numbers import Metric, Reference
from igan_zoo.serving.scoring.protocols import INCEPTION, Protocol
from igan_zoo.serving.scoring.statistics import Facts

# The split mean's bias is about (classes - 1) / (2 images of a split) nats; published scores are of 50,000 images.
_FEWEST_FOR_SCORES = 5_000
_IMAGES_A_CLASS = 5
_LOOKED_AT = 16
# The smallest subset has a tenth of the images.
_EXTRAPOLATED = 20


def caveats(
    metrics: Sequence[Metric], network: Network, source: ImageSource, facts: Facts, reference: Reference | Facts | None
) -> list[str]:
    """Returns a sentence for each reason why a metric of these images means little.

    ``facts`` are those of ``source``; ``reference`` is what it is compared with, or the facts of images yet to score.
    """
    sentences = []
    enough = min(_FEWEST_FOR_SCORES, _IMAGES_A_CLASS * facts.classes)
    if "is" in metrics and facts.images < enough:
        sentences.append(
            f"{Protocol('is', facts.images).name} is biased low with fewer than {enough:,} images: compare it only "
            "with scores of equally many images, or use the corrected value."
        )
    if "fid" in metrics:
        sizes = [facts.images, _images_of(reference) or facts.images]
        if min(sizes) <= facts.features:
            sentences.append(
                f"{Protocol('fid', facts.images).name} is biased high with {counted(min(sizes), 'image')}, no more "
                f"than the {facts.features:,} features: compare it only with distances of equally many images, or use "
                "--metric kid, which has no such bias."
            )
        if network.name == INCEPTION and isinstance(reference, Reference) and reference.gaussian is not None:
            sentences.append(
                f"{reference.name} does not say how it was made: pytorch-fid scales pixels to x / 127.5 - 1 and "
                "resizes with half-pixel centers, which moves FID by a few percent; score the reference images here to "
                "be sure."
            )
    if "fid-inf" in metrics and facts.images <= _EXTRAPOLATED * facts.features:
        sentences.append(
            f"{Protocol('fid-inf', facts.images).name} draws a line through distances of {facts.images // 10:,} images "
            f"and more, which bends where there are not several times as many as the {facts.features:,} features."
        )
    if network.name == INCEPTION and _all_gray(source):
        sentences.append(
            f"{source.reference} looks gray throughout: Inception knows color photos, and its scores of digits or "
            "scans say little; use a classifier of such images as --scorer."
        )
    return sentences


def _images_of(reference: Reference | Facts | None) -> int | None:
    if isinstance(reference, Reference):
        return None if reference.statistics is None else reference.statistics.count
    return None if reference is None else reference.images


def _all_gray(source: ImageSource) -> bool:
    """Whether none of the first images has a color."""
    looked = 0
    for image in source.fetch(range(min(_LOOKED_AT, len(source)))):
        try:
            pixels = image.decode()
        except ImageError:
            continue
        looked += 1
        if (pixels != pixels[..., :1]).any():
            return False
    return looked > 0
