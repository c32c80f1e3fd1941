"""Every kind of network through the command line: trained, exported, verified, and used without PyTorch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from igan_zoo.images.loading import load_images
from igan_zoo.latents import latents
from igan_zoo.models.directory import ModelDirectory
from igan_zoo.serving.engine import Engine
from igan_zoo.training.data.training_set import to_network
from igan_zoo.training.evaluation import run_logits
from igan_zoo.training.loop import open_game
from igan_zoo.training.recipes.catalogue import find_recipe
from igan_zoo.training.runs.directory import Run
from tests.export.runtimes import check_runtimes, runtimes
from tests.training.test_experiments import Cli, arguments

KINDS = {
    "cifar10-ssl": ([], {"generator", "classifier"}),
    "cifar10-ssl-labels-first": ([], {"generator", "classifier"}),
    "cifar10-ssl-consistency": ([], {"classifier"}),
    "cifar10-ssl-self-trained": ([], {"classifier"}),
    "mnist-mbd": ([], {"generator"}),
    "cifar10-table3-mbf": ([], {"generator", "classifier"}),
    "cifar10-table3-l-ha": ([], {"generator"}),
    "imagenet128": ([], {"generator", "classifier"}),
    "custom": (["generator=false", "unlabeled_weight=0"], {"classifier"}),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_network_is_exported_and_used(name: str, sources: dict[str, Path], igan_zoo: Cli, tmp_path: Path) -> None:
    """Parity is checked by the export itself, through the engine; images and answers do not depend on their batch."""
    settings, roles = KINDS[name]
    recipe = find_recipe(name)
    photos = sources["your own images"]
    assert igan_zoo(*arguments(recipe, sources, tmp_path / "run", *settings))[0] == 0
    data = ["--data", sources[recipe.dataset]] if "classifier" in roles else []
    code, _, errors = igan_zoo("export", tmp_path / "run", "--out", tmp_path / "model", *data)
    assert code == 0, errors
    assert igan_zoo("verify", tmp_path / "model")[0] == 0
    directory = ModelDirectory.open(tmp_path / "model")
    spec = directory.spec
    assert set(spec.graphs) == roles
    assert (tmp_path / "model" / "samples.png").exists() == ("generator" in roles)
    engine = Engine({role: directory.read(file) for role, file in spec.graphs.items()})

    check_runtimes(runtimes(), directory, tmp_path)
    if spec.latent is not None:
        z = latents(spec.latent.size, spec.latent.distribution, seed=7, start=0, count=6)
        together = engine.run("generator", {"latent": z})["images"]
        alone = np.concatenate([engine.run("generator", {"latent": row[None]})["images"] for row in z])
        assert np.abs(together.astype(int) - alone).max() <= 1
        assert together.std() > 1, "not one grey level"
        code, _, errors = igan_zoo("sample", tmp_path / "model", "--n", 10, "--out", tmp_path / "samples.npz")
        assert code == 0, errors
    if spec.classes is not None:
        assert len(spec.results) == 1
        assert spec.image.crop == recipe.crop
        code, output, errors = igan_zoo("classify", tmp_path / "model", photos / "val")
        assert code == 0, errors
        assert len(output.splitlines()) >= 7
        single = next((photos / "val").rglob("*.JPEG"))
        code, alone_output, errors = igan_zoo("classify", tmp_path / "model" / "onnx" / "classifier.onnx", single)
        assert code == 0, errors
        (row,) = [line for line in output.splitlines() if str(single) in line]
        alone_row = alone_output.splitlines()[1].split()
        # A directory also knows how real its training images look, and may add a note.
        assert row.split()[: len(alone_row)] == alone_row, "the file alone answers as in a folder"


def test_a_classifier_takes_the_generator_of_another_run(
    sources: dict[str, Path], igan_zoo: Cli, tmp_path: Path
) -> None:
    for name, run in (("cifar10-ssl-consistency", "classifier"), ("cifar10-mbd", "generator")):
        code, _, errors = igan_zoo(*arguments(find_recipe(name), sources, tmp_path / run))
        assert code == 0, errors
    both = ["export", tmp_path / "classifier", "--generator-run", tmp_path / "generator", "--out", tmp_path / "model"]
    code, _, errors = igan_zoo(*both)
    assert code == 0, errors
    assert igan_zoo("verify", tmp_path / "model")[0] == 0, "the weights file rebuilds both networks"
    spec = ModelDirectory.open(tmp_path / "model").spec
    assert set(spec.graphs) == {"generator", "classifier"}
    assert spec.training.recipe == "cifar10-ssl-consistency"
    assert spec.generator_training is not None
    assert spec.generator_training.recipe == "cifar10-mbd"
    assert "igan-zoo train cifar10-mbd " in (tmp_path / "model" / "README.md").read_text()

    code, _, errors = igan_zoo(*both[:3], tmp_path / "classifier", "--out", tmp_path / "other")
    assert code == 1
    assert "has no generator" in errors


@pytest.mark.parametrize("mirrored", [True, False])
def test_an_answer_is_the_mean_over_an_image_and_its_mirror_image_where_the_recipe_says_so(
    mirrored: bool, sources: dict[str, Path], igan_zoo: Cli, tmp_path: Path
) -> None:
    """Float32 sums in another order: within 1e-5."""
    recipe = find_recipe("cifar10-ssl-labels-first")
    setting = f"mirrored_answers={str(mirrored).lower()}"
    assert igan_zoo(*arguments(recipe, sources, tmp_path / "run", setting))[0] == 0
    code, _, errors = igan_zoo("export", tmp_path / "run", "--out", tmp_path / "model")
    assert code == 0, errors
    engine = Engine({"classifier": (tmp_path / "model" / "onnx" / "classifier.onnx").read_bytes()})
    data = load_images(str(sources[recipe.dataset]), "test", height=32, width=32, channels=3)
    logits, turned = (
        engine.run("classifier", {"images": np.ascontiguousarray(images)})["logits"]
        for images in (data.images[:], data.images[:, :, ::-1])
    )
    assert (np.abs(logits - turned).max() < 1e-5) == mirrored
    assert np.abs(logits - run_logits(Run(tmp_path / "run"), data)).max() < 1e-4
    if mirrored:
        game, _ = open_game(Run(tmp_path / "run"))
        one, other = (
            game.class_logits(to_network(torch.from_numpy(images.copy()), recipe)).numpy()
            for images in (data.images[:], data.images[:, :, ::-1])
        )
        assert np.abs(logits - (one + other) / 2).max() < 1e-4


def test_a_generator_with_a_faster_graph_has_it_beside_the_plain_one(
    sources: dict[str, Path], igan_zoo: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parity of both is in the report; the small network of this test counts as large."""
    monkeypatch.setattr("igan_zoo.export.graphs.rewriting._FEWEST_CHANNELS", 1)
    recipe = find_recipe("mnist-mbd")
    assert igan_zoo(*arguments(recipe, sources, tmp_path / "run"))[0] == 0
    code, _, errors = igan_zoo("export", tmp_path / "run", "--out", tmp_path / "model")
    assert code == 0, errors
    assert igan_zoo("verify", tmp_path / "model")[0] == 0
    directory = ModelDirectory.open(tmp_path / "model")
    check_runtimes(runtimes(), directory, tmp_path)
    parity = json.loads(directory.read("parity.json"))
    for name in ("generator", "generator_cpu"):
        file = f"onnx/{name}.onnx"
        assert parity["files"][file]["sha256"] == directory.spec.files[file].sha256
    assert igan_zoo("sample", tmp_path / "model", "--n", 10, "--out", tmp_path / "samples.npz")[0] == 0
