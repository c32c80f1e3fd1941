"""Notes beside answers to images of another kind."""

from __future__ import annotations

import numpy as np

from igan_zoo.serving.notes import INVERTED, UNLIKE, Expected, notes_on

PAPER = np.full((28, 28, 1), 180, np.uint8)
PAPER[8:20, 12:16] = 30


def test_an_image_that_looks_less_real_than_the_training_images_has_a_note() -> None:
    images, realness = np.zeros((3, 28, 28, 1), np.uint8), np.array([0.1, 0.2, 0.9], np.float32)
    assert notes_on(images, realness, Expected(least_realness=0.15)) == [UNLIKE, None, None]
    assert notes_on(images, realness, Expected()) == [None, None, None], "nothing is known of the training images"


def test_a_digit_on_paper_has_a_note_where_digits_are_light() -> None:
    images = np.stack([PAPER, 255 - PAPER])
    realness = np.zeros(2, np.float32)
    assert notes_on(images, realness, Expected(light_on_dark=True)) == [INVERTED, None]
    assert notes_on(images, realness, Expected(least_realness=0.5, light_on_dark=True)) == [INVERTED, UNLIKE]
    assert notes_on(images, realness, Expected(light_on_dark=False)) == [None, None]
