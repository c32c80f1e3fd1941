"""The command that measures models: bench."""

from __future__ import annotations

from typing import Any

import click

from igan_zoo.commands.completion import MODEL
from igan_zoo.commands.options import THREADS, Seconds, json_option
from igan_zoo.commands.terminal import print_json, print_table
from igan_zoo.errors import missing_extra


def _sizes(context: click.Context, option: click.Parameter, value: str) -> tuple[int, ...]:
    """Reads batch sizes with commas between them."""
    sizes = [text.strip() for text in value.split(",")]
    if not all(text.isdecimal() and int(text) > 0 for text in sizes):
        raise click.BadParameter(f"{value!r} is not a list of batch sizes like 1,16,100", context, option)
    return tuple(int(text) for text in sizes)


@click.command()
@click.argument("model", required=False, type=MODEL)
@click.option(
    "--batch", "batches", callback=_sizes, default="1,16,100", show_default=True, help="Batch sizes to measure."
)
@click.option(
    "--device", type=click.Choice(["cpu", "cuda"]), help="Device to measure.  [default: every one that works]"
)
@click.option("--threads", type=THREADS, help="onnxruntime's threads on the CPU.  [default: one per core]")
@click.option(
    "--seconds",
    type=Seconds(positive=True),
    default=1.0,
    show_default=True,
    help="Seconds to measure each graph at each batch size.",
)
@click.option("--torch", "with_torch", is_flag=True, help="Measure PyTorch on the CPU, too; needs the train extra.")
@json_option
def bench(
    model: str | None,
    batches: tuple[int, ...],
    device: Any,
    threads: int | None,
    seconds: float,
    with_torch: bool,
    as_json: bool,
) -> None:
    """Measure how many images per second each graph of a model runs here, including variants."""
    from dataclasses import asdict

    from igan_zoo.models import store
    from igan_zoo.models.spec import graph_file
    from igan_zoo.serving.benchmarking import conditions, measure_speeds

    chosen = store.resolve(model)
    click.echo(f"{chosen.name} ({chosen.path})", err=True)
    candidates = _candidates(chosen, device, threads)
    if with_torch:
        candidates += _torch_candidates(chosen, candidates, threads)
    speeds = measure_speeds(candidates, batches, seconds=seconds)
    measured_on = conditions(threads)
    if as_json:
        rows = [{"file": graph_file(speed.role, speed.variant), **asdict(speed)} for speed in speeds]
        print_json({"model": chosen.name, "conditions": measured_on, "speeds": rows})
        return
    lines = [
        (
            graph_file(speed.role, speed.variant) if chosen.directory else str(chosen.path),
            speed.provider,
            str(speed.batch),
            f"{speed.images_per_second:,.0f}",
            f"{speed.ratio:.2f}",
            f"{speed.cpu_milliseconds:.3f}",
        )
        for speed in speeds
    ]
    print_table([("file", "provider", "batch", "images/s", "of plain", "CPU ms/image"), *lines])
    versions = ", ".join(f"{name} {number}" for name, number in measured_on["versions"].items())
    instructions = " ".join(measured_on["instructions"])
    click.echo(f"{measured_on['processor']} ({instructions}), {threads or 'all'} threads, {versions}", err=True)


def _torch_candidates(chosen: Any, candidates: list[Any], threads: int | None) -> list[Any]:
    """Loads the networks of which the graphs were made."""
    from igan_zoo.serving.benchmarking import Candidate

    if chosen.directory is None:
        raise click.UsageError("--torch needs a model directory or a name, not an .onnx file")
    try:
        from igan_zoo.export.torch_engine import TorchEngine
    except ImportError as error:
        raise missing_extra(error, "train") from error
    graphs = {candidate.role: candidate.engine.graphs[candidate.role] for candidate in candidates}
    engine = TorchEngine(chosen.directory, graphs, threads=threads)
    return [Candidate(role, None, "cpu", engine) for role in graphs]


def _candidates(chosen: Any, device: Any, threads: int | None) -> list[Any]:
    """Loads what is to be measured: on the device asked for, else on the CPU and wherever else it loads."""
    from igan_zoo.errors import DeviceError
    from igan_zoo.serving.benchmarking import load_candidates

    candidates = load_candidates(chosen, device or "cpu", threads)
    if device is None:
        try:
            candidates += load_candidates(chosen, "cuda", threads)
        except DeviceError:
            click.echo("onnxruntime finds no usable CUDA device; measuring only the CPU.", err=True)
    return candidates
