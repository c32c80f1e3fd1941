"""Protocols by name, what they need, and records that say everything a number depends on."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from igan_zoo.errors import ScoringError, UnknownNameError
from igan_zoo.serving.scoring.metrics.frechet_distance import frechet_distance, gaussian
from igan_zoo.serving.scoring.metrics.inception_score import inception_score
from igan_zoo.serving.scoring.numbers import METRICS, Metric, Reference
from igan_zoo.serving.scoring.protocols import Protocol, Record, find_protocol, images_needed, score
from igan_zoo.serving.scoring.statistics import Statistics
from igan_zoo.serving.scoring.statistics_file import load_gaussian, save_gaussian
from tests.serving.scoring.examples import some_facts, some_features, some_logits, statistics_of
from tests.serving.scoring.test_statistics import WHOLE, shards


def reference_statistics(**changes: str) -> Statistics:
    facts = some_facts(images=150, kept=150, source="photos", **changes)
    return statistics_of(facts, some_features(150, 12, 8, scale=1.2), some_logits(150, 7, 9))


REFERENCE = Reference("photos", reference_statistics())


@given(st.sampled_from(METRICS), st.integers(1, 10**7))
def test_a_name_comes_back_as_its_protocol(metric: Metric, images: int) -> None:
    protocol = Protocol(metric, images)
    assert find_protocol(protocol.name) == protocol


def test_names_are_the_fields_own() -> None:
    assert [Protocol("is", 50_000).name, Protocol("fid", 5_000).name, Protocol("kid", 160).name] == [
        "is50k",
        "fid5k",
        "kid160",
    ]


@pytest.mark.parametrize("name", ["is", "is0k", "fid-5k", "IS50k", "inception50k", "is5k "])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(UnknownNameError, match="no protocol"):
        find_protocol(name)


@pytest.mark.parametrize(
    ("names", "needed"),
    [
        (["is50k"], (50_000, 0)),
        (["is50k", "fid50k"], (50_000, 0)),
        (["is50k", "kid10k"], (50_000, 10_000)),
        (["kid50k", "pr10k"], (50_000, 50_000)),
        (["fid1k"], (1000, 1000)),
        (["is1k"], (1000, 0)),
    ],
)
def test_features_are_kept_only_where_they_are_needed(names: list[str], needed: tuple[int, int]) -> None:
    assert images_needed([find_protocol(name) for name in names], features=2048) == needed


@pytest.mark.parametrize("names", [["is50k", "fid10k"], ["is5k", "kid10k"]])
def test_protocols_of_different_images_need_statistics_of_their_own(names: list[str]) -> None:
    with pytest.raises(ScoringError, match="cover different images"):
        images_needed([find_protocol(name) for name in names], features=2048)


def test_records_carry_what_the_number_depends_on() -> None:
    split, unsplit, corrected = score(find_protocol("is200"), WHOLE)
    result = inception_score(WHOLE)
    assert (split.value, split.deviation) == (result.mean, result.deviation)
    assert (unsplit.value, corrected.value, corrected.standard_error) == (
        result.unsplit,
        result.corrected,
        result.standard_error,
    )
    assert msgspec.json.decode(msgspec.json.encode(split), type=Record) == split
    assert (
        msgspec.to_builtins(split).items()
        >= {
            "protocol": "is200",
            "images": 200,
            "splits": 10,
            "seed": 2020,
            "scorer_sha256": "a" * 64,
            "resize": "tf1-bilinear",
            "precision": "fp32",
            "source": "folder",
            "reference": None,
        }.items()
    )


def test_every_metric_that_compares_names_its_reference() -> None:
    records = [
        *score(find_protocol("fid200"), WHOLE, REFERENCE),
        *score(find_protocol("kid40"), WHOLE, REFERENCE, subset_size=30),
        *score(find_protocol("pr40"), WHOLE, REFERENCE),
    ]
    assert [(record.protocol, record.quantity, record.reference) for record in records] == [
        ("fd200-toy", "distance", "photos"),
        ("kd40-toy", "distance", "photos"),
        ("pr40", "precision", "photos"),
        ("pr40", "recall", "photos"),
    ]
    assert records[0].value == frechet_distance(gaussian(WHOLE), gaussian(reference_statistics()))


def test_a_file_of_mean_and_covariance_is_reference_enough_for_fid_alone(tmp_path: Path) -> None:
    save_gaussian(gaussian(reference_statistics()), tmp_path / "photos.npz")
    reference = Reference("photos.npz", gaussian=load_gaussian(tmp_path / "photos.npz"))
    (record,) = score(find_protocol("fid200"), WHOLE, reference)
    assert record.value == score(find_protocol("fid200"), WHOLE, REFERENCE)[0].value
    with pytest.raises(ScoringError, match="features of reference images"):
        score(find_protocol("pr40"), WHOLE, reference)


@pytest.mark.parametrize("name", ["is50k", "fid201", "kid200", "pr41"])
def test_a_number_is_never_given_under_the_name_of_another(name: str) -> None:
    with pytest.raises(ScoringError, match=f"{name} cannot be computed"):
        score(find_protocol(name), WHOLE, REFERENCE)


@pytest.mark.parametrize("change", [{"scorer_sha256": "c" * 64}, {"resize": "half-pixel"}, {"precision": "int8"}])
def test_a_reference_that_was_scored_differently_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(ScoringError, match=f"another {next(iter(change))}"):
        score(find_protocol("fid200"), WHOLE, Reference("photos", reference_statistics(**change)))


def test_scores_without_all_images_or_a_reference_are_refused() -> None:
    with pytest.raises(ScoringError, match="Shard 2/2 of folder is missing"):
        score(find_protocol("is200"), shards(2)[0])
    with pytest.raises(ScoringError, match="reference"):
        score(find_protocol("fid200"), WHOLE)
    assert np.isfinite(score(find_protocol("is200"), WHOLE)[0].value)
