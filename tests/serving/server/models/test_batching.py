"""The dynamic batcher: what runs together, what waits, what is refused."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from igan_zoo.errors import InterfaceError
from igan_zoo.serving.server.errors import DeadlineError, QueueFullError
from igan_zoo.serving.server.models.batching import Arrays, BatchLimits, DynamicBatcher, Waiting, run_together


class Model:
    """Doubles its input, remembers its batches, and runs only while it may."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.running = threading.Event()
        self.may_run = threading.Event()
        self.may_run.set()

    def __call__(self, inputs: Arrays) -> Arrays:
        self.running.set()
        self.may_run.wait(10)
        x = inputs["x"]
        self.batches.append(len(x))
        if (x == 13).any():
            raise InterfaceError("Thirteen.")
        return {"y": 2 * x}


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as threads:
        yield threads


def limits(**changes: Any) -> BatchLimits:
    return BatchLimits(**{"max_batch": 8, "max_wait": 0.02, "queue": 100, "deadline": 5.0, **changes})


def rows(*values: float) -> Arrays:
    return {"x": np.array(values)}


def run(body: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(body(), 20))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def test_requests_that_wait_run_together_and_each_gets_its_rows(model: Model, pool: ThreadPoolExecutor) -> None:
    async def body() -> None:
        batcher = DynamicBatcher(model, limits(), pool)
        model.may_run.clear()
        first = asyncio.ensure_future(batcher.run(rows(0), 1))
        await until(model.running.is_set)
        others = [asyncio.ensure_future(batcher.run(rows(i, i + 0.5), 2)) for i in range(1, 4)]
        await until(lambda: batcher.depth == 3)
        model.may_run.set()
        answers = await asyncio.gather(first, *others)
        assert [answer["y"].tolist() for answer in answers] == [[0], [2, 3], [4, 5], [6, 7]]
        assert model.batches == [1, 6]

    run(body)


def test_a_lone_request_runs_at_once(model: Model, pool: ThreadPoolExecutor) -> None:
    async def body() -> None:
        batcher = DynamicBatcher(model, limits(max_wait=100.0), pool)
        for _ in range(3):
            await batcher.run(rows(1), 1)

    run(body)


def test_a_batch_never_has_more_rows_than_allowed(model: Model, pool: ThreadPoolExecutor) -> None:
    async def body() -> None:
        batcher = DynamicBatcher(model, limits(max_batch=4), pool)
        await asyncio.gather(*(batcher.run(rows(1, 2, 3), 3) for _ in range(5)))
        assert model.batches == [3] * 5

    run(body)


def test_only_requests_of_one_key_run_together(model: Model, pool: ThreadPoolExecutor) -> None:
    async def body() -> None:
        batcher = DynamicBatcher(model, limits(), pool)
        model.may_run.clear()
        first = asyncio.ensure_future(batcher.run(rows(0), 1, key=0))
        await until(model.running.is_set)
        waiting = [asyncio.ensure_future(batcher.run(rows(i), 1, key=i % 2)) for i in range(1, 5)]
        await until(lambda: batcher.depth == 4)
        model.may_run.set()
        answers = await asyncio.gather(first, *waiting)
        assert [answer["y"].tolist() for answer in answers] == [[0], [2], [4], [6], [8]]
        assert model.batches == [1, 2, 2]

    run(body)


def test_a_full_queue_refuses(model: Model, pool: ThreadPoolExecutor) -> None:
    async def body() -> None:
        batcher = DynamicBatcher(model, limits(queue=2), pool)
        model.may_run.clear()
        waiting = [asyncio.ensure_future(batcher.run(rows(0), 1))]
        await until(model.running.is_set)
        waiting += [asyncio.ensure_future(batcher.run(rows(i), 1)) for i in range(1, 3)]
        await until(lambda: batcher.depth == 2)
        with pytest.raises(QueueFullError, match="of 2 requests, is full"):
            await batcher.run(rows(9), 1)
        model.may_run.set()
        await asyncio.gather(*waiting)

    run(body)


def test_a_request_whose_time_is_over_is_told_while_another_one_still_runs(
    model: Model, pool: ThreadPoolExecutor
) -> None:
    async def body() -> None:
        batcher = DynamicBatcher(model, limits(), pool)
        model.may_run.clear()
        first = asyncio.ensure_future(batcher.run(rows(1), 1))
        await until(model.running.is_set)
        patient = asyncio.ensure_future(batcher.run(rows(2), 1))
        with pytest.raises(DeadlineError, match=r"waited 0\.02 seconds"):
            await batcher.run(rows(3), 1, deadline=0.02)
        assert not first.done()
        model.may_run.set()
        assert (await first)["y"].tolist() == [2]
        assert (await patient)["y"].tolist() == [4]
        assert model.batches == [1, 1]

    run(body)


def test_a_request_that_was_cancelled_is_not_run(model: Model, pool: ThreadPoolExecutor) -> None:
    async def body() -> None:
        batcher = DynamicBatcher(model, limits(), pool)
        model.may_run.clear()
        first = asyncio.ensure_future(batcher.run(rows(1), 1))
        await until(model.running.is_set)
        gone, stays = (asyncio.ensure_future(batcher.run(rows(i), 1)) for i in (2, 3))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        assert batcher.depth == 1
        model.may_run.set()
        await first
        assert (await stays)["y"].tolist() == [6]
        assert model.batches == [1, 1]

    run(body)


def test_after_full_batches_the_first_of_the_next_waits_for_others_but_not_for_ever(
    model: Model, pool: ThreadPoolExecutor
) -> None:
    async def body() -> None:
        batcher = DynamicBatcher(model, limits(max_wait=0.05), pool)
        await batcher.run(rows(*range(4)), 4)
        pair = [asyncio.ensure_future(batcher.run(rows(i), 1)) for i in range(2)]
        await asyncio.gather(*pair)
        await batcher.run(rows(5), 1)
        assert model.batches == [4, 2, 1]

    run(body)


def test_short_batches_run_in_the_event_loop_one_in_a_turn(model: Model, pool: ThreadPoolExecutor) -> None:
    async def body() -> None:
        threads = []

        def remember(inputs: Arrays) -> Arrays:
            threads.append(threading.current_thread())
            return model(inputs)

        batcher = DynamicBatcher(remember, limits(max_batch=1, queue=2000, at_once=10.0), pool)
        answers = await asyncio.gather(*(batcher.run(rows(i), 1) for i in range(14, 1514)))
        assert [answer["y"].tolist() for answer in answers] == [[2 * i] for i in range(14, 1514)]
        assert threads[0] is not threading.main_thread()
        assert set(threads[1:]) == {threading.main_thread()}

    run(body)


def test_what_one_request_holds_fails_no_other(model: Model) -> None:
    results = run_together(model, [waiting(1), waiting(13), waiting(2, 3)])
    assert isinstance(results[1], InterfaceError)
    assert [result["y"].tolist() for result in (results[0], results[2]) if isinstance(result, dict)] == [[2], [4, 6]]


@pytest.mark.parametrize("counts", [(1,), (3,), (1, 1, 1), (2, 1, 3)])
@pytest.mark.parametrize("forms", [(("b", "a"),), (("b", "a"), ()), (("a",), ("b",)), (("a", "b", "c"),)])
def test_outputs_are_packed_as_each_request_asks(counts: tuple[int, ...], forms: tuple[tuple[str, ...], ...]) -> None:
    def several(inputs: Arrays) -> Arrays:
        x = inputs["x"]
        return {
            "a": x * 2,
            "b": np.repeat(x[:, None], 5, 1).astype(np.float32),
            "c": np.zeros((len(x), 2, 3), np.uint8),
        }

    batch = [waiting(*range(count), packed=forms[index % len(forms)]) for index, count in enumerate(counts)]
    for one, result in zip(batch, run_together(several, batch), strict=True):
        expected = several(one.inputs)
        if one.packed:
            assert result == b"".join(expected[name].tobytes() for name in one.packed)
        else:
            assert isinstance(result, dict)
            assert all(np.array_equal(result[name], expected[name]) for name in expected)


def waiting(*numbers: float, packed: tuple[str, ...] = ()) -> Waiting:
    return Waiting(rows(*numbers), len(numbers), (), lambda _: None, 0.0, 1.0, packed)
