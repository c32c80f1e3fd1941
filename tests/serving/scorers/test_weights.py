"""Weights from anywhere: sums first, tensors only, and one sentence for everything else."""

from __future__ import annotations

import gzip
import io
import pickle
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from igan_zoo.errors import ChecksumError, IganZooError, WeightsError
from igan_zoo.serving.scorers import weights as module
from igan_zoo.serving.scorers.weights import GRAPH_NAME, Weights, open_weights, read_weights, require_sum


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


def saved(content: Any, path: Path, **how: Any) -> Path:
    torch.save(content, path, **how)
    return path


class Code:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def load(path: Path) -> dict[str, Any]:
    """What :func:`network` takes."""
    weights = Weights(read_weights(open_weights(path)), str(path))
    expected = {name: tensor.shape for name, tensor in network().state_dict().items() if "num_batches" not in name}
    taken = {name: weights.take(name, *shape) for name, shape in expected.items()}
    weights.require_all_taken()
    return taken


@pytest.mark.parametrize("zipped", [True, False])
def test_a_state_dict_is_loaded_in_either_format(tmp_path: Path, zipped: bool) -> None:
    state = {name: torch.rand(tensor.shape) for name, tensor in network().state_dict().items()}
    state["1.num_batches_tracked"] = torch.tensor(7)
    path = saved(state, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    loaded = load(path)
    assert all(np.array_equal(loaded[name], state[name]) for name in state if "num_batches" not in name)


def test_the_number_of_batches_may_be_missing(tmp_path: Path) -> None:
    state = network().state_dict()
    del state["1.num_batches_tracked"]
    load(saved(state, tmp_path / "w.pth"))


def one_sentence(path: Path) -> str:
    with pytest.raises(IganZooError) as caught:
        load(path)
    sentence = str(caught.value)
    assert isinstance(caught.value, WeightsError)
    assert str(path) in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert "weights_only" not in sentence
    return sentence


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_place_of_a_tensor_does_not_run(tmp_path: Path, zipped: bool) -> None:
    state = {**network().state_dict(), "0.weight": Code(tmp_path / "ran")}
    path = saved(state, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    assert "holds more than tensors" in one_sentence(path)
    assert not (tmp_path / "ran").exists()


def test_a_bare_pickle_with_code_does_not_run(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(pickle.dumps(Code(tmp_path / "ran")))
    assert "cannot be loaded" in one_sentence(tmp_path / "w.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("keep", [0, 10, 500, -100, -1])
def test_a_truncated_file_is_refused(tmp_path: Path, keep: int) -> None:
    path = saved(network().state_dict(), tmp_path / "w.pth")
    path.write_bytes(path.read_bytes()[:keep])
    one_sentence(path)


def test_an_error_page_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    path.write_text("\n<!DOCTYPE html><html>Not Found</html>")
    one_sentence(path)
    with pytest.raises(ChecksumError, match=r"w\.pth is a web page, not the published file"):
        require_sum(open_weights(path), "0" * 64, "https://example.org/w.pth")


@pytest.mark.parametrize("content", [[torch.zeros(2)], torch.zeros(2), {"state_dict": {}}, {1: torch.zeros(2)}, "x"])
def test_what_is_no_state_dict_is_refused(tmp_path: Path, content: Any) -> None:
    assert "is not a state dict" in one_sentence(saved(content, tmp_path / "w.pth"))


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing.pth"):
        assert one_sentence(path) == f"There is no file {path}."


def changed(**entries: Tensor | None) -> dict[str, Tensor]:
    state = {**network().state_dict(), **{name.replace("__", "."): tensor for name, tensor in entries.items()}}
    return {name: tensor for name, tensor in state.items() if tensor is not None}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (changed(**{"0__bias": None}), r"it lacks 0\.bias\.$"),
        (changed(extra=torch.zeros(1)), r"it has extra, which the network does not have\.$"),
        (
            changed(**{"0__weight": torch.zeros(3, 3)}),
            r"0\.weight is \[3, 3\] float32, not \[3, 2\] float32",
        ),
        (changed(**{"0__bias": torch.zeros(3, dtype=torch.int64)}), r"0\.bias is \[3\] int64"),
        (
            changed(**{"1__running_var": torch.tensor([1.0, torch.nan, 1.0])}),
            r"running_var has numbers that are not finite",
        ),
    ],
)
def test_another_networks_weights_are_named(tmp_path: Path, state: dict[str, Tensor], message: str) -> None:
    path = saved(state, tmp_path / "w.pth")
    one_sentence(path)
    with pytest.raises(WeightsError, match=message):
        load(path)


def test_the_sum_is_checked_and_the_message_says_both(tmp_path: Path) -> None:
    file = open_weights(saved(network().state_dict(), tmp_path / "w.pth"))
    require_sum(file, file.sha256, "")
    with pytest.raises(ChecksumError, match=f"its sha256 is {file.sha256}, not {'0' * 64}; get URL again, or"):
        require_sum(file, "0" * 64, "URL")


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 1000)
    (tmp_path / "w.pth").write_bytes(bytes(1001))
    assert "has more than" in one_sentence(tmp_path / "w.pth")


def test_an_archive_that_would_grow_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 100_000)
    with zipfile.ZipFile(tmp_path / "w.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(1_000_000))
    assert "cannot be loaded" in one_sentence(tmp_path / "w.pth")
    (tmp_path / "w.tgz").write_bytes(gzip.compress(bytes(1_000_000)))
    assert "unpacks to more than" in one_sentence(tmp_path / "w.tgz")


def archive_of(path: Path, name: str, content: bytes) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for member, inside in (("imagenet_synset_to_human_label_map.txt", b"text"), (name, content)):
            info = tarfile.TarInfo(member)
            info.size = len(inside)
            archive.addfile(info, io.BytesIO(inside))
    return path


def test_the_graph_of_an_archive_is_the_file_that_counts(tmp_path: Path) -> None:
    content = bytes(range(256)) * 100
    (tmp_path / "graph.pb").write_bytes(content)
    plain = open_weights(tmp_path / "graph.pb")
    packed = open_weights(archive_of(tmp_path / "inception-2015-12-05.tgz", f"./{GRAPH_NAME}", content))
    assert (plain.content, plain.sha256, plain.is_graph) == (packed.content, packed.sha256, packed.is_graph)
    assert plain.is_graph


def test_an_archive_without_the_graph_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    path = archive_of(tmp_path / "w.tgz", "other.pb", b"x")
    assert f"has no {GRAPH_NAME} inside" in one_sentence(path)
    content = archive_of(path, GRAPH_NAME, torch.rand(10_000).numpy().tobytes()).read_bytes()
    for damaged in (content[:-20_000], content[:5], b"", b"<html>", content[:100] + b"\xff" * 20 + content[120:]):
        path.write_bytes(damaged)
        one_sentence(path)


def test_a_link_in_an_archive_is_not_followed(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "w.tgz", "w:gz") as archive:
        info = tarfile.TarInfo(GRAPH_NAME)
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/hostname"
        archive.addfile(info)
    assert "has no" in one_sentence(tmp_path / "w.tgz")
