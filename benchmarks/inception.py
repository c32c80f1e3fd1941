"""The Inception scorer beside the same network in PyTorch, one thread each.

    OMP_NUM_THREADS=1 python benchmarks/inception.py

Random weights, batches of 8, medians of five rounds in turn after one to warm up, CPU time.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from igan_zoo.export.scorers.torch_scorers import NETWORKS, torch_scorer
from igan_zoo.serving.engine import Engine
from igan_zoo.serving.scorers.converting import SCORERS, convert
from igan_zoo.serving.scorers.weights import open_weights

BATCH, ROUNDS = 8, 5


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    kind = SCORERS["inception"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.pth"
        torch.save(NETWORKS["inception"][0]().state_dict(), path)
        file = open_weights(path)
    plain = torch_scorer(kind, file)
    engine = Engine({"scorer": convert(kind, file)}, threads=1)
    runs: dict[str, Callable[[np.ndarray], object]] = {
        "scorer": lambda images: engine.run("scorer", {"images": images}),
        "torch": lambda images: plain(torch.from_numpy(images)),
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
