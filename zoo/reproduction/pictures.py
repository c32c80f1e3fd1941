"""The pictures of a report: learning curves of all trainings in one chart, and grids of what generators draw."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from igan_zoo.images.pixels import write_image
from igan_zoo.machine.files import atomic_file
from igan_zoo.models.spec import SAMPLES
from igan_zoo.reproduction.evidence import Evidence
from igan_zoo.training.runs.directory import Run

# More lines than that are told apart by nobody.
_MOST_NAMED = 12


def draw_validation_errors(path: Path, curves: Mapping[str, Sequence[float | None]]) -> bool:
    """Writes a PNG of validation errors by epoch, one line a name, and returns whether there was anything to draw.

    Raises:
        OutputError: ``path`` cannot be written.
    """
    from matplotlib.figure import Figure

    known = {
        name: [(epoch, error) for epoch, error in enumerate(errors, 1) if error is not None]
        for name, errors in curves.items()
    }
    known = {name: points for name, points in known.items() if points}
    if not known:
        return False
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, points in known.items():
        percent = [(epoch, 100 * max(error, 1e-4)) for epoch, error in points]
        axes.plot(*zip(*percent, strict=True), label=name, marker="." if len(points) < 20 else "", linewidth=1.2)
    axes.set(xlabel="epoch", ylabel="errors on validation images, percent", yscale="log")
    for axis_format in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        axis_format("{x:g}")
    axes.grid(which="both", alpha=0.3)
    if len(known) <= _MOST_NAMED:
        axes.legend(fontsize="small")
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)
    return True


def copy_samples(evidence: Evidence, folder: Path, name: str) -> Path | None:
    """Copies the grid of a training's generated images to ``folder``; None if it has none.

    A run's grid is of the training's last state, a model's of what its ONNX file draws; both of the same latents.

    Raises:
        OutputError: ``folder`` cannot be written.
    """
    source = evidence.path / SAMPLES
    if not source.is_file():
        return None
    path = folder / f"{name}-samples.png"
    with atomic_file(path) as temporary:
        shutil.copyfile(source, temporary)
    return path


def validation_errors(evidence: Evidence) -> list[float | None]:
    """Returns the validation error after every epoch; nothing of a model whose run is not here."""
    return [] if evidence.run is None else [row.get("validation_error") for row in Run(evidence.run).log()]


def side_by_side(path: Path, pictures: Sequence[tuple[str, Path]]) -> None:
    """Writes PNG files one below the other under their captions.

    Raises:
        OutputError: ``path`` cannot be written.
    """
    from PIL import Image

    from igan_zoo.models.charts import captioned

    read = []
    for caption, file in pictures:
        with Image.open(file, formats=["PNG"]) as image:
            read.append((caption, np.asarray(image.convert("RGB"), np.uint8)))
    write_image(path, captioned(read))
