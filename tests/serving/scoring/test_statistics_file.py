"""Statistics files come back as they were, and hostile ones give one sentence."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from igan_zoo.errors import ScoringError
from igan_zoo.serving.scoring.metrics.frechet_distance import frechet_distance, gaussian
from igan_zoo.serving.scoring.plan import saved_reference
from igan_zoo.serving.scoring.statistics import merge
from igan_zoo.serving.scoring.statistics_file import (
    load_gaussian,
    load_statistics,
    save_gaussian,
    save_statistics,
)
from tests.serving.scoring.examples import some_facts, some_features, some_logits, statistics_of
from tests.serving.scoring.test_statistics import FEATURES, WHOLE, assert_same_bits, shards


def test_a_saved_file_gives_back_the_same_bits(tmp_path: Path) -> None:
    path = tmp_path / "whole.safetensors"
    save_statistics(WHOLE, path)
    loaded = load_statistics(path)
    assert_same_bits(loaded, WHOLE)
    assert loaded.name == str(path)
    save_statistics(loaded, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_files_of_shards_merge_to_the_file_of_one_run(tmp_path: Path) -> None:
    for index, part in enumerate(shards(3)):
        save_statistics(part, tmp_path / f"{index}.safetensors")
    merged = merge([load_statistics(tmp_path / f"{index}.safetensors") for index in (2, 0, 1)])
    save_statistics(merged, tmp_path / "merged.safetensors")
    save_statistics(WHOLE, tmp_path / "whole.safetensors")
    assert (tmp_path / "merged.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()


def test_refusals_of_a_merge_name_the_files(tmp_path: Path) -> None:
    for name, part in (("a", shards(2)[0]), ("b", shards(2, seed=1)[1])):
        save_statistics(part, tmp_path / name)
    with pytest.raises(ScoringError, match=r"2020 in .*/a, 1 in .*/b"):
        merge([load_statistics(tmp_path / "a"), load_statistics(tmp_path / "b")])


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("it was unpickled",))


def test_damaged_and_foreign_files_give_one_sentence(tmp_path: Path) -> None:
    save_statistics(WHOLE, tmp_path / "good")
    content = (tmp_path / "good").read_bytes()
    damaged = {
        "short": content[:-5],
        "cut": content[:100],
        "empty": b"",
        "pickle": pickle.dumps(Bomb()),
        "facts": content.replace(b'"images', b'"imagos'),
        "version": content.replace(b"igan_zoo.statistics", b"igan_zoo.statisticz"),
    }
    for name, wrong in damaged.items():
        (tmp_path / name).write_bytes(wrong)
        with pytest.raises(ScoringError, match=f"{name} is not a statistics file"):
            load_statistics(tmp_path / name)
    with pytest.raises(ScoringError, match="There is no statistics file"):
        load_statistics(tmp_path / "absent")
    with pytest.raises(ScoringError, match="not a statistics file"):
        load_statistics(tmp_path)


@pytest.mark.parametrize(
    "name", ["covered", "skipped", "split_counts", "kept_features", "feature_moments", "class_moments"]
)
def test_parts_that_do_not_fit_together_are_refused(tmp_path: Path, name: str) -> None:
    from safetensors import safe_open

    save_statistics(WHOLE, tmp_path / "good")
    arrays = load_file(tmp_path / "good")
    with safe_open(tmp_path / "good", framework="numpy") as file:
        metadata = file.metadata()
    for index, wrong in enumerate((arrays[name][:-1], np.zeros_like(arrays[name]), arrays[name].astype(np.float64))):
        if name == "kept_features" and index == 1:
            wrong = np.full_like(arrays[name], np.nan)
        if name == "skipped" and index == 1:
            wrong = arrays["covered"]
        save_file({**arrays, name: np.ascontiguousarray(wrong)}, tmp_path / "bad", metadata=metadata)
        with pytest.raises(ScoringError, match="its parts do not fit together"):
            load_statistics(tmp_path / "bad")


def test_a_changed_byte_is_found_anywhere(tmp_path: Path) -> None:
    save_statistics(WHOLE, tmp_path / "good")
    content = (tmp_path / "good").read_bytes()
    begin = 8 + int.from_bytes(content[:8], "little")
    for position in np.linspace(begin, len(content) - 1, 40, dtype=int):
        wrong = bytearray(content)
        wrong[position] ^= 1
        (tmp_path / "bad").write_bytes(wrong)
        with pytest.raises(ScoringError, match="bad is damaged"):
            load_statistics(tmp_path / "bad")


def test_files_without_a_checksum_are_read(tmp_path: Path) -> None:
    from safetensors import safe_open

    save_statistics(WHOLE, tmp_path / "new")
    with safe_open(tmp_path / "new", framework="numpy") as file:
        (entry,) = file.metadata().items()
    header = json.loads(entry[1])
    assert isinstance(header.pop("checksum"), int)
    save_file(load_file(tmp_path / "new"), tmp_path / "old", metadata={entry[0]: json.dumps(header)})
    assert_same_bits(load_statistics(tmp_path / "old"), WHOLE)


def test_a_gaussian_file_is_what_pytorch_fid_reads_and_comes_back(tmp_path: Path) -> None:
    facts = some_facts(images=100)
    one = gaussian(WHOLE)
    other = gaussian(statistics_of(facts, some_features(100, 12, 5), some_logits(100, 7, 6)))
    save_gaussian(one, tmp_path / "stats.npz")
    with np.load(tmp_path / "stats.npz", allow_pickle=False) as file:
        np.testing.assert_allclose(file["mu"], FEATURES.astype(np.float64).mean(axis=0), atol=2**-15)
        np.testing.assert_allclose(file["sigma"], np.cov(FEATURES, rowvar=False), atol=2**-12)
    assert frechet_distance(load_gaussian(tmp_path / "stats.npz"), other) == frechet_distance(one, other)


def test_a_file_of_images_and_statistics_is_a_reference_by_its_statistics(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """ADM's reference batches have both."""
    caplog.set_level("INFO", "igan_zoo")
    name = str(tmp_path / "adm.npz")
    np.savez(name, arr_0=np.zeros((2, 4, 4, 3), np.uint8), mu=np.zeros(3), sigma=np.eye(3))
    reference = saved_reference(name)
    assert reference is not None
    assert reference.gaussian is not None
    assert caplog.messages == [
        f"{name}: only its mean and covariance are used; the file does not say which images and scorer they come from."
    ]


def test_hostile_gaussian_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.npz"
    eye = np.eye(3)
    for arrays in (
        {"mu": eye[0]},
        {"mu": eye, "sigma": eye},
        {"mu": np.array([Bomb()] * 3), "sigma": eye},
        {"mu": np.arange(3), "sigma": eye},
        {"mu": eye[0], "sigma": np.eye(4)},
        {"mu": eye[0] * np.nan, "sigma": eye},
    ):
        np.savez(path, **arrays)  # type: ignore[arg-type]
        with pytest.raises(ScoringError, match=r"bad\.npz"):
            load_gaussian(path)
    path.write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(ScoringError, match=r"bad\.npz"):
        load_gaussian(path)
    with pytest.raises(ScoringError, match="no file"):
        load_gaussian(tmp_path / "absent.npz")


def test_a_gaussian_file_that_promises_too_much_makes_no_room_for_it(tmp_path: Path) -> None:
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (9000000000000,), }"
    magic = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with zipfile.ZipFile(tmp_path / "huge.npz", "w") as archive:
        archive.writestr("mu.npy", magic)
        archive.writestr("sigma.npy", magic)
    with pytest.raises(ScoringError, match=r"is not an \.npz"):
        load_gaussian(tmp_path / "huge.npz")
