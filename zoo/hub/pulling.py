"""Pulling: a model from a directory, a mirror or the Hub becomes a checked directory in the cache."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from igan_zoo.errors import ChecksumError, HubUnreachableError, ModelDirectoryError, OutputError
from igan_zoo.hub.client import Address, fetch, parse_address
from igan_zoo.machine.files import atomic_directory, atomic_file, keep_inputs, sha256_of
from igan_zoo.models.catalogue import BY_NAME, CatalogueEntry
from igan_zoo.models.directory import ModelDirectory
from igan_zoo.models.spec import CONFIG, OPTIONAL, Variant
from igan_zoo.models.store import DirectoryStore, Store, cache_store, fetched_stores, home, shipped_stores, unknown

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class PulledModel(ModelDirectory):
    """A model directory, and the place that had it: mirror, cache, Hub, bundled, checkout, or a given directory."""

    place: str


def pull(
    name: str,
    *,
    source: Path | None = None,
    to: Path | None = None,
    variant: Variant | None = None,
    token: str | None = None,
) -> PulledModel:
    """Makes a model available, every byte checked, and remembers it as the default.

    ``name`` is a model's name, or ``org/name[@revision]`` on the Hub. ``source`` is a model directory, or a directory
    of them; without it the mirror, the cache, the Hub (for a name, the repository that the catalogue gives), the models
    bundled with the package and those of its checkout are asked in turn. What is cached, bundled or in the checkout
    stays where it is unless ``to`` says where to copy it. With ``variant`` only what running it takes is got.

    Raises:
        UnknownNameError: no store has the model.
        ChecksumError: its bytes are not those promised; nothing is copied.
        HubError: the Hub does not give it.
    """
    with _locked(name):
        found = _locate(name, source, variant, token)
        stays = found.label in ("cache", "bundled", "checkout")
        target = to or (None if stays else home() / "models" / _cached_as(name))
        directory = found.directory
        if target is not None and target.resolve() != directory.path.resolve():
            directory = _copy(found, target, replace=to is None)
    _remember(directory.path)
    return PulledModel(directory.path, directory.spec, found.label)


@dataclass(frozen=True)
class _Found:
    """A checked model directory, where it was found, and which files of it are wanted."""

    directory: ModelDirectory
    label: str
    files: tuple[str, ...]


def _locate(name: str, source: Path | None, variant: Variant | None, token: str | None) -> _Found:
    if source is not None:
        path = source if (source / CONFIG).is_file() else DirectoryStore("directory", source).find(name)
        if path is None:
            raise ModelDirectoryError(f"{source} is not a model directory and contains none named {name}.")
        return _checked(name, path, "directory", variant)
    address, unreachable = parse_address(name), None
    # What a repository holds now, only the Hub can say.
    asked_first = [store for store in fetched_stores() if address is None or store.label != "cache"]
    if found := _in_stores(name, asked_first, variant):
        return found
    try:
        if found := _on_hub(name, variant, token):
            return found
    except HubUnreachableError as error:
        unreachable = error
    # Without the Hub, a name stands for what came with the installation, an address for what was pulled from its main.
    if address is None:
        found = _in_stores(name, shipped_stores(), variant)
    elif address.revision == "main":
        found = _in_stores(address.repository, [cache_store()], variant)
    if found is not None:
        if unreachable is not None:
            _LOG.warning("%s comes from this machine (%s). %s", name, found.label, unreachable)
        return found
    if unreachable is not None:
        raise unreachable
    if name not in BY_NAME:
        raise unknown(name)
    raise ModelDirectoryError(
        f"No copy of {name} on this machine matches the catalogue, and it is not on the Hub; name a copy with "
        "--from DIR or a mirror with IGAN_ZOO_MIRROR."
    )


def _on_hub(name: str, variant: Variant | None, token: str | None) -> _Found | None:
    """Fetches an address, or a name that the catalogue gives a repository of; None for other names."""
    entry, address = BY_NAME.get(name), parse_address(name)
    pin = entry.config_sha256 if entry is not None else None
    if entry is not None and entry.repository is not None and entry.revision is not None:
        address = Address(entry.repository, entry.revision)
    if address is None:
        return None
    snapshot = fetch(address, pin=pin, variant=variant, token=token)
    return _Found(ModelDirectory(snapshot.path, snapshot.spec), "Hub", snapshot.files)


def _in_stores(name: str, stores: Iterable[Store], variant: Variant | None) -> _Found | None:
    """Returns the first whole copy, for a name of the catalogue of the published model, checked.

    Raises:
        ChecksumError: a mirror has another model under a name of the catalogue, or a copy is damaged.
    """
    entry = BY_NAME.get(name)
    for store in stores:
        found = store.find(name)
        if found is None:
            continue
        if entry is not None and store.label == "mirror":
            _check_pin(entry, found)
        outdated = entry is not None and sha256_of(found / CONFIG) != entry.config_sha256
        if not outdated and _has(found, variant):
            return _checked(name, found, store.label, variant)
    return None


def _checked(name: str, path: Path, label: str, variant: Variant | None) -> _Found:
    """Opens a directory that a store has, and checks all of it."""
    directory = ModelDirectory.open(path)
    if parse_address(name) is None and directory.spec.name != name:
        raise ModelDirectoryError(f"{path} holds the model {directory.spec.name}, not {name}.")
    directory.verify()
    present = directory.present()
    wanted = directory.spec.files_for(variant) if variant else tuple(directory.spec.files)
    return _Found(directory, label, tuple(name for name in wanted if name in present))


def _has(path: Path, variant: Variant | None) -> bool:
    """Returns whether a directory has every file that is needed; whether they are whole is another question."""
    directory = ModelDirectory.open(path)
    needed = directory.spec.files_for(variant) if variant else directory.spec.files
    present = directory.present()
    return all(name in present or name in OPTIONAL or not name.startswith("onnx/") for name in needed)


def _cached_as(name: str) -> str:
    """Returns the directory of a pulled model in the cache: its name, or its repository without the revision."""
    address = parse_address(name)
    return address.repository if address else name


def _check_pin(entry: CatalogueEntry, path: Path) -> None:
    actual = sha256_of(path / CONFIG)
    if actual != entry.config_sha256:
        raise ChecksumError(
            f"{path / CONFIG} is not the published {entry.name}: its sha256 is {actual}, but the catalogue pins "
            f"{entry.config_sha256}; use --from {path} if you mean this one."
        )


def _copy(found: _Found, target: Path, *, replace: bool) -> ModelDirectory:
    """Copies the wanted files, or links them from the Hub's cache, and keeps what else an older copy has of them."""
    directory = found.directory
    keep_inputs([target], [directory.path])
    origins = {name: directory.path / name for name in (CONFIG, *found.files)}
    if replace and _same_model(target, directory.path):
        origins |= {name: target / name for name in ModelDirectory.open(target).present() if name not in origins}
    with atomic_directory(target, replace=replace) as temporary:
        for name, origin in origins.items():
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            _take(origin, temporary / name, link=found.label == "Hub")
        ModelDirectory.open(temporary).verify()
    return ModelDirectory.open(target)


def _same_model(target: Path, other: Path) -> bool:
    config = target / CONFIG
    return config.is_file() and sha256_of(config) == sha256_of(other / CONFIG)


def _take(origin: Path, target: Path, *, link: bool) -> None:
    if link:
        try:
            target.hardlink_to(origin.resolve())
        except OSError:
            link = False
    if not link:
        shutil.copyfile(origin, target)


@contextmanager
def _locked(name: str) -> Iterator[None]:
    """Lets one process at a time pull a model; the others wait, and find it pulled."""
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

    lock = home() / "locks" / f"{_cached_as(name).replace('/', '--')}.lock"
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock.touch()
    except OSError:
        # Where no lock can be written, no model can be either; one that is there already can still be found.
        yield
        return
    with WeakFileLock(lock):
        yield


def _remember(path: Path) -> None:
    try:
        with atomic_file(home() / "last") as temporary:
            temporary.write_bytes(os.fsencode(f"{path.resolve()}\n"))
    except OutputError as error:
        _LOG.warning("%s could not be stored as the default model: %s", path, error)
