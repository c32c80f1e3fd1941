"""The engine: interfaces are checked, the device is real, threads may share it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from igan_zoo.errors import DeviceError, InterfaceError, ModelDirectoryError
from igan_zoo.latents import latents
from igan_zoo.models import store
from igan_zoo.models.spec import CONFIG, ImageSpec, LatentSpec, encode_spec, read_spec
from igan_zoo.serving.engine import Engine, load_engine
from igan_zoo.serving.model import load_model


def identity_graph(name: str, kind: int, shape: list[object], out: str) -> bytes:
    tensors = [helper.make_tensor_value_info(tensor, kind, shape) for tensor in (name, out)]
    graph = helper.make_graph([helper.make_node("Identity", [name], [out])], "g", tensors[:1], tensors[1:])
    opsets = [helper.make_opsetid("", 18)]
    content: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    return content


@pytest.fixture
def engine(exported_model: Path) -> Engine:
    return load_engine(store.resolve(str(exported_model)), ["generator", "classifier"])


def test_the_provider_in_use_is_reported(engine: Engine) -> None:
    assert engine.provider == "CPUExecutionProvider"
    assert engine.graphs["generator"].input_shape == (100,)
    assert engine.graphs["generator"].output_shape == (28, 28, 1)
    assert engine.graphs["classifier"].output_shape == (10,)


def test_a_device_that_is_not_there_is_an_error_and_no_silent_cpu(exported_model: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("needs an onnxruntime without CUDA")
    with pytest.raises(DeviceError, match="no CUDAExecutionProvider"):
        load_engine(store.resolve(str(exported_model)), ["generator"], device="cuda")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an ONNX graph"),
        (b"not onnx at all", "not an ONNX graph"),
        (identity_graph("latent", TensorProto.DOUBLE, ["N", 100], "images"), r"inputs are latent tensor\(double\)"),
        (identity_graph("z", TensorProto.FLOAT, ["N", 100], "images"), "inputs are z"),
        (identity_graph("latent", TensorProto.FLOAT, ["N", 100], "images"), "outputs are images"),
    ],
)
def test_a_graph_with_another_interface_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(InterfaceError, match=message) as caught:
        Engine({"generator": content})
    assert "\n" not in str(caught.value)


def test_a_classifier_is_no_generator(exported_model: Path) -> None:
    with pytest.raises(InterfaceError, match="not a generator: its inputs are images"):
        Engine({"generator": (exported_model / "onnx" / "classifier.onnx").read_bytes()})


@pytest.mark.parametrize(
    "inputs", [{}, {"z": np.zeros((1, 100), np.float32)}, {"latent": np.zeros((1, 99), np.float32)}]
)
def test_inputs_of_another_name_or_shape_are_refused(engine: Engine, inputs: dict[str, np.ndarray]) -> None:
    with pytest.raises(InterfaceError, match=r"takes latent of shape"):
        engine.run("generator", inputs)


def test_inputs_of_another_type_are_refused(engine: Engine) -> None:
    with pytest.raises(InterfaceError, match="cannot run this input"):
        engine.run("generator", {"latent": np.zeros((1, 100), np.float64)})


def test_threads_share_an_engine(engine: Engine) -> None:
    batches = [latents(100, "uniform", seed=0, start=8 * i, count=8) for i in range(16)]
    expected = [engine.run("generator", {"latent": z})["images"] for z in batches]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda z: engine.run("generator", {"latent": z})["images"], batches))
    for one, other in zip(expected, results, strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_onnx_file_without_its_directory_says_what_it_is(exported_model: Path, tmp_path: Path) -> None:
    directory = load_model(store.resolve(str(exported_model)))
    for role, fact in (("generator", "latents"), ("classifier", "classes")):
        file = load_model(store.resolve(str(exported_model / "onnx" / f"{role}.onnx")))
        assert list(file.engine.graphs) == [role]
        assert getattr(file, fact) == getattr(directory, fact)


def test_an_onnx_file_without_metadata(exported_model: Path, tmp_path: Path) -> None:
    for role in ("generator", "classifier"):
        graph = onnx.load(exported_model / "onnx" / f"{role}.onnx")
        del graph.metadata_props[:]
        onnx.save(graph, tmp_path / f"{role}.onnx")
    with pytest.raises(InterfaceError, match="does not name"):
        _ = load_model(store.resolve(str(tmp_path / "generator.onnx"))).latents
    classifier = load_model(store.resolve(str(tmp_path / "classifier.onnx")))
    assert classifier.classes == tuple("0123456789")
    assert classifier.known_classes is None
    with pytest.raises(ModelDirectoryError, match="loaded without a generator; it has: classifier"):
        _ = classifier.latents


@pytest.mark.parametrize("location", ["weights.bin", "../outside.bin", "absolute"])
def test_a_graph_whose_weights_are_in_other_files_is_refused(
    location: str, exported_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would read any file that the process may read, and its outputs would show it."""
    (tmp_path / "inside").mkdir()
    monkeypatch.chdir(tmp_path / "inside")
    model = onnx.load(exported_model / "onnx" / "classifier.onnx")
    (tensor,) = [tensor for tensor in model.graph.initializer if list(tensor.dims) == [250]][:1]
    for path in (tmp_path / "inside" / "weights.bin", tmp_path / "outside.bin"):
        path.write_bytes(tensor.raw_data)
    place = str(tmp_path / "outside.bin") if location == "absolute" else location
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", place), ("offset", "0"), ("length", "1000")):
        tensor.external_data.add(key=key, value=value)
    with pytest.raises(InterfaceError, match="keeps weights in other files"):
        Engine({"classifier": model.SerializeToString()})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": ("0", "1")}, r"classifier of .* has logits of size \[10\], but config.json says \[2\]"),
        ({"latent": LatentSpec(size=99, distribution="uniform")}, r"latent of size \[100\], .* \[99\]"),
        ({"image": ImageSpec(height=28, width=29, channels=1)}, r"images of size \[28, 28, 1\], .* \[28, 29, 1\]"),
    ],
)
def test_graphs_of_other_sizes_than_the_specification_says_are_refused(
    changes: dict[str, object], message: str, model: Path
) -> None:
    spec = read_spec(model / CONFIG)
    (model / CONFIG).write_bytes(encode_spec(msgspec.structs.replace(spec, **changes)))
    with pytest.raises(InterfaceError, match=message):
        load_engine(store.resolve(str(model)), ["generator", "classifier"])


@pytest.mark.parametrize("command", ["classify", "score", "bench", "sample"])
def test_every_command_refuses_a_graph_that_is_not_as_specified(
    command: str, model: Path, tmp_path: Path, igan_zoo: Callable[..., tuple[int, str, str]], digit: Path
) -> None:
    spec = read_spec(model / CONFIG)
    changed = {"classes": ("0", "1"), "latent": LatentSpec(size=99, distribution="uniform")}
    (model / CONFIG).write_bytes(encode_spec(msgspec.structs.replace(spec, **changed)))
    arguments = {
        "classify": [model, digit],
        "score": [digit.parent, "--scorer", model],
        "bench": [model],
        "sample": [model, "--out", tmp_path / "x.npz"],
    }
    code, _, errors = igan_zoo(command, *arguments[command])
    assert (code, errors.count("Error: ")) == (1, 1)
    assert "config.json says" in errors


def scorer_graph(shape: list[object]) -> bytes:
    """Features: the mean of every channel; logits: twice that."""
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, shape)
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3]) for name in ("features", "logits")]
    axes = helper.make_tensor("axes", TensorProto.INT64, [2], [1, 2])
    nodes = [
        helper.make_node("Cast", ["images"], ["levels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["levels", "axes"], ["features"], keepdims=0),
        helper.make_node("Add", ["features", "features"], ["logits"]),
    ]
    graph = helper.make_graph(nodes, "g", [images], outputs, [axes])
    opsets = [helper.make_opsetid("", 18)]
    content: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    return content


def test_a_scorer_takes_images_of_every_size() -> None:
    scorer = Engine({"scorer": scorer_graph(["N", "H", "W", 3])})
    graph = scorer.graphs["scorer"]
    assert (graph.free_axes, graph.input_shape, graph.output_shape) == (("H", "W"), (3,), (3,))
    for shape in ((1, 1, 1, 3), (2, 5, 7, 3), (3, 64, 48, 3)):
        outputs = scorer.run("scorer", {"images": np.full(shape, 7, np.uint8)})
        np.testing.assert_array_equal(outputs["features"], np.full((shape[0], 3), 7, np.float32))
        np.testing.assert_array_equal(outputs["logits"], np.full((shape[0], 3), 14, np.float32))


@pytest.mark.parametrize("shape", [(2, 5, 7, 1), (2, 5, 7), (5, 7, 3), (2, 0, 7, 3), (2, 5, 7, 3, 3)])
def test_images_that_no_scorer_takes_are_refused(shape: tuple[int, ...]) -> None:
    scorer = Engine({"scorer": scorer_graph(["N", "H", "W", 3])})
    with pytest.raises(InterfaceError, match=r"The scorer takes images of shape \['N', 'H', 'W', 3\]; it is of shape"):
        scorer.run("scorer", {"images": np.zeros(shape, np.uint8)})


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (["N", 299, 299, 3], "takes images of one size only"),
        (["N", "H", "W", "C"], "fixed shape apart from the batch, H, W"),
    ],
)
def test_a_scorer_of_one_size_or_of_any_channels_is_refused(shape: list[object], message: str) -> None:
    with pytest.raises(InterfaceError, match=message):
        Engine({"scorer": scorer_graph(shape)})


def test_a_session_has_a_thread_for_each_core_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("igan_zoo.serving.engine.cores", lambda: 3)
    content = scorer_graph(["N", "H", "W", 3])
    for threads, expected in ((None, 3), (2, 2)):
        session = Engine({"scorer": content}, threads=threads)._sessions["scorer"]
        assert session.get_session_options().intra_op_num_threads == expected
