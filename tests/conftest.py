"""Shared fixtures: a clean environment, a small data set in the Hub's layout, a run and a model made from it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

import igan_zoo as _before_onnxruntime  # noqa: F401 - tests that import it themselves are to report nothing either
from tests.skips import pytest_make_collect_report, pytest_runtest_makereport  # noqa: F401 - hooks of pytest

if TYPE_CHECKING:
    from tests.hub_standin.server import StandIn

REPOSITORY = Path(__file__).parent.parent
REAL_MNIST = REPOSITORY.parent / "shared" / "data" / "mnist"

# A real recipe, only smaller: one epoch takes about a second.
TINY = ["batch_size=20", "validation_images=50", "initialization_images=50"]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test sees the user's models or data caches, and none may reach a network."""
    monkeypatch.setenv("IGAN_ZOO_HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.delenv("IGAN_ZOO_MIRROR", raising=False)
    # A bug is not to pass for an error that a test expects.
    monkeypatch.setenv("IGAN_ZOO_DEBUG", "1")


@pytest.fixture(scope="session", autouse=True)
def offline() -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture
def igan_zoo(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs the command line in this process; returns exit code, stdout and stderr."""
    from igan_zoo.cli import main

    def run(*arguments: object) -> tuple[int, str, str]:
        code = 0
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def pytest_configure() -> None:
    """Lets the processes of tests be interrupted: below a background job of a shell SIGINT is ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def igan_zoo_process(*arguments: object, **options: object) -> subprocess.Popen[str]:
    """Starts the command line in a process of its own."""
    command = [sys.executable, "-m", "igan_zoo", *map(str, arguments)]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)  # type: ignore[call-overload, no-any-return]


def synthetic_digits(count: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Ten classes of 28x28 grey images: a bright square at a place of its own, and noise."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 10
    images = generator.integers(0, 60, (count, 28, 28), np.uint8)
    for image, label in zip(images, labels, strict=True):
        top, left = 2 + 5 * (label % 5), 4 + 12 * (label // 5)
        image[top : top + 5, left : left + 10] += 150
    return images, labels


@pytest.fixture(scope="session")
def data_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 training and 100 test images as parquet files, in the layout of the Hub's MNIST."""
    from PIL import Image

    from tests.parquet import write_images

    root = tmp_path_factory.mktemp("data")
    for split, count, seed in (("train", 300, 1), ("test", 100, 2)):
        images, labels = synthetic_digits(count, seed)
        path = root / "mnist" / f"{split}-00000-of-00001.parquet"
        write_images(path, map(Image.fromarray, images), names="0123456789", label=labels)
    return root


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory, data_directory: Path) -> dict[str, Path]:
    """Data in the format of each data set, by the Hub id that recipes name."""
    from PIL import Image
    from scipy.io import savemat

    from tests.parquet import write_images

    root = tmp_path_factory.mktemp("sources")
    generator = np.random.default_rng(0)
    labels = np.arange(60) % 10
    colours = generator.integers(0, 256, (60, 32, 32, 3), np.uint8)

    # CIFAR-10: the Hub's parquet files, columns img and label.
    for split in ("train", "test"):
        path = root / "cifar10" / "plain_text" / f"{split}-00000-of-00001.parquet"
        write_images(path, map(Image.fromarray, colours), "img", "abcdefghij", label=labels)

    # SVHN: the original .mat files, whose label 10 is the digit 0.
    (root / "svhn").mkdir()
    for split in ("train", "test"):
        content = {"X": colours.transpose(1, 2, 3, 0), "y": np.where(labels == 0, 10, labels)[:, None].astype(np.uint8)}
        savemat(root / "svhn" / f"{split}_32x32.mat", content)

    # Photos in class folders, as ImageNet's.
    for split, count in (("train", 26), ("val", 2)):
        for name in ("n01440764", "n02102040", "n03888257"):
            folder = root / "photos" / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                photo = generator.integers(0, 256, (140, 150, 3), np.uint8)
                Image.fromarray(photo).save(folder / f"{name}_{index}.JPEG", quality=80)
    return {
        "ylecun/mnist": data_directory,
        "uoft-cs/cifar10": root / "cifar10",
        "ufldl-stanford/svhn": root / "svhn",
        "ILSVRC/imagenet-1k": root / "photos",
        "frgfm/imagenette": root / "photos",
        "your own images": root / "photos",
    }


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory, data_directory: Path) -> Path:
    """A run of the real recipe on the small data, three epochs long."""
    from igan_zoo.training.recipes.catalogue import find_recipe
    from igan_zoo.training.recipes.settings import customize
    from igan_zoo.training.start import start_training

    path = tmp_path_factory.mktemp("runs") / "run"
    recipe = customize(find_recipe("mnist-ssl-softplus"), [*TINY, "epochs=3", "labels=20"])
    start_training(recipe, str(data_directory), path, resume=False, threads=1)
    return path


@pytest.fixture(scope="session")
def exported_model(tmp_path_factory: pytest.TempPathFactory, data_directory: Path, finished_run: Path) -> Path:
    """The model directory of that run, with its errors on the test split."""
    from igan_zoo.export.exporter import export_run
    from igan_zoo.images.loading import load_images

    path = tmp_path_factory.mktemp("models") / "tiny"
    test = load_images(str(data_directory), "test", height=28, width=28, channels=1)
    export_run(finished_run, path, test=test, name="tiny")
    return path


@pytest.fixture
def model(tmp_path: Path, exported_model: Path) -> Path:
    """A copy of the exported model that a test may damage."""
    import shutil

    return Path(shutil.copytree(exported_model, tmp_path / "tiny"))


@pytest.fixture
def digit(tmp_path: Path) -> Path:
    """A PNG file of one image of the small data."""
    from PIL import Image

    images, _ = synthetic_digits(1, 5)
    path = tmp_path / "digit.png"
    Image.fromarray(images[0]).save(path)
    return path


@pytest.fixture
def standin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """A Hub of this test's own, taken for the real one by huggingface_hub; nothing is cached, and no token is set."""
    import huggingface_hub.utils._xet as xet
    from huggingface_hub import constants
    from huggingface_hub.utils import close_session

    from igan_zoo.hub import errors as hub_errors
    from tests.hub_standin.server import running

    with running(tmp_path / "xet") as server:
        for name, value in {
            "ENDPOINT": server.endpoint,
            "HUGGINGFACE_CO_URL_TEMPLATE": server.endpoint + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_OFFLINE": False,
            "HF_HUB_CACHE": str(tmp_path / "hub"),
            "HF_TOKEN_PATH": str(tmp_path / "token"),
        }.items():
            monkeypatch.setattr(constants, name, value)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.setattr(hub_errors, "WAITS", (0.01, 0.01))
        yield server
    xet.XET_CONNECTION_INFO_CACHE.clear()
    close_session()
