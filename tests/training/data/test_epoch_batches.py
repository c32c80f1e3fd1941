"""What the steps of an epoch see: which images are read, how often, and that the way there changes nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from igan_zoo.images.labeled import LabeledImages
from igan_zoo.machine.progress import Progress
from igan_zoo.training.data import training_set
from igan_zoo.training.data.epoch_batches import EpochBatches
from igan_zoo.training.data.training_set import TrainingSet
from igan_zoo.training.distributed import World
from igan_zoo.training.games.game import Batches, answer_batches
from igan_zoo.training.loop import Options, Training
from igan_zoo.training.recipes.catalogue import find_recipe
from igan_zoo.training.recipes.settings import Recipe, customize
from igan_zoo.training.runs.directory import Run
from tests.conftest import synthetic_digits

TINY = ["batch_size=4", "epochs=1", "epoch_images=12", "initialization_images=8", "validation_images=8", "labels=20"]


class ReadImages:
    """Images on a disk, which remember what was read."""

    def __init__(self, images: NDArray[np.uint8]) -> None:
        self.images = images
        self.shape = images.shape
        self.read: list[int] = []

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        self.read += indices.tolist()
        return self.images[indices]


def small(name: str, *settings: str) -> Recipe:
    sizes = {"mnist-ssl": [], "imagenet128": ["network_width=0.0625", "height=32", "width=32"]}
    return customize(find_recipe(name), [*TINY, *sizes.get(name, ["network_width=0.0625"]), *settings])


def images_of(recipe: Recipe) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    _, labels = synthetic_digits(60, 1)
    shape = (60, recipe.height, recipe.width, recipe.channels)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8), labels


def on_disk(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> tuple[LabeledImages, ReadImages]:
    monkeypatch.setattr(training_set, "_MOST_BYTES_ON_DEVICE", 0)
    images, labels = images_of(recipe)
    kept = ReadImages(images)
    return LabeledImages(kept, labels, tuple("0123456789")), kept


@pytest.mark.parametrize(
    ("name", "settings", "read"),
    [
        ("cifar10-ssl", [], 3 * 12),
        ("cifar10-mbd", [], 2 * 12),  # the minimax objective compares with no real images
        ("mnist-ssl", ["generator=false", "unlabeled_weight=0"], 12),
        ("mnist-ssl", ["generator_from=1"], 12),
        ("imagenet128", ["labels=all"], 12),
    ],
)
def test_an_epoch_reads_what_its_steps_use_and_nothing_else(
    name: str, settings: list[str], read: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = small(name, *settings)
    data, images = on_disk(recipe, monkeypatch)
    training = Training(recipe, data, Run(tmp_path), options=Options())
    training.start()
    images.read.clear()
    with Progress("test", 3, unit="steps", shown=False) as progress:
        training.epoch(progress, None)
    assert len(images.read) == read
    if read == 12 and name == "mnist-ssl":
        assert set(images.read) <= set(training.training_set.labelled.tolist())


def equal(one: Batches, other: Batches) -> bool:
    def tensors(batches: Batches) -> list[torch.Tensor | None]:
        return [*(batches.labelled or ()), *(batches.unlabelled or ())]

    pairs = list(zip(tensors(one), tensors(other), strict=True))
    return all(torch.equal(a, b) for a, b in pairs if a is not None and b is not None)


@pytest.mark.parametrize("name", ["mnist-ssl", "cifar10-mbd", "imagenet128"])
def test_images_read_ahead_are_those_on_the_device(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a resumed epoch begins in its middle, and from random streams in the same state."""
    recipe = small(name, "flips=true")
    images, labels = images_of(recipe)
    here = TrainingSet.create(recipe, LabeledImages(images, labels, tuple("0123456789")))
    there = TrainingSet.create(recipe, on_disk(recipe, monkeypatch)[0])
    assert here.on_device
    assert not there.on_device
    for steps in ((0, 1, 2), (1, 2)):
        seen = []
        for source in (here, there):
            torch.manual_seed(0)
            with EpochBatches(source, World(), 3) as batches:
                seen.append([batches.at(step) for step in steps])
        assert all(equal(a, b) for a, b in zip(*seen, strict=True))


def test_orders_are_uploaded_before_the_first_step(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = small("cifar10-ssl")
    images, labels = images_of(recipe)
    batches = EpochBatches(TrainingSet.create(recipe, LabeledImages(images, labels, tuple("0123456789"))), World(), 0)

    def refused(array: NDArray[np.int64]) -> torch.Tensor:
        raise AssertionError("a step uploads indices")

    monkeypatch.setattr(torch, "from_numpy", refused)
    assert len(list(batches)) == 3


def test_only_labels_that_training_may_see_are_known() -> None:
    recipe = small("cifar10-ssl")
    images, labels = images_of(recipe)
    chosen = TrainingSet.create(recipe, LabeledImages(images, labels, tuple("0123456789")))
    known = chosen.known_labels(torch.arange(60)).numpy()
    assert sorted(np.flatnonzero(known >= 0)) == sorted(chosen.labelled)
    assert np.array_equal(known[chosen.labelled], labels[chosen.labelled])


@pytest.mark.parametrize("total", [3, 10, 12, 26])
def test_every_image_is_answered_once_among_as_many_others(total: int) -> None:
    """The last batch overlaps the one before it, as in the 2016 SVHN scripts."""
    batches = list(answer_batches(total, 10))
    assert {len(chosen) for chosen, _ in batches} == {min(total, 10)}
    assert np.concatenate([chosen[new] for chosen, new in batches]).tolist() == list(range(total))
