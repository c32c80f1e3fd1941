"""The decoder of JPEG photos at an eighth: libjpeg's pixels to the bit, and no answer for a file with a fault."""

from __future__ import annotations

import io
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from igan_zoo.ops import extension
from igan_zoo.ops.jpeg_eighth import jpeg_eighth
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.skipif(
    not hasattr(extension.kernels, "jpeg_eighth"), reason="needs the extension: a C compiler at installation"
)

SIZES = [(333, 241), (64, 48), (8, 8), (17, 1), (1, 30)]
OPTIONS: list[dict[str, Any]] = [
    {"subsampling": 0, "quality": 100},
    {"subsampling": 1, "quality": 30},
    {"subsampling": 2, "optimize": True},
    {"subsampling": 2, "restart_marker_rows": 1},
    {"subsampling": 0, "restart_marker_blocks": 3},
]


def jpeg(width: int, height: int, mode: str = "RGB", **options: Any) -> bytes:
    """A photo with structure and noise, and so with codes of every length."""
    y, x = np.mgrid[0:height, 0:width]
    smooth = np.stack([2 * x, 3 * y, x + y], axis=2) % 256
    noise = np.random.default_rng(0).integers(0, 256, smooth.shape)
    pixels = np.where(((x // 40 + y // 30) % 3 == 0)[..., None], noise, smooth).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, "JPEG", **options)
    return file.getvalue()


def of_libjpeg(content: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(content)) as image:
        image.draft("L", (image.width // 8, image.height // 8))
        image.load()
        return np.asarray(image)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_brightness_is_that_of_libjpeg(size: tuple[int, int], options: dict[str, Any], mode: str) -> None:
    content = jpeg(*size, mode, **options)
    planes = jpeg_eighth(content, *size)
    assert planes is not None
    width, height, pixels = planes[0]
    assert (width, height) == (-(-size[0] // 8), -(-size[1] // 8))
    if min(size) >= 8:  # Pillow decodes smaller ones whole
        np.testing.assert_array_equal(np.frombuffer(pixels, np.uint8).reshape(height, width), of_libjpeg(content))
    halves = {0: (1, 1), 1: (2, 1), 2: (2, 2)}[options["subsampling"]]
    for across, down, color in planes[1:]:
        assert (across, down) == (-(-size[0] // (8 * halves[0])), -(-size[1] // (8 * halves[1])))
        assert len(color) == across * down
    assert len(planes) == len(mode)


def test_what_follows_a_photo_does_not_matter() -> None:
    content = jpeg(64, 48)
    assert jpeg_eighth(content + content, 64, 48) == jpeg_eighth(content, 64, 48)


@pytest.mark.parametrize("restarts", [0, 2])
def test_a_part_of_a_file_is_no_photo(restarts: int) -> None:
    content = jpeg(64, 48, restart_marker_blocks=restarts)
    assert jpeg_eighth(content, 64, 48) is not None
    assert {jpeg_eighth(content[:end], 64, 48) for end in range(len(content))} == {None}
    assert jpeg_eighth(content, 64, 47) is None


@pytest.mark.parametrize("options", [{"progressive": True}, {"mode": "CMYK"}], ids=str)
def test_other_kinds_of_jpeg_are_left_to_libjpeg(options: dict[str, Any]) -> None:
    assert jpeg_eighth(jpeg(64, 48, **options), 64, 48) is None


def test_a_damaged_photo_has_pixels_of_its_size_or_none() -> None:
    draw, contents = random.Random(1), [jpeg(64, 48, **options) for options in OPTIONS]
    answers = 0
    for _ in range(2000):
        content = bytearray(draw.choice(contents))
        for _ in range(draw.choice((1, 2, 8))):
            content[draw.randrange(2, len(content))] = draw.randrange(256)
        planes = jpeg_eighth(bytes(content), 64, 48)
        if planes is not None:
            answers += 1
            assert [len(pixels) for _, _, pixels in planes] == [width * height for width, height, _ in planes]
    assert 0 < answers < 2000


def test_damaged_photos_touch_no_memory_that_is_not_theirs(tmp_path: Path) -> None:
    compiler = shutil.which("gcc") or shutil.which("clang")
    assert compiler is not None, "the extension was compiled by something else"
    source, program = REPOSITORY / "zoo" / "ops" / "csrc", tmp_path / "jpeg_mutations"
    flags = ["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", f"-I{source}"]
    files = [Path(__file__).with_name("jpeg_mutations.c"), source / "jpeg_eighth.c"]
    subprocess.run([compiler, *flags, *files, "-o", program], check=True)
    photos = [tmp_path / f"{number}.jpg" for number in range(len(OPTIONS))]
    for path, options in zip(photos, OPTIONS, strict=True):
        path.write_bytes(jpeg(120, 90, **options))
    ended = subprocess.run([program, "8000", *photos], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    headers, answers = map(int, ended.stdout.split())
    assert headers > 2000
    assert answers > 200
