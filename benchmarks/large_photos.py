"""Classifying photos of 12 to 24 megapixels, decoded at a part of their size and whole: CPU time and highest memory.

    python benchmarks/large_photos.py --count 200 [--photos FOLDER]

The photos are a few of random shapes, without and with film grain, or with ``--photos`` the first of a folder,
enlarged and with a camera's noise. Each is there many times under other names. Grain makes reading the bits, which
nothing saves, most of the work.
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


def photo(width: int, height: int, seed: int, grain: float) -> Image.Image:
    """Soft shapes; with a grain of 0.2 about as many bytes a pixel as a camera's JPEG."""
    draw = np.random.default_rng(seed)
    shapes = Image.fromarray(draw.integers(0, 256, (12, 16, 3), np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    return Image.blend(shapes, Image.fromarray(draw.integers(96, 160, (height, width), np.uint8)).convert("RGB"), grain)


def enlarged(path: Path, width: int, height: int, seed: int) -> Image.Image:
    """A photo of that size with noise of three levels, about that of a camera in daylight."""
    pixels = np.asarray(Image.open(path).convert("RGB").resize((width, height), Image.Resampling.BICUBIC))
    noise = np.random.default_rng(seed).normal(0, 3, pixels.shape).astype(np.float32)
    return Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8))


def write_photos(folder: Path, count: int, kind: str) -> None:
    """Writes photos with as much grain as ``kind`` says, a number, or of the folder that it names."""
    real = sorted(Path(kind).rglob("*.JPEG")) if Path(kind).is_dir() else None
    for number, (width, height) in enumerate(SIZES):
        made = enlarged(real[number], width, height, number) if real else photo(width, height, number, float(kind))
        made.save(folder / f"{number:04d}.jpg", quality=88)
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


def child(*arguments: object) -> str:
    """Runs this file in a process of its own: its memory begins with that of its parent, which is to stay small."""
    command = [sys.executable, __file__, *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def compare(count: int, model: str, kind: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        child("--folder", name, "--count", count, "--write", kind)
        megabytes = sum(path.stat().st_size for path in Path(name).iterdir()) / count / 1e6
        print(f"{count} photos of 12 to 24 megapixels ({kind}), {megabytes:.1f} MB each on average")
        figures = []
        for title, flags in (("reduced", []), ("whole", ["--whole"])):
            found = json.loads(child("--folder", name, "--model", model, *flags))
            rate, memory = count / found["cpu"], found["memory"]
            print(f"{title:8} {rate:6.1f} photos a second of CPU, {found['wall']:6.1f} s in all, {memory:.0f} MiB")
            figures.append(found)
    reduced, whole = figures
    pairs = list(zip(reduced["answers"], whole["answers"], strict=True))
    same, most = sum(one[0] == other[0] for one, other in pairs), max(abs(one[1] - other[1]) for one, other in pairs)
    print(f"ratio    {whole['cpu'] / reduced['cpu']:6.1f}; {same} of {count} classes are the same, ", end="")
    print(f"and their probabilities within {most:.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--model", default="mnist-ssl")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--photos", type=Path, help="folder of real photos (.JPEG)")
    parser.add_argument("--write", help=argparse.SUPPRESS)
    parser.add_argument("--whole", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.write is not None:
        write_photos(arguments.folder, arguments.count, arguments.write)
    elif arguments.folder is not None:
        classify(arguments.folder, arguments.whole, arguments.model)
    else:
        for kind in [str(arguments.photos)] if arguments.photos else ["0.0", "0.2"]:
            compare(arguments.count, arguments.model, kind)


if __name__ == "__main__":
    main()
