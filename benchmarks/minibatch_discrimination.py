"""Minibatch discrimination, forward and backward: the operator in C against two ways to write it in torch.

``cdist`` takes the distances from ``torch.cdist(p=1)``, ``broadcast`` from the difference of all pairs. Times are
interleaved in one process; memory is by how much a pass raises the peak of a fresh
process, less its result and gradient (Linux).

    python benchmarks/minibatch_discrimination.py [--threads 1]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from igan_zoo.ops.minibatch_discrimination import minibatch_discrimination

Shape = tuple[int, int, int]


def in_c(m: Tensor) -> Tensor:
    return minibatch_discrimination(m, "c")


def cdist(m: Tensor) -> Tensor:
    kernels = m.transpose(0, 1)  # [B, N, C]
    return torch.exp(-torch.cdist(kernels, kernels, p=1.0)).sum(dim=2).T


def broadcast(m: Tensor) -> Tensor:
    return torch.exp(-(m[:, None] - m).abs().sum(dim=3)).sum(dim=1)


CONTESTANTS: dict[str, Callable[[Tensor], Tensor]] = {"c": in_c, "cdist": cdist, "broadcast": broadcast}


@dataclass(frozen=True)
class Case:
    shape: Shape
    contestants: tuple[str, ...]
    passes: int  # in a turn of each contestant
    rounds: int


CASES = (
    # The 2016 code's CIFAR-10 layer at its batch size.
    Case((100, 100, 5), ("c", "cdist", "broadcast"), passes=10, rounds=15),
    # The ImageNet layer at a larger batch. Broadcasting would take 3.9 GB a tensor.
    Case((256, 300, 50), ("c", "cdist"), passes=1, rounds=3),
)


def arguments_of(shape: Shape) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return (torch.randn(shape) * 0.3).requires_grad_(), torch.randn(shape[:2])


def run(contestant: str, m: Tensor, gradient: Tensor) -> None:
    m.grad = None
    CONTESTANTS[contestant](m).backward(gradient)


def milliseconds(case: Case, threads: int) -> dict[str, list[float]]:
    """Returns each contestant's time a pass in each round, after a round that warms up."""
    # CPU time leaves out what other processes take, but adds up threads.
    clock = time.process_time if threads == 1 else time.perf_counter
    m, gradient = arguments_of(case.shape)
    times: dict[str, list[float]] = {name: [] for name in case.contestants}
    for number in range(case.rounds + 1):
        for name in case.contestants:
            started = clock()
            for _ in range(case.passes):
                run(name, m, gradient)
            ended = clock()
            if number > 0:
                times[name].append((ended - started) / case.passes * 1000)
    return times


def extra_megabytes(shape: Shape, contestant: str, threads: int) -> float:
    """Returns how far one forward and backward pass raises the peak of a process's resident memory."""
    command = [sys.executable, __file__, "--threads", str(threads), "--peak-of", contestant, *map(str, shape)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def peak_bytes() -> int:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def print_own_growth(contestant: str, shape: Shape) -> None:
    # A small pass first: what loading code and starting autograd take is not the operator's.
    run(contestant, *arguments_of((8, 4, 2)))
    m, gradient = arguments_of(shape)
    # The result and the gradient are owed by every contestant.
    owed = m.numel() * m.element_size() + gradient.numel() * gradient.element_size()
    # Sets the peak back to what is resident now.
    Path("/proc/self/clear_refs").write_text("5")
    before = peak_bytes()
    run(contestant, m, gradient)
    print((peak_bytes() - before - owed) / 1e6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--peak-of", nargs=4, metavar=("NAME", "N", "B", "C"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.peak_of:
        name, n, b, c = arguments.peak_of
        print_own_growth(name, (int(n), int(b), int(c)))
        return
    for case in CASES:
        times = milliseconds(case, arguments.threads)
        for name, measured in times.items():
            ratio = statistics.median(other / own for own, other in zip(times["c"], measured, strict=True))
            print(
                f"{case.shape!s:14} {name:9} {statistics.median(measured):8.2f} ms (best {min(measured):8.2f})"
                f" {ratio:5.1f} x c, {extra_megabytes(case.shape, name, arguments.threads):6.1f} MB beside its results"
            )


if __name__ == "__main__":
    main()
