"""Commands about models and their directories: list, search, info, verify, pull."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from igan_zoo.commands.completion import MODEL, PUBLISHED_MODEL
from igan_zoo.commands.options import json_option, token_option, variant_option
from igan_zoo.commands.terminal import print_json, print_table

if TYPE_CHECKING:
    from igan_zoo.hub.listing import ListedModel
    from igan_zoo.models.directory import ModelDirectory
    from igan_zoo.models.spec import ModelSpec
    from igan_zoo.models.store import Model

# Longer metadata, such as the bias of a thousand logits, is not shown.
_LONGEST = 2000


@click.command("list")
@click.argument("patterns", nargs=-1, metavar="[PATTERN]...")
@click.option("--remote", is_flag=True, help="Include models on the Hugging Face Hub (or HF_ENDPOINT).")
@json_option
@token_option
def list_models(patterns: tuple[str, ...], remote: bool, as_json: bool, token: str | None) -> None:
    """List the known models and where each one is, or those whose names match a pattern such as 'mnist-*'.

    * marks the default model.
    """
    from igan_zoo.api import list_models as known

    _print_listing(known(*patterns, remote=remote, token=token), as_json)


@click.command()
@click.argument("words")
@json_option
@token_option
def search(words: str, as_json: bool, token: str | None) -> None:
    """Search the catalogue's names and summaries, and the models on the Hub by name."""
    from igan_zoo.hub.listing import search_models

    _print_listing(search_models(words, token=token), as_json)


def _print_listing(models: list[ListedModel], as_json: bool) -> None:
    from igan_zoo.hub.listing import describe

    if as_json:
        print_json([describe(model) for model in models])
    elif models:
        rows = [
            (
                f"{model.name} *" if model.default else model.name,
                ", ".join(model.places) or "not here",
                f"{model.size / 1e6:.1f} MB" if model.size else "-",
                ", ".join(model.variants) or "-",
                f"{model.error:.2%}" if model.error is not None else "-",
                model.summary,
            )
            for model in models
        ]
        print_table([("model", "where", "size", "variants", "errors", "summary"), *rows])


@click.command()
@click.argument("model", required=False, type=MODEL)
@click.option(
    "--remote",
    is_flag=True,
    help="Look on the Hub for MODEL: ORG/NAME[@REVISION], or a published name in the catalogue.",
)
@json_option
@token_option
def info(model: str | None, remote: bool, as_json: bool, token: str | None) -> None:
    """Show what a model is: images, classes, training, results, files; for an .onnx file, its inputs and outputs."""
    import msgspec

    from igan_zoo.hub.listing import remote_spec
    from igan_zoo.models import store

    if remote:
        if model is None:
            raise click.UsageError("--remote needs a MODEL")
        where, spec = remote_spec(model, token=token)
    else:
        found = store.resolve(model)
        if found.directory is None:
            _print_file(found, as_json)
            return
        where, spec = str(found.directory.path), found.directory.spec
    if as_json:
        print_json({**msgspec.to_builtins(spec), "path": where})
        return
    print_table(_rows(where, spec))


def _print_file(model: Model, as_json: bool) -> None:
    """Prints what a single ONNX file says of itself."""
    from igan_zoo.models.interface import CLASSES_KEY
    from igan_zoo.serving.model import classes_in
    from igan_zoo.serving.server.models.origins import LoadOptions, load_single

    role, engine = load_single(model, "cpu", LoadOptions(threads=1, variant=None))
    graph = engine.graphs[role]
    takes = ["N", *graph.free_axes, *graph.input_shape]
    gives = {name: ["N", *("any" if size < 0 else size for size in shape)] for name, shape in graph.outputs.items()}
    said = {key.removeprefix("igan_zoo."): graph.metadata[key] for key in sorted(graph.metadata)}
    if as_json:
        facts = {"role": role, "input": {graph.input_name: takes}, "outputs": gives, "metadata": said}
        print_json({"name": model.name, **facts, "path": str(model.path), "bytes": model.path.stat().st_size})
        return
    classes = classes_in(graph) if CLASSES_KEY in graph.metadata else None
    if classes is not None:
        said["classes"] = ", ".join(classes)
    print_table(
        [
            ("name", model.name),
            ("path", str(model.path)),
            ("role", role),
            ("takes", f"{graph.input_name} {_shape(takes)}"),
            *(("gives", f"{name} {_shape(shape)}") for name, shape in gives.items()),
            *((key, value if len(value) <= _LONGEST else f"{len(value):,} characters") for key, value in said.items()),
            ("size", f"{model.path.stat().st_size:,} bytes"),
        ]
    )


def _shape(sizes: Sequence[object]) -> str:
    return f"[{', '.join(map(str, sizes))}]"


def _rows(where: str, spec: ModelSpec) -> list[tuple[str, str]]:
    image = spec.image
    return [
        ("name", spec.name),
        ("summary", spec.summary),
        ("path", where),
        ("images", f"{image.height}x{image.width}x{image.channels}"),
        ("latent", f"{spec.latent.size}, {spec.latent.distribution}" if spec.latent else "no generator"),
        ("classes", ", ".join(spec.classes) if spec.classes else "no classifier"),
        *((("weakness", spec.weakness),) if spec.weakness else ()),
        ("trained by", spec.training.command),
        *((("departs in", ", ".join(spec.training.departures)),) if spec.training.departures else ()),
        ("license", f"{spec.license} (data: {spec.dataset.license})"),
        *(
            (f"errors {r.variant or ''}".strip(), f"{r.wrong} of {r.total} ({r.error:.2%}), {r.dataset} {r.split}")
            for r in spec.results
        ),
        *(("file", f"{name}  {file.size:,} bytes") for name, file in spec.files.items()),
    ]


@click.command()
@click.argument("directories", nargs=-1, required=True, metavar="DIR...", type=MODEL)
@click.option("--sums-only", is_flag=True, help="Check the checksums only, not what the ONNX files compute.")
def verify(directories: tuple[str, ...], sums_only: bool) -> None:
    """Check model directories: every file's checksum, and that the ONNX files compute what PyTorch computes.

    The comparison needs the train extra and the training weights; without them only checksums are checked, and the
    output says so.
    """
    from igan_zoo.models import store

    for reference in directories:
        directory = store.resolve(reference).directory
        if directory is None:
            raise click.UsageError(f"verify needs a model directory or a name, not {reference}")
        absent = directory.verify()
        matching = len(directory.spec.files) - len(absent)
        click.echo(f"{directory.path}: {matching} files match{_without(absent)}")
        if not sums_only:
            click.echo(f"{directory.path}: {_verified_parity(directory)}")


def _without(absent: Sequence[str]) -> str:
    """Returns what a copy lacks, and what each file would be good for."""
    from igan_zoo.models.spec import LABELS, OPTIONAL, WEIGHTS

    def purpose(name: str) -> str:
        if name in (WEIGHTS, LABELS):
            return "training weights" if name == WEIGHTS else "the images whose labels training saw"
        return "faster on CPUs" if name in OPTIONAL and name.endswith("_cpu.onnx") else "a variant of a graph"

    return f", without {', '.join(f'{name} ({purpose(name)})' for name in absent)}" if absent else ""


def _verified_parity(directory: ModelDirectory) -> str:
    from igan_zoo.models.spec import WEIGHTS

    if not (directory.path / WEIGHTS).exists():
        return f"not compared with PyTorch, which takes {WEIGHTS}"
    try:
        from igan_zoo.export.verification import verify_parity
    except ImportError:
        return "not compared with PyTorch, which needs the train extra"
    report = verify_parity(directory)
    return f"{', '.join([*report.files, *report.variants])} compute what PyTorch computes"


@click.command()
@click.argument("name", metavar="NAME|ORG/NAME[@REVISION]|DIR", type=PUBLISHED_MODEL)
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path),
    help="Model directory, or a directory of models, to copy it from.",
)
@click.option("--to", type=click.Path(path_type=Path), help="Directory to copy it to, instead of the cache.")
@variant_option
@token_option
def pull(name: str, source: Path | None, to: Path | None, variant: Any, token: str | None) -> None:
    """Get a model, check every byte, and make it the default.

    Looks in --from, the directory named by IGAN_ZOO_MIRROR, the cache, on the Hugging Face Hub (or HF_ENDPOINT;
    HF_HUB_OFFLINE=1 forbids it), in the package, and in the checkout of an editable installation. Private models need a
    token: hf auth login, or HF_TOKEN. With --variant, only the files that variant needs are downloaded.
    """
    from igan_zoo.api import pull as pull_model
    from igan_zoo.models.directory import ModelDirectory

    if source is None and Path(name).is_dir():
        source = Path(name)
        name = ModelDirectory.open(source).spec.name
    pulled = pull_model(name, source=source, to=to, variant=variant, token=token, progress=True)
    absent = [] if variant else sorted(set(pulled.spec.files) - pulled.present())
    click.echo(f"{pulled.spec.name} ({pulled.place}): {pulled.path}{_without(absent)}")
