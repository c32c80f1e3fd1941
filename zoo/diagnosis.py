"""What works on this machine and what does not, with advice: ``igan-zoo doctor``."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import sysconfig
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from igan_zoo.errors import IganZooError, pip_install
from igan_zoo.hub.cache import bytes_of
from igan_zoo.hub.listing import list_known
from igan_zoo.machine.versions import installed_versions
from igan_zoo.models import store
from igan_zoo.models.directory import ModelDirectory
from igan_zoo.serving.engine import Device

_PACKAGES = (
    *("igan-zoo", "onnxruntime", "onnxruntime-gpu", "numpy", "pillow", "huggingface-hub", "pyarrow"),
    *("torch", "onnx", "onnxscript", "starlette", "grpcio", "distributed", "ray"),
)
_RUNTIMES = ("onnxruntime", "onnxruntime-gpu")


@dataclass(frozen=True)
class Provider:
    """Whether a device really runs a graph: the bundled MNIST generator, one image. ``reason`` says why it does not."""

    device: Device
    works: bool
    provider: str | None = None
    milliseconds: float | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Cache:
    """A folder in which something is kept, and the bytes of its files."""

    holds: str
    path: str
    size: int


@dataclass(frozen=True)
class Scorer:
    """A network that ``score`` takes by name, and whether its file is on this machine."""

    name: str
    ready: bool
    path: str


@dataclass(frozen=True)
class Kernels:
    """The operators in C: whether and for which instruction sets they were built, and the compiler found."""

    built: bool
    instruction_sets: tuple[str, ...]
    compiler: str | None


@dataclass(frozen=True)
class Problem:
    """Something that does not work, and what to do."""

    what: str
    advice: str


@dataclass(frozen=True)
class Diagnosis:
    """Everything that ``igan-zoo doctor`` finds out."""

    system: str
    versions: dict[str, str]
    providers: tuple[Provider, ...]
    caches: tuple[Cache, ...]
    models: dict[str, tuple[str, ...]]
    scorers: tuple[Scorer, ...]
    kernels: Kernels
    problems: tuple[Problem, ...] = field(default=())


def diagnose() -> Diagnosis:
    """Looks at versions, devices, caches, models, scorers and kernels; nothing is fetched and nothing written."""
    versions = {"python": platform.python_version(), **installed_versions(_PACKAGES)}
    providers = tuple(_try_device(device) for device in get_args(Device))
    try:
        models, damaged = _models()
    except IganZooError as error:
        models, damaged = {}, [Problem("Models cannot be listed.", str(error))]
    scorers, kernels = _scorers(), _kernels()
    problems = [*_runtime_problems(versions, providers), *damaged, *_other_problems(versions, scorers, kernels)]
    system = f"{platform.system()} {platform.machine()}, {sys.executable}"
    return Diagnosis(system, versions, providers, _caches(), models, scorers, kernels, tuple(problems))


def _try_device(device: Device) -> Provider:
    from igan_zoo.models.catalogue import DEFAULT_MODEL
    from igan_zoo.serving.model import load_model

    path = store.bundled_store().find(DEFAULT_MODEL)
    if path is None:
        return Provider(device, works=False, reason=f"{DEFAULT_MODEL} is not bundled with this installation.")
    try:
        loaded = load_model(store.resolve(str(path)), ["generator"], device=device)
        loaded.sample(1)
        began = time.perf_counter()
        loaded.sample(1)
    except IganZooError as error:
        return Provider(device, works=False, reason=str(error))
    return Provider(device, works=True, provider=loaded.provider, milliseconds=1000 * (time.perf_counter() - began))


def _models() -> tuple[dict[str, tuple[str, ...]], list[Problem]]:
    """Returns the places of the models on this machine, and which of those in the cache cannot be read."""
    cache, damaged = store.cache_store(), []
    for name in cache.names():
        try:
            ModelDirectory.open(cache.root / name)
        except IganZooError as error:
            advice = f"igan-zoo cache prune {name}, then igan-zoo pull {name}"
            damaged.append(Problem(str(error), advice))
    return {model.name: model.places for model in list_known() if model.places}, damaged


def _caches() -> tuple[Cache, ...]:
    from huggingface_hub import constants

    home = store.home()
    folders = {
        "pulled models": home / "models",
        "scorers": home / "scorers",
        "statistics of scores": home / "scores",
        "the Hub's files": Path(constants.HF_HUB_CACHE),
    }
    return tuple(Cache(holds, str(path), bytes_of(path)) for holds, path in folders.items())


def _scorers() -> tuple[Scorer, ...]:
    from igan_zoo.serving.scorers.opening import scorers_folder
    from igan_zoo.serving.scoring.protocols import INCEPTION

    folder = scorers_folder()
    published = folder / f"{INCEPTION}.onnx"
    others = [path for path in sorted(folder.glob("*.onnx")) if path != published]
    return tuple(Scorer(path.stem, path.is_file(), str(path)) for path in (published, *others))


def _kernels() -> Kernels:
    from igan_zoo.ops.extension import kernels

    names = (os.environ.get("CC"), (sysconfig.get_config_var("CC") or "").partition(" ")[0], "cc", "gcc", "clang")
    compiler = next((found for name in names if name and (found := shutil.which(name))), None)
    sets = kernels.INSTRUCTION_SETS if kernels is not None else ()
    return Kernels(kernels is not None, tuple(sets), compiler)


def _runtime_problems(versions: dict[str, str], providers: tuple[Provider, ...]) -> Iterator[Problem]:
    installed = [name for name in _RUNTIMES if name in versions]
    if len(installed) == 2:
        yield Problem(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other's files.",
            f"pip uninstall onnxruntime onnxruntime-gpu, then {pip_install('cpu')}; or gpu for cpu, not both",
        )
    for provider in providers:
        wanted = provider.device == "cpu" or "onnxruntime-gpu" in installed
        if wanted and not provider.works:
            advice = pip_install("cpu")
            if provider.device == "cuda":
                advice = f"check nvidia-smi, and reinstall the CUDA libraries: {pip_install('gpu')}"
            yield Problem(f"The device {provider.device} does not run: {provider.reason}", advice)


def _other_problems(versions: dict[str, str], scorers: tuple[Scorer, ...], kernels: Kernels) -> Iterator[Problem]:
    if "torch" in versions and not kernels.built:
        yield Problem(
            "The C operators are not built, so training with minibatch discrimination is slower.",
            "install igan-zoo again" + ("" if kernels.compiler else ", after a C compiler with OpenMP such as gcc"),
        )
    home = store.home()
    nearest = next(folder for folder in (home, *home.absolute().parents) if folder.exists())
    if not os.access(nearest, os.W_OK):
        yield Problem(f"{home} cannot be written.", "set IGAN_ZOO_HOME to a folder you can write to")
    if _offline() and not scorers[0].ready:
        yield Problem(
            f"HF_HUB_OFFLINE is set, and the scorer {scorers[0].name} is not on this machine.",
            "pass its published weights to igan-zoo score with --weights FILE, or use another --scorer",
        )


def _offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
