"""The score of the same images by other tools' conventions: each row by its definition, and what cannot be made."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from igan_zoo.commands.scoring.conventions import print_comparison
from igan_zoo.errors import InterfaceError, ScoringError
from igan_zoo.images.sources import open_source
from igan_zoo.serving.scoring.conventions import (
    CONVENTIONS,
    Convention,
    compare_conventions,
    decoded_bias,
    describe,
    encoded_bias,
    half_pixel_bilinear,
    score_logits,
)
from igan_zoo.serving.scoring.kept_logits import KeptLogits
from igan_zoo.serving.scoring.metrics.inception_score import inception_score_reference
from igan_zoo.serving.scoring.network import Network, open_network
from igan_zoo.serving.scoring.statistics import Facts
from tests.serving.tiny_scorer import tiny_scorer

# An array has no transparency and was never turned.
OF_ARRAYS = [each for each in CONVENTIONS if not each.as_stored]
BIAS = np.array([0.5, -1.5, 1.0, 0.25, -0.75], np.float32)
METADATA = {
    "igan_zoo.scorer": "tiny",
    "igan_zoo.resize": "tf1-bilinear-20",
    "igan_zoo.logit_bias": encoded_bias(BIAS),
}


def network(folder: Path, metadata: dict[str, str]) -> Network:
    (folder / "tiny.onnx").write_bytes(tiny_scorer(metadata, classes=5))
    return open_network(str(folder / "tiny.onnx"))


def by_definition(logits: NDArray[np.float64], splits: int) -> float:
    """torch-fidelity's arithmetic, of logits in the order of the splits."""
    features = torch.from_numpy(logits)
    p, log_p = features.softmax(dim=1), features.log_softmax(dim=1)
    scores = []
    for split in range(splits):
        here = slice(split * len(p) // splits, (split + 1) * len(p) // splits)
        q = p[here].mean(dim=0, keepdim=True)
        scores.append((p[here] * (log_p[here] - q.log())).sum(dim=1).mean().exp().item())
    return float(np.mean(scores))


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("images", [10, 11, 2345])
def test_every_row_is_its_definition(convention: Convention, images: int) -> None:
    """Within 1e-12."""
    logits = np.random.default_rng(images).normal(0, 3, (images, 5)).astype(np.float32)
    with KeptLogits(images, 5) as kept:
        kept.add(np.arange(images), logits)
        row = score_logits(kept, convention, bias=BIAS.astype(np.float64), seed=2020)
    ordered = logits.astype(np.float64) + (BIAS if convention.biased else 0)
    if convention.shuffled:
        ordered = ordered[np.random.RandomState(2020).permutation(images)]
    assert row.value == pytest.approx(by_definition(ordered, convention.splits), rel=1e-12)


def test_the_first_row_is_the_score_of_this_protocol() -> None:
    logits = np.random.default_rng(0).normal(0, 3, (200, 5)).astype(np.float32)
    with KeptLogits(200, 5) as kept:
        kept.add(np.arange(200), logits)
        row = score_logits(kept, CONVENTIONS[0])
    facts = Facts(scorer="t", scorer_sha256="a" * 64, resize="r", source="s", images=200, features=1, classes=5)
    expected = inception_score_reference(facts, logits)
    assert (row.value, row.deviation) == pytest.approx((expected.mean, expected.deviation), rel=1e-12)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (7, 32), (20, 20), (57, 33), (300, 299)])
def test_the_other_resize_is_that_of_pytorch(height: int, width: int) -> None:
    """Rounded: within half a grey level, and 1e-3 for float32."""
    images = np.random.default_rng(height).integers(0, 256, (2, height, width, 3), np.uint8)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(images).permute(0, 3, 1, 2).double(), (20, 20), mode="bilinear", align_corners=False
    )
    difference = half_pixel_bilinear(images, 20) - expected.permute(0, 2, 3, 1).numpy()
    assert np.abs(difference).max() <= 0.501


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Images in the order of their colours, whose upper left corner is brighter than the rest."""
    random = np.random.default_rng(0)
    images = random.integers(0, 60, (120, 6, 6, 3), np.uint8)
    for index, image in enumerate(images):
        image[..., index // 40] += 150
    images[:, 0, 0] = 255
    np.save(tmp_path / "photos.npy", images)
    return tmp_path / "photos.npy"


def test_all_conventions_are_compared_on_the_same_images(photos: Path, tmp_path: Path) -> None:
    scorer = network(tmp_path, METADATA)
    source = open_source(str(photos))
    comparison = compare_conventions(scorer, source, batch_size=7)
    assert [row.convention for row in comparison.rows] == OF_ARRAYS
    assert (comparison.images, comparison.missing) == (120, ())
    logits = scorer.answer(np.load(photos))[1].astype(np.float64)
    values = {row.convention: row.value for row in comparison.rows}
    assert values[Convention(CONVENTIONS[2].who, splits=1)] == pytest.approx(by_definition(logits, 1), rel=1e-6)
    unshuffled = values[CONVENTIONS[1]]
    assert unshuffled == pytest.approx(by_definition(logits, 10), rel=1e-6)
    assert unshuffled < 0.8 * values[CONVENTIONS[0]]
    assert len({round(value, 6) for value in values.values()}) == len(OF_ARRAYS)
    assert comparison == compare_conventions(scorer, source, batch_size=32)


def test_rows_that_a_file_cannot_give_are_named(photos: Path, tmp_path: Path) -> None:
    comparison = compare_conventions(network(tmp_path, {}), open_source(str(photos)))
    assert [row.convention for row in comparison.rows] == [
        each for each in OF_ARRAYS if not each.biased and each.resize == "tf1"
    ]
    assert "the bias" in comparison.missing[0]
    assert "the size" in comparison.missing[1]


@pytest.mark.parametrize("bias", ["%%%", "AAA", encoded_bias(BIAS[:3]), encoded_bias(BIAS * np.float32("nan"))])
def test_a_damaged_bias_is_refused(photos: Path, tmp_path: Path, bias: str) -> None:
    scorer = network(tmp_path, {**METADATA, "igan_zoo.logit_bias": bias})
    with pytest.raises(InterfaceError, match=r"igan_zoo.logit_bias is damaged; export the scorer again"):
        compare_conventions(scorer, open_source(str(photos)))


def test_a_bias_survives_the_metadata() -> None:
    np.testing.assert_array_equal(decoded_bias(encoded_bias(BIAS)), BIAS)


def test_too_few_images_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "few.npy", np.zeros((9, 4, 4, 3), np.uint8))
    with pytest.raises(ScoringError, match="9 images cannot be divided into 10 splits"):
        compare_conventions(network(tmp_path, METADATA), open_source(str(tmp_path / "few.npy")))


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_the_comparison_is_printed(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str) -> None:
    scorer, source = network(tmp_path, METADATA), open_source(str(photos))
    comparison = compare_conventions(scorer, source, seed=7)
    print_comparison(comparison, scorer, source.reference, form)
    output = capsys.readouterr().out
    rows = describe(comparison)
    if form == "json":
        report = json.loads(output)
        assert (report["images"], report["seed"], len(report["rows"])) == (120, 7, len(OF_ARRAYS))
        assert f"{report['rows'][0]['value']:.4f} (+0.0 %)" == rows[1][0]
        assert report["label"] == "classifier score (tiny)"
    elif form == "csv":
        assert [tuple(row) for row in csv.reader(io.StringIO(output))] == list(rows)
    else:
        assert output.startswith("classifier score (tiny) of 120 images of")
        assert all(cell in output for row in rows for cell in row)


def test_a_classifier_of_the_zoo_is_refused(photos: Path, model: Path) -> None:
    with pytest.raises(ScoringError, match="tiny is a classifier of the zoo, which no other tool scores with"):
        compare_conventions(open_network(str(model)), open_source(str(photos)))


def test_the_command_prints_it_instead_of_a_score(
    igan_zoo: Callable[..., tuple[int, str, str]], photos: Path, tmp_path: Path
) -> None:
    network(tmp_path, METADATA)
    command = ("score", photos, "--scorer", tmp_path / "tiny.onnx", "--compare-conventions")
    code, output, errors = igan_zoo(*command)
    assert code == 0, errors
    assert len(output.splitlines()) == 2 + len(OF_ARRAYS)
    reference = ("--metric", "fid", "--reference", photos)
    for wrong in (reference, ("--n", 20), ("--out", tmp_path / "x")):
        code, output, errors = igan_zoo(*command, *wrong)
        assert (code, output) == (2, "")
        assert "--compare-conventions scores all of SOURCE" in errors
    code, _, errors = igan_zoo(*command, "--as-stored")
    assert (code, "already has a row for files as stored; remove --as-stored" in errors) == (2, True)
