"""The exported files of a run on features: one classifier that includes the frozen network, and the same with 8-bit
layers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from igan_zoo.errors import DataError, ImageError, OutputError
from igan_zoo.export.feature_classifier import compare, with_head
from igan_zoo.export.graphs.quantization import quantized
from igan_zoo.images.stored import ImageSource
from igan_zoo.machine.files import atomic_file
from igan_zoo.serving.engine import Engine
from igan_zoo.serving.scorers.feature_encoders import encoder_of
from igan_zoo.training.features.runs import FeatureRun

# Ranges of activations settle early, and every activation of a batch is in memory.
_CALIBRATED, _MEASURED, _BATCH = 96, 200, 8


@dataclass(frozen=True)
class ExportedClassifier:
    """What a run on features became: the file ``path``, and ``int8`` where it was asked for.

    ``differences`` are the largest from PyTorch, by output. Of ``measured`` photos, ``changed`` get another class from
    the 8-bit file, whose probabilities are off by ``mean_change`` on average.
    """

    path: Path
    differences: dict[str, float]
    int8: Path | None = None
    measured: int = 0
    changed: int = 0
    mean_change: float = 0.0


def export_on_features(
    run: FeatureRun, out: Path, *, photos: ImageSource | None = None, replace: bool = False
) -> ExportedClassifier:
    """Writes the classifier of a finished run to ``out``, or to ``classifier.onnx`` in the folder ``out``.

    With ``photos``, an 8-bit form is written next to it, ``X-int8.onnx``, calibrated on some of them and measured on
    others. Only the frozen network has 8 bits; the game's networks are small and stay in float32.

    Raises:
        TrainingError: the run is not finished, or its encoder is damaged.
        ParityError: the graph does not compute what the networks compute, or has no layer that can have 8 bits.
        OutputError: a file is there, without ``replace``, or cannot be written.
        DataError: fewer than two photos can be used.
    """
    path = out if out.suffix == ".onnx" else out / "classifier.onnx"
    small = path.with_name(f"{path.stem}-int8.onnx") if photos is not None else None
    for target in (path, small):
        if target is not None and target.exists() and not replace:
            raise OutputError(f"{target} already exists; choose another file, or add --force to replace it.")
    facts, classifier, encoder = run.facts(), run.classifier(), run.encoder_content()
    least = run.result().least_realness
    content = with_head(encoder, classifier, facts.classes, facts.size, least)
    made = ExportedClassifier(path, compare(content, encoder, classifier, facts.size))
    eight = None
    if photos is not None and small is not None:
        pixels = _some_pixels(photos, run)
        half = min(_CALIBRATED, len(pixels) // 2)
        eight = with_head(quantized(encoder, pixels[:half], batch=_BATCH), classifier, facts.classes, facts.size, least)
        answers, others = (_probabilities(graph, pixels[half:]) for graph in (content, eight))
        made = ExportedClassifier(
            path,
            made.differences,
            small,
            len(answers),
            int((answers.argmax(axis=1) != others.argmax(axis=1)).sum()),
            float(np.abs(answers - others).mean()),
        )
    for target, graph in ((path, content), (small, eight)):
        if target is not None and graph is not None:
            with atomic_file(target) as temporary:
                temporary.write_bytes(graph)
    return made


def _some_pixels(photos: ImageSource, run: FeatureRun) -> NDArray[np.uint8]:
    """Returns photos that can be used, chosen at random, as the frozen network sees them, uint8 ``[n, S, S, 3]``."""
    facts = run.facts()
    shape = encoder_of(run.encoder_content(), facts.encoder, facts.size).shape
    order = np.random.default_rng(0).permutation(len(photos))[: _CALIBRATED + _MEASURED]
    found = [photos.fetch([int(index)])[0].attempt(shape) for index in order]
    usable = [pixels for pixels in found if not isinstance(pixels, ImageError)]
    if len(usable) < 2:
        raise DataError(
            f"{photos.reference} has {len(usable)} photos to calibrate and measure on; int8 needs at least two."
        )
    return np.stack(usable)


def _probabilities(graph: bytes, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    engine = Engine({"classifier": graph})
    parts = [
        engine.run("classifier", {"images": pixels[start : start + _BATCH]})["probabilities"]
        for start in range(0, len(pixels), _BATCH)
    ]
    return np.concatenate(parts)
