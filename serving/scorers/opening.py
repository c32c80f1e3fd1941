"""Where ``score`` finds its network: the Inception of 2015, fetched and converted once, or another one by name."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from igan_zoo.errors import ChecksumError, DownloadError, ScoringError, UnknownNameError
from igan_zoo.images.stored import ImageSource
from igan_zoo.machine.downloads import download
from igan_zoo.machine.files import atomic_file, sha256_of
from igan_zoo.models import store
from igan_zoo.serving.engine import Device, Engine
from igan_zoo.serving.scorers.converting import ScorerKind, convert, inception_kinds, scorer_name
from igan_zoo.serving.scorers.encoders import encoder_as_scorer, settings_file
from igan_zoo.serving.scorers.weights import WeightsFile, open_weights, require_sum
from igan_zoo.serving.scoring.network import Network, open_network
from igan_zoo.serving.scoring.precision import preview_error
from igan_zoo.serving.scoring.protocols import INCEPTION
from igan_zoo.serving.scoring.scores import ScoreOptions

# The published file has 95,628,359 bytes.
_LARGEST_WEIGHTS = 200 * 2**20

_LOG = logging.getLogger(__name__)


def open_scorer(
    reference: str | None = None,
    weights: Path | None = None,
    *,
    device: Device = "cpu",
    threads: int | None = None,
    remembered: bool = False,
) -> Network:
    """Returns the network to score with: the 2015 Inception unless ``reference`` names another.

    Inception, as published, ``-clean`` or ``-spatial``, is kept in the cache as an ONNX file, made of ``weights`` or of
    what is published, which is fetched then.
    An encoder ``X.onnx`` with settings in ``X.json`` is made a scorer, which is kept too. ``remembered`` is that of
    ``open_network``.

    Raises:
        DownloadError: the weights are neither here nor can they be fetched; the message says where to put them.
        ChecksumError, WeightsError: they are not the published ones, or damaged.
        ScoringError: ``weights`` are given for another network.
        UnknownNameError, ModelDirectoryError, InterfaceError, DeviceError: as ``open_network``.
    """
    kind = inception_kinds().get(reference or INCEPTION)
    if kind is not None:
        path = _inception(kind, weights)
    else:
        if weights is not None:
            raise ScoringError(f"Weights apply to {INCEPTION}, but the scorer is {reference}: remove one of them.")
        given = Path(str(reference))
        if given.suffix == ".onnx" and given.is_file() and settings_file(given).is_file():
            path = encoder_as_scorer(given, scorers_folder())
        else:
            path = scorers_folder() / f"{reference}.onnx"
    name = str(path) if path.is_file() else str(reference)
    try:
        return open_network(name, device=device, threads=threads, remembered=remembered)
    except UnknownNameError as error:
        raise UnknownNameError(
            f"{error} A scorer may also be {', '.join(inception_kinds())} or a file X.onnx."
        ) from None


def open_asked_scorer(
    reference: str | None, options: ScoreOptions, source: ImageSource, *, device: Device, threads: int | None
) -> Network:
    """Returns the scorer in the precision that ``options`` ask for, taking images as they do; tried on ``source``.

    Raises:
        ScoringError, ChecksumError, DownloadError, DeviceError, MissingExtraError: as :func:`open_scorer` and
            :func:`open_preview`.
    """
    network = open_scorer(reference, options.weights, device=device, threads=threads, remembered=options.cached)
    if options.precision != "fp32":
        network = open_preview(network, reference, source, options.precision, device=device, threads=threads)
    if options.as_stored:
        network.take_as_stored()
    return network


def open_preview(
    exact: Network,
    reference: str | None,
    source: ImageSource,
    precision: Literal["bf16", "int8"],
    *,
    device: Device = "cpu",
    threads: int | None = None,
) -> Network:
    """Returns a scorer in bfloat16 or its 8-bit form, and logs how far that is off on some of ``source``.

    Raises:
        ScoringError: it has no 8-bit form.
        DeviceError, MissingExtraError: bfloat16 needs OpenVINO, and a processor that multiplies in it.
    """
    if exact.shape is not None or exact.content is None:
        raise ScoringError(f"--precision applies to scorers, but {exact.name} is a classifier. Remove it.")
    if precision == "bf16":
        engine = Engine({"scorer": exact.content()}, device=device, threads=threads, precision="bf16")
        preview = Network(exact.name, exact.sha256, engine, shape=None, content=exact.content)
    else:
        preview = _in_8_bits(exact, reference, device, threads)
    _LOG.info("%s in %s is a preview: %s.", exact.name, precision, preview_error(exact, preview, source))
    return preview


def _in_8_bits(exact: Network, reference: str | None, device: Device, threads: int | None) -> Network:
    given = Path(reference or exact.name)
    folder = given.parent if given.suffix == ".onnx" else scorers_folder()
    path = folder / f"{given.name.removesuffix('.onnx')}-int8.onnx"
    if not path.is_file():
        made = f"igan-zoo export inception --weights FILE --variant int8 --data IMAGES --out {folder}"
        advice = "put its 8-bit form there" if given.suffix == ".onnx" else f"make it with {made}"
        raise ScoringError(f"There is no {path}; {advice}, or remove --precision int8.")
    return open_network(str(path), device=device, threads=threads)


def scorers_folder() -> Path:
    """Returns where converted scorers are kept."""
    return store.home() / "scorers"


def _inception(kind: ScorerKind, weights: Path | None) -> Path:
    path = scorers_folder() / f"{kind.published}.onnx"
    if path.is_file() and (weights is None or (weights.is_file() and sha256_of(weights) == kind.sha256)):
        return path
    with _alone(scorers_folder()):
        if weights is None and path.is_file():
            # Another process has made it meanwhile.
            return path
        file = _published(kind) if weights is None else open_weights(weights)
        if not file.is_graph:
            require_sum(file, kind.sha256, kind.source)
        # TensorFlow's file becomes a scorer of another name, next to the published one.
        path = path.with_name(f"{scorer_name(kind, file)}.onnx")
        content = convert(kind, file)
        with atomic_file(path) as temporary:
            temporary.write_bytes(content)
    _LOG.info("%s: made of %s", path, file.name)
    return path


def _published(kind: ScorerKind) -> WeightsFile:
    """Returns the published weights from the cache, where a person may have put them, or from where they are published.

    Raises:
        DownloadError: they cannot be fetched.
        ChecksumError: the file in the cache is another one.
    """
    path = scorers_folder() / Path(kind.source).name
    if not path.is_file():
        _LOG.info("Downloading the weights of %s (96 MB, once) from %s", kind.published, kind.source)
        try:
            if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
                raise DownloadError("HF_HUB_OFFLINE forbids downloading it")
            download(kind.source, path, sha256=kind.sha256, largest=_LARGEST_WEIGHTS)
        except DownloadError as error:
            raise DownloadError(
                f"{error}: get {kind.source} on another machine and put it at {path}, or give it with --weights FILE."
            ) from error
    file = open_weights(path)
    if file.sha256 != kind.sha256:
        raise ChecksumError(
            f"{path} is not the published file: its sha256 is {file.sha256}, not {kind.sha256}; delete it, and "
            "the next run fetches it again."
        )
    return file


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Holds a lock on a folder, so that of several processes one fetches and converts."""
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

    folder.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(folder / ".lock"):
        yield
