"""Anybody's encoder as a scorer, next to Pillow and the bare graph; and one sentence for what is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from igan_zoo.errors import InterfaceError
from igan_zoo.serving.scorers.encoders import encoder_as_scorer
from igan_zoo.serving.scorers.opening import open_scorer

Cli = Callable[..., tuple[int, str, str]]
MEAN, DEVIATION, SIZE = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 24


def encoder(
    *, pixels: str = "pixels", output: str = "embedding", batch: Any = "N", opset: int = 18, size: Any = SIZE
) -> onnx.ModelProto:
    """The pixels after preprocessing, four to a side, as features: any error in one shows."""
    nodes = [
        helper.make_node("AveragePool", [pixels], ["images"], kernel_shape=[6, 6], strides=[6, 6]),
        helper.make_node("Flatten", ["images"], [output]),
    ]
    given = helper.make_tensor_value_info(pixels, TensorProto.FLOAT, [batch, 3, size, size])
    made = helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", 48])
    graph = helper.make_graph(nodes, "theirs", [given], [made], doc_string="kept")
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def written(folder: Path, model: onnx.ModelProto, **settings: Any) -> Path:
    path = folder / "theirs.onnx"
    path.write_bytes(model.SerializeToString())
    (folder / "theirs.json").write_text(json.dumps({"size": SIZE, "mean": MEAN, "deviation": DEVIATION, **settings}))
    return path


def image(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def by_pillow(pixels: NDArray[np.uint8], resize: str, crop: bool, shorter_side: int = SIZE) -> NDArray[np.float64]:
    """The preprocessing of torchvision's Resize, CenterCrop, ToTensor and Normalize, and the encoder's means."""
    kind = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}[resize]
    height, width = pixels.shape[:2]
    if crop:
        short = min(height, width)
        sizes = int(shorter_side * height / short), int(shorter_side * width / short)
        resized = Image.fromarray(pixels).resize((sizes[1], sizes[0]), kind)
        top, left = (round((size - SIZE) / 2) for size in sizes)
        resized = resized.crop((left, top, left + SIZE, top + SIZE))
    else:
        resized = Image.fromarray(pixels).resize((SIZE, SIZE), kind)
    levels = (np.asarray(resized) / 255 - MEAN) / DEVIATION
    return levels.reshape(4, 6, 4, 6, 3).mean(axis=(1, 3)).transpose(2, 0, 1).reshape(-1)


@pytest.mark.parametrize("crop", [False, True])
@pytest.mark.parametrize("resize", ["bicubic", "bilinear"])
@pytest.mark.parametrize(("height", "width"), [(SIZE, SIZE), (11, 11), (70, 41), (41, 73), (200, 90)])
def test_images_come_as_pillow_and_torchvision_bring_them(
    tmp_path: Path, resize: str, crop: bool, height: int, width: int
) -> None:
    """A level is 0.017 after the division by the deviation, and each feature the mean of 36 of them.

    Pillow 13 resizes the axis first that saves more work, which rounds some pixels to the next level.
    """
    network = open_scorer(str(written(tmp_path, encoder(), resize=resize, crop=crop)))
    pixels = image(height, width)
    features, logits = network.answer(pixels[None])
    assert (features.shape, logits.shape, network.features, network.classes) == ((1, 48), (1, 0), 48, 0)
    np.testing.assert_allclose(features[0], by_pillow(pixels, resize, crop), atol=0.005)
    other = "bilinear" if resize == "bicubic" else "bicubic"
    if (height, width) == (11, 11):
        assert np.abs(features[0] - by_pillow(pixels, other, crop)).max() > 0.01
    if height != width:
        assert np.abs(features[0] - by_pillow(pixels, resize, not crop)).max() > 0.05


def test_branches_of_an_encoder_read_its_input_under_the_new_name(tmp_path: Path) -> None:
    """A branch reads tensors of the graph around it, which get other names, and has those of its own."""

    def branch(name: str) -> onnx.GraphProto:
        doubled = helper.make_node("Add", ["pixels", "pixels"], ["features"], name=name)
        made = helper.make_tensor_value_info("features", TensorProto.FLOAT, None)
        return helper.make_graph([doubled], name, [], [made])

    model = encoder(pixels="twice")
    given = model.graph.input[0]
    given.name = "pixels"
    nodes = [
        helper.make_node("Constant", [], ["yes"], value=numpy_helper.from_array(np.array(True))),
        helper.make_node("If", ["yes"], ["twice"], then_branch=branch("then"), else_branch=branch("else")),
        *model.graph.node,
    ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    network = open_scorer(str(written(tmp_path, model)))
    pixels = image(70, 41)
    np.testing.assert_allclose(
        network.answer(pixels[None])[0][0], 2 * by_pillow(pixels, "bicubic", crop=False), atol=0.01
    )


def test_more_may_be_cropped_as_torchvisions_classifiers_want_it(tmp_path: Path) -> None:
    network = open_scorer(str(written(tmp_path, encoder(), resize="bilinear", crop=True, shorter_side=31)))
    pixels = image(70, 41)
    np.testing.assert_allclose(network.answer(pixels[None])[0][0], by_pillow(pixels, "bilinear", True, 31), atol=0.005)
    assert network.resize == "bilinear-31-24"
    assert network.engine.graphs["scorer"].image_shape == (SIZE, SIZE, 3)


@pytest.mark.parametrize(("pixels", "output"), [("pixels", "embedding"), ("images", "features"), ("x", "logits")])
def test_names_of_the_encoder_may_be_those_of_a_scorer(tmp_path: Path, pixels: str, output: str) -> None:
    model = encoder(pixels=pixels, output=output)
    if pixels == "images":
        model.graph.node[0].output[0] = model.graph.node[1].input[0] = "between"
    path = encoder_as_scorer(written(tmp_path, model), tmp_path / "made")
    made = onnx.load(path)
    onnx.checker.check_model(made, full_check=True)
    assert [value.name for value in made.graph.output] == ["features"]
    assert made.graph.doc_string == "kept"


def test_the_name_says_the_encoder_and_its_settings(tmp_path: Path) -> None:
    first, again = (encoder_as_scorer(written(tmp_path, encoder()), tmp_path / "made") for _ in range(2))
    other = encoder_as_scorer(written(tmp_path, encoder(), crop=True), tmp_path / "made")
    assert first == again != other
    assert first.stem.startswith("theirs-")


def test_classes_alone_are_scored_and_features_alone_compared(igan_zoo: Cli, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", np.random.default_rng(0).integers(0, 256, (60, 9, 8, 3), np.uint8))
    command = ("score", tmp_path / "images.npy", "--scorer", written(tmp_path, encoder()), "--format", "json")
    code, output, errors = igan_zoo(*command, tmp_path / "images.npy", "--metric", "all")
    assert code == 0, errors
    protocols = [json.loads(line)["protocol"].rpartition("-")[0] for line in output.splitlines()]
    alone = [""] * 4  # precision and recall, density and coverage
    assert protocols == ["fd60-theirs", "kd60-theirs", *alone, "fd-inf60-theirs", "kd-rbf60-theirs", ""]
    code, _, errors = igan_zoo(*command)
    assert code == 1
    assert "is scores classes, and the encoder theirs-" in errors

    written(tmp_path, encoder(), logits="embedding")
    code, output, errors = igan_zoo(*command, "--metric", "is")
    assert code == 0, errors
    assert json.loads(output.splitlines()[0])["protocol"] == "is60"
    code, _, errors = igan_zoo(*command, tmp_path / "images.npy")
    assert code == 1
    assert "fid compares features" in errors


def without_dynamic_batch() -> onnx.ModelProto:
    return encoder(batch=1)


def of_an_old_opset() -> onnx.ModelProto:
    return encoder(opset=14)


def of_other_images() -> onnx.ModelProto:
    return encoder(size=32)


def of_two_outputs() -> onnx.ModelProto:
    model = encoder()
    model.graph.output.append(helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 3, 4, 4]))
    return model


def of_two_inputs() -> onnx.ModelProto:
    model = encoder()
    model.graph.input.append(helper.make_tensor_value_info("text", TensorProto.INT64, ["N", 77]))
    return model


def test_a_name_that_is_not_utf_8_is_no_reason_to_say_nothing(tmp_path: Path) -> None:
    path = written(tmp_path, encoder(), features="absent")
    path.write_bytes(path.read_bytes().replace(b"embedding", b"\xffmbedding"))
    with pytest.raises(InterfaceError, match="has no output absent"):
        open_scorer(str(path))


@pytest.mark.parametrize(
    ("make", "settings", "message"),
    [
        (without_dynamic_batch, {}, "takes only batches of 1: export it with a dynamic batch size."),
        (of_an_old_opset, {}, "has opset 14: export it with opset 15 or later."),
        (of_other_images, {}, r"takes images of \[32, 32\] pixels, but its settings say 24."),
        (of_two_outputs, {}, "has the outputs embedding, images: name one in its settings as features."),
        (of_two_outputs, {"features": "images"}, r"has no output images of shape \[N, F\]"),
        (of_two_inputs, {}, r"its input is pixels .*, text .*, not float32 \[N, 3, H, W\]."),
        (encoder, {"features": "absent"}, "has no output absent"),
        (encoder, {"mean": [1, 2]}, "does not describe an encoder"),
        (encoder, {"deviation": [1, 0, 1]}, "does not describe an encoder"),
        (encoder, {"resize": "nearest"}, "does not describe an encoder"),
        (encoder, {"shorter_side": 30}, "does not describe an encoder.*shorter_side needs crop"),
        (encoder, {"colour": "bgr"}, "does not describe an encoder"),
    ],
)
def test_what_is_no_encoder_is_one_sentence(
    tmp_path: Path, make: Callable[[], onnx.ModelProto], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(InterfaceError, match=message) as caught:
        encoder_as_scorer(written(tmp_path, make(), **settings), tmp_path / "made")
    assert str(tmp_path / "theirs.") in str(caught.value)
    assert not str(caught.value).endswith("..")
    assert not (tmp_path / "made").exists()


def test_names_and_files_that_are_none_are_one_sentence(tmp_path: Path) -> None:
    path = written(tmp_path, encoder())
    whole = path.read_bytes()
    for content, message in (
        (whole.replace(b"embedding", b"embe\xe1ding"), "has names that are not UTF-8"),
        (whole[:-20], "is not an ONNX model, or is truncated"),
    ):
        path.write_bytes(content)
        with pytest.raises(InterfaceError, match=message):
            encoder_as_scorer(path, tmp_path / "made")


def test_without_settings_the_error_says_what_to_write(tmp_path: Path) -> None:
    path = written(tmp_path, encoder())
    path.with_suffix(".json").unlink()
    with pytest.raises(InterfaceError, match=r"write its size, mean and deviation to theirs\.json\."):
        open_scorer(str(path))


def test_weights_of_older_files_may_be_inputs_too(tmp_path: Path) -> None:
    model = encoder()
    model.graph.node.insert(0, helper.make_node("Mul", ["pixels", "scale"], ["scaled"]))
    model.graph.node[1].input[0] = "scaled"
    model.graph.initializer.append(numpy_helper.from_array(np.array([2.0], np.float32), "scale"))
    model.graph.input.append(helper.make_tensor_value_info("scale", TensorProto.FLOAT, [1]))
    network = open_scorer(str(written(tmp_path, model)))
    pixels = image(SIZE, SIZE)
    np.testing.assert_allclose(network.answer(pixels[None])[0][0] / 2, by_pillow(pixels, "bicubic", False), atol=1e-5)
