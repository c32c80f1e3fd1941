"""Scorers: what ``export`` makes of published weights, and the 8-bit previews that ``score`` takes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from igan_zoo.commands.options import missing_train
from igan_zoo.commands.terminal import print_seconds_since

if TYPE_CHECKING:
    from igan_zoo.models.parity import ScorerParity
    from igan_zoo.serving.scorers.converting import ScorerKind
    from igan_zoo.serving.scorers.weights import WeightsFile
    from igan_zoo.serving.scoring.network import Network
    from igan_zoo.serving.stored_images import ImageSource

SCORERS = ("inception", "efficientnet-lite0")


def export_scorer(
    kind_name: str, weights: Path | None, out: Path, *, any_weights: bool, force: bool, calibration: str | None = None
) -> None:
    """Turns published weights into an ONNX file that computes features and logits of images of any size.

    ``out`` is a name that ends in ``.onnx``, or a folder. Where the train extra is installed, the file is compared with
    PyTorch, and the report is written next to it. ``calibration`` names images for which an 8-bit preview is written.
    """
    if kind_name not in SCORERS:
        raise click.UsageError(f"--weights goes with {' or '.join(SCORERS)}, not with {kind_name}")
    if weights is None:
        raise click.UsageError(f"{kind_name} needs --weights, the file of its published weights")
    from igan_zoo.commands.records import refuse_existing
    from igan_zoo.machine.files import atomic_file
    from igan_zoo.models.parity import encode_parity
    from igan_zoo.serving.scorers.converting import SCORERS as KINDS
    from igan_zoo.serving.scorers.converting import convert, scorer_name
    from igan_zoo.serving.scorers.weights import open_weights, require_sum

    began = time.perf_counter()
    kind = KINDS[kind_name]
    file = open_weights(weights)
    if not file.is_graph and not any_weights:
        require_sum(file, kind.sha256, kind.source)
    name = scorer_name(kind, file)
    path = out if out.suffix == ".onnx" else out / f"{name}.onnx"
    report = path.with_suffix(".parity.json")
    for target in (path, report):
        refuse_existing(target, force)
    content = convert(kind, file)
    compared = _compared(kind, file, content)
    with atomic_file(path) as graph:
        graph.write_bytes(content)
    if compared is None:
        # A report of a file that is no longer there would be none.
        report.unlink(missing_ok=True)
        click.echo(f"{path}: the scorer {name}, not compared with PyTorch, which needs the train extra")
    else:
        with atomic_file(report) as facts:
            facts.write_bytes(encode_parity(compared))
        click.echo(f"{path}: the scorer {name}, compared with PyTorch; next to it {report.name}")
    if calibration is not None:
        _export_preview(path, name, kind.size, calibration, force=force)
    print_seconds_since(began)


def _compared(kind: ScorerKind, file: WeightsFile, content: bytes) -> ScorerParity | None:
    """Returns the report of the comparison with PyTorch, where that is installed."""
    try:
        from igan_zoo.export.scorer_parity import scorer_parity
        from igan_zoo.export.torch_scorers import torch_scorer
    except ImportError:
        return None
    from igan_zoo.serving.scorers.converting import scorer_name

    return scorer_parity(content, torch_scorer(kind, file), scorer_name(kind, file), file.sha256)


def _export_preview(path: Path, name: str, size: int, calibration: str, *, force: bool) -> None:
    try:
        from igan_zoo.export.scorer_previews import write_int8_scorer
    except ImportError as error:
        raise missing_train(error) from error
    from igan_zoo.serving.image_sources import open_source

    preview, measured = write_int8_scorer(path, open_source(calibration, split=None), size=size, replace=force)
    click.echo(f"{preview}: the scorer {name}-int8, a preview: {measured}")


def load_network(reference: str | None, weights: Path | None, *, device: Any, threads: int | None) -> Network:
    """Returns the network to score with, and says on stderr what is fetched and made for it."""
    from igan_zoo.serving.scorers.converting import inception_kinds
    from igan_zoo.serving.scorers.opening import open_scorer

    if weights is not None and reference is not None and reference not in inception_kinds():
        raise click.UsageError(f"--weights are those of {' or '.join(inception_kinds())}, not of {reference}")
    return open_scorer(
        reference, weights, device=device, threads=threads, say=lambda sentence: click.echo(sentence, err=True)
    )


def load_preview(exact: Network, reference: str | None, source: ImageSource, how: dict[str, Any]) -> Network:
    """Returns the 8-bit form of a scorer, and prints how far it is off on some of ``source``.

    Raises:
        ScoringError: there is none.
    """
    from igan_zoo.errors import ScoringError
    from igan_zoo.serving.scorers.opening import scorers_folder
    from igan_zoo.serving.scoring.network import open_network
    from igan_zoo.serving.scoring.precision import preview_error

    if exact.shape is not None:
        raise ScoringError(f"--precision applies to scorers, but {exact.name} is a classifier. Remove it.")
    given = Path(reference or exact.name)
    folder = given.parent if given.suffix == ".onnx" else scorers_folder()
    path = folder / f"{given.name.removesuffix('.onnx')}-int8.onnx"
    if not path.is_file():
        raise ScoringError(
            f"There is no {path}; make it with igan-zoo export inception --weights FILE --variant int8 --data IMAGES "
            f"--out {folder}, or leave --precision out."
        )
    preview = open_network(str(path), **how)
    click.echo(f"{preview.name} is a preview: {preview_error(exact, preview, source)}.", err=True)
    return preview
