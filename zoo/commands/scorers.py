"""Scorers: what ``export`` makes of published weights, and where ``score`` finds its network."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from igan_zoo.commands.options import missing_train
from igan_zoo.errors import ChecksumError
from igan_zoo.terminal import print_seconds_since

if TYPE_CHECKING:
    from igan_zoo.serving.scoring.network import Network
    from igan_zoo.serving.stored_images import ImageSource

SCORERS = ("inception", "efficientnet-lite0")

# The published file has 95,628,359 bytes.
_LARGEST_WEIGHTS = 200 * 2**20


def export_scorer(
    kind: str, weights: Path | None, out: Path, *, any_weights: bool, force: bool, calibration: str | None = None
) -> None:
    """Turns published weights into an ONNX file that computes features and logits of images of any size.

    ``calibration`` names images for which an 8-bit preview is written beside it.
    """
    if kind not in SCORERS:
        raise click.UsageError(f"--weights goes with {' or '.join(SCORERS)}, not with {kind}")
    if weights is None:
        raise click.UsageError(f"{kind} wants --weights, the file of its published weights")
    try:
        from igan_zoo.export import scorers
    except ImportError as error:
        raise missing_train(error) from error

    began = time.perf_counter()
    path, name = scorers.export_scorer(scorers.SCORERS[kind], weights, out, any_weights=any_weights, replace=force)
    click.echo(f"{path}: the scorer {name}, compared with PyTorch; next to it {path.with_suffix('.parity.json').name}")
    if calibration is not None:
        from igan_zoo.export.scorer_previews import write_int8_scorer
        from igan_zoo.serving.image_sources import open_source

        images = open_source(calibration, split=None)
        preview, measured = write_int8_scorer(path, images, size=scorers.SCORERS[kind].size, replace=force)
        click.echo(f"{preview}: the scorer {name}-int8, a preview: {measured}")
    print_seconds_since(began)


def load_preview(exact: Network, reference: str | None, source: ImageSource, how: dict[str, Any]) -> Network:
    """Returns the 8-bit form of a scorer, and prints how far it is off on some of ``source``.

    Raises:
        ScoringError: there is none.
    """
    from igan_zoo import store
    from igan_zoo.errors import ScoringError
    from igan_zoo.serving.scoring.network import open_network
    from igan_zoo.serving.scoring.precision import preview_error

    if exact.shape is not None:
        raise ScoringError(f"{exact.name} is a classifier, and --precision is of scorers; leave it out.")
    given = Path(reference or exact.name)
    folder = given.parent if given.suffix == ".onnx" else store.home() / "scorers"
    path = folder / f"{given.name.removesuffix('.onnx')}-int8.onnx"
    if not path.is_file():
        raise ScoringError(
            f"There is no {path}; make it with igan-zoo export inception --weights FILE --variant int8 --data IMAGES "
            f"--out {folder}, or leave --precision out."
        )
    preview = open_network(str(path), **how)
    click.echo(f"{preview.name} is a preview: {preview_error(exact, preview, source)}.", err=True)
    return preview


def load_network(reference: str | None, weights: Path | None, *, device: Any, threads: int | None) -> Network:
    """Returns the network to score with: the 2015 Inception, which is made once and kept, or another one by name."""
    from igan_zoo import store
    from igan_zoo.serving.scoring.network import open_network
    from igan_zoo.serving.scoring.protocols import INCEPTION

    if weights is not None and reference not in (None, INCEPTION):
        raise click.UsageError(f"--weights are those of {INCEPTION}, not of {reference}")
    if reference in (None, INCEPTION):
        path = _inception(weights, fetch=reference is not None)
    else:
        path = store.home() / "scorers" / f"{reference}.onnx"
    return open_network(str(path) if path.is_file() else str(reference), device=device, threads=threads)


def _inception(weights: Path | None, *, fetch: bool) -> Path:
    """Returns the converted network in the cache, making it where it is not there yet."""
    from igan_zoo import store
    from igan_zoo.errors import MissingExtraError
    from igan_zoo.files import sha256_of
    from igan_zoo.serving.scoring.protocols import INCEPTION, INCEPTION_WEIGHTS

    folder = store.home() / "scorers"
    path = folder / f"{INCEPTION}.onnx"
    if path.is_file() and (weights is None or (weights.is_file() and sha256_of(weights) == INCEPTION_WEIGHTS)):
        return path
    if weights is None and not fetch:
        raise MissingExtraError(
            f"The scorer {INCEPTION} is not on this machine yet: add --scorer {INCEPTION} to fetch its weights "
            "(96 MB, once), or --weights FILE if you have them, or name another network with --scorer."
        )
    try:
        from igan_zoo.export import scorers
        from igan_zoo.export.weights import open_weights
    except ImportError as error:
        raise MissingExtraError(
            f"Converting {INCEPTION} needs {error.name or error}, once: pip install 'igan-zoo[train,cpu]', or copy "
            f"{path} from a machine that has it."
        ) from error
    kind = scorers.SCORERS["inception"]
    file = open_weights(weights or _fetched(kind.source, kind.sha256, folder))
    if not file.is_graph and file.sha256 != kind.sha256:
        raise ChecksumError(
            f"{file.name} is not the published file: its sha256 is {file.sha256}, not {kind.sha256}; for a network of "
            "other weights use igan-zoo export inception --any-weights, and give what it writes with --scorer."
        )
    # TensorFlow's file becomes a scorer of another name, beside the published one.
    path, name = scorers.export_scorer(kind, Path(file.name), folder, replace=True)
    click.echo(f"{path}: the scorer {name}, compared with PyTorch", err=True)
    return path


def _fetched(url: str, sha256: str, folder: Path) -> Path:
    from igan_zoo.downloads import download
    from igan_zoo.errors import DownloadError

    path = folder / Path(url).name
    if not path.is_file():
        click.echo(f"Fetching {url}", err=True)
        try:
            download(url, path, sha256=sha256, largest=_LARGEST_WEIGHTS)
        except DownloadError as error:
            raise DownloadError(f"{error}: fetch it elsewhere and give it with --weights FILE.") from error
    return path
