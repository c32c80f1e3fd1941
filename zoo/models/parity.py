"""The parity report: what a model's ONNX files compute in onnxruntime beside what their modules compute in PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from igan_zoo.errors import ParityError
from igan_zoo.models.spec import Variant

# The differences of one output: ``max`` and ``mean``, absolute, and more for some outputs.
Differences = dict[str, float]


class WrongAnswers(Struct, frozen=True):
    """How many test images the module and the graph get wrong."""

    torch: int
    onnxruntime: int


class Agreement(Struct, frozen=True):
    """How a classifier and its module answer the images of a split; ``argmax_agreement`` is the share of same ones."""

    dataset: str
    split: str
    images: int
    argmax_agreement: float
    wrong: WrongAnswers


class FileParity(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One ONNX file: the differences of every output by batch size, and of a classifier the answers to test images."""

    sha256: str
    batches: dict[str, dict[str, Differences]]
    test: Agreement | None = None

    def largest(self) -> dict[str, float]:
        """Returns the largest difference of every output over all batches."""
        return largest([self])


class VariantParity(FileParity, frozen=True, kw_only=True, omit_defaults=True):
    """A variant, compared with the module in float32; ``tolerances`` are by output and measure."""

    variant: Variant
    provider: str
    tolerances: dict[str, dict[str, float]]


class Conditions(Struct, frozen=True, kw_only=True):
    """What every report begins with."""

    format: Literal[2] = 2
    opset: int
    ir_version: int
    provider: str
    versions: dict[str, str]


class ParityReport(Conditions, frozen=True, kw_only=True):
    """The ``parity.json`` of a model directory, by file."""

    tolerances: dict[str, float]
    files: dict[str, FileParity]
    variants: dict[str, VariantParity] = {}


class ScorerParity(Conditions, frozen=True, kw_only=True):
    """The report beside a scorer's file: the differences of every output by the shape of the images."""

    scorer: str
    weights_sha256: str
    tolerance: float
    sha256: str
    images: dict[str, dict[str, Differences]]


def largest(files: list[FileParity]) -> dict[str, float]:
    """Returns the largest difference of every output over all batches of several files."""
    worst: dict[str, float] = {}
    for file in files:
        for outputs in file.batches.values():
            for name, measured in outputs.items():
                worst[name] = max(worst.get(name, 0.0), measured["max"])
    return worst


def decode_parity(content: bytes, path: Path) -> ParityReport:
    """Returns the report in the bytes of ``path``.

    Raises:
        ParityError: they are no report of this version.
    """
    try:
        report = msgspec.json.decode(content, type=ParityReport)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ParityError(f"{path} is not a parity report: {error}; export the run again.") from error
    for name, file in {**report.files, **report.variants}.items():
        if not all("max" in measured for outputs in file.batches.values() for measured in outputs.values()):
            raise ParityError(f"{path} is not a parity report: {name} has an output without max; export the run again.")
    return report


def encode_parity(report: ParityReport | ScorerParity) -> bytes:
    """Returns the bytes of a report: indented JSON in a fixed order."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"
