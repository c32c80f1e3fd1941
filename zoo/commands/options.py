"""Options and helpers that several commands share."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from igan_zoo.serving.model import LoadedModel
    from igan_zoo.serving.shards.task import Executor

VARIANTS = click.Choice(["fp16", "int8", "affine"])

device_option = click.option(
    "--device",
    type=click.Choice(["cpu", "cuda"]),
    default="cpu",
    help="Device that runs the networks; an error if it is missing.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
variant_option = click.option(
    "--variant",
    type=VARIANTS,
    help="Smaller or faster form of the graph to run.",
)
precision_option = click.option(
    "--precision",
    type=click.Choice(["fp32", "bf16"]),
    default="fp32",
    show_default=True,
    help="Arithmetic; bf16 is a preview that uses OpenVINO, faster for some networks on processors that support it.",
)
SEED = click.IntRange(0, 2**64 - 1)


class Count(click.IntRange):
    """A whole number, also as people write large ones: 5k, 50_000, 50,000, 1.5M."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        written = re.fullmatch(r"(\d+(?:\.\d+)?)([km]?)", re.sub(r"[_,]", "", str(value).strip().lower()))
        if written is not None:
            number = Decimal(written[1]) * {"": 1, "k": 1000, "m": 1_000_000}[written[2]]
            value = int(number) if number == int(number) else value
        return super().convert(value, param, ctx)


# Beyond these, numbers overflow or fill the memory before anything else is wrong.
IMAGES = Count(1, 2**31)
START = click.IntRange(0, 2**62)
BATCH_SIZE = click.IntRange(1, 2**20)
THREADS = click.IntRange(1, 2**12)
threads_option = click.option(
    "--threads", type=THREADS, help="Threads that run the networks.  [default: one per available core]"
)


class Seconds(click.FloatRange):
    """A finite number, 0 or more, or more than 0."""

    def __init__(self, *, positive: bool = False) -> None:
        super().__init__(min=0, min_open=positive)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        seconds = super().convert(value, param, ctx)
        if not math.isfinite(seconds):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return seconds


token_option = click.option("--token", help="Token for the Hub.  [default: HF_TOKEN, or what hf auth login stored]")
force_option = click.option("--force", is_flag=True, help="Replace existing output, but never what the command reads.")
host_option = click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; 0.0.0.0 means all addresses of this machine.",
)
port_option = click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="Port to listen on; 0 picks a free one.",
)


def server_token_option(flag: str, variable: str, purpose: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Returns the option of a server's token, also from a variable; an empty one is kept, to be refused."""

    def given(context: click.Context, option: click.Parameter, value: str | None) -> str | None:  # noqa: ARG001
        # Click takes an empty variable for one that is not set, and an empty Secret would open the server.
        return "" if value is None and os.environ.get(variable) == "" else value

    return click.option(flag, envvar=variable, callback=given, help=f"{purpose}  [or {variable}]")


def _executor(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """Refuses an unknown executor before anything heavy is loaded."""
    if value is None or re.fullmatch(r"processes|ranks|(dask|ray)(://[^/]+:\d+)?", value):
        return value
    known = "processes, dask, dask://HOST:PORT, ray, ray://HOST:PORT or ranks"
    raise click.BadParameter(f"{value!r} is not an executor: give {known}", context, option)


def executor_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds ``--executor``, ``--workers`` and ``--shard-size``; :func:`find_executor` takes them."""
    for option in (
        click.option(
            "--shard-size", type=click.IntRange(min=1), help="Images per shard, the unit redone when a worker is lost."
        ),
        click.option(
            "--workers",
            type=click.IntRange(min=1),
            help="Number of workers.  [default: one per core, or all workers of a cluster]",
        ),
        click.option(
            "--executor",
            callback=_executor,
            metavar="NAME",
            help="How to share the work: processes, dask[://HOST:PORT], ray[://HOST:PORT], ranks (RANK, WORLD_SIZE).",
        ),
    ):
        command = option(command)
    return command


def check_executor(name: str | None, workers: int | None, shard_size: int | None) -> None:
    """Refuses options of an executor that do not belong together."""
    if name is None and workers is None and shard_size is not None:
        raise click.UsageError("--shard-size needs --executor or --workers")
    if name == "ranks" and workers is not None:
        raise click.UsageError("--workers cannot be used with --executor ranks: every rank is one worker")
    if name is not None and name.startswith("dask://") and workers is not None:
        raise click.UsageError(f"--workers cannot be used with {name}, which has its own workers")


def find_executor(name: str | None, workers: int | None, shard_size: int | None) -> Executor | None:
    """Returns what does the shards; None where the work is to be done undivided, in this process."""
    check_executor(name, workers, shard_size)
    if name is None and workers is None:
        return None
    from igan_zoo.serving.shards import executors

    return executors.find_executor(name or "processes", workers)


def keep_inputs(outputs: Iterable[Path | None], references: Iterable[str | Path | None]) -> None:
    """Refuses outputs that would replace what a command reads: files, folders of images, and models, also by name.

    Raises:
        OutputError: names output and input.
    """
    from igan_zoo.machine import files
    from igan_zoo.models import store

    places = [output for output in outputs if output is not None]
    names = [str(reference) for reference in references if reference is not None]
    paths = [Path(name) for name in names]
    paths += [found for models in store.local_stores() for name in names if (found := models.find(name))]
    inside = [place for place in places for path in paths if _is_read(place, path)]
    files.keep_inputs(places, [*paths, *inside])


def _is_read(output: Path, folder: Path) -> bool:
    """Returns whether an output is there already as a part of a folder of images or of a model."""
    from igan_zoo.images.files.kinds import SUFFIXES
    from igan_zoo.models.spec import CONFIG

    if not (output.exists() and folder.is_dir() and output.resolve().is_relative_to(folder.resolve())):
        return False
    return output.is_dir() or output.suffix.lower() in (*SUFFIXES, ".parquet") or (folder / CONFIG).is_file()


def announce(loaded: LoadedModel) -> None:
    """Says on stderr which model, or variant of it, runs, and where it really runs."""
    name = f"{loaded.name} {loaded.variant}" if loaded.variant else loaded.name
    click.echo(f"{name} ({loaded.path}) on {loaded.provider}", err=True)
