"""The score of the same images by the conventions of other tools, side by side: why printed numbers differ.

A row is the mean over splits of ``exp(mean KL(p ‖ q))`` with one or two things as another tool has them: the bias of
the logits, the number of splits, which images share a split, the resize. Nothing else differs: the weights and the
images are the same.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from igan_zoo.counts import counted
from igan_zoo.errors import InterfaceError, ScoringError
from igan_zoo.images.batches import Pixels
from igan_zoo.images.pixels import Shape
from igan_zoo.images.stored import ImageSource
from igan_zoo.models.interface import LOGIT_BIAS_KEY
from igan_zoo.serving.scoring.accumulator import probabilities_and_entropies
from igan_zoo.serving.scoring.kept_logits import KeptLogits, keep_logits
from igan_zoo.serving.scoring.network import Network
from igan_zoo.serving.scoring.statistics import DEFAULT_SEED, DEFAULT_SPLITS

Resize = Literal["tf1", "half-pixel"]
_RESIZE = re.compile(r"tf1-bilinear-([1-9][0-9]{0,3})")

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Convention:
    """How a score is made, and ``who`` makes it so."""

    who: str
    splits: int = DEFAULT_SPLITS
    shuffled: bool = True
    biased: bool = False
    resize: Resize = "tf1"
    as_stored: bool = False


# Read in the sources of torch-fidelity 0.4.0, torchmetrics 1.9.0, pytorch-fid 0.3.0, StyleGAN3 and the 2016 code.
CONVENTIONS = (
    Convention("this protocol; torch-fidelity; torchmetrics, with another shuffle"),
    Convention("the 2016 code, StyleGAN, and torch-fidelity without shuffling", shuffled=False),
    Convention("the score of the whole set: no loss from small splits", splits=1),
    Convention("the network's own softmax; torch-fidelity with the feature `logits`", biased=True),
    Convention("the same without splits", splits=1, biased=True),
    Convention("the resize of pytorch-fid, torchvision and PyTorch", resize="half-pixel"),
    Convention("torch-fidelity and others, of files: orientation and transparency ignored", as_stored=True),
    Convention("bias, resize and order together", biased=True, shuffled=False, resize="half-pixel"),
)


@dataclass(frozen=True)
class Row:
    """A convention and its score: ``value`` and population ``deviation`` over the splits."""

    convention: Convention
    value: float
    deviation: float


@dataclass(frozen=True)
class Comparison:
    """Rows, the first of them this protocol's, of so many ``images``; ``missing`` says which could not be made, why."""

    rows: tuple[Row, ...]
    images: int
    seed: int
    missing: tuple[str, ...] = ()


def compare_conventions(
    network: Network,
    source: ImageSource,
    *,
    batch_size: int | None = None,
    threads: int | None = None,
    seed: int = DEFAULT_SEED,
    strict: bool = False,
) -> Comparison:
    """Scores ``source`` with a scorer by each of ``CONVENTIONS``; the images go through it twice, files three times.

    For half-pixel centres they are resized outside, where TensorFlow's own resize then changes nothing any more, and
    rounded to grey levels on the way.

    Raises:
        ScoringError: the network is no scorer, or there are too few images for the splits.
        InterfaceError: the bias in the scorer's metadata is damaged.
        ImageError, DataError, OutputError: as :func:`igan_zoo.serving.scoring.kept_logits.keep_logits`.
    """
    if network.shape is not None:
        raise ScoringError(f"{network.name} is a classifier of the zoo, which no other tool scores with; use a scorer.")
    bias, size = _bias_of(network.engine.graphs["scorer"].metadata, network.classes), _size_of(network.resize)
    if len(source) < DEFAULT_SPLITS:
        raise ScoringError(
            f"{counted(len(source), 'image')} cannot be divided into {DEFAULT_SPLITS} splits: use more images."
        )
    passes: dict[tuple[Resize, bool], Callable[[Pixels], Pixels]] = {("tf1", False): lambda images: images}
    if size is not None:
        passes["half-pixel", False] = lambda images: half_pixel_bilinear(images, size)
    if source.encoded:
        passes["tf1", True] = passes["tf1", False]
    possible = [
        each
        for each in CONVENTIONS
        if (each.resize, each.as_stored) in passes and (bias is not None or not each.biased)
    ]
    rows: dict[Convention, Row] = {}
    count = 0
    for (resize, as_stored), resized in passes.items():
        with KeptLogits(len(source), network.classes) as kept:
            keep_logits(
                kept,
                source,
                network,
                batch_size=batch_size,
                threads=threads,
                strict=strict,
                change=resized,
                title=f"scoring, {resize} resize",
                shape=Shape(network.channels, as_stored=as_stored),
            )
            count = len(kept)
            for convention in possible:
                if (convention.resize, convention.as_stored) == (resize, as_stored):
                    rows[convention] = score_logits(kept, convention, bias=bias, seed=seed)
    missing = []
    if bias is None:
        missing.append(
            "This scorer's file does not contain the bias left out of its logits, so there are no rows with bias."
        )
    if size is None:
        missing.append(
            "This scorer's file does not name the size it resizes to, so there are no rows with another resize."
        )
    return Comparison(tuple(rows[each] for each in possible), count, seed, tuple(missing))


def score_logits(
    kept: KeptLogits, convention: Convention, *, bias: Array | None = None, seed: int = DEFAULT_SEED
) -> Row:
    """Returns a convention's score of kept logits, whatever resize they were made with.

    Raises:
        ScoringError: there are fewer images than splits.
    """
    count, splits = len(kept), convention.splits
    if count < splits:
        raise ScoringError(
            f"{counted(count, 'image')} cannot be divided into {counted(splits, 'split')}: use more images."
        )
    numbers = np.arange(count)
    if convention.shuffled:
        numbers[np.random.RandomState(seed).permutation(count)] = np.arange(count)
    ends = [(split + 1) * count // splits for split in range(splits)]
    chosen = np.searchsorted(ends, numbers, side="right")
    probabilities, entropies = np.zeros((splits, kept.classes)), np.zeros(splits)
    start = 0
    for indices, logits in kept.chunks():
        here = chosen[start : start + len(indices)]
        start += len(indices)
        p, h = probabilities_and_entropies(logits + bias if convention.biased and bias is not None else logits)
        for split in np.unique(here):
            probabilities[split] += p[here == split].sum(axis=0)
            entropies[split] += h[here == split].sum()
    counts = np.bincount(chosen, minlength=splits)
    q = probabilities / counts[:, None]
    scores = np.exp(entropies / counts - (q * np.log(np.where(q > 0, q, 1.0))).sum(axis=1))
    return Row(convention, float(scores.mean()), float(scores.std()))


def half_pixel_bilinear(images: Pixels, size: int) -> Pixels:
    """Returns images uint8 ``[N, H, W, C]`` as uint8 ``[N, size, size, C]``, as PyTorch's ``interpolate`` makes them.

    Output pixel i lies at (i + 1/2) * H / size - 1/2, at least 0; nothing is averaged when shrinking. Rounded to grey
    levels, half to even.
    """
    result = images.astype(np.float32)
    for axis in (1, 2):
        low, high, fraction = _neighbours(images.shape[axis], size)
        before, after = result.take(low, axis=axis), result.take(high, axis=axis)
        result = before + (after - before) * np.expand_dims(fraction, tuple(range(1, 4 - axis)))
    return np.rint(result).astype(np.uint8)


def _neighbours(extent: int, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    position = np.maximum((np.arange(size) + 0.5) * (extent / size) - 0.5, 0)
    low = position.astype(np.int64)
    return low, np.minimum(low + 1, extent - 1), (position - low).astype(np.float32)


def encoded_bias(bias: NDArray[np.float32]) -> str:
    """Returns a bias as a scorer's metadata holds it: little-endian float32 in base64."""
    return base64.b64encode(bias.astype("<f4").tobytes()).decode()


def decoded_bias(text: str) -> NDArray[np.float32]:
    """Returns the bias, float32 ``[K]``, that :func:`encoded_bias` wrote.

    Raises:
        InterfaceError: it is something else.
    """
    try:
        return np.frombuffer(base64.b64decode(text, validate=True), "<f4").astype(np.float32)
    except ValueError as error:
        raise InterfaceError(f"The scorer's {LOGIT_BIAS_KEY} is damaged; export the scorer again.") from error


def describe(comparison: Comparison) -> Sequence[tuple[str, ...]]:
    """Returns the rows of a table, its heads first."""
    heads = ("score", "deviation", "bias", "splits", "order", "resize", "as in")
    first = comparison.rows[0].value
    return [heads] + [
        (
            f"{row.value:.4f} ({(row.value / first - 1) * 100:+.1f} %)",
            f"{row.deviation:.4f}",
            "yes" if row.convention.biased else "no",
            str(row.convention.splits),
            "shuffled" if row.convention.shuffled else "as it comes",
            row.convention.resize,
            row.convention.who,
        )
        for row in comparison.rows
    ]


def _bias_of(metadata: Mapping[str, str], classes: int) -> Array | None:
    text = metadata.get(LOGIT_BIAS_KEY)
    if text is None:
        return None
    bias = decoded_bias(text).astype(np.float64)
    if bias.shape != (classes,) or not np.isfinite(bias).all():
        raise InterfaceError(f"The scorer's {LOGIT_BIAS_KEY} is damaged; export the scorer again.")
    return bias


def _size_of(resize: str) -> int | None:
    match = _RESIZE.fullmatch(resize)
    return None if match is None else int(match[1])
