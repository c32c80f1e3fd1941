"""Reading published weights safely: sizes and sums first, tensors only, names and shapes as the network has them."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from igan_zoo.errors import ChecksumError, WeightsError, first_line
from igan_zoo.export.frozen_graph import read_inception_graph

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
            "add --any-weights if you mean this one."
        )


def read_weights(file: WeightsFile) -> dict[str, Tensor]:
    """Returns the tensors of a PyTorch state dict or of TensorFlow's Inception graph, by their names in a state dict.

    Of a pickle only tensors and plain containers are loaded, and nothing is called.

    Raises:
        WeightsError: the file is damaged, or holds anything else.
    """
    if file.is_graph:
        return read_inception_graph(file.content, file.name)
    _refuse_inflating(file)
    try:
        loaded = torch.load(io.BytesIO(file.content), map_location="cpu", weights_only=True)
    except Exception:
        # torch's own message proposes to load the file unsafely.
        raise WeightsError(
            f"{file.name} cannot be loaded as a state dict: it is damaged, or holds more than tensors, which is never "
            "loaded; download it again."
        ) from None
    if not isinstance(loaded, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in loaded.items()
    ):
        raise WeightsError(f"{file.name} is not a state dict, a mapping from names to tensors.")
    return dict(loaded)


def load_weights(network: nn.Module, weights: Mapping[str, Tensor], file: str) -> None:
    """Puts ``weights`` into ``network``, every one of them and nothing else.

    How many batches a norm has seen does not matter and may be missing.

    Raises:
        WeightsError: a name is missing or unknown, a shape is another, or a number is not finite.
    """
    expected = {name: tensor for name, tensor in network.state_dict().items() if not _counts_batches(name)}
    given = {name: tensor for name, tensor in weights.items() if not _counts_batches(name)}
    missing = [name for name in expected if name not in given]
    unknown = [name for name in given if name not in expected]
    if missing or unknown:
        parts = [f"lacks {missing[0]} and {len(missing) - 1} more"] if missing else []
        parts += [f"has {unknown[0]} and {len(unknown) - 1} more that do not belong there"] if unknown else []
        raise WeightsError(f"{file} holds another network's weights: it {', and '.join(parts)}.")
    for name, tensor in given.items():
        if tensor.shape != expected[name].shape or not tensor.is_floating_point():
            shapes = f"{list(tensor.shape)} {tensor.dtype}, not {list(expected[name].shape)} {expected[name].dtype}"
            raise WeightsError(f"{file} holds another network's weights: {name} is {shapes}.")
        if not tensor.isfinite().all():
            raise WeightsError(f"{file} is damaged: {name} has numbers that are not finite.")
    network.load_state_dict(given, strict=True)


def _counts_batches(name: str) -> bool:
    return name.endswith(".num_batches_tracked")


def _refuse_inflating(file: WeightsFile) -> None:
    """Refuses an archive whose members claim more bytes than any of these weights have; torch stores them plainly."""
    if not file.content.startswith(b"PK"):
        return
    try:
        with zipfile.ZipFile(io.BytesIO(file.content)) as archive:
            claimed = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise WeightsError(f"{file.name} is damaged: {first_line(error)}") from error
    if claimed > MAX_BYTES:
        raise WeightsError(f"{file.name} would unpack to {claimed // 10**6} MB, too much for these weights.")


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
        raise WeightsError(f"{path} is damaged, or no archive: {first_line(error)}") from error
    raise WeightsError(f"{path} has no {GRAPH_NAME} inside.")
