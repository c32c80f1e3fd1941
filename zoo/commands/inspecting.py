"""The command that says what a data set holds: inspect."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from igan_zoo.commands.options import force_option, json_option, keep_inputs
from igan_zoo.commands.terminal import print_json, print_table
from igan_zoo.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from igan_zoo.images.findings import Finding
    from igan_zoo.images.stored import LabeledSource
    from igan_zoo.images.summary import Summary

_ON_A_ROW, _MOST_CLASSES = 6, 40


@click.command()
@click.argument("source")
@click.option(
    "--labels",
    "labels_file",
    type=click.Path(path_type=Path),
    metavar="FILE.csv",
    help="CSV file with the labels of the images.",
)
@click.option(
    "--page", type=click.Path(path_type=Path), metavar="FILE.png", help="Picture to write: six images of every class."
)
@click.option("--quick", is_flag=True, help="Decode nothing; this finds no unusable images and no duplicates.")
@json_option
@force_option
def inspect(source: str, labels_file: Path | None, page: Path | None, quick: bool, as_json: bool, force: bool) -> None:
    """Summarize a data set: images by part and class, formats, skipped files and why, and duplicates.

    SOURCE is any source of images, such as a folder of class folders. Duplicates are images in two parts with the same
    pixels, such as a test image that is also a training image.
    """
    from igan_zoo.images.pixels import write_image
    from igan_zoo.images.summary import inspect_images
    from igan_zoo.machine.files import refuse_full

    if page is not None:
        if page.suffix.lower() != ".png":
            raise click.UsageError(f"--page writes a PNG: end {page} in .png")
        keep_inputs([page], [source, labels_file])
        refuse_full(page, replace=force, option="--page")
    found = inspect_images(source, labels_file=labels_file, decode=not quick)
    if as_json:
        print_json(_as_json(found))
    else:
        _print(found)
    if page is not None:
        write_image(page, _page(found))
        click.echo(f"{page}: up to {_ON_A_ROW} images of each class", err=True)


def _print(found: Summary) -> None:
    rows = [("part", "class", "images")]
    for split in found.splits:
        parts = list(split.classes.items())
        if split.unlabeled or not parts:
            parts.append(("without a label", split.unlabeled))
        rows += [(split.name if row == 0 else "", name, f"{count:,}") for row, (name, count) in enumerate(parts)]
    print_table(rows)
    click.echo()
    for split in found.splits:
        click.echo(split.sentence())
        for finding in split.passed_over:
            click.echo(f"  {'ignored' if finding.expected else 'skipped'}: {finding}")
        for finding in split.unusable or ():
            click.echo(f"  skipped: {finding}")
    for finding in found.duplicates or ():
        click.echo(f"duplicates: {finding}")


def _as_json(found: Summary) -> dict[str, Any]:
    def listed(findings: tuple[Finding, ...] | None) -> list[dict[str, Any]] | None:
        if findings is None:
            return None
        return [
            {"reason": one.reason, "count": one.count, "examples": one.examples, "expected": one.expected}
            for one in findings
        ]

    return {
        "source": found.reference,
        "parts": [
            {
                "name": split.name,
                "images": split.images,
                "labeled": split.labeled,
                "unlabeled": split.unlabeled,
                "classes": dict(split.classes),
                "formats": dict(split.formats),
                "passed_over": listed(split.passed_over),
                "unusable": listed(split.unusable),
            }
            for split in found.splits
        ],
        "duplicates": listed(found.duplicates),
    }


def _page(found: Summary) -> NDArray[np.uint8]:
    """Returns a sheet with a row of images for every class of every part, uint8 ``[H, W, 3]``."""
    import numpy as np

    from igan_zoo.models.charts import contact_sheet

    blank = np.full((1, 1, 3), 255, np.uint8)
    photos: list[NDArray[np.uint8]] = []
    captions: list[tuple[str, str]] = []
    for split, source in zip(found.splits, found.sources, strict=True):
        labels = source.labels(range(len(source)))
        for number in (*range(min(len(source.classes), _MOST_CLASSES)), -1):
            name = f"{split.name}  {source.classes[number] if number >= 0 else 'without a label'}"
            row = list(_first_usable(source, np.flatnonzero(labels == number)))
            if row:
                photos += [pixels for _, pixels in row] + [blank] * (_ON_A_ROW - len(row))
                captions += [(name, file) for file, _ in row] + [("", "")] * (_ON_A_ROW - len(row))
    return contact_sheet(photos, captions, columns=_ON_A_ROW)


def _first_usable(source: LabeledSource, indices: NDArray[np.int64]) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yields name and pixels of the first images that can be decoded."""
    from igan_zoo.images.pixels import PREVIEW

    left = _ON_A_ROW
    for index in indices.tolist():
        pixels = source.fetch([index])[0].attempt(PREVIEW)
        if not isinstance(pixels, ImageError):
            left -= 1
            yield source.name(index), pixels
        if not left:
            return
