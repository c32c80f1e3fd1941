"""Decodes mutated image files of every format: none may raise another error than ours, or take 5 CPU seconds or 1 GiB.

    python benchmarks/damaged_images.py --count 30000 --seed 0

The same seed makes the same files. A file that breaks a promise is kept in --keep, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import collections
import faulthandler
import io
import random
import resource
import struct
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin, features

from igan_zoo.errors import ImageError
from igan_zoo.images.files.decoding import decode_image
from igan_zoo.images.pixels import Shape, quiet_pillow

SHAPES = (Shape(3, 32, 32), Shape(1, 28, 28, crop=True), Shape(3), Shape(3, as_stored=True))
SECONDS, MEBIBYTES = 5.0, 1024
SPECIAL = (
    b"\0",
    b"\xff",
    b"\x7f\xff\xff\xff",
    b"\x80\0\0\0",
    b"\xff" * 8,
    b"\0" * 8,
    b"\xff\xd9",
    b"\xff\xda",
    b"IDAT",
)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.copy().save(file, kind, **options)
    return file.getvalue()


def camera_notes() -> bytes:
    """EXIF with tags of every type, a thumbnail's directory and an orientation."""
    notes = Image.Exif()
    notes.update({0x112: 6, 0x10F: "maker", 0x11A: 72.5, 0x132: "2026:01:01 00:00:00", 0x8298: b"bytes"})
    notes.get_ifd(0x8769).update({0x9000: b"0232", 0x829A: 0.01, 0x9286: b"a comment", 0xA002: 4000})
    notes.get_ifd(0x8825).update({1: "N", 2: (1.0, 2.0, 3.0)})
    return notes.tobytes()


def whole_files() -> list[bytes]:
    """One small file for each format and kind of pixels."""
    y, x = np.mgrid[0:40, 0:60]
    image = Image.fromarray(np.stack([4 * x, 6 * y, x * y % 251], axis=2).astype(np.uint8))
    notes, other, grey = camera_notes(), image.rotate(90), Image.fromarray((x * 700).astype(np.uint16))
    text = PngImagePlugin.PngInfo()
    text.add_text("words", "x" * 500, zip=True)
    files = [
        *(
            encoded(image.convert(mode), "PNG", pnginfo=text, exif=notes)
            for mode in ("RGB", "RGBA", "L", "LA", "P", "1")
        ),
        *(encoded(image, "JPEG", exif=notes, **options) for options in ({}, {"progressive": True}, {"quality": 20})),
        *(encoded(image.convert(mode), "JPEG") for mode in ("L", "CMYK")),
        *(encoded(image, "WEBP", exif=notes, lossless=lossless) for lossless in (False, True)),
        *(
            encoded(image, "TIFF", compression=packed)
            for packed in ("raw", "tiff_lzw", "jpeg", "tiff_deflate", "packbits")
        ),
        *(encoded(grey, kind) for kind in ("PNG", "TIFF")),
        *(encoded(image.convert(mode), "BMP") for mode in ("RGB", "P", "1")),
        *(
            encoded(image, kind, save_all=True, append_images=[other.copy()])
            for kind in ("GIF", "WEBP", "MPO", "TIFF", "PNG")
        ),
    ]
    if features.check("avif"):
        files.append(encoded(image, "AVIF", exif=notes))
    try:
        import pillow_heif
    except ImportError:
        return files
    file = io.BytesIO()
    pillow_heif.from_pillow(image).save(file, exif=notes)
    return [*files, file.getvalue()]


def mutated(content: bytes, draw: random.Random, others: list[bytes]) -> bytes:
    """A file with bytes changed, put in, left out, taken from another file or cut off; half of them near the start."""
    result = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 4, 16))):
        end = len(result) if draw.random() < 0.5 else min(300, len(result))
        at = draw.randrange(end + 1)
        kind = draw.randrange(5)
        if kind == 0 and at < len(result):
            result[at] ^= 1 << draw.randrange(8)
        elif kind == 1:
            piece = draw.choice(SPECIAL)
            result[at : at + len(piece)] = piece
        elif kind == 2:
            result[at:at] = draw.randbytes(draw.randrange(1, 9))
        elif kind == 3:
            del result[at : at + draw.randrange(1, 9)]
        else:
            other = draw.choice(others)
            start = draw.randrange(len(other))
            result[at : at + 16] = other[start : start + 16]
    if draw.random() < 0.1:
        del result[draw.randrange(len(result) + 1) :]
    changed = bytes(result)
    return with_sums(changed) if changed.startswith(b"\x89PNG") and draw.random() < 0.5 else changed


def with_sums(png: bytes) -> bytes:
    """A PNG whose chunks have the right checksums, so that what is inside them is looked at."""
    parts, at = [png[:8]], 8
    while at + 12 <= len(png):
        (length,) = struct.unpack_from(">I", png, at)
        body = png[at + 4 : at + 8 + length]
        parts.append(png[at : at + 4] + body + struct.pack(">I", zlib.crc32(body)))
        at += 12 + length
    return b"".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=30_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("build/damaged"))
    arguments = parser.parse_args()
    files, draw = whole_files(), random.Random(arguments.seed)  # noqa: S311 - the files need not be a secret
    outcomes: collections.Counter[str] = collections.Counter()
    slowest = 0.0
    for number in range(arguments.count):
        content = mutated(draw.choice(files), draw, files)
        began = time.process_time()
        # Code in C that never comes back is ended with a traceback.
        faulthandler.dump_traceback_later(300, exit=True)
        try:
            with quiet_pillow():
                decode_image(content, "it", draw.choice(SHAPES))
            outcome = "decoded"
        except ImageError:
            outcome = "refused"
        except Exception as error:
            outcome = f"uncaught {type(error).__name__}"
        seconds = time.process_time() - began
        slowest = max(slowest, seconds)
        outcomes[outcome] += 1
        if outcome.startswith("uncaught") or seconds > SECONDS:
            arguments.keep.mkdir(parents=True, exist_ok=True)
            (arguments.keep / f"{arguments.seed}-{number}").write_bytes(content)
    faulthandler.cancel_dump_traceback_later()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{arguments.count} files: {', '.join(f'{count} {outcome}' for outcome, count in outcomes.most_common())}")
    print(f"the slowest took {slowest:.2f} s of CPU time; at most {memory:.0f} MiB")
    bad = any(outcome.startswith("uncaught") for outcome in outcomes)
    sys.exit(bad or slowest > SECONDS or memory > MEBIBYTES)


if __name__ == "__main__":
    main()
