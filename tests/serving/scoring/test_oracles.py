"""The same numbers as torch-fidelity and others, which run in an environment of their own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from igan_zoo.serving.scoring.metrics.density_coverage import density_coverage
from igan_zoo.serving.scoring.metrics.extrapolation import frechet_distance_infinity
from igan_zoo.serving.scoring.metrics.frechet_distance import Gaussian, frechet_distance, gaussian
from igan_zoo.serving.scoring.metrics.inception_score import inception_score
from igan_zoo.serving.scoring.metrics.kernel_distance import kernel_distance
from igan_zoo.serving.scoring.metrics.precision_recall import precision_recall
from igan_zoo.serving.scoring.metrics.vendi_score import vendi_score
from igan_zoo.serving.scoring.statistics import Statistics
from tests.conftest import REPOSITORY
from tests.environments import python_of
from tests.serving.scoring.examples import some_facts, some_features, some_logits, statistics_of

# Many images for few features; few images for many, where other tools' own solvers are off.
CASES = {"many images": (700, 600, 96, 100), "few images": (160, 150, 512, 60)}


class Case:
    """Our statistics of both sides, and what the others say of the same arrays."""

    def __init__(self, name: str, folder: Path) -> None:
        count, real_count, size, self.subset_size = CASES[name]
        self.few = count < size
        self.features, self.real = some_features(count, size, 1), some_features(real_count, size, 2, scale=1.3)
        logits = some_logits(count, 1008, 3)
        self.statistics = self._statistics(self.features, logits)
        self.reference = self._statistics(self.real, some_logits(real_count, 1008, 4))
        np.savez(folder / "in.npz", features=self.features, real=self.real, logits=logits, subset_size=self.subset_size)
        command = [python_of("oracle"), "-m", "tests.serving.scoring.oracle", folder / "in.npz", folder / "out.json"]
        subprocess.run(command, cwd=REPOSITORY, check=True)
        self.answers: dict[str, Any] = json.loads((folder / "out.json").read_text())

    @staticmethod
    def _statistics(features: Any, logits: Any) -> Statistics:
        count, size = features.shape
        return statistics_of(some_facts(images=count, features=size, classes=1008, kept=count), features, logits)


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    return Case(request.param, tmp_path_factory.mktemp("oracle"))


def test_the_inception_score_is_torch_fidelitys(case: Case) -> None:
    ours, theirs = inception_score(case.statistics), case.answers["torch-fidelity"]
    assert ours.mean == pytest.approx(theirs["inception_score_mean"], abs=1e-5)
    assert ours.deviation == pytest.approx(theirs["inception_score_std"], abs=1e-5)


def test_the_kernel_distance_is_torch_fidelitys_and_torchmetrics(case: Case) -> None:
    ours = kernel_distance(case.statistics.kept_features, case.reference.kept_features, subset_size=case.subset_size)
    theirs = case.answers["torch-fidelity"]
    assert ours.value == pytest.approx(theirs["kernel_inception_distance_mean"], abs=1e-5)
    assert ours.deviation == pytest.approx(theirs["kernel_inception_distance_std"], abs=1e-5)
    whole = kernel_distance(
        case.features[: case.subset_size], case.real[: case.subset_size], subsets=1, subset_size=case.subset_size
    )
    assert whole.value == pytest.approx(case.answers["torchmetrics"]["kid"], abs=1e-5)


def test_the_frechet_distance_is_that_of_all_three(case: Case) -> None:
    ours = frechet_distance(gaussian(case.statistics), gaussian(case.reference))
    theirs = {
        "torch-fidelity": case.answers["torch-fidelity"]["frechet_inception_distance"],
        "pytorch-fid": case.answers["pytorch-fid"]["fid"],
        "torchmetrics": case.answers["torchmetrics"]["fid"],
    }
    for name, value in theirs.items():
        print(f"{name}: {value}, relative difference {(ours - value) / value:.1e}")
        assert ours == pytest.approx(value, rel=1e-3 if case.few else 1e-6), name


def test_where_they_differ_from_us_the_nuclear_norm_is_right(case: Case) -> None:
    """In float64 the nuclear norm of the centred features has no root of a rounded 0; the grid stays below 1e-6."""
    means, roots = [], []
    for features in (case.features.astype(np.float64), case.real.astype(np.float64)):
        means.append(features.mean(axis=0))
        roots.append((features - means[-1]) / np.sqrt(len(features) - 1))
    trace = np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum()
    difference = means[0] - means[1]
    right = difference @ difference + sum((root**2).sum() for root in roots) - 2 * trace
    ours = frechet_distance(gaussian(case.statistics), gaussian(case.reference))
    raw = [Gaussian(mean, root.T @ root, root) for mean, root in zip(means, roots, strict=True)]
    assert ours == pytest.approx(right, rel=1e-6)
    solved = frechet_distance(*raw)
    assert solved == pytest.approx(right, rel=1e-12)
    for name in ("pytorch-fid", "torchmetrics"):
        print(f"{name}: off by {case.answers[name]['fid'] - right:.1e} of {right}; ours by {solved - right:.1e}")
        if case.few:
            assert abs(solved - right) < abs(case.answers[name]["fid"] - right)


def test_precision_and_recall_are_torch_fidelitys(case: Case) -> None:
    """Within one image: its distances are float32, and an image on a boundary may fall either way."""
    ours, theirs = precision_recall(case.features, case.real), case.answers["torch-fidelity"]
    assert ours.precision == pytest.approx(theirs["precision"], abs=1.5 / len(case.features))
    assert ours.recall == pytest.approx(theirs["recall"], abs=1.5 / len(case.real))


def test_precision_recall_density_and_coverage_are_those_of_the_authors(case: Case) -> None:
    """Within one image: on a boundary theirs is out, and ours in."""
    theirs = case.answers["prdc"]
    manifolds, balls = precision_recall(case.features, case.real), density_coverage(case.features, case.real)
    print({name: getattr(manifolds if hasattr(manifolds, name) else balls, name) - theirs[name] for name in theirs})
    assert manifolds.precision == pytest.approx(theirs["precision"], abs=1.5 / len(case.features))
    assert manifolds.recall == pytest.approx(theirs["recall"], abs=1.5 / len(case.real))
    assert balls.density == pytest.approx(theirs["density"], abs=1.5 / len(case.features))
    assert balls.coverage == pytest.approx(theirs["coverage"], abs=1.5 / len(case.real))


def test_the_rbf_kernel_is_torch_fidelitys(case: Case) -> None:
    ours = kernel_distance(case.features, case.real, subset_size=case.subset_size, kernel="rbf").value
    print(f"RBF: {ours}, difference {ours - case.answers['torch-fidelity']['rbf']:.1e}")
    assert ours == pytest.approx(case.answers["torch-fidelity"]["rbf"], abs=1e-6)


def test_the_extrapolated_distance_is_a_line_through_torch_fidelitys(case: Case) -> None:
    ours = frechet_distance_infinity(case.features, gaussian(case.reference), seed=2020).value
    theirs = case.answers["torch-fidelity"]["infinity"]
    print(f"infinity: {ours}, relative difference {(ours - theirs) / theirs:.1e}")
    assert ours == pytest.approx(theirs, rel=2e-3 if case.few else 1e-5)


def test_the_vendi_score_is_that_of_the_authors(case: Case) -> None:
    theirs = case.answers["vendi-score"]
    print(f"Vendi: {theirs}, relative difference {(vendi_score(case.features) - theirs) / theirs:.1e}")
    assert vendi_score(case.features) == pytest.approx(theirs, rel=1e-6)
