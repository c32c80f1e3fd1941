"""What is on this machine: pulled models, and their files in the Hub's cache; listed and cleared away."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from igan_zoo.errors import IganZooError, OutputError
from igan_zoo.models.directory import ModelDirectory
from igan_zoo.models.spec import CONFIG, read_spec
from igan_zoo.models.store import DirectoryStore, cache_store, home, last_pulled


@dataclass(frozen=True)
class CachedModel:
    """A pulled model: its name, where it is, the bytes of its files, and its variants."""

    name: str
    path: Path
    size: int
    variants: tuple[str, ...]


def list_cached(patterns: Sequence[str] = ()) -> list[CachedModel]:
    """Returns the pulled models whose names match one of the patterns, or all; one that cannot be read has size 0."""
    store = cache_store()
    return [_describe(store, name) for name in store.names() if matches(name, patterns)]


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Returns whether a name, with or without its organization, matches a pattern of fnmatch; without any, it does."""
    names = {name, name.rpartition("/")[2]}
    return not patterns or any(fnmatch(form, pattern) for pattern in patterns for form in names)


def removable(patterns: Sequence[str] = ()) -> list[tuple[Path, int]]:
    """Returns what may be removed, with its bytes: pulled models that match, leftovers, the Hub's copies of models.

    Leftovers are of pulls that were killed. The Hub's copies only save fetching anew what is pulled again. Without a
    pattern no pulled model is among them.
    """
    models = [(model.path, model.size) for model in list_cached(patterns)] if patterns else []
    root = cache_store().root
    leftovers = [path for pattern in (".*.part", ".*.old", "*/.*.part", "*/.*.old") for path in root.glob(pattern)]
    return [*models, *((path, bytes_of(path)) for path in leftovers), *_hub_copies()]


def remove(path: Path) -> None:
    """Removes a directory of the cache.

    Raises:
        OutputError: it cannot be removed.
    """
    try:
        # Renamed first: a kill in the middle then leaves no half of a model under its name.
        aside = path.with_name(f".{path.name.lstrip('.')}.old")
        path.replace(aside)
        shutil.rmtree(aside)
        if last_pulled() == path.resolve():
            (home() / "last").unlink()
    except OSError as error:
        raise OutputError(f"Cannot remove {path}: {error.strerror}; check its permissions.") from error


def _describe(store: DirectoryStore, name: str) -> CachedModel:
    path = store.root / name
    try:
        directory = ModelDirectory.open(path)
    except IganZooError:
        return CachedModel(name, path, 0, ())
    present = directory.present()
    variants = [variant for role in directory.spec.graphs for variant in directory.spec.variants(role)]
    here = [
        variant for variant in dict.fromkeys(variants) if any(file.endswith(f"_{variant}.onnx") for file in present)
    ]
    return CachedModel(name, path, bytes_of(path), tuple(here))


def _hub_copies() -> list[tuple[Path, int]]:
    """Returns the repositories in the Hub's cache of which some commit is a model of ours."""
    from huggingface_hub import constants, scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        # Named, for its default is the directory that was right when that module was imported.
        repositories: Any = scan_cache_dir(constants.HF_HUB_CACHE).repos
    except CacheNotFound:
        return []
    found = [
        (Path(repository.repo_path), int(repository.size_on_disk))
        for repository in repositories
        if any(_is_ours(Path(revision.snapshot_path) / CONFIG) for revision in repository.revisions)
    ]
    return sorted(found)


def _is_ours(config: Path) -> bool:
    try:
        read_spec(config)
    except IganZooError:
        return False
    return True


def bytes_of(path: Path) -> int:
    """Returns the bytes of all files below a folder; 0 where there is none."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
