"""Random changes of images that keep their class."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from igan_zoo.training.augmentation import mirrored, shifted


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
