"""Curves of any log, and animations of samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.figure
import numpy as np
import pytest
from PIL import Image

from igan_zoo.errors import ImageError, OutputError
from igan_zoo.images.pixels import write_image
from igan_zoo.training.runs.pictures import draw_curves, draw_progress
from tests.zoo.images.test_pixels import png_header


class Drawing:
    """What was drawn last: its panels, and each panel's curves by their label."""

    axes: Sequence[Any] = ()

    def curves(self, panel: int) -> dict[str, tuple[list[float], list[float]]]:
        return {
            line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in self.axes[panel].get_lines()
        }


@pytest.fixture
def drawing(monkeypatch: pytest.MonkeyPatch) -> Drawing:
    """Looks at the figure in the moment in which it is saved."""
    seen = Drawing()
    honest = matplotlib.figure.Figure.savefig

    def watched(figure: matplotlib.figure.Figure, *arguments: Any, **options: Any) -> None:
        seen.axes = figure.axes
        honest(figure, *arguments, **options)

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", watched)
    return seen


def test_losses_and_errors_have_a_panel_each(tmp_path: Path, drawing: Drawing) -> None:
    log = [
        {"epoch": 1, "learning_rate": 0.003, "labelled_loss": 2.0, "feature_matching_loss": 5.0, "test_error": 0.5},
        {"epoch": 2, "learning_rate": 0.003, "labelled_loss": 1.0, "feature_matching_loss": 4.0, "test_error": 0.0},
    ]
    draw_curves(tmp_path / "curves.png", log)
    with Image.open(tmp_path / "curves.png") as picture:
        assert (picture.format, picture.size) == ("PNG", (900, 350))
    assert [axes.get_title() for axes in drawing.axes] == ["losses", "share of errors"]
    assert [axes.get_xlabel() for axes in drawing.axes] == ["epoch", "epoch"]
    assert [axes.get_yscale() for axes in drawing.axes] == ["log", "linear"]
    assert drawing.axes[1].get_ylim()[0] == 0
    assert drawing.curves(0) == {"labelled loss": ([1, 2], [2.0, 1.0]), "feature matching loss": ([1, 2], [5.0, 4.0])}
    assert drawing.curves(1) == {"test error": ([1, 2], [0.5, 0.0])}


def test_errors_that_fall_far_are_on_a_logarithmic_axis_that_ends_below_them(tmp_path: Path, drawing: Drawing) -> None:
    log = [
        {"epoch": 1, "labelled_error": 0.5, "validation_error": 0.4},
        {"epoch": 2, "labelled_error": 0.0, "validation_error": 0.02},
    ]
    draw_curves(tmp_path / "curves.png", log)
    assert drawing.axes[0].get_yscale() == "log"
    assert drawing.axes[0].get_ylim()[0] == pytest.approx(0.01)
    assert drawing.curves(0)["labelled error"] == ([1, 2], [0.5, 0.01])


def test_a_validation_error_that_stays_high_has_an_axis_from_zero(tmp_path: Path, drawing: Drawing) -> None:
    log = [{"epoch": at, "labelled_error": 0.5 / at**3, "validation_error": 0.6 - at / 100} for at in (1, 2, 3)]
    draw_curves(tmp_path / "curves.png", log)
    assert drawing.axes[0].get_yscale() == "linear"
    assert all(float(at).is_integer() for at in drawing.axes[0].get_xticks()), "there is no epoch 1.5"


def test_without_errors_there_is_one_panel(tmp_path: Path, drawing: Drawing) -> None:
    draw_curves(tmp_path / "curves.png", [{"epoch": 1, "generator_loss": 0.7, "validation_error": None}])
    assert [axes.get_title() for axes in drawing.axes] == ["losses"]
    assert drawing.axes[0].get_lines()[0].get_marker() == ".", "a single point is seen"


def test_missing_values_are_left_out(tmp_path: Path, drawing: Drawing) -> None:
    log = [
        {"epoch": 1, "a_loss": 1.0},
        {"a_loss": 9.0, "note": "a row without an epoch"},
        {"epoch": 2, "a_loss": None, "b_loss": 3.0},
        {"epoch": 3, "a_loss": math.nan, "b_loss": math.inf},
        {"epoch": 4, "a_loss": 2.0},
    ]
    draw_curves(tmp_path / "curves.png", log)
    assert drawing.curves(0) == {"a loss": ([1, 4], [1.0, 2.0]), "b loss": ([2], [3.0])}


def test_images_seen_are_the_axis_where_the_log_has_them(tmp_path: Path, drawing: Drawing) -> None:
    draw_curves(tmp_path / "curves.png", [{"epoch": 1, "images": 500, "a_loss": 1.0}, {"images": 1000, "a_loss": 2.0}])
    assert drawing.curves(0) == {"a loss": ([500, 1000], [1.0, 2.0])}
    assert drawing.axes[0].get_xlabel() == "images"


def test_a_negative_loss_is_seen_on_a_linear_axis(tmp_path: Path, drawing: Drawing) -> None:
    draw_curves(tmp_path / "curves.png", [{"epoch": 1, "a_loss": -1.0}, {"epoch": 2, "a_loss": 2.0}])
    assert drawing.axes[0].get_yscale() == "linear"


@pytest.mark.parametrize("log", [[], [{"epoch": 1}]])
def test_a_log_without_curves_is_an_empty_panel(tmp_path: Path, drawing: Drawing, log: list[dict[str, Any]]) -> None:
    draw_curves(tmp_path / "curves.png", log)
    assert (len(drawing.axes), drawing.curves(0)) == (1, {})


def grids(folder: Path, count: int, *, channels: int = 1, size: tuple[int, int] = (30, 40)) -> list[Path]:
    """PNG files that grow brighter one by one."""
    paths = [folder / f"{index:04}.png" for index in range(count)]
    for index, path in enumerate(paths):
        write_image(path, np.full((*size, channels), round(255 * index / max(count - 1, 1)), np.uint8))
    return paths


def read_animation(path: Path) -> tuple[list[int], list[float], tuple[int, int]]:
    """Milliseconds and mean brightness of each frame, and the size of all."""
    with Image.open(path) as animation:
        assert animation.format == "WEBP"
        milliseconds, brightness = [], []
        for frame in range(getattr(animation, "n_frames", 1)):
            animation.seek(frame)
            animation.load()
            milliseconds.append(animation.info["duration"])
            brightness.append(float(np.asarray(animation.convert("RGB"), dtype=float).mean()))
        return milliseconds, brightness, animation.size


@pytest.mark.parametrize("channels", [1, 3])
def test_frames_are_in_order_and_the_last_one_stays_longer(tmp_path: Path, channels: int) -> None:
    draw_progress(tmp_path / "a.webp", grids(tmp_path, 5, channels=channels), seconds=0.1, last=1.5)
    milliseconds, brightness, size = read_animation(tmp_path / "a.webp")
    assert milliseconds == [100, 100, 100, 100, 1500]
    np.testing.assert_allclose(brightness, [0, 64, 128, 191, 255], atol=3)
    assert size == (40, 30)


def test_colours_are_kept(tmp_path: Path) -> None:
    paths = [tmp_path / "red.png", tmp_path / "grey.png"]
    write_image(paths[0], np.tile(np.array([250, 10, 10], np.uint8), (16, 16, 1)))
    write_image(paths[1], np.full((16, 16, 1), 128, np.uint8))
    draw_progress(tmp_path / "a.webp", paths)
    with Image.open(tmp_path / "a.webp") as animation:
        np.testing.assert_allclose(np.asarray(animation.convert("RGB"))[8, 8], [250, 10, 10], atol=12)
        animation.seek(1)
        np.testing.assert_allclose(np.asarray(animation.convert("RGB"))[8, 8], [128, 128, 128], atol=4)


def test_of_many_frames_some_are_chosen_evenly(tmp_path: Path) -> None:
    draw_progress(tmp_path / "a.webp", grids(tmp_path, 201, size=(8, 8)), most=5)
    _, brightness, _ = read_animation(tmp_path / "a.webp")
    np.testing.assert_allclose(brightness, [0, 64, 128, 191, 255], atol=3)
    draw_progress(tmp_path / "b.webp", grids(tmp_path, 100, size=(8, 8)))
    # The format shows equal frames once, for as long as all of them.
    assert sum(read_animation(tmp_path / "b.webp")[0]) == 63 * 150 + 2000


def test_wide_frames_are_made_smaller_and_others_brought_to_the_size_of_the_first(tmp_path: Path) -> None:
    wide = grids(tmp_path, 1, size=(500, 1000))
    (tmp_path / "other").mkdir()
    draw_progress(tmp_path / "a.webp", [*wide, grids(tmp_path / "other", 2)[1]])
    milliseconds, brightness, size = read_animation(tmp_path / "a.webp")
    assert (len(milliseconds), size) == (2, (400, 200))
    assert brightness[1] > 250, "the white frame fills it"


def test_one_frame_is_a_picture(tmp_path: Path) -> None:
    draw_progress(tmp_path / "a.webp", grids(tmp_path, 1))
    with Image.open(tmp_path / "a.webp") as picture:
        assert (picture.format, picture.size) == ("WEBP", (40, 30))


def test_sixty_four_grids_of_digits_stay_small(tmp_path: Path) -> None:
    """A hundred 28x28 images that change completely from black to noise: below 1 MB."""
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 255, (73, 73, 1)).repeat(4, axis=0).repeat(4, axis=1)
    paths = [tmp_path / f"{index:02}.png" for index in range(64)]
    for index, path in enumerate(paths):
        write_image(path, (noise * index / 63).astype(np.uint8))
    draw_progress(tmp_path / "a.webp", paths)
    assert (tmp_path / "a.webp").stat().st_size < 1_000_000


def test_bad_frames_are_named_and_nothing_is_written(tmp_path: Path) -> None:
    good, out = grids(tmp_path, 1), tmp_path / "out" / "a.webp"
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "bomb.png").write_bytes(png_header(100_000, 100_000))
    (tmp_path / "broken.png").write_bytes(png_header(28, 28))
    for name, message in (
        ("text.png", "is not a PNG"),
        ("bomb.png", "at most 50,000,000 are decoded"),
        ("broken.png", "cannot be decoded"),
        ("none.png", "no file"),
    ):
        with pytest.raises(ImageError, match=message) as failure:
            draw_progress(out, [*good, tmp_path / name])
        assert name in str(failure.value)
    with pytest.raises(ImageError, match="There are no sample pictures"):
        draw_progress(out, [])
    assert not out.parent.exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    frames = grids(tmp_path, 2)
    for draw in (
        lambda path: draw_progress(path, frames),
        lambda path: draw_curves(path, [{"epoch": 1, "a_loss": 1.0}]),
    ):
        with pytest.raises(OutputError, match=r"Cannot write .*out"):
            draw(frames[0] / "out")
