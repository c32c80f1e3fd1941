"""Precisions: what auto comes to, and that a run keeps it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from igan_zoo.training import precision
from igan_zoo.training.precision import denormals_as_zero, float32_as, multiplies_in_bfloat16, resolved_precision
from igan_zoo.training.recipes.catalogue import find_recipe
from igan_zoo.training.recipes.settings import Precision, customize
from igan_zoo.training.runs.directory import Run
from igan_zoo.training.start import start_training
from tests.conftest import TINY


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("flags : fpu avx512f avx512_bf16 sse", True),
        ("flags : fpu amx_bf16", True),
        ("flags : avx512f avx512_fp16 amx_tile", False),
    ],
)
def test_a_cpu_is_asked_for_its_instructions(
    flags: str, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(flags)
    monkeypatch.setattr("igan_zoo.machine.processor._FACTS", tmp_path / "cpuinfo")
    assert multiplies_in_bfloat16("cpu") is expected
    assert resolved_precision("auto", "cpu") == ("bfloat16" if expected else "float32")
    assert resolved_precision("tf32", "cpu") == "tf32"


def test_a_system_that_does_not_say_computes_in_float32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("igan_zoo.machine.processor._FACTS", tmp_path / "none")
    assert resolved_precision("auto", "cpu") == "float32"


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), "float32"), ((8, 0), "bfloat16"), ((9, 0), "bfloat16")])
def test_a_gpu_is_asked_for_its_generation(
    capability: tuple[int, int], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    assert resolved_precision("auto", "cuda") == expected


@pytest.mark.parametrize(("chosen", "tensor_float"), [("float32", False), ("tf32", True), ("bfloat16", False)])
def test_float32_means_all_digits_on_a_gpu_inside_the_block(chosen: Precision, tensor_float: bool) -> None:
    cuda, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = cuda.allow_tf32, cudnn.allow_tf32, cudnn.benchmark
    with float32_as(chosen, "cuda"):
        assert cuda.allow_tf32 is cudnn.allow_tf32 is tensor_float
        assert cudnn.benchmark
    assert (cuda.allow_tf32, cudnn.allow_tf32, cudnn.benchmark) == before


def flushes() -> bool:
    return bool(torch.tensor(1e-38) / 10 == 0)


@pytest.mark.parametrize("before", [True, False])
def test_a_training_puts_back_what_holds_for_the_whole_process(
    data_directory: Path, tmp_path: Path, before: bool
) -> None:
    threads = torch.get_num_threads()
    recipe = customize(find_recipe("mnist-ssl"), [*TINY, "epochs=1", "epoch_images=40", "labels=20"])
    torch.set_flush_denormal(before)
    try:
        with denormals_as_zero():
            assert flushes()
        start_training(recipe, str(data_directory), tmp_path / "run", threads=threads + 1)
        assert flushes() is before
        assert torch.get_num_threads() == threads
    finally:
        torch.set_flush_denormal(False)


def test_a_run_says_what_was_chosen_and_keeps_it(
    data_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It goes on in that, wherever it is resumed, and its command names it."""
    recipe = customize(find_recipe("mnist-ssl"), [*TINY, "epochs=1", "epoch_images=40", "labels=20", "precision=auto"])
    caplog.set_level("INFO", "igan_zoo")
    for bfloat16 in (True, False):
        monkeypatch.setattr(precision, "multiplies_in_bfloat16", lambda device, answer=bfloat16: answer)
        start_training(recipe, str(data_directory), tmp_path / "run", resume=True, threads=1)
        assert "precision: bfloat16" in caplog.text
        caplog.clear()
        facts = Run(tmp_path / "run").facts()
        assert (facts.recipe, facts.precision) == (recipe, "bfloat16")
    assert "--set precision=bfloat16" in facts.command()
    assert "precision=auto" not in facts.command()
