"""The models that this version of igan-zoo knows by name: ``catalogue.json`` in this package."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from igan_zoo.machine.files import atomic_file

FILE = Path(__file__).parent / "catalogue.json"
DEFAULT_MODEL = "mnist-ssl"


@dataclass(frozen=True)
class CatalogueEntry:
    """A model of ours; ``config_sha256`` pins its ``config.json``, which pins every other file.

    ``repository`` and ``revision`` say where on the Hub it was published, a repository and a commit of it; both are
    None as long as it is not.
    """

    name: str
    summary: str
    config_sha256: str
    repository: str | None = None
    revision: str | None = None


def load_catalogue(path: Path = FILE) -> tuple[CatalogueEntry, ...]:
    """Reads a catalogue: a JSON list of entries."""
    return tuple(CatalogueEntry(**entry) for entry in json.loads(path.read_text()))


def encode_entry(entry: CatalogueEntry) -> str:
    """Returns the lines of an entry, as they stand in the file."""
    return json.dumps(dataclasses.asdict(entry), indent=2, ensure_ascii=False)


def update_catalogue(entries: Sequence[CatalogueEntry], path: Path = FILE) -> list[str]:
    """Puts entries into a catalogue, each in the place of its namesake or at the end; returns the names that changed.

    Raises:
        OutputError: the file cannot be written.
    """
    old = {entry.name: entry for entry in load_catalogue(path)}
    new = {**old, **{entry.name: entry for entry in entries}}
    changed = [name for name, entry in new.items() if old.get(name) != entry]
    if changed:
        with atomic_file(path) as temporary:
            values = [dataclasses.asdict(entry) for entry in new.values()]
            temporary.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n")
    return changed


CATALOGUE = load_catalogue()
BY_NAME = {entry.name: entry for entry in CATALOGUE}
