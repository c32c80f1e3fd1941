"""Work in threads, ahead of who uses its results."""

from __future__ import annotations

import threading
from itertools import count

import pytest

from igan_zoo.machine.cores import cores
from igan_zoo.machine.threads import map_ahead


@pytest.mark.parametrize("at_once", [1, 3, 100])
@pytest.mark.parametrize("items", [0, 1, 2, 3, 4, 100])
def test_results_come_in_order(items: int, at_once: int) -> None:
    assert list(map_ahead(lambda item: item * item, range(items), at_once=at_once)) == [i * i for i in range(items)]


def test_items_are_taken_no_further_ahead_than_keeps_the_threads_busy() -> None:
    items = count()
    results = map_ahead(str, items, at_once=2)
    assert next(results) == "0"
    assert next(items) == 2 * (2 * cores() + 1)
    results.close()


def test_an_error_comes_where_its_result_would() -> None:
    results = map_ahead(lambda item: 1 // item, [1, 1, 0, 1], at_once=1)
    assert [next(results), next(results)] == [1, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_leaving_early_waits_for_no_thread() -> None:
    """The garbage collector may be what leaves, in a thread that others wait for."""
    go_on, done = threading.Event(), threading.Event()

    def slow(item: int) -> int:
        if item == 1:
            go_on.wait(timeout=60)
            done.set()
        return item

    results = map_ahead(slow, range(500), at_once=1)
    next(results)
    results.close()
    assert not done.is_set()
    go_on.set()
