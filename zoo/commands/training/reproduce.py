"""The commands that compute results of the paper again: reproduce table1, table2, table3, svhn, figure3, …"""

from __future__ import annotations

import contextlib
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from igan_zoo.commands.options import THREADS, json_option
from igan_zoo.commands.terminal import print_json, print_seconds_since, print_table
from igan_zoo.errors import missing_extra

if TYPE_CHECKING:
    from igan_zoo.reproduction.request import Request
    from igan_zoo.serving.scoring.network import Network

_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
_FILE = click.Path(path_type=Path, dir_okay=False)
_OUT = click.Path(path_type=Path)


def _budget(context: click.Context, option: click.Parameter, value: str | None) -> float | Literal["full"] | None:
    if value is None or value == "full":
        return "full" if value else None
    try:
        minutes = float(value)
    except ValueError:
        minutes = -1.0
    if not 0 < minutes < 1e7:
        raise click.BadParameter(f"{value!r} is neither a number of minutes nor full.", context, option)
    return minutes


_TABLE_OPTIONS = (
    click.option(
        "--budget",
        callback=_budget,
        metavar="MINUTES|full",
        help="Time for training, or the paper's whole protocol.  [default: train nothing]",
    ),
    click.option("--rows", multiple=True, metavar="ROW[,ROW]", help="Rows to compute.  [default: all]"),
    click.option("--data", help="Images, as for train.  [default: the table's data, from the Hub]"),
    click.option("--seeds", type=click.IntRange(1, 1000), help="Seeds per row.  [default: 1; with full 10]"),
    click.option("--out", type=_OUT, help="Folder of the report.  [default: reproduction/TABLE]"),
    click.option("--runs", type=_FOLDER, multiple=True, help="Folder with finished runs to include."),
    click.option("--models", type=_FOLDER, multiple=True, help="Folder with models whose ONNX files to test."),
    click.option("--note", help="Sentence to add to the report, such as one about the data."),
    click.option("--threads", type=THREADS, help="Threads of PyTorch and onnxruntime."),
    click.option("--dry-run", is_flag=True, help="Print the train commands that --budget would run, and stop."),
    json_option,
)
_SCORE_OPTIONS = (
    click.option("--inception", type=_FILE, help="The 2015 network's weights, or its exported .onnx."),
    click.option("--scorer", "scorers", multiple=True, help="Another network.  [default: the zoo's classifiers]"),
    click.option("--n", "images", type=click.IntRange(min=10), help="Images per score.  [default: 50000]"),
)


@click.group()
def reproduce() -> None:
    """Reproduce a table or figure of the paper, and write a report.

    After an interruption, run the same command to continue; finished training runs and scores are kept.
    """


def _table_command(table: str, summary: str, *options: Callable[[Any], Any]) -> None:
    """Adds the command of one table."""

    def command(**asked: Any) -> None:
        _table(table, **asked)

    for option in reversed((*options, *_TABLE_OPTIONS)):
        command = option(command)
    reproduce.command(table, help=summary)(command)


_table_command("table1", "MNIST: test errors by number of labels (Table 1).")
_table_command("table2", "CIFAR-10: test errors by number of labels (Table 2).")
_table_command("svhn", "SVHN: test errors by number of labels (section 6.3).")
_table_command("table3", "CIFAR-10: Inception scores with one technique left out at a time (Table 3).", *_SCORE_OPTIONS)
_table_command("figure3", "MNIST: images by feature matching and by minibatch discrimination (Figure 3).")


@reproduce.command("toy-game")
@click.option("--out", type=_OUT, help="Folder for a report.  [default: print only]")
@json_option
def toy_game(out: Path | None, as_json: bool) -> None:
    """Play the minimax game of section 3.3, with and without historical averaging."""
    with _training_stack():
        from igan_zoo.reproduction import toy_game

        record, outcomes = toy_game.play_toy_game()
        if as_json:
            print_json(record)
        else:
            click.echo(toy_game.settings(record))
            print_table(toy_game.rows(record))
        if out is not None:
            toy_game.write_toy_report(out, record, outcomes)
            click.echo(f"{out / 'report.md'}, {out / 'report.json'}, {out / 'toy-game.png'}", err=as_json)


@reproduce.command()
@click.option("--model", help="Model whose images are shown.  [default: mnist-ssl]")
@click.option("--data", help="Real images.  [default: the model's data, from the Hub]")
@click.option("--n", "images", type=click.IntRange(min=1), default=100, show_default=True, help="Images of each kind.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=1, show_default=True, help="Seed for both choices.")
@click.option("--results", type=_FILE, multiple=True, help="JSONL file of answers to summarize.")
@click.option("--out", type=_OUT, default=Path("reproduction/turing"), show_default=True, help="The report's folder.")
@json_option
def turing(
    model: str | None, data: str | None, images: int, seed: int, results: tuple[Path, ...], out: Path, as_json: bool
) -> None:
    """Prepare a visual Turing test (section 6), or summarize people's answers to one."""
    with _training_stack():
        from igan_zoo.models.catalogue import DEFAULT_MODEL
        from igan_zoo.reproduction import turing_tests
        from igan_zoo.reproduction.report import write_report

        summaries = turing_tests.summarize(results)
        prepared = None
        if model is not None or data is not None or not results:
            prepared = turing_tests.prepare_test(out, model or DEFAULT_MODEL, data, images=images, seed=seed)
        record = turing_tests.record(prepared, summaries)
        write_report(out, record, turing_tests.markdown(prepared, summaries))
        if as_json:
            print_json(record)
        else:
            for line in turing_tests.lines(prepared, summaries, out):
                click.echo(line)
        click.echo(f"{out / 'report.md'}, {out / 'report.json'}", err=as_json)


@contextlib.contextmanager
def _training_stack() -> Iterator[None]:
    """Says what to install, how to go on after an interruption, and at the end how long it took."""
    began = time.perf_counter()
    try:
        yield
    except ImportError as error:
        raise missing_extra(error, "train") from error
    except KeyboardInterrupt:
        from igan_zoo.errors import TrainingError

        raise TrainingError("Interrupted; run the same command again to continue.") from None
    print_seconds_since(began)


def _table(
    table: str,
    *,
    rows: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
    inception: Path | None = None,
    images: int | None = None,
    **asked: Any,
) -> None:
    if dry_run and asked["budget"] is None:
        raise click.UsageError("--dry-run prints what --budget would run; give --budget")
    with _training_stack():
        from igan_zoo.reproduction.published import TABLES
        from igan_zoo.reproduction.request import IMAGES, Request

        chosen = TABLES[table]
        wanted = chosen.find_rows([name for given in rows for name in given.split(",") if name])
        network = _open_inception(inception, asked["threads"]) if inception is not None else None
        asked |= {"data": asked["data"] or chosen.dataset, "out": asked["out"] or Path("reproduction") / table}
        command = shlex.join(["igan-zoo", *sys.argv[1:]]) if sys.argv[1:2] == ["reproduce"] else None
        request = Request(
            table=chosen,
            rows=wanted,
            inception=network,
            images=images or IMAGES,
            command=command or f"igan-zoo reproduce {table}",
            say=lambda sentence: click.echo(sentence, err=True),
            **asked,
        )
        if dry_run:
            _print_commands(request, as_json)
        else:
            _print_report(request, as_json)


def _open_inception(file: Path, threads: int | None) -> Network:
    """Returns the network of 2015, from an exported scorer or from its published weights."""
    from igan_zoo.serving.scorers.opening import open_scorer

    exported, weights = (str(file), None) if file.suffix == ".onnx" else (None, file)
    return open_scorer(exported, weights, threads=threads)


def _print_report(request: Request, as_json: bool) -> None:
    from igan_zoo.reproduction.page import empty_cells, overview
    from igan_zoo.reproduction.report import record
    from igan_zoo.reproduction.table_reports import report_table

    report = report_table(request)
    if as_json:
        print_json(record(report))
    else:
        click.echo(report.title)
        print_table(overview(report))
        for sentence in empty_cells(report):
            click.echo(sentence, err=True)
    click.echo(f"{request.out / 'report.md'}, {request.out / 'report.json'}", err=as_json)


def _print_commands(request: Request, as_json: bool) -> None:
    from igan_zoo.reproduction.table_reports import find_evidence
    from igan_zoo.reproduction.trainings import command_of, trainings_to_do

    to_do = trainings_to_do(request, find_evidence(request).evidence)
    commands = {one.name: command_of(one, request) for one in to_do}
    if as_json:
        print_json([{"training": name, "command": command} for name, command in commands.items()])
    else:
        for command in commands.values():
            click.echo(command)
