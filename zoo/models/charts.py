"""Small pictures of results, drawn with Pillow alone: a histogram, pictures with captions, and contact sheets.

Arrays are uint8 ``[H, W, 3]``. The same numbers give the same picture.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from igan_zoo.errors import one_line
from igan_zoo.images.pixels import to_pillow

if TYPE_CHECKING:
    from PIL import ImageDraw

_WIDTH, _HEIGHT = 800, 420
_LEFT, _TOP, _RIGHT, _BOTTOM = 70, 50, 780, 360
_INK, _BAR, _MARKED, _LINE = "#222222", "#8aa4c8", "#d1603d", "#dddddd"
_TEXT = 15
_CAPTION = 26
_MARGIN = 6
# Of a contact sheet: the side of a photo, the height of a line of text, and the fewest columns.
_PHOTO, _ROW, _COLUMNS = 200, 19, 5
_LONGEST = 200


def histogram(
    values: NDArray[np.float64],
    *,
    title: str,
    label: str,
    from_value: float,
    from_label: str,
    bins: int = 60,
) -> NDArray[np.uint8]:
    """Returns how often which of ``values`` ``[N]`` is, with those from ``from_value`` on in another colour.

    ``label`` says what the values are, ``from_label`` what is coloured.
    """
    from PIL import Image, ImageDraw

    edges = np.linspace(*_range(values), bins + 1)
    counts = np.histogram(values, edges)[0]
    marked = np.histogram(values[values >= from_value], edges)[0]
    highest = max(int(counts.max()), 1)
    image = Image.new("RGB", (_WIDTH, _HEIGHT), "white")
    draw = ImageDraw.Draw(image)

    def across(value: float) -> int:
        return round(_LEFT + float((value - edges[0]) / (edges[-1] - edges[0])) * (_RIGHT - _LEFT))

    def up(count: float) -> int:
        return round(_BOTTOM - count / highest * (_BOTTOM - _TOP))

    for count in sorted({0, highest // 2, highest}):
        draw.line([(_LEFT, up(count)), (_RIGHT, up(count))], fill=_LINE)
        _write(draw, (_LEFT - 8, up(count)), f"{count:,}", "rm")
    for heights, colour in ((counts, _BAR), (marked, _MARKED)):
        for low, high, height in zip(edges[:-1], edges[1:], heights, strict=True):
            if height:
                draw.rectangle([across(low), up(height), max(across(high) - 1, across(low)), _BOTTOM], fill=colour)
    draw.line([(_LEFT, _BOTTOM), (_RIGHT, _BOTTOM)], fill=_INK)
    for value in np.linspace(edges[0], edges[-1], 6):
        draw.line([(across(value), _BOTTOM), (across(value), _BOTTOM + 5)], fill=_INK)
        _write(draw, (across(value), _BOTTOM + 8), f"{value:.3g}", "ma")
    _write(draw, (_LEFT, 18), title, "lm")
    _write(draw, (_RIGHT, _TOP - 6), f"{from_label}: from {from_value:.4g}", "rs", _MARKED)
    _write(draw, ((_LEFT + _RIGHT) // 2, _HEIGHT - 14), label, "mm")
    return np.asarray(image, np.uint8)


def captioned(pictures: Sequence[tuple[str, NDArray[np.uint8]]]) -> NDArray[np.uint8]:
    """Returns pictures uint8 ``[H, W, 3]`` one below the other, each under its caption."""
    from PIL import Image, ImageDraw

    width = max(picture.shape[1] for _, picture in pictures) + 2 * _MARGIN
    height = sum(picture.shape[0] + _CAPTION for _, picture in pictures) + _MARGIN
    image = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    top = 0
    for caption, picture in pictures:
        _write(draw, (_MARGIN, top + _CAPTION // 2), caption, "lm")
        image.paste(Image.fromarray(picture), (_MARGIN, top + _CAPTION))
        top += _CAPTION + picture.shape[0]
    return np.asarray(image, np.uint8)


def contact_sheet(
    photos: Iterable[NDArray[np.uint8]], captions: Sequence[Sequence[str]], columns: int | None = None
) -> NDArray[np.uint8]:
    """Returns photos uint8 ``[H, W, C]`` of any sizes, each whole over its lines of ``captions``, in rows.

    Of a line that is too long for its photo the end is shown, where the names of files differ.
    """
    from PIL import Image, ImageDraw

    columns = columns or min(len(captions), max(_COLUMNS, math.isqrt(len(captions))))
    height = _PHOTO + _ROW * max(map(len, captions)) + 2 * _MARGIN
    width = _PHOTO + 2 * _MARGIN
    image = Image.new("RGB", (columns * width, math.ceil(len(captions) / columns) * height), "white")
    draw = ImageDraw.Draw(image)
    for place, (photo, lines) in enumerate(zip(photos, captions, strict=True)):
        left, top = place % columns * width + _MARGIN, place // columns * height + _MARGIN
        scale = _PHOTO / max(photo.shape[:2])
        size = max(1, round(photo.shape[1] * scale)), max(1, round(photo.shape[0] * scale))
        small = to_pillow(photo).convert("RGB").resize(size, Image.Resampling.BILINEAR)
        image.paste(small, (left + (_PHOTO - size[0]) // 2, top + (_PHOTO - size[1]) // 2))
        for row, line in enumerate(lines):
            _write(draw, (left, top + _PHOTO + row * _ROW + _ROW // 2 + 2), _fitting(line), "lm")
    return np.asarray(image, np.uint8)


def _fitting(line: str) -> str:
    """Returns as much of the end of a line as has room below a photo."""
    shown = line = one_line(line, most=_LONGEST)
    while _font().getlength(shown) > _PHOTO:
        line = line[1:]
        shown = f"...{line}"
    return shown


def _range(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    return (low, high) if high - low > 1e-9 * max(abs(high), 1.0) else (low - 0.5, high + 0.5)


def _write(draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str, anchor: str, colour: str = _INK) -> None:
    draw.text(place, text, fill=colour, font=_font(), anchor=anchor)


@cache
def _font() -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size=_TEXT)
