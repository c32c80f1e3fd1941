"""The Inception scorer beside torch-fidelity's, with the same random weights and the same real images."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import interpolate, linear

from igan_zoo.export.scorers.inception import Inception
from igan_zoo.export.scorers.resize import tf1_bilinear
from igan_zoo.images.files.decoding import read_image
from igan_zoo.images.pixels import Shape
from igan_zoo.images.sources import open_source
from igan_zoo.images.stored import read
from igan_zoo.serving.engine import Engine
from igan_zoo.serving.scorers.converting import SCORERS
from tests.conftest import REPOSITORY
from tests.environments import python_of
from tests.export.calibrated import calibrate
from tests.serving.scorers.converted import converted

DATA = REPOSITORY.parent / "shared" / "data"

pytestmark = pytest.mark.skipif(
    not (DATA / "imagenette").is_dir() or not (DATA / "cifar10").is_dir(),
    reason="needs CIFAR-10 and Imagenette in ../shared/data",
)

Outputs = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Trial:
    """The same images through both: groups of images, what either computes, the scores, and our network in torch."""

    groups: list[NDArray[np.uint8]]
    ours: Outputs
    theirs: Outputs
    scores: dict[str, dict[str, float]]
    network: Inception


def real_images() -> list[NDArray[np.uint8]]:
    """80 images of CIFAR-10, and 80 photos in five sizes: smaller than the network's input, equal, and larger."""
    small = np.stack(read(open_source(str(DATA / "cifar10"), split="test"), range(80)))
    photos = [sorted(folder.iterdir())[:8] for folder in sorted((DATA / "imagenette" / "val").iterdir())]
    files = [file for column in zip(*photos, strict=True) for file in column]
    sizes = [(224, 224), (160, 213), (299, 299), (300, 300), (375, 500)]
    groups = [small]
    for index, (height, width) in enumerate(sizes):
        chosen = files[16 * index : 16 * index + 16]
        groups.append(np.stack([read_image(file, Shape(3, height, width)) for file in chosen]))
    return groups


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    oracle, folder = python_of("oracle"), tmp_path_factory.mktemp("oracle")
    groups = real_images()
    network = Inception()
    calibrate(network, normalized(tf1_bilinear(torch.from_numpy(groups[1]), 299)))
    torch.save(network.state_dict(), folder / "weights.pth")
    path = converted(SCORERS["inception"], folder / "weights.pth", folder)
    engine = Engine({"scorer": path.read_bytes()}, threads=1)
    chunks = [group[start : start + 8] for group in groups for start in range(0, len(group), 8)]
    parts = [engine.run("scorer", {"images": chunk}) for chunk in chunks]
    ours = {name: np.concatenate([part[name] for part in parts]) for name in ("features", "logits")}
    np.savez(folder / "ours.npz", **ours)
    np.savez(folder / "images.npz", **{str(number): group for number, group in enumerate(groups)})
    command = [oracle, "-m", "tests.export.torch_fidelity_oracle", folder]
    finished = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    with np.load(folder / "theirs.npz") as arrays:
        theirs = {name: arrays[name] for name in arrays.files}
    return Trial(groups, ours, theirs, json.loads(finished.stdout), network)


def passes(ours: Outputs, theirs: Outputs) -> bool:
    """The gate: 3e-4 for every feature and logit."""
    return all(float(np.abs(ours[name] - theirs[name]).max()) <= 3e-4 for name in theirs)


def test_features_and_logits_are_torch_fidelitys(trial: Trial) -> None:
    assert trial.theirs["features"].std(axis=0).mean() > 0.05
    assert trial.theirs["logits"].std() > 0.5
    largest = {name: float(np.abs(trial.ours[name] - trial.theirs[name]).max()) for name in trial.theirs}
    print(largest)
    assert passes(trial.ours, trial.theirs), largest


def test_scores_are_torch_fidelitys(trial: Trial) -> None:
    ours, theirs = trial.scores["ours"], trial.scores["theirs"]
    print(trial.scores)
    assert abs(ours["is"] - theirs["is"]) <= 1e-5
    assert abs(ours["kid"] - theirs["kid"]) <= 1e-5
    assert abs(ours["fid"] - theirs["fid"]) <= 1e-6 * theirs["fid"]


def normalized(x: Tensor) -> Tensor:
    return (x - 128) / 128


def half_pixel(images: Tensor) -> Tensor:
    return interpolate(images.permute(0, 3, 1, 2).float(), (299, 299), mode="bilinear", align_corners=False)


def align_corners(images: Tensor) -> Tensor:
    return interpolate(images.permute(0, 3, 1, 2).float(), (299, 299), mode="bilinear", align_corners=True)


def plain(images: Tensor) -> Tensor:
    return tf1_bilinear(images, 299)


def count_padding(network: Inception) -> None:
    for layer in network.modules():
        if isinstance(layer, nn.AvgPool2d):
            layer.count_include_pad = True


def average_at_the_end(network: Inception) -> None:
    network.Mixed_7c.pool = nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)


def torchs_epsilon(network: Inception) -> None:
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eps = 1e-5


def unchanged(network: Inception) -> None:
    pass


@pytest.mark.parametrize(
    ("resize", "scale", "change", "biased", "right"),
    [
        pytest.param(plain, normalized, unchanged, False, True, id="as it must be"),
        pytest.param(half_pixel, normalized, unchanged, False, False, id="half-pixel centres"),
        pytest.param(align_corners, normalized, unchanged, False, False, id="aligned corners"),
        pytest.param(plain, lambda x: x / 127.5 - 1, unchanged, False, False, id="x / 127.5 - 1"),
        pytest.param(plain, lambda x: normalized(x.flip(1)), unchanged, False, False, id="BGR"),
        pytest.param(plain, normalized, count_padding, False, False, id="padding counted"),
        pytest.param(plain, normalized, average_at_the_end, False, False, id="average pool in the last block"),
        pytest.param(plain, normalized, torchs_epsilon, False, False, id="epsilon 1e-5"),
        pytest.param(plain, normalized, unchanged, True, False, id="logits with the bias"),
    ],
)
def test_every_known_mistake_is_seen(
    trial: Trial,
    resize: Callable[[Tensor], Tensor],
    scale: Callable[[Tensor], Tensor],
    change: Callable[[Inception], None],
    biased: bool,
    right: bool,
) -> None:
    """Three images of 32 pixels and three photos, through the network in torch with one thing wrong."""
    network = Inception().eval()
    network.load_state_dict(trial.network.state_dict())
    change(network)
    rows = {0: [0, 1, 2], 1: [80, 81, 82]}
    for group, indices in rows.items():
        images = torch.from_numpy(trial.groups[group][:3])
        with torch.no_grad():
            features, logits = network(scale(resize(images)))
            logits = linear(features, network.fc.weight, network.fc.bias) if biased else logits
        theirs = {name: array[indices] for name, array in trial.theirs.items()}
        assert passes({"features": features.numpy(), "logits": logits.numpy()}, theirs) is right
