"""Scores at less than full precision: previews, whose error against fp32 is measured on some of the same images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from igan_zoo.errors import ScoringError
from igan_zoo.images.batches import ImageBatches
from igan_zoo.images.stored import ImageSource
from igan_zoo.models.interface import WEIGHTS_KEY
from igan_zoo.serving.scoring.gathering import choose_images
from igan_zoo.serving.scoring.metrics.frechet_distance import frechet_distance, gaussian_of
from igan_zoo.serving.scoring.metrics.inception_score import unsplit_score
from igan_zoo.serving.scoring.network import Network
from igan_zoo.serving.scoring.statistics import DEFAULT_SEED

SAMPLE = 200


@dataclass(frozen=True)
class PreviewError:
    """How far a preview is off on ``images`` images.

    ``exact`` and ``preview`` are their unsplit scores. ``noise`` is the root mean square difference of the features,
    over their standard deviation from image to image. ``distance`` is the Fréchet distance between the two sets of
    features, which would be 0. A scorer without logits has no scores, and one without features no noise: they are NaN.
    """

    images: int
    exact: float
    preview: float
    noise: float
    distance: float

    def __str__(self) -> str:
        said = []
        if not math.isnan(self.exact):
            relative = (self.preview / self.exact - 1) * 100
            said.append(f"the score is {self.preview:.4f} and not {self.exact:.4f} ({relative:+.2f} %)")
        if not math.isnan(self.noise):
            said.append(
                f"the features differ by {self.noise:.3f} of their spread; their Fréchet distance "
                f"is {self.distance:.3g}"
            )
        return f"on {self.images} of these images {', '.join(said)}"


def preview_error(
    exact: Network, preview: Network, source: ImageSource, *, images: int = SAMPLE, seed: int = DEFAULT_SEED
) -> PreviewError:
    """Runs a seeded choice of ``images`` images, or all if there are fewer, through both networks.

    Raises:
        ScoringError: they are not of the same weights, or fewer than two images decode.
        DataError: the source broke, or no image decodes.
    """
    metadata = [network.engine.graphs["scorer"].metadata for network in (exact, preview)]
    if metadata[0].get(WEIGHTS_KEY) != metadata[1].get(WEIGHTS_KEY) or exact.resize != preview.resize:
        raise ScoringError(
            f"{preview.name} was not made from the weights of {exact.name}: export it again from the same file."
        )
    chosen = choose_images(len(source), min(images, len(source)), seed)
    pairs = [(exact.answer(batch.images), preview.answer(batch.images)) for batch in ImageBatches(source, chosen, 16)]
    ours, theirs = ([np.concatenate(parts) for parts in zip(*side, strict=True)] for side in zip(*pairs, strict=True))
    if len(ours[0]) < 2:
        raise ScoringError(f"Only one image of {source.reference} can be used; a preview is measured on two or more.")
    scores = [unsplit_score(side[1]) if exact.classes else math.nan for side in (ours, theirs)]
    noise = distance = math.nan
    if exact.features:
        features = [side[0].astype(np.float64) for side in (ours, theirs)]
        spread = np.sqrt(features[0].var(axis=0).mean())
        noise = float(np.sqrt(np.square(features[0] - features[1]).mean()) / spread) if spread else math.inf
        distance = frechet_distance(gaussian_of(features[0]), gaussian_of(features[1]))
    return PreviewError(len(ours[0]), scores[0], scores[1], noise, distance)
