"""Pictures of a training: its curves, and an animation of its samples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from igan_zoo.errors import ImageError
from igan_zoo.images.files.decoding import read_image
from igan_zoo.machine.files import atomic_file

if TYPE_CHECKING:
    from PIL import Image

# What a panel shows: the ending of its keys, and its title.
_PANELS = (("_loss", "losses"), ("_error", "share of errors"))
# Errors are shown on a logarithmic axis where they fall at least so far, and on one that begins at 0 elsewhere.
_FALL = 10.0
# A curve of so few points has each of them marked: a single one would be invisible.
_FEW = 20


def draw_curves(path: Path, log: Sequence[Mapping[str, Any]]) -> None:
    """Writes a PNG of every loss and every error in a log, each group in a panel of its own.

    A key that ends in ``_loss`` or ``_error`` is a curve. Rows may lack it or have None; they are left out of it, as
    are values that are not finite. The horizontal axis is ``images`` (seen so far) if the log has it, else ``epoch``;
    rows without it are left out. The vertical axis of losses is logarithmic unless one is negative or 0. That of errors
    begins at 0, or is logarithmic where the errors that training does not see (or, without those, all) fall to a tenth;
    what is below half of their smallest is then drawn there.

    Raises:
        OutputError: ``path`` cannot be written.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    abscissa = "images" if any(row.get("images") is not None for row in log) else "epoch"
    rows = [row for row in log if row.get(abscissa) is not None]
    panels = [(_keys(rows, ending), title) for ending, title in _PANELS]
    panels = [panel for panel in panels if panel[0]] or [([], "losses")]

    figure = Figure(figsize=(4.5 * len(panels), 3.5), layout="constrained")
    for axes, (keys, title) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        curves = {key: [(row[abscissa], row[key]) for row in rows if _is_number(row.get(key))] for key in keys}
        least = _least_error(curves) if title != "losses" else None
        for key, points in curves.items():
            shown = [(at, value if least is None else max(value, least)) for at, value in points]
            axes.plot(*zip(*shown, strict=True), label=key.replace("_", " "), marker="." if len(points) < _FEW else "")
        positive = all(value > 0 for points in curves.values() for _, value in points)
        axes.set(xlabel=abscissa, title=title)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if title == "losses":
            axes.set_yscale("log" if keys and positive else "linear")
        else:
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
            axes.set_yscale("linear" if least is None else "log")
            axes.set_ylim(bottom=0 if least is None else least)
        axes.grid(alpha=0.3)
        if keys:
            axes.legend()
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png")


def _least_error(curves: Mapping[str, Sequence[tuple[float, float]]]) -> float | None:
    """Returns where a logarithmic axis of errors begins; None where one that begins at 0 shows them better."""
    unseen = {key: points for key, points in curves.items() if not key.startswith("labelled")} or curves
    errors = [value for points in unseen.values() for _, value in points if value > 0]
    return min(errors) / 2 if errors and _FALL * min(errors) <= max(errors) else None


def _keys(rows: Iterable[Mapping[str, Any]], ending: str) -> list[str]:
    """Returns the keys with that ending that have a number somewhere, in the order of their first one."""
    return list(dict.fromkeys(key for row in rows for key in row if key.endswith(ending) and _is_number(row[key])))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def draw_progress(
    path: Path, frames: Sequence[Path], *, most: int = 64, width: int = 400, seconds: float = 0.15, last: float = 2.0
) -> None:
    """Writes an animated WebP of PNG pictures in their order, which loops for ever.

    64 grids of 100 MNIST images that slowly change make 0.25 MB, as many of CIFAR-10 images that all change 1.5 MB.

    Args:
        path: the file to write.
        frames: PNG files, grey or colour. Those of another size than the first one are brought to its size.
        most: how many to show; of more, so many are chosen evenly, the first and the last among them.
        width: wider pictures are made this wide.
        seconds: how long each is shown.
        last: how long the last one is shown.

    Raises:
        ImageError: there are no frames, or one of them is missing, no image, damaged or too large.
        OutputError: ``path`` cannot be written.
    """
    if not frames:
        raise ImageError(f"There are no sample pictures to make {path} from; train for at least one epoch.")
    chosen = np.linspace(0, len(frames) - 1, min(most, len(frames))).round().astype(int)
    pictures: list[Image.Image] = []
    for index in chosen:
        size = pictures[0].size if pictures else None
        pictures.append(_read_frame(frames[index], size, width))
    milliseconds = [round(1000 * seconds)] * (len(pictures) - 1) + [round(1000 * last)]
    with atomic_file(path) as temporary:
        pictures[0].save(
            temporary,
            format="WEBP",
            save_all=True,
            append_images=pictures[1:],
            duration=milliseconds,
            loop=0,
            quality=50,
            method=4,
        )


def _read_frame(path: Path, size: tuple[int, int] | None, width: int) -> Image.Image:
    """Reads a picture as RGB of ``size``, or where that is None of its own, but not wider than ``width``."""
    from PIL import Image

    frame = Image.fromarray(read_image(path))
    if size is None:
        size = (min(frame.width, width), max(1, round(frame.height * min(1.0, width / frame.width))))
    return frame if frame.size == size else frame.resize(size, Image.Resampling.LANCZOS)
