"""The Inception scorer beside torch-fidelity's own extractor with the same weights, one thread each.

    oracle/bin/pip install torch==2.14.1 torchvision==0.29.1 torch-fidelity==0.4.0 onnxruntime
    OMP_NUM_THREADS=1 oracle/bin/python benchmarks/inception_oracle.py WEIGHTS.pth SCORER.onnx

``SCORER.onnx`` is what ``igan-zoo export inception`` makes of ``WEIGHTS.pth``. Medians of five rounds in turn after one
to warm up, CPU time; the range is that of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

ROUNDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights")
    parser.add_argument("scorer")
    arguments = parser.parse_args()
    # As igan_zoo does, which is not in this environment.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    torch.set_num_threads(1)
    extractor = FeatureExtractorInceptionV3(
        "theirs", ["2048", "logits_unbiased"], feature_extractor_weights_path=arguments.weights
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(arguments.scorer, options, providers=["CPUExecutionProvider"])
    runs: dict[str, Callable[[Any], Any]] = {
        "scorer": lambda images: session.run(["features", "logits"], {"images": images}),
        "torch-fidelity": lambda images: extractor(torch.from_numpy(images).permute(0, 3, 1, 2)),
    }
    for size in (32, 299):
        for batch in (8, 32):
            images = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), np.uint8)
            seconds: dict[str, list[float]] = {name: [] for name in runs}
            for _ in range(ROUNDS + 1):
                for name, run in runs.items():
                    began = time.process_time()
                    with torch.no_grad():
                        run(images)
                    seconds[name].append(time.process_time() - began)
            ours, theirs = (seconds[name][1:] for name in runs)
            ratios = [other / one for one, other in zip(ours, theirs, strict=True)]
            rates = ", ".join(f"{name} {batch / statistics.median(times[1:]):.2f}" for name, times in seconds.items())
            median = statistics.median(theirs) / statistics.median(ours)
            print(
                f"{size} pixels, batches of {batch}, images/s: {rates}; ratio {median:.2f} "
                f"({min(ratios):.2f} to {max(ratios):.2f})"
            )


if __name__ == "__main__":
    main()
