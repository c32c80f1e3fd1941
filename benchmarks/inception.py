"""The Inception scorer beside the same network in PyTorch, one thread each.

    OMP_NUM_THREADS=1 python benchmarks/inception.py

Random weights, batches of 8, medians of five rounds in turn after one to warm up, CPU time.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from igan_zoo.export.convolutions import folded
from igan_zoo.export.graphs import to_onnx
from igan_zoo.export.scorers import SCORERS, Scorer
from igan_zoo.serving.engine import Engine

BATCH, ROUNDS = 8, 5


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    kind = SCORERS["inception"]
    network = kind.build().eval().requires_grad_(False)
    plain, frozen = (Scorer(each, kind.size, kind.offset).eval() for each in (network, folded(network)))
    example = torch.zeros(2, 40, 50, 3, dtype=torch.uint8)
    content = to_onnx(
        frozen, example, input_name="images", outputs=["features", "logits"], metadata={}, axes=("N", "H", "W")
    )
    engine = Engine({"scorer": content}, threads=1)
    runs: dict[str, Callable[[np.ndarray], object]] = {
        "scorer": lambda images: engine.run("scorer", {"images": images}),
        "torch": lambda images: plain(torch.from_numpy(images)),
        "torch, folded": lambda images: frozen(torch.from_numpy(images)),
    }
    for size in (32, 299):
        images = np.random.default_rng(0).integers(0, 256, (BATCH, size, size, 3), np.uint8)
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(ROUNDS + 1):
            for name, run in runs.items():
                began = time.process_time()
                run(images)
                seconds[name].append(time.process_time() - began)
        medians = {name: statistics.median(times[1:]) for name, times in seconds.items()}
        rates = ", ".join(f"{name} {BATCH / median:.2f}" for name, median in medians.items())
        print(f"{size} pixels, images/s: {rates}; scorer/torch {medians['torch'] / medians['scorer']:.2f}")


if __name__ == "__main__":
    main()
