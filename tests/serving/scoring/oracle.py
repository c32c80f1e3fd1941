"""Runs in another Python: what other packages say of features and logits, torch-fidelity first of all.

python -m tests.serving.scoring.oracle INPUT.npz OUTPUT.json
"""

from __future__ import annotations

import json
import sys
import warnings
from typing import Any

import numpy as np

from tests.environments.torchvision_anywhere import load_torchvision

warnings.simplefilter("ignore")


def prdc(real: Any, features: Any) -> dict[str, float]:
    from prdc import compute_prdc

    answers = {}
    for names, nearest in ((("precision", "recall"), 3), (("density", "coverage"), 5)):
        # Their distances are those of scikit-learn, which are exact in float64 only.
        found = compute_prdc(real.double().numpy(), features.double().numpy(), nearest)
        answers |= {name: found[name] for name in names}
    return answers


def main() -> None:
    load_torchvision()
    import torch
    from pytorch_fid.fid_score import calculate_frechet_distance
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torch_fidelity.metric_isc import isc_features_to_metric
    from torch_fidelity.metric_kid import kid_features_to_metric
    from torch_fidelity.metric_prc import prc_features_to_metric
    from torchmetrics.image.fid import _compute_fid
    from torchmetrics.image.kid import poly_mmd
    from vendi_score import vendi

    with np.load(sys.argv[1], allow_pickle=False) as file:
        features, real, logits = (torch.from_numpy(file[name]) for name in ("features", "real", "logits"))
        subset_size = int(file["subset_size"])
    answers: dict[str, Any] = {}
    answers["torch-fidelity"] = {
        **isc_features_to_metric(logits),
        **kid_features_to_metric(features, real, kid_subset_size=subset_size, verbose=False),
        **fid_statistics_to_metric(fid_features_to_statistics(features), fid_features_to_statistics(real), False),
        **prc_features_to_metric(features, real, verbose=False),
    }
    rbf = kid_features_to_metric(features, real, kid_subset_size=subset_size, kid_kernel="rbf", verbose=False)
    answers["torch-fidelity"]["rbf"] = rbf["kernel_inception_distance_mean"]
    whole = fid_features_to_statistics(real)
    sizes = np.linspace(len(features) // 10, len(features), 15).astype(int)
    random = np.random.RandomState(2020)
    subsets = [features[random.choice(len(features), size, replace=False)] for size in sizes]
    distances = [
        fid_statistics_to_metric(fid_features_to_statistics(subset), whole, False)["frechet_inception_distance"]
        for subset in subsets
    ]
    answers["torch-fidelity"]["infinity"] = float(np.polyfit(1 / sizes, distances, 1)[1])
    answers["prdc"] = {name: float(value) for name, value in prdc(real, features).items()}
    answers["vendi-score"] = float(vendi.score_dual(features.double().numpy()))
    moments = []
    for array in (features.double().numpy(), real.double().numpy()):
        moments += [array.mean(axis=0), np.cov(array, rowvar=False)]
    answers["pytorch-fid"] = {"fid": float(np.real(calculate_frechet_distance(*moments)))}
    answers["torchmetrics"] = {
        "fid": float(_compute_fid(*map(torch.from_numpy, moments))),
        # One subset that is the whole set.
        "kid": float(poly_mmd(real[:subset_size].double(), features[:subset_size].double())),
    }
    with open(sys.argv[2], "w") as output:  # noqa: PTH123 - a small script
        json.dump(answers, output)


if __name__ == "__main__":
    main()
