"""Where served models come from: references with devices, version folders, and stamps that tell of changes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

from igan_zoo.errors import InterfaceError, ModelDirectoryError
from igan_zoo.models import store
from igan_zoo.models.spec import CONFIG, ROLES, Variant, graph_file
from igan_zoo.models.store import Model
from igan_zoo.serving.engine import Device, Engine, Precision, load_engine

# What a single file may be; a classifier and a discriminator have the same interface.
_SINGLE = ("generator", "classifier", "scorer")

Stamp = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True)
class Origin:
    """What was named on the command line: a model, its versions by number, and the device for them."""

    name: str
    device: Device
    path: Path
    versions: dict[str, Path]


@dataclass(frozen=True)
class LoadOptions:
    """How sessions are made: threads of each, the variant that is preferred, and the arithmetic."""

    threads: int | None
    variant: Variant | None
    precision: Precision = "fp32"


def find_origin(reference: str | None, device: Device = "cpu") -> Origin:
    """Returns what ``NAME``, ``DIRECTORY`` or ``FILE.onnx`` stands for, with ``@cuda`` or ``@cpu`` after it if not
    for ``device``.

    A directory with numbered folders has these versions; all else is version 1.

    Raises:
        UnknownNameError: nothing of that name is known.
        ModelDirectoryError: the model is not on this machine.
        SpecificationError: a ``config.json`` is not valid.
    """
    place, device = _split(reference, device)
    path = Path(place) if place else None
    if path is not None and path.is_dir() and not (path / CONFIG).is_file():
        versions = version_folders(path)
        if versions:
            for folder in versions.values():
                store.resolve(str(folder))
            return Origin(path.resolve().name, device, path, versions)
    model = store.resolve(place)
    return Origin(model.name, device, model.path, {"1": model.path})


def version_folders(path: Path) -> dict[str, Path]:
    """Returns the model directories in ``path`` whose names are numbers, by number."""
    found = [folder for folder in path.iterdir() if folder.name.isdecimal() and (folder / CONFIG).is_file()]
    return {str(int(folder.name)): folder for folder in sorted(found, key=lambda folder: int(folder.name))}


def read_stamp(path: Path) -> Stamp:
    """Returns when the files that decide what a model is were written: other files, another stamp."""
    files = [path] if path.is_file() else [path / CONFIG, *sorted((path / "onnx").glob("*.onnx"))]
    stamps = []
    for file in files:
        try:
            status = file.stat()
        except OSError:
            continue
        stamps.append((file.name, status.st_mtime_ns, status.st_size, status.st_ino))
    return tuple(stamps)


def roles_of(model: Model) -> tuple[str, ...] | None:
    """Returns the roles that a model directory has graphs of, or None for a single file, which must be tried."""
    if model.directory is None:
        return None
    spec, present = model.directory.spec, model.directory.present()
    return tuple(role for role in ROLES if role in spec.graphs or graph_file(role) in present)


def load_role(model: Model, role: str, device: Device, options: LoadOptions) -> Engine:
    """Loads one graph of a model, checksums first; a role without the preferred variant comes plain.

    Raises:
        ChecksumError: a file was changed.
        InterfaceError: the graph is not that of the role.
        DeviceError: the device is not really there.
    """
    directory = model.directory
    if directory is None or role not in directory.spec.graphs:
        content = model.graph(role) if directory is None else directory.read(graph_file(role))
        return Engine(
            {role: content}, device=device, threads=options.threads, spinning=False, precision=options.precision
        )
    variant = options.variant if options.variant in directory.spec.variants(role) else None
    return load_engine(
        model,
        [role],
        device=device,
        threads=options.threads,
        variant=variant,
        spinning=False,
        precision=options.precision,
    )


def load_single(model: Model, device: Device, options: LoadOptions) -> tuple[str, Engine]:
    """Loads a single file as whatever it is by its inputs and outputs.

    Raises:
        InterfaceError: it is nothing that igan-zoo serves.
    """
    for role in _SINGLE:
        try:
            return role, load_role(model, role, device, options)
        except InterfaceError:
            continue
    raise InterfaceError(f"{model.path} is neither a generator, a classifier nor a scorer that onnxruntime loads.")


def _split(reference: str | None, default: Device) -> tuple[str | None, Device]:
    if reference is None:
        return None, default
    place, mark, device = reference.rpartition("@")
    if not mark or Path(reference).exists():
        return reference, default
    if device in get_args(Device) and place:
        return place, cast("Device", device)
    raise ModelDirectoryError(f"{reference!r} names no device after the @; use cpu or cuda.")
