"""The visual Turing test: fair rounds, one answer each, an interval that covers, results that survive a crash."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igan_zoo.errors import DataError, OutputError, UnknownNameError
from igan_zoo.images.folders.source import open_folder
from igan_zoo.images.formats.arrays import open_npy
from igan_zoo.images.pixels import write_image
from igan_zoo.images.stored import StoredImage
from igan_zoo.serving.server.errors import AnswerError, ProtocolError
from igan_zoo.serving.server.turing.game import (
    MAX_ROUNDS,
    Kind,
    OpenTests,
    Round,
    TuringTest,
    choose_rounds,
    new_name,
    new_seed,
    wilson_interval,
)
from igan_zoo.serving.server.turing.images import RealImages, arrange, encode_alike, prepare
from igan_zoo.serving.server.turing.results import Answer, Results, append_answer, last_answer, read_answers


def make_test(rounds: int = 4, *, feedback: bool = False, side: int = 2, name: str | None = None) -> TuringTest:
    shown = choose_rounds(rounds, real=np.arange(100), seed=3)
    images = np.zeros((rounds, side, side, 1), np.uint8)
    return TuringTest(name or new_name(), "tiny", feedback, 3, shown, images)


def take(test: TuringTest, wrong: int = 0) -> list[Answer]:
    """Answers every round, the first so many wrongly."""
    other: dict[Kind, Kind] = {"real": "generated", "generated": "real"}
    records = []
    for number, shown in enumerate(test.rounds, 1):
        test.answer(number, other[shown.kind] if number <= wrong else shown.kind)
        records.append(last_answer(test, generator="0" * 64, real="photos", day="2026-11-22"))
    return records


@settings(deadline=None, max_examples=50)
@given(st.integers(1, MAX_ROUNDS), st.integers(0, 2**53 - 1))
def test_half_of_the_rounds_are_real_and_no_image_comes_twice(rounds: int, seed: int) -> None:
    candidates = np.arange(7, 7 + 2 * MAX_ROUNDS, 2)
    chosen = choose_rounds(rounds, real=candidates, seed=seed)
    real = [shown.index for shown in chosen if shown.kind == "real"]
    generated = sorted(shown.index for shown in chosen if shown.kind == "generated")
    assert abs(len(real) - len(generated)) == rounds % 2
    assert len(set(real)) == len(real)
    assert set(real) <= set(candidates)
    assert generated == list(range(len(generated)))
    assert chosen == choose_rounds(rounds, real=candidates, seed=seed)


def test_neither_the_place_nor_the_number_of_an_odd_round_tells_its_kind() -> None:
    tests = [choose_rounds(5, real=np.arange(50), seed=seed) for seed in range(2000)]
    real = np.array([[shown.kind == "real" for shown in test] for test in tests])
    # 2000 fair coins: five standard deviations are 0.056.
    assert np.abs(real.mean(axis=0) - 0.5).max() < 0.056
    assert abs((real.sum(axis=1) == 3).mean() - 0.5) < 0.056


@pytest.mark.parametrize(("rounds", "real"), [(0, 9), (MAX_ROUNDS + 1, 999), (-1, 9), (4, 1), (3, 1), (1, 0)])
def test_too_many_rounds_or_too_few_images_are_refused(rounds: int, real: int) -> None:
    with pytest.raises(ProtocolError):
        choose_rounds(rounds, real=np.arange(real), seed=0)


def test_rounds_are_answered_in_turn_and_once() -> None:
    test = make_test(3)
    with pytest.raises(AnswerError, match="Round 2 is not open yet; answer round 1 first"):
        test.answer(2, "real")
    assert test.answer(1, test.rounds[0].kind)
    with pytest.raises(AnswerError, match="Round 1 has been answered"):
        test.answer(1, "real")
    with pytest.raises(UnknownNameError, match="rounds 1 to 3, but no round 4"):
        test.answer(4, "real")
    with pytest.raises(UnknownNameError):
        test.answer(0, "real")
    assert (test.answers, test.errors, test.finished) == ([test.rounds[0].kind], 0, False)


def test_an_image_can_be_seen_one_round_ahead_and_no_further() -> None:
    test = make_test(4)
    assert test.shown(2).shape == (2, 2, 1)
    with pytest.raises(AnswerError):
        test.shown(3)
    test.answer(1, "real")
    test.shown(3)


def test_open_tests_are_bounded_and_the_longest_left_alone_goes_first() -> None:
    tests = OpenTests(max_tests=2, max_bytes=10**6)
    for name in ("a", "b"):
        tests.add(make_test(name=name))
    tests.find("a")
    tests.add(make_test(name="c"))
    assert len(tests) == 2
    assert tests.find("a").test == "a"
    with pytest.raises(UnknownNameError, match="begin a new one"):
        tests.find("b")


def test_open_tests_are_bounded_in_bytes_of_images_too() -> None:
    tests = OpenTests(max_tests=100, max_bytes=3 * 4 * 10**2)
    for _ in range(10):
        tests.add(make_test(side=10))
    assert len(tests) == 3


def test_names_and_seeds_are_not_to_be_guessed() -> None:
    assert len({new_name() for _ in range(100)}) == 100
    assert all(0 <= new_seed() < 2**53 for _ in range(100))


@pytest.mark.parametrize(
    ("errors", "answers", "low", "high"),
    # The intervals that scipy.stats.binomtest(...).proportion_ci(method="wilson") gives.
    [(0, 10, 0.0, 0.277533), (5, 10, 0.236593, 0.763407), (213, 1000, 0.188747, 0.239450), (10, 10, 0.722467, 1.0)],
)
def test_the_interval_is_wilsons(errors: int, answers: int, low: float, high: float) -> None:
    assert wilson_interval(errors, answers) == pytest.approx((low, high), abs=1e-6)


def test_the_interval_is_that_of_scipy_and_says_nothing_without_answers() -> None:
    stats = pytest.importorskip("scipy.stats", reason="the comparison needs scipy")
    assert wilson_interval(0, 0) == (0.0, 1.0)
    for errors, answers in [(1, 3), (7, 20), (999, 1000)]:
        expected = stats.binomtest(errors, answers).proportion_ci(method="wilson")
        assert wilson_interval(errors, answers) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_sums_are_of_finished_tests_by_model_and_condition() -> None:
    results = Results()
    for answer in [*take(make_test(4), wrong=1), *take(make_test(4, feedback=True), wrong=3)]:
        results.add(answer)
    for answer in take(make_test(4), wrong=4)[:3]:
        results.add(answer)
    without, with_feedback = results.summaries()
    assert (without.feedback, without.tests, without.unfinished, without.answers, without.errors) == (False, 1, 1, 4, 1)
    assert (with_feedback.feedback, with_feedback.error_rate, with_feedback.unfinished) == (True, 0.75, 0)
    assert (without.low, without.high) == wilson_interval(1, 4)
    assert results.summaries("another") == []
    assert len(results.summaries("tiny")) == 2


def test_the_share_of_generated_images_taken_for_real_is_given() -> None:
    test = make_test(10)
    results = Results()
    for number, _ in enumerate(test.rounds, 1):
        test.answer(number, "real")
        results.add(last_answer(test, generator="", real="", day=""))
    (summary,) = results.summaries()
    assert (summary.fooled, summary.error_rate) == (1.0, 0.5)


def test_unfinished_tests_take_bounded_memory_and_are_still_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("igan_zoo.serving.server.turing.results._UNFINISHED_KEPT", 5)
    results = Results()
    for _ in range(20):
        results.add(take(make_test(2))[0])
    assert len(results._unfinished) == 5
    (summary,) = results.summaries()
    assert (summary.unfinished, summary.tests, summary.error_rate, summary.fooled) == (20, 0, None, None)


def test_unfinished_tests_of_as_many_models_are_summed_in_one_pass() -> None:
    results, (answer, *_) = Results(), take(make_test(2))
    for number in range(30_000):
        results.add(msgspec.structs.replace(answer, model=f"m{number}", test=str(number)))
    began = time.process_time()
    summaries = results.summaries()
    assert time.process_time() - began < 5  # of the processor: not each model with each test
    assert [summary.unfinished for summary in summaries] == [1] * 30_000


def test_answers_come_back_from_their_file_and_say_nothing_about_who_answered(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    records = take(make_test(4), wrong=2)
    for record in records:
        append_answer(path, record)
    assert list(read_answers(path)) == records
    assert set(json.loads(path.read_text().splitlines()[0])) == {
        *("test", "day", "model", "generator", "real", "feedback"),
        *("rounds", "round", "kind", "seed", "index", "answer"),
    }


def test_a_line_cut_short_by_a_crash_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    first, second, third, _ = take(make_test(4))
    append_answer(path, first)
    append_answer(path, second)
    whole = path.read_bytes()
    for length in range(whole.index(b"\n") + 2, len(whole)):
        path.write_bytes(whole[:length])
        append_answer(path, third)
        kept = list(read_answers(path))
        # A line that lacks nothing but its end is whole.
        assert kept == ([first, second, third] if length == len(whole) - 1 else [first, third])


def test_a_file_of_something_else_is_an_error_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    append_answer(path, take(make_test(1))[0])
    with path.open("a") as file:
        file.write('{"score": 3}\n')
    with pytest.raises(DataError, match=r"Line 2 of .* is not an answer"):
        list(read_answers(path))
    with pytest.raises(DataError, match="Cannot read the results"):
        list(read_answers(tmp_path / "nothing"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told() -> None:
    with pytest.raises(OutputError, match="No space left on device; the answer was not saved"):
        append_answer(Path("/dev/full"), take(make_test(1))[0])


def test_a_short_write_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "write", lambda _descriptor, content: len(content) - 1)
    with pytest.raises(OutputError, match="not saved"):
        append_answer(tmp_path / "answers.jsonl", take(make_test(1))[0])


def array_of_noise(path: Path, count: int, shape: tuple[int, int, int]) -> Path:
    np.save(path, np.random.default_rng(0).integers(0, 256, (count, *shape), np.uint8))
    return path


def test_real_and_generated_images_become_files_of_the_same_size_and_form(tmp_path: Path) -> None:
    real = RealImages(open_npy(array_of_noise(tmp_path / "real.npy", 100, (40, 30, 3))))
    # Compressed, flat grey and noise would differ by a factor of ten.
    generated = np.full((10, 32, 32, 3), 128, np.uint8)
    rounds = choose_rounds(20, real=real.for_tests, seed=1)
    images = arrange(rounds, real, generated, crop=False)
    files = [encode_alike(image) for image in images]
    assert len({len(file) for file in files}) == 1
    assert len({file[:33] for file in files}) == 1  # signature and header
    for shown, image in zip(rounds, images, strict=True):
        assert (image == 128).all() == (shown.kind == "generated")


def test_an_image_of_the_models_shape_passes_unchanged_and_others_as_for_a_classifier() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (8, 6, 1), np.uint8)
    assert (prepare(StoredImage("", noise), (8, 6, 1), crop=False) == noise).all()
    assert prepare(StoredImage("", noise), (4, 4, 3), crop=True).shape == (4, 4, 3)


def test_examples_are_never_part_of_a_test(tmp_path: Path) -> None:
    for count, examples in [(5, 0), (25, 2), (400, 8)]:
        real = RealImages(open_npy(array_of_noise(tmp_path / f"{count}.npy", count, (2, 2, 1))))
        assert len(real.examples) == examples
        assert sorted([*real.examples, *real.for_tests.tolist()]) == list(range(count))


def test_a_real_image_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.zeros((4, 4, 1), np.uint8))
    (tmp_path / "b.png").write_bytes(b"no image")
    real = RealImages(open_folder(tmp_path))
    with pytest.raises(DataError, match=r"take it out of the source: .*b\.png"):
        arrange([Round("real", 1)], real, np.zeros((1, 4, 4, 1), np.uint8), crop=False)


def test_records_are_strict(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    append_answer(path, take(make_test(1))[0])
    record: dict[str, Any] = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"answer": "perhaps"}))
    with pytest.raises(DataError, match="perhaps"):
        list(read_answers(path))
