"""Which photos to label next, and which labels to look at again: what a classifier's answers say about a source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from igan_zoo.counts import none_usable
from igan_zoo.errors import DataError, ImageError
from igan_zoo.images.labels import write_labels
from igan_zoo.images.pixels import encode_png
from igan_zoo.images.stored import LabeledSource
from igan_zoo.machine.files import atomic_directory
from igan_zoo.models.charts import contact_sheet
from igan_zoo.serving.classifying import answered
from igan_zoo.serving.model import LoadedModel

# Picks come from this many times as many photos, those with the smallest margins: what lies far from all others, but
# leaves no doubt, teaches little.
_CANDIDATES = 10


@dataclass(frozen=True)
class Answers:
    """What a classifier says of the photos ``indices`` int64 ``[n]`` of a source.

    ``probabilities`` are float32 ``[n, K]`` of ``classes``, and ``points`` float32 ``[n, D]`` lie near each other where
    photos look alike to the classifier.
    """

    classes: tuple[str, ...]
    indices: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    points: NDArray[np.float32]


@dataclass(frozen=True)
class Pick:
    """A photo to label: the name of its file, the two likeliest classes with their probabilities, and its index."""

    file: str
    classes: tuple[tuple[str, float], tuple[str, float]]
    index: int

    @property
    def margin(self) -> float:
        """The difference of the two probabilities: 0 where the classifier cannot tell."""
        return self.classes[0][1] - self.classes[1][1]


@dataclass(frozen=True)
class Suspicion:
    """A labeled photo for which the classifier gives another class a high ``probability``."""

    file: str
    label: str
    predicted: str
    probability: float


def pick(probabilities: NDArray[np.float32], points: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Returns up to ``count`` rows of ``probabilities`` ``[n, K]`` that are uncertain and unlike each other, in order.

    The first has the smallest margin between its two largest probabilities. Each further one has the largest product of
    ``1 - margin`` and the distance to the nearest that is picked, of ``points`` ``[n, D]``. Among equals the smaller
    margin, and then the first row, is first.
    """
    two = np.partition(probabilities.astype(np.float64), -2, axis=1)[:, -2:]
    margins = two[:, 1] - two[:, 0]
    order = np.argsort(margins, kind="stable")[: _CANDIDATES * count]
    doubts, places = 1 - margins[order], points[order]
    distances = np.full(len(order), np.inf)
    picked: list[int] = []
    best = 0
    for _ in range(min(count, len(order))):
        picked.append(best)
        distances = np.minimum(distances, np.linalg.norm(places - places[best], axis=1))
        gains = doubts * distances
        gains[picked] = -1
        best = int(gains.argmax())
    return order[picked]


def answers_of_model(loaded: LoadedModel, source: LabeledSource) -> tuple[Answers, list[str]]:
    """Returns what a loaded classifier says of a source, its logits as points, and a sentence for each bad photo.

    Raises:
        DataError: no photo can be used.
    """
    indices: list[int] = []
    skipped: list[str] = []
    parts: dict[str, list[NDArray[np.float32]]] = {"probabilities": [], "logits": []}
    for batch, outputs in answered(loaded.engine, source, "classifying", crop=loaded.crop):
        indices += [index for index, pixels in batch if not isinstance(pixels, ImageError)]
        skipped += [str(pixels) for _, pixels in batch if isinstance(pixels, ImageError)]
        for name, arrays in parts.items():
            arrays.extend([outputs[name]] if outputs else [])
    if not indices:
        raise DataError(f"{none_usable(len(source), 'photo', source.reference)}: {skipped[0]}")
    probabilities, logits = (np.concatenate(arrays) for arrays in parts.values())
    return Answers(loaded.classes, np.array(indices, np.int64), probabilities, logits), skipped


def pick_photos(answers: Answers, source: LabeledSource, count: int) -> list[Pick]:
    """Returns up to ``count`` photos without a label, as :func:`pick` chooses them.

    Raises:
        DataError: every photo has a label, or there is but one class.
    """
    if len(answers.classes) < 2:
        raise DataError(f"The classifier knows the class {answers.classes[0]} only, so it is never in doubt.")
    rows = np.flatnonzero(source.labels(answers.indices) < 0)
    if len(rows) == 0:
        raise DataError(f"Every photo of {source.reference} already has a label.")
    names, picks = source.file_names(), []
    for row in rows[pick(answers.probabilities[rows], answers.points[rows], count)].tolist():
        shares = answers.probabilities[row]
        first, second = np.argsort(-shares, kind="stable")[:2].tolist()
        likeliest = (answers.classes[first], float(shares[first])), (answers.classes[second], float(shares[second]))
        index = int(answers.indices[row])
        picks.append(Pick(names[index], likeliest, index))
    return picks


def suspicious_labels(answers: Answers, source: LabeledSource, least: float) -> list[Suspicion]:
    """Returns the labeled photos for which another class has at least the probability ``least``, the surest first.

    Labels that the classifier does not know are left out.
    """
    names, found = source.file_names(), []
    labels = source.labels(answers.indices)
    for row in np.flatnonzero(labels >= 0).tolist():
        label, number = source.classes[labels[row]], int(answers.probabilities[row].argmax())
        probability, predicted = float(answers.probabilities[row, number]), answers.classes[number]
        if predicted != label and label in answers.classes and probability >= least:
            found.append(Suspicion(names[int(answers.indices[row])], label, predicted, probability))
    return sorted(found, key=lambda suspicion: -suspicion.probability)


def write_suggestions(
    out: Path,
    source: LabeledSource,
    labels: Mapping[str, str],
    picks: Sequence[Pick],
    suspicions: Sequence[Suspicion],
    *,
    replace: bool = False,
) -> None:
    """Writes the folder ``out``, whole or not at all.

    ``labels.csv`` has the known ``labels`` by file, and a line without a label for each pick. ``sheet.png`` shows the
    picks under their numbers, and ``suspicious.csv`` has the labels to look at again.

    Raises:
        OutputError: ``out`` exists, without ``replace``, or cannot be written.
        DataError: a file has a name that a CSV file of labels cannot have, or the source broke.
    """
    known = [(file, label, "", "") for file, label in labels.items()]
    new = [(pick.file, "", pick.classes[0][0], str(number)) for number, pick in enumerate(picks, start=1)]
    doubtful = [(one.file, one.label, one.predicted, f"{one.probability:.4f}") for one in suspicions]
    captions = [
        (f"{number}  {pick.classes[0][0]} {pick.classes[0][1]:.2f}", pick.file)
        for number, pick in enumerate(picks, start=1)
    ]
    # One after the other: photos may be large.
    photos = (source.fetch([pick.index])[0].decode() for pick in picks)
    with atomic_directory(out, replace=replace) as folder:
        write_labels(folder / "labels.csv", [*known, *new], ("predicted", "number"))
        write_labels(folder / "suspicious.csv", doubtful, ("predicted", "probability"))
        with (folder / "sheet.png").open("wb") as file:
            encode_png(file, contact_sheet(photos, captions))
