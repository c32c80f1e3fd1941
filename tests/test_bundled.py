"""The models that ship with the project: whole, pinned, as good as their cards say, and in the wheel."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import igan_zoo
from igan_zoo.hub.publishable import check_publishable
from igan_zoo.images.pixels import write_image
from igan_zoo.latents import latents
from igan_zoo.machine.files import sha256_of
from igan_zoo.models import cards, catalogue, store
from igan_zoo.models.directory import ModelDirectory
from igan_zoo.models.parity import decode_parity
from igan_zoo.reproduction.evidence import model_evidence
from igan_zoo.serving.classifying import logit_batches
from igan_zoo.serving.engine import load_engine
from igan_zoo.training.recipes.departures import departures, experiment_of
from tests.conftest import REAL_MNIST, REPOSITORY

NAMES = [entry.name for entry in catalogue.CATALOGUE]
MODELS = sorted(path for path in (REPOSITORY / "models").iterdir() if path.is_dir())


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.name)
def test_every_published_directory_is_whole_and_named_after_its_model(path: Path) -> None:
    directory = ModelDirectory.open(path)
    directory.verify()
    assert directory.spec.name == path.name
    assert max(file.size for file in directory.spec.files.values()) < 30_000_000
    assert sum(file.size for file in directory.spec.files.values()) < 35_000_000
    assert not path.is_symlink() or path.resolve().parent.name == "bundled"


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.name)
def test_every_published_directory_is_fit_to_be_published_and_runs(path: Path) -> None:
    """Its card and results are read by huggingface_hub's own parsers, and say what its specification says."""
    directory = ModelDirectory.open(path)
    check_publishable(directory)
    spec = directory.spec
    engine = load_engine(store.resolve(str(path)), list(spec.graphs))
    images = np.zeros((2, spec.image.height, spec.image.width, spec.image.channels), np.uint8)
    if spec.latent is not None:
        z = latents(spec.latent.size, spec.latent.distribution, seed=0, start=0, count=2)
        generated = engine.run("generator", {"latent": z})["images"]
        assert (generated.shape, generated.dtype) == (images.shape, images.dtype)
        assert generated.std() > 10
        images = generated
    if spec.classes is not None:
        probabilities = engine.run("classifier", {"images": images})["probabilities"]
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
        assert probabilities.shape == (2, len(spec.classes))


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.name)
def test_every_card_is_what_the_specification_says_today(path: Path, tmp_path: Path) -> None:
    """Neither an edit by hand nor a card from before the generator of cards changed."""
    spec = ModelDirectory.open(path).spec
    cards.write_card(tmp_path, spec, decode_parity((path / "parity.json").read_bytes(), path))
    assert (tmp_path / "README.md").read_text() == (path / "README.md").read_text()


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.name)
def test_every_published_directory_names_its_recipe_its_departures_and_its_weakness(path: Path) -> None:
    directory = ModelDirectory.open(path)
    spec, recipe = directory.spec, model_evidence(directory).recipe
    experiment = experiment_of(recipe)
    assert experiment is not None
    training = (spec.training.recipe, spec.training.experiment, spec.training.departures)
    assert training == (recipe.name, experiment.name, departures(recipe, experiment))
    assert path.name == experiment.name, "a model is named by its task"
    assert spec.weakness or spec.latent is None


@pytest.mark.parametrize("name", NAMES)
def test_the_catalogue_pins_the_published_bytes(name: str) -> None:
    assert catalogue.BY_NAME[name].config_sha256 == sha256_of(REPOSITORY / "models" / name / "config.json")


def test_the_default_model_is_bundled() -> None:
    model = store.resolve(None)
    assert model.name == catalogue.DEFAULT_MODEL
    assert model.path.parent.name == "bundled"


def test_the_shipped_digits_are_read_correctly() -> None:
    files = sorted((REPOSITORY / "docs" / "digits").glob("*.png"))
    for answer, file in zip(igan_zoo.load().classify(files), files, strict=True):
        assert answer.classes[0][0] == file.stem


@pytest.mark.skipif(not REAL_MNIST.is_dir(), reason=f"needs real MNIST in the Hub's layout at {REAL_MNIST}")
def test_the_card_states_the_errors_on_the_real_test_set() -> None:
    from igan_zoo.images.loading import load_images

    model = store.resolve(None)
    assert model.directory is not None
    data = load_images(str(REAL_MNIST), "test", height=28, width=28, channels=1)
    assert [result.variant for result in model.directory.spec.results] == [None, "int8"]
    for result in model.directory.spec.results:
        assert len(data) == result.total
        engine = load_engine(model, ["classifier"], variant=result.variant)
        logits = np.concatenate(list(logit_batches(engine, data.images, title="testing")))
        assert (logits.argmax(axis=1) != data.labels).sum() == result.wrong


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `pip install .` puts into site-packages on a fresh clone."""
    folder = tmp_path_factory.mktemp("wheel")
    clone = folder / "clone"
    clone.mkdir()
    for name in ("zoo", "training", "export", "serving", "pyproject.toml", "README.md", "LICENSE"):
        copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy
        copy(REPOSITORY / name, clone / name)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir"]
    subprocess.run([*build, folder, clone], check=True, cwd=folder, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_has_the_bundled_models_and_not_their_training_weights(site: Path) -> None:
    bundled = site / "igan_zoo" / "bundled"
    assert (site / "igan_zoo" / "py.typed").exists()
    assert {path.name for path in bundled.iterdir()} == {"mnist-ssl", "cifar10-ssl"}
    for path in bundled.iterdir():
        assert {"README.md", "config.json", "parity.json", "samples.png", "onnx"} <= {
            part.name for part in path.iterdir()
        }
        assert (path / ".eval_results" / f"{path.name}.yaml").exists()
    assert sum(path.stat().st_size for path in bundled.rglob("*.onnx")) <= 25_000_000
    assert not list(site.rglob("*.safetensors"))


def test_an_installed_wheel_pulls_samples_and_classifies_without_a_network(site: Path, tmp_path: Path) -> None:
    """In an empty folder, far from any checkout."""

    def igan_zoo(*arguments: str) -> str:
        code = f"import sys; sys.path.insert(0, {str(site)!r}); from igan_zoo import cli; cli.main({list(arguments)!r})"
        environment = {**os.environ, "IGAN_ZOO_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
        result = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    write_image(tmp_path / "photo.png", np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8))
    for name in ("mnist-ssl", "cifar10-ssl"):
        pulled = igan_zoo("pull", name)
        assert pulled.startswith(f"{name} (bundled): {site / 'igan_zoo' / 'bundled' / name}, without model.safetensors")
        assert "files match, without model.safetensors (training weights)" in igan_zoo("verify", name)
        igan_zoo("sample", name, "--n", "100", "--out", f"{name}.npz")
        with np.load(tmp_path / f"{name}.npz") as samples:
            assert len(samples["images"]) == 100
        assert "photo.png" in igan_zoo("classify", name, "photo.png")
