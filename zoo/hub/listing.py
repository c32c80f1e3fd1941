"""Which models there are: in the catalogue, on this machine, and on the Hub."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from igan_zoo.errors import HubError, IganZooError, UnknownNameError
from igan_zoo.hub.cache import matches
from igan_zoo.hub.client import Address, RemoteModel, fetch, list_remote, parse_address
from igan_zoo.models.catalogue import BY_NAME, CATALOGUE
from igan_zoo.models.directory import ModelDirectory
from igan_zoo.models.spec import ModelSpec
from igan_zoo.models.store import default_path, source_stores, unknown

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class ListedModel:
    """A model and the places that have it; size, variants and errors are known of those on this machine.

    ``size`` is the bytes of all its files, wherever they are; ``error`` the first measured share of wrong answers.
    ``default`` marks the model that stands in where none is named.
    """

    name: str
    places: tuple[str, ...] = ()
    summary: str = ""
    repository: str | None = None
    size: int | None = None
    variants: tuple[str, ...] = ()
    error: float | None = None
    default: bool = False


def list_known(patterns: Sequence[str] = (), *, remote: bool = False, token: str | None = None) -> list[ListedModel]:
    """Returns the models of the catalogue and of this machine whose names match, and with ``remote`` those on the Hub.

    Names match with or without their organization. Where the Hub gives no answer, one logged warning says why.

    Raises:
        ModelDirectoryError: ``IGAN_ZOO_MIRROR`` names something that is not a directory.
    """
    known = {entry.name: ListedModel(entry.name, (), entry.summary, entry.repository) for entry in CATALOGUE}
    standard = default_path()
    seen = set()
    for store in source_stores():
        for name in store.names():
            path = store.find(name)
            # A checkout links to the models that the package bundles.
            if path is None or path.resolve() in seen:
                continue
            seen.add(path.resolve())
            old = known.get(name, ListedModel(name))
            is_default = standard is not None and path.resolve() == standard.resolve()
            known[name] = dataclasses.replace(
                _with_facts(old, path), places=(*old.places, store.label), default=old.default or is_default
            )
    for model in _on_hub(None, token) if remote else ():
        names = [name for name, entry in BY_NAME.items() if entry.repository == model.repository]
        for name in names or [model.repository]:
            old = known.get(name, ListedModel(name))
            known[name] = dataclasses.replace(old, places=(*old.places, "Hub"), repository=model.repository)
    return [model for name, model in sorted(known.items()) if matches(name, patterns)]


def search_models(words: str, *, token: str | None = None) -> list[ListedModel]:
    """Returns the known models with all the words in name or summary, and those on the Hub with them in the name.

    Where the Hub gives no answer, one logged warning says why.
    """
    wanted = words.lower().split()
    here = [model for model in list_known() if all(word in f"{model.name} {model.summary}".lower() for word in wanted)]
    names = {name for model in here for name in (model.name, model.repository)}
    there = [model.repository for model in _on_hub(words, token) if model.repository not in names]
    return [*here, *(ListedModel(name, ("Hub",), repository=name) for name in there)]


def _on_hub(words: str | None, token: str | None) -> list[RemoteModel]:
    try:
        return list_remote(words, token=token)
    except HubError as error:
        _LOG.warning("Only models on this machine are listed. %s", error)
        return []


def remote_spec(reference: str, *, token: str | None = None) -> tuple[str, ModelSpec]:
    """Returns where on the Hub a model is, and its specification, of which nothing else is fetched.

    Raises:
        UnknownNameError: it is no address and not published in the catalogue.
        HubError: it is not there, or the Hub does not answer.
    """
    entry = BY_NAME.get(reference)
    address, pin = parse_address(reference), None
    if entry is not None and entry.repository is not None and entry.revision is not None:
        address, pin = Address(entry.repository, entry.revision), entry.config_sha256
    if address is None:
        if entry is not None:
            raise UnknownNameError(f"The catalogue lists no {reference} on the Hub; remove --remote.")
        raise unknown(reference)
    snapshot = fetch(address, pin=pin, only_config=True, token=token)
    return f"{address.repository}@{snapshot.commit}", snapshot.spec


def describe(model: ListedModel) -> dict[str, Any]:
    """Returns a listed model as JSON has it."""
    fields = dataclasses.asdict(model)
    return {"name": fields.pop("name"), "where": list(fields.pop("places")), **fields, "variants": list(model.variants)}


def _with_facts(model: ListedModel, path: Path) -> ListedModel:
    """Adds what a directory tells; one that cannot be read is listed all the same, and verify says what is wrong."""
    try:
        spec = ModelDirectory.open(path).spec
    except IganZooError:
        return model
    variants = dict.fromkeys(variant for role in spec.graphs for variant in spec.variants(role))
    return dataclasses.replace(
        model,
        summary=model.summary or spec.summary,
        size=sum(file.size for file in spec.files.values()),
        variants=tuple(variants),
        error=next((result.error for result in spec.results if result.variant is None), None),
    )
