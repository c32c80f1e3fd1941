"""How long steps take, and which number of threads that recommends."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from igan_zoo.training import start, timing
from igan_zoo.training.data.training_set import load_for_recipe
from igan_zoo.training.recipes.catalogue import find_recipe
from igan_zoo.training.recipes.settings import customize
from tests.conftest import TINY

Cli = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("seconds", "best"),
    [({1: 1.0, 4: 0.3}, 4), ({1: 1.0, 8: 10.0}, 1), ({1: 1.0, 2: 0.95}, 1), ({2: 1.0}, 2)],
    ids=["more are faster", "more wait for each other", "hardly faster", "no choice"],
)
def test_threads_are_those_that_are_clearly_fastest(seconds: dict[int, float], best: int) -> None:
    assert timing.fastest_threads(seconds) == best


def test_timing_leaves_random_numbers_and_threads_as_they_were(
    data_directory: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = customize(find_recipe("mnist-ssl-softplus"), [*TINY, "labels=20"])
    data = load_for_recipe(recipe, str(data_directory), "train")
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    monkeypatch.setattr(start, "thread_choices", lambda: [1, 2])
    with caplog.at_level(logging.INFO):
        chosen = start.chosen_threads(recipe, data, "cpu")
    assert chosen in (1, 2)
    assert f"threads: {chosen} (" in caplog.messages[-1]
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert timing.estimated_seconds(recipe, 300, 0.5) == recipe.epochs * 15 * 0.5


def test_a_dry_run_says_what_the_data_is_and_how_long_it_takes(
    igan_zoo: Cli, data_directory: Path, tmp_path: Path
) -> None:
    settings = [argument for setting in TINY for argument in ("--set", setting)]
    dry = ("train", "mnist-ssl-softplus", "--labels", 20, *settings, "--threads", 1, "--dry-run")
    code, out, errors = igan_zoo(*dry, "--data", data_directory)
    assert (code, out.startswith("{")) == (0, True)
    assert "300 images; 10 classes: 0 30, 1 30" in errors
    assert "on this machine" in errors
    code, _, errors = igan_zoo(*dry, "--data", "photoz")
    assert (code, "There are no images at photoz" in errors) == (1, True)
    for number in range(30):
        Image.new("L", (28, 28), number).save(tmp_path / f"{number}.png")
    code, _, errors = igan_zoo(*dry, "--data", tmp_path)
    assert (code, f"{tmp_path} has no labels" in errors) == (1, True), "as the training would say"
    code, _, errors = igan_zoo(*dry)
    assert (code, errors) == (0, "ylecun/mnist: on the Hub, not read\n")
