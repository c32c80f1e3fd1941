"""CPU time of short commands, from the start of the process to its end, beside an empty Python.

python benchmarks/startup.py [--rounds 9]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "igan-zoo --help": ["-m", "igan_zoo", "--help"],
    "igan-zoo list": ["-m", "igan_zoo", "list"],
    "igan-zoo sample --n 1": ["-m", "igan_zoo", "sample", "--n", "1"],
    "igan-zoo classify 7.png": ["-m", "igan_zoo", "classify", str(Path("docs/digits/7.png").resolve())],
}


def cpu_seconds(arguments: list[str], folder: str) -> float:
    """Returns user and system time of one process."""
    before = os.times()
    subprocess.run([sys.executable, *arguments], cwd=folder, check=True, capture_output=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for name, arguments in COMMANDS.items():
                times[name].append(cpu_seconds(arguments, folder))
    empty = statistics.median(times["python -c pass"])
    for name, measured in times.items():
        median = statistics.median(measured)
        print(f"{name:24} {median:.3f} s CPU, {median / empty:5.1f} x an empty Python")


if __name__ == "__main__":
    main()
