"""Reading images to score, and writing samples: images per second of CPU, and the highest resident memory.

    python benchmarks/image_sources.py --photos FOLDER

Reading compares ``ImageBatches`` with decoding one image after the other in the same thread, interleaved.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from igan_zoo.images.batches import ImageBatches, decode_plainly
from igan_zoo.images.pixels import Shape
from igan_zoo.images.sources import open_source
from igan_zoo.images.stored import ImageSource
from igan_zoo.serving.model_source import open_images
from igan_zoo.serving.sample_writers import write_samples

SMALL = (32, 32, 3)
BATCH = 100


def smooth_images(count: int, shape: tuple[int, ...] = SMALL) -> NDArray[np.uint8]:
    """Images between noise and a plain surface, as generated ones are."""
    height, width, channels = shape
    coarse = np.random.default_rng(0).integers(0, 256, (count, height // 4, width // 4, channels))
    fine = np.random.default_rng(1).integers(-8, 9, (count, height, width, channels))
    return np.clip(coarse.repeat(4, axis=1).repeat(4, axis=2) + fine, 0, 255).astype(np.uint8)


def write(out: Path, images: NDArray[np.uint8]) -> None:
    batches: Iterator[NDArray[np.uint8]] = (images[first : first + 250] for first in range(0, len(images), 250))
    write_samples(out, batches, image_shape=images.shape[1:], seed=0, start=0, count=len(images), replace=True)


def cpu_and_wall(work: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def compare_reading(title: str, source: ImageSource, count: int, rounds: int) -> None:
    order = range(min(count, len(source)))

    def plainly() -> None:
        for _ in decode_plainly(source, order):
            pass

    def in_batches() -> None:
        for _ in ImageBatches(source, order, BATCH):
            pass

    plain, batched = [], []
    for _ in range(rounds):
        plain.append(cpu_and_wall(plainly))
        batched.append(cpu_and_wall(in_batches))
    rates = [len(order) / statistics.median(cpu for cpu, _ in times) for times in (plain, batched)]
    walls = [len(order) / statistics.median(wall for _, wall in times) for times in (plain, batched)]
    print(
        f"{title:24} {rates[0]:9,.0f} {rates[1]:9,.0f} images/s of CPU, ratio {rates[1] / rates[0]:.2f};"
        f" {walls[0]:9,.0f} {walls[1]:9,.0f} by the clock, ratio {walls[1] / walls[0]:.2f}"
    )


def peak_memory(reference: str, count: int) -> int:
    """Returns the highest resident memory in MiB of a process that streams ``count`` images."""
    code = f"import benchmarks.image_sources as b; b.stream({reference!r}, {count})"
    return int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


def stream(reference: str, count: int) -> None:
    source = open_images(reference, count=count)
    total = 0
    for batch in ImageBatches(source, range(count), BATCH, shape=Shape(1)):
        total += int(batch.images.sum(dtype=np.int64))
    # Not getrusage, whose figure a process inherits from the one that started it.
    said = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    print(int(said["VmHWM"].split()[0]) // 1024)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--photos", type=Path, help="A folder of photos, such as Imagenette.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--large", type=int, default=200_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        images = smooth_images(arguments.count)
        print(f"writing {arguments.count} images 32x32x3")
        formats = {".npz": "npz", ".tar": "tar", ".parquet": "parquet", "": "folder"}
        times: dict[str, list[float]] = {suffix: [] for suffix in formats}
        for _ in range(arguments.rounds):
            for suffix, name in formats.items():
                cpu, _ = cpu_and_wall(lambda out=root / (name + suffix): write(out, images))  # type: ignore[misc]
                times[suffix].append(cpu)
        for suffix, name in formats.items():
            rate = arguments.count / statistics.median(times[suffix])
            share = statistics.median(times[""]) / statistics.median(times[suffix])
            print(f"{name:24} {rate:9,.0f} images/s of CPU, ratio to the folder {share:.2f}")
        print("reading: one after the other, in batches")
        for suffix, name in formats.items():
            source = open_source(str(root / (name + suffix)))
            compare_reading(name, source, arguments.count, arguments.rounds)
        if arguments.photos:
            compare_reading("photos", open_source(str(arguments.photos)), 1000, arguments.rounds)
        for suffix, name in formats.items():
            cpu, _ = cpu_and_wall(open_source(str(root / (name + suffix))).fingerprint)
            print(f"fingerprint of the {name:12} {arguments.count / cpu:11,.0f} images/s of CPU")
        write(root / "large.npz", np.zeros((arguments.large, 28, 28, 1), np.uint8))
        print("highest resident memory of streaming 28x28x1 images")
        for reference in (str(root / "large.npz"), "mnist-ssl"):
            few, many = (peak_memory(reference, count) for count in (arguments.large // 20, arguments.large))
            print(f"{Path(reference).name:24} {few} MiB for {arguments.large // 20:,}, {many} for {arguments.large:,}")


if __name__ == "__main__":
    main()
