"""The command that adds up the statistics of shards: merge-scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from igan_zoo.commands.options import force_option, keep_inputs
from igan_zoo.commands.scoring.records import print_records, refuse_existing
from igan_zoo.commands.scoring.score_options import (
    bootstrap_option,
    check_usage,
    default_metrics,
    format_option,
    metric_option,
    save_option,
    subset_option,
)


@click.command("merge-scores")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@metric_option
@click.option("--reference", help="Saved statistics or pytorch-fid's .npz to compare with.")
@subset_option
@bootstrap_option
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the scores to this file instead of stdout."
)
@save_option
@format_option
@force_option
def merge_scores(
    files: tuple[Path, ...],
    metrics: tuple[Any, ...],
    reference: str | None,
    subset_size: int | None,
    bootstrap: int | None,
    out: Path | None,
    save_statistics: Path | None,
    form: str,
    force: bool,
) -> None:
    """Merge the statistics of shards into the scores of the complete run."""
    from igan_zoo.serving.scoring import comparing, statistics_file
    from igan_zoo.serving.scoring import plan as plans
    from igan_zoo.serving.scoring import statistics as sums
    from igan_zoo.serving.scoring.metrics.frechet_distance import gaussian
    from igan_zoo.serving.scoring.protocols import OF_SINGLE_IMAGES
    from igan_zoo.serving.scoring.scores import name_skipped
    from igan_zoo.serving.scoring.statistics_cache import stamped

    everything = metrics == ("all",)
    plan = plans.Plan(default_metrics(metrics, reference))
    check_usage(metrics, reference, None, out, save_statistics)
    keep_inputs([out, save_statistics], [*files, reference])
    refuse_existing(out, force)
    refuse_existing(save_statistics, force)
    merged = sums.merge([statistics_file.load_statistics(path) for path in files])
    compared = plans.saved_reference(reference) if reference is not None else None
    if reference is not None and compared is None:
        raise click.UsageError(f"--reference {reference} is not a statistics file: make one with --save-statistics")
    if everything:
        facts = merged.facts
        sizes = comparing.Sizes(facts.features, facts.classes, merged.count, facts.splits)
        possible = comparing.possible_metrics(sizes, compared, compared=compared is not None)
        plan = plans.Plan(tuple(metric for metric in possible if metric not in OF_SINGLE_IMAGES or facts.kept))
        if compared is not None and subset_size is None:
            subset_size = comparing.largest_subset(facts, compared)
    name_skipped([], int(merged.skipped.sum()))
    computed = [metric for metric in plan.metrics if compared is not None or metric not in plan.comparing]
    records = plans.results(computed, merged, compared, subset_size=subset_size, bootstrap=bootstrap or 0)
    if save_statistics is not None and save_statistics.suffix == ".npz":
        statistics_file.save_gaussian(gaussian(merged), save_statistics)
    elif save_statistics is not None:
        statistics_file.save_statistics(merged, save_statistics)
    if records:
        print_records(stamped(records, None), form, out)
