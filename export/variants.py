"""The variants of exported graphs: made, compared with the torch module in float32, and tested on real images."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from igan_zoo.errors import ParityError, TrainingError
from igan_zoo.export.graphs.half_precision import half_precision
from igan_zoo.export.graphs.quantization import CALIBRATION_IMAGES, quantized
from igan_zoo.export.parity import (
    BATCHES,
    Subject,
    TestImages,
    compare_on_test_images,
    difference,
    outputs_of_both,
)
from igan_zoo.images.pixels import ImageArray
from igan_zoo.models.parity import Differences, VariantParity
from igan_zoo.models.spec import Variant, graph_file
from igan_zoo.serving.engine import Engine

# The largest difference allowed between a variant and the float32 torch module, by output and measure. Images are grey
# levels after rounding. What 8 bits cost depends on the model, so their limit only keeps out what cannot work.
TOLERANCES: dict[Variant, dict[str, dict[str, float]]] = {
    "fp16": {
        "images": {"max": 2.0, "differing_pixels": 0.05},
        "logits": {"relative": 0.005},
        "probabilities": {"max": 0.01},
        "realness": {"max": 0.01},
    },
    "int8": {"logits": {"noise": 0.3}},
    # Another function than the module's by intent: how far off it is, is what its report is for.
    "affine": {},
}


@dataclass(frozen=True)
class VariantGraph:
    """A variant of an exported graph: ``subject`` holds its file and bytes, and the float32 module."""

    variant: Variant
    subject: Subject


def make_variants(
    subjects: Sequence[Subject],
    wanted: Sequence[Variant],
    calibration: NDArray[np.uint8] | None = None,
    affine: bytes | None = None,
) -> list[VariantGraph]:
    """Returns the requested variants of exported graphs: fp16 of all, int8 of the classifier, affine of the generator.

    ``calibration`` are unlabelled training images, uint8 ``[N, H, W, C]``, which only int8 needs; ``affine`` is the
    graph of the generator whose virtual batch normalizations use the reference statistics alone.

    Raises:
        TrainingError: int8 is wanted, and there is no classifier or no calibration image.
    """
    made = []
    if "fp16" in wanted:
        made += [_variant("fp16", subject, half_precision(subject.content)) for subject in subjects]
    if "int8" in wanted:
        classifiers = [subject for subject in subjects if subject.role == "classifier"]
        if not classifiers:
            raise TrainingError("int8 is a variant of classifiers, and this run has none; remove --variant int8.")
        if calibration is None or len(calibration) == 0:
            raise TrainingError("The variant int8 is calibrated on training images; name them with --data.")
        made += [_variant("int8", subject, quantized(subject.content, calibration)) for subject in classifiers]
    if affine is not None:
        made += [_variant("affine", subject, affine) for subject in subjects if subject.role == "generator"]
    return made


def calibration_images(images: ImageArray) -> NDArray[np.uint8]:
    """Returns the images, chosen from all training images uint8 ``[N, H, W, C]``, that int8 is calibrated on."""
    count = min(CALIBRATION_IMAGES, len(images))
    chosen = np.random.default_rng(0).choice(len(images), count, replace=False)
    return images[np.sort(chosen)]


def variants_report(graphs: Sequence[VariantGraph], test: TestImages | None = None) -> dict[str, VariantParity]:
    """Returns by file what :func:`variant_parity` says, and how the classifiers do on ``test`` images, if given.

    Raises:
        ParityError: a difference is larger than ``TOLERANCES`` allow.
    """
    report = {graph.subject.file: variant_parity(graph) for graph in graphs}
    for graph in graphs:
        if test is not None and graph.subject.role == "classifier":
            answers = compare_on_test_images(graph.subject, test)
            report[graph.subject.file] = structs.replace(report[graph.subject.file], test=answers)
    return report


def variant_parity(graph: VariantGraph) -> VariantParity:
    """Compares a variant, in the engine, with the torch module in float32 at batches of 1, 2, 7 and 64.

    It has of every output the largest and the mean difference; of images the share of ``differing_pixels``; of logits
    the largest difference ``relative`` to the largest logit, or to 1 if that is smaller, and the ``noise``: the root
    mean square difference over that of an image's logits from their mean.

    Raises:
        ParityError: a difference is larger than ``TOLERANCES`` allow.
    """
    subject, tolerances = graph.subject, TOLERANCES[graph.variant]
    engine = Engine({subject.role: subject.content})
    report = VariantParity(
        variant=graph.variant,
        sha256=hashlib.sha256(subject.content).hexdigest(),
        provider=engine.provider,
        tolerances=tolerances,
        batches={
            str(size): {name: _measured(name, *both) for name, both in outputs_of_both(engine, subject, size).items()}
            for size in BATCHES
        },
    )
    for size, outputs in report.batches.items():
        for name, limits in tolerances.items():
            for measure, limit in limits.items() if name in outputs else ():
                if not outputs[name][measure] <= limit:
                    raise ParityError(
                        f"{subject.file} at batch {size}: {name} differ from torch by {outputs[name][measure]:.2g} "
                        f"({measure}), more than {limit:.2g}; remove --variant {graph.variant}."
                    )
    return report


def _variant(variant: Variant, subject: Subject, content: bytes) -> VariantGraph:
    return VariantGraph(variant, replace(subject, file=graph_file(subject.role, variant), content=content))


def _measured(name: str, expected: NDArray[Any], actual: NDArray[Any]) -> Differences:
    measured = difference(name, expected, actual)
    if name == "logits":
        expected, actual = expected.astype(np.float64), actual.astype(np.float64)
        spread = (expected - expected.mean(axis=1, keepdims=True)).std()
        measured["relative"] = measured["max"] / max(1.0, float(np.abs(expected).max()))
        measured["noise"] = float(np.sqrt(np.square(expected - actual).mean()) / spread)
    return measured
