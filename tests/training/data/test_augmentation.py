"""Random changes of images that keep their class, of real and generated images alike."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from torch import Tensor

from igan_zoo.training.data.augmentation import cut_out, mirrored, recolored, shifted, strong_view, warped, weak_view
from igan_zoo.training.games.alternating import AlternatingGame
from igan_zoo.training.games.game import Batches
from igan_zoo.training.recipes.experiments import CIFAR10_SSL, CIFAR10_SSL_CONSISTENCY, MNIST_SSL
from igan_zoo.training.recipes.settings import Recipe


@pytest.fixture
def images() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(64, 3, 5, 7)


def test_about_half_of_the_images_are_mirrored_and_the_others_as_they_were(images: Tensor) -> None:
    answer = mirrored(images)
    same = (answer == images).flatten(1).all(dim=1)
    turned = (answer == images.flip(3)).flatten(1).all(dim=1)
    assert bool((same ^ turned).all())
    assert 16 < int(same.sum()) < 48


@pytest.mark.parametrize("most", [0, 1, 3])
def test_every_image_is_a_window_of_its_reflected_self_and_every_window_comes_up(images: Tensor, most: int) -> None:
    beyond = np.pad(images.numpy(), [(0, 0), (0, 0), (most, most), (most, most)], mode="reflect")
    windows = [(y, x) for y in range(2 * most + 1) for x in range(2 * most + 1)]
    seen = set()
    for _ in range(8):
        answer = shifted(images, most).numpy()
        for image, source in zip(answer, beyond, strict=True):
            (found,) = (at for at in windows if np.array_equal(image, source[:, at[0] : at[0] + 5, at[1] : at[1] + 7]))
            seen.add(found)
    assert seen == set(windows)


@pytest.mark.parametrize("side", [1, 4, 20])
def test_of_every_image_a_square_is_blank_and_the_rest_as_it_was(side: int) -> None:
    torch.manual_seed(0)
    images = torch.rand(200, 3, 5, 7) + 0.1
    answer = cut_out(images, side)
    blank = answer == 0
    assert bool((blank.any(dim=1) == blank.all(dim=1)).all())
    assert bool((answer[~blank] == images[~blank]).all())
    before, after = side // 2, side - side // 2
    squares = {
        (y, x): (max(0, y - before), min(5, y + after), max(0, x - before), min(7, x + after))
        for y in range(5)
        for x in range(7)
    }
    seen = set()
    for image in blank.numpy():
        ys, xs = np.nonzero(image[0])
        square = (ys.min(), ys.max() + 1, xs.min(), xs.max() + 1)
        assert len(ys) == (square[1] - square[0]) * (square[3] - square[2])
        seen.add(square)
    assert seen == set(squares.values())


@pytest.mark.parametrize("change", [warped, recolored])
def test_a_changed_image_differs_and_stays_in_range(change: Callable[[Tensor], Tensor], images: Tensor) -> None:
    answer = change(images)
    assert answer.shape == images.shape
    assert not torch.equal(answer, images)
    assert answer.abs().max() < 10 * images.abs().max()


def test_warping_leaves_some_images_as_they_are_and_keeps_flat_ones_flat(images: Tensor) -> None:
    kept = [torch.allclose(a, b, atol=1e-5) for a, b in zip(warped(images), images, strict=True)]
    assert 10 < sum(kept) < 45
    flat = torch.full((8, 3, 32, 32), 0.7)
    torch.testing.assert_close(warped(flat), flat)


@pytest.mark.parametrize(
    "change",
    [
        mirrored,
        lambda x: shifted(x, 2),
        lambda x: cut_out(x, 3),
        warped,
        recolored,
        lambda x: strong_view(x, replace(CIFAR10_SSL_CONSISTENCY, consistency_cutout=3)),
    ],
    ids=["mirrored", "shifted", "cut out", "warped", "recolored", "strong view"],
)
def test_every_change_is_differentiable(change: Callable[[Tensor], Tensor]) -> None:
    torch.manual_seed(2)
    images = torch.randn(2, 3, 6, 6, dtype=torch.float64, requires_grad=True)

    def repeatable(x: Tensor) -> Tensor:
        torch.manual_seed(3)
        return change(x)

    direction = torch.randn_like(images)
    (gradient,) = torch.autograd.grad(repeatable(images).square().sum(), images)
    step = 1e-6
    with torch.no_grad():
        ahead = repeatable(images + step * direction).square().sum()
        behind = repeatable(images - step * direction).square().sum()
    assert (gradient * direction).sum().item() == pytest.approx(((ahead - behind) / (2 * step)).item(), rel=1e-5)


@pytest.mark.parametrize("view", [weak_view, strong_view])
def test_flat_images_of_the_dense_network_change_like_maps(view: Callable[[Tensor, Recipe], Tensor]) -> None:
    recipe = replace(MNIST_SSL, shifts=3, batch_size=4)
    images = torch.rand(4, 784)
    torch.manual_seed(5)
    flat = view(images, recipe)
    torch.manual_seed(5)
    maps = view(images.view(4, 1, 28, 28), recipe)
    assert torch.equal(flat, maps.flatten(1))


def test_the_strong_view_changes_colors_only_where_the_recipe_says_so() -> None:
    flat = torch.full((16, 1, 28, 28), 0.5)
    recipe = replace(CIFAR10_SSL_CONSISTENCY, consistency_cutout=0)
    assert not torch.allclose(strong_view(flat, recipe), flat)
    torch.testing.assert_close(strong_view(flat, replace(recipe, consistency_colors=False)), flat)


# A game small enough for a test: bright images without a dark pixel, of which the discriminator sees blanked squares.
_SQUARES = replace(
    CIFAR10_SSL,
    network_width=0.0625,
    labels="0",
    batch_size=16,
    cutout=16,
    learning_rate=0.002,
    input_dropout=0.0,
    dropout=0.0,
)


def _dark_share_after(steps: int) -> float:
    torch.manual_seed(1)
    game = AlternatingGame(_SQUARES, 1)
    game.initialize(_bright(64))
    for _ in range(steps):
        game.step(Batches(None, (_bright(16), _bright(16))))
    with torch.no_grad():
        images = torch.cat([game.generate() for _ in range(4)])
    return float((images.mean(dim=1) < 0.25).float().mean())


def _bright(count: int) -> Tensor:
    return (0.6 + 0.1 * torch.randn(count, 3, 1, 1) + 0.05 * torch.randn(count, 3, 32, 32)).clamp(-1, 1)


def test_generated_images_do_not_learn_the_blanked_squares() -> None:
    assert _dark_share_after(150) < 0.1  # 0.56 where real images alone have squares
