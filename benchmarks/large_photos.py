"""Classifying photos of 12 to 24 megapixels, decoded at a part of their size and whole: CPU time and highest memory.

    python benchmarks/large_photos.py --count 200

The photos are a few of random shapes and film grain, each many times under another name.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

SIZES = ((4000, 3000), (4608, 3456), (5472, 3648), (6000, 4000))


def photo(width: int, height: int, seed: int) -> Image.Image:
    """Soft shapes under grain: about as many bytes a pixel as a camera's JPEG."""
    draw = np.random.default_rng(seed)
    shapes = Image.fromarray(draw.integers(0, 256, (12, 16, 3), np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    grain = Image.fromarray(draw.integers(96, 160, (height, width), np.uint8)).convert("RGB")
    return Image.blend(shapes, grain, 0.2)


def write_photos(folder: Path, count: int) -> None:
    for number, (width, height) in enumerate(SIZES):
        photo(width, height, number).save(folder / f"{number:04d}.jpg", quality=88)
    for number in range(len(SIZES), count):
        os.link(folder / f"{number % len(SIZES):04d}.jpg", folder / f"{number:04d}.jpg")


def classify(folder: Path, whole: bool, model: str) -> None:
    """Classifies all photos, and prints CPU and wall seconds, the highest resident memory and the answers."""
    import igan_zoo
    from igan_zoo.images.files import decoding

    if whole:
        decoding._WORTH_REDUCING = 10**12
    loaded = igan_zoo.load(model)
    wall, cpu = time.perf_counter(), time.process_time()
    answers = list(loaded.classify(folder))
    seconds = time.process_time() - cpu, time.perf_counter() - wall
    found = [answer.classes[0] for answer in answers]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"cpu": seconds[0], "wall": seconds[1], "memory": memory, "answers": found}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--model", default="mnist-ssl")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--whole", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.folder is not None:
        classify(arguments.folder, arguments.whole, arguments.model)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_photos(folder, arguments.count)
        megabytes = sum(path.stat().st_size for path in folder.iterdir()) / arguments.count / 1e6
        print(f"{arguments.count} photos of 12 to 24 megapixels, {megabytes:.1f} MB each on average")
        figures = []
        for flags in ([], ["--whole"]):
            command = [sys.executable, __file__, "--folder", name, "--model", arguments.model, *flags]
            figures.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
            title = "whole" if flags else "reduced"
            rate = arguments.count / figures[-1]["cpu"]
            print(
                f"{title:8} {rate:7.1f} photos a second of CPU, {figures[-1]['wall']:6.1f} s by the clock, "
                f"at most {figures[-1]['memory']:.0f} MiB"
            )
        reduced, whole = figures
        differences = [abs(one[1] - other[1]) for one, other in zip(reduced["answers"], whole["answers"], strict=True)]
        same = sum(one[0] == other[0] for one, other in zip(reduced["answers"], whole["answers"], strict=True))
        print(
            f"ratio of CPU time {whole['cpu'] / reduced['cpu']:.1f}; {same} of {arguments.count} classes are the same"
        )
        print(f"largest difference of the best probability {max(differences):.4f}")


if __name__ == "__main__":
    main()
