"""Commands about model directories: list, info, verify, pull."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from igan_zoo.commands.options import json_option, token_option, variant_option
from igan_zoo.terminal import print_json, print_table

if TYPE_CHECKING:
    from igan_zoo.directory import ModelDirectory


@click.command("list")
@json_option
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


@click.command()
@click.argument("model", required=False)
@json_option
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
        *(
            (f"errors {r.variant or ''}".strip(), f"{r.wrong} of {r.total} ({r.error:.2%}), {r.dataset} {r.split}")
            for r in spec.results
        ),
        *(("file", f"{name}  {file.size:,} bytes") for name, file in spec.files.items()),
    ]
    print_table(rows)


@click.command()
@click.argument("directories", nargs=-1, required=True, metavar="DIR...")
@click.option("--sums-only", is_flag=True, help="Do not compare the ONNX files with the training weights.")
def verify(directories: tuple[str, ...], sums_only: bool) -> None:
    """Check model directories: every file's checksum, and what the ONNX files compute.

    The second wants the train extra and the training weights; without them only the checksums are looked at, and the
    answer says so.
    """
    from igan_zoo import store

    for reference in directories:
        directory = store.resolve(reference).directory
        if directory is None:
            raise click.UsageError(f"verify wants a model directory or a name, not {reference}")
        absent = directory.verify()
        without = f", without {', '.join(absent)} (needed only for training)" if absent else ""
        click.echo(f"{directory.path}: {len(directory.spec.files) - len(absent)} files match{without}")
        if not sums_only:
            click.echo(f"{directory.path}: {_verified_parity(directory)}")


def _verified_parity(directory: ModelDirectory) -> str:
    from igan_zoo.spec import WEIGHTS

    if not (directory.path / WEIGHTS).exists():
        return f"not compared with PyTorch, for want of {WEIGHTS}"
    try:
        from igan_zoo.export.verification import verify_parity
    except ImportError:
        return "not compared with PyTorch, for want of the train extra"
    report = verify_parity(directory)
    return f"{', '.join([*report['files'], *report['variants']])} compute what PyTorch computes"


@click.command()
@click.argument("name", metavar="NAME|ORG/NAME[@REVISION]|DIR")
@click.option("--from", "source", type=click.Path(path_type=Path), help="A model directory, or a directory of them.")
@click.option("--to", type=click.Path(path_type=Path), help="Copy it here, not into the cache.")
@variant_option
@token_option
def pull(name: str, source: Path | None, to: Path | None, variant: Any, token: str | None) -> None:
    """Get a model, every byte checked, and make it the default one.

    Looks in --from, the directory named by IGAN_ZOO_MIRROR, the cache, the bundled models, and on the Hugging Face Hub
    (or HF_ENDPOINT; HF_HUB_OFFLINE=1 forbids it). Models that are private want a token: hf auth login, or HF_TOKEN.
    With --variant only what running that form takes is fetched.
    """
    from igan_zoo.directory import ModelDirectory
    from igan_zoo.pulling import pull as pull_model

    if source is None and Path(name).is_dir():
        source = Path(name)
        name = ModelDirectory.open(source).spec.name
    directory, label = pull_model(name, source=source, to=to, variant=variant, token=token)
    click.echo(f"{directory.spec.name} ({label}): {directory.path}")
