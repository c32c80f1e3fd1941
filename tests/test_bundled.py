"""The models that ship with the project: whole, pinned, as good as their cards say, and in the wheel."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from igan_zoo import catalogue, store
from igan_zoo.directory import ModelDirectory
from igan_zoo.files import sha256_of
from igan_zoo.latents import latents
from igan_zoo.publishable import check_publishable
from igan_zoo.serving.classifying import Classification, classify, count_errors
from igan_zoo.serving.engine import load_engine
from tests.conftest import REAL_MNIST, REPOSITORY

NAMES = [entry.name for entry in catalogue.CATALOGUE]
MODELS = sorted(path for path in (REPOSITORY / "models").iterdir() if path.is_dir())


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.name)
def test_every_published_directory_is_whole_and_named_after_its_model(path: Path) -> None:
    directory = ModelDirectory.open(path)
    directory.verify()
    assert directory.spec.name == path.name
    assert sum(file.size for file in directory.spec.files.values()) < 30_000_000


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


@pytest.mark.parametrize("name", NAMES)
def test_the_catalogue_pins_the_published_bytes(name: str) -> None:
    assert catalogue.BY_NAME[name].config_sha256 == sha256_of(REPOSITORY / "models" / name / "config.json")


def test_the_default_model_is_bundled() -> None:
    model = store.resolve(None)
    assert model.name == catalogue.DEFAULT_MODEL
    assert model.path.parent.name == "bundled"


def test_the_shipped_digits_are_read_correctly() -> None:
    files = sorted((REPOSITORY / "docs" / "digits").glob("*.png"))
    engine = load_engine(store.resolve(None), ["classifier"])
    for answer, file in zip(classify(engine, tuple("0123456789"), files, top=1), files, strict=True):
        assert isinstance(answer, Classification)
        assert answer.classes[0][0] == file.stem


@pytest.mark.skipif(not REAL_MNIST.is_dir(), reason=f"needs real MNIST in the Hub's layout at {REAL_MNIST}")
def test_the_card_states_the_errors_on_the_real_test_set() -> None:
    from igan_zoo.training.data.sources import load_images

    model = store.resolve(None)
    assert model.directory is not None
    data = load_images(str(REAL_MNIST), "test", height=28, width=28, channels=1)
    assert [result.variant for result in model.directory.spec.results] == [None, "int8"]
    for result in model.directory.spec.results:
        assert len(data) == result.total
        engine = load_engine(model, ["classifier"], variant=result.variant)
        assert count_errors(engine, data.images, data.labels) == result.wrong


def test_the_wheel_has_the_model_and_not_its_training_weights(tmp_path: Path) -> None:
    """Built as `pip install .` builds it on a fresh clone, and used from where it was unpacked."""
    clone = tmp_path / "clone"
    clone.mkdir()
    for name in ("zoo", "training", "export", "serving", "pyproject.toml", "README.md", "LICENSE"):
        copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy
        copy(REPOSITORY / name, clone / name)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir"]
    subprocess.run([*build, tmp_path, clone], check=True, cwd=tmp_path, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.stat().st_size < 12_000_000
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    assert "igan_zoo/py.typed" in names
    assert f"igan_zoo/bundled/{catalogue.DEFAULT_MODEL}/.eval_results/{catalogue.DEFAULT_MODEL}.yaml" in names
    assert not [name for name in names if name.endswith(".safetensors")]
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); from igan_zoo import cli, store; "
        "store.resolve(None).directory.verify(); cli.main(['sample', '--n', '3'])"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, capture_output=True)
    assert (tmp_path / "samples.npz").exists()
