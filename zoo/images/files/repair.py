"""What remains of a damaged file without the parts that do not matter for its pixels."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from igan_zoo.images.files.kinds import PNG

ORIENTATION = 0x0112
# What a PNG's pixels depend on, and how the camera was held.
_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"eXIf")
# Of JPEG: segments of notes; the one of Adobe (14) says what the colors are.
_NOTES = {*range(0xE0, 0xF0), 0xFE} - {0xEE}
_EXIF, _EXIF_BEGINS = 0xE1, b"Exif\0\0"
_SCAN, _END = 0xDA, b"\xff\xd9"
# Bytes that stand for nothing: where a file that ends with them decodes to the same pixels, none were missing. Of a
# photo at an eighth they are a hundred pixels.
_FILLING = b"\x55" * 4096


def repaired(kind: str | None, content: bytes) -> Iterator[tuple[bytes, ...]]:
    """Yields what may be decoded in place of ``content``: several are one image if all have the same pixels."""
    if kind == "PNG":
        yield (_png_without_notes(content),)
    elif kind == "JPEG":
        plain = _jpeg_without_notes(content)
        if plain != content:
            yield (plain,)
        whole = plain.rstrip(b"\0").rstrip(b"\xff")
        if not whole.endswith(_END):
            yield whole + _END, whole + _FILLING + _END


def noted_orientation(exif: bytes) -> int | None:
    """Returns how the camera was held by an EXIF block, 1 to 8, of which nothing else is read."""
    exif = exif.removeprefix(_EXIF_BEGINS)
    order = {b"II": "<", b"MM": ">"}.get(exif[:2], "<")
    try:
        (at,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, at)
        for place in range(at + 2, at + 2 + 12 * count, 12):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", exif, place)
            if tag == ORIENTATION:
                return int(value)
    except struct.error:
        pass
    return None


def _png_without_notes(content: bytes) -> bytes:
    """Leaves out texts, profiles and other chunks that may be too long or damaged, up to where the chunks end."""
    kept, at = [PNG], len(PNG)
    while at + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        if kind in _CHUNKS:
            kept.append(content[at : at + 12 + length])
        at += 12 + length
    return b"".join(kept)


def _jpeg_without_notes(content: bytes) -> bytes:
    """Leaves out profiles, comments and all of EXIF but the orientation before the first scan."""
    kept, at = [content[:2]], 2
    while at + 4 <= len(content):
        mark, kind, length = struct.unpack_from(">BBH", content, at)
        if mark != 0xFF or kind == _SCAN or length < 2:
            break
        turned = noted_orientation(content[at + 4 : at + 2 + length]) if kind == _EXIF else None
        if turned is not None:
            tags = struct.pack("<4sIHHHIHHI", b"II*\0", 8, 1, ORIENTATION, 3, 1, turned, 0, 0)
            kept.append(struct.pack(">BBH", 0xFF, _EXIF, 8 + len(tags)) + _EXIF_BEGINS + tags)
        elif kind not in _NOTES:
            kept.append(content[at : at + 2 + length])
        at += 2 + length
    return b"".join([*kept, content[at:]])
