"""The test errors that the paper reports for its classifiers, by data set and number of labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

# Its number of seeds and labelled subsets, and of the members of its ensembles.
SEEDS = 10


@dataclass(frozen=True)
class Published:
    """A number of the paper: its mean over ``runs`` with their standard deviation, or of the Inception score one
    model's with the deviation over splits. ``deviation`` is None where the paper gives none.
    """

    value: float
    deviation: float | None
    runs: int


@dataclass(frozen=True)
class Benchmark:
    """The errors of single models and of ensembles by number of labels, in ``unit`` of ``test_images``."""

    unit: Literal["errors", "error percent"]
    test_images: int
    single: Mapping[int, Published]
    ensembles: Mapping[int, Published]


def _by_labels(errors: Mapping[int, tuple[float, float]]) -> dict[int, Published]:
    return {labels: Published(mean, deviation, SEEDS) for labels, (mean, deviation) in errors.items()}


# By the data's Hub id: Table 1 (section 6.1), Table 2 (6.2), and the table beside Figure 5 (6.3).
BENCHMARKS: Mapping[str, Benchmark] = {
    "ylecun/mnist": Benchmark(
        "errors",
        10_000,
        single=_by_labels({20: (1677, 452), 50: (221, 136), 100: (93, 6.5), 200: (90, 4.2)}),
        ensembles=_by_labels({20: (1134, 445), 50: (142, 96), 100: (86, 5.6), 200: (81, 4.3)}),
    ),
    "uoft-cs/cifar10": Benchmark(
        "error percent",
        10_000,
        single=_by_labels({1000: (21.83, 2.01), 2000: (19.61, 2.09), 4000: (18.63, 2.32), 8000: (17.72, 1.82)}),
        ensembles=_by_labels({1000: (19.22, 0.54), 2000: (17.25, 0.66), 4000: (15.59, 0.47), 8000: (14.87, 0.89)}),
    ),
    "ufldl-stanford/svhn": Benchmark(
        "error percent",
        26_032,
        single=_by_labels({500: (18.44, 4.8), 1000: (8.11, 1.3), 2000: (6.16, 0.58)}),
        ensembles=_by_labels({1000: (5.88, 1.0)}),
    ),
}
