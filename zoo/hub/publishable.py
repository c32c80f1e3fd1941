"""Whether a model directory is fit to be published: whole, without pickles, its parity report and card about it."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from igan_zoo.errors import ParityError, PublishingError, first_line
from igan_zoo.images.files.kinds import PNG
from igan_zoo.models.directory import ModelDirectory
from igan_zoo.models.parity import FileParity, decode_parity
from igan_zoo.models.spec import CONFIG, LABELS, PARITY, ModelSpec

# Everything else, pickles above all, stays at home.
_SUFFIXES = (".onnx", ".safetensors", ".json", ".md", ".png", ".yaml")
_SECTIONS = ("Result", "How it was made", "Use", "Limits", "Exactness", "License and citation")


def check_publishable(directory: ModelDirectory) -> None:
    """Checks everything that a stranger will rely on.

    Raises:
        ChecksumError: a file is not what ``config.json`` promises.
        ModelDirectoryError: one is missing, or not named there.
        PublishingError: one is left out, of a kind that is not published, or its report or card is about another model.
    """
    absent = directory.verify()
    if absent:
        raise PublishingError(f"{directory.path} lacks {', '.join(absent)}; publish the directory that export wrote.")
    for name in directory.spec.files:
        _check_kind(directory.path / name)
    _check_parity(directory)
    check_card(directory)


def check_card(directory: ModelDirectory) -> None:
    """Reads the card and the results with huggingface_hub's own parsers, and compares them with the specification.

    Raises:
        PublishingError: they cannot be read, lack something, or say something else.
    """
    from huggingface_hub import ModelCard

    path, spec = directory.path / "README.md", directory.spec
    try:
        card = ModelCard(path.read_text(encoding="utf-8"))
    except Exception as error:
        # Whatever YAML or the card's own rules have against it.
        raise _unfit(path, f"cannot be read as a model card: {first_line(error).rstrip('.')}") from error
    data = card.data
    expected = {
        "license": spec.license,
        "library_name": "onnx",
        "pipeline_tag": "image-classification" if spec.classes else "unconditional-image-generation",
        "datasets": [spec.dataset.id],
    }
    for key, value in expected.items():
        if getattr(data, key) != value:
            raise _unfit(path, f"has the {key} {getattr(data, key)!r}, but the model {value!r}")
    missing = [section for section in _SECTIONS if f"\n## {section}\n" not in card.content]
    if missing:
        raise _unfit(path, f"has no section {', '.join(missing)}")
    stated = [(result.dataset_type, result.metric_value) for result in getattr(data, "eval_results", None) or []]
    _check_results(path, stated, spec)
    if _accuracies(spec):
        results = directory.path / ".eval_results" / f"{spec.name}.yaml"
        _check_results(results, _entries(results), spec)


def _entries(path: Path) -> list[tuple[str, Any]]:
    import yaml
    from huggingface_hub import parse_eval_result_entries

    try:
        entries = parse_eval_result_entries(yaml.safe_load(path.read_text(encoding="utf-8")))
    except Exception as error:
        # A missing file, YAML that is none, or keys that the Hub wants.
        raise _unfit(path, f"cannot be read as results: {first_line(error).rstrip('.')}") from error
    return [(entry.dataset_id, entry.value) for entry in entries]


def _accuracies(spec: ModelSpec) -> list[tuple[str, float]]:
    return [(result.dataset, round(1 - result.error, 6)) for result in spec.results if result.variant is None]


def _check_results(path: Path, stated: list[tuple[str, Any]], spec: ModelSpec) -> None:
    if stated != _accuracies(spec):
        raise _unfit(path, f"states the accuracies {stated}, but {CONFIG} {_accuracies(spec)}")


def _check_kind(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(8)
        if path.suffix not in _SUFFIXES and path.name != LABELS:
            raise _unfit(path, f"has a type that is not published ({', '.join(_SUFFIXES)} are)")
        # The two ways in which torch.save pickles: a stream of its own, or inside a zip file.
        if head.startswith((b"\x80", b"PK\x03\x04")) and path.suffix != ".safetensors":
            raise _unfit(path, "is a pickle or an archive")
        if path.suffix == ".png" and head != PNG:
            raise _unfit(path, "is not a PNG file")
        if path.suffix == ".safetensors":
            _check_header(path, file.read(min(struct.unpack("<Q", head)[0], path.stat().st_size)) if head[7:] else b"")


def _check_header(path: Path, header: bytes) -> None:
    try:
        valid = isinstance(json.loads(header), dict)
    except (ValueError, RecursionError):
        valid = False
    if not valid:
        raise _unfit(path, "is not a safetensors file")


def _check_parity(directory: ModelDirectory) -> None:
    path = directory.path / PARITY
    try:
        report = decode_parity(path.read_bytes(), path)
    except ParityError as error:
        raise PublishingError(str(error)) from error
    told: dict[str, FileParity] = {**report.files, **report.variants}
    for name, file in directory.spec.files.items():
        if name.endswith(".onnx") and (name not in told or told[name].sha256 != file.sha256):
            raise _unfit(path, f"is not about this {name}")


def _unfit(path: Path, complaint: str) -> PublishingError:
    return PublishingError(f"{path} {complaint}; export the run again, or fix it, before publishing.")
