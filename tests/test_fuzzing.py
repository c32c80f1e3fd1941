"""Every parser of foreign files of ours, fed with changed files: it reads them or says one of our errors, nothing else.

``pytest tests/test_fuzzing.py --hypothesis-profile=long`` tries a hundred times as much.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from igan_zoo.errors import IganZooError
from igan_zoo.models.spec import read_spec
from igan_zoo.serving.image_sources import open_source
from igan_zoo.serving.onnx_file import check_onnx_file
from igan_zoo.serving.scoring.statistics_file import holds_gaussian, load_gaussian, load_statistics, save_statistics
from igan_zoo.serving.stored_images import read
from igan_zoo.training.data.label_files import read_labels
from tests.conftest import REPOSITORY
from tests.serving.scoring.test_statistics_file import WHOLE

HOSTILE = REPOSITORY / "tests" / "hostile"
BUNDLED = REPOSITORY / "zoo" / "bundled" / "mnist-ssl"

settings.register_profile("long", max_examples=20_000)


def read_all(path: Path) -> None:
    source = open_source(str(path))
    read(source, range(min(3, len(source))))
    source.fingerprint()


def gaussian(path: Path) -> None:
    holds_gaussian(path)
    load_gaussian(path)


def labels(path: Path) -> None:
    read_labels(path, {"a.png", "b.png"}, "here")


def graph(path: Path) -> None:
    check_onnx_file(path.read_bytes(), "classifier")


# The name of a file, what reads it, and whole files to begin with.
TARGETS: dict[str, Callable[[Path], None]] = {
    "x.npz": read_all,
    "x.npy": read_all,
    "x.tar": read_all,
    "gaussian.npz": gaussian,
    "statistics.safetensors": lambda path: void(load_statistics(path)),
    "config.json": lambda path: void(read_spec(path)),
    "labels.csv": labels,
    "graph.onnx": graph,
}


def void(_: object) -> None:
    """Forgets a result."""


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[bytes]]]:
    folder = tmp_path_factory.mktemp("fuzzing")
    images = np.zeros((4, 5, 6, 3), np.uint8)
    np.savez(folder / "a.npz", images=images, labels=np.arange(4))
    np.savez_compressed(folder / "b.npz", images=images)
    np.save(folder / "a.npy", images)
    np.savez(folder / "g.npz", mu=np.zeros(3), sigma=np.eye(3))
    np.savez_compressed(folder / "h.npz", mu=np.zeros(3), sigma=np.eye(3))
    save_statistics(WHOLE, folder / "s.safetensors")
    content = {path.name: path.read_bytes() for path in folder.iterdir()}
    hostile = {path.name: path.read_bytes() for path in HOSTILE.iterdir()}
    corpus = {
        "x.npz": [content["a.npz"], content["b.npz"]],
        "x.npy": [content["a.npy"]],
        "x.tar": [hostile["tar-latin1-name.tar"], hostile["tar-0097.tar"]],
        "gaussian.npz": [content["g.npz"], content["h.npz"], hostile["fid-damaged.npz"]],
        "statistics.safetensors": [content["s.safetensors"], hostile["statistics-bf16.safetensors"]],
        "config.json": [(BUNDLED / "config.json").read_bytes(), hostile["config-nul-name.json"]],
        "labels.csv": [b'file,label\na.png,cat\nb.png,"dog"\n', b"\xef\xbb\xbfpath,class\na.png,\n"],
        "graph.onnx": [hostile["external-secret.onnx"], hostile["onnx-keyerror.onnx"]],
    }
    return folder, corpus


@st.composite
def changed(draw: st.DrawFn, content: bytes) -> bytes:
    """A file with some bytes changed, put in, left out or cut off."""
    result = bytearray(content)
    special = st.sampled_from([b"\0", b"\xff", b"\x7f", b"\x80", b"9" * 20, b"(" * 50, b"[" * 2000, b"\xff" * 8, b"-1"])
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, len(result)))
        piece = draw(st.one_of(special, st.binary(min_size=1, max_size=4)))
        length = draw(st.sampled_from([0, 1, len(piece), 8]))
        result[at : at + length] = piece
    if draw(st.booleans()):
        del result[draw(st.integers(0, len(result))) :]
    return bytes(result)


@pytest.mark.parametrize("name", TARGETS)
@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_changed_file_is_read_or_refused(
    name: str, data: st.DataObject, seeds: tuple[Path, dict[str, list[bytes]]]
) -> None:
    folder, corpus = seeds
    path = folder / name
    path.write_bytes(data.draw(changed(data.draw(st.sampled_from(corpus[name])))))
    with contextlib.suppress(IganZooError):
        TARGETS[name](path)
