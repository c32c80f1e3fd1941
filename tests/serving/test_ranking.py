"""Ranking images by their own score: the definition, what is written, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from igan_zoo.errors import OutputError, ScoringError
from igan_zoo.images.files.decoding import read_image
from igan_zoo.images.pixels import Shape, write_image
from igan_zoo.serving.ranking import Ranking, how_many, rank, rank_reference
from igan_zoo.serving.scoring.kept_logits import KeptLogits
from igan_zoo.serving.scoring.network import open_network
from tests.serving.tiny_scorer import tiny_scorer

Cli = Callable[..., tuple[int, str, str]]


def ranked(logits: NDArray[np.float32], pieces: int = 1) -> Ranking:
    with KeptLogits(len(logits), logits.shape[1]) as kept:
        for indices in np.array_split(np.random.default_rng(0).permutation(len(logits)), pieces):
            kept.add(indices, logits[indices])
        return rank(kept)


@pytest.mark.parametrize("scale", [0.1, 3, 300, 1e5])
@pytest.mark.parametrize(("images", "pieces"), [(2, 1), (50, 7), (2345, 5)])
def test_the_ranking_is_that_of_the_definition_however_answers_came(scale: float, images: int, pieces: int) -> None:
    """Divergences within 1e-12; probabilities of 0 add nothing."""
    logits = np.random.default_rng(images).normal(0, scale, (images, 10)).astype(np.float32)
    expected, actual = rank_reference(logits), ranked(logits, pieces)
    np.testing.assert_allclose(actual.divergences, expected.divergences, rtol=1e-12, atol=1e-12)
    by_index = np.empty(images)
    by_index[expected.indices] = expected.divergences
    np.testing.assert_allclose(by_index[actual.indices], actual.divergences, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(actual.classes, logits.argmax(axis=1)[actual.indices])
    assert actual.score == pytest.approx(np.exp(expected.divergences.mean()), rel=1e-12)
    np.testing.assert_array_equal(actual.divergences, ranked(logits, 1).divergences)


def test_sure_images_of_rare_classes_are_first_and_equals_stay_in_order() -> None:
    sure = np.eye(3, dtype=np.float32) * 20
    logits = np.stack([sure[0], np.zeros(3, np.float32), sure[0], sure[1], sure[0]])
    assert ranked(logits).indices.tolist() == [3, 0, 2, 4, 1]


@given(st.integers(1, 10**6), st.integers(1, 100))
def test_a_share_is_rounded_up_and_never_more_than_all(images: int, percent: int) -> None:
    count = how_many(f"{percent}%", images)
    assert 100 * (count - 1) < images * percent <= 100 * count
    assert 1 <= count <= images


def test_a_number_is_itself_and_a_fraction_of_a_percent_is_exact() -> None:
    assert (how_many("7", 100), how_many(" 0.1% ", 1000), how_many("0.1%", 1001), how_many("100%", 3)) == (7, 1, 2, 3)


@pytest.mark.parametrize(
    ("top", "sentence"),
    [
        ("0%", "--top 0% chooses no image; ask for at least one."),
        ("0", "--top 0 chooses no image; ask for at least one."),
        ("101", "--top 101 is more than the source has: 100 images; ask for at most that many."),
        ("100.1%", "--top 100.1% is more than the source has: 100 images; ask for at most that many."),
        ("2.5", "--top 2.5 is neither a number of images, like 25, nor a share of them, like 1%."),
        ("-1%", "--top -1% is neither a number of images, like 25, nor a share of them, like 1%."),
        ("some", "--top some is neither a number of images, like 25, nor a share of them, like 1%."),
        ("1/0", "--top 1/0 is neither a number of images, like 25, nor a share of them, like 1%."),
    ],
)
def test_wishes_that_cannot_be_met_are_one_sentence(top: str, sentence: str) -> None:
    with pytest.raises(ScoringError) as refusal:
        how_many(top, 100)
    assert str(refusal.value) == sentence


def test_answers_that_are_no_numbers_or_of_another_shape_are_refused() -> None:
    with KeptLogits(4, 2) as kept:
        with pytest.raises(ScoringError, match="not finite for image 3"):
            kept.add(np.array([1, 3]), np.array([[0, 1], [np.nan, 0]], np.float32))
        with pytest.raises(ScoringError, match=r"shape \[1, 3\], not \[1, 2\]"):
            kept.add(np.array([1]), np.zeros((1, 3), np.float32))
        kept.add(np.array([2]), np.ones((1, 2), np.float32))
        with pytest.raises(ScoringError, match="only 1 can be used"):
            rank(kept)


@pytest.fixture
def scorer(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_scorer({"igan_zoo.scorer": "tiny-0"}))
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Nine red images, one green, one grey, and a file that is none, in folders and sizes of their own."""
    folder = tmp_path / "pictures"
    for index in range(11):
        colour = (255, 0, 0) if index < 9 else (0, 255, 0) if index == 9 else (90, 90, 90)
        (folder / str(index % 2)).mkdir(parents=True, exist_ok=True)
        image = np.broadcast_to(np.array(colour, np.uint8), (20 + index % 3, 30, 3))
        Image.fromarray(np.ascontiguousarray(image)).save(
            folder / str(index % 2) / f"{index:02d}.{'jpeg' if index == 9 else 'png'}"
        )
    (folder / "bad.png").write_bytes(b"no image")
    return folder


def test_the_command_writes_the_files_of_the_best_images_and_a_line_for_every_one(
    igan_zoo: Cli, scorer: Path, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    code, output, errors = igan_zoo("rank", pictures, "--scorer", scorer, "--top", 2, "--out", out)
    assert code == 0, errors
    assert output.splitlines()[0].startswith(f"{out}: 2 of 11 images, ")
    assert "classifier score (tiny-0) of all images, unsplit: " in output
    assert f"Left out: {pictures / 'bad.png'} is not a PNG, JPEG, WebP, TIFF, BMP, GIF or AVIF image." in errors
    assert sorted(path.name for path in out.iterdir()) == [
        "best-and-worst.png",
        "histogram.png",
        "images",
        "ranking.json",
        "ranking.jsonl",
    ]
    lines = [json.loads(line) for line in (out / "ranking.jsonl").read_text().splitlines()]
    assert [line["rank"] for line in lines] == list(range(1, 12))
    assert lines[0]["name"] == "1/09.jpeg"
    assert (lines[0]["class"], lines[0]["file"], lines[2]["file"]) == (1, "images/00001.jpg", None)
    assert lines[1]["name"] == "0/10.png"
    assert [line["score"] for line in lines] == sorted((line["score"] for line in lines), reverse=True)
    assert (out / "images" / "00001.jpg").read_bytes() == (pictures / "1" / "09.jpeg").read_bytes()
    assert (out / lines[1]["file"]).read_bytes() == (pictures / lines[1]["name"]).read_bytes()
    assert len(list((out / "images").iterdir())) == 2
    summary = json.loads((out / "ranking.json").read_text())
    assert (summary["images"], summary["chosen"], summary["scorer"]) == (11, 2, "tiny-0")
    assert summary["score_is"].startswith("classifier score (tiny-0), unsplit")
    assert read_image(out / "histogram.png").std() > 0
    assert read_image(out / "best-and-worst.png").std() > 0


def test_the_same_images_give_the_same_bytes_from_every_kind_of_source_and_batch(
    igan_zoo: Cli, scorer: Path, tmp_path: Path
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 9, 3), np.uint8)
    np.save(tmp_path / "a.npy", images)
    for index, image in enumerate(images):
        write_image(tmp_path / "folder" / f"{index:02d}.png", image)
    for name, source, batch in (("one", "a.npy", 7), ("two", "a.npy", 40), ("three", "folder", 32)):
        arguments = ("--scorer", scorer, "--top", "10%", "--batch-size", batch, "--out", tmp_path / name)
        assert igan_zoo("rank", tmp_path / source, *arguments)[0] == 0
    for name in ("ranking.jsonl", "histogram.png", "best-and-worst.png", "images/00003.png"):
        content = [(tmp_path / run / name).read_bytes() for run in ("one", "two")]
        assert content[0] == content[1]
    for name in ("best-and-worst.png", "images/00003.png", "histogram.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "three" / name).read_bytes()


def test_a_classifier_of_the_zoo_ranks_images_of_any_size_by_its_name(
    igan_zoo: Cli, model: Path, pictures: Path, tmp_path: Path
) -> None:
    code, output, _ = igan_zoo("rank", pictures, "--scorer", model, "--top", "50%", "--out", tmp_path / "out")
    assert code == 0
    assert "classifier score (tiny) of all images" in output
    line = json.loads((tmp_path / "out" / "ranking.jsonl").read_text().splitlines()[0])
    assert line["class"] in [str(digit) for digit in range(10)]
    assert len(list((tmp_path / "out" / "images").iterdir())) == 6


def test_a_model_ranks_what_it_draws(igan_zoo: Cli, model: Path, tmp_path: Path) -> None:
    """Drawn again to be written, they are the images that were scored: ranked by themselves they keep their order."""
    out = tmp_path / "out"
    arguments = ("--scorer", model, "--n", 130, "--model-seed", 3, "--top", "100%", "--out")
    assert igan_zoo("rank", model, *arguments, out)[0] == 0
    lines = [json.loads(line) for line in (out / "ranking.jsonl").read_text().splitlines()]
    written = np.stack([read_image(out / line["file"], Shape(1)) for line in lines])
    _, logits = open_network(str(model)).answer(written)
    np.testing.assert_allclose(
        rank_reference(logits).divergences, [line["score"] for line in lines], rtol=1e-4, atol=1e-4
    )


def test_a_folder_that_is_there_is_kept_unless_forced(
    igan_zoo: Cli, scorer: Path, pictures: Path, tmp_path: Path
) -> None:
    arguments = ("rank", pictures, "--scorer", scorer, "--top", 1, "--out", pictures.parent / "out")
    (pictures.parent / "out").mkdir()
    (pictures.parent / "out" / "mine").write_text("kept")
    code, output, errors = igan_zoo(*arguments)
    assert (code, output) == (1, "")
    assert errors == f"Error: {tmp_path / 'out'} already exists; choose another file, or add --force to replace it.\n"
    assert igan_zoo(*arguments, "--force")[0] == 0
    assert not (tmp_path / "out" / "mine").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["EMPTY"], "There is no image in"),
        (["PICTURES", "--top", "0%"], "--top 0% chooses no image"),
        (["PICTURES", "--top", "13"], "--top 13 is more than the source has: 12 images"),
        (["PICTURES", "--strict"], "bad.png"),
        (["PICTURES", "--scorer", "nothing"], "There is no model 'nothing'"),
        (["PICTURES", "--split", "test"], "has no split 'test'"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_nothing_behind(
    igan_zoo: Cli, scorer: Path, pictures: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "empty").mkdir()
    places = {"EMPTY": tmp_path / "empty", "PICTURES": pictures}
    given_scorer = [] if "--scorer" in arguments else ["--scorer", scorer]
    code, output, errors = igan_zoo(
        "rank", *[places.get(each, each) for each in arguments], *given_scorer, "--out", tmp_path / "out"
    )
    assert (code, output) == (1, "")
    assert message in errors
    assert len([line for line in errors.splitlines() if line.startswith("Error: ")]) == 1
    assert not (tmp_path / "out").exists()


def test_no_room_for_the_answers_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with KeptLogits(4, 2) as kept:
        kept._file.close()
        full = Path("/dev/full")
        if not full.exists():
            pytest.skip("needs /dev/full, a device that is always full")
        kept._file = full.open("r+b", buffering=0)
        with pytest.raises(OutputError, match=r"Cannot keep the logits.*TMPDIR"):
            kept.add(np.array([0]), np.zeros((1, 2), np.float32))
