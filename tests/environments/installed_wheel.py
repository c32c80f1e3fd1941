"""Installs a wheel where nothing else is, in every Python that it is for, and uses it without network or checkout.

python tests/environments/installed_wheel.py WHEEL LOCK UV
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

VERSIONS = ("3.11", "3.12", "3.13")

# Away from the checkout, in an empty folder that is the home, too.
COMMANDS = """
set -e
igan-zoo --version
igan-zoo pull mnist-ssl
python -m igan_zoo sample mnist-ssl --n 3 --out digits
igan-zoo classify digits
igan-zoo verify cifar10-ssl
"""
KERNELS = """
import numpy, sys
import igan_zoo
from igan_zoo.ops.extension import built_kernels
from igan_zoo.ops.minibatch_discrimination_numpy import (
    minibatch_discrimination_numpy, minibatch_discrimination_numpy_reference
)
activations = numpy.random.default_rng(0).standard_normal((7, 5, 3)).astype(numpy.float32)
given, expected = minibatch_discrimination_numpy(activations), minibatch_discrimination_numpy_reference(activations)
numpy.testing.assert_allclose(given, expected, rtol=1e-5)
print("kernels:", *built_kernels().INSTRUCTION_SETS, "in", igan_zoo.__file__)
assert igan_zoo.__file__.startswith(sys.prefix)
"""


def find_python(uv: Path, version: str) -> str | None:
    """Returns the interpreter of a version, pyenv's too, whose shims run only the versions that a variable names."""
    listed = subprocess.run("pyenv versions --bare", shell=True, capture_output=True, text=True, check=False).stdout
    environment = os.environ | ({"PYENV_VERSION": ":".join(listed.split())} if listed else {})
    command = [uv, "python", "find", "--system", "--no-python-downloads", version]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return found.stdout.strip() or None


def try_wheel(uv: Path, python: str, wheel: Path, lock: Path, folder: Path) -> None:
    """Raises unless the wheel works in a new environment of this Python in this folder."""
    site, home = folder / "site", folder / "home"
    home.mkdir()
    install = [uv, "pip", "install", "--quiet", "--python", site / "bin" / "python"]
    subprocess.run([uv, "venv", "--quiet", "--no-project", "--python", python, site], check=True)
    subprocess.run([*install, "--require-hashes", "--only-binary", ":all:", "--requirement", lock], check=True)
    subprocess.run([*install, "--no-deps", "--no-index", wheel], check=True)
    environment = {"PATH": f"{site / 'bin'}:{os.environ['PATH']}", "HOME": str(home), "HF_HUB_OFFLINE": "1"}
    for command in (["sh", "-c", COMMANDS], ["python", "-c", KERNELS]):
        subprocess.run(command, cwd=home, env=environment, check=True)


def main(wheel: Path, lock: Path, uv: Path) -> None:
    missing = []
    for version in VERSIONS:
        python = find_python(uv, version)
        if python is None:
            missing.append(version)
            continue
        print(f"{wheel.name} in {python}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            try_wheel(uv, python, wheel, lock, Path(folder))
    if missing:
        print(f"NOT TRIED, since it is not here: CPython {', '.join(missing)}.")
    if len(missing) == len(VERSIONS):
        sys.exit(f"The wheel is for CPython {', '.join(VERSIONS)}, and none of these is here.")


if __name__ == "__main__":
    main(*(Path(argument).absolute() for argument in sys.argv[1:]))
