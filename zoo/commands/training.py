"""Commands that make models: train, export."""

from __future__ import annotations

from pathlib import Path

import click

from igan_zoo.commands.options import force_option, missing_train
from igan_zoo.errors import TrainingError
from igan_zoo.terminal import print_json


@click.command()
@click.argument("recipe_name", metavar="RECIPE")
@click.option("--data", help="A Hub id, a copy in the Hub's layout, or a folder of class folders.")
@click.option("--labels", type=click.IntRange(min=1), help="Labelled images in all, equally many of each class.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Of weights, noise, shuffles and labels.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="The run directory.  [default: runs/RECIPE-LABELS-seedSEED]"
)
@click.option("--resume", is_flag=True, help="Go on from the run's checkpoint, if there is one.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change a setting of the recipe.")
@click.option("--threads", type=click.IntRange(min=1), help="Of PyTorch; the result depends on it in the last bits.")
@click.option("--dry-run", is_flag=True, help="Print the resolved recipe and stop.")
def train(
    recipe_name: str,
    data: str | None,
    labels: int | None,
    seed: int | None,
    out: Path | None,
    resume: bool,
    settings: tuple[str, ...],
    threads: int | None,
    dry_run: bool,
) -> None:
    """Train an experiment of the paper by name."""
    import msgspec

    from igan_zoo.training.recipes import customize, find_recipe

    shorthands = [f"{key}={value}" for key, value in (("labels", labels), ("seed", seed)) if value is not None]
    recipe = customize(find_recipe(recipe_name), [*settings, *shorthands])
    if dry_run:
        print_json(msgspec.to_builtins(recipe))
        return
    try:
        from igan_zoo.training.start import start_training
    except ImportError as error:
        raise missing_train(error) from error
    path = out or Path("runs") / f"{recipe.name}-{recipe.labels}-seed{recipe.seed}"
    try:
        start_training(recipe, data or recipe.dataset, path, resume=resume, threads=threads)
    except KeyboardInterrupt:
        raise TrainingError(f"Interrupted; the same command with --resume goes on from {path}.") from None
    click.echo(f"{path}: {recipe.epochs} epochs done; next: igan-zoo export {path} --out models/{recipe.name}")


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The model directory to write.")
@click.option("--data", help="Labelled test images, for the card; the split named test is used.")
@click.option("--name", help="Name of the model.  [default: the recipe's]")
@force_option
def export(run: Path, out: Path, data: str | None, name: str | None, force: bool) -> None:
    """Turn a finished training run into a model directory of ONNX files."""
    try:
        from igan_zoo.export.exporter import export_run
    except ImportError as error:
        raise missing_train(error) from error
    from igan_zoo.training.runs import Run
    from igan_zoo.training.sources import load_images

    recipe = Run(run).facts().recipe
    height, width, channels = recipe.height, recipe.width, recipe.channels
    test = load_images(data, "test", height=height, width=width, channels=channels) if data else None
    directory = export_run(Run(run), out, test=test, name=name, replace=force)
    for result in directory.spec.results:
        click.echo(f"{result.wrong} errors of {result.total} ({result.error:.2%}), {result.dataset} {result.split}")
    click.echo(f"{directory.path}: {len(directory.spec.files)} files, verified")
