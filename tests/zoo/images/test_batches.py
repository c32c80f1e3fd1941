"""Batches of one size from images of any sizes: every image once, the same batches after a restart, bounded memory."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from igan_zoo.errors import DataError, ImageError
from igan_zoo.images import batches as image_batches
from igan_zoo.images.batches import Batch, ImageBatches, Skipped, decode_ahead, decode_plainly
from igan_zoo.images.pixels import Shape, write_image
from igan_zoo.images.sources import open_source
from igan_zoo.images.stored import StoredImage


@dataclass
class Invented:
    """Image ``i`` is ``sizes[i]`` pixels high and holds ``i``; size 0 does not decode."""

    sizes: Sequence[int]
    encoded: bool = False
    reference: str = "invented"
    fetched: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.sizes)

    def name(self, index: int) -> str:
        return str(index)

    def fetch(self, indices: Sequence[int]) -> list[StoredImage]:
        self.fetched += indices
        return [StoredImage(str(index), self.content(index)) for index in indices]

    def content(self, index: int) -> NDArray[np.uint8] | ImageError:
        if self.sizes[index] == 0:
            return ImageError(f"{index} is bad.")
        return np.full((self.sizes[index], 2, 1), index % 256, np.uint8)

    def fingerprint(self) -> str:
        return ""


def run(source: Invented, order: Sequence[int], **options: int) -> tuple[list[Batch], ImageBatches]:
    batches = ImageBatches(source, order, shape=Shape(1), **options)  # type: ignore[arg-type]
    return list(batches), batches


def same(one: Sequence[Batch], other: Sequence[Batch]) -> bool:
    return len(one) == len(other) and all(
        np.array_equal(a.indices, b.indices) and np.array_equal(a.images, b.images)
        for a, b in zip(one, other, strict=True)
    )


orders = st.lists(st.sampled_from([0, 1, 1, 1, 2, 3, 4]), min_size=1, max_size=80).flatmap(
    lambda sizes: st.tuples(st.just(sizes), st.permutations(range(len(sizes))))
)


@settings(deadline=None)
@given(orders, st.integers(1, 9))
def test_every_image_comes_once_at_its_own_size_or_is_skipped(case: tuple[list[int], list[int]], size: int) -> None:
    sizes, order = case
    source = Invented([1, *sizes])
    answers, batches = run(source, [0, *(index + 1 for index in order)], batch_size=size)
    seen = [index for batch in answers for index in batch.indices.tolist()]
    bad = [skipped.index for skipped in batches.skipped]
    assert sorted(seen + bad) == list(range(len(source)))
    assert all(source.sizes[index] == 0 for index in bad)
    assert batches.done == len(source)
    for batch in answers:
        assert 0 < len(batch) <= size
        for index, image in zip(batch.indices.tolist(), batch.images, strict=True):
            np.testing.assert_array_equal(image, source.content(index))


@settings(deadline=None)
@given(orders, st.integers(1, 5), st.data())
def test_going_on_from_any_point_that_is_done_gives_the_same_batches(
    case: tuple[list[int], list[int]], size: int, data: st.DataObject
) -> None:
    sizes, order = case
    source = Invented([*sizes, 1])
    order = [*order, len(sizes)]
    whole, finished = run(source, order, batch_size=size)
    stop = data.draw(st.integers(0, len(whole) - 1))
    first = ImageBatches(source, order, batch_size=size, shape=Shape(1))
    kept: list[Batch] = []
    committed, done, skipped = 0, 0, list[Skipped]()
    for number, batch in enumerate(first):
        kept.append(batch)
        if first.done > done:
            committed, done, skipped = len(kept), first.done, list(first.skipped)
        if number == stop:
            break
    rest, second = run(source, order, batch_size=size, start=done)
    assert same(kept[:committed] + rest, whole)
    assert skipped + second.skipped == finished.skipped


def test_images_of_one_size_are_finished_batch_by_batch_in_order() -> None:
    source = Invented([3] * 25)
    batches = ImageBatches(source, range(25), batch_size=10)
    progress = [(batch.indices.tolist(), batches.done) for batch in batches]
    assert progress == [
        (list(range(10)), 10),
        (list(range(10, 20)), 20),
        (list(range(20, 25)), 25),
    ]


def test_an_image_of_a_rare_size_waits_for_no_more_than_eight_batches_of_others() -> None:
    source = Invented([1, *([2, 3] * 500)])
    batches = ImageBatches(source, range(len(source)), batch_size=5, shape=Shape(1))
    for _ in batches:
        if batches.done:
            break
    assert batches.done == 8 * 5


def test_no_more_than_so_many_bytes_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_batches, "_BYTES_WAITING", 40)
    answers, _ = run(Invented([4, 5, 6, 7, 8, 9]), range(6), batch_size=10)
    # 8 + 10 + 12 + 14 bytes reach the bound.
    assert [batch.indices.tolist() for batch in answers] == [[0], [1], [2], [3], [4], [5]]
    batches = ImageBatches(Invented([4, 5, 6, 7, 8, 9]), range(6), batch_size=10, shape=Shape(1))
    assert [batches.done for _ in batches] == [0, 0, 0, 4, 4, 6]


@pytest.mark.parametrize("encoded", [True, False])
@pytest.mark.parametrize("threads", [1, 3])
def test_decoding_ahead_gives_what_decoding_plainly_gives(encoded: bool, threads: int) -> None:
    source = Invented([index % 4 for index in range(300)], encoded)
    order = np.random.default_rng(0).permutation(300)
    plain = list(decode_plainly(source, order))
    ahead = list(decode_ahead(source, order, threads=threads))
    assert [index for index, _ in ahead] == [index for index, _ in plain] == order.tolist()
    for (_, one), (_, other) in zip(plain, ahead, strict=True):
        if isinstance(one, ImageError):
            assert str(one) == str(other)
        else:
            assert one.shape[2] == 3
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("encoded", [True, False])
def test_little_is_fetched_ahead_of_what_is_asked_for(encoded: bool) -> None:
    source = Invented([2] * 10_000, encoded)
    stream = decode_ahead(source, range(10_000), threads=2)
    for _ in range(50):
        next(stream)
    stream.close()
    assert source.fetched == list(range(len(source.fetched)))
    assert len(source.fetched) <= 50 + (5 * 8 if encoded else 4 * 100)


def test_leaving_the_loop_ends_the_threads() -> None:
    before = set(threading.enumerate())
    for _ in ImageBatches(Invented([2] * 1000, encoded=True), range(1000), batch_size=3):
        break
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=60)
        assert not thread.is_alive()


def test_leaving_the_loop_waits_for_no_thread() -> None:
    """The garbage collector may be what leaves it, in a thread that others wait for."""
    go_on = threading.Event()

    class Slow(Invented):
        def fetch(self, indices: Sequence[int]) -> list[StoredImage]:
            if 20 in indices:
                go_on.wait(timeout=60)
            return super().fetch(indices)

    source = Slow([2] * 1000, encoded=True)
    stream = decode_ahead(source, range(1000), threads=2)
    next(stream)
    stream.close()
    assert 20 not in source.fetched
    go_on.set()


def test_a_source_that_breaks_says_so_in_the_loop() -> None:
    class Broken(Invented):
        def fetch(self, indices: Sequence[int]) -> list[StoredImage]:
            if 20 in indices:
                raise DataError("It broke.")
            return super().fetch(indices)

    for encoded in (True, False):
        with pytest.raises(DataError, match=r"It broke\."):
            run(Broken([2] * 30, encoded), range(30), batch_size=4)


def folder_with_bad_files(root: Path) -> Path:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    root.mkdir()
    for name in "abde":
        write_image(root / f"{name}.png", image)
    (root / "c.png").write_bytes(b"not an image")
    (root / "f.png").write_bytes((root / "e.png").read_bytes()[:-900])
    return root


def test_images_that_do_not_decode_are_named_and_counted(tmp_path: Path) -> None:
    source = open_source(str(folder_with_bad_files(tmp_path / "it")))
    batches = ImageBatches(source, range(6), batch_size=10)
    (batch,) = batches
    assert batch.indices.tolist() == [0, 1, 3, 4]
    assert [skipped.index for skipped in batches.skipped] == [2, 5]
    assert "c.png is not a PNG, JPEG, WebP, TIFF, BMP, GIF or AVIF image" in batches.skipped[0].reason
    assert "f.png cannot be decoded" in batches.skipped[1].reason


def test_the_first_image_that_does_not_decode_is_an_error_when_strict(tmp_path: Path) -> None:
    source = open_source(str(folder_with_bad_files(tmp_path / "it")))
    with pytest.raises(ImageError, match=r"c\.png is not a PNG"):
        list(ImageBatches(source, range(6), batch_size=10, strict=True))


def test_a_source_of_which_nothing_decodes_is_an_error_but_a_part_of_one_is_not() -> None:
    with pytest.raises(DataError, match=r"None of the 3 images of invented can be used: 0 is bad\."):
        run(Invented([0, 0, 0]), range(3), batch_size=2)
    answers, batches = run(Invented([0, 0, 1]), [0, 1], batch_size=2)
    assert answers == []
    assert (len(batches.skipped), batches.done) == (2, 2)
    assert run(Invented([1, 1]), [], batch_size=2)[0] == []
