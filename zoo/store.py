"""Where models are: given directories, a mirror, the cache, the bundled ones. Finding, pulling, resolving.

Environment: ``IGAN_ZOO_MIRROR`` names a directory of model directories; ``IGAN_ZOO_HOME`` is where pulled
models are kept (default ``$XDG_CACHE_HOME/igan-zoo`` or ``~/.cache/igan-zoo``).
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from igan_zoo.catalogue import BY_NAME, DEFAULT_MODEL
from igan_zoo.directory import ModelDirectory
from igan_zoo.errors import ChecksumError, ModelDirectoryError, UnknownNameError
from igan_zoo.files import atomic_directory, atomic_file, sha256_of
from igan_zoo.names import nearest
from igan_zoo.spec import CONFIG, OPTIONAL, Variant, graph_file


class Store(Protocol):
    """A place that may have model directories by name."""

    @property
    def label(self) -> str:
        """What to call the place in messages."""

    def find(self, name: str) -> Path | None:
        """Returns the model directory of that name, or None."""

    def names(self) -> list[str]:
        """Returns the names of all models here, sorted."""


@dataclass(frozen=True)
class DirectoryStore:
    """A directory whose subdirectories are model directories."""

    label: str
    root: Path

    def find(self, name: str) -> Path | None:
        path = self.root / name
        return path if (path / CONFIG).is_file() else None

    def names(self) -> list[str]:
        if not self.root.is_dir():
            return []
        return sorted(path.name for path in self.root.iterdir() if (path / CONFIG).is_file())


def home() -> Path:
    """Returns the directory of pulled models and of the note which was pulled last."""
    if "IGAN_ZOO_HOME" in os.environ:
        return Path(os.environ["IGAN_ZOO_HOME"])
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "igan-zoo"


def bundled_store() -> DirectoryStore:
    """The models inside the installed package."""
    return DirectoryStore("bundled", Path(__file__).parent / "bundled")


def cache_store() -> DirectoryStore:
    """The models that were pulled."""
    return DirectoryStore("cache", home() / "models")


def local_stores() -> list[Store]:
    """The places that commands look in without fetching anything."""
    return [cache_store(), bundled_store()]


def source_stores() -> list[Store]:
    """The places that ``pull`` looks in, in this order."""
    mirror = os.environ.get("IGAN_ZOO_MIRROR")
    return ([DirectoryStore("mirror", Path(mirror))] if mirror else []) + local_stores()


@dataclass(frozen=True)
class Model:
    """What MODEL on the command line stood for: a model directory, or a single ONNX file without one."""

    name: str
    path: Path
    directory: ModelDirectory | None

    def graph_for_cpus(self, role: str) -> bytes | None:
        """Returns the bytes of the graph that was rewritten for CPUs, checked, or None if the model has none.

        Raises:
            ChecksumError: the file was changed.
        """
        file = graph_file(role, "cpu")
        return self.directory.read(file) if self.directory is not None and file in self.directory.spec.files else None

    def graph(self, role: str, variant: Variant | None = None) -> bytes:
        """Returns the ONNX bytes of the generator or the classifier, checked where there is a specification.

        Raises:
            ModelDirectoryError: the model has no such part, or no such variant of it.
            ChecksumError: the file was changed.
        """
        if self.directory is None:
            if variant is not None:
                raise ModelDirectoryError(f"{self.path} is one file; --variant {variant} wants a model directory.")
            try:
                return self.path.read_bytes()
            except OSError as error:
                raise ModelDirectoryError(f"Cannot read {self.path}: {error.strerror}.") from error
        spec = self.directory.spec
        if role not in spec.graphs:
            raise ModelDirectoryError(f"{self.name} has no {role}; it has: {', '.join(spec.graphs)}.")
        if variant is None:
            return self.directory.read(spec.graphs[role])
        if variant not in spec.variants(role):
            found = ", ".join(spec.variants(role)) or "none"
            raise ModelDirectoryError(
                f"{self.name} has no {variant} variant of its {role} (variants: {found}); "
                "leave --variant out, or take one of them."
            )
        return self.directory.read(graph_file(role, variant))


def resolve(reference: str | None) -> Model:
    """Returns the model that a name, a model directory or an ``.onnx`` file stands for; without one, the last pulled.

    Raises:
        UnknownNameError: nothing of that name is known; the message names the nearest.
        ModelDirectoryError: the name is known but the model is not on this machine.
    """
    if reference is None:
        return _default()
    path = Path(reference)
    if path.suffix == ".onnx":
        if not path.is_file():
            raise ModelDirectoryError(f"There is no file {path}.")
        return Model(path.stem, path, None)
    if (path / CONFIG).is_file():
        return _open(path)
    for store in local_stores():
        found = store.find(reference)
        if found is not None:
            return _open(found)
    if path.is_dir():
        return _open(path)
    if reference in BY_NAME or any(store.find(reference) for store in source_stores()):
        raise ModelDirectoryError(f"{reference} is not on this machine; get it with: igan-zoo pull {reference}")
    raise unknown(reference)


def pull(name: str, *, source: Path | None = None, to: Path | None = None) -> tuple[ModelDirectory, str]:
    """Makes a model available, every byte checked, and remembers it as the default; returns it and where it came from.

    ``source`` is a model directory, or a directory of them; without it the mirror, the cache and the bundled models
    are asked in turn. Bundled and cached models stay where they are unless ``to`` says where to copy them.

    Raises:
        UnknownNameError: no store has the model.
        ChecksumError: its bytes are not those promised; nothing is copied.
    """
    path, label = _locate(name, source)
    if label == "mirror":
        _check_pin(name, path)
    directory = ModelDirectory.open(path)
    if directory.spec.name != name:
        raise ModelDirectoryError(f"{path} holds the model {directory.spec.name}, not {name}.")
    directory.verify()
    target = to or (None if label in ("bundled", "cache") else home() / "models" / name)
    if target is not None and target.resolve() != path.resolve():
        directory = _copy(directory, target, replace=to is None)
    _remember(directory.path)
    return directory, label


def unknown(name: str) -> UnknownNameError:
    """Returns the error for a model name that no store has."""
    known = {*BY_NAME, *(found for store in source_stores() for found in store.names())}
    return UnknownNameError(f"There is no model {name!r}; {nearest(name, known)}")


def _locate(name: str, source: Path | None) -> tuple[Path, str]:
    if source is not None:
        found = source if (source / CONFIG).is_file() else DirectoryStore("directory", source).find(name)
        if found is None:
            raise ModelDirectoryError(f"{source} is no model directory and has none named {name}.")
        return found, "directory"
    for store in source_stores():
        found = store.find(name)
        if found is not None:
            return found, store.label
    if name in BY_NAME:
        raise ModelDirectoryError(f"{name} is not here; name a copy with --from DIR or a mirror with IGAN_ZOO_MIRROR.")
    raise unknown(name)


def _check_pin(name: str, path: Path) -> None:
    entry = BY_NAME.get(name)
    if entry is None:
        return
    actual = sha256_of(path / CONFIG)
    if actual != entry.config_sha256:
        raise ChecksumError(
            f"{path / CONFIG} is not the published {name}: its sha256 is {actual}, but the catalogue pins "
            f"{entry.config_sha256}; use --from {path} if you mean this one."
        )


def _copy(directory: ModelDirectory, target: Path, *, replace: bool) -> ModelDirectory:
    with atomic_directory(target, replace=replace) as temporary:
        for name in (CONFIG, *directory.spec.files):
            if name in OPTIONAL and not (directory.path / name).exists():
                continue
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(directory.path / name, temporary / name)
        ModelDirectory.open(temporary).verify()
    return ModelDirectory.open(target)


def _remember(path: Path) -> None:
    with atomic_file(home() / "last") as temporary:
        temporary.write_text(f"{path.resolve()}\n")


def _default() -> Model:
    note = home() / "last"
    if note.is_file():
        path = Path(note.read_text().strip())
        if (path / CONFIG).is_file():
            return _open(path)
    bundled = bundled_store().find(DEFAULT_MODEL)
    if bundled is None:
        raise ModelDirectoryError("No model is bundled with this installation; name one, or pull one first.")
    return _open(bundled)


def _open(path: Path) -> Model:
    directory = ModelDirectory.open(path)
    return Model(directory.spec.name, path, directory)
