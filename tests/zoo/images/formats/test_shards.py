"""Shards: what they hold, how they go on after a kill, and what is refused."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from igan_zoo.errors import ChecksumError, DataError, ImageError, OutputError
from igan_zoo.images import stored
from igan_zoo.images.formats.preparing import prepare_shards
from igan_zoo.images.formats.shards import ShardedImages, open_shards, read_manifest, verify_shard
from igan_zoo.images.loading import load_images
from igan_zoo.machine.files import alone
from tests.conftest import igan_zoo_process
from tests.zoo.models.test_directory import flip_one_bit

Cli = Callable[..., tuple[int, str, str]]


def photos(root: Path, count: int, side: int = 20) -> Path:
    """Noise as JPEG files of two classes, a third of them without a label, and wider than high."""
    generator = np.random.default_rng(3)
    for index in range(count):
        folder = root / "train" / ("cat", "dog", "unlabelled")[index % 3]
        folder.mkdir(parents=True, exist_ok=True)
        noise = generator.integers(0, 256, (side, side + 10, 3), np.uint8)
        Image.fromarray(noise).save(folder / f"{index:04d}.jpg")
    return root


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photos(tmp_path_factory.mktemp("photos"), 30)


def prepare(source: Path, out: Path, **more: Any) -> Any:
    return prepare_shards(str(source), "train", out, **{"size": 16, "shard_images": 8, **more})


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def count_decoding(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Returns a list to which every file is added that is decoded from now on."""
    decoded: list[str] = []
    honest = stored.read_image

    def counted(path: Path, shape: Any) -> Any:
        decoded.append(path.name)
        return honest(path, shape)

    monkeypatch.setattr(stored, "read_image", counted)
    return decoded


@pytest.mark.parametrize("lengths", [(1,), (5,), (3, 4, 2), (1, 1, 1, 1)])
def test_many_arrays_behave_as_one(lengths: tuple[int, ...]) -> None:
    generator = np.random.default_rng(0)
    parts = [generator.integers(0, 256, (length, 2, 3, 1), np.uint8) for length in lengths]
    whole, sharded = np.concatenate(parts), ShardedImages(parts)
    total = len(whole)
    assert (len(sharded), sharded.shape, sharded.dtype) == (total, whole.shape, whole.dtype)
    for chosen in (
        slice(None),
        slice(1, None, 2),
        slice(None, None, -1),
        slice(total, total),
        np.arange(total),
        generator.permutation(total),
        generator.integers(-total, total, 20),
        np.empty(0, np.int64),
    ):
        np.testing.assert_array_equal(sharded[chosen], whole[chosen])
    for wrong in (np.array([total]), np.array([-total - 1]), np.zeros((2, 2), np.int64), np.array([0.5])):
        with pytest.raises(IndexError):
            sharded[wrong]


def test_shards_hold_what_loading_gives(small: Path, tmp_path: Path) -> None:
    loaded = load_images(str(small), "train", height=16, width=16, channels=3, crop=True)
    prepare(small, tmp_path / "shards")
    data = load_images(str(tmp_path / "shards"), "train", height=16, width=16, channels=3)
    assert isinstance(data.images, ShardedImages)
    np.testing.assert_array_equal(data.images[:], loaded.images[:])
    np.testing.assert_array_equal(data.labels, loaded.labels)
    assert data.classes == loaded.classes == ("cat", "dog")
    assert [shard.count for shard in read_manifest(tmp_path / "shards").shards] == [8, 8, 8, 6]


def test_images_stay_on_disk_until_they_are_asked_for(small: Path, tmp_path: Path) -> None:
    data = prepare(small, tmp_path / "shards")
    assert all(isinstance(part.base, np.memmap) for part in data.images._parts)


def test_the_splits_of_one_data_set_lie_beside_each_other(small: Path, tmp_path: Path) -> None:
    prepare(small, tmp_path / "train")
    shape = {"height": 16, "width": 16, "channels": 3}
    assert len(load_images(str(tmp_path), "train", **shape)) == 30
    with pytest.raises(DataError, match=r"holds the split 'train' of .*, not 'test'"):
        load_images(str(tmp_path / "train"), "test", **shape)


def test_shards_of_another_size_or_with_other_labels_are_refused(small: Path, tmp_path: Path) -> None:
    prepare(small, tmp_path / "shards")
    with pytest.raises(DataError, match="holds images of 16x16x3, not 32x32x3; prepare"):
        load_images(str(tmp_path / "shards"), "train", height=32, width=32, channels=3)
    with pytest.raises(DataError, match="already have labels"):
        load_images(str(tmp_path / "shards"), "train", height=16, width=16, channels=3, labels_file=tmp_path / "x.csv")
    with pytest.raises(DataError, match="holds shards already"):
        prepare(tmp_path / "shards", tmp_path / "more")


def test_labels_of_a_csv_file_go_into_the_shards(small: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("file,label\ntrain/dog/0001.jpg,wolf\ntrain/cat/0000.jpg,lynx\n")
    data = prepare(small, tmp_path / "shards", labels_file=tmp_path / "labels.csv")
    assert data.classes == ("lynx", "wolf")
    assert np.bincount(data.labels + 1).tolist() == [28, 1, 1]


def test_a_finished_preparation_is_checked_and_not_repeated(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(small, tmp_path / "shards")
    before = contents(tmp_path / "shards")
    decoded = count_decoding(monkeypatch)
    prepare(small, tmp_path / "shards", shard_images=5)
    assert decoded == []
    assert contents(tmp_path / "shards") == before


def test_an_interrupted_preparation_decodes_only_what_is_missing(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "source").mkdir()
    source = Path(shutil.copytree(small, tmp_path / "source", dirs_exist_ok=True))
    files = sorted(path.relative_to(source) for path in source.rglob("*.jpg"))
    for index in (1, 20):
        (source / files[index]).write_bytes(b"no image")
    whole = prepare(source, tmp_path / "whole")

    # It stops among the images from index 24 on, when two shards stand: 16 images and a bad one.
    honest = stored.read_image

    def stopped(path: Path, shape: Any) -> Any:
        if path == source / files[26]:
            raise KeyboardInterrupt
        return honest(path, shape)

    monkeypatch.setattr(stored, "read_image", stopped)
    with pytest.raises(KeyboardInterrupt):
        prepare(source, tmp_path / "broken")
    monkeypatch.undo()
    with pytest.raises(DataError, match="only 16 images so far"):
        open_shards(tmp_path / "broken")
    decoded = count_decoding(monkeypatch)
    resumed = prepare(source, tmp_path / "broken")
    assert sorted(decoded) == sorted(file.name for file in files[17:])
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")
    assert resumed.skipped == whole.skipped
    assert len(whole.skipped) == 2
    with pytest.raises(DataError, match="was prepared without --strict"):
        prepare(source, tmp_path / "broken", strict=True)
    with pytest.raises(ImageError, match="is not a PNG, JPEG"):
        prepare(source, tmp_path / "strict", strict=True)


@pytest.mark.parametrize("name", ["images-00001.npy", "labels-00001.npy"])
@pytest.mark.parametrize("damage", [flip_one_bit, Path.unlink])
def test_a_damaged_shard_is_named_and_made_again(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, damage: Callable[[Path], None]
) -> None:
    prepare(small, tmp_path / "shards")
    before = contents(tmp_path / "shards")
    damage(tmp_path / "shards" / name)
    with pytest.raises(ChecksumError, match=f"{name} is missing or damaged; repeat the same igan-zoo prepare"):
        verify_shard(tmp_path / "shards", read_manifest(tmp_path / "shards").shards[1])
    decoded = count_decoding(monkeypatch)
    prepare(small, tmp_path / "shards")
    assert len(decoded) == 22
    assert contents(tmp_path / "shards") == before


def test_files_of_another_length_are_noticed_on_opening(small: Path, tmp_path: Path) -> None:
    prepare(small, tmp_path / "shards")
    path = tmp_path / "shards" / "images-00002.npy"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"images-00002\.npy is missing or damaged"):
        open_shards(tmp_path / "shards")
    np.save(path, np.zeros((8, 16, 16, 1), np.uint8))
    with pytest.raises(DataError, match=r"images-00002\.npy is uint8 \[8, 16, 16, 1\], but the manifest says"):
        open_shards(tmp_path / "shards")
    np.save(path, np.full((8, 16, 16, 3), None, object))
    with pytest.raises(DataError, match=r"images-00002\.npy is missing or damaged"):
        open_shards(tmp_path / "shards")


@pytest.mark.parametrize("change", [{"size": 12}, {"channels": 1}, {"crop": False}])
def test_other_settings_need_another_place(small: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    prepare(small, tmp_path / "shards")
    before = contents(tmp_path / "shards")
    with pytest.raises(OutputError, match="made from other data or with other settings; choose another --out"):
        prepare(small, tmp_path / "shards", **change)
    assert contents(tmp_path / "shards") == before


def test_changed_data_needs_another_place(tmp_path: Path) -> None:
    source = photos(tmp_path / "photos", 10)
    prepare(source, tmp_path / "shards")
    (source / "train" / "cat" / "0000.jpg").rename(source / "train" / "cat" / "zzzz.jpg")
    with pytest.raises(OutputError, match="made from other data"):
        prepare(source, tmp_path / "shards")


def test_a_place_with_something_else_in_it_is_left_alone(small: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="already exists and holds no shards"):
        prepare(small, tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": "something else"}')
    with pytest.raises(DataError, match=r"manifest\.json is not the manifest of shards"):
        prepare(small, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_names_that_are_not_utf_8_are_prepared(tmp_path: Path) -> None:
    root = photos(tmp_path / "photos", 6)
    folder = os.fsencode(root / "train" / "cat")
    os.rename(folder + b"/0000.jpg", folder + b"/\xe4.jpg")  # noqa: PTH104 - a name in bytes
    Path(os.fsdecode(folder + b"/bad\xe4.jpg")).write_bytes(b"\xff\xd8\xff no more")
    assert len(prepare(root, tmp_path / "shards")) == 6
    assert "bad?.jpg" in read_manifest(tmp_path / "shards").skipped[0]
    os.rename(folder, folder + b"\xe4")  # noqa: PTH104 - a name in bytes
    with pytest.raises(DataError, match="is not UTF-8; rename it"):
        prepare(root, tmp_path / "others")


def test_one_place_is_prepared_by_one_process(small: Path, tmp_path: Path) -> None:
    out = tmp_path / "shards"
    with alone(out, OutputError("another")), pytest.raises(OutputError, match=f"Another process is preparing {out}"):
        prepare(small, out)
    assert contents(out) == {}
    assert len(prepare(small, out)) == 30


def test_a_size_that_failed_can_be_tried_smaller_in_the_same_place(small: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="choose a smaller size"):
        prepare(small, tmp_path / "shards", size=64)
    assert len(prepare(small, tmp_path / "shards")) == 30


def test_a_disk_that_is_too_small_is_noticed_before_decoding(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 0, 30 * 16 * 16 * 3 - 1))
    decoded = count_decoding(monkeypatch)
    with pytest.raises(OutputError, match="choose another place"):
        prepare(small, tmp_path / "shards")
    assert decoded == []


def test_a_manifest_cannot_name_files_elsewhere(small: Path, tmp_path: Path) -> None:
    prepare(small, tmp_path / "shards")
    path = tmp_path / "shards" / "manifest.json"
    path.write_text(path.read_text().replace("images-00000.npy", "../images-00000.npy"))
    with pytest.raises(DataError, match="not the manifest of shards"):
        open_shards(tmp_path / "shards")


def test_a_table_of_the_hub_becomes_shards(igan_zoo: Cli, data_directory: Path, tmp_path: Path) -> None:
    code, output, errors = igan_zoo(
        "prepare", data_directory, "--size", 28, "--grey", "--split", "test", "--out", tmp_path / "shards"
    )
    assert (code, output) == (0, f"{tmp_path / 'shards'}: 100 images, 100 labeled, 10 classes\n"), errors
    loaded = load_images(str(data_directory), "test", height=28, width=28, channels=1)
    np.testing.assert_array_equal(open_shards(tmp_path / "shards").images[:], loaded.images[:])


def test_evaluating_on_shards_counts_the_same_errors(
    igan_zoo: Cli, model: Path, data_directory: Path, tmp_path: Path
) -> None:
    igan_zoo("prepare", data_directory, "--size", 28, "--grey", "--split", "test", "--out", tmp_path / "shards")
    assert (
        igan_zoo("evaluate", model, "--data", tmp_path / "shards")[1]
        == (igan_zoo("evaluate", model, "--data", data_directory)[1])
    )


def test_kills_and_a_last_run_give_the_shards_of_an_uninterrupted_run(tmp_path: Path) -> None:
    """SIGKILL at random moments through the command line; every file is equal to the last bit."""
    source = photos(tmp_path / "photos", 300, side=160)
    (source / "train" / "dog" / "bad.jpg").write_bytes(b"no image")

    def command(out: str) -> list[object]:
        return ["prepare", source, "--size", "128", "--shard-images", "16", "--out", tmp_path / out]

    process = igan_zoo_process(*command("whole"))
    began = time.monotonic()
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    assert output == f"{tmp_path / 'whole'}: 300 images, 200 labeled, 2 classes, 1 skipped\n"
    assert "bad.jpg is not a PNG, JPEG, WebP, TIFF, BMP, GIF or AVIF image." in errors

    broken, moments, kills = tmp_path / "broken", random.Random(), 0
    duration = time.monotonic() - began
    while True:
        process = igan_zoo_process(*command("broken"))
        if kills < 3:
            while process.poll() is None and not (broken / "manifest.json").exists():
                time.sleep(0.005)
            time.sleep(moments.uniform(0, 0.7 * duration))
            process.kill()
        _, errors = process.communicate()
        kills += 1
        if process.returncode == 0:
            break
        assert process.returncode == -9, errors
        # What stands is whole: every file that the manifest names is there under its final name.
        for shard in json.loads((broken / "manifest.json").read_text())["shards"]:
            assert (broken / shard["images"]).stat().st_size == 128 + shard["count"] * 128 * 128 * 3
    assert contents(broken) == contents(tmp_path / "whole")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "--size", "8"], "There are no images at nowhere"),
        (["{photos}", "--size", "8", "--split", "test"], "has no split 'test'; it has train"),
        (["{photos}", "--size", "99"], "choose a smaller size"),
        (["{photos}", "--size", "8", "--labels-file", "none.csv"], "There is no file of labels none.csv"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    igan_zoo: Cli, small: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    arguments = [argument.format(photos=small) for argument in arguments]
    code, output, errors = igan_zoo("prepare", *arguments, "--out", tmp_path / "out")
    assert (code, output) == (1, "")
    # The line before it, if there is one, says what the folder holds.
    sentence = errors.splitlines()[-1]
    assert sentence.startswith("Error: ")
    assert message in sentence
