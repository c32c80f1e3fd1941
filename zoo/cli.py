"""The command line. Every command imports what it needs when it runs, so that ``--help`` is instant."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from igan_zoo import __version__
from igan_zoo.errors import IganZooError, TrainingError
from igan_zoo.terminal import print_json, print_seconds_since, print_table

if TYPE_CHECKING:
    from igan_zoo.store import Model

F = TypeVar("F", bound=Callable[..., Any])

_device = click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", help="Fails if it is not there.")
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_force = click.option("--force", is_flag=True, help="Replace what --out names.")
_seed = click.IntRange(0, 2**64 - 1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line; every failure is one sentence on stderr and exit code 1, wrong usage exit code 2."""
    try:
        cli.main(arguments, prog_name="igan-zoo", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "igan-zoo"
        _fail(f"{error.format_message().rstrip('.')}; see {where} --help.", 2)
    except click.ClickException as error:
        _fail(error.format_message(), 1)
    except click.Abort:
        _fail("Interrupted; nothing half-written is left.", 1)
    except IganZooError as error:
        _fail(str(error), 1)
    except BrokenPipeError:
        # The reader of our output has seen enough.
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        _fail(f"The system refuses: {error}.", 1)


def _fail(sentence: str, code: int) -> None:
    click.echo(f"Error: {sentence}", err=True)
    sys.exit(code)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="igan-zoo")
def cli() -> None:
    """Generators and classifiers of "Improved Techniques for Training GANs", as ONNX files."""


@cli.command("list")
@_as_json
def list_models(as_json: bool) -> None:
    """List the models that are known, and where each one is."""
    from igan_zoo import catalogue, store

    where: dict[str, list[str]] = {entry.name: [] for entry in catalogue.CATALOGUE}
    for place in store.source_stores():
        for name in place.names():
            where.setdefault(name, []).append(place.label)
    summaries = {entry.name: entry.summary for entry in catalogue.CATALOGUE}
    if as_json:
        rows = sorted(where.items())
        print_json([{"name": name, "where": places, "summary": summaries.get(name)} for name, places in rows])
    else:
        print_table(
            [(name, ", ".join(places) or "not here", summaries.get(name, "")) for name, places in sorted(where.items())]
        )


@cli.command()
@click.argument("model", required=False)
@_as_json
def info(model: str | None, as_json: bool) -> None:
    """Show what a model is: images, classes, training, results, files."""
    import msgspec

    from igan_zoo import store

    directory = store.resolve(model).directory
    if directory is None:
        raise click.UsageError("info wants a model directory or a name, not an .onnx file")
    spec = directory.spec
    if as_json:
        print_json({**msgspec.to_builtins(spec), "path": str(directory.path)})
        return
    image = spec.image
    rows = [
        ("name", spec.name),
        ("summary", spec.summary),
        ("path", str(directory.path)),
        ("images", f"{image.height}x{image.width}x{image.channels}"),
        ("latent", f"{spec.latent.size}, {spec.latent.distribution}" if spec.latent else "no generator"),
        ("classes", ", ".join(spec.classes) if spec.classes else "no classifier"),
        ("trained by", spec.training.command),
        ("license", f"{spec.license} (data: {spec.dataset.license})"),
        *(("errors", f"{r.wrong} of {r.total} ({r.error:.2%}), {r.dataset} {r.split}") for r in spec.results),
        *(("file", f"{name}  {file.size:,} bytes") for name, file in spec.files.items()),
    ]
    print_table(rows)


@cli.command()
@click.argument("directories", nargs=-1, required=True, metavar="DIR...")
def verify(directories: tuple[str, ...]) -> None:
    """Check every file of model directories against its checksum."""
    from igan_zoo import store

    for reference in directories:
        directory = store.resolve(reference).directory
        if directory is None:
            raise click.UsageError(f"verify wants a model directory or a name, not {reference}")
        absent = directory.verify()
        without = f", without {', '.join(absent)} (needed only for training)" if absent else ""
        click.echo(f"{directory.path}: {len(directory.spec.files) - len(absent)} files match{without}")


@cli.command()
@click.argument("name", metavar="NAME|DIR")
@click.option("--from", "source", type=click.Path(path_type=Path), help="A model directory, or a directory of them.")
@click.option("--to", type=click.Path(path_type=Path), help="Copy it here, not into the cache.")
def pull(name: str, source: Path | None, to: Path | None) -> None:
    """Get a model, every byte checked, and make it the default one.

    Looks in --from, the directory named by IGAN_ZOO_MIRROR, the cache, and the bundled models.
    """
    from igan_zoo import store
    from igan_zoo.directory import ModelDirectory

    if source is None and Path(name).is_dir():
        source = Path(name)
        name = ModelDirectory.open(source).spec.name
    directory, label = store.pull(name, source=source, to=to)
    click.echo(f"{directory.spec.name} ({label}): {directory.path}")


@cli.command()
@click.argument("model", required=False)
@click.option("--n", "count", type=click.IntRange(min=1), default=100, show_default=True, help="How many images.")
@click.option("--seed", type=_seed, default=0, show_default=True, help="Image i of a seed is always the same.")
@click.option("--start", type=click.IntRange(min=0), default=0, show_default=True, help="Index of the first image.")
@click.option(
    "--out", type=click.Path(path_type=Path), default="samples.npz", show_default=True, help="X.npz or a folder."
)
@click.option("--batch-size", type=click.IntRange(min=1), default=250, show_default=True)
@_device
@_force
def sample(
    model: str | None, count: int, seed: int, start: int, out: Path, batch_size: int, device: Any, force: bool
) -> None:
    """Draw images from a generator, and a picture of the first hundred beside them."""
    from igan_zoo.images import grid, write_image
    from igan_zoo.serving import engine as engines
    from igan_zoo.serving import sampling

    began = time.perf_counter()
    chosen = _resolve(model)
    engine = engines.load_engine(chosen, ["generator"], device=device)
    _announce(chosen, engine)
    images = sampling.sample(
        engine,
        engines.latent_distribution(chosen, engine),
        seed=seed,
        start=start,
        count=count,
        batch_size=batch_size,
    )
    shape = engine.graphs["generator"].output_shape
    first = sampling.write_samples(out, images, image_shape=shape, seed=seed, start=start, count=count, replace=force)
    picture = out.with_name(f"{out.stem}-grid.png")
    write_image(picture, grid(first))
    size = "x".join(map(str, shape))
    click.echo(f"{out}: {count:,} images {size}, seed {seed}, from index {start}")
    click.echo(f"{picture}: the first {len(first)}")
    print_seconds_since(began)


@cli.command()
@click.argument("arguments", nargs=-1, required=True, metavar="[MODEL] IMAGE|FOLDER...")
@click.option("--top", type=click.IntRange(min=1), default=1, show_default=True, help="How many classes an image.")
@_as_json
@_device
def classify(arguments: tuple[str, ...], top: int, as_json: bool, device: Any) -> None:
    """Classify PNG and JPEG files, or all in a folder: class, probability, and how real the image looks to D."""
    from dataclasses import asdict

    from igan_zoo.serving import classifying
    from igan_zoo.serving import engine as engines

    began = time.perf_counter()
    model, images = _split_model(arguments)
    files = classifying.find_images(images)
    chosen = _resolve(model)
    engine = engines.load_engine(chosen, ["classifier"], device=device)
    _announce(chosen, engine)
    answers = list(classifying.classify(engine, engines.class_names(chosen, engine), files, top=top))
    good = [answer for answer in answers if isinstance(answer, classifying.Classification)]
    if as_json:
        print_json([asdict(answer) for answer in good])
    elif good:
        rows = [
            (answer.file, "  ".join(f"{name} {share:.4f}" for name, share in answer.classes), f"{answer.realness:.4f}")
            for answer in good
        ]
        print_table([("file", "class and probability", "realness"), *rows])
    print_seconds_since(began)
    bad = [answer for answer in answers if isinstance(answer, IganZooError)]
    for error in bad[:-1]:
        click.echo(f"Error: {error}", err=True)
    if bad:
        raise bad[-1]


@cli.command()
@click.argument("model", required=False)
@click.option("--data", required=True, help="A Hub id, a copy in the Hub's layout, or a folder of class folders.")
@click.option("--split", default="test", show_default=True)
@_as_json
@_device
def evaluate(model: str | None, data: str, split: str, as_json: bool, device: Any) -> None:
    """Count the errors of a classifier on labelled images."""
    from igan_zoo.serving import classifying
    from igan_zoo.serving import engine as engines
    from igan_zoo.training.data import load_images

    chosen = _resolve(model)
    engine = engines.load_engine(chosen, ["classifier"], device=device)
    _announce(chosen, engine)
    height, width, channels = engine.graphs["classifier"].input_shape
    labelled = load_images(data, split, height=height, width=width, channels=channels)
    wrong = classifying.count_errors(engine, labelled.images, labelled.labels)
    if as_json:
        print_json({"model": chosen.name, "data": data, "split": split, "wrong": wrong, "total": len(labelled)})
    else:
        click.echo(f"{wrong} errors of {len(labelled)} ({wrong / len(labelled):.2%})")


@cli.command()
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
        raise _missing_train(error) from error
    path = out or Path("runs") / f"{recipe.name}-{recipe.labels}-seed{recipe.seed}"
    try:
        start_training(recipe, data or recipe.dataset, path, resume=resume, threads=threads)
    except KeyboardInterrupt:
        raise TrainingError(f"Interrupted; the same command with --resume goes on from {path}.") from None
    click.echo(f"{path}: {recipe.epochs} epochs done; next: igan-zoo export {path} --out models/{recipe.name}")


@cli.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The model directory to write.")
@click.option("--data", help="Labelled test images, for the card; the split named test is used.")
@click.option("--name", help="Name of the model.  [default: the recipe's]")
@_force
def export(run: Path, out: Path, data: str | None, name: str | None, force: bool) -> None:
    """Turn a finished training run into a model directory of ONNX files."""
    try:
        from igan_zoo.export.exporter import export_run
    except ImportError as error:
        raise _missing_train(error) from error
    from igan_zoo.training.data import load_images
    from igan_zoo.training.runs import Run

    recipe = Run(run).facts().recipe
    shape = {"height": recipe.height, "width": recipe.width, "channels": recipe.channels}
    test = load_images(data, "test", **shape) if data else None
    directory = export_run(Run(run), out, test=test, name=name, replace=force)
    for result in directory.spec.results:
        click.echo(f"{result.wrong} errors of {result.total} ({result.error:.2%}), {result.dataset} {result.split}")
    click.echo(f"{directory.path}: {len(directory.spec.files)} files, verified")


def _missing_train(error: ImportError) -> IganZooError:
    from igan_zoo.errors import MissingExtraError

    return MissingExtraError(
        f"This needs {error.name or error}, of the train extra: pip install 'igan-zoo[train,cpu]'."
    )


def _resolve(reference: str | None) -> Model:
    from igan_zoo import store

    return store.resolve(reference)


def _split_model(arguments: Sequence[str]) -> tuple[str | None, list[Path]]:
    """Tells an optional MODEL before the images apart from them: it is none itself, and something follows it."""
    from igan_zoo.images import SUFFIXES
    from igan_zoo.spec import CONFIG

    first, rest = Path(arguments[0]), [Path(argument) for argument in arguments[1:]]
    is_image = first.suffix.lower() in SUFFIXES or (first.exists() and first.suffix != ".onnx")
    if rest and (not is_image or (first / CONFIG).is_file()):
        return arguments[0], rest
    return None, [first, *rest]


def _announce(model: Model, engine: Any) -> None:
    click.echo(f"{model.name} ({model.path}) on {engine.provider}", err=True)
