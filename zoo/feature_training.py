"""What ``train custom`` does unless features are ``none``: those of all photos once, then the game on them."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from igan_zoo.counts import counted
from igan_zoo.errors import DataError, ImageError, SpecificationError, missing_extra
from igan_zoo.images.labels import is_labels_file
from igan_zoo.images.sources import open_source
from igan_zoo.images.summary import log_summary
from igan_zoo.serving.scorers.feature_encoders import LITE0, FeatureEncoder, find_encoder, open_encoder
from igan_zoo.serving.scorers.photo_features import feature_rows
from igan_zoo.training.data.subsets import labelled_subset
from igan_zoo.training.features.settings import FeatureRecipe
from igan_zoo.training.recipes.requests import TrainOptions, settings_text
from igan_zoo.training.recipes.settings import Recipe, customize

if TYPE_CHECKING:
    from igan_zoo.images.stored import LabeledSource
    from igan_zoo.training.features.runs import FeatureRun

_LOG = logging.getLogger(__name__)
# Photos of up to so many pixels per side lose nothing at the smaller size, which is three times as fast.
_SMALL_PHOTO, _SMALL_SIZE, _SIZE = 96, 128, 224
# Photos that are timed to say how long all take.
_TIMED_PHOTOS, _TIMED_AT_ONCE = 24, 8


@dataclass(frozen=True)
class FeatureRequest:
    """A recipe with its settings, where its photos come from, the file that labels them, and the run directory."""

    recipe: FeatureRecipe
    source: str
    labels_file: Path | None
    path: Path
    options: TrainOptions

    @property
    def features(self) -> str:
        """The frozen network: a name or a file."""
        return self.options.features or LITE0


def resolve_feature_request(
    data: str | None,
    *,
    labels: str | int | None = None,
    seed: int | None = None,
    settings: Mapping[str, Any] | None = None,
    out: Path | None = None,
    device: str = "cpu",
    options: TrainOptions | None = None,
) -> FeatureRequest:
    """Returns what a training on features is.

    Raises:
        SpecificationError: a setting is unknown or out of range, or it is one of training from pixels.
        DataError: no photos are named.
    """
    options = options or TrainOptions()
    if data is None:
        raise DataError("The recipe custom needs data: a folder of images or a Hub id.")
    if device != "cpu" or any((options.compile, options.picture_steps, options.tensorboard)):
        raise SpecificationError(
            "--device cuda, --compile, --picture-steps and --tensorboard apply to training from pixels: leave them "
            "out, or add --features none."
        )
    labels_file = Path(labels) if isinstance(labels, str) and is_labels_file(labels) else None
    given = {"labels": "all" if labels_file is not None else labels, "seed": seed, "members": options.ensemble}
    chosen = {**(settings or {}), **{key: value for key, value in given.items() if value is not None}}
    for key in chosen:
        if key in Recipe.__struct_fields__ and key not in FeatureRecipe.__struct_fields__:
            raise SpecificationError(
                f"The setting {key} applies to training from pixels: remove it, or add --features none."
            )
    recipe = customize(FeatureRecipe(), settings_text(chosen))
    path = out or Path("runs") / f"{recipe.name}-{recipe.labels}-seed{recipe.seed}"
    return FeatureRequest(recipe, data, labels_file, path, options)


def start_on_features(request: FeatureRequest, *, resume: bool = False) -> FeatureRun:
    """Trains a run on features, and returns it.

    Raises:
        MissingExtraError: torch, or the package that brings the frozen network, is not installed.
        UnknownNameError: there is neither a network of that name nor such a file.
        TrainingError: a run is there and ``resume`` is false, or it was made of something else.
        DataError: the photos or labels are missing, or too few.
    """
    try:
        from igan_zoo.training.features.runs import FeatureData, FeatureFacts, FeatureRun
    except ImportError as error:
        raise missing_extra(error, "train") from error

    began, options = time.perf_counter(), request.options
    run = FeatureRun(request.path)
    run.refuse_start(resume=resume)
    source, encoder = _opened(request)
    rows, places = feature_rows(source, encoder, threads=options.threads, strict=options.strict)
    found = FeatureData(rows, source.labels(places), source.classes, source.called(places))
    _LOG.info("features: %s, %.0f s", counted(len(places), "photo"), time.perf_counter() - began)
    facts = FeatureFacts(
        recipe=request.recipe,
        data=request.source,
        labels_file=str(request.labels_file) if request.labels_file is not None else None,
        classes=found.classes,
        encoder=encoder.name,
        size=encoder.size,
        photos=len(places),
        width=rows.shape[1],
        sum=found.sum(),
        versions={name: version(name) for name in ("igan-zoo", "torch", "onnxruntime", "numpy")},
    )
    run.start(facts, encoder.content, resume=resume)
    run.train(request.recipe, found, options.keep, options.threads)
    return run


def estimate_on_features(request: FeatureRequest) -> tuple[float, float]:
    """Returns how many photos a second the frozen network looks at here, and how many seconds the training takes.

    A few photos and a few steps are timed, and nothing is kept. Photos whose features are known from before take less.

    Raises:
        MissingExtraError, UnknownNameError, DataError: as :func:`start_on_features`.
    """
    try:
        from igan_zoo.training.features.timing import seconds_of_games
    except ImportError as error:
        raise missing_extra(error, "train") from error

    source, encoder = _opened(request)
    engine = encoder.engine(request.options.threads)
    (width,) = engine.graphs["scorer"].outputs["features"]
    seconds = []
    for start in range(0, min(len(source), _TIMED_PHOTOS), _TIMED_AT_ONCE):
        began = time.perf_counter()
        images = source.fetch(range(start, min(len(source), start + _TIMED_AT_ONCE)))
        photos = [pixels for image in images if not isinstance(pixels := image.attempt(encoder.shape), ImageError)]
        if photos:
            engine.run("scorer", {"images": np.stack(photos)})
            seconds.append((time.perf_counter() - began) / len(photos))
    if not seconds:
        raise DataError(f"None of the first photos of {source.reference} can be used.")
    games = seconds_of_games(request.recipe, len(source), width, max(2, len(source.classes)))
    return 1 / min(seconds), len(source) * min(seconds) + games


def _opened(request: FeatureRequest) -> tuple[LabeledSource, FeatureEncoder]:
    """Returns the photos of a request, which have labels enough, and its frozen network."""
    find_encoder(request.features)
    source = open_source(request.source, split="train", labeled=True, labels_file=request.labels_file)
    log_summary(source, source.reference)
    recipe = request.recipe
    labelled_subset(source.labels(range(len(source))), recipe.labels, source.classes, recipe.seed)
    asked, fitting = request.options.size, _fitting_size(source)
    encoder = open_encoder(request.features, asked or fitting)
    if asked is not None and encoder.size != asked:
        raise SpecificationError(f"{request.features} takes photos of {encoder.size} pixels per side: remove --size.")
    if asked is not None and asked < fitting:
        _LOG.warning("--size %d: %s sees photos at that size, not at the usual %d.", asked, request.features, fitting)
    return source, encoder


def _fitting_size(source: LabeledSource) -> int:
    """Returns the size that fits the first photo of a source."""
    pixels = source.fetch([0])[0].attempt()
    small = not isinstance(pixels, ImageError) and max(pixels.shape[:2]) <= _SMALL_PHOTO
    return _SMALL_SIZE if small else _SIZE
