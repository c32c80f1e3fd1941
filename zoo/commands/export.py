"""The command that makes ONNX files: export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from igan_zoo.commands.options import VARIANTS, force_option, keep_inputs, missing_train
from igan_zoo.commands.scorers import SCORERS, export_scorer


@click.command()
@click.argument("run", metavar="RUN|inception|efficientnet-lite0", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="The model directory; of a scorer a folder or X.onnx."
)
@click.option("--data", help="Labelled test images, for the card: the split test. int8 wants the split train, too.")
@click.option(
    "--labels", "labels_file", type=click.Path(path_type=Path), metavar="FILE.csv", help="Labels of the test images."
)
@click.option(
    "--variant",
    "variants",
    multiple=True,
    type=VARIANTS,
    help="Write this form of the graphs, too.",
)
@click.option("--name", help="Name of the model.  [default: that of the folder --out]")
@click.option(
    "--weakness", metavar="SENTENCE", help="For the card: what a person sees wrong with the generated images."
)
@click.option("--note", metavar="SENTENCE", help="For the card: what a reader of the errors must know.")
@click.option(
    "--discriminator", is_flag=True, help="Add a discriminator with minibatch discrimination, which mixes its batch."
)
@click.option(
    "--generator-run", type=click.Path(path_type=Path), metavar="RUN2", help="Take the generator of another run."
)
@click.option("--weights", type=click.Path(path_type=Path), help="Of a scorer: the published state dict, or .pb, .tgz.")
@click.option("--any-weights", is_flag=True, help="Take another state dict than the published; the name will say so.")
@force_option
def export(
    run: Path,
    out: Path,
    data: str | None,
    labels_file: Path | None,
    variants: Any,
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
        of_a_run = any((name, weakness, note, discriminator, generator_run, labels_file, set(variants) - {"int8"}))
        if of_a_run or (data is not None) != bool(variants):
            raise click.UsageError("a scorer takes --variant int8 with --data IMAGES; the rest belong to a run")
        export_scorer(str(run), weights, out, any_weights=any_weights, force=force, calibration=data)
        return
    if (run / "features.json").is_file():
        others = (data, name, weakness, note, discriminator, generator_run, labels_file, any_weights, variants)
        if any(others):
            raise click.UsageError("a run on features takes --out X.onnx and --force, and no other option")
        _export_features(run, out, force=force)
        return
    if any_weights:
        raise click.UsageError("--any-weights goes with --weights")
    if "int8" in variants and data is None:
        raise click.UsageError("--variant int8 is calibrated on training images, so it wants --data")
    if labels_file is not None and data is None:
        raise click.UsageError("--labels names images of --data")
    try:
        from igan_zoo.export.exporter import export_run, find_members
        from igan_zoo.export.variants import calibration_images
    except ImportError as error:
        raise missing_train(error) from error
    from igan_zoo.training.data.sources import load_for_recipe

    recipe = find_members(run)[0].facts().recipe
    test = load_for_recipe(recipe, data, "test", labels_file=labels_file, labelled_only=True) if data else None
    calibration = None
    if "int8" in variants and data is not None:
        calibration = calibration_images(load_for_recipe(recipe, data, "train").images)
    directory = export_run(
        run,
        out,
        test=test,
        name=name,
        weakness=weakness,
        note=note,
        discriminator=discriminator,
        generator_run=generator_run,
        variants=variants,
        calibration=calibration,
        overwrite=force,
    )
    for result in directory.spec.results:
        tested = f"{result.dataset} {result.split}" + (f", {result.variant}" if result.variant else "")
        click.echo(f"{result.wrong} errors of {result.total} ({result.error:.2%}), {tested}")
    click.echo(f"{directory.path}: {len(directory.spec.files)} files, verified")


def _export_features(path: Path, out: Path, *, force: bool) -> None:
    from igan_zoo.commands.records import refuse_existing

    try:
        from igan_zoo.export.feature_classifier import export_feature_run
        from igan_zoo.training.features.runs import FeatureRun
    except ImportError as error:
        raise missing_train(error) from error

    target = out if out.suffix == ".onnx" else out / "classifier.onnx"
    refuse_existing(target, force)
    differences = export_feature_run(FeatureRun(path), target)
    listed = ", ".join(f"{name} {largest:.1g}" for name, largest in differences.items())
    click.echo("A generator of features has no pictures to draw: the file is the classifier alone.")
    click.echo(f"largest differences from PyTorch: {listed}")
    click.echo(f"{target}: {target.stat().st_size / 1e6:.1f} MB; next: igan-zoo classify {target} photo.jpg")
