"""What ``score --compare-conventions`` prints: the same images scored as other tools do."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from igan_zoo.commands.terminal import print_json, print_table

if TYPE_CHECKING:
    from igan_zoo.serving.scoring.network import Network
    from igan_zoo.serving.stored_images import ImageSource


def print_conventions(network: Network, source: ImageSource, form: str, **how: Any) -> None:
    """Scores ``source`` by every convention and prints ``table``, ``json`` (one object) or ``csv``.

    ``how`` are the options of ``compare_conventions``, which also says what is raised.
    """
    from igan_zoo.serving.scoring.conventions import compare_conventions, describe
    from igan_zoo.serving.scoring.protocols import metric_label

    comparison = compare_conventions(network, source, **how)
    label = metric_label("is", network.name, network.precision)
    if form == "json":
        rows = [{**asdict(row.convention), "value": row.value, "deviation": row.deviation} for row in comparison.rows]
        facts = {"scorer": network.name, "scorer_sha256": network.sha256, "label": label, "source": source.reference}
        counts = {"images": comparison.images, "seed": comparison.seed}
        print_json({**facts, **counts, "rows": rows, "missing": list(comparison.missing)})
        return
    if form == "csv":
        import csv
        import sys

        csv.writer(sys.stdout, lineterminator="\n").writerows(describe(comparison))
    else:
        click.echo(f"{label} of {comparison.images:,} images of {source.reference}, by convention:")
        print_table(describe(comparison))
    for reason in comparison.missing:
        click.echo(reason, err=True)
