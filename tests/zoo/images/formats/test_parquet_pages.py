"""Pages that promise more than they have are refused before pyarrow makes room for them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from igan_zoo.errors import DataError
from igan_zoo.images.formats.parquet import open_parquet
from igan_zoo.images.formats.parquet_pages import check_pages
from igan_zoo.images.stored import read
from tests.zoo.images.test_sources import pictures, png, write_parquet

parquet = pytest.importorskip("pyarrow.parquet", reason="parquet files need the data extra")


def varint(value: int) -> bytes:
    found = b""
    while value >= 0x80:
        found, value = found + bytes([value & 0x7F | 0x80]), value >> 7
    return found + bytes([value])


def test_a_page_that_promises_far_more_than_it_has_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "it.parquet"
    size = 1_500_000
    write_parquet(path, [{"bytes": png(pictures(1)[0]) + bytes(size), "path": None}])
    assert len(read(open_parquet([path], "it"), [0])) == 1
    content = bytearray(path.read_bytes())
    group = parquet.ParquetFile(path).metadata.row_group(0)
    chunks = [group.column(place) for place in range(group.num_columns)]
    (chunk,) = [chunk for chunk in chunks if chunk.path_in_schema == "image.bytes"]
    # The kind of the page, and its size unpacked: four bytes, of which others promise up to 128 MiB.
    at = chunk.dictionary_page_offset + 2
    assert content[at] == 0x15
    content[at + 1 : at + 5] = varint(2 * 134_000_000)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"damaged at image 0: a page of .* bytes promises 134,000,000"):
        read(open_parquet([path], "it"), [0])


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        (b"", "beyond the end"),
        (b"\0", "no sizes"),
        (b"\x15\0\x15\x01\x15\0\0", "no sizes"),
        (b"\x15\0\x15\0\x15\0\0" * 4, "no values"),
        (b"\x15" + b"\xff" * 12, "more than nine bytes"),
        (b"\x1c" * 50, "too deep"),
        (b"\x1d\0", "unknown kind"),
        (b"\x18" + varint(2**40), "too long"),
        (b"\x19\xf8" + varint(2**40), "beyond the end"),
    ],
)
def test_headers_that_are_none_are_refused(header: bytes, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "pages"
    path.write_bytes(header)
    chunk = SimpleNamespace(
        data_page_offset=0, dictionary_page_offset=None, total_compressed_size=len(header) or 1, num_values=2
    )
    with pytest.raises(ValueError, match=sentence):
        check_pages(path, chunk)


def test_every_kind_of_value_in_a_header_is_passed_over(tmp_path: Path) -> None:
    values = [
        b"\x11",  # true
        b"\x13\x07",
        b"\x17" + bytes(8),
        b"\x18\x03abc",
        b"\x19\x25" + b"\x02\x04",  # a list of two numbers
        b"\x1b\x01\x85\x01x\x02",  # a map of one text
        b"\x1c\x15\x02\x00",
    ]
    path = tmp_path / "pages"
    header = b"\x15\0\x15\x06\x15\x06" + b"".join(values) + b"\0"
    path.write_bytes(header + b"abc")
    check_pages(
        path,
        SimpleNamespace(
            data_page_offset=0, dictionary_page_offset=None, total_compressed_size=len(header) + 3, num_values=1
        ),
    )
