"""Options and helpers that several commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from igan_zoo.errors import IganZooError

if TYPE_CHECKING:
    from igan_zoo.store import Model

VARIANTS = click.Choice(["fp16", "int8", "affine"])

device_option = click.option(
    "--device", type=click.Choice(["cpu", "cuda"]), default="cpu", help="Fails if it is not there."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
variant_option = click.option(
    "--variant",
    type=VARIANTS,
    help="A smaller or faster form of the graph, if the model has it.",
)
token_option = click.option("--token", help="For the Hub.  [default: HF_TOKEN, or what hf auth login stored]")
force_option = click.option("--force", is_flag=True, help="Replace what --out names.")
SEED = click.IntRange(0, 2**64 - 1)


def missing_train(error: ImportError) -> IganZooError:
    """Returns what to say when the training stack is not installed."""
    from igan_zoo.errors import MissingExtraError

    return MissingExtraError(
        f"This needs {error.name or error}, of the train extra: pip install 'igan-zoo[train,cpu]'."
    )


def resolve(reference: str | None) -> Model:
    """Returns the model that a command was given, or the default one."""
    from igan_zoo import store

    return store.resolve(reference)


def announce(model: Model, engine: Any, variant: str | None = None) -> None:
    """Says on stderr which model, or variant of it, runs, and where it really runs."""
    name = f"{model.name} {variant}" if variant else model.name
    click.echo(f"{name} ({model.path}) on {engine.provider}", err=True)
