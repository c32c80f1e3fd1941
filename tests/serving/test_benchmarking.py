"""The bench command: every file at every batch size, side by side, with the conditions; no figure is tested."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from igan_zoo.models import store
from igan_zoo.serving.benchmarking import conditions, load_candidates, measure_speeds

Cli = Callable[..., tuple[int, str, str]]
FAST = ["--seconds", "0.01", "--device", "cpu", "--threads", "1"]


@pytest.fixture
def with_variant(model: Path) -> Path:
    """The model with a variant of its classifier: the same graph, named in config.json."""
    import shutil

    from igan_zoo.models.directory import ModelDirectory, seal

    spec = ModelDirectory.open(model).spec
    shutil.copy(model / "onnx" / "classifier.onnx", model / "onnx" / "classifier_int8.onnx")
    seal(model, spec)
    return model


def test_every_file_is_measured_at_every_batch_size(with_variant: Path, igan_zoo: Cli) -> None:
    code, output, errors = igan_zoo("bench", with_variant, "--batch", "1,3", *FAST, "--json")
    assert code == 0, errors
    report = json.loads(output)
    files = ["onnx/generator.onnx", "onnx/classifier.onnx", "onnx/classifier_int8.onnx"]
    assert [(row["file"], row["batch"]) for row in report["speeds"]] == [(file, n) for n in (1, 3) for file in files]
    for row in report["speeds"]:
        assert row["provider"] == "CPUExecutionProvider"
        assert row["images_per_second"] > 0
        assert row["cpu_milliseconds"] > 0
        assert row["ratio"] == 1 or row["variant"] == "int8"
    assert report["conditions"]["threads"] == 1
    assert report["conditions"]["processor"]
    assert "onnxruntime" in report["conditions"]["versions"]


def test_the_table_has_a_line_for_each(with_variant: Path, igan_zoo: Cli) -> None:
    code, output, errors = igan_zoo("bench", with_variant, "--batch", "2", *FAST)
    assert code == 0, errors
    header, *lines = output.splitlines()
    assert header.split()[:4] == ["file", "provider", "batch", "images/s"]
    assert [line.split()[0] for line in lines] == [
        "onnx/generator.onnx",
        "onnx/classifier.onnx",
        "onnx/classifier_int8.onnx",
    ]
    assert "onnxruntime" in errors


@pytest.mark.parametrize("role", ["generator", "classifier"])
def test_a_single_file_is_measured_as_what_it_is(exported_model: Path, role: str) -> None:
    model = store.resolve(str(exported_model / "onnx" / f"{role}.onnx"))
    (speed,) = measure_speeds(load_candidates(model, "cpu", 1), [1], seconds=0.01)
    assert (speed.role, speed.variant, speed.ratio) == (role, None, 1.0)


@pytest.mark.parametrize("batches", ["0", "1,x", "-3"])
def test_wrong_batch_sizes_are_wrong_usage(batches: str, igan_zoo: Cli) -> None:
    code, _, errors = igan_zoo("bench", "--batch", batches)
    assert code == 2
    assert "not a list of batch sizes" in errors


def test_what_is_no_graph_is_one_sentence(tmp_path: Path, igan_zoo: Cli) -> None:
    (tmp_path / "x.onnx").write_bytes(b"no graph")
    code, _, errors = igan_zoo("bench", tmp_path / "x.onnx", *FAST)
    assert code == 1
    assert "neither a generator nor a classifier" in errors


def test_a_device_that_is_not_there_is_an_error_if_asked_for_and_else_left_out(
    exported_model: Path, igan_zoo: Cli
) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("needs an onnxruntime without CUDA")
    assert igan_zoo("bench", exported_model, "--device", "cuda")[0] == 1
    code, _, errors = igan_zoo("bench", exported_model, "--batch", "1", "--seconds", "0.01")
    assert code == 0
    assert "measuring only the CPU" in errors


def test_the_conditions_name_the_processor() -> None:
    assert conditions(2)["threads"] == 2
    assert isinstance(conditions(None)["processor"], str)


def test_bench_works_without_the_training_stack(exported_model: Path) -> None:
    code = (
        "import sys\n"
        "for name in ('torch', 'onnx', 'datasets'): sys.modules[name] = None\n"
        "from igan_zoo.cli import main\n"
        f"main(['bench', {str(exported_model)!r}, '--batch', '1', '--seconds', '0.01', '--device', 'cpu'])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_pytorch_is_measured_beside_the_graphs(model: Path, igan_zoo: Cli) -> None:
    code, output, errors = igan_zoo("bench", model, "--batch", "2", *FAST, "--torch", "--json")
    assert code == 0, errors
    providers = [(row["role"], row["provider"]) for row in json.loads(output)["speeds"]]
    assert providers == [
        ("generator", "CPUExecutionProvider"),
        ("classifier", "CPUExecutionProvider"),
        ("generator", "PyTorch"),
        ("classifier", "PyTorch"),
    ]
    (model / "model.safetensors").unlink()
    code, _, errors = igan_zoo("bench", model, "--batch", "2", *FAST, "--torch")
    assert code == 1
    assert "has no model.safetensors, which PyTorch needs" in errors


def test_what_pytorch_runs_is_what_the_graph_computes(model: Path) -> None:
    import numpy as np

    from igan_zoo.export.torch_engine import TorchEngine
    from igan_zoo.models.directory import ModelDirectory

    plain = load_candidates(store.resolve(str(model)), "cpu", 1)[1].engine
    engine = TorchEngine(ModelDirectory.open(model), plain.graphs)
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 1), np.uint8)
    expected = plain.run("classifier", {"images": images})
    for name, result in engine.run("classifier", {"images": images}).items():
        np.testing.assert_allclose(result, expected[name], atol=1e-4)
