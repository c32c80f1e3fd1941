"""Where models are: given directories, a mirror, the cache, the package, its checkout. Finding and resolving.

Environment: ``IGAN_ZOO_MIRROR`` names a directory of model directories; ``IGAN_ZOO_HOME`` is where pulled
models are kept (default ``$XDG_CACHE_HOME/igan-zoo`` or ``~/.cache/igan-zoo``).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from igan_zoo.errors import ModelDirectoryError, UnknownNameError
from igan_zoo.hub.client import parse_address
from igan_zoo.machine.files import open_regular
from igan_zoo.models.catalogue import BY_NAME, DEFAULT_MODEL
from igan_zoo.models.directory import ModelDirectory
from igan_zoo.models.spec import CONFIG, Variant, graph_file, missing_variant
from igan_zoo.names import nearest

PACKAGE = Path(__file__).parent.parent


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
    """A directory whose subdirectories are model directories, or ``org/name`` below each other as on the Hub."""

    label: str
    root: Path

    def find(self, name: str) -> Path | None:
        path = self.root / name
        return path if (path / CONFIG).is_file() else None

    def names(self) -> list[str]:
        found = [*self.root.glob(f"*/{CONFIG}"), *self.root.glob(f"*/*/{CONFIG}")]
        names = (path.parent.relative_to(self.root).as_posix() for path in found)
        return sorted(name for name in names if not name.startswith("."))


def home() -> Path:
    """Returns the directory of pulled models and of the note which was pulled last."""
    if "IGAN_ZOO_HOME" in os.environ:
        return Path(os.environ["IGAN_ZOO_HOME"])
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "igan-zoo"


def bundled_store() -> DirectoryStore:
    """The models inside the installed package."""
    return DirectoryStore("bundled", PACKAGE / "bundled")


def checkout_store(package: Path = PACKAGE) -> DirectoryStore | None:
    """The models of the checkout that the package was installed from in editable mode; None for other installations."""
    # In strict editable mode the installed files are links to those of the checkout.
    folder = (package / "__init__.py").resolve().parent
    models = folder.parent / "models"
    return DirectoryStore("checkout", models) if folder.name == "zoo" and models.is_dir() else None


def cache_store() -> DirectoryStore:
    """The models that were pulled."""
    return DirectoryStore("cache", home() / "models")


def shipped_stores() -> list[Store]:
    """The places that came with the installation, which a model stays in when it is pulled."""
    checkout = checkout_store()
    return [bundled_store(), *([checkout] if checkout else [])]


def local_stores() -> list[Store]:
    """The places that commands look in without fetching anything."""
    return [cache_store(), *shipped_stores()]


def fetched_stores() -> list[Store]:
    """The places that ``pull`` looks in before it asks the Hub.

    Raises:
        ModelDirectoryError: ``IGAN_ZOO_MIRROR`` names something that is not a directory.
    """
    mirror = os.environ.get("IGAN_ZOO_MIRROR")
    if mirror and not Path(mirror).is_dir():
        raise ModelDirectoryError(f"IGAN_ZOO_MIRROR names {mirror}, which is not a directory; correct or unset it.")
    return [*([DirectoryStore("mirror", Path(mirror))] if mirror else []), cache_store()]


def source_stores() -> list[Store]:
    """All places on this machine that ``pull`` looks in, in this order."""
    return [*fetched_stores(), *shipped_stores()]


@dataclass(frozen=True)
class Model:
    """What MODEL on the command line stood for: a model directory, or a single ONNX file without one."""

    name: str
    path: Path
    directory: ModelDirectory | None

    def graph_for_cpus(self, role: str) -> bytes | None:
        """Returns the bytes of the graph that was rewritten for CPUs, checked, or None where it is not here.

        Raises:
            ChecksumError: the file was changed.
        """
        file = graph_file(role, "cpu")
        return self.directory.read(file) if self.directory is not None and file in self.directory.present() else None

    def form(self, role: str, variant: Variant | None, roles: Sequence[str]) -> Variant | None:
        """Returns the form in which one of ``roles`` is loaded: plain where only another of them has the variant."""
        if variant is None or self.directory is None or variant in self.directory.spec.variants(role):
            return variant
        return None if any(variant in self.directory.spec.variants(other) for other in roles) else variant

    def graph(self, role: str, variant: Variant | None = None) -> bytes:
        """Returns the ONNX bytes of the generator or the classifier, checked where there is a specification.

        Raises:
            ModelDirectoryError: the model has no such part, or no such variant of it.
            ChecksumError: the file was changed.
        """
        if self.directory is None:
            if variant is not None:
                raise ModelDirectoryError(f"{self.path} is one file; a {variant} variant needs a model directory.")
            try:
                with open_regular(self.path) as file:
                    return file.read()
            except OSError as error:
                raise ModelDirectoryError(f"Cannot read {self.path}: {error.strerror}.") from error
        spec = self.directory.spec
        if role not in spec.graphs:
            raise ModelDirectoryError(f"{self.name} has no {role}; it has: {', '.join(spec.graphs)}.")
        if variant is None:
            self._check_plain(self.directory, role)
            return self.directory.read(spec.graphs[role])
        if variant not in spec.variants(role):
            raise missing_variant(f"{variant} variant of its {role}", self.name, spec.variants(role))
        return self.directory.read(graph_file(role, variant))

    def _check_plain(self, directory: ModelDirectory, role: str) -> None:
        """Explains the lack of a plain graph where only a variant was pulled."""
        present = directory.present()
        here = [variant for variant in directory.spec.variants(role) if graph_file(role, variant) in present]
        if graph_file(role) not in present and here:
            raise ModelDirectoryError(
                f"{directory.path} has only the {' and '.join(here)} form of its {role}; add --variant {here[0]}, or "
                f"get the rest with: igan-zoo pull {self.name}"
            )


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
    elsewhere = reference in BY_NAME or parse_address(reference) is not None
    if elsewhere or any(store.find(reference) for store in source_stores()):
        raise ModelDirectoryError(f"{reference} is not on this machine; get it with: igan-zoo pull {reference}")
    raise unknown(reference)


def unknown(name: str) -> UnknownNameError:
    """Returns the error for a model name that no store has."""
    known = {*BY_NAME, *(found for store in source_stores() for found in store.names())}
    return UnknownNameError(f"There is no model {name!r}; {nearest(name, known)}")


def last_pulled() -> Path | None:
    """Returns the model directory that was pulled last, if it is known."""
    note = home() / "last"
    return Path(os.fsdecode(note.read_bytes()).strip()) if note.is_file() else None


def default_path() -> Path | None:
    """Returns the model directory that stands in where no model is named: the one pulled last, or a bundled one."""
    path = last_pulled()
    return path if path is not None and (path / CONFIG).is_file() else bundled_store().find(DEFAULT_MODEL)


def _default() -> Model:
    path = default_path()
    if path is None:
        raise ModelDirectoryError("No model is bundled with this installation; name one, or pull one first.")
    return _open(path)


def _open(path: Path) -> Model:
    directory = ModelDirectory.open(path)
    return Model(directory.spec.name, path, directory)
