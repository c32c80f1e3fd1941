"""The score that runs along with an upload ends in what `score` gives of the same images."""

from __future__ import annotations

import numpy as np
import pytest

from igan_zoo.errors import DataError, ScoringError
from igan_zoo.serving.engine import Engine
from igan_zoo.serving.scoring.accumulator import Accumulator
from igan_zoo.serving.scoring.metrics.inception_score import unsplit_score
from igan_zoo.serving.scoring.network import Network
from igan_zoo.serving.scoring.plan import results
from igan_zoo.serving.scoring.statistics import Facts
from igan_zoo.serving.server.people.running_score import RunningScore
from tests.serving.tiny_scorer import tiny_scorer

MOST = 1000


@pytest.fixture(scope="module")
def network() -> Network:
    return Network("tiny", "0" * 64, Engine({"scorer": tiny_scorer({})}), shape=None)


def logits(count: int) -> np.ndarray:
    return np.random.default_rng(3).normal(size=(count, 3)).astype(np.float32)


def test_the_records_are_those_of_one_go_with_the_number_known_whatever_the_order(network: Network) -> None:
    given = logits(60)
    facts = Facts(
        scorer="tiny",
        scorer_sha256="0" * 64,
        resize=network.resize,
        source="upload (tar)",
        fingerprint="f",
        images=62,
        features=0,
        classes=3,
        splits=10,
        seed=7,
    )
    whole = Accumulator(facts)
    numbers = np.delete(np.arange(62), [4, 40])
    whole.add(numbers, np.zeros((60, 0), np.float32), given)
    whole.skip(np.array([4, 40]))
    expected = results(("is",), whole.statistics(), None)

    with RunningScore(network, MOST) as score:
        order = np.random.default_rng(5).permutation(60)
        for rows in (order[:13], order[13:14], order[14:]):
            score.add(numbers[rows], given[rows])
        score.skip(40, "b is bad")
        score.skip(4, "a is bad")
        records = score.records("upload (tar)", "f", splits=10, seed=7)
    assert [(record.quantity, record.value, record.standard_error) for record in records] == [
        (record.quantity, record.value, record.standard_error) for record in expected
    ]
    assert {(record.protocol, record.images, record.skipped) for record in records} == {("is60", 60, 2)}
    assert all(record.provider and record.time and record.versions for record in records)
    assert score.left_out == ["b is bad", "a is bad"]


def test_the_running_line_is_the_score_of_all_images_so_far(network: Network) -> None:
    given = logits(50)
    with RunningScore(network, MOST) as score:
        assert score.line() == {"images": 0, "skipped": 0, "score": None, "corrected": None, "standard_error": None}
        score.skip(0, "bad")
        score.add(np.arange(1, 21), given[:20])
        # Probabilities are counted in steps of 2**-40.
        assert score.line()["score"] == pytest.approx(unsplit_score(given[:20]), rel=1e-9)
        score.add(np.arange(21, 51), given[20:])
        line = score.line()
        assert (line["images"], line["skipped"]) == (50, 1)
        assert line["score"] == pytest.approx(unsplit_score(given), rel=1e-9)
        unsplit = {record.quantity: record for record in score.records("x", "", splits=10, seed=2020)}["unsplit"]
        assert (unsplit.value, unsplit.standard_error) == (line["score"], line["standard_error"])


def test_what_cannot_be_scored_is_said(network: Network) -> None:
    with RunningScore(network, MOST) as score:
        with pytest.raises(DataError, match="None of the 0 images of the upload can be used"):
            score.records("the upload", "", splits=10, seed=1)
        score.skip(0, "x.png is not a PNG, JPEG, WebP, TIFF, BMP, GIF or AVIF image.")
        with pytest.raises(DataError, match=r"The only image of the upload cannot be used: x\.png is not"):
            score.records("the upload", "", splits=10, seed=1)
        score.add(np.arange(1, 4), logits(3))
        with pytest.raises(ScoringError, match="4 images cannot be divided into 10 splits"):
            score.records("the upload", "", splits=10, seed=1)
        with pytest.raises(ScoringError, match="not finite"):
            score.add(np.array([9]), np.full((1, 3), np.nan, np.float32))
