"""Random changes of images that keep their class."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from igan_zoo.training.augmentation import cut_out, mirrored, shifted


@pytest.fixture
def pixels() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randint(0, 256, (64, 5, 7, 3), dtype=torch.uint8)


def test_about_half_of_the_images_are_mirrored_and_the_others_as_they_were(pixels: torch.Tensor) -> None:
    answer = mirrored(pixels)
    same = (answer == pixels).flatten(1).all(dim=1)
    turned = (answer == torch.from_numpy(pixels.numpy()[:, :, ::-1].copy())).flatten(1).all(dim=1)
    assert bool((same ^ turned).all())
    assert 16 < int(same.sum()) < 48


@pytest.mark.parametrize("most", [0, 1, 3])
def test_every_image_is_a_window_of_its_reflected_self_and_every_window_comes_up(
    pixels: torch.Tensor, most: int
) -> None:
    beyond = np.pad(pixels.numpy(), [(0, 0), (most, most), (most, most), (0, 0)], mode="reflect")
    windows = [(y, x) for y in range(2 * most + 1) for x in range(2 * most + 1)]
    seen = set()
    for _ in range(8):
        answer = shifted(pixels, most).numpy()
        for image, source in zip(answer, beyond, strict=True):
            (found,) = (at for at in windows if np.array_equal(image, source[at[0] : at[0] + 5, at[1] : at[1] + 7]))
            seen.add(found)
    assert seen == set(windows)


@pytest.mark.parametrize("side", [1, 4, 20])
def test_of_every_image_a_square_is_blank_and_the_rest_as_it_was(side: int) -> None:
    torch.manual_seed(0)
    pixels = torch.randint(1, 256, (200, 5, 7, 3), dtype=torch.uint8)
    answer = cut_out(pixels, side, fill=0)
    blank = answer == 0
    assert bool((blank.any(dim=3) == blank.all(dim=3)).all())
    assert bool((answer[~blank] == pixels[~blank]).all())
    before, after = side // 2, side - side // 2
    squares = {
        (y, x): (max(0, y - before), min(5, y + after), max(0, x - before), min(7, x + after))
        for y in range(5)
        for x in range(7)
    }
    seen = set()
    for image in blank.numpy():
        ys, xs = np.nonzero(image[:, :, 0])
        square = (ys.min(), ys.max() + 1, xs.min(), xs.max() + 1)
        assert len(ys) == (square[1] - square[0]) * (square[3] - square[2])
        seen.add(square)
    assert seen == set(squares.values())
