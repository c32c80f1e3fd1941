"""What ``score --compare-conventions`` prints: the same images scored as other tools do."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from igan_zoo.commands.terminal import print_json, print_table
from igan_zoo.counts import counted

if TYPE_CHECKING:
    from igan_zoo.serving.engine import Device
    from igan_zoo.serving.scoring.conventions import Comparison
    from igan_zoo.serving.scoring.network import Network
    from igan_zoo.serving.scoring.scores import ScoreOptions


def print_conventions(
    reference: str,
    scorer: str | None,
    form: str,
    *,
    count: int | None,
    device: Device,
    threads: int | None,
    options: ScoreOptions,
) -> None:
    """Scores the images of ``reference`` by every convention and prints ``table``, ``json`` (one object) or ``csv``.

    ``compare_conventions`` says what is raised.
    """
    from igan_zoo.scoring import open_images
    from igan_zoo.serving.scorers.opening import open_asked_scorer
    from igan_zoo.serving.scoring.conventions import compare_conventions

    source = open_images(reference, options.split, count, options.model_seed, device, threads)
    network = open_asked_scorer(scorer, options, source, device=device, threads=threads)
    comparison = compare_conventions(
        network,
        source,
        batch_size=options.batch_size,
        threads=threads,
        seed=options.seed,
        strict=options.strict,
    )
    print_comparison(comparison, network, source.reference, form)


def print_comparison(comparison: Comparison, network: Network, reference: str, form: str) -> None:
    """Prints the conventions' scores of the images of ``reference`` as ``table``, ``json`` or ``csv``."""
    from igan_zoo.serving.scoring.conventions import describe
    from igan_zoo.serving.scoring.protocols import metric_label

    label = metric_label("is", network.name, network.precision)
    if form == "json":
        rows = [{**asdict(row.convention), "value": row.value, "deviation": row.deviation} for row in comparison.rows]
        facts = {"scorer": network.name, "scorer_sha256": network.sha256, "label": label, "source": reference}
        counts = {"images": comparison.images, "seed": comparison.seed}
        print_json({**facts, **counts, "rows": rows, "missing": list(comparison.missing)})
        return
    if form == "csv":
        import csv
        import sys

        csv.writer(sys.stdout, lineterminator="\n").writerows(describe(comparison))
    else:
        click.echo(f"{label} of {counted(comparison.images, 'image')} of {reference}, by convention:")
        print_table(describe(comparison))
    for reason in comparison.missing:
        click.echo(reason, err=True)
