"""Run by another Python, which has torch-fidelity: its features of given images, and its scores of ours beside them.

In the folder named: ``weights.pth``, ``images.npz`` (uint8 ``[n, H, W, 3]`` groups by number, the first the reference
of the distances) and ``ours.npz`` (``features``, ``logits`` of all images in order). Writes ``theirs.npz`` and prints
the scores of both as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch

from tests.environments.torchvision_anywhere import load_torchvision


def extract(folder: Path) -> dict[str, torch.Tensor]:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    weights = str(folder / "weights.pth")
    extractor = FeatureExtractorInceptionV3(
        "oracle", ["2048", "logits_unbiased"], feature_extractor_weights_path=weights
    )
    features, logits = [], []
    with np.load(folder / "images.npz") as groups, torch.no_grad():
        for number in range(len(groups.files)):
            for image in groups[str(number)]:
                outputs = extractor(torch.from_numpy(image).permute(2, 0, 1)[None])
                features.append(outputs[0])
                logits.append(outputs[1])
    return {"features": torch.cat(features), "logits": torch.cat(logits)}


def scores(outputs: dict[str, torch.Tensor], first: int) -> dict[str, float]:
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torch_fidelity.metric_isc import isc_features_to_metric
    from torch_fidelity.metric_kid import kid_features_to_metric

    features = outputs["features"].double()
    one, other = features[:first], features[first:]
    distance = fid_statistics_to_metric(fid_features_to_statistics(one), fid_features_to_statistics(other), False)
    options = {"kid_subsets": 10, "kid_subset_size": 50, "rng_seed": 2020, "verbose": False}
    return {
        "is": isc_features_to_metric(outputs["logits"])["inception_score_mean"],
        "kid": kid_features_to_metric(one, other, **options)["kernel_inception_distance_mean"],
        "fid": distance["frechet_inception_distance"],
    }


def main(folder: Path) -> None:
    load_torchvision()
    torch.set_num_threads(1)
    theirs = extract(folder)
    np.savez(folder / "theirs.npz", **{name: tensor.numpy() for name, tensor in theirs.items()})
    with np.load(folder / "ours.npz") as arrays:
        ours = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    with np.load(folder / "images.npz") as groups:
        first = len(groups["0"])
    print(json.dumps({"theirs": scores(theirs, first), "ours": scores(ours, first)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
