"""The command that scores images: score."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from igan_zoo.commands.completion import MODEL
from igan_zoo.commands.options import (
    BATCH_SIZE,
    IMAGES,
    THREADS,
    Seconds,
    check_executor,
    device_option,
    executor_options,
    force_option,
    keep_inputs,
)
from igan_zoo.commands.scoring.conventions import print_conventions
from igan_zoo.commands.scoring.records import print_records, refuse_existing
from igan_zoo.commands.scoring.score_options import (
    bootstrap_option,
    check_usage,
    check_weights,
    format_option,
    metric_option,
    save_option,
    self_check_option,
    subset_option,
)
from igan_zoo.commands.terminal import print_seconds_since
from igan_zoo.counts import counted


def _shard(context: click.Context, option: click.Parameter, value: str | None) -> tuple[int, int] | None:
    if value is None:
        return None
    first, slash, second = value.partition("/")
    if not (slash and first.isdecimal() and second.isdecimal() and 1 <= int(first) <= int(second)):
        raise click.BadParameter(f"{value!r} is not a shard like 3/8", context, option)
    return int(first), int(second)


@click.command(epilog="igan-zoo merge-scores A B ... merges the files that --shard wrote.")
@click.argument("source", type=MODEL)
@click.argument("other", required=False, metavar="[REFERENCE]")
@metric_option
@click.option("--reference", help="Images, saved statistics or pytorch-fid's .npz to compare with.")
@click.option(
    "--scorer", help="Scoring network: a name, model directory or .onnx file.  [default: inception-2015-12-05]"
)
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    help="File with Inception's published weights.  [default: downloaded once]",
)
@click.option(
    "--n",
    "count",
    type=IMAGES,
    help="Number of images to score, chosen by the seed.  [default: all, or 50000 for a model]",
)
@click.option("--split", help="Part of a data set to read, such as test.")
@click.option("--reference-split", help="Part of the reference to compare with.")
@click.option(
    "--splits",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="Number of parts that the Inception score is averaged over.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=2020,
    show_default=True,
    help="Seed that chooses images and splits.",
)
@click.option(
    "--model-seed",
    type=click.IntRange(0, 2**64 - 1),
    default=0,
    show_default=True,
    help="Seed of the images if SOURCE is a model.",
)
@subset_option
@bootstrap_option
@click.option(
    "--shard", callback=_shard, metavar="I/K", help="Score part I of K only, and write its statistics to --out."
)
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the scores to this file instead of stdout."
)
@save_option
@click.option(
    "--batch-size",
    type=BATCH_SIZE,
    help="Images that run together; does not affect the result.  [default: 10, or 100 for a classifier]",
)
@click.option("--threads", type=THREADS, help="Threads for decoding and for operators.  [default: one per core]")
@executor_options
@device_option
@click.option("--strict", is_flag=True, help="Fail at the first image that does not decode.")
@self_check_option
@click.option("--per-class", is_flag=True, help="Score each class of labeled images separately.")
@click.option("--as-stored", is_flag=True, help="Ignore orientation and transparency, as torch-fidelity and others do.")
@click.option("--no-cache", is_flag=True, help="Neither use nor write cached statistics.")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "bf16", "int8"]),
    default="fp32",
    show_default=True,
    help="Arithmetic of the network; bf16 and int8 are faster previews whose errors are printed.",
)
@click.option("--compare-conventions", is_flag=True, help="Print what other tools would report for the same images.")
@click.option(
    "--save-every",
    type=Seconds(),
    default=30,
    show_default=True,
    help="Seconds between saves, the most that an interrupted run loses.",
)
@format_option
@force_option
def score(
    source: str,
    other: str | None,
    metrics: tuple[Any, ...],
    reference: str | None,
    scorer: str | None,
    weights: Path | None,
    count: int | None,
    split: str | None,
    reference_split: str | None,
    splits: int,
    seed: int,
    model_seed: int,
    subset_size: int | None,
    bootstrap: int | None,
    shard: tuple[int, int] | None,
    out: Path | None,
    save_statistics: Path | None,
    batch_size: int | None,
    threads: int | None,
    executor: str | None,
    workers: int | None,
    shard_size: int | None,
    device: Any,
    strict: bool,
    per_class: bool,
    as_stored: bool,
    no_cache: bool,
    precision: Any,
    compare_conventions: bool,
    save_every: float,
    form: str,
    force: bool,
) -> None:
    """Score images: Inception score, FID, KID, precision and recall, density and coverage.

    SOURCE and REFERENCE are folders, .npz, .npy, .tar or .parquet files, Hub ids, or models, whose samples are scored
    as they are drawn. Run an interrupted command again to resume. Images scored before are not scored again.
    """
    from igan_zoo.api import score as score_images
    from igan_zoo.serving.model_source import is_model
    from igan_zoo.serving.scoring.scores import ScoreOptions

    began = time.perf_counter()
    if other is not None and reference is not None:
        raise click.UsageError("give the reference only once: as the second argument or with --reference")
    reference = reference or other
    check_usage(metrics, reference, shard, out, save_statistics)
    check_executor(executor, workers, shard_size)
    check_weights(scorer, weights)
    if (executor or workers) and (shard is not None or compare_conventions or as_stored):
        raise click.UsageError(
            "--executor divides the work itself; remove --shard, --compare-conventions and --as-stored"
        )
    if executor == "ranks" and reference is not None and Path(reference).suffix not in (".safetensors", ".npz"):
        raise click.UsageError("with --executor ranks, --reference must be a file from --save-statistics")
    if per_class and (count or executor or workers or shard or save_statistics or compare_conventions):
        raise click.UsageError("--per-class covers all images, in one process; remove the other options")
    keep_inputs([out, save_statistics], [source, reference, scorer, weights])
    # Another rank may have written it.
    refuse_existing(None if shard or executor == "ranks" else out, force)
    options = ScoreOptions(
        split=split,
        reference_split=reference_split,
        splits=splits,
        seed=seed,
        model_seed=model_seed,
        subset_size=subset_size,
        bootstrap=bootstrap or 0,
        precision=precision,
        weights=weights,
        batch_size=batch_size,
        strict=strict,
        as_stored=as_stored,
        per_class=per_class,
        cached=not no_cache,
        save_every=save_every,
        statistics=out if shard else save_statistics,
        shard=shard,
        executor=executor,
        workers=workers,
        shard_size=shard_size,
        replace=force,
    )
    if compare_conventions:
        if as_stored:
            raise click.UsageError("--compare-conventions already has a row for files as stored; remove --as-stored")
        if reference or shard or out or save_statistics or (count and not is_model(source)):
            raise click.UsageError(
                "--compare-conventions scores all of SOURCE and only prints; remove the other output options"
            )
        if metrics not in ((), ("is",)):
            raise click.UsageError("--compare-conventions supports only --metric is")
        print_conventions(source, scorer, form, count=count, device=device, threads=threads, options=options)
        return
    scores = score_images(
        source,
        reference,
        metrics="all" if metrics == ("all",) else metrics,
        scorer=scorer,
        count=count,
        device=device,
        threads=threads,
        progress=True,
        options=options,
    )
    if shard is not None:
        click.echo(f"{out}: shard {shard[0]}/{shard[1]}, {counted(scores.images, 'image')}")
    elif scores.records:
        print_records(scores.records, form, out)
    print_seconds_since(began)
