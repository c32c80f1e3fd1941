"""A JPEG at an eighth of its size, about twice as fast as libjpeg decodes it, which reads what it then drops."""

from __future__ import annotations

from igan_zoo.ops import extension

Plane = tuple[int, int, bytes]


def jpeg_eighth(content: bytes, width: int, height: int) -> tuple[Plane, ...] | None:
    """Returns width, height and pixels of each component of a JPEG file, in rows, each at an eighth of its own size.

    The pixels are those of libjpeg to the bit. None where the extension is not built, and where the file is not 8-bit
    baseline of 1 or 3 components in one scan, is not ``width`` x ``height``, or has anything wrong with it.
    """
    # An extension that was built for an older version has no such function.
    compiled = getattr(extension.kernels, "jpeg_eighth", None)
    planes: tuple[Plane, ...] | None = None if compiled is None else compiled(content, width, height)
    return planes
