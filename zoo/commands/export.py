"""The command that makes ONNX files: export."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from igan_zoo.commands.options import VARIANTS, force_option, keep_inputs
from igan_zoo.commands.terminal import print_seconds_since
from igan_zoo.counts import counted

if TYPE_CHECKING:
    from igan_zoo.export.feature_files import ExportedClassifier

SCORERS = ("inception", "efficientnet-lite0")


@click.command()
@click.argument("run", metavar="RUN|inception|efficientnet-lite0", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Model directory to write; for a scorer, a folder or X.onnx.",
)
@click.option("--data", help="Labeled images to test on, for the model card; int8 is calibrated on their split train.")
@click.option(
    "--split", help="Part of --data for the errors.  [default: test, or all images of a folder without splits]"
)
@click.option(
    "--labels",
    "labels_file",
    type=click.Path(path_type=Path),
    metavar="FILE.csv",
    help="CSV file with the labels of the test images.",
)
@click.option(
    "--variant",
    "variants",
    multiple=True,
    type=VARIANTS,
    help="Smaller or faster form of the graphs to write as well; may be given several times.",
)
@click.option(
    "--temperature",
    type=click.FloatRange(0.05, 20),
    help="Temperature that calibrates the probabilities, as evaluate prints it.",
)
@click.option("--name", help="Name of the model.  [default: name of the folder --out]")
@click.option(
    "--weakness",
    metavar="SENTENCE",
    help="Sentence for the model card: what is visibly wrong with the generated images.",
)
@click.option(
    "--note", metavar="SENTENCE", help="Sentence for the model card: what readers should know about the errors."
)
@click.option(
    "--discriminator",
    is_flag=True,
    help="Add a discriminator with minibatch discrimination, whose answers depend on the batch.",
)
@click.option(
    "--generator-run",
    type=click.Path(path_type=Path),
    metavar="RUN2|MODEL",
    help="Run or model directory to take the generator from.",
)
@click.option(
    "--weights", type=click.Path(path_type=Path), help="Published weights of a scorer: a state dict, .pb or .tgz."
)
@click.option(
    "--any-weights",
    is_flag=True,
    help="Accept a state dict other than the published one; the scorer's name will say so.",
)
@force_option
def export(
    run: Path,
    out: Path,
    data: str | None,
    split: str | None,
    labels_file: Path | None,
    variants: Any,
    temperature: float | None,
    name: str | None,
    weakness: str | None,
    note: str | None,
    discriminator: bool,
    generator_run: Path | None,
    weights: Path | None,
    any_weights: bool,
    force: bool,
) -> None:
    """Turn a finished training run into a model directory of ONNX files, or published weights into a scorer.

    RUN may hold an ensemble: its members become one classifier, the mean of their probabilities.
    """
    from igan_zoo.machine import files

    keep_inputs([out], [data])
    # Of a run some files are read; a model may be inside of its folder.
    files.keep_inputs([out], [run, generator_run, labels_file, weights])
    if weights is not None or (str(run) in SCORERS and not run.exists()):
        of_a_run = any(
            (
                name,
                weakness,
                note,
                discriminator,
                generator_run,
                labels_file,
                split,
                temperature,
                set(variants) - {"int8"},
            )
        )
        if of_a_run or (data is not None) != bool(variants):
            raise click.UsageError(
                "a scorer accepts only --variant int8 with --data IMAGES; the other options apply to runs"
            )
        _export_scorer(str(run), weights, out, any_weights=any_weights, force=force, calibration=data)
        return
    on_features = (run / "features.json").is_file()
    if on_features:
        others = (split, name, weakness, note, discriminator, generator_run, labels_file, any_weights, temperature)
        if any(others) or set(variants) - {"int8"} or (data is not None) != bool(variants):
            raise click.UsageError(
                "a run on features accepts only --out X.onnx, --force, and --variant int8 with --data PHOTOS"
            )
    if any_weights:
        raise click.UsageError("--any-weights requires --weights")
    if "int8" in variants and data is None:
        raise click.UsageError("--variant int8 is calibrated on training images, so it needs --data")
    if labels_file is not None and data is None:
        raise click.UsageError("--labels requires --data")
    if split is not None and data is None:
        raise click.UsageError("--split requires --data")
    from igan_zoo.api import export as export_run
    from igan_zoo.models.directory import ModelDirectory
    from igan_zoo.models.export_options import ExportOptions

    directory = export_run(
        run,
        out,
        data=data,
        split=split,
        labels_file=labels_file,
        variants=variants,
        name=name,
        replace=force,
        progress=True,
        options=ExportOptions(
            weakness=weakness,
            note=note,
            discriminator=discriminator,
            temperature=temperature or 1.0,
            generator_run=generator_run,
        )
        if not on_features
        else None,
    )
    if not isinstance(directory, ModelDirectory):
        _print_classifier(directory)
        return
    for result in directory.spec.results:
        tested = f"{result.dataset} {result.split}" + (f", {result.variant}" if result.variant else "")
        click.echo(f"{counted(result.wrong, 'error')} of {result.total} ({result.error:.2%}), {tested}")
    click.echo(f"{directory.path}: {len(directory.spec.files)} files, verified")


def _print_classifier(made: ExportedClassifier) -> None:
    """Prints what a run on features became."""
    listed = ", ".join(f"{name} {largest:.1g}" for name, largest in made.differences.items())
    click.echo("The file contains only the classifier: generated features are not pictures.")
    click.echo(f"largest differences from PyTorch: {listed}")
    if made.int8 is not None:
        click.echo(
            f"{made.int8}: {made.int8.stat().st_size / 1e6:.1f} MB; of {made.measured} photos {made.changed} get "
            f"another class, and probabilities differ by {made.mean_change:.2g} on average"
        )
    click.echo(f"{made.path}: {made.path.stat().st_size / 1e6:.1f} MB; next: igan-zoo classify {made.path} photo.jpg")


def _export_scorer(
    kind: str, weights: Path | None, out: Path, *, any_weights: bool, force: bool, calibration: str | None
) -> None:
    if kind not in SCORERS:
        raise click.UsageError(f"--weights applies to {' or '.join(SCORERS)}, not to {kind}")
    if weights is None:
        raise click.UsageError(f"{kind} needs --weights, the file of its published weights")
    from igan_zoo.scorer_files import write_scorer

    began = time.perf_counter()
    made = write_scorer(kind, weights, out, any_weights=any_weights, calibration=calibration, replace=force)
    if made.report is None:
        click.echo(f"{made.path}: the scorer {made.name}, not compared with PyTorch, which needs the train extra")
    else:
        click.echo(f"{made.path}: the scorer {made.name}, compared with PyTorch; next to it {made.report.name}")
    if made.preview is not None:
        click.echo(f"{made.preview}: the scorer {made.name}-int8, a preview: {made.measured}")
    print_seconds_since(began)
