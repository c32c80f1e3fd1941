"""Images as a Python program has them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from igan_zoo.errors import ImageError
from igan_zoo.images.given import stored_images
from igan_zoo.images.pixels import Shape


def noise(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def test_folders_stand_for_the_images_below_them(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("b/2.JPG", "a.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    for given in (tmp_path, str(tmp_path), [tmp_path]):
        found = [(image.name, image.content) for image in stored_images(given)]
        assert found == [(str(path), path) for path in (tmp_path / "a.png", tmp_path / "b" / "2.JPG")]
    assert [image.content for image in stored_images(tmp_path / "notes.txt")] == [tmp_path / "notes.txt"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="no image"):
        stored_images(tmp_path / "empty")


def test_one_picture_is_the_same_in_every_form() -> None:
    pixels = noise(5, 4, 3)
    picture, file = Image.fromarray(pixels), io.BytesIO()
    picture.save(file, format="PNG")
    mixed = stored_images([picture, file.getvalue(), pixels, pixels[None]])
    assert [image.name for image in mixed] == ["image 0", "image 1", "image 2", "image 3"]
    for image in mixed:
        np.testing.assert_array_equal(image.decode(), pixels)
    for one in (picture, file.getvalue(), pixels):
        np.testing.assert_array_equal(stored_images(one)[0].decode(), pixels)


def test_arrays_are_one_image_or_several() -> None:
    assert [image.decode(Shape(1)).shape for image in stored_images(noise(5, 4))] == [(5, 4, 1)]
    assert [image.decode(Shape(1)).shape for image in stored_images(noise(2, 5, 4, 1))] == [(5, 4, 1)] * 2
    assert stored_images(noise(0, 5, 4, 1)) == []


def test_pillow_images_are_treated_as_their_files_are(tmp_path: Path) -> None:
    """Turned as the camera noted, transparent pixels black, 16 bits as 8."""
    turned = Image.fromarray(noise(6, 4, 3))
    notes = turned.getexif()
    notes[0x0112] = 6
    turned.save(tmp_path / "turned.png", exif=notes)
    Image.fromarray(noise(6, 4, 4), "RGBA").save(tmp_path / "transparent.png")
    Image.fromarray(noise(6, 4).astype(np.uint16) * 257).save(tmp_path / "deep.png")
    for file, channels in (("turned.png", 3), ("transparent.png", 3), ("deep.png", 1)):
        with Image.open(tmp_path / file) as picture:
            (given,) = stored_images(picture)
        (stored,) = stored_images(tmp_path / file)
        np.testing.assert_array_equal(given.decode(Shape(channels)), stored.decode(Shape(channels)))


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (noise(3, 4).astype(np.float32), r"this one is float32 \[3, 4\]"),
        (noise(2, 3, 4, 2), r"C = 1 or 3; this one is uint8 \[2, 3, 4, 2\]"),
        (noise(0, 4, 3), "C = 1 or 3"),
        ([3], "not int"),
    ],
)
def test_what_is_no_image_is_refused(images: Any, sentence: str) -> None:
    with pytest.raises(ImageError, match=sentence):
        stored_images(images)
