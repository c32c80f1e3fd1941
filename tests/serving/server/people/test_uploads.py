"""What counts as an upload of images, in pieces of any size, and what is refused before anything is decoded."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import io
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igan_zoo.errors import ImageError
from igan_zoo.images.folders.source import open_folder
from igan_zoo.images.pixels import encode_png
from igan_zoo.serving.server.errors import UploadError, UploadSizeError
from igan_zoo.serving.server.middleware.shares import Room
from igan_zoo.serving.server.people.uploads.body import Body
from igan_zoo.serving.server.people.uploads.receiving import UploadLimits, receive

LIMITS = UploadLimits(files=100, file_bytes=10_000, room=Room(2**30))
FORM = "multipart/form-data; boundary=seam"


def png(value: int = 7) -> bytes:
    file = io.BytesIO()
    encode_png(file, np.full((3, 4, 1), value, np.uint8))
    return file.getvalue()


def pieces(content: bytes, size: int) -> Iterable[bytes]:
    return (content[start : start + size] for start in range(0, len(content), size))


def uploaded(
    content: bytes, content_type: str = "", *, limits: UploadLimits = LIMITS, size: int = 2**16
) -> tuple[str, list[tuple[str, bytes | str]], str]:
    """The kind of a body, names and contents of its images (errors as sentences), and its sum."""

    async def chunks() -> AsyncIterator[bytes]:
        for piece in pieces(content, size):
            yield piece

    async def gather() -> tuple[str, list[tuple[str, bytes | str]], str]:
        body = Body(chunks())
        found = await receive(body, content_type, limits)
        images = [(image.name, image.content) async for image in found.images]
        listed = [(name, str(what) if isinstance(what, ImageError) else what) for name, what in images]
        return found.kind, listed, found.fingerprint()  # type: ignore[return-value]

    return asyncio.run(gather())


def tar(files: Iterable[tuple[str, bytes]], form: int = tarfile.PAX_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def zipped(files: Iterable[tuple[str, bytes]], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", how) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return file.getvalue()


def form(files: Iterable[tuple[str, bytes]]) -> bytes:
    parts = [
        f'--seam\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode() + content + b"\r\n"
        for name, content in files
    ]
    return b"".join(parts) + b"--seam--\r\n"


FILES = [("a.png", png(1)), ("deep/" * 40 + "b.jpeg", b"anything"), ("größe.PNG", png(3)), ("empty.png", b"")]
MAKERS: dict[str, Callable[[], bytes]] = {
    "pax": lambda: tar(FILES, tarfile.PAX_FORMAT),
    "gnu": lambda: tar(FILES, tarfile.GNU_FORMAT),
    "zip": lambda: zipped(FILES),
    "stored zip": lambda: zipped(FILES, zipfile.ZIP_STORED),
    "form": lambda: form(FILES),
}


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("size", [1, 511, 512, 2**16])
def test_every_kind_gives_names_and_contents_in_order_in_pieces_of_any_size(maker: str, size: int) -> None:
    content = MAKERS[maker]()
    _, images, sha256 = uploaded(content, FORM if maker == "form" else "", size=size)
    assert images == FILES
    if maker != "form":
        assert sha256 == hashlib.sha256(content).hexdigest()


def test_the_fingerprint_of_a_form_is_that_of_a_folder_of_the_same_files(tmp_path: Path) -> None:
    files = [("a.png", png(1)), ("b.png", png(2))]
    for name, content in files:
        (tmp_path / name).write_bytes(content)
    assert uploaded(form(files), FORM)[2] == open_folder(tmp_path).fingerprint()


def test_an_image_may_be_the_body_itself() -> None:
    assert uploaded(png(), "application/x-www-form-urlencoded") == (
        "image",
        [("The image", png())],
        hashlib.sha256(png()).hexdigest(),
    )


def test_what_is_no_image_in_an_archive_is_passed_over() -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, kind in (("folder.png", tarfile.DIRTYPE), ("to.png", tarfile.SYMTYPE), ("dev.png", tarfile.CHRTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
        for name in ("notes.txt", ".hidden.png", "good.png"):
            member = tarfile.TarInfo(name)
            member.size = 600
            archive.addfile(member, io.BytesIO(b"x" * 600))
    assert uploaded(file.getvalue())[1] == [("good.png", b"x" * 600)]
    assert uploaded(zipped([("notes.txt", b"x"), (".hidden.png", b"x"), ("good.png", b"y")]))[1] == [("good.png", b"y")]


@pytest.mark.parametrize("maker", [tar, zipped, form])
def test_a_file_that_is_too_large_is_an_error_of_its_own(maker: Callable[..., bytes]) -> None:
    content = maker([("big.png", bytes(20_000)), ("good.png", b"y")])
    assert uploaded(content, FORM if maker is form else "")[1] == [
        ("big.png", "big.png has more than 10,000 bytes; make it smaller first."),
        ("good.png", b"y"),
    ]


@pytest.mark.parametrize("maker", [tar, zipped, form])
def test_more_files_than_are_taken_are_refused(maker: Callable[..., bytes]) -> None:
    content = maker((f"{index}.png", b"x") for index in range(101))
    with pytest.raises(UploadSizeError, match="more than 100 files"):
        uploaded(content, FORM if maker is form else "")


@pytest.mark.parametrize(
    ("content", "content_type", "sentence"),
    [
        (b"", "", "The body is empty"),
        (b"%!PS-Adobe", "image/png", "not a PNG, JPEG, WebP, TIFF, BMP, GIF or AVIF image, a multipart form"),
        (gzip.compress(tar(FILES)), "", "compressed with gzip"),
        (b"x", "multipart/form-data", "without a boundary"),
        (b"nothing of the kind", FORM, "not a multipart form, as its Content-Type says"),
        (form(FILES)[:-10], FORM, "is truncated"),
        (b"x\r\n" + form(FILES), FORM, "not a multipart form, as its Content-Type says"),
        (tar(FILES)[:530], "", "truncated inside a.png"),
        (tar(FILES)[:1024], "", "truncated: it has no end mark"),
        (tar(FILES)[:1024] + b"x" * 512, "", "is damaged"),
        (zipped(FILES)[:-30], "", "not a complete zip archive"),
        (b"PK\x03\x04" + bytes(100), "", "not a complete zip archive"),
    ],
)
def test_a_body_that_is_not_whole_is_refused_in_one_sentence(content: bytes, content_type: str, sentence: str) -> None:
    with pytest.raises(UploadError, match=sentence) as refused:
        uploaded(content, content_type)
    assert "\n" not in str(refused.value)


def header(name: str, size: int, kind: bytes) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    return member.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (header("x", 2**30, tarfile.XHDTYPE), "a record of 1,073,741,824 bytes"),
        (header("x", 2**30, tarfile.GNUTYPE_LONGNAME), "a record of 1,073,741,824 bytes"),
        (header("x", 10, tarfile.XHDTYPE) + b"99 path=a\n" + bytes(502), "a record's length is wrong"),
        (header("x", 13, tarfile.XHDTYPE) + b"13 size=-123\n" + bytes(499) + header("y", 0, b"0"), "is not a number"),
        (header("x", 24, tarfile.XHDTYPE) + b"24 GNU.sparse.major=12345"[:24] + bytes(488), "stored sparsely"),
        (header("x.png", 10, tarfile.GNUTYPE_SPARSE), "stored sparsely"),
        (header("x.png", 2**60, b"0"), "truncated inside x.png"),
    ],
)
def test_hostile_tar_headers_are_refused(content: bytes, sentence: str) -> None:
    with pytest.raises(UploadError, match=sentence):
        uploaded(content)


def test_a_zip_bomb_is_unpacked_no_further_than_a_file_may_be_large() -> None:
    bomb = zipped([("bomb.png", bytes(50_000_000)), ("good.png", b"y")])
    assert len(bomb) < 60_000
    tracemalloc.start()
    try:
        images = uploaded(bomb)[1]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [name for name, _ in images] == ["bomb.png", "good.png"]
    assert "more than 10,000 bytes" in str(images[0][1])
    assert peak < 2**21


def test_files_that_lie_over_each_other_in_a_zip_archive_unpack_no_further_than_is_plausible(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("igan_zoo.serving.server.people.uploads.archives._UNPACKED_BYTES", 20_000)
    assert len(uploaded(zipped((f"{index}.png", bytes(9_000)) for index in range(2)))[1]) == 2
    with pytest.raises(UploadSizeError, match="unpacks to far more than its own size"):
        uploaded(zipped((f"{index}.png", bytes(9_000)) for index in range(20)))
    with pytest.raises(UploadSizeError, match="unpacks to far more than its own size"):
        uploaded(zipped((f"{index}.png", bytes(90_000)) for index in range(20)))


def test_a_zip_archive_with_a_great_many_entries_is_refused() -> None:
    with pytest.raises(UploadSizeError, match="1,201 entries"):
        uploaded(zipped([(f"{index}", b"") for index in range(1_201)]))
    table = bytes(5 * 2**20)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(table), 4, 0)
    with pytest.raises(UploadSizeError, match="table of contents"):
        uploaded(b"PK\x03\x04" + table + end)


def test_an_encrypted_or_damaged_member_is_named() -> None:
    locked = bytearray(zipped([("a.png", b"x")]))
    for magic, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        locked[locked.index(magic) + at] |= 1
    with pytest.raises(UploadError, match=r"a\.png is encrypted"):
        uploaded(bytes(locked))
    damaged = zipped([("a.png", png()), ("b.png", b"y")], zipfile.ZIP_STORED).replace(b"IHDR", b"IHDX", 1)
    assert "a.png cannot be unpacked" in str(uploaded(damaged)[1][0][1])


def test_text_fields_of_a_form_are_passed_over_up_to_a_limit() -> None:
    field = b'--seam\r\nContent-Disposition: form-data; name="f"\r\n\r\nvalue\r\n'
    assert uploaded(field * 100 + form(FILES), FORM)[1] == FILES
    with pytest.raises(UploadSizeError, match="more than 100 fields"):
        uploaded(field * 101 + form(FILES), FORM)


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_damage_anywhere_gives_images_or_an_upload_error(data: st.DataObject) -> None:
    content = bytearray(MAKERS[maker := data.draw(st.sampled_from(sorted(MAKERS)))]())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(content[: data.draw(st.integers(0, len(content)))])
    with contextlib.suppress(UploadError):
        uploaded(cut, FORM if maker == "form" else "", size=data.draw(st.sampled_from([7, 512, 4096])))
