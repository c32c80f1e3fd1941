"""The parity report of a scorer: what its graph computes in the engine beside what its network computes in PyTorch."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from igan_zoo.errors import ParityError
from igan_zoo.export.graphs.building import IR_VERSION, OPSET
from igan_zoo.export.parity import versions
from igan_zoo.machine.progress import Progress
from igan_zoo.models.parity import Differences, ScorerParity
from igan_zoo.serving.engine import Engine

BATCHES = (1, 2, 7)
# Smaller than every network's input, Inception's own, and barely larger, where the coordinates round most.
SIZES = (32, 299, 300)

# The largest absolute difference allowed where the largest number is up to 10, as it is with published weights;
# relative to a tenth of it otherwise.
TOLERANCE = 3e-4


def scorer_parity(content: bytes, module: nn.Module, scorer: str, weights_sha256: str) -> ScorerParity:
    """Runs the graph and ``module``, nothing folded, at several batches and image sizes, and returns the differences.

    ``scorer`` is the network's name and ``weights_sha256`` the sum of the weights that both are made of.

    Raises:
        ParityError: a name, a shape or a difference is not as it must be.
    """
    engine = Engine({"scorer": content})
    comparisons: dict[str, dict[str, Differences]] = {}
    with Progress("comparing with PyTorch", len(SIZES) * sum(BATCHES), unit="images") as bar:
        for size in SIZES:
            images = comparison_images(max(BATCHES), size)
            for batch in BATCHES:
                comparisons[f"{batch}x{size}x{size}"] = _compare(engine, module, images[:batch])
                bar.advance(batch)
    return ScorerParity(
        scorer=scorer,
        weights_sha256=weights_sha256,
        opset=OPSET,
        ir_version=IR_VERSION,
        provider=engine.provider,
        versions=versions(),
        tolerance=TOLERANCE,
        sha256=hashlib.sha256(content).hexdigest(),
        images=comparisons,
    )


def comparison_images(count: int, size: int) -> NDArray[np.uint8]:
    """Returns images uint8 ``[count, size, size, 3]`` of noise whose grain and contrast differ from one to the next."""
    generator = np.random.default_rng(size)
    images = np.empty((count, size, size, 3), np.uint8)
    for index, image in enumerate(images):
        grain = 2 ** (index % 5)
        coarse = generator.integers(0, 256 >> (index % 3), (-(-size // grain), -(-size // grain), 3), np.uint8)
        image[:] = coarse.repeat(grain, axis=0).repeat(grain, axis=1)[:size, :size]
    return images


def _compare(engine: Engine, module: nn.Module, images: NDArray[np.uint8]) -> dict[str, Differences]:
    with torch.no_grad():
        expected = dict(zip(("features", "logits"), module(torch.from_numpy(images)), strict=True))
    actual = engine.run("scorer", {"images": images})
    return {name: _difference(name, images.shape, expected[name].numpy(), actual[name]) for name in expected}


def _difference(
    name: str, images: tuple[int, ...], expected: NDArray[np.float32], actual: NDArray[np.float32]
) -> Differences:
    where = f"The scorer's {name} of images {list(images)}"
    if expected.shape != actual.shape:
        raise ParityError(f"{where} have the shape {actual.shape}, in PyTorch {expected.shape}.")
    difference = np.abs(expected.astype(np.float64) - actual.astype(np.float64))
    measured = {
        "max": float(difference.max()),
        "mean": float(difference.mean()),
        "largest": float(np.abs(expected).max()),
    }
    if not measured["max"] <= TOLERANCE * max(1, measured["largest"] / 10):
        raise ParityError(f"{where} differ from PyTorch by {measured['max']:.2g}, more than {TOLERANCE:.2g}.")
    return measured
