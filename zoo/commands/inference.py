"""Commands that run a model: sample, classify, evaluate."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from igan_zoo.commands.completion import MODEL
from igan_zoo.commands.options import (
    BATCH_SIZE,
    IMAGES,
    SEED,
    START,
    announce,
    device_option,
    executor_options,
    find_executor,
    force_option,
    json_option,
    keep_inputs,
    precision_option,
    threads_option,
    variant_option,
)
from igan_zoo.commands.terminal import print_json, print_seconds_since, print_table
from igan_zoo.counts import counted
from igan_zoo.errors import IganZooError, ImageError, printable

if TYPE_CHECKING:
    from igan_zoo.serving.model import LoadedModel

_STDIN = "-"


@click.command()
@click.argument("model", required=False, type=MODEL)
@click.option("--n", "count", type=IMAGES, default=100, show_default=True, help="Number of images.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Seed; image i of a seed is always the same.")
@click.option("--start", type=START, default=0, show_default=True, help="Index of the first image.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default="samples.npz",
    show_default=True,
    help="Where to write: X.npz, X.tar, X.parquet, a folder of PNG files, or X.png for one picture of all.",
)
@click.option("--batch-size", type=BATCH_SIZE, default=250, show_default=True, help="Images that run together.")
@executor_options
@threads_option
@precision_option
@variant_option
@device_option
@force_option
def sample(
    model: str | None,
    count: int,
    seed: int,
    start: int,
    out: Path,
    batch_size: int,
    executor: str | None,
    workers: int | None,
    shard_size: int | None,
    threads: int | None,
    precision: Any,
    variant: Any,
    device: Any,
    force: bool,
) -> None:
    """Draw images from a generator, and a picture of the first hundred.

    With --executor, several workers write one file. After an interruption, run the same command to continue.
    """
    from igan_zoo.api import load
    from igan_zoo.images.pixels import grid, write_image
    from igan_zoo.machine.files import refuse_full
    from igan_zoo.serving.sample_writers import check_output, write_samples

    began = time.perf_counter()
    picture = out if out.suffix == ".png" else out.with_name(f"{out.stem}-grid.png")
    keep_inputs([out, picture], [model])
    if executor != "ranks":
        check_output(out, replace=force)
    # Of ranks another one may have written both.
    if executor != "ranks" or not out.exists():
        refuse_full(picture, replace=force)
    shared = find_executor(executor, workers, shard_size)
    if shared is not None and (threads is not None or precision != "fp32"):
        raise click.UsageError("--executor gives each worker one thread, in fp32; remove --threads and --precision")
    loaded = load(model, roles=["generator"], device=device, variant=variant, threads=threads, precision=precision)
    announce(loaded)
    if precision != "fp32":
        exact = load(model, roles=["generator"], variant=variant, threads=threads)
        click.echo(_preview_difference(loaded, exact), err=True)
    shape = loaded.engine.graphs["generator"].output_shape
    if shared is None:
        batches = loaded.sample_batches(count, seed=seed, start=start, batch_size=batch_size)
        first = write_samples(out, batches, image_shape=shape, seed=seed, start=start, count=count, replace=force)
    else:
        from igan_zoo.serving.shards.sampling import sample_in_shards

        drawn = sample_in_shards(
            shared,
            loaded,
            out,
            seed=seed,
            start=start,
            count=count,
            batch_size=batch_size,
            shard_size=shard_size,
            replace=force,
        )
        if drawn is None:
            click.echo(f"{shared}: its images are drawn; the last rank writes {out}", err=True)
            return
        first = drawn
    size = "x".join(map(str, shape))
    click.echo(f"{out}: {counted(count, 'image')} {size}, seed {seed}, from index {start}")
    if picture != out:
        write_image(picture, grid(first))
        click.echo(f"{picture}: the first {len(first)}")
    print_seconds_since(began)


@click.command()
@click.argument("arguments", nargs=-1, required=True, metavar="[MODEL] IMAGE|FOLDER|ARCHIVE|-...", type=MODEL)
@click.option(
    "--top", type=click.IntRange(min=1), default=1, show_default=True, help="Number of classes to print for each image."
)
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV: file, class, probability, ..., realness, note.")
@json_option
@threads_option
@variant_option
@device_option
def classify(
    arguments: tuple[str, ...], top: int, as_csv: bool, as_json: bool, threads: int | None, variant: Any, device: Any
) -> None:
    """Classify images: class, probability, and how real the image looks.

    Accepts image files, folders, archives, array files, and - for an image on standard input.
    """
    from dataclasses import asdict, replace

    from igan_zoo.api import load
    from igan_zoo.commands.answers import print_answers, print_answers_as_csv

    began = time.perf_counter()
    if as_csv and as_json:
        raise click.UsageError("--csv and --json cannot be combined; give one")
    model, images = _split_model(arguments)
    loaded = load(model, roles=["classifier"], device=device, variant=variant, threads=threads)
    announce(loaded)
    given = [sys.stdin.buffer.read() if str(image) == _STDIN else image for image in images]
    answers = loaded.classify(given, top=top, errors="return", progress=True)
    if images == [Path(_STDIN)]:
        answers = [
            ImageError(str(answer).replace("image 0", "Standard input", 1))
            if isinstance(answer, IganZooError)
            else replace(answer, file=_STDIN)
            for answer in answers
        ]
    good = [answer for answer in answers if not isinstance(answer, IganZooError)]
    if as_json:
        print_json([asdict(answer) for answer in good])
    elif as_csv:
        print_answers_as_csv(good, top)
    elif good:
        print_answers(good)
    print_seconds_since(began)
    bad = [answer for answer in answers if isinstance(answer, IganZooError)]
    for error in bad[:-1]:
        click.echo(f"Error: {printable(str(error))}", err=True)
    if bad:
        raise bad[-1]


@click.command()
@click.argument("model", required=False, metavar="[MODEL|RUN]", type=MODEL)
@click.option("--data", required=True, help="A Hub id, a copy in the Hub's layout, or a folder of class folders.")
@click.option(
    "--split", help="Part of the data set to test on.  [default: test, or all images of a folder without splits]"
)
@click.option(
    "--labels",
    "labels_file",
    type=click.Path(path_type=Path),
    metavar="FILE.csv",
    help="CSV file with the labels of the images.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="New folder for confusion.png, confusion.csv, and wrong.csv with the wrong files and their probabilities.",
)
@json_option
@threads_option
@variant_option
@device_option
@force_option
def evaluate(
    model: str | None,
    data: str,
    split: str | None,
    labels_file: Path | None,
    out: Path | None,
    as_json: bool,
    threads: int | None,
    variant: Any,
    device: Any,
    force: bool,
) -> None:
    """Count the errors of a classifier on labeled images, by class, and say how reliable its probabilities are.

    A training run is tested in PyTorch, before any export.
    """
    from igan_zoo.api import load
    from igan_zoo.evaluation import report
    from igan_zoo.evaluation.testing import evaluate_feature_run, evaluate_run
    from igan_zoo.machine.files import refuse_full

    if out is not None:
        keep_inputs([out], [model, data, labels_file])
        refuse_full(out, replace=force)
    runs = {"recipe.json": evaluate_run, "features.json": evaluate_feature_run}
    test = next((test for name, test in runs.items() if model is not None and (Path(model) / name).is_file()), None)
    if test is not None:
        if variant is not None:
            raise click.UsageError("--variant applies to exported models, not to training runs")
        found = test(Path(str(model)), data, split, labels_file, threads)
    else:
        loaded = load(model, roles=["classifier"], device=device, variant=variant, threads=threads)
        announce(loaded)
        found = loaded.evaluate(data, split=split, labels_file=labels_file, progress=True)
    if as_json:
        print_json({"model": model, "variant": variant, "data": data, "split": split, **report.as_json(found)})
    else:
        click.echo(f"{counted(found.wrong, 'error')} of {found.total} ({found.error:.2%})\n")
        print_table(report.class_rows(found))
        click.echo(f"\n{report.calibration_sentence(found)}")
    if out is not None:
        report.write_report(out, found, replace=force)
        click.echo(f"{out}: confusion.png, confusion.csv, wrong.csv", err=True)


def _preview_difference(preview: LoadedModel, exact: LoadedModel, count: int = 16) -> str:
    """Returns how far the pixels of some images of seed 0 are off in a preview."""
    import numpy as np

    ours, theirs = (model.sample(count).astype(int) for model in (exact, preview))
    off = np.abs(ours - theirs)
    return (
        f"{preview.name} in bf16 is a preview: in {count} images of seed 0 {(off > 0).mean():.1%} of the pixels are "
        f"off, by {off.mean():.2g} levels on average and {off.max()} at most."
    )


def _split_model(arguments: Sequence[str]) -> tuple[str | None, list[Path]]:
    """Tells an optional MODEL before the images apart from them: it is none itself, and something follows it."""
    from igan_zoo.images.files.kinds import SUFFIXES
    from igan_zoo.models.spec import CONFIG

    first, rest = Path(arguments[0]), [Path(argument) for argument in arguments[1:]]
    is_image = str(first) == _STDIN or first.suffix.lower() in SUFFIXES or (first.exists() and first.suffix != ".onnx")
    if rest and (not is_image or (first / CONFIG).is_file()):
        return arguments[0], rest
    return None, [first, *rest]
