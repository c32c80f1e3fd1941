"""Where finished statistics and their numbers are kept, so that the same images are scored once."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from igan_zoo.errors import OutputError, ScoringError
from igan_zoo.machine.files import atomic_file
from igan_zoo.machine.versions import installed_versions
from igan_zoo.models import store
from igan_zoo.serving.scoring.protocols import Record
from igan_zoo.serving.scoring.statistics import Facts, Statistics
from igan_zoo.serving.scoring.statistics_file import load_statistics

# What decodes images and computes answers, so that another version may give other bits. onnxruntime's package has other
# names for other devices.
_PACKAGES = ("igan-zoo", "numpy", "pillow", "onnxruntime", "onnxruntime-gpu")

T = TypeVar("T")


def versions() -> dict[str, str]:
    """Returns the versions of the packages on which a score depends."""
    return installed_versions(_PACKAGES)


def stamped(records: Sequence[Record], provider: str | None) -> list[Record]:
    """Returns the records with time, versions, and the provider that computed the answers, where that is known."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return [msgspec.structs.replace(record, provider=provider, time=now, versions=versions()) for record in records]


def cache_key(facts: Facts, provider: str) -> str:
    """Returns a sha256 over everything that the bits of statistics depend on, which a source's name is not."""
    everything = {"facts": msgspec.structs.replace(facts, source=""), "provider": provider, "versions": versions()}
    return hashlib.sha256(msgspec.json.encode(everything, order="sorted")).hexdigest()


def cached_path(key: str) -> Path:
    """Returns where finished statistics of a key are kept."""
    return store.home() / "scores" / f"{key}.safetensors"


def find_statistics(path: Path, facts: Facts, shard: tuple[int, int] | None = None) -> Statistics | None:
    """Returns the statistics in a file if they are whole and of these facts, called whatever; else None."""
    if not path.is_file():
        return None
    try:
        found = load_statistics(path)
    except ScoringError:
        return None
    same = msgspec.structs.replace(found.facts, source=facts.source) == facts and found.shard == shard
    return found if same else None


def kept(kind: type[T], everything: Sequence[Any], compute: Callable[[], T]) -> T:
    """Returns what ``compute`` does, of a ``kind`` that JSON holds, kept by everything that it depends on.

    A Fréchet distance of 2,048 features takes seconds, and reading it takes none.
    """
    key = hashlib.sha256(msgspec.json.encode([*everything, versions()], order="sorted")).hexdigest()
    path = cached_path(key).with_suffix(".json")
    # Where there is none, or a damaged one, it is computed.
    with contextlib.suppress(OSError, msgspec.DecodeError, RecursionError):
        return msgspec.json.decode(path.read_bytes(), type=kind)
    value = compute()
    # That they cannot be kept was said of the statistics.
    with contextlib.suppress(OutputError), atomic_file(path) as temporary:
        temporary.write_bytes(msgspec.json.encode(value))
    return value
