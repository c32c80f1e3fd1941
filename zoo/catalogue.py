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
        config_sha256="2769e3c0712502c5accf7f5202d6310e053c66f8bd958add5c320eae3d96489b",
    ),
    CatalogueEntry(
        name="mnist-ssl-fast",
        summary="MNIST classifier from 100 labels, and its generator (feature matching, softplus output)",
        config_sha256="d22ae6c252792b97162d0eda16d6bde34232001b4080087512b18c1096c5172f",
    ),
)

BY_NAME = {entry.name: entry for entry in CATALOGUE}
DEFAULT_MODEL = "mnist-ssl-warm"
