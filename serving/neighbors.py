"""Memorization: the nearest training images of samples, and which samples are closer to one than it is to its own kind.

A sample is a near copy where its nearest training image lies nearer to it than to every other training image: the
samples that Alaa et al. (2022) call not authentic. Of held-out images a share is as well, 0.16 to 0.40 in tests with
random features, so the share of samples says something only next to that one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from igan_zoo.images.pixels import Shape, conform_pixels, encode_png, grid
from igan_zoo.images.stored import ImageSource, read
from igan_zoo.machine.files import atomic_file
from igan_zoo.machine.progress import Progress
from igan_zoo.serving.scoring.metrics.moments import FEATURE_STEPS
from igan_zoo.serving.scoring.metrics.nearest import blocks, exact_steps, radii, squared_distances

SHOWN = 3
_TILE = 96


@dataclass(frozen=True)
class Neighbors:
    """``nearest`` int64 ``[N, k]``, the training images next to each sample, nearest first, by their rows of features.

    ``distances`` float64 ``[N, k]`` between their features; ``copies`` bool ``[N]``.
    """

    nearest: NDArray[np.int64]
    distances: NDArray[np.float64]
    copies: NDArray[np.bool_]

    @property
    def order(self) -> NDArray[np.int64]:
        """The samples from the closest to a training image on, int64 ``[N]``."""
        return np.argsort(self.distances[:, 0], kind="stable").astype(np.int64)


def find_neighbors(
    samples: NDArray[np.float32], training: NDArray[np.float32], *, shown: int = SHOWN, block: int = 2048
) -> Neighbors:
    """Returns the ``shown`` nearest training images of every sample, of features ``[N, F]`` and ``[M, F]``.

    Raises:
        ScoringError: a set is too small or too large in value, or the numbers of features differ.
    """
    made, true = exact_steps(samples, training, max(shown - 1, 1))
    nearest, distances = np.empty((len(made), shown), np.int64), np.empty((len(made), shown))
    with Progress("nearest images", -(-len(made) // block) - (-len(true) // block), unit="blocks") as bar:
        own = radii(true, 1, block, bar)
        for rows in blocks(len(made), block):
            best, where = np.full((len(made[rows]), shown), np.inf), np.zeros((len(made[rows]), shown), np.int64)
            for columns in blocks(len(true), block):
                found = squared_distances(made[rows], true[columns])
                indices = np.broadcast_to(np.arange(columns.start, columns.start + found.shape[1]), found.shape)
                best, where = np.concatenate([best, found], axis=1), np.concatenate([where, indices], axis=1)
                # Of equal distances the first image counts, whatever the blocks.
                first = np.argsort(best, axis=1, kind="stable")[:, :shown]
                best, where = np.take_along_axis(best, first, axis=1), np.take_along_axis(where, first, axis=1)
            nearest[rows], distances[rows] = where, best
            bar.advance(1)
    return Neighbors(nearest, np.sqrt(distances) / FEATURE_STEPS, distances[:, 0] < own[nearest[:, 0]])


def write_neighbors(
    out: Path,
    neighbors: Neighbors,
    samples: ImageSource,
    training: ImageSource,
    indices: tuple[NDArray[np.int64], NDArray[np.int64]],
    *,
    rows: int,
) -> None:
    """Writes ``neighbors.jsonl``, a line a sample from the closest on, and ``neighbors.png`` of the first ``rows``.

    ``indices`` say which image of each source a row of features is of. In the picture the sample comes first in its
    row, then its nearest training images.

    Raises:
        OutputError: they cannot be written.
        ImageError, DataError: an image cannot be read again.
    """
    lines = []
    for row in neighbors.order.tolist():
        close = [
            {"image": training.name(int(indices[1][column])), "distance": round(float(distance), 6)}
            for column, distance in zip(neighbors.nearest[row], neighbors.distances[row], strict=True)
        ]
        name = samples.name(int(indices[0][row]))
        lines.append(json.dumps({"sample": name, "near_copy": bool(neighbors.copies[row]), "nearest": close}))
    with atomic_file(out / "neighbors.jsonl") as file:
        file.write_text("\n".join(lines) + "\n")
    tiles = []
    for row in neighbors.order[:rows].tolist():
        tiles.append(_tile(samples, int(indices[0][row])))
        tiles += [_tile(training, int(indices[1][column])) for column in neighbors.nearest[row]]
    with atomic_file(out / "neighbors.png") as file:
        encode_png(file, grid(np.stack(tiles), 1 + neighbors.nearest.shape[1]))


def _tile(source: ImageSource, index: int) -> NDArray[np.uint8]:
    (pixels,) = read(source, [index])
    return conform_pixels(pixels, Shape(3, _TILE, _TILE, crop=True))
