"""Which files are images: by their names where only names are known, and by how they begin."""

from __future__ import annotations

import re

# How PNG and JPEG files begin, and compressed ones.
PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_COMPRESSIONS = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
# So many bytes say what a file is.
SNIFFED_BYTES = 64

FORMATS = "PNG, JPEG, WebP, TIFF, BMP, GIF or AVIF"
SUFFIXES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".webp", ".tif", ".tiff", ".bmp", ".dib", ".gif"),
    *(".avif", ".heic", ".heif", ".hif"),
)
# Photos and drawings in formats that nothing here reads: a folder of them deserves a word.
_UNREAD = re.compile(
    r"\.(jxl|jp2|j2k|jpx|svgz?|psd|xcf|ico|tga|pcx|p[bgpn]m|eps|exr|hdr|dds|dcm|nii|raw|cr[23]|nef|arw|dng|orf|rw2|raf)$",
    re.IGNORECASE,
)

_MAGIC = {
    PNG: "PNG",
    JPEG: "JPEG",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
}
_BITMAP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
# What is often found under the name of an image.
_OTHERS = {
    b"%PDF": "a PDF file",
    b"8BPS": "a Photoshop file",
    b"\xff\x0a": "a JPEG XL image",
    b"\0\0\0\x0cJXL ": "a JPEG XL image",
    b"\0\0\0\x0cjP  ": "a JPEG 2000 image",
    b"<svg": "an SVG drawing",
    b"<": "a web page",
    b"{": "a JSON file",
}


def image_format(start: bytes) -> str | None:
    """Returns the format of a file that starts like this, in Pillow's words or ``HEIC``, or None."""
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "WEBP"
    if start[4:8] == b"ftyp":
        brands = {start[at : at + 4] for at in range(8, min(len(start), int.from_bytes(start[:4])), 4)}
        return "AVIF" if brands & {b"avif", b"avis"} else "HEIC" if brands & _HEIC_BRANDS else None
    if start[:2] == b"BM":
        return "BMP" if int.from_bytes(start[14:18], "little") in _BITMAP_HEADERS else None
    return next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), None)


def why_no_image(start: bytes) -> str:
    """Returns what is wrong with a file that starts like this and is no image, as the end of a sentence."""
    if not start:
        return "is empty"
    if start.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the image; run git lfs pull"
    kind = next((name for magic, name in _OTHERS.items() if start.lstrip().startswith(magic)), "")
    return f"is {kind}, not a {FORMATS} image" if kind else f"is not a {FORMATS} image"


def is_image_name(name: str) -> bool:
    """Returns whether a path, with ``/`` between, is named like an image and not hidden."""
    last = name.rpartition("/")[2]
    return last.lower().endswith(SUFFIXES) and not last.startswith(".")


def is_unread_image_name(name: str) -> bool:
    """Returns whether a path is named like an image in an unsupported format."""
    return _UNREAD.search(name) is not None


def compression_of(start: bytes) -> str | None:
    """Returns what a file that starts like this is compressed with, if anything."""
    return next((name for magic, name in _COMPRESSIONS.items() if start.startswith(magic)), None)
