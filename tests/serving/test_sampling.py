"""Samples by address, whatever the batch size, start or format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import igan_zoo
from igan_zoo.errors import OutputError
from igan_zoo.models import store
from igan_zoo.serving.engine import Engine, load_engine
from igan_zoo.serving.sample_writers import write_samples
from igan_zoo.serving.sampling import sample


@pytest.fixture(scope="module")
def engine(exported_model: Path) -> Engine:
    return load_engine(store.resolve(str(exported_model)), ["generator"])


def draw(engine: Engine, *, start: int, count: int, batch_size: int, seed: int = 3) -> NDArray[np.uint8]:
    return np.concatenate(list(sample(engine, "uniform", seed=seed, start=start, count=count, batch_size=batch_size)))


@pytest.mark.parametrize("batch_size", [1, 7, 64, 100, 1000])
def test_an_image_is_the_same_in_every_batch_and_range(engine: Engine, batch_size: int) -> None:
    """Within one grey level: matrix products of other sizes round differently."""
    whole = draw(engine, start=0, count=300, batch_size=250)
    part = draw(engine, start=100, count=100, batch_size=batch_size)
    assert np.abs(whole[100:200].astype(int) - part).max() <= 1


def test_seeds_give_different_images(engine: Engine) -> None:
    one, other = (draw(engine, start=0, count=5, batch_size=5, seed=seed) for seed in (1, 2))
    assert np.abs(one.astype(int) - other).max() > 1


@pytest.mark.parametrize("count", [1, 30, 95])
@pytest.mark.parametrize("at_once", [2, 5])
def test_batches_at_the_same_time_come_in_order(engine: Engine, count: int, at_once: int) -> None:
    expected = draw(engine, start=7, count=count, batch_size=10)
    batches = sample(engine, "uniform", seed=3, start=7, count=count, batch_size=10, at_once=at_once)
    np.testing.assert_array_equal(np.concatenate(list(batches)), expected)


def test_batches_that_nobody_takes_are_not_drawn() -> None:
    drawn = []

    class Counting:
        def __init__(self) -> None:
            self.graphs = {"generator": SimpleNamespace(input_shape=(2,))}

        def run(self, role: str, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.uint8]]:
            drawn.append(role)
            return {"images": np.zeros((len(inputs["latent"]), 1, 1, 1), np.uint8)}

    batches = sample(Counting(), "uniform", seed=0, start=0, count=1000, batch_size=1, at_once=2)  # type: ignore[arg-type]
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert len(drawn) <= 3


def test_many_batches_run_in_one_thread_each_and_one_in_all(
    exported_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[int | None] = []

    def noted(*arguments: Any, threads: int | None = None, **how: Any) -> Engine:
        loaded.append(threads)
        return load_engine(*arguments, threads=threads, **how)

    monkeypatch.setattr("igan_zoo.serving.model.load_engine", noted)
    model = igan_zoo.load(exported_model, roles=["generator"], threads=3)
    one = model.sample(20, batch_size=20)
    assert loaded == [3]
    many = model.sample(40, batch_size=20)
    assert loaded == [3, 1]
    np.testing.assert_array_equal(many[:20], one)


def write(engine: Engine, out: Path, count: int = 130, *, replace: bool = False) -> NDArray[np.uint8]:
    batches = sample(engine, "uniform", seed=3, start=20, count=count, batch_size=50)
    return write_samples(out, batches, image_shape=(28, 28, 1), seed=3, start=20, count=count, replace=replace)


def test_an_archive_and_a_folder_hold_the_same_images(engine: Engine, tmp_path: Path) -> None:
    first = write(engine, tmp_path / "a.npz")
    write(engine, tmp_path / "folder")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as archive:
        images = archive["images"]
        assert (archive["seed"], archive["start"]) == (3, 20)
    assert images.shape == (130, 28, 28, 1)
    np.testing.assert_array_equal(first, images[:100])
    names = sorted(path.name for path in (tmp_path / "folder").iterdir())
    assert (names[0], names[-1], len(names)) == ("00000020.png", "00000149.png", 130)
    for name, image in zip(names, images, strict=True):
        with Image.open(tmp_path / "folder" / name) as picture:
            np.testing.assert_array_equal(np.asarray(picture), image[..., 0])


def test_an_existing_folder_is_replaced_only_when_told(engine: Engine, tmp_path: Path) -> None:
    write(engine, tmp_path / "folder", 3)
    with pytest.raises(OutputError, match="already exists"):
        write(engine, tmp_path / "folder", 2)
    write(engine, tmp_path / "folder", 2, replace=True)
    assert len(list((tmp_path / "folder").iterdir())) == 2


def test_another_format_is_refused(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"Cannot write samples as \.gif"):
        write(engine, tmp_path / "a.gif")
