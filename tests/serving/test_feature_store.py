"""Features are computed once for the content of a photo, whatever was killed in between."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from igan_zoo.errors import ImageError, OutputError
from igan_zoo.serving.feature_store import FeatureStore, Photo, content_key


def photo(level: int) -> Photo:
    return Photo(str(level), content_key(bytes([level])), lambda: np.full((2, 2, 3), level, np.uint8))


def broken(name: str) -> Photo:
    def decode() -> NDArray[np.uint8]:
        raise ImageError(f"{name} is no image.")

    return Photo(name, content_key(name.encode()), decode)


def encode(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return pixels[:, 0, 0].astype(np.float32) / 2


def test_the_second_run_computes_nothing(tmp_path: Path) -> None:
    photos = [photo(level) for level in range(20)]
    for computed in (20, 0):
        heard: list[int] = []
        with FeatureStore(tmp_path, 3) as store:
            rows, places = store.rows_of(photos, encode, heard.append)
        assert (store.computed, sum(heard), places) == (computed, 20, list(range(20)))
        np.testing.assert_array_equal(rows, np.arange(20)[:, None].repeat(3, axis=1) / 2)


def test_a_photo_that_is_there_twice_has_its_features_twice(tmp_path: Path) -> None:
    with FeatureStore(tmp_path, 3) as store:
        rows, _ = store.rows_of([photo(4), photo(6), photo(4)], encode, lambda _: None)
    np.testing.assert_array_equal(rows[:, 0], [2, 3, 2])


@pytest.mark.parametrize(("name", "size"), [("rows.f16", 7 * 6 + 1), ("keys.bin", 7 * 16 + 5)])
def test_what_a_killed_process_did_not_finish_is_computed_again(tmp_path: Path, name: str, size: int) -> None:
    with FeatureStore(tmp_path, 3) as store:
        store.rows_of([photo(level) for level in range(10)], encode, lambda _: None)
    with (tmp_path / name).open("r+b") as file:
        file.truncate(size)
    with FeatureStore(tmp_path, 3) as store:
        rows, _ = store.rows_of([photo(level) for level in range(10)], encode, lambda _: None)
    assert store.computed == 3
    np.testing.assert_array_equal(rows[:, 1], np.arange(10) / 2)


def test_photos_that_cannot_be_decoded_are_skipped_and_named(tmp_path: Path) -> None:
    with FeatureStore(tmp_path, 3) as store:
        rows, places = store.rows_of([photo(2), broken("x.png"), photo(4)], encode, lambda _: None)
    assert (places, store.skipped) == ([0, 2], ["x.png is no image."])
    np.testing.assert_array_equal(rows[:, 0], [1, 2])
    with FeatureStore(tmp_path, 3, strict=True) as store, pytest.raises(ImageError, match=r"x\.png"):
        store.rows_of([broken("x.png")], encode, lambda _: None)


def test_a_second_process_has_to_wait(tmp_path: Path) -> None:
    with FeatureStore(tmp_path, 3), pytest.raises(OutputError, match="Another process"), FeatureStore(tmp_path, 3):
        pass
