"""What a generator's images are like, beside real ones.

    python benchmarks/generator_figures.py models/NAME --real SOURCE --scorer models/OTHER

Prints, for generated images and for real ones:

- the score by a classifier of the zoo: the Inception score's formula, but not comparable with Inception's,
- the share of images with a flat gray window of 6x6 pixels, which a generator draws that saw blanked squares on real
  images alone,
- the spread: the mean over pixels of the standard deviation over images, in gray levels of 255.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from igan_zoo.images.loading import load_images
from igan_zoo.latents import latents
from igan_zoo.models.directory import ModelDirectory
from igan_zoo.models.spec import ModelSpec
from igan_zoo.serving.engine import Engine

WINDOW = 6
# Levels that a pixel of a flat gray window may be away from the middle gray.
TOLERANCE = 12


def engine(model: str, role: str) -> tuple[Engine, ModelSpec]:
    directory = ModelDirectory.open(Path(model))
    return Engine({role: directory.read(directory.spec.graphs[role])}), directory.spec


def generated(model: str, count: int, seed: int) -> NDArray[np.uint8]:
    runtime, spec = engine(model, "generator")
    batches = [
        runtime.run(
            "generator",
            {"latent": latents(spec.latent.size, spec.latent.distribution, seed=seed, start=start, count=100)},
        )["images"]
        for start in range(0, count, 100)
    ]
    return np.concatenate(batches)


def score(images: NDArray[np.uint8], scorer: str) -> float:
    runtime, _ = engine(scorer, "classifier")
    p = np.concatenate(
        [
            runtime.run("classifier", {"images": images[start : start + 100]})["probabilities"]
            for start in range(0, len(images), 100)
        ]
    ).astype(np.float64)
    mean = p.mean(axis=0)
    return float(np.exp((p * (np.log(p + 1e-12) - np.log(mean + 1e-12))).sum(axis=1).mean()))


def flat_gray(images: NDArray[np.uint8]) -> float:
    near = (np.abs(images.astype(np.int16) - 127) <= TOLERANCE).all(axis=3)
    flat = [sliding_window_view(image, (WINDOW, WINDOW)).all(axis=(2, 3)).any() for image in near]
    return float(np.mean(flat))


def spread(images: NDArray[np.uint8]) -> float:
    return float(images.astype(np.float32).std(axis=0).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--real", required=True, help="Real images: a folder, a data set of the Hub, ….")
    parser.add_argument("--scorer", required=True, help="A model of the zoo with a classifier.")
    parser.add_argument("--n", type=int, default=10_000, help="Images of either kind, a multiple of 100.")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    made = generated(given.model, given.n, given.seed)
    height, width, channels = made.shape[1:]
    real = load_images(given.real, "train", height=height, width=width, channels=channels)
    real_images = real.images[np.arange(min(given.n, len(real)))]
    print(f"{'':10} score   flat gray   spread")
    scores = []
    for name, images in (("real", real_images), ("generated", made)):
        scores.append(score(images, given.scorer))
        print(f"{name:10} {scores[-1]:5.2f} {flat_gray(images):11.1%} {spread(images):8.1f}")
    print(f"generated to real: {scores[1] / scores[0]:.1%} of the score")


if __name__ == "__main__":
    main()
