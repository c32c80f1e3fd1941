"""What is told about served models."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import msgspec

from igan_zoo.errors import ChecksumError, ModelDirectoryError, ParityError
from igan_zoo.models.class_words import readable
from igan_zoo.models.directory import ModelDirectory
from igan_zoo.models.parity import decode_parity
from igan_zoo.models.spec import PARITY
from igan_zoo.serving.server.models.hosted import HostedModel

_SUMMARY = "A single ONNX file"


def describe(hosted: HostedModel) -> dict[str, Any]:
    """Returns what ``GET /models`` says of a model; blocks, as its parity report is read."""
    directory = hosted.model.directory
    spec = directory.spec if directory is not None else None
    return {
        "name": hosted.name,
        "version": hosted.version,
        "summary": spec.summary if spec is not None else _SUMMARY,
        "license": spec.license if spec is not None else None,
        "dataset": spec.dataset.id if spec is not None else None,
        "weakness": spec.weakness if spec is not None else None,
        "note": spec.note if spec is not None else None,
        "generator_alone": spec is not None and spec.generator_training is not None,
        "roles": list(hosted.graphs),
        "image": _image(hosted),
        "classes": _classes(hosted),
        "expected": _expected(hosted),
        "latent": _latent(hosted),
        "results": msgspec.to_builtins(spec.results) if spec is not None else [],
        "parity": _parity(directory) if directory is not None else None,
        "provider": next((graph.provider for graph in hosted.graphs.values()), None),
        "protocol_models": [graph.name for graph in hosted.graphs.values()],
        "files": _files(directory) if directory is not None else [],
    }


def _image(hosted: HostedModel) -> dict[str, Any] | None:
    if hosted.model.directory is not None:
        image: dict[str, Any] = msgspec.to_builtins(hosted.model.directory.spec.image)
        return image
    for role, graph in hosted.graphs.items():
        if role != "scorer":
            height, width, channels = graph.graph.output_shape if role == "generator" else graph.graph.image_shape
            crop = role == "classifier" and graph.loaded.crop
            return {"height": height, "width": width, "channels": channels, "crop": crop}
    return None


def _classes(hosted: HostedModel) -> list[str] | None:
    graph = hosted.graphs.get("classifier")
    return None if graph is None else list(readable(graph.loaded.classes))


def _expected(hosted: HostedModel) -> dict[str, Any] | None:
    graph = hosted.graphs.get("classifier")
    return None if graph is None else asdict(graph.loaded.expected)


def _latent(hosted: HostedModel) -> dict[str, Any] | None:
    graph = hosted.graphs.get("generator")
    return None if graph is None else dict(msgspec.to_builtins(graph.loaded.latents))


def _parity(directory: ModelDirectory) -> dict[str, dict[str, float]] | None:
    """Returns the largest difference between each graph and its PyTorch module, by output, over all batches."""
    try:
        report = decode_parity(directory.read(PARITY), directory.path / PARITY)
    except (ParityError, ChecksumError, ModelDirectoryError):
        # No report, changed, or gone since the model was loaded; all else is told nevertheless.
        return None
    return {name: file.largest() for name, file in report.files.items()}


def _files(directory: ModelDirectory) -> list[dict[str, Any]]:
    present = directory.present()
    return [
        {"path": name, "size": file.size, "sha256": file.sha256}
        for name, file in directory.spec.files.items()
        if name in present
    ]
