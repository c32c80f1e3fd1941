"""What a model card says is true: its clients run as they stand there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import msgspec
import pytest

from igan_zoo.hub.client import TAG
from igan_zoo.models import cards
from igan_zoo.models.parity import decode_parity
from igan_zoo.models.spec import LatentSpec, ResultSpec, read_spec
from tests.environments import environment


def client(directory: Path, language: str) -> str:
    """Returns the code below the paragraph that names a language."""
    card = (directory / "README.md").read_text()
    (code,) = re.findall(rf"^In {language}, .*:\n\n((?:    .*\n)+)", card, re.MULTILINE)
    return textwrap.dedent(code)


@pytest.fixture(params=["classifier", "uniform", "symmetric-uniform", "normal"])
def directory(request: pytest.FixtureRequest, model: Path, tmp_path: Path) -> Path:
    """A model with a classifier, or generators of every kind of latent, with their cards."""
    spec = read_spec(model / "config.json")
    if request.param != "classifier":
        latent = LatentSpec(size=100, distribution=request.param)
        spec = msgspec.structs.replace(spec, classes=None, results=(), latent=latent)
    shutil.rmtree(model / ".eval_results")
    cards.write_card(model, spec, decode_parity((model / "parity.json").read_bytes(), model))
    return model


def rewritten(model: Path, **changes: object) -> str:
    """Returns the text of a card after these changes of the specification, its lines joined."""
    spec = msgspec.structs.replace(read_spec(model / "config.json"), **changes)
    shutil.rmtree(model / ".eval_results")
    cards.write_card(model, spec, decode_parity((model / "parity.json").read_bytes(), model))
    return " ".join((model / "README.md").read_text().split())


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"labels": "100", "data_seed": 7}, "labeled images, chosen by seed 7, and all other training images"),
        ({"labels": "100", "data_seed": None}, "labeled images, chosen by seed 1, and all other training images"),
        ({"labels": "all", "data_seed": None}, "images, all of them labeled."),
    ],
)
def test_a_card_names_the_labeled_images(model: Path, settings: dict[str, str | int | None], sentence: str) -> None:
    training = msgspec.structs.replace(read_spec(model / "config.json").training, settings=settings, seed=1)
    assert sentence in rewritten(model, training=training)


def card_with(model: Path, result: ResultSpec, labels: int) -> str:
    """Returns the text of a card with this result, its lines joined."""
    training = msgspec.structs.replace(read_spec(model / "config.json").training, labels=labels)
    return rewritten(model, training=training, results=(result,))


@pytest.mark.parametrize(
    ("wrong", "remark"),
    [
        (93, ""),
        (
            99,
            "This run made 6 more errors than the paper's mean, within its standard deviation. The test",
        ),
        (100, "This run made 7 more errors than the paper's mean. The test"),
    ],
)
def test_a_card_sets_its_result_beside_the_papers(model: Path, wrong: int, remark: str) -> None:
    """The paper has 93 ± 6.5 errors with 100 labels."""
    card = card_with(model, ResultSpec(dataset="ylecun/mnist", split="test", wrong=wrong, total=10_000), labels=100)
    assert f"| ylecun/mnist, test split, 100 labels | {wrong} of 10000" in card
    assert remark in card
    assert ("This run" in card) == bool(remark)


def test_errors_of_cifar_stand_beside_the_papers_too(model: Path) -> None:
    """It has 18.63 ± 2.32 % with 4,000 labels."""
    card = card_with(model, ResultSpec(dataset="uoft-cs/cifar10", split="test", wrong=3000, total=10_000), labels=4000)
    assert "| 3000 of 10000 (30.00%), one run | 1863 ± 232 |" in card
    assert "This run made 1137 more errors than the paper's mean. The test" in card


def test_a_card_says_what_is_wrong_with_the_images_below_the_picture(model: Path) -> None:
    said = rewritten(model, weakness="Half of the digits are none.")
    assert "![generated images](samples.png) What is wrong with these images: Half of the digits are none. ##" in said


def test_a_card_says_below_the_errors_what_their_reader_must_know(model: Path) -> None:
    said = rewritten(model, note="The test images are drawn, not written.")
    assert "The test images are drawn, not written. The test images were read only after" in said


def test_a_card_names_the_run_of_a_generator_with_its_own(model: Path) -> None:
    training = read_spec(model / "config.json").training
    other = msgspec.structs.replace(training, recipe="mnist-ssl", command="igan-zoo train mnist-ssl", departures=())
    said = rewritten(model, generator_training=other)
    assert (
        "The generator comes from another run: igan-zoo train mnist-ssl The recipe is the paper's `mnist-ssl`" in said
    )


def test_a_card_names_the_recipe_and_its_departures_from_the_paper(model: Path) -> None:
    training = read_spec(model / "config.json").training
    assert (training.recipe, training.experiment) == ("mnist-ssl-softplus", "mnist-ssl")
    assert "generator_output=softplus (sigmoid)" in training.departures
    assert "epochs=3 (300)" in training.departures
    said = " ".join((model / "README.md").read_text().split())
    assert (
        "The recipe `mnist-ssl-softplus` differs from the paper's `mnist-ssl` in these settings, with the paper's "
        "values in parentheses: `generator_output=softplus (sigmoid)`, "
    ) in said
    unchanged = msgspec.structs.replace(training, departures=())
    assert "The recipe is the paper's `mnist-ssl`, unchanged." in rewritten(model, training=unchanged)


def test_a_specification_from_before_cards_named_departures_is_read(model: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    del config["weakness"], config["training"]["experiment"], config["training"]["departures"]
    (model / "config.json").write_text(json.dumps(config))
    spec = read_spec(model / "config.json")
    assert (spec.weakness, spec.training.departures) == (None, ())
    assert "The recipe is `mnist-ssl-softplus`." in rewritten(model)


def test_the_client_in_python_runs(directory: Path) -> None:
    code = client(directory, "Python") + "\nassert images.ndim == 4 and images.dtype == numpy.uint8"
    subprocess.run([sys.executable, "-c", code], cwd=directory, check=True)


def test_the_client_in_javascript_runs(directory: Path) -> None:
    code = client(directory, "JavaScript")
    answer, kind = ("images", "Uint8Array") if "generator.onnx" in code else ("probabilities", "Float32Array")
    script = environment("node") / f"igan-zoo-card-{os.getpid()}.mjs"
    script.write_text(f"{code}\nif (!({answer}.data instanceof {kind})) throw {answer};\n")
    try:
        subprocess.run(["node", script], cwd=directory, check=True, timeout=300)
    finally:
        script.unlink()


def test_the_card_is_found_under_our_tag(directory: Path) -> None:
    from huggingface_hub import ModelCard

    assert TAG in (ModelCard.load(directory / "README.md").data.tags or [])
