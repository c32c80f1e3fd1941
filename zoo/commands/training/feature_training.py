"""What ``train custom`` does with ``--features``: features of all photos once, then the game on them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import click

from igan_zoo.commands.terminal import print_seconds_since
from igan_zoo.errors import missing_extra

if TYPE_CHECKING:
    from igan_zoo.images.stored import LabeledSource
    from igan_zoo.serving.scorers.feature_encoders import FeatureEncoder
    from igan_zoo.training.features.runs import FeatureData, FeatureResult, Keep
    from igan_zoo.training.features.settings import FeatureRecipe

# Photos of up to so many pixels a side lose nothing at the smaller size, which is three times as fast.
_SMALL_PHOTO, _SMALL_SIZE, _SIZE = 96, 128, 224


def train_on_features(
    reference: str,
    data: str,
    recipe: FeatureRecipe,
    out: Path,
    *,
    labels_file: Path | None,
    size: int | None,
    keep: Keep,
    threads: int | None,
    resume: bool,
    strict: bool,
) -> None:
    """Trains a run on features in the folder ``out``, and prints the validation errors of both ways."""
    try:
        from igan_zoo.training.features.runs import FeatureFacts, FeatureRun
    except ImportError as error:
        raise missing_extra(error, "train") from error
    from igan_zoo.images.sources import open_source
    from igan_zoo.images.summary import log_summary
    from igan_zoo.serving.scorers.feature_encoders import open_encoder

    began = time.perf_counter()
    run = FeatureRun(out)
    run.refuse_start(resume=resume)
    source = open_source(data, split="train", labeled=True, labels_file=labels_file)
    log_summary(source, source.reference)
    encoder = open_encoder(reference, size or _fitting_size(source))
    found = features_of(source, encoder, threads=threads, strict=strict)
    click.echo(f"features: {len(found.labels):,} photos, {time.perf_counter() - began:.0f} s")
    facts = FeatureFacts(
        recipe=recipe,
        data=data,
        labels_file=str(labels_file) if labels_file is not None else None,
        classes=found.classes,
        encoder=encoder.name,
        size=encoder.size,
        photos=len(found.labels),
        width=found.features.shape[1],
        sum=found.sum(),
        versions={name: version(name) for name in ("igan-zoo", "torch", "onnxruntime", "numpy")},
    )
    run.start(facts, encoder.content, resume=resume)
    _report(run.train(recipe, found, keep, threads))
    print_seconds_since(began)


def feature_recipe(settings: Sequence[str]) -> FeatureRecipe:
    """Returns the recipe ``custom-features`` with ``key=value`` settings applied.

    Raises:
        SpecificationError: a setting is unknown, malformed or out of range.
    """
    from igan_zoo.training.features.settings import FeatureRecipe
    from igan_zoo.training.recipes.settings import customize

    return customize(FeatureRecipe(), settings)


def features_of(source: LabeledSource, encoder: FeatureEncoder, *, threads: int | None, strict: bool) -> FeatureData:
    """Returns the features and labels of all photos that can be used, as ``feature_rows`` finds them."""
    from igan_zoo.serving.scorers.photo_features import feature_rows
    from igan_zoo.training.features.runs import FeatureData

    rows, places = feature_rows(source, encoder, threads=threads, strict=strict)
    return FeatureData(rows, source.labels(places), source.classes, source.called(places))


def _fitting_size(source: LabeledSource) -> int:
    """Returns the size that fits the first photo of a source."""
    from igan_zoo.errors import ImageError

    pixels = source.fetch([0])[0].attempt()
    small = not isinstance(pixels, ImageError) and max(pixels.shape[:2]) <= _SMALL_PHOTO
    return _SMALL_SIZE if small else _SIZE


def _report(result: FeatureResult) -> None:
    if result.game_errors is None or result.linear_errors is None:
        click.echo(f"{result.labeled} labels, none left to validate with; kept: {result.kept}")
        return
    total = result.validation
    for name, wrong in (("game", result.game_errors), ("logistic regression", result.linear_errors)):
        click.echo(f"{name}: {wrong} errors of {total} validation photos ({wrong / total:.2%})")
    if result.linear_errors < result.game_errors:
        click.echo("the game does not win here")
    click.echo(f"kept: {result.kept}")
