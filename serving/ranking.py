"""Images in the order of their own Inception-type score, as the paper chose samples to show (section 6.2, figure 5).

The score of a set is ``exp(mean_i KL(pᵢ ‖ q))`` with ``q = mean_i pᵢ`` (section 4), so what image ``i`` has a share in
it is ``KL(pᵢ ‖ q) = Σₖ pᵢₖ log pᵢₖ - Σₖ pᵢₖ log qₖ``: how sure its class is, and how rare in the set. Each image is
measured against all images of the source, itself included.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from igan_zoo.counts import counted
from igan_zoo.errors import ScoringError
from igan_zoo.images.files.kinds import PNG
from igan_zoo.images.pixels import Shape, conform_pixels, encode_png, grid
from igan_zoo.images.stored import ImageSource, StoredImage
from igan_zoo.machine.files import atomic_directory
from igan_zoo.machine.progress import Progress
from igan_zoo.models.charts import captioned, histogram
from igan_zoo.serving.model import classes_in
from igan_zoo.serving.scoring.accumulator import probabilities_and_entropies
from igan_zoo.serving.scoring.kept_logits import KeptLogits
from igan_zoo.serving.scoring.network import Network
from igan_zoo.serving.scoring.protocols import metric_label

# How many images the picture of best and worst shows of each, in rows of so many, and the side of one in pixels.
_SHOWN, _COLUMNS, _SIDE = 16, 8, 96
_FETCHED_AT_ONCE = 32


@dataclass(frozen=True)
class Ranking:
    """Images best first: ``indices`` int64 ``[N]``, their ``divergences`` in nats, float64, and likeliest ``classes``.

    ``score`` is that of the set, unsplit.
    """

    indices: NDArray[np.int64]
    divergences: NDArray[np.float64]
    classes: NDArray[np.int64]
    score: float

    def __len__(self) -> int:
        return len(self.indices)


@dataclass(frozen=True)
class Facts:
    """What a ranking was made with: the scorer, its sha256 and what its score is called; the source's fingerprint.

    ``labels`` are the names of the classes, if they have any.
    """

    title: str
    scorer: str
    scorer_sha256: str
    source: str
    source_fingerprint: str
    labels: tuple[str, ...] | None = None


def facts_of(network: Network, source: ImageSource) -> Facts:
    """Returns the facts of a ranking of ``source`` by ``network``; all of the source is read for its fingerprint."""
    labels = None
    if network.shape is not None:
        labels = classes_in(network.engine.graphs["classifier"])
    title = metric_label("is", network.name, network.precision)
    return Facts(title, network.name, network.sha256, source.reference, source.fingerprint(), labels)


def rank(kept: KeptLogits) -> Ranking:
    """Returns the ranking of all images that have logits; among equals the first in the source is first.

    Raises:
        ScoringError: there are fewer than two.
    """
    count = len(kept)
    if count < 2:
        raise ScoringError(f"A ranking compares images, but only {count} can be used; give at least two.")
    marginal = np.zeros(kept.classes)
    for _, logits in kept.chunks():
        marginal += probabilities_and_entropies(logits)[0].sum(axis=0)
    log_marginal = np.log(np.where(marginal > 0, marginal / count, 1.0))
    indices, divergences, classes = [], [], []
    for chunk, logits in kept.chunks():
        probabilities, entropies = probabilities_and_entropies(logits)
        indices.append(chunk)
        divergences.append(entropies - (probabilities * log_marginal).sum(axis=1))
        classes.append(logits.argmax(axis=1))
    return _sorted(np.concatenate(indices), np.concatenate(divergences), np.concatenate(classes))


def rank_reference(logits: NDArray[np.float32]) -> Ranking:
    """The same of the logits ``[N, K]`` of all images at once, by the definition of the divergence."""
    exponentials = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    p = exponentials / exponentials.sum(axis=1, keepdims=True)
    q = p.mean(axis=0)
    ratio = np.divide(p, q, out=np.ones_like(p), where=p > 0)
    return _sorted(np.arange(len(p)), (p * np.log(ratio)).sum(axis=1), p.argmax(axis=1))


def _sorted(indices: NDArray[np.int64], divergences: NDArray[np.float64], classes: NDArray[np.int64]) -> Ranking:
    order = np.argsort(-divergences, kind="stable")
    return Ranking(indices[order], divergences[order], classes[order], float(np.exp(divergences.mean())))


def how_many(top: str, images: int) -> int:
    """Returns how many of ``images`` the wish ``top``, ``25`` or ``1%``, is; a share is rounded up.

    Raises:
        ScoringError: it is neither a whole number nor a percentage, or not of 1 to all images.
    """
    share = top.strip().endswith("%")
    try:
        number = Fraction(top.strip().removesuffix("%"))
    except (ValueError, ZeroDivisionError):
        number = Fraction(-1)
    if number < 0 or not (share or number.denominator == 1):
        raise ScoringError(f"--top {top} is neither a number of images, like 25, nor a share of them, like 1%.")
    if number == 0:
        raise ScoringError(f"--top {top} chooses no image; ask for at least one.")
    wanted = math.ceil(images * number / 100) if share else int(number)
    if wanted > images:
        raise ScoringError(
            f"--top {top} is more than the source has: {counted(images, 'image')}; ask for at most that many."
        )
    return wanted


def write_ranking(
    out: Path, source: ImageSource, ranking: Ranking, count: int, facts: Facts, *, replace: bool = False
) -> None:
    """Writes the folder ``out``, whole or not at all.

    ``images/`` has the first ``count`` images, numbered by rank: the bytes of the source's own files, a PNG where it
    has pixels only. ``ranking.jsonl`` has one line an image, best first, ``ranking.json`` what it depends on,
    ``histogram.png`` and ``best-and-worst.png`` are pictures.

    Raises:
        OutputError: ``out`` exists, without ``replace``, or cannot be written.
        DataError, ImageError: the source broke meanwhile.
    """
    with atomic_directory(out, replace=replace) as folder:
        (folder / "images").mkdir()
        files = _write_images(folder / "images", source, ranking, count)
        with (folder / "ranking.jsonl").open("w", encoding="utf-8") as lines:
            for position in range(len(ranking)):
                line = _line(source, ranking, position, facts.labels)
                line["file"] = f"images/{files[position]}" if position < count else None
                lines.write(json.dumps(line, ensure_ascii=False) + "\n")
        summary = {
            "scorer": facts.scorer,
            "scorer_sha256": facts.scorer_sha256,
            "source": facts.source,
            "source_fingerprint": facts.source_fingerprint,
            "images": len(ranking),
            "chosen": count,
            "score": ranking.score,
            "score_is": f"{facts.title}, unsplit; of an image: KL(p(y|x) || p(y)) in nats",
        }
        (folder / "ranking.json").write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        with (folder / "histogram.png").open("wb") as file:
            encode_png(file, _histogram(ranking, count, facts))
        with (folder / "best-and-worst.png").open("wb") as file:
            encode_png(file, best_and_worst(source, ranking, facts.title))


def _line(source: ImageSource, ranking: Ranking, position: int, labels: Sequence[str] | None) -> dict[str, Any]:
    index, number = int(ranking.indices[position]), int(ranking.classes[position])
    return {
        "rank": position + 1,
        "index": index,
        "name": source.name(index).encode("utf-8", "replace").decode(),
        "score": float(ranking.divergences[position]),
        "class": labels[number] if labels else number,
    }


def _write_images(folder: Path, source: ImageSource, ranking: Ranking, count: int) -> list[str]:
    """Writes the first ``count`` images and returns the names of their files, by rank."""
    names = [""] * count
    digits = max(5, len(str(count)))

    def write(position: int, image: StoredImage) -> None:
        content = image.content.read_bytes() if isinstance(image.content, Path) else image.content
        if isinstance(content, bytes):
            suffix = ".png" if content.startswith(PNG) else ".jpg"
            names[position] = f"{position + 1:0{digits}d}{suffix}"
            (folder / names[position]).write_bytes(content)
        else:
            names[position] = f"{position + 1:0{digits}d}.png"
            with (folder / names[position]).open("wb") as file:
                encode_png(file, image.decode(Shape(_channels(image))))

    _visit(source, ranking.indices[:count], write, title="writing")
    return names


def _channels(image: StoredImage) -> int:
    return image.content.shape[2] if isinstance(image.content, np.ndarray) else 3


def _visit(
    source: ImageSource, indices: NDArray[np.int64], visit: Callable[[int, StoredImage], None], *, title: str
) -> None:
    """Calls ``visit`` with the position in ``indices`` and the image, in the ascending order that sources like."""
    positions = np.argsort(indices, kind="stable")
    with Progress(title, len(indices), unit="images") as bar:
        for start in range(0, len(positions), _FETCHED_AT_ONCE):
            piece = positions[start : start + _FETCHED_AT_ONCE]
            for position, image in zip(piece.tolist(), source.fetch(indices[piece].tolist()), strict=True):
                visit(position, image)
            bar.advance(len(piece))


def best_and_worst(source: ImageSource, ranking: Ranking, title: str) -> NDArray[np.uint8]:
    """Returns a picture, uint8 ``[H, W, 3]``, of up to 16 images from either end of the ranking, cropped to squares."""
    shown = min(_SHOWN, len(ranking) // 2)
    chosen = np.concatenate([ranking.indices[:shown], ranking.indices[len(ranking) - shown :]])
    squares = np.zeros((2 * shown, _SIDE, _SIDE, 3), np.uint8)

    def show(position: int, image: StoredImage) -> None:
        squares[position] = _square(image.decode())

    _visit(source, chosen, show, title="drawing")
    best, worst = squares[:shown], squares[shown:]
    return captioned(
        [
            (f"highest {shown} of {len(ranking):,}: {title}", grid(best, _COLUMNS)),
            (f"lowest {shown}", grid(worst, _COLUMNS)),
        ]
    )


def _square(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Brings an image to the side of a picture; small ones grow by whole pixels as far as that goes."""
    factor = max(1, _SIDE // max(image.shape[:2]))
    larger = image.repeat(factor, axis=0).repeat(factor, axis=1)
    return conform_pixels(larger, Shape(3, _SIDE, _SIDE, crop=True))


def _histogram(ranking: Ranking, count: int, facts: Facts) -> NDArray[np.uint8]:
    return histogram(
        ranking.divergences,
        title=f"{facts.title}: {ranking.score:.4f}, the exp of the mean of {counted(len(ranking), 'image')}",
        label="KL(p(y|x) || p(y)) of an image, nats",
        from_value=float(ranking.divergences[count - 1]),
        from_label=f"the highest {count:,}",
    )
