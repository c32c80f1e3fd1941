"""Commands that make data ready: prepare."""

from __future__ import annotations

from pathlib import Path

import click

from igan_zoo.counts import counted
from igan_zoo.errors import DataError


@click.command()
@click.argument("source")
@click.option("--size", type=click.IntRange(1, 4096), required=True, help="Height and width of the images in pixels.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Directory of shards to write.")
@click.option("--split", default="train", show_default=True, help="Part of the data set to prepare.")
@click.option("--labels-file", type=click.Path(path_type=Path), help="CSV file with the columns file and label.")
@click.option("--grey", is_flag=True, help="Store grayscale images.")
@click.option("--no-crop", is_flag=True, help="Squeeze the full image into the square instead of cropping its center.")
@click.option(
    "--shard-images",
    type=click.IntRange(min=1),
    default=4096,
    show_default=True,
    help="Images per shard; memory holds one shard at a time.",
)
@click.option("--strict", is_flag=True, help="Fail at the first image that cannot be used.")
def prepare(
    source: str,
    size: int,
    out: Path,
    split: str,
    labels_file: Path | None,
    grey: bool,
    no_crop: bool,
    shard_images: int,
    strict: bool,
) -> None:
    """Decode a data set once into shards, which train and evaluate read as --data without loading all of them.

    SOURCE is a Hub id, a copy in the Hub's layout, a folder of images, a tar, .npz, .npy or .parquet file, or SVHN's
    files. After an interruption, run it again to continue after the last complete shard.
    """
    from igan_zoo.images.formats.preparing import prepare_shards

    try:
        data = prepare_shards(
            source,
            split,
            out,
            size=size,
            channels=1 if grey else 3,
            crop=not no_crop,
            labels_file=labels_file,
            strict=strict,
            shard_images=shard_images,
        )
    except KeyboardInterrupt:
        raise DataError(f"Interrupted; run the same command again to continue in {out}.") from None
    labeled = int((data.labels >= 0).sum())
    left_out = f", {len(data.skipped):,} skipped" if data.skipped else ""
    click.echo(
        f"{out}: {counted(len(data), 'image')}, {labeled:,} labeled, {counted(len(data.classes), 'class')}{left_out}"
    )
