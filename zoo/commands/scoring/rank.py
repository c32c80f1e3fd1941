"""The command that picks out images by their own score: rank."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from igan_zoo.commands.completion import MODEL
from igan_zoo.commands.options import BATCH_SIZE, SEED, THREADS, device_option, force_option, keep_inputs
from igan_zoo.commands.scoring.records import refuse_existing
from igan_zoo.commands.terminal import print_seconds_since
from igan_zoo.counts import counted


@click.command()
@click.argument("source", type=MODEL)
@click.option(
    "--top", default="1%", show_default=True, help="How many images to write: a number, or a share such as 1%."
)
@click.option(
    "--scorer", help="Scoring network: a name, model directory or .onnx file.  [default: inception-2015-12-05]"
)
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    help="File with Inception's published weights.  [default: downloaded once]",
)
@click.option(
    "--out", type=click.Path(path_type=Path), default="ranking", show_default=True, help="New folder to write to."
)
@click.option("--split", help="Part of a data set to read, such as test.")
@click.option(
    "--n",
    "count",
    type=click.IntRange(2, 2**31),
    default=10_000,
    show_default=True,
    help="Number of images if SOURCE is a model.",
)
@click.option("--model-seed", type=SEED, default=0, show_default=True, help="Seed of the images if SOURCE is a model.")
@click.option("--batch-size", type=BATCH_SIZE, help="Images that run together.  [default: 10, or 100 for a classifier]")
@click.option("--threads", type=THREADS, help="Threads for decoding and for operators.  [default: one per core]")
@device_option
@click.option("--strict", is_flag=True, help="Fail at the first image that does not decode.")
@force_option
def rank(
    source: str,
    top: str,
    scorer: str | None,
    weights: Path | None,
    out: Path,
    split: str | None,
    count: int,
    model_seed: int,
    batch_size: int | None,
    threads: int | None,
    device: Any,
    strict: bool,
    force: bool,
) -> None:
    """Write the images of SOURCE with the highest individual scores, as the paper chose the samples it shows.

    An image scores high if the scorer is sure of its class and the class is rare in SOURCE. SOURCE is a folder, .npz,
    .npy, .tar or .parquet file, a Hub id, or a model. Writes the images, the ranking as ranking.jsonl, a histogram, and
    a picture of the best and worst images to the folder --out.
    """
    from igan_zoo.serving import ranking
    from igan_zoo.serving.model_source import is_model, open_images
    from igan_zoo.serving.scorers.opening import open_scorer
    from igan_zoo.serving.scoring.kept_logits import KeptLogits, keep_logits
    from igan_zoo.serving.scoring.scores import MOST_NAMED, name_skipped

    began = time.perf_counter()
    keep_inputs([out], [source, scorer, weights])
    refuse_existing(out, force)
    drawn = count if is_model(source) else None
    images = open_images(source, split=split, count=drawn, seed=model_seed, device=device, threads=threads)
    wanted = ranking.how_many(top, len(images))
    network = open_scorer(scorer, weights, device=device, threads=threads)
    click.echo(f"{network.name} on {network.provider}: {counted(len(images), 'image')} of {images.reference}", err=True)
    with KeptLogits(len(images), network.classes) as kept:
        skipped = keep_logits(
            kept, images, network, batch_size=batch_size, threads=threads, strict=strict, title="ranking"
        )
        order = ranking.rank(kept)
    name_skipped([image.reason for image in skipped[:MOST_NAMED]], len(skipped))
    chosen = min(wanted, len(order))
    facts = ranking.facts_of(network, images)
    ranking.write_ranking(out, images, order, chosen, facts, replace=force)
    click.echo(
        f"{out}: {chosen:,} of {counted(len(order), 'image')}, {order.divergences[chosen - 1]:.4f} nats and more"
    )
    click.echo(f"{facts.title} of all images, unsplit: {order.score:.4f}")
    print_seconds_since(began)
