"""The second engine: OpenVINO runs the same graphs, in bfloat16 or not at all."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import igan_zoo
from igan_zoo.errors import DeviceError, InterfaceError, MissingExtraError
from igan_zoo.models import store
from igan_zoo.serving import bfloat16
from igan_zoo.serving.engine import Engine, load_engine
from igan_zoo.serving.scorers.layers import pillow_resize
from igan_zoo.serving.scorers.onnx_graph import OnnxGraph
from tests.conftest import REPOSITORY
from tests.serving.tiny_scorer import tiny_scorer

Cli = Callable[..., tuple[int, str, str]]

pytest.importorskip("openvino", reason="needs the openvino extra")
ROLES = ("generator", "classifier")


def in_hardware() -> bool:
    return "BF16" in bfloat16._core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@pytest.fixture
def in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO as on any processor: everything but the arithmetic."""
    monkeypatch.setattr(bfloat16, "_PRECISION", "f32")


@pytest.fixture
def inputs() -> dict[str, dict[str, np.ndarray]]:
    random = np.random.default_rng(0)
    return {
        "generator": {"latent": random.random((7, 100), np.float32)},
        "classifier": {"images": random.integers(0, 256, (7, 28, 28, 1), np.uint8)},
    }


@pytest.mark.usefixtures("in_float32")
def test_it_answers_as_the_first_engine_does(inputs: dict[str, dict[str, np.ndarray]]) -> None:
    model = store.resolve("mnist-ssl")
    first = load_engine(model, ROLES, threads=1)
    second = load_engine(model, ROLES, threads=1, precision="bf16")
    assert second.graphs == first.graphs
    assert second.provider.startswith("OpenVINO 20")
    for role in ROLES:
        for rows in (7, 1):
            given = {name: array[:rows] for name, array in inputs[role].items()}
            ours, theirs = first.run(role, given), second.run(role, given)
            assert ours.keys() == theirs.keys()
            for name, expected in ours.items():
                assert theirs[name].dtype == expected.dtype
                limit = 1 if name == "images" else 1e-3
                np.testing.assert_allclose(theirs[name].astype(float), expected.astype(float), rtol=0, atol=limit)
    with pytest.raises(InterfaceError, match="takes latent of shape"):
        second.run("generator", {"latent": np.zeros((2, 5), np.float32)})


@pytest.mark.usefixtures("in_float32")
def test_threads_share_it() -> None:
    loaded = igan_zoo.load("mnist-ssl", roles=["generator"], threads=2, precision="bf16")
    once = loaded.sample(20, batch_size=5)
    with ThreadPoolExecutor(4) as pool:
        for images in pool.map(lambda _: loaded.sample(20, batch_size=5), range(8)):
            np.testing.assert_array_equal(images, once)


@pytest.mark.skipif("not in_hardware()", reason="needs a processor that multiplies in bfloat16")
def test_bfloat16_is_near_float32(inputs: dict[str, dict[str, np.ndarray]]) -> None:
    model = store.resolve("mnist-ssl")
    engines = [load_engine(model, ROLES, threads=1, precision=precision) for precision in ("fp32", "bf16")]
    logits = [engine.run("classifier", inputs["classifier"])["logits"] for engine in engines]
    images = [engine.run("generator", inputs["generator"])["images"].astype(int) for engine in engines]
    assert 0 < np.abs(logits[0] - logits[1]).max() < 1
    assert np.abs(images[0] - images[1]).mean() < 2


def resizing(size: int) -> bytes:
    """A scorer of that size whose features are the pixels that its first convolution sees."""
    graph = OnnxGraph()
    images = graph.input("images", np.uint8, ["N", "H", "W", 3])
    sizes = graph.constant([size, size])
    levels = graph.node("Div", pillow_resize(graph, images, sizes, cubic=True), graph.constant(255.0))
    kernel = graph.constant(np.eye(3).reshape(3, 3, 1, 1))
    pixels = graph.node("Conv", levels, kernel, kernel_shape=[1, 1])
    graph.output("features", graph.node("Flatten", pixels, axis=1), ["N", 3 * size * size])
    return graph.to_bytes({})


@pytest.mark.skipif("not in_hardware()", reason="needs a processor that multiplies in bfloat16")
@pytest.mark.parametrize("size", [200, 299])
def test_pixels_come_from_the_same_places_in_bfloat16(size: int) -> None:
    """bfloat16 has 8 bits, which do not tell 257 from 256: positions of pixels stay float32."""
    images = np.random.default_rng(0).integers(0, 256, (2, size + 1, size + 2, 3), np.uint8)
    exact, near = (
        Engine({"scorer": resizing(size)}, threads=1, precision=precision).run("scorer", {"images": images})["features"]
        for precision in ("fp32", "bf16")
    )
    # A step of bfloat16 below 1, and a level that another order of the sum rounds the other way.
    np.testing.assert_allclose(near, exact, rtol=0, atol=2**-8 + 1 / 255)


@pytest.mark.skipif("in_hardware()", reason="this processor multiplies in bfloat16")
@pytest.mark.parametrize("command", ["sample MODEL --out OUT", "score IMAGES --scorer SCORER", "serve MODEL --port 0"])
def test_a_processor_without_it_is_one_sentence(command: str, igan_zoo: Cli, tmp_path: Path) -> None:
    (tmp_path / "tiny.onnx").write_bytes(tiny_scorer({}))
    np.save(tmp_path / "images.npy", np.zeros((3, 8, 8, 3), np.uint8))
    words = {"MODEL": "mnist-ssl", "OUT": tmp_path / "x.npz", "IMAGES": tmp_path / "images.npy"}
    words["SCORER"] = tmp_path / "tiny.onnx"
    arguments = [words.get(word, word) for word in command.split()]
    code, output, errors = igan_zoo(*arguments, "--precision", "bf16")
    assert (code, output) == (1, "")
    (sentence,) = [line for line in errors.splitlines() if line.startswith("Error: ")]
    assert "has no bfloat16 arithmetic; remove --precision bf16." in sentence


def test_what_it_is_not_for_is_refused(igan_zoo: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(b"")
    code, _, errors = igan_zoo("sample", "mnist-ssl", "--workers", "2", "--precision", "bf16", "--out", tmp_path / "a")
    assert (code, "remove --threads and --precision" in errors) == (2, True)
    content = store.resolve("mnist-ssl").graph("generator")
    with pytest.raises(InterfaceError, match="OpenVINO cannot load this graph"):
        bfloat16.Bfloat16Session(content[:100], 1)
    monkeypatch.setitem(sys.modules, "openvino", None)
    bfloat16._core.cache_clear()
    with pytest.raises(MissingExtraError, match=r"pip install '.\[openvino\]'"):
        bfloat16.Bfloat16Session(content, 1)


@pytest.mark.usefixtures("in_float32")
def test_a_score_is_a_preview_with_its_error(igan_zoo: Cli, tmp_path: Path) -> None:
    (tmp_path / "tiny.onnx").write_bytes(tiny_scorer({}))
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3), np.uint8)
    np.save(tmp_path / "images.npy", images)
    command = ("score", tmp_path / "images.npy", "--scorer", tmp_path / "tiny.onnx", "--format", "json")
    code, output, errors = igan_zoo(*command, "--precision", "bf16")
    assert code == 0, errors
    assert "in bf16 is a preview: on 60 of these images the score is " in errors
    assert '"precision":"bf16"' in output
    assert '"provider":"OpenVINO ' in output
    assert "bf16 preview" in output
    assert '"precision":"fp32"' in igan_zoo(*command)[1]


@pytest.mark.usefixtures("in_float32")
def test_samples_are_a_preview_with_their_error(igan_zoo: Cli, tmp_path: Path) -> None:
    code, _, errors = igan_zoo("sample", "mnist-ssl", "--n", "3", "--precision", "bf16", "--out", tmp_path / "x.npz")
    assert code == 0
    assert "mnist-ssl in bf16 is a preview: in 16 images of seed 0 " in errors
    assert "CPU, bfloat16" in errors
    assert np.load(tmp_path / "x.npz")["images"].shape == (3, 28, 28, 1)


def test_it_runs_on_cpus_only() -> None:
    with pytest.raises(DeviceError):
        load_engine(store.resolve("mnist-ssl"), ROLES, device="cuda", precision="bf16")


def test_importing_openvino_imports_nothing_that_reports() -> None:
    code = "from igan_zoo.serving import bfloat16; bfloat16._core(); import sys; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    modules = result.stdout.split()
    assert "openvino" in modules
    assert not [name for name in modules if name.startswith("openvino_telemetry.")]
