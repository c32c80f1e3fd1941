"""The command that shows samples next to their nearest training images: neighbors."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from igan_zoo.commands.options import SEED, device_option, force_option
from igan_zoo.commands.terminal import print_seconds_since
from igan_zoo.counts import counted

if TYPE_CHECKING:
    from igan_zoo.images.stored import ImageSource
    from igan_zoo.serving.scoring.statistics import Statistics


@click.command()
@click.argument("samples")
@click.option("--reference", required=True, help="Training images to look for neighbors in.")
@click.option(
    "--scorer", help="Scoring network: a name, model directory or .onnx file.  [default: inception-2015-12-05]"
)
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    help="File with Inception's published weights.  [default: downloaded once]",
)
@click.option(
    "--out", type=click.Path(path_type=Path), default="neighbors", show_default=True, help="New folder to write to."
)
@click.option(
    "--n",
    "count",
    type=click.IntRange(min=2),
    default=1000,
    show_default=True,
    help="Number of images if SAMPLES is a model.",
)
@click.option(
    "--rows", type=click.IntRange(min=1), default=20, show_default=True, help="Number of samples in the picture."
)
@click.option("--split", help="Part of a data set to read, such as test.")
@click.option("--reference-split", help="Part of the reference to compare with.")
@click.option("--model-seed", type=SEED, default=0, show_default=True, help="Seed of the images if SAMPLES is a model.")
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="Threads for decoding and for operators.  [default: one per core]",
)
@device_option
@force_option
def neighbors(
    samples: str,
    reference: str,
    scorer: str | None,
    weights: Path | None,
    out: Path,
    count: int,
    rows: int,
    split: str | None,
    reference_split: str | None,
    model_seed: int,
    threads: int | None,
    device: Any,
    force: bool,
) -> None:
    """Show samples next to their nearest training images, and count near copies.

    A near copy is closer to a training image than that image is to any other training image. Compare the share with
    that of held-out images: igan-zoo neighbors TEST --reference TRAIN. Writes neighbors.jsonl and neighbors.png to the
    folder --out, closest samples first.
    """
    from igan_zoo.machine.files import atomic_directory, refuse_full
    from igan_zoo.serving.model_source import is_model, open_images
    from igan_zoo.serving.neighbors import find_neighbors, write_neighbors
    from igan_zoo.serving.scorers.opening import open_scorer
    from igan_zoo.serving.scoring import plan as plans
    from igan_zoo.serving.scoring.gathering import Manner, choose_images

    began = time.perf_counter()
    refuse_full(out, replace=force)

    def opened(name: str, part: str | None) -> ImageSource:
        drawn = count if is_model(name) else None
        return open_images(name, split=part, count=drawn, seed=model_seed, device=device, threads=threads)

    made, true = opened(samples, split), opened(reference, reference_split)
    network = open_scorer(scorer, weights, device=device, threads=threads, remembered=True)
    # Precision and recall keep every image's features, and statistics scored for them are found again.
    plan = plans.Plan(("pr",), manner=Manner(threads=threads))
    expected = plan.facts(made, network), plan.reference_facts(true, network)

    def gathered(source: ImageSource, side: int) -> Statistics:
        click.echo(
            f"{network.name} on {network.provider}: {counted(len(source), 'image')} of {source.reference}", err=True
        )
        return plans.find_or_gather(plan, source, network, expected[side])

    sides = gathered(made, 0), gathered(true, 1)
    found = find_neighbors(sides[0].kept_features, sides[1].kept_features)
    indices = [
        choose_images(len(source), None, plan.seed)[statistics.covered]
        for source, statistics in zip((made, true), sides, strict=True)
    ]
    with atomic_directory(out, replace=force) as folder:
        write_neighbors(folder, found, made, true, (indices[0], indices[1]), rows=rows)
    near = int(found.copies.sum())
    click.echo(f"{near:,} of {len(found.copies):,} samples ({near / len(found.copies):.1%}) are near copies")
    click.echo(f"{out / 'neighbors.png'}, {out / 'neighbors.jsonl'}", err=True)
    print_seconds_since(began)
