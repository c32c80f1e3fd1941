"""The command that scores images: score."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from igan_zoo.commands.completion import MODEL
from igan_zoo.commands.conventions import print_conventions
from igan_zoo.commands.options import (
    BATCH_SIZE,
    IMAGES,
    THREADS,
    Seconds,
    device_option,
    executor_options,
    find_executor,
    force_option,
    keep_inputs,
)
from igan_zoo.commands.records import MOST_NAMED, name_skipped, print_records, refuse_existing
from igan_zoo.commands.score_options import (
    bootstrap_option,
    check_usage,
    default_metrics,
    format_option,
    metric_option,
    save_option,
    self_check_option,
    subset_option,
)
from igan_zoo.commands.terminal import print_seconds_since

if TYPE_CHECKING:
    from igan_zoo.serving.scoring.statistics import Facts, Statistics
    from igan_zoo.serving.shards.executors import Executor
    from igan_zoo.serving.stored_images import ImageSource

_MODEL_IMAGES = 50_000


def _shard(context: click.Context, option: click.Parameter, value: str | None) -> tuple[int, int] | None:
    if value is None:
        return None
    first, slash, second = value.partition("/")
    if not (slash and first.isdecimal() and second.isdecimal() and 1 <= int(first) <= int(second)):
        raise click.BadParameter(f"{value!r} is no shard like 3/8", context, option)
    return int(first), int(second)


@click.command(epilog="igan-zoo merge-scores A B ... gives the numbers of one run from the files that --shard wrote.")
@click.argument("source", type=MODEL)
@click.argument("other", required=False, metavar="[REFERENCE]")
@metric_option
@click.option("--reference", help="What to compare with: images, saved statistics, or pytorch-fid's .npz.")
@click.option("--scorer", help="A network's name, model directory or .onnx file.  [default: inception-2015-12-05]")
@click.option("--weights", type=click.Path(path_type=Path), help="Inception's published weights, if not to be fetched.")
@click.option("--n", "count", type=IMAGES, help="How many images.  [default: all; 50000 of a model]")
@click.option("--split", help="Which part of a data set.")
@click.option("--reference-split", help="Which part of the reference.")
@click.option("--splits", type=click.IntRange(min=1), default=10, show_default=True, help="Of the Inception score.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=2020, show_default=True, help="Of every choice.")
@click.option("--model-seed", type=click.IntRange(0, 2**64 - 1), default=0, show_default=True, help="A model's images.")
@subset_option
@bootstrap_option
@click.option("--shard", callback=_shard, metavar="I/K", help="Only this part, from 1/K; its statistics go to --out.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="A file instead of stdout.")
@save_option
@click.option("--batch-size", type=BATCH_SIZE, help="Changes no number.  [default: 10; 100 of a classifier]")
@click.option("--threads", type=THREADS, help="[default: all cores]")
@executor_options
@device_option
@click.option("--strict", is_flag=True, help="Fail at an image that does not decode.")
@self_check_option
@click.option("--as-stored", is_flag=True, help="Ignore orientation and transparency, as torch-fidelity and others do.")
@click.option("--no-cache", is_flag=True, help="Neither look for earlier statistics of the same nor keep these.")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "bf16", "int8"]),
    default="fp32",
    show_default=True,
    help="int8 is a preview; its error is printed.",
)
@click.option("--compare-conventions", is_flag=True, help="Print instead what other tools make of the same images.")
@click.option("--save-every", type=Seconds(), default=30, show_default=True, help="Seconds a kill costs.")
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
    as_stored: bool,
    no_cache: bool,
    precision: str,
    compare_conventions: bool,
    save_every: float,
    form: str,
    force: bool,
) -> None:
    """Score images: Inception score, FID, KID, precision and recall, density and coverage.

    SOURCE, and what it is compared with, is a folder, .npz, .npy, .tar or .parquet file, a Hub id, or a model whose
    samples are scored as they are drawn. An interrupted command resumes when it is run again; images that were scored
    before are not scored again.
    """
    from igan_zoo.commands.scorers import load_network, load_preview
    from igan_zoo.errors import ScoringError
    from igan_zoo.serving.image_sources import is_model, open_source
    from igan_zoo.serving.scoring import comparing
    from igan_zoo.serving.scoring import plan as plans
    from igan_zoo.serving.scoring.caveats import caveats
    from igan_zoo.serving.scoring.frechet_distance import gaussian
    from igan_zoo.serving.scoring.gathering import Gather, Manner, gather_statistics, skipped_images
    from igan_zoo.serving.scoring.protocols import Reference, check_outputs
    from igan_zoo.serving.scoring.statistics import Facts
    from igan_zoo.serving.scoring.statistics_file import save_gaussian
    from igan_zoo.serving.shards.ranks import OtherRankMergesError

    began = time.perf_counter()
    manner = Manner(batch_size=batch_size, threads=threads, strict=strict, save_every=save_every)
    if other is not None and reference is not None:
        raise click.UsageError("give the reference once: as a second argument or with --reference")
    reference = reference or other
    everything = metrics == ("all",)
    metrics = default_metrics(metrics, reference)
    plan = plans.Plan(metrics, splits, seed, not no_cache, bootstrap or 0, manner)
    check_usage(plan.comparing, reference, shard, out, save_statistics)
    keep_inputs([out, save_statistics], [source, reference, scorer, weights])
    saved = plans.saved_reference(reference) if reference is not None else None
    shared = find_executor(executor, workers, shard_size)
    if shared is not None and (shard is not None or compare_conventions or as_stored):
        raise click.UsageError("--executor cuts the work itself; remove --shard, --compare-conventions and --as-stored")
    # Another rank may have written it.
    refuse_existing(None if shard or executor == "ranks" else out, force)
    exported = save_statistics if save_statistics is not None and save_statistics.suffix == ".npz" else None
    refuse_existing(exported, force)
    if executor == "ranks" and reference is not None and saved is None:
        raise click.UsageError("with --executor ranks, --reference is a file of --save-statistics")
    if precision == "bf16":
        raise ScoringError(
            "bf16 cannot run here: onnxruntime has no bfloat16 convolution for CPUs; take --precision fp32 or int8."
        )
    if compare_conventions:
        if reference or shard or out or save_statistics or as_stored or (count and not is_model(source)):
            raise click.UsageError("--compare-conventions scores all of SOURCE and prints; leave the other outputs out")
        if metrics != ("is",):
            raise click.UsageError("--compare-conventions is of --metric is alone")

    def opened(name: str, part: str | None) -> ImageSource:
        drawn = (count or _MODEL_IMAGES) if is_model(name) else None
        return open_source(name, split=part, count=drawn, seed=model_seed, device=device, threads=threads)

    def gathered(images: ImageSource, name: str, part: str | None, facts: Facts, kept: Path | None) -> Statistics:
        click.echo(f"{network.name} on {network.provider}: {facts.images:,} images of {images.reference}", err=True)
        gather = gather_statistics if shared is None else sharded(shared, name, part)
        statistics = plans.find_or_gather(
            plan, images, network, facts, shard=shard, out=kept, replace_out=force, gather=gather, say=_say
        )
        name_skipped(skipped_images(statistics, images, most=MOST_NAMED), int(statistics.skipped.sum()))
        return statistics

    def sharded(workers: Executor, name: str, part: str | None) -> Gather:
        from igan_zoo.serving.shards.scoring import ShardedGathering

        return ShardedGathering(workers, name, part, device, shard_size, force)

    images = opened(source, split)
    network = load_network(scorer, weights, device=device, threads=threads)
    if precision == "int8":
        network = load_preview(network, scorer, images, {"device": device, "threads": threads})
    if as_stored:
        network.take_as_stored()
    if compare_conventions:
        print_conventions(network, images, form, seed=seed, batch_size=batch_size, threads=threads, strict=strict)
        return
    if everything:
        sizes = comparing.Sizes(network.features, network.classes, count or len(images), splits)
        plan = replace(plan, metrics=comparing.possible_metrics(sizes, saved, compared=reference is not None))
    if exported is not None:
        check_outputs("fid", network.name, features=network.features, classes=network.classes)
    facts = plan.facts(images, network, count)
    others = opened(reference, reference_split) if reference is not None and saved is None else None
    expected: Reference | Facts | None = saved if others is None else plan.reference_facts(others, network)
    if expected is not None:
        if everything and subset_size is None:
            subset_size = comparing.largest_subset(facts, expected)
        comparing.check_before_scoring(plan.metrics, facts, expected, subset_size)
    computed = [metric for metric in plan.metrics if expected is not None or metric not in plan.comparing]
    for sentence in caveats(computed, network, images, facts, expected):
        _say(f"Note: {sentence}")
    compared = saved
    if reference is not None and others is not None and isinstance(expected, Facts):
        compared = Reference(reference, statistics=gathered(others, reference, reference_split, expected, None))
    kept = out if shard else None if exported else save_statistics
    try:
        statistics = gathered(images, source, split, facts, kept)
    except OtherRankMergesError:
        click.echo(f"{shared}: its images are scored; the last rank gives the numbers", err=True)
        return
    if shard is not None:
        click.echo(f"{out}: shard {shard[0]}/{shard[1]}, {statistics.count:,} images")
    else:
        if exported is not None:
            save_gaussian(gaussian(statistics), exported)
        if save_statistics is not None:
            _say(f"{save_statistics}: statistics of {statistics.count:,} images")
        if computed:
            records = plans.results(computed, statistics, compared, subset_size=subset_size, bootstrap=bootstrap or 0)
            print_records(records, form, out, provider=network.provider)
    print_seconds_since(began)


def _say(sentence: str) -> None:
    click.echo(sentence, err=True)
