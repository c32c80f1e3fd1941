"""The models that this version of igan-zoo knows by name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CatalogueEntry:
    """A published model; ``config_sha256`` pins its ``config.json``, which pins every other file."""

    name: str
    summary: str
    config_sha256: str


CATALOGUE = (
    CatalogueEntry(
        name="mnist-ssl-warm",
        summary="MNIST classifier from 100 labels, and its generator (feature matching, softplus start, then sigmoid)",
        config_sha256="e825d1f82cc199b709cf9d8eb3f6e971b3c6fa4def266f06ae17a2472f3912f9",
    ),
    CatalogueEntry(
        name="mnist-ssl-fast",
        summary="MNIST classifier from 100 labels, and its generator (feature matching, softplus output)",
        config_sha256="f54245a6f191359f23ec1db23c808b68a65cb1f148e5f3aa7762ecdb28e5fa15",
    ),
)

BY_NAME = {entry.name: entry for entry in CATALOGUE}
DEFAULT_MODEL = "mnist-ssl-warm"
