"""What is told about served models, and those of their files that may be fetched."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import msgspec
from starlette.exceptions import HTTPException

from igan_zoo.directory import ModelDirectory
from igan_zoo.errors import ChecksumError, NotReadyError, UnknownNameError
from igan_zoo.files import sha256_of
from igan_zoo.serving.engine import class_names, crops, latent_distribution
from igan_zoo.serving.server.hosted import HostedModel
from igan_zoo.spec import CONFIG, PARITY

CARD = "README.md"
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
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
        "roles": list(hosted.graphs),
        "image": _image(hosted),
        "classes": _classes(hosted),
        "latent": _latent(hosted),
        "results": msgspec.to_builtins(spec.results) if spec is not None else [],
        "parity": _parity(directory) if directory is not None else None,
        "provider": next((graph.provider for graph in hosted.graphs.values()), None),
        "protocol_models": [graph.name for graph in hosted.graphs.values()],
        "files": _files(directory) if directory is not None else [],
    }


def find_file(hosted: HostedModel, name: str) -> tuple[Path, str]:
    """Returns the path and the sha256 of a file that a model's ``config.json`` lists, checked; blocks.

    Raises:
        UnknownNameError: there is no such file.
        NotReadyError: it is not the file that ``config.json`` promises.
    """
    directory = hosted.model.directory
    if directory is None:
        raise UnknownNameError(
            f"{hosted.name} is a single ONNX file, without a model directory of which files are given."
        )
    path = directory.path / name
    if name == CONFIG:
        return path, sha256_of(path)
    if name not in directory.spec.files or not path.is_file():
        raise UnknownNameError(f"{hosted.name} has no file {name[:200]!r}; GET /models/{hosted.name} lists its files.")
    expected = directory.spec.files[name].sha256
    status = path.stat()
    try:
        if _sum(path, status.st_mtime_ns, status.st_size, status.st_ino) != expected:
            raise ChecksumError("its bytes are others than promised")
    except (OSError, ChecksumError) as error:
        raise NotReadyError(
            f"The file {name} of {hosted.name} cannot be given: {error}; take the model anew."
        ) from None
    return path, expected


@functools.lru_cache(maxsize=1024)
def _sum(path: Path, modified: int, size: int, number: int) -> str:  # noqa: ARG001
    """Returns a file's sum, computed again when the file was changed."""
    return sha256_of(path)


def _image(hosted: HostedModel) -> dict[str, Any] | None:
    if hosted.model.directory is not None:
        image: dict[str, Any] = msgspec.to_builtins(hosted.model.directory.spec.image)
        return image
    for role, graph in hosted.graphs.items():
        if role != "scorer":
            height, width, channels = graph.graph.output_shape if role == "generator" else graph.graph.input_shape
            crop = role == "classifier" and crops(hosted.model, graph.engine)
            return {"height": height, "width": width, "channels": channels, "crop": crop}
    return None


def _classes(hosted: HostedModel) -> list[str] | None:
    graph = hosted.graphs.get("classifier")
    return None if graph is None else list(class_names(hosted.model, graph.engine))


def _latent(hosted: HostedModel) -> dict[str, Any] | None:
    graph = hosted.graphs.get("generator")
    if graph is None:
        return None
    (size,) = graph.graph.input_shape
    return {"size": size, "distribution": latent_distribution(hosted.model, graph.engine)}


def _parity(directory: ModelDirectory) -> dict[str, dict[str, float]] | None:
    """Returns the largest difference between each graph and its PyTorch module, by output, over all batches."""
    try:
        report = msgspec.json.decode(directory.read(PARITY))
        return {
            file: {
                output: max(batch[output]["max"] for batch in compared["batches"].values())
                for output in next(iter(compared["batches"].values()))
            }
            for file, compared in report["files"].items()
        }
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError, StopIteration, ChecksumError):
        return None


def _files(directory: ModelDirectory) -> list[dict[str, Any]]:
    present = directory.present()
    return [
        {"path": name, "size": file.size, "sha256": file.sha256}
        for name, file in directory.spec.files.items()
        if name in present
    ]


def whole_or_part(given: str | None, size: int) -> bool:
    """Returns whether a Range header asks for one part of a file of ``size`` bytes; what it cannot mean is not heeded.

    Raises:
        HTTPException: the part lies beyond the end, 416.
    """
    found = _RANGE.fullmatch(given or "")
    if found is None:
        return False
    first, last = found.groups()
    if not (first or last) or (first and last and int(last) < int(first)):
        return False
    if (int(first) >= size) if first else (int(last) == 0):
        raise HTTPException(416, f"The file has {size} bytes.", {"Content-Range": f"bytes */{size}"})
    return True


def etag_matches(given: str | None, sha256: str) -> bool:
    """Returns whether an If-None-Match header names the file with that sum."""
    if given is None:
        return False
    return given.strip() == "*" or f'"{sha256}"' in (tag.strip().removeprefix("W/") for tag in given.split(","))
