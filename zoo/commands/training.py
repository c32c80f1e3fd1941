"""Commands that make models: recipes, train."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from igan_zoo.commands.completion import RECIPE
from igan_zoo.commands.options import THREADS, Seconds, device_option, json_option, keep_inputs, missing_train
from igan_zoo.commands.terminal import print_json, print_table
from igan_zoo.errors import TrainingError


@click.command()
@json_option
def recipes(as_json: bool) -> None:
    """List the recipes that train takes, each with a sentence."""
    from igan_zoo.training.recipe_sentences import SENTENCES

    if as_json:
        print_json([{"name": name, "summary": sentence} for name, sentence in SENTENCES.items()])
    else:
        print_table([("recipe", "trains"), *SENTENCES.items()])


@click.command()
@click.argument("recipe_name", metavar="RECIPE|recipe.json", type=RECIPE)
@click.option("--data", help="A Hub id, a copy in the Hub's layout, a folder of images, or shards.")
@click.option("--labels", metavar="N|N-per-class|all|0|FILE.csv", help="Labelled images, by the seed or by a file.")
@click.option(
    "--features",
    metavar="NAME|FILE.onnx|none",
    help="Of custom: learn from the features of a frozen network, as efficientnet-lite0, or from pixels (none).",
)
@click.option(
    "--keep",
    type=click.Choice(["game", "linear", "better"]),
    default="better",
    show_default=True,
    help="With --features: the paper's game, logistic regression, or what validates better.",
)
@click.option("--size", type=click.IntRange(min=1), help="Pixels a side.")
@click.option("--grey", is_flag=True, help="One channel, not three.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Of weights, noise, shuffles and labels.")
@click.option("--ensemble", type=click.IntRange(min=2), help="Train so many seeds in turn, from --seed on.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="The run directory.  [default: runs/RECIPE-LABELS-seedSEED]"
)
@click.option("--resume", is_flag=True, help="Go on from the run's checkpoint, if there is one.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change a setting of the recipe.")
@click.option("--strict", is_flag=True, help="Stop at the first image that cannot be used, and do not skip it.")
@click.option("--threads", type=THREADS, help="Of PyTorch; the result depends on it in the last bits.")
@device_option
@click.option(
    "--compile", "mode", type=click.Choice(["default", "reduce-overhead", "max-autotune"]), help="Use torch.compile."
)
@click.option("--picture-steps", type=click.IntRange(min=1), help="Draw samples every so many steps.")
@click.option("--checkpoint-seconds", type=Seconds(), default=300, show_default=True)
@click.option("--tensorboard", is_flag=True, help="Write TensorBoard events beside log.jsonl.")
@click.option("--dry-run", is_flag=True, help="Print the resolved recipe and stop.")
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
    device: str,
    mode: str | None,
    picture_steps: int | None,
    checkpoint_seconds: float,
    tensorboard: bool,
    dry_run: bool,
) -> None:
    """Train an experiment of the paper by name, or the same method on your own images with the recipe "custom".

    The recipe.json of a run makes that run again.
    """
    import msgspec

    from igan_zoo.training.data.label_files import is_labels_file
    from igan_zoo.training.recipes import find_recipe
    from igan_zoo.training.settings import customize

    labels_file = Path(labels) if labels is not None and is_labels_file(labels) else None
    if recipe_name == "custom-features" or features not in (None, "none"):
        if recipe_name not in ("custom", "custom-features"):
            raise click.UsageError("--features goes with the recipe custom")
        if data is None:
            raise click.UsageError("The recipe custom-features wants --data, a folder of images or a Hub id")
        if any((grey, mode, picture_steps, tensorboard, device != "cpu")):
            raise click.UsageError(
                "--grey, --compile, --picture-steps, --tensorboard and --device cuda go with --features none"
            )
        changes = {"labels": "all" if labels_file else labels, "seed": seed, "members": ensemble}
        _train_on_features(
            features,
            data,
            [*settings, *(f"{key}={value}" for key, value in changes.items() if value is not None)],
            out,
            dry_run=dry_run,
            labels_file=labels_file,
            size=size,
            keep=keep,
            threads=threads,
            resume=resume,
            strict=strict,
        )
        return
    shorthands = {
        "labels": "all" if labels_file is not None else labels,
        "height": size,
        "width": size,
        "channels": 1 if grey else None,
        "seed": seed,
    }
    given = [f"{key}={value}" for key, value in shorthands.items() if value is not None]
    if recipe_name.endswith(".json"):
        from igan_zoo.training.runs import read_facts

        facts = read_facts(Path(recipe_name))
        base, data = facts.recipe, data or facts.data
        if labels is None and facts.labels_file is not None:
            labels_file = Path(facts.labels_file)
    else:
        base = find_recipe(recipe_name)
    recipe = customize(base, [*settings, *given])
    if dry_run:
        print_json(msgspec.to_builtins(recipe))
        return
    if data is None and recipe.name == "custom":
        raise click.UsageError("The recipe custom wants --data, a folder of images or a Hub id")
    try:
        from igan_zoo.training.loop import Options
        from igan_zoo.training.start import start_ensemble, start_training
    except ImportError as error:
        raise missing_train(error) from error
    options = Options(device, mode, checkpoint_seconds, picture_steps, tensorboard)
    source = data or recipe.dataset
    members = f"ensemble{ensemble}" if ensemble else f"seed{recipe.seed}"
    path = out or Path("runs") / f"{recipe.name}-{recipe.labels}-{members}"
    keep_inputs([path], [source])
    how: dict[str, Any] = {
        "resume": resume,
        "threads": threads,
        "options": options,
        "labels_file": labels_file,
        "strict": strict,
    }
    try:
        if ensemble:
            start_ensemble(recipe, source, path, ensemble, **how)
        else:
            start_training(recipe, source, path, **how)
    except KeyboardInterrupt:
        raise TrainingError(f"Interrupted; the same command with --resume goes on from {path}.") from None
    # Under torchrun one process speaks for all.
    if os.environ.get("RANK", "0") == "0":
        click.echo(f"{path}: {recipe.epochs} epochs done; next: igan-zoo export {path} --out models/{recipe.name}")


def _train_on_features(
    features: str | None, data: str, settings: list[str], out: Path | None, *, dry_run: bool, **how: Any
) -> None:
    """Trains the recipe ``custom-features``."""
    import msgspec

    from igan_zoo.commands.feature_training import feature_recipe, train_on_features

    recipe = feature_recipe(settings)
    if dry_run:
        print_json(msgspec.to_builtins(recipe))
        return
    path = out or Path("runs") / f"{recipe.name}-{recipe.labels}-seed{recipe.seed}"
    keep_inputs([path], [data])
    try:
        train_on_features(features or "efficientnet-lite0", data, recipe, path, **how)
    except KeyboardInterrupt:
        raise TrainingError(f"Interrupted; the same command with --resume goes on from {path}.") from None
    click.echo(f"{path}: done; next: igan-zoo export {path} --out models/{path.name}.onnx")
