"""The Fréchet distance of 5,000 against 5,000 images: symmetric factors against the eigenvalues of the product.

CPU time, interleaved in one process, best of the rounds. Run with one BLAS thread (OMP_NUM_THREADS=1).

    python benchmarks/frechet_distance.py [--features 2048] [--images 5000] [--rounds 2]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from igan_zoo.serving.scoring.metrics.frechet_distance import Gaussian, frechet_distance, frechet_distance_reference

CONTESTANTS: dict[str, Callable[[Gaussian, Gaussian], float]] = {
    "symmetric": frechet_distance,
    "product": frechet_distance_reference,
}


def some_gaussian(images: int, features: int, seed: int) -> Gaussian:
    random = np.random.default_rng(seed)
    mixing = random.normal(size=(features, features)) / np.sqrt(features)
    x = np.maximum(random.normal(size=(images, features)) @ mixing + 0.3, 0)
    return Gaussian(x.mean(axis=0), np.cov(x, rowvar=False))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=int, default=2048)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    one, other = (some_gaussian(arguments.images, arguments.features, seed) for seed in (1, 2))
    seconds: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    values: dict[str, float] = {}
    for _ in range(arguments.rounds):
        for name, compute in CONTESTANTS.items():
            started = time.process_time()
            values[name] = compute(one, other)
            seconds[name].append(time.process_time() - started)
    fastest = {name: min(measured) for name, measured in seconds.items()}
    for name, best in fastest.items():
        print(f"{name:9} {best:7.2f} s, distance {values[name]:.10f}")
    print(f"ratio {fastest['product'] / fastest['symmetric']:.2f}")


if __name__ == "__main__":
    main()
