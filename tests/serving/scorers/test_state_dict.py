"""Reading what ``torch.save`` wrote, beside ``torch.load``; and whatever else a file may hold, without running it."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from igan_zoo.serving.scorers.pickled_tensors import UnknownPickleError, read_pickle
from igan_zoo.serving.scorers.state_dict import NotAStateDictError, NotTensorsError, read_state_dict


def saved(content: Any, *, zipped: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def odd_tensors() -> dict[str, Any]:
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    kinds = [torch.float64, torch.float16, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool]
    return {
        "whole": base,
        "transposed": base.T,
        "part": base[1:3, 2:5],
        "every second": base[:, ::2],
        "scalar": torch.tensor(3.5),
        "empty": torch.empty(0, 3),
        "parameter": nn.Parameter(torch.rand(2, 3)),
        "half the bits": torch.tensor([1.5, -2.0, torch.inf, 3e38]).to(torch.bfloat16),
        **{str(kind): torch.arange(5).to(kind) for kind in kinds},
    }


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("ordered", [True, False])
def test_every_tensor_is_read_as_pytorch_reads_it(zipped: bool, ordered: bool) -> None:
    tensors = odd_tensors()
    content = saved(OrderedDict(tensors) if ordered else tensors, zipped=zipped)
    read = read_state_dict(content)
    expected = torch.load(io.BytesIO(content), weights_only=True)
    assert list(read) == list(expected)
    for name, tensor in expected.items():
        tensor = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
        assert read[name].dtype == tensor.detach().numpy().dtype, name
        np.testing.assert_array_equal(read[name], tensor.detach().numpy(), err_msg=name)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_modules_state_dict_is_read_with_its_versions(zipped: bool) -> None:
    state = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).state_dict()
    assert hasattr(state, "_metadata")
    assert list(read_state_dict(saved(state, zipped=zipped))) == list(state)


class Calling:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.how = function, arguments

    def __reduce__(self) -> Any:
        return self.how


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "calling", [Calling(exec, "raise SystemExit"), Calling(Path.touch, Path("/nonexistent")), Calling(OrderedDict, [])]
)
def test_nothing_is_called(zipped: bool, calling: Calling) -> None:
    with pytest.raises(NotTensorsError):
        read_state_dict(saved({"a": torch.zeros(1), "b": calling}, zipped=zipped))


def test_reading_imports_nothing(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(saved({"a": torch.zeros(2)}))
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nfrom igan_zoo.serving.scorers.state_dict import *\n"
        "sys.modules['torch'] = None\nprint(read_state_dict(open(sys.argv[1], 'rb').read())['a'].tolist())\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "w.pth")], capture_output=True, text=True, check=True
    )
    assert result.stdout == "[0.0, 0.0]\n"


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "content", [[torch.zeros(2)], torch.zeros(2), {"s": {"a": torch.zeros(2)}}, {1: torch.ones(1)}]
)
def test_tensors_without_names_are_no_state_dict(zipped: bool, content: Any) -> None:
    with pytest.raises(NotAStateDictError):
        read_state_dict(saved(content, zipped=zipped))


def test_a_compressed_member_is_refused_however_large_it_claims_to_be() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", bytes(10_000_000))
    with pytest.raises(NotTensorsError):
        read_state_dict(packed.getvalue())


def rewritten(content: bytes, change: Any) -> bytes:
    """The archive with another ``data.pkl``."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(packed, "w") as other:
        for name in archive.namelist():
            member = archive.read(name)
            other.writestr(name, change(member) if name.endswith("data.pkl") else member)
    return packed.getvalue()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"K\x07K\x05\x86", b"K\x07K\x06\x86"),  # more rows than there are numbers
        (b"K\x05K\x01\x86", b"K\x06K\x01\x86"),  # strides that leave the storage
        (b"K\x05K\x01\x86", b"J\xff\xff\xff\xffK\x01\x86"),  # a negative stride
        (b"K#", b"K$"),  # a count that the storage has not
    ],
)
def test_a_tensor_that_leaves_its_storage_is_refused(old: bytes, new: bytes) -> None:
    content = saved({"a": torch.arange(35.0).reshape(7, 5)})
    assert read_state_dict(rewritten(content, lambda member: member))["a"].shape == (7, 5)

    def change(member: bytes) -> bytes:
        assert member.count(old) == 1
        return member.replace(old, new)

    with pytest.raises(NotTensorsError):
        read_state_dict(rewritten(content, change))


def is_refused_or_read(content: bytes) -> None:
    try:
        read = read_state_dict(content)
    except (NotTensorsError, NotAStateDictError):
        return
    assert all(isinstance(array, np.ndarray) and array.nbytes <= 8 * len(content) for array in read.values())


VALID = {zipped: saved(odd_tensors(), zipped=zipped) for zipped in (True, False)}


@settings(max_examples=300, deadline=None)
@given(data=st.data(), zipped=st.booleans())
def test_damaged_bytes_are_refused_or_read(data: st.DataObject, zipped: bool) -> None:
    content = bytearray(VALID[zipped])
    for _ in range(data.draw(st.integers(1, 8))):
        start = data.draw(st.integers(0, len(content) - 1))
        content[start : start + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    is_refused_or_read(bytes(content))


@settings(max_examples=100, deadline=None)
@given(keep=st.floats(0, 1), zipped=st.booleans())
def test_cut_files_are_refused(keep: float, zipped: bool) -> None:
    content = VALID[zipped]
    with pytest.raises(NotTensorsError):
        read_state_dict(content[: int(keep * (len(content) - 1))])


@pytest.mark.parametrize("zipped", [True, False])
def test_a_cut_file_whose_last_tensor_is_empty_is_refused(zipped: bool) -> None:
    content = saved({"empty": torch.empty(0, 3)}, zipped=zipped)
    assert read_state_dict(content)["empty"].shape == (0, 3)
    for missing in range(1, 10):
        with pytest.raises(NotTensorsError):
            read_state_dict(content[:-missing])


# Opcodes with short arguments, so that most sequences get far.
PIECES = [
    *(bytes([code]) for code in b"(.0)]}tsuaebRNQ\x85\x86\x87\x88\x89\x93\x94ld"),
    *(b"q\x00", b"h\x00", b"h\x01", b"K\x03", b"K\xff", b"M\x00\x01", b"J\xff\xff\xff\xff", b"\x8a\x01\x05"),
    *(b"X\x01\x00\x00\x00a", b"\x8c\x07storage", b"\x8c\x01a", b"U\x01a", b"r\xff\xff\xff\x7f", b"j\xff\xff\xff\x7f"),
    *(
        b"ccollections\nOrderedDict\n",
        b"ctorch\nFloatStorage\n",
        b"ctorch._utils\n_rebuild_tensor_v2\n",
        b"cos\nsystem\n",
    ),
    *(b"\x80\x02", b"\x95\x00\x00\x00\x00\x00\x00\x00\x00", b"G\x00\x00\x00\x00\x00\x00\x00\x00", b"B\xff\xff\xff\xff"),
]


@settings(max_examples=1000, deadline=None)
@given(pieces=st.lists(st.sampled_from(PIECES) | st.binary(min_size=1, max_size=2), max_size=40))
def test_any_sequence_of_opcodes_is_data_or_refused(pieces: list[bytes]) -> None:
    try:
        read_pickle(io.BytesIO(b"".join(pieces) + b"."))
    except UnknownPickleError:
        return


def test_depth_and_sharing_cost_nothing() -> None:
    """A tuple 200,000 deep, which Python cannot hash, and one of 2**200 leaves, which it cannot print."""
    deep = b")" + b"\x85" * 200_000
    for content in (b"}" + deep + b"K\x01s.", b"(" + deep + b"K\x01d."):
        with pytest.raises(UnknownPickleError):
            read_pickle(io.BytesIO(content))
    wide = b"K\x01" + b"q\x00h\x00\x86" * 200
    with pytest.raises(UnknownPickleError):
        read_pickle(io.BytesIO(wide + wide + b"\x93."))
    with pytest.raises(UnknownPickleError):
        read_pickle(io.BytesIO(b"r\xff\xff\xff\xff."))


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_are_read_as_pickle_reads_them(protocol: int) -> None:
    value = {"a": [1, -1, 2**40, None, True, ("x", 0.5)], "b": {}, "é": ()}
    content = pickle.dumps(value, protocol)
    if protocol >= 2:
        assert read_pickle(io.BytesIO(content)) == value
    else:
        # PyTorch has never written those.
        with pytest.raises(UnknownPickleError):
            read_pickle(io.BytesIO(content))
