"""What ``export`` does with published weights: a scorer."""

from __future__ import annotations

import time
from pathlib import Path

import click

from igan_zoo.commands.options import missing_train
from igan_zoo.terminal import print_seconds_since

SCORERS = ("inception", "efficientnet-lite0")


def export_scorer(kind: str, weights: Path | None, out: Path, *, any_weights: bool, force: bool) -> None:
    """Turns published weights into an ONNX file that computes features and logits of images of any size."""
    if kind not in SCORERS:
        raise click.UsageError(f"--weights goes with {' or '.join(SCORERS)}, not with {kind}")
    if weights is None:
        raise click.UsageError(f"{kind} wants --weights, the file of its published weights")
    try:
        from igan_zoo.export import scorers
    except ImportError as error:
        raise missing_train(error) from error

    began = time.perf_counter()
    path, name = scorers.export_scorer(scorers.SCORERS[kind], weights, out, any_weights=any_weights, replace=force)
    click.echo(f"{path}: the scorer {name}, compared with PyTorch; next to it {path.with_suffix('.parity.json').name}")
    print_seconds_since(began)
