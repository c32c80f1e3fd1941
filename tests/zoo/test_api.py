"""The public face: what it exports, what it needs, and that the examples of its page run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import igan_zoo
from igan_zoo import errors
from tests.conftest import REPOSITORY
from tests.serving.tiny_scorer import tiny_scorer

PAGE = (REPOSITORY / "docs" / "api.md").read_text()
SEED_1, SMALL = igan_zoo.ScoreOptions(model_seed=1), igan_zoo.ScoreOptions(subset_size=20)
DIGIT = REPOSITORY / "docs" / "digits" / "7.png"


def test_the_page_documents_what_is_exported() -> None:
    assert igan_zoo.__all__ == sorted(igan_zoo.__all__)
    documented = set(re.findall(r"^\| `(\w+)[`(]", PAGE, flags=re.MULTILINE))
    assert documented == set(igan_zoo.__all__)
    for name in igan_zoo.__all__:
        assert getattr(igan_zoo, name).__doc__
    assert set(igan_zoo.__all__) <= set(dir(igan_zoo))
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        _ = igan_zoo.lod  # type: ignore[attr-defined]


def test_the_examples_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other, as somebody would type them, in a folder that has the digits of the documentation."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").symlink_to(REPOSITORY / "docs" / "digits")
    blocks = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len(blocks) >= 3
    names: dict[str, object] = {}
    for block in blocks:
        if "fid50k" in block or "igan_zoo.train(" in block:  # a download, and hours
            compile(block, "docs/api.md", "exec")
            continue
        exec(compile(block, "docs/api.md", "exec"), names)


WITHOUT_TORCH = """
import sys
for name in ("torch", "onnx", "igan_zoo.training.loop", "datasets"):
    sys.modules[name] = None
import igan_zoo
model = igan_zoo.load("mnist-ssl")
"""


@pytest.mark.parametrize(
    "code",
    [
        "images = model.sample(3, seed=7); assert images.shape == (3, 28, 28, 1) and images.dtype.name == 'uint8'",
        """
import numpy
from PIL import Image
pixels = numpy.asarray(Image.open(sys.argv[1]).convert("L"))
assert model.classify(pixels)[0].classes[0][0] == "7"
assert [answer.file for answer in model.classify(numpy.stack([pixels, pixels])[..., None])] == ["image 0", "image 1"]
""",
        """
from PIL import Image
assert model.classify(Image.open(sys.argv[1]))[0].classes[0][0] == "7"
""",
        """
from pathlib import Path
(answer,) = model.classify(Path(sys.argv[1]).read_bytes())
assert answer.classes[0][0] == "7" and 0 <= answer.realness <= 1
""",
        """
scores = igan_zoo.score(model.sample(30, seed=1), scorer="mnist-ssl")
assert list(scores)[0].startswith("is30") and scores.images == 30
assert scores["is30"].value > 1 and scores["is30"].scorer == "mnist-ssl"
""",
    ],
    ids=["sample", "array", "Pillow image", "bytes", "score"],
)
def test_running_a_model_needs_no_torch(code: str) -> None:
    command = [sys.executable, "-W", "error", "-c", WITHOUT_TORCH + code, str(DIGIT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_one_image_has_one_answer_whatever_its_form() -> None:
    model = igan_zoo.load("mnist-ssl", roles=["classifier"])
    answers = [model.classify(image, top=2) for image in (str(DIGIT), DIGIT, [DIGIT], DIGIT.read_bytes())]
    assert {len(answer) for answer in answers} == {1}
    assert len({answer[0].classes for answer in answers}) == 1
    files = sorted(DIGIT.parent.glob("*.png"))
    assert model.classify(DIGIT.parent, errors="return", batch_size=3) == model.classify(files, batch_size=3)


def test_errors_are_raised_or_returned_in_their_place(tmp_path: Path) -> None:
    model = igan_zoo.load("mnist-ssl", roles=["classifier"])
    with pytest.raises(errors.ImageError, match="image 1 is not a PNG, JPEG"):
        model.classify([DIGIT, b"none"])
    first, second, third = model.classify([DIGIT, b"none", DIGIT], errors="return")
    assert first == third
    assert isinstance(second, errors.ImageError)
    with pytest.raises(igan_zoo.IganZooError):
        model.realness(b"none")
    with pytest.raises(errors.ModelDirectoryError, match="loaded without a generator"):
        model.sample(1)


def test_realness_tells_digits_from_noise() -> None:
    model = igan_zoo.load("mnist-ssl", roles=["classifier"])
    noise = np.random.default_rng(0).integers(0, 256, (10, 28, 28, 1), np.uint8)
    digits, others = model.realness(DIGIT.parent), model.realness(noise)
    assert digits.dtype == others.dtype == np.float32
    assert others.shape == (10,)
    assert np.median(digits) > np.median(others)


def test_a_model_samples_the_same_images_by_any_route() -> None:
    model = igan_zoo.load("mnist-ssl", roles=["generator"])
    images = model.sample(5, seed=3, start=2, batch_size=5)
    np.testing.assert_array_equal(images, np.concatenate(list(model.sample_batches(5, seed=3, start=2, batch_size=5))))
    assert np.abs(images[1:].astype(int) - model.sample(4, seed=3, start=3)).max() <= 1


def test_what_a_model_is_and_where(tmp_path: Path) -> None:
    model = igan_zoo.load("mnist-ssl")
    assert (model.name, model.provider, model.latents.size) == ("mnist-ssl", "CPUExecutionProvider", 100)
    assert model.spec is not None
    assert model.classes == model.spec.classes == tuple("0123456789")
    file = igan_zoo.load(model.path / "onnx" / "classifier.onnx")
    assert (file.name, file.spec, file.classes) == ("classifier", None, model.classes)
    with pytest.raises(errors.UnknownNameError, match="mnist-ssl"):
        igan_zoo.load("mnist-sl")


def test_models_are_listed_and_pulled() -> None:
    assert {model.name for model in igan_zoo.list_models("mnist-*")} == {"mnist-mbd", "mnist-ssl"}
    assert igan_zoo.pull("mnist-ssl").spec.name == "mnist-ssl"


def test_an_array_scores_as_its_file_and_a_folder_as_its_array(tmp_path: Path) -> None:
    """Alone by the MNIST classifier, and compared by a scorer with features."""
    from igan_zoo.images.pixels import write_image

    model = igan_zoo.load("mnist-ssl")
    images, others = model.sample(40, seed=1), model.sample(40, seed=2)
    np.savez(tmp_path / "images.npz", images=images)
    (tmp_path / "folder").mkdir()
    for index, image in enumerate(others):
        write_image(tmp_path / "folder" / f"{index:02}.png", image)
    alone = [igan_zoo.score(given, scorer="mnist-ssl") for given in (images, list(images), tmp_path / "images.npz")]
    assert len({scores["is40"].value for scores in alone}) == 1
    drawn = igan_zoo.score(model, scorer="mnist-ssl", count=40, options=SEED_1)
    assert alone[0]["is40"].value == pytest.approx(drawn["is40"].value, rel=1e-3)

    (tmp_path / "tiny.onnx").write_bytes(tiny_scorer({}))
    compared = [
        igan_zoo.score(images, reference, metrics=["fid", "kid"], scorer=tmp_path / "tiny.onnx", options=SMALL)
        for reference in (tmp_path / "folder", others)
    ]
    numbers = [[(record.quantity, record.value) for record in scores.records] for scores in compared]
    assert numbers[0] == numbers[1]
    assert [record.reference for record in compared[0].records] == [str(tmp_path / "folder")] * 2


def test_what_cannot_be_scored_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(errors.ImageError, match="this one is float64"):
        igan_zoo.score(np.zeros((2, 4, 4, 3)), scorer="mnist-ssl")  # type: ignore[arg-type]
    with pytest.raises(errors.DataError, match="the list is empty"):
        igan_zoo.score([], scorer="mnist-ssl")
    with pytest.raises(errors.ShardError, match="Workers open images by name"):
        images = np.zeros((20, 28, 28, 1), np.uint8)
        igan_zoo.score(images, scorer="mnist-ssl", options=igan_zoo.ScoreOptions(executor="processes"))


def test_errors_are_counted_on_a_folder_of_classes(tmp_path: Path) -> None:
    for name in ("0", "1", "2", "4", "7"):
        (tmp_path / "test" / name).mkdir(parents=True)
        (tmp_path / "test" / name / "one.png").write_bytes((DIGIT.parent / f"{name}.png").read_bytes())
    (tmp_path / "test" / "4" / "wrong.png").write_bytes(DIGIT.read_bytes())
    found = igan_zoo.load("mnist-ssl", roles=["classifier"]).evaluate(tmp_path)
    assert (found.wrong, found.total, found.error) == (1, 6, 1 / 6)
    with pytest.raises(errors.ModelDirectoryError, match="loaded without a classifier"):
        igan_zoo.load("mnist-ssl", roles=["generator"]).evaluate(tmp_path)


def test_nothing_is_shown_unless_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from igan_zoo.machine import progress

    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.0)
    model = igan_zoo.load("mnist-ssl")
    model.sample(2)
    model.classify(DIGIT)
    assert capsys.readouterr().err == ""
    model.sample(2, progress=True)
    model.classify(DIGIT, progress=True)
    assert re.findall("sampling|classifying", capsys.readouterr().err) == ["sampling", "classifying"]
