"""What is served: versions, devices, loading beside requests, exchange of changed models."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from igan_zoo.errors import DeviceError, InterfaceError, ModelDirectoryError, SpecificationError, UnknownNameError
from igan_zoo.latents import latents
from igan_zoo.models import store
from igan_zoo.models.directory import seal
from igan_zoo.models.spec import read_spec
from igan_zoo.serving.server.errors import NotReadyError
from igan_zoo.serving.server.models.origins import find_origin
from igan_zoo.serving.server.models.repository import Repository
from igan_zoo.serving.server.settings import ServerSettings
from tests.serving.server.conftest import MODEL

BUNDLED = Path(str(store.bundled_store().find(MODEL)))
Z = latents(100, "uniform", seed=0, start=0, count=2)


def copy(path: Path, name: str = "copied", classes: tuple[str, ...] | None = None) -> Path:
    """A copy of the bundled model under another name, with other names of classes."""
    shutil.copytree(BUNDLED, path, ignore=shutil.ignore_patterns("model.safetensors"), dirs_exist_ok=True)
    spec = read_spec(path / "config.json")
    seal(path, msgspec.structs.replace(spec, name=name, classes=classes or spec.classes))
    return path


def run(body: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(body(), 60))


def classes(repository: Repository, name: str = "copied") -> tuple[str, ...] | None:
    directory = repository.model(name).model.directory
    assert directory is not None
    return directory.spec.classes


OTHERS = tuple("abcdefghij")


def test_a_model_is_found_by_its_name_and_its_graphs_by_name_and_role(tmp_path: Path) -> None:
    repository = Repository.open([MODEL, copy(tmp_path / "x")])
    assert [model.name for model in repository.models()] == [MODEL, "copied"]
    assert set(repository.model("copied").graphs) == {"generator", "classifier"}
    assert repository.graph("copied-generator") is repository.model("copied").graphs["generator"]
    assert repository.graph("copied-generator", "1").version == "1"


def test_what_is_not_there_is_told_the_nearest(tmp_path: Path) -> None:
    repository = Repository.open([MODEL])
    with pytest.raises(UnknownNameError, match=f"did you mean {MODEL}-generator"):
        repository.graph(f"{MODEL}-generators")
    with pytest.raises(UnknownNameError, match="has no version '2'; it has: 1"):
        repository.graph(f"{MODEL}-generator", "2")
    with pytest.raises(UnknownNameError, match="No model 'none'"):
        repository.model("none")


def test_two_models_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecificationError, match=f"Two models are called {MODEL}"):
        Repository.open([MODEL, BUNDLED])


def test_numbered_folders_are_versions_of_which_the_highest_counts(tmp_path: Path) -> None:
    for number in ("1", "9", "10"):
        copy(tmp_path / "digits" / number, classes=OTHERS if number == "10" else None)
    (tmp_path / "digits" / "notes").mkdir()
    repository = Repository.open([tmp_path / "digits"])
    assert repository.versions("digits-generator") == ["1", "9", "10"]
    assert repository.graph("digits-generator").version == "10"
    assert classes(repository, "digits") == OTHERS
    assert repository.model("digits", "9").version == "9"
    assert repository.graph("digits-classifier", "9").model.path == tmp_path / "digits" / "9"


@pytest.mark.parametrize("role", ["generator", "classifier"])
def test_a_single_file_is_what_its_interface_says(role: str) -> None:
    repository = Repository.open([BUNDLED / "onnx" / f"{role}.onnx"])
    assert [graph.name for graph in repository.graphs()] == [f"{role}-{role}"]


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"nothing")
    with pytest.raises(InterfaceError, match="neither a generator, a classifier nor a scorer"):
        Repository.open([tmp_path / "x.onnx"])


def test_a_device_is_named_with_the_model() -> None:
    assert find_origin(f"{MODEL}@cuda").device == "cuda"
    assert find_origin(MODEL, "cuda").device == "cuda"
    assert find_origin(f"{MODEL}@cpu", "cuda").device == "cpu"
    with pytest.raises(ModelDirectoryError, match="names no device after the @"):
        find_origin(f"{MODEL}@tpu")


def test_a_device_that_is_not_there_is_an_error() -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("needs an onnxruntime without CUDA")
    with pytest.raises(DeviceError):
        Repository.open([f"{MODEL}@cuda"])


def test_the_cores_are_shared_out_among_the_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("igan_zoo.serving.server.models.repository.cores", lambda: 8)
    assert Repository([find_origin(MODEL)], ServerSettings()).threads == 4
    assert Repository([find_origin(MODEL)], ServerSettings(threads=3)).threads == 3


def test_nothing_is_ready_before_it_is_loaded() -> None:
    async def body() -> None:
        repository = Repository([find_origin(MODEL)], ServerSettings(threads=1))
        assert not repository.ready
        assert {line.state for line in repository.index()} == {"UNAVAILABLE"}
        with pytest.raises(NotReadyError):
            repository.graph(f"{MODEL}-generator")
        with pytest.raises(NotReadyError):
            repository.model(MODEL)
        await repository.start()
        assert repository.ready
        assert {line.state for line in repository.index()} == {"READY"}
        repository.stopping = True
        assert not repository.ready

    run(body)


def test_a_changed_model_is_exchanged_and_requests_of_the_old_one_end_well(tmp_path: Path) -> None:
    async def body() -> None:
        repository = Repository.open([copy(tmp_path / "x")], ServerSettings(threads=1))
        assert await repository.look_for_changes() == []
        old = repository.graph("copied-generator")
        copy(tmp_path / "x", classes=OTHERS)
        (event,) = await repository.look_for_changes()
        assert "was loaded" in event
        assert classes(repository) == OTHERS
        assert repository.graph("copied-generator") is not old
        one, other = [await graph.run({"latent": Z}) for graph in (old, repository.graph("copied-generator"))]
        np.testing.assert_array_equal(one["images"], other["images"])
        assert await repository.look_for_changes() == []

    run(body)


def test_a_broken_change_leaves_the_old_model_and_is_told_once(tmp_path: Path) -> None:
    async def body() -> None:
        path = copy(tmp_path / "x")
        repository = Repository.open([path], ServerSettings(threads=1))
        old = repository.graph("copied-classifier")
        graph = path / "onnx" / "classifier.onnx"
        content = graph.read_bytes()
        graph.write_bytes(content[:-1])
        (event,) = await repository.look_for_changes()
        assert "the old one is still served" in event
        assert "is damaged or was changed" in event
        assert repository.graph("copied-classifier") is old
        assert repository.ready
        assert await repository.look_for_changes() == []
        graph.write_bytes(content)
        (event,) = await repository.look_for_changes()
        assert "was loaded" in event
        assert repository.graph("copied-classifier") is not old

    run(body)


def test_a_model_that_vanishes_stays(tmp_path: Path) -> None:
    async def body() -> None:
        repository = Repository.open([copy(tmp_path / "x")], ServerSettings(threads=1))
        shutil.rmtree(tmp_path / "x")
        assert await repository.look_for_changes() == []
        assert await repository.graph("copied-generator").run({"latent": Z})

    run(body)


def test_new_versions_are_found_and_a_broken_one_is_not_served(tmp_path: Path) -> None:
    async def body() -> None:
        copy(tmp_path / "digits" / "1")
        repository = Repository.open([tmp_path / "digits"], ServerSettings(threads=1))
        broken = copy(tmp_path / "digits" / "2")
        (broken / "onnx" / "classifier.onnx").write_bytes(b"")
        (event,) = await repository.look_for_changes()
        assert "it is not served" in event
        assert repository.graph("digits-generator").version == "1"
        assert repository.ready
        copy(tmp_path / "digits" / "3")
        await repository.look_for_changes()
        assert repository.graph("digits-generator").version == "3"
        copy(broken)
        await repository.look_for_changes()
        assert repository.versions("digits-generator") == ["1", "2", "3"]

    run(body)


def test_graphs_and_models_are_unloaded_and_loaded(tmp_path: Path) -> None:
    async def body() -> None:
        repository = Repository.open([copy(tmp_path / "x")], ServerSettings(threads=1))
        await repository.unload("copied-generator")
        assert set(repository.model("copied").graphs) == {"classifier"}
        copy(tmp_path / "x", classes=OTHERS)
        await repository.look_for_changes()
        assert set(repository.model("copied").graphs) == {"classifier"}
        await repository.load("copied-generator")
        assert set(repository.model("copied").graphs) == {"generator", "classifier"}
        await repository.unload("copied")
        with pytest.raises(NotReadyError, match="is not loaded"):
            repository.model("copied")
        assert [line.reason for line in repository.index()] == ["unloaded", "unloaded"]
        await repository.load("copied")
        assert set(repository.model("copied").graphs) == {"generator", "classifier"}
        with pytest.raises(UnknownNameError):
            await repository.unload("none")

    run(body)


def test_a_bundled_model_is_loaded_by_its_name_and_a_path_is_not(tmp_path: Path) -> None:
    async def body() -> None:
        path = copy(tmp_path / "x")
        repository = Repository.open([path], ServerSettings(threads=1))
        await repository.load(MODEL)
        assert repository.graph(f"{MODEL}-generator").provider == "CPUExecutionProvider"
        for name in (str(copy(tmp_path / "y", "other")), "..", f"{MODEL}@cpu"):
            with pytest.raises(UnknownNameError):
                await repository.load(name)

    run(body)


def test_many_requests_run_while_models_are_exchanged(tmp_path: Path) -> None:
    async def body() -> None:
        repository = Repository.open([copy(tmp_path / "x")], ServerSettings(threads=1))
        (expected,) = (await repository.graph("copied-generator").run({"latent": Z})).values()
        going = True

        async def ask() -> int:
            count = 0
            while going:
                outputs = await repository.graph("copied-generator").run({"latent": Z})
                assert np.abs(outputs["images"] - expected.astype(int)).max() <= 1
                count += 1
                await asyncio.sleep(0)
            return count

        asking = [asyncio.ensure_future(ask()) for _ in range(4)]
        for number in range(3):
            copy(tmp_path / "x", classes=OTHERS if number % 2 else None)
            assert len(await repository.look_for_changes()) == 1
        going = False
        assert min(await asyncio.gather(*asking)) > 0

    run(body)


def test_an_engines_answer_without_rows_has_the_right_shapes() -> None:
    async def body() -> None:
        graph = Repository.open([MODEL], ServerSettings(threads=1)).graph(f"{MODEL}-classifier")
        outputs = await graph.run({"images": np.zeros((0, 28, 28, 1), np.uint8)})
        shapes = {name: (output.shape, output.dtype) for name, output in outputs.items()}
        assert shapes == {name: ((0, *size), np.float32) for name, size in graph.graph.outputs.items()}

    run(body)


def test_loading_one_graph_once_more_keeps_its_siblings(tmp_path: Path) -> None:
    repository = Repository.open([copy(tmp_path / "x")])

    async def body() -> None:
        for role in ("generator", "classifier", "generator"):
            await repository.load(f"copied-{role}")
            assert [line.state for line in repository.index()] == ["READY", "READY"]
        await repository.unload("copied-classifier")
        await repository.load("copied-generator")
        assert [(line.state, line.reason) for line in repository.index()] == [
            ("READY", ""),
            ("UNAVAILABLE", "unloaded"),
        ]

    run(body)


def slow_graph(path: Path) -> None:
    """A classifier in a kilobyte that takes hours to load: onnxruntime multiplies what is constant."""
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load(BUNDLED / "onnx" / "classifier.onnx")
    size = helper.make_tensor("slow_size", TensorProto.INT64, [2], [5000, 5000])
    model.graph.initializer.append(size)
    nodes = [helper.make_node("ConstantOfShape", ["slow_size"], ["slow_0"])]
    nodes += [helper.make_node("MatMul", [f"slow_{n}"] * 2, [f"slow_{n + 1}"]) for n in range(2000)]
    axes = helper.make_tensor("slow_axes", TensorProto.INT64, [2], [0, 1])
    model.graph.initializer.append(axes)
    nodes.append(helper.make_node("ReduceSum", ["slow_2000", "slow_axes"], ["slow_sum"], keepdims=0))
    (last,) = [node for node in model.graph.node if "realness" in node.output]
    last.output[0] = "quick_realness"
    nodes.append(helper.make_node("Add", ["quick_realness", "slow_sum"], ["realness"]))
    model.graph.node.extend(nodes)
    onnx.save(model, path)


def test_what_takes_too_long_to_load_is_given_up(tmp_path: Path) -> None:
    async def body() -> None:
        path = tmp_path / "x.onnx"
        shutil.copy(BUNDLED / "onnx" / "classifier.onnx", path)
        repository = Repository.open([path], ServerSettings(threads=1, load_timeout=8))
        slow_graph(path)
        began = time.monotonic()
        (event,) = await repository.look_for_changes()
        assert time.monotonic() - began < 20
        assert "changed, but the old one is still served: " in event
        assert "was not loaded within 8 seconds; if it is that large, raise --load-timeout" in event
        assert repository.ready
        # It is not tried again until it changes.
        assert await repository.look_for_changes() == []
        repository.close()

    run(body)


def test_what_crashes_whoever_loads_it_crashes_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from igan_zoo.serving.server.models import trial

    async def body() -> None:
        repository = Repository.open([copy(tmp_path / "x")], ServerSettings(threads=1))
        copy(tmp_path / "x", classes=tuple("abcdefghij"))
        monkeypatch.setattr(trial, "_COMMAND", (sys.executable, "-c", "import os; os.kill(os.getpid(), 11)"))
        (event,) = await repository.look_for_changes()
        assert "the old one is still served" in event
        assert "crashed the process that loaded it on trial (SIGSEGV)" in event
        repository.close()

    run(body)
