"""Reading published weights safely: sizes and sums first, tensors only, names and shapes as the network has them."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from igan_zoo.errors import ChecksumError, WeightsError, first_line
from igan_zoo.serving.scorers.state_dict import NotAStateDictError, NotTensorsError, read_state_dict
from igan_zoo.serving.scorers.tensorflow_graph import read_inception_graph

# The largest published file has 96 MB, its archive unpacked a little more.
MAX_BYTES = 160_000_000

GRAPH_SUFFIX = ".pb"
ARCHIVE_SUFFIXES = (".tgz", ".tar.gz")
GRAPH_NAME = "classify_image_graph_def.pb"


@dataclass(frozen=True)
class WeightsFile:
    """The bytes of a file of weights with their sha256; of an archive, the bytes and the sum of the graph inside."""

    name: str
    content: bytes
    sha256: str
    is_graph: bool


def open_weights(path: Path) -> WeightsFile:
    """Returns the file's bytes, nothing in them interpreted but the archive around a graph.

    Raises:
        WeightsError: it is missing, no file, too large, or an archive without a graph.
    """
    if not path.is_file():
        raise WeightsError(f"There is no file {path}.")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise WeightsError(f"Cannot read {path}: {error.strerror}.") from error
    if len(content) > MAX_BYTES:
        raise WeightsError(f"{path} has more than {MAX_BYTES // 10**6} MB, too much for these weights.")
    is_archive = path.name.lower().endswith(ARCHIVE_SUFFIXES)
    if is_archive:
        content = _graph_of_archive(path, content)
    is_graph = is_archive or path.suffix.lower() == GRAPH_SUFFIX
    return WeightsFile(str(path), content, hashlib.sha256(content).hexdigest(), is_graph)


def require_sum(file: WeightsFile, sha256: str, url: str) -> None:
    """Checks the file's sum.

    Raises:
        ChecksumError: it is another.
    """
    if file.sha256 != sha256:
        page = "is a web page, not" if file.content.lstrip()[:1] == b"<" else "is not"
        raise ChecksumError(
            f"{file.name} {page} the published file: its sha256 is {file.sha256}, not {sha256}; get {url} again, or "
            "for other weights of the same network use igan-zoo export KIND --weights FILE --any-weights."
        )


def read_weights(file: WeightsFile) -> dict[str, NDArray[Any]]:
    """Returns the tensors of a PyTorch state dict or of TensorFlow's Inception graph, by their names in a state dict.

    Nothing in the file is executed.

    Raises:
        WeightsError: the file is damaged, or holds anything but tensors.
    """
    if file.is_graph:
        return dict(read_inception_graph(file.content, file.name))
    try:
        return read_state_dict(file.content)
    except NotTensorsError:
        raise WeightsError(
            f"{file.name} cannot be loaded as a state dict: it is damaged, or holds more than tensors, which is never "
            "loaded; download it again."
        ) from None
    except NotAStateDictError:
        raise WeightsError(f"{file.name} is not a state dict, a mapping from names to tensors.") from None


class Weights:
    """Tensors by name, each taken once with the shape that a network has; afterwards none may be left."""

    def __init__(self, tensors: Mapping[str, NDArray[Any]], file: str) -> None:
        # How many batches a norm has seen does not matter and may be missing.
        self._left = {name: tensor for name, tensor in tensors.items() if not name.endswith(".num_batches_tracked")}
        self._file = file

    def take(self, name: str, *shape: int) -> NDArray[np.float64]:
        """Returns a tensor of this shape.

        Raises:
            WeightsError: it is missing or has another shape, or a number that is not finite.
        """
        if name not in self._left:
            raise WeightsError(f"{self._file} holds another network's weights: it lacks {name}.")
        tensor = self._left.pop(name)
        if tensor.shape != shape or tensor.dtype.kind != "f":
            raise WeightsError(
                f"{self._file} holds another network's weights: {name} is {list(tensor.shape)} {tensor.dtype}, not "
                f"{list(shape)} float32."
            )
        if not np.isfinite(tensor).all():
            raise WeightsError(f"{self._file} is damaged: {name} has numbers that are not finite.")
        return tensor.astype(np.float64)

    def require_all_taken(self) -> None:
        """Refuses weights of which some belong to no layer.

        Raises:
            WeightsError: names the first.
        """
        if self._left:
            first, *others = self._left
            more = f" and {len(others)} more tensors that" if others else ", which"
            raise WeightsError(
                f"{self._file} holds another network's weights: it has {first}{more} the network does not have."
            )


def _graph_of_archive(path: Path, content: bytes) -> bytes:
    """Returns the graph in a gzipped tar archive, of which at most ``MAX_BYTES`` are unpacked, in memory."""
    inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        unpacked = inflater.decompress(content, MAX_BYTES)
        if inflater.unconsumed_tail:
            raise WeightsError(f"{path} unpacks to more than {MAX_BYTES // 10**6} MB, too much for these weights.")
        with tarfile.open(fileobj=io.BytesIO(unpacked), mode="r:") as archive:
            for member in archive:
                wanted = Path(member.name).name == GRAPH_NAME and member.isfile()
                if wanted and (file := archive.extractfile(member)) is not None:
                    return file.read(MAX_BYTES)
    except (zlib.error, tarfile.TarError, EOFError) as error:
        raise WeightsError(f"{path} is damaged, or not an archive: {first_line(error)}") from error
    raise WeightsError(f"{path} has no {GRAPH_NAME} inside.")
