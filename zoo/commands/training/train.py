"""Commands that make models: recipes, train."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from igan_zoo.commands.completion import RECIPE
from igan_zoo.commands.options import THREADS, Seconds, device_option, json_option, keep_inputs
from igan_zoo.commands.terminal import print_json, print_seconds_since, print_table
from igan_zoo.counts import counted
from igan_zoo.errors import TrainingError, missing_extra

if TYPE_CHECKING:
    from igan_zoo.feature_training import FeatureRequest
    from igan_zoo.training.features.runs import FeatureResult
    from igan_zoo.training.recipes.requests import TrainOptions, TrainRequest


@click.command()
@json_option
def recipes(as_json: bool) -> None:
    """List the recipes for train, with one sentence each."""
    from igan_zoo.training.recipes.sentences import SENTENCES

    if as_json:
        print_json([{"name": name, "summary": sentence} for name, sentence in SENTENCES.items()])
    else:
        print_table([("recipe", "trains"), *SENTENCES.items()])


@click.command()
@click.argument("recipe_name", metavar="RECIPE|recipe.json", type=RECIPE)
@click.option(
    "--data", help="Training images: a Hub id, a folder, or shards.  [default: the recipe's data set, from the Hub]"
)
@click.option(
    "--labels",
    metavar="N|N-per-class|all|0|FILE.csv",
    help="Number of labeled images, chosen by the seed, or a file that names them.",
)
@click.option(
    "--features",
    metavar="NAME|FILE.onnx|none",
    help="Frozen network whose features the recipe custom learns from; none trains on pixels.  [default: "
    "efficientnet-lite0]",
)
@click.option(
    "--keep",
    type=click.Choice(["game", "linear", "better"]),
    default="better",
    show_default=True,
    help="Classifier to keep with --features: that of the GANs (game), logistic regression (linear), or the one with "
    "the lower validation error (better).",
)
@click.option(
    "--size",
    type=click.IntRange(min=1),
    help="Pixels per side of the training images, or of the photos as the frozen network sees them.",
)
@click.option("--grey", is_flag=True, help="Train on grayscale images.")
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    help="Seed for weights, noise, shuffling and the choice of labeled images.",
)
@click.option(
    "--ensemble", type=click.IntRange(min=2), help="Number of seeds to train one after another, starting at --seed."
)
@click.option("--out", type=click.Path(path_type=Path), help="Run directory.  [default: runs/RECIPE-LABELS-seedSEED]")
@click.option("--resume", is_flag=True, help="Continue from the run's checkpoint, if there is one.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Setting of the recipe to change; may be given several times.",
)
@click.option("--strict", is_flag=True, help="Fail at the first image that cannot be used, instead of skipping it.")
@click.option(
    "--threads",
    type=THREADS,
    help="PyTorch's threads; the last bits of the result depend on them.  [default: the fastest]",
)
@device_option
@click.option(
    "--compile",
    "mode",
    type=click.Choice(["default", "reduce-overhead", "max-autotune"]),
    help="Mode of torch.compile to compile the networks with.",
)
@click.option("--picture-steps", type=click.IntRange(min=1), help="Steps between pictures of samples.")
@click.option(
    "--checkpoint-seconds", type=Seconds(), default=300, show_default=True, help="Seconds between checkpoints."
)
@click.option("--tensorboard", is_flag=True, help="Write TensorBoard events next to log.jsonl.")
@click.option(
    "--dry-run", is_flag=True, help="Print the resolved recipe, a summary of the data, and an estimate of the time."
)
def train(
    recipe_name: str,
    data: str | None,
    labels: str | None,
    features: str | None,
    keep: Any,
    size: int | None,
    grey: bool,
    seed: int | None,
    ensemble: int | None,
    out: Path | None,
    resume: bool,
    settings: tuple[str, ...],
    strict: bool,
    threads: int | None,
    device: Any,
    mode: Any,
    picture_steps: int | None,
    checkpoint_seconds: float,
    tensorboard: bool,
    dry_run: bool,
) -> None:
    """Train an experiment of the paper by name, or the same method on your own images with the recipe "custom".

    To repeat a run, give its recipe.json.
    """
    import msgspec

    from igan_zoo.api import train as start
    from igan_zoo.training.recipes.requests import TrainOptions, TrainRequest, learns_from_features, resolve_request
    from igan_zoo.training.runs.directory import Run

    for setting in settings:
        if "=" not in setting:
            raise click.UsageError(f"--set needs KEY=VALUE, not {setting!r}")
    chosen: dict[str, Any] = dict(setting.split("=", 1) for setting in settings)
    options = TrainOptions(
        ensemble=ensemble,
        threads=threads,
        strict=strict,
        compile=mode,
        picture_steps=picture_steps,
        checkpoint_seconds=checkpoint_seconds,
        tensorboard=tensorboard,
        features=features,
        keep=keep,
        size=size,
    )
    request: FeatureRequest | TrainRequest
    if learns_from_features(recipe_name, features):
        if grey:
            raise click.UsageError("--grey applies to training from pixels: remove it, or add --features none")
        from igan_zoo.feature_training import resolve_feature_request

        request = resolve_feature_request(
            data, labels=labels, seed=seed, settings=chosen, out=out, device=device, options=options
        )
    else:
        shorthands = {"height": size, "width": size, "channels": 1 if grey else None}
        chosen |= {key: value for key, value in shorthands.items() if value is not None}
        request = resolve_request(
            recipe_name, data, labels=labels, seed=seed, settings=chosen, out=out, ensemble=ensemble
        )
    if dry_run:
        print_json(msgspec.to_builtins(request.recipe))
        _look_ahead(request, options, device)
        return
    keep_inputs([request.path], [request.source])
    began = time.perf_counter()
    try:
        run = start(
            recipe_name,
            data,
            labels=labels,
            seed=seed,
            settings=chosen,
            out=out,
            resume=resume,
            device=device,
            progress=True,
            options=options,
        )
    except KeyboardInterrupt:
        raise TrainingError(f"Interrupted; the same command with --resume continues {request.path}.") from None
    if not isinstance(run, Run):
        _report(run.result())
        print_seconds_since(began)
        click.echo(f"{run.path}: done; next: igan-zoo export {run.path} --out models/{run.path.name}.onnx")
    # Under torchrun one process speaks for all.
    elif isinstance(request, TrainRequest) and os.environ.get("RANK", "0") == "0":
        recipe = request.recipe
        click.echo(
            f"{run.path}: {counted(recipe.epochs, 'epoch')} done; next: igan-zoo export {run.path} --out "
            f"models/{recipe.name}"
        )


def _look_ahead(request: TrainRequest | FeatureRequest, options: TrainOptions, device: str) -> None:
    """Says on stderr what the training images are and how long the training takes, where they are on this machine."""
    from igan_zoo.images.sources import is_local
    from igan_zoo.training.recipes.requests import TrainRequest

    if not is_local(request.source):
        click.echo(f"{request.source}: on the Hub, not read", err=True)
        return
    if device != "cpu":
        return
    if isinstance(request, TrainRequest):
        try:
            from igan_zoo.training.start import estimate
        except ImportError as error:
            raise missing_extra(error, "train") from error
        seconds, rate = estimate(request, options), ""
    else:
        from igan_zoo.feature_training import estimate_on_features

        photos, seconds = estimate_on_features(request)
        rate = f", where features take a second for {photos:,.3g} photos"
    click.echo(f"about {counted(max(1, round(seconds / 60)), 'minute')} on this machine{rate}", err=True)


def _report(result: FeatureResult) -> None:
    """Prints the validation errors of the game and of logistic regression, and which of the two answers."""
    if result.game_errors is None or result.linear_errors is None:
        click.echo(f"{counted(result.labeled, 'label')}, none left for validation; kept: {result.kept}")
        return
    total = result.validation
    for name, wrong in (("game", result.game_errors), ("logistic regression", result.linear_errors)):
        click.echo(f"{name}: {counted(wrong, 'error')} of {counted(total, 'validation photo')} ({wrong / total:.2%})")
    if result.linear_errors < result.game_errors:
        click.echo("logistic regression is better here")
    click.echo(f"kept: {result.kept}")
