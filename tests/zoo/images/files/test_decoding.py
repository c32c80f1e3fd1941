"""Photos as phones, browsers and cameras write them, and files that only claim to be photos."""

from __future__ import annotations

import io
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin, features

from igan_zoo.errors import ImageError
from igan_zoo.images.files import decoding
from igan_zoo.images.files.decoding import decode_image, read_image, turned
from igan_zoo.images.files.kinds import image_format
from igan_zoo.images.pixels import PREVIEW, Shape, quiet_pillow

SMALL = Shape(3, 16, 16)


def photo(width: int = 60, height: int = 40) -> Image.Image:
    """Smooth colors, different in each corner."""
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    bands = [127 + 120 * np.sin(5 * (x * a + y * b)) for a, b in ((1, 0.2), (0.3, 1), (0.7, 0.7))]
    return Image.fromarray(np.stack(bands, axis=2).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def with_exif(jpeg: bytes, *tags: tuple[int, int, int, bytes]) -> bytes:
    """A JPEG with an EXIF block of these tags: number, type, count, four bytes."""
    body = b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(tags))
    body += b"".join(struct.pack("<HHI", tag, kind, count) + value for tag, kind, count, value in sorted(tags)) + bytes(
        4
    )
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


SIDEWAYS = (0x112, 3, 1, struct.pack("<HH", 6, 0))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF"])
def test_the_content_decides_and_not_the_suffix(tmp_path: Path, kind: str) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("needs a Pillow with AVIF")
    content = encoded(photo(), kind)
    assert image_format(content) == kind
    (tmp_path / "a.jpg").write_bytes(content)
    read = read_image(tmp_path / "a.jpg", Shape(3))
    assert read.shape == (40, 60, 3)
    # GIF has 256 colors.
    assert np.abs(read.astype(int) - np.asarray(photo())).mean() < 6


def test_of_several_pictures_the_first_is_taken() -> None:
    pages = [photo(), Image.new("RGB", (60, 40))]
    for kind in ("GIF", "TIFF", "WEBP", "MPO"):
        content = encoded(pages[0], kind, save_all=True, append_images=pages[1:])
        assert np.abs(decode_image(content, "it").astype(int) - np.asarray(photo())).mean() < 6


def test_a_photo_for_a_small_network_is_decoded_at_a_part_of_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encoded(photo(2400, 1600), "JPEG", quality=95)
    whole = photo(2400, 1600).resize((32, 32), Image.Resampling.BILINEAR)
    small = decode_image(content, "it", Shape(3, 32, 32))
    assert np.abs(small.astype(int) - np.asarray(whole)).max() <= 2
    grey = decode_image(content, "it", Shape(1, 32, 32))[..., 0]
    assert np.abs(grey.astype(int) - np.asarray(whole.convert("L"))).max() <= 3
    square = photo(2400, 1600).crop((400, 0, 2000, 1600)).resize((32, 32), Image.Resampling.BILINEAR)
    cropped = decode_image(with_exif(content, SIDEWAYS), "it", Shape(3, 32, 32, crop=True))
    assert np.abs(cropped.astype(int) - np.asarray(square.transpose(Image.Transpose.ROTATE_270))).max() <= 2
    # An eighth of it is below the limit, the whole is not.
    monkeypatch.setattr(decoding, "MAX_DECODED", 100_000)
    assert decode_image(content, "it", Shape(3, 32, 32)).shape == (32, 32, 3)
    for shape in (Shape(3), Shape(3, 400, 400)):
        with pytest.raises(ImageError, match=r"it has .* pixels; at most 100,000 are decoded"):
            decode_image(content, "it", shape)
    # Whoever only looks at it gets as much as may be decoded.
    assert decode_image(content, "it", PREVIEW).shape == (200, 300, 3)
    monkeypatch.setattr(decoding, "MAX_DECODED", 1_000_000)
    assert decode_image(content, "it", PREVIEW).shape == (800, 1200, 3)
    png = encoded(photo(2400, 1600), "PNG")
    with pytest.raises(ImageError, match=r"at most 1,000,000 are decoded: make it smaller, or save it as JPEG\."):
        decode_image(png, "it", Shape(3, 32, 32))
    with pytest.raises(ImageError, match=r"are decoded: make it smaller\."):
        decode_image(png, "it")


@pytest.mark.parametrize("options", [{"subsampling": 0}, {"subsampling": 2}, {"keep_rgb": True}], ids=str)
@pytest.mark.parametrize("turn", [(), (SIDEWAYS,)], ids=["upright", "sideways"])
def test_an_eighth_of_a_photo_looks_as_libjpeg_decodes_it(
    options: dict[str, Any], turn: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = with_exif(encoded(photo(2403, 1606), "JPEG", **options), *turn)
    shapes = (Shape(1, 40, 60), Shape(3, 40, 60), Shape(3, 32, 32, crop=True))
    fast = [decode_image(content, "it", shape).astype(int) for shape in shapes]
    monkeypatch.setattr("igan_zoo.images.files.eighth.jpeg_eighth", lambda *_: None)
    grey, *colors = zip(fast, [decode_image(content, "it", shape) for shape in shapes], strict=True)
    np.testing.assert_array_equal(*grey)
    assert max(np.abs(one - other).max() for one, other in colors) <= 2


@pytest.mark.parametrize("options", [{}, {"restart_marker_rows": 1}], ids=str)
@pytest.mark.parametrize("shape", [Shape(1, 28, 28), Shape(3, 32, 32), Shape(3, 200, 200), PREVIEW], ids=str)
def test_a_large_photo_that_is_cut_off_is_refused_at_any_size(shape: Shape, options: dict[str, Any]) -> None:
    """What is missing may be less than a pixel at the size of the network, and is more at that of the file."""
    content = encoded(photo(2400, 1600), "JPEG", **options)
    np.testing.assert_allclose(decode_image(content[:-2], "it", shape), decode_image(content, "it", shape), atol=2)
    for end in (700, len(content) // 2, len(content) * 9 // 10):
        with pytest.raises(ImageError, match="it cannot be decoded: image file is truncated"):
            decode_image(content[:end], "it", shape)


def test_a_jpeg_in_several_scans_is_limited_by_its_coefficients(monkeypatch: pytest.MonkeyPatch) -> None:
    """libjpeg keeps those of the whole, of which a half for smaller colors."""
    progressive = {
        sampling: encoded(photo(2400, 1600), "JPEG", progressive=True, subsampling=sampling) for sampling in (0, 2)
    }
    baseline = encoded(photo(2400, 1600), "JPEG")
    monkeypatch.setattr(decoding, "MAX_DECODED", 1_000_000)
    monkeypatch.setattr(decoding, "MAX_COEFFICIENTS", 1.5 * 2400 * 1600)
    small = decode_image(progressive[2], "it", Shape(1, 32, 32))
    np.testing.assert_array_equal(small, decode_image(baseline, "it", Shape(1, 32, 32)))
    with pytest.raises(
        ImageError, match="it has 2400x1600 pixels, too many for a progressive JPEG: save it as a baseline"
    ):
        decode_image(progressive[0], "it", Shape(3, 32, 32))
    monkeypatch.setattr(decoding, "MAX_COEFFICIENTS", 1.4 * 2400 * 1600)
    with pytest.raises(ImageError, match="too many for a progressive JPEG"):
        decode_image(in_three_scans(baseline), "it", Shape(3, 32, 32))
    monkeypatch.undo()
    # The larger, the fewer scans: ten of them go over 320 megapixels.
    monkeypatch.setattr(decoding, "MAX_DECODED", 500_000)
    with pytest.raises(ImageError, match="it has 10 scans"):
        decode_image(progressive[2], "it", Shape(3, 32, 32))


def in_three_scans(jpeg: bytes) -> bytes:
    """A JPEG whose first scan says that it has only one of the three components."""
    at = jpeg.rindex(b"\xff\xda\0\x0c\3")
    return jpeg[:at] + b"\xff\xda\0\x08\1" + jpeg[at + 5 : at + 7] + jpeg[at + 11 :]


def test_a_photo_of_200_megapixels_is_read(tmp_path: Path) -> None:
    Image.new("L", (16_320, 12_240), 77).save(tmp_path / "a.jpg")
    assert read_image(tmp_path / "a.jpg", Shape(1, 28, 28)).tolist() == [[[77]] * 28] * 28
    header = encoded(Image.new("L", (8, 8)), "JPEG").replace(
        struct.pack(">HH", 8, 8), struct.pack(">HH", 20_000, 20_000)
    )
    with pytest.raises(ImageError, match="has 20000x20000 pixels"):
        decode_image(header, "it", Shape(1, 28, 28))


def test_a_jpeg_of_very_many_scans_is_refused() -> None:
    content = encoded(photo(), "JPEG", progressive=True)
    assert decode_image(content, "it").shape == (40, 60, 3)
    last = content[content.rindex(b"\xff\xda") : -2]
    with pytest.raises(ImageError, match="it has 110 scans"):
        decode_image(content[:-2] + 100 * last + content[-2:], "it")


def test_images_below_two_megapixels_are_resized_from_the_whole() -> None:
    content = encoded(photo(1200, 900), "JPEG")
    with Image.open(io.BytesIO(content)) as image:
        whole = np.asarray(image.resize((16, 16), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(decode_image(content, "it", SMALL), whole)


@pytest.mark.parametrize(
    "odd",
    [
        (0x100, 11, 1, struct.pack("<f", 1.5)),
        (0x10F, 1, 4, b"Abcd"),
        (0x131, 4, 1, struct.pack("<I", 5)),
        (0x8769, 4, 1, struct.pack("<I", 2**31)),
        (0x8825, 13, 1, struct.pack("<I", 8)),
        (0x11A, 5, 1, struct.pack("<I", 4_000_000)),
    ],
)
def test_a_photo_is_turned_whatever_else_its_camera_noted(odd: tuple[int, int, int, bytes]) -> None:
    content = with_exif(encoded(photo(), "JPEG"), SIDEWAYS, odd)
    assert decode_image(content, "it").shape == (60, 40, 3)
    with quiet_pillow(), Image.open(io.BytesIO(content)) as image:
        assert turned(image).size == (40, 60)


def test_damaged_notes_leave_the_picture_as_it_is() -> None:
    jpeg = encoded(photo(), "JPEG")
    for notes in (b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*" + bytes(20), b"Exif\0\0"):
        content = jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(notes) + 2) + notes + jpeg[2:]
        np.testing.assert_array_equal(decode_image(content, "it"), decode_image(jpeg, "it"))


def test_a_jpeg_without_its_end_is_whole_and_a_truncated_one_is_not() -> None:
    jpeg = encoded(photo(), "JPEG")
    for content in (jpeg[:-2], jpeg[:-1], jpeg[:-2] + bytes(100)):
        np.testing.assert_array_equal(decode_image(content, "it"), decode_image(jpeg, "it"))
    for keep in (len(jpeg) - 10, len(jpeg) - 200, len(jpeg) // 2):
        with pytest.raises(ImageError, match=r"it cannot be decoded: .*(truncated|broken|Truncated)"):
            decode_image(jpeg[:keep], "it")


def test_long_texts_and_damaged_profiles_do_not_lose_a_png() -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("workflow", "x" * 3_000_000, zip=True)
    for options in ({"pnginfo": text}, {"icc_profile": b"x" * 2_000_000}):
        content = encoded(photo(), "PNG", **options)
        np.testing.assert_array_equal(decode_image(content, "it"), np.asarray(photo()))


def test_16_bits_become_8_whatever_the_values_are() -> None:
    for values in ([0, 100, 200, 250], [0, 300, 40_000, 65_535]):
        deep = np.array([values], np.uint16)
        for kind in ("PNG", "TIFF"):
            read = decode_image(encoded(Image.fromarray(deep), kind), "it", Shape(1))
            assert read[0, :, 0].tolist() == [round(value / 257) for value in values]
    with pytest.raises(ImageError, match="has 32 bits per pixel"):
        decode_image(encoded(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF"), "it")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "it is empty"),
        (b"<!DOCTYPE html><html>", "it is a web page, not a PNG"),
        (b"version https://git-lfs.github.com/spec/v1\n", "it is a Git LFS pointer"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "it is a JPEG XL image"),
        (b"II*\0" + bytes(40), "it cannot be decoded"),
        (b"RIFF\x20\0\0\0WEBPVP8 " + bytes(40), "it cannot be decoded"),
    ],
)
def test_what_is_no_image_is_called_what_it_is(content: bytes, sentence: str) -> None:
    with pytest.raises(ImageError, match=sentence):
        decode_image(content, "it")


def test_without_the_extra_a_heic_photo_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImageError, match=r"IMG_1\.HEIC is a HEIC photo: save it as JPEG, or pip install '\.\[heic\]'"):
        decode_image(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "IMG_1.HEIC")


def test_a_heic_photo_is_read_with_the_extra() -> None:
    heif = pytest.importorskip("pillow_heif", reason="HEIC photos need the heic extra")
    file = io.BytesIO()
    heif.from_pillow(photo(64, 48)).save(file, quality=90)
    read = decode_image(file.getvalue(), "it")
    assert read.shape == (48, 64, 3)
    assert np.abs(read.astype(int) - np.asarray(photo(64, 48))).mean() < 6


def test_libtiff_prints_nothing_about_a_damaged_file(capfd: pytest.CaptureFixture[str]) -> None:
    content = encoded(photo(), "TIFF", compression="tiff_lzw")
    with pytest.raises(ImageError, match="it cannot be decoded"), quiet_pillow():
        decode_image(content[:8] + b"\xff" * 40 + content[48:], "it")
    assert capfd.readouterr().err == ""
