"""Principal directions: those that a known generator really has."""

from __future__ import annotations

import numpy as np
import pytest

from igan_zoo.latents import latents
from igan_zoo.serving.server.people.directions import principal_directions


def test_the_directions_of_a_linear_generator_are_found_strongest_first() -> None:
    generator = np.random.default_rng(0)
    axes, _ = np.linalg.qr(generator.normal(size=(10, 10)))
    patterns = np.zeros((2, 8, 8, 1))
    patterns[0, :4], patterns[1, :, :4] = 1, 1
    patterns[1, :4] -= 0.5  # at right angles to the first
    z = latents(10, "uniform", seed=1, start=0, count=4000)
    strengths = (z - 0.5) @ axes[:, :2] * (120, 60)
    images = np.clip(np.tensordot(strengths, patterns, 1) + 128, 0, 255).astype(np.uint8)
    first, second, *_ = principal_directions(z, images, 4)
    # 4000 latents: a direction is known to about sqrt(10 / 4000).
    assert abs(first.direction @ axes[:, 0]) > 0.98
    assert abs(second.direction @ axes[:, 1]) > 0.98
    assert first.explained > second.explained > 0.1
    assert first.spread == pytest.approx(np.sqrt(1 / 12), rel=0.05)


def test_directions_have_length_one_and_stand_at_right_angles() -> None:
    z = latents(20, "normal", seed=0, start=0, count=300)
    images = np.random.default_rng(0).integers(0, 256, (300, 32, 30, 3), np.uint8)
    found = principal_directions(z, images, 6)
    matrix = np.stack([direction.direction for direction in found])
    assert matrix.dtype == np.float32
    assert matrix @ matrix.T == pytest.approx(np.eye(6), abs=1e-3)
    assert all(direction.direction[np.abs(direction.direction).argmax()] > 0 for direction in found)


def test_a_generator_whose_images_never_change_has_none() -> None:
    z = latents(5, "uniform", seed=0, start=0, count=50)
    assert principal_directions(z, np.zeros((50, 9, 9, 1), np.uint8), 6) == []
