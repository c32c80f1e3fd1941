"""Scorers made from published weights: an ONNX file, its comparison with PyTorch, and an 8-bit preview of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from igan_zoo.errors import OutputError, missing_extra
from igan_zoo.images.sources import open_source
from igan_zoo.machine.files import atomic_file
from igan_zoo.models.parity import ScorerParity, encode_parity
from igan_zoo.serving.scorers.converting import SCORERS, ScorerKind, convert, scorer_name
from igan_zoo.serving.scorers.weights import WeightsFile, open_weights, require_sum


@dataclass(frozen=True)
class ScorerFiles:
    """A scorer's file and what was written next to it.

    ``report`` is None where PyTorch was not there to compare with. ``preview`` is the 8-bit form, and ``measured`` says
    how far that is off; both are None where none was asked for.
    """

    name: str
    path: Path
    report: Path | None
    preview: Path | None = None
    measured: str | None = None


def write_scorer(
    kind_name: str,
    weights: Path,
    out: Path,
    *,
    any_weights: bool = False,
    calibration: str | None = None,
    replace: bool = False,
) -> ScorerFiles:
    """Turns published weights into an ONNX file that computes features and logits of images of any size.

    ``out`` is a name that ends in ``.onnx``, or a folder. Where the train extra is installed, the file is compared with
    PyTorch, and the report is written next to it. ``calibration`` names images for which an 8-bit preview is written.
    With ``any_weights`` a state dict need not be the published one, and the name says so.

    Raises:
        WeightsError, ChecksumError: the weights are damaged, or not the published ones.
        OutputError: a file exists, without ``replace``, or cannot be written.
        ParityError: the file does not compute what PyTorch computes.
        MissingExtraError: a preview needs the train extra.
    """
    kind = SCORERS[kind_name]
    file = open_weights(weights)
    if not file.is_graph and not any_weights:
        require_sum(file, kind.sha256, kind.source)
    name = scorer_name(kind, file)
    path = out if out.suffix == ".onnx" else out / f"{name}.onnx"
    report = path.with_suffix(".parity.json")
    for target in (path, report):
        if target.exists() and not replace:
            raise OutputError(f"{target} already exists; choose another file, or add --force to replace it.")
    content = convert(kind, file)
    compared = _compared(kind, file, content)
    with atomic_file(path) as graph:
        graph.write_bytes(content)
    if compared is None:
        # Not to be taken for one about this file.
        report.unlink(missing_ok=True)
    else:
        with atomic_file(report) as facts:
            facts.write_bytes(encode_parity(compared))
    written = ScorerFiles(name, path, None if compared is None else report)
    return written if calibration is None else _with_preview(written, kind.size, calibration, replace=replace)


def _compared(kind: ScorerKind, file: WeightsFile, content: bytes) -> ScorerParity | None:
    """Returns the report of the comparison with PyTorch, where that is installed."""
    try:
        from igan_zoo.export.scorers.parity import scorer_parity
        from igan_zoo.export.scorers.torch_scorers import torch_scorer
    except ImportError:
        return None
    return scorer_parity(content, torch_scorer(kind, file), scorer_name(kind, file), file.sha256)


def _with_preview(written: ScorerFiles, size: int, calibration: str, *, replace: bool) -> ScorerFiles:
    try:
        from igan_zoo.export.scorers.previews import write_int8_scorer
    except ImportError as error:
        raise missing_extra(error, "train") from error
    images = open_source(calibration, split=None)
    preview, measured = write_int8_scorer(written.path, images, size=size, replace=replace)
    return ScorerFiles(written.name, written.path, written.report, preview, str(measured))
