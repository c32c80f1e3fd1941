"""Reading images safely, and bringing them to a model's shape."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from igan_zoo.errors import ImageError, SmallImageError
from igan_zoo.images.files.decoding import decode_image, read_image
from igan_zoo.images.folders.listing import image_files
from igan_zoo.images.pixels import Shape, conform_pixels, grid, write_image

SHAPE = Shape(1, 28, 28)


def png_header(width: int, height: int) -> bytes:
    """A valid PNG signature and header that promises the given size, and a first chunk of pixels that never comes."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    header = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + header + struct.pack(">I", 1000) + b"IDAT"


def test_an_image_of_the_right_shape_is_read_bit_for_bit(tmp_path: Path) -> None:
    pixels = np.arange(784, dtype=np.uint8).reshape(28, 28, 1)
    write_image(tmp_path / "a.png", pixels)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", SHAPE), pixels)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
@pytest.mark.parametrize("size", [(28, 28), (100, 37), (1, 1)])
def test_any_mode_and_size_is_brought_to_the_shape(tmp_path: Path, mode: str, size: tuple[int, int]) -> None:
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    if mode == "P":
        white = Image.new("RGB", size, "white").convert("P")
    else:
        white = Image.new(mode, size, {"I;16": 65535, "CMYK": (0, 0, 0, 0)}.get(mode, "white"))
    white.save(path)
    for channels in (1, 3):
        image = read_image(path, Shape(channels, 28, 28))
        assert image.shape == (28, 28, channels)
        assert image.dtype == np.uint8
        assert image.min() >= 254


def test_a_photo_taken_sideways_is_turned(tmp_path: Path) -> None:
    sideways = Image.new("L", (28, 28), "black")
    sideways.paste("white", (0, 0, 28, 14))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn clockwise to see it so
    sideways.save(tmp_path / "a.jpg", exif=exif)
    upright = read_image(tmp_path / "a.jpg", SHAPE)
    assert upright[:, 16:].min() > 250
    assert upright[:, :12].max() < 5


@pytest.mark.parametrize("size", [(28, 28), (60, 40), (40, 61), (28, 200), (29, 28)])
def test_cropping_takes_the_largest_central_square(tmp_path: Path, size: tuple[int, int]) -> None:
    width, height = size
    side = min(size)
    left, top = (width - side) // 2, (height - side) // 2
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))
    photo.save(tmp_path / "a.png")
    square = photo.crop((left, top, left + side, top + side)).resize((28, 28), Image.Resampling.BILINEAR)
    cropped = read_image(tmp_path / "a.png", Shape(3, 28, 28, crop=True))
    np.testing.assert_array_equal(cropped, np.asarray(square))


@pytest.mark.parametrize(("height", "width", "box"), [(10, 20, (0, 15, 60, 45)), (20, 10, (15, 0, 45, 60))])
def test_cropping_to_a_rectangle_keeps_its_aspect_ratio(
    tmp_path: Path, height: int, width: int, box: tuple[int, int, int, int]
) -> None:
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 60), np.uint8))
    photo.save(tmp_path / "a.png")
    expected = photo.crop(box).resize((width, height), Image.Resampling.BILINEAR)
    cropped = read_image(tmp_path / "a.png", Shape(1, height, width, crop=True))
    np.testing.assert_array_equal(cropped[..., 0], np.asarray(expected))


@pytest.mark.parametrize(("size", "small"), [((28, 28), False), ((27, 28), True), ((100, 27), True), ((28, 29), False)])
def test_enlarging_is_refused_where_it_is_not_wanted(tmp_path: Path, size: tuple[int, int], small: bool) -> None:
    Image.new("L", size).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", SHAPE).shape == (28, 28, 1)
    if small:
        with pytest.raises(SmallImageError, match=rf"a\.png is {size[0]}x{size[1]}, smaller than 28x28"):
            read_image(tmp_path / "a.png", replace(SHAPE, upscale=False))
    else:
        read_image(tmp_path / "a.png", replace(SHAPE, upscale=False))


def test_a_photo_taken_sideways_is_measured_as_it_is_seen(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (20, 40)).save(tmp_path / "a.jpg", exif=exif)
    with pytest.raises(SmallImageError, match="is 40x20"):
        read_image(tmp_path / "a.jpg", Shape(1, 30, 30, upscale=False))


def test_the_bytes_of_a_file_are_decoded_like_the_file(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
    write_image(tmp_path / "a.png", pixels)
    content = (tmp_path / "a.png").read_bytes()
    np.testing.assert_array_equal(decode_image(content, "it", SHAPE), read_image(tmp_path / "a.png", SHAPE))
    with pytest.raises(ImageError, match=r"^it cannot be decoded"):
        decode_image(content[:-900], "it", SHAPE)
    with pytest.raises(ImageError, match=r"^it has 100000x100000 pixels; at most 50,000,000"):
        decode_image(png_header(100_000, 100_000), "it", SHAPE)


def test_an_image_keeps_its_own_size_where_none_is_asked_for(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (20, 40)).save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg", Shape(3)).shape == (20, 40, 3)
    assert decode_image((tmp_path / "a.jpg").read_bytes(), "it", Shape(1)).shape == (20, 40, 1)
    assert read_image(tmp_path / "a.jpg", Shape(1, width=5)).shape == (20, 5, 1)


@pytest.mark.parametrize("has", [1, 3])
@pytest.mark.parametrize("wants", [1, 3])
def test_channels_of_pixels_become_those_of_a_decoded_file(tmp_path: Path, has: int, wants: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, has), np.uint8)
    write_image(tmp_path / "a.png", pixels)
    np.testing.assert_array_equal(conform_pixels(pixels, Shape(wants)), read_image(tmp_path / "a.png", Shape(wants)))


def test_files_below_a_folder_are_found_in_sorted_order_without_hidden_ones(tmp_path: Path) -> None:
    for name in ("b.png", "a/z.JPG", "a/b/c.jpeg", ".x.png", ".git/d.png", "e.txt", "a.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert image_files(tmp_path) == ["a.png", "a/b/c.jpeg", "a/z.JPG", "b.png"]
    assert image_files(tmp_path / "none") == []


def test_transparent_pixels_are_black(tmp_path: Path) -> None:
    Image.new("RGBA", (28, 28), (255, 255, 255, 0)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", SHAPE).max() == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not a picture at all", "is not a PNG, JPEG"),
        (b"", "is empty"),
        (b"GIF89a\x01\x00\x01\x00\x00\x00\x00;", "cannot be decoded"),
        (png_header(100_000, 100_000), "at most 50,000,000"),
        (png_header(8_000, 6_300), "at most 50,000,000"),
        (png_header(28, 28), "cannot be decoded"),
    ],
)
def test_bad_files_are_refused_by_name(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.png"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=rf"bad\.png .*{message}"):
        read_image(path, SHAPE)


def test_a_truncated_png_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.png"
    write_image(path, np.random.default_rng(0).integers(0, 255, (64, 64, 1), np.uint8))
    path.write_bytes(path.read_bytes()[:-900])
    with pytest.raises(ImageError, match=r"bad\.png cannot be decoded"):
        read_image(path, SHAPE)


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no file"):
        read_image(tmp_path / "none.png", SHAPE)
    with pytest.raises(ImageError, match="is a folder"):
        read_image(tmp_path, SHAPE)


def test_a_grid_places_images_row_by_row_between_white_lines() -> None:
    images = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 3, 1), np.uint8)
    sheet = grid(images)
    assert sheet.shape == (2 * 3 + 1, 3 * 4 + 1, 1)
    np.testing.assert_array_equal(sheet[1:3, 1:4, 0], 0)
    np.testing.assert_array_equal(sheet[1:3, 9:12, 0], 2)
    np.testing.assert_array_equal(sheet[4:6, 5:8, 0], 4)
    assert (sheet[0] == 255).all()
    assert (sheet[:, 4] == 255).all()
