"""The command that computes a result of the paper again: reproduce."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from igan_zoo.commands.options import THREADS, json_option, missing_train
from igan_zoo.commands.terminal import print_json, print_seconds_since, print_table

if TYPE_CHECKING:
    from igan_zoo.reproduction.request import Request
    from igan_zoo.serving.scoring.network import Network

_TABLES = ("table1", "table2", "svhn", "table3", "figure3", "toy-game", "turing")
_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
_FILE = click.Path(path_type=Path, dir_okay=False)


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


@click.command()
@click.argument("table", metavar="TABLE")
@click.option(
    "--budget",
    callback=_budget,
    metavar="MINUTES|full",
    help="Time for trainings, or the paper's whole protocol.  [default: train nothing]",
)
@click.option("--rows", multiple=True, metavar="ROW[,ROW]", help="Only these: 100, ensemble-100, …  [default: all]")
@click.option("--data", help="As for train.  [default: the table's, from the Hub]")
@click.option("--seeds", type=click.IntRange(1, 1000), help="Of every row.  [default: 10 of full, 1 of a budget]")
@click.option("--out", type=click.Path(path_type=Path), help="The report's folder.  [default: reproduction/TABLE]")
@click.option("--runs", type=_FOLDER, multiple=True, help="Folders with finished runs, which count too.")
@click.option("--models", type=_FOLDER, multiple=True, help="Folders with models; their ONNX files are tested again.")
@click.option("--inception", type=_FILE, help="Of table3: the 2015 network's weights, or its exported .onnx.")
@click.option(
    "--scorer", "scorers", multiple=True, help="Of table3: another network.  [default: the zoo's classifiers]"
)
@click.option("--n", "images", type=click.IntRange(min=10), help="Images a score is of.  [default: 50000; turing: 100]")
@click.option("--model", help="Of turing: whose images to show.  [default: mnist-ssl]")
@click.option("--results", type=_FILE, multiple=True, help="Of turing: answers that were given, JSONL.")
@click.option("--note", help="A sentence for the report, as about the data.")
@click.option("--threads", type=THREADS, help="Of PyTorch and onnxruntime.")
@click.option("--dry-run", is_flag=True, help="Print what would be trained, and for how long, and stop.")
@json_option
def reproduce(
    table: str,
    budget: float | Literal["full"] | None,
    rows: tuple[str, ...],
    data: str | None,
    seeds: int | None,
    out: Path | None,
    runs: tuple[Path, ...],
    models: tuple[Path, ...],
    inception: Path | None,
    scorers: tuple[str, ...],
    images: int | None,
    model: str | None,
    results: tuple[Path, ...],
    note: str | None,
    threads: int | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Compute a table or figure of the paper again, and write a report.

    TABLE is table1 (MNIST), table2 (CIFAR-10), svhn, table3 (Inception scores), figure3 (MNIST images), toy-game
    (section 3.3) or turing (people's judgement). Killed, the same command goes on; what is done is not done again.
    """
    from igan_zoo.errors import UnknownNameError
    from igan_zoo.names import nearest

    if table not in _TABLES:
        raise UnknownNameError(f"There is no table {table!r} to reproduce; {nearest(table, _TABLES)}")
    _check_usage(table, budget, rows, inception, scorers, model, results, dry_run)
    began = time.perf_counter()
    try:
        if table == "toy-game":
            _toy_game(out, as_json)
        elif table == "turing":
            _turing(out or Path("reproduction") / table, model, data, images or 100, seeds or 1, results, as_json)
        else:
            how = {"budget": budget, "seeds": seeds, "threads": threads, "runs": runs, "models": models, "note": note}
            request = _request(table, rows, data, out, inception, scorers, images, how)
            if dry_run:
                _preview(request, as_json)
            else:
                _table(request, as_json)
    except ImportError as error:
        raise missing_train(error) from error
    except KeyboardInterrupt:
        from igan_zoo.errors import TrainingError

        raise TrainingError("Interrupted; the same command goes on from here.") from None
    print_seconds_since(began)


def _check_usage(
    table: str,
    budget: float | Literal["full"] | None,
    rows: tuple[str, ...],
    inception: Path | None,
    scorers: tuple[str, ...],
    model: str | None,
    results: tuple[Path, ...],
    dry_run: bool,
) -> None:
    """Refuses options that do not belong together."""
    if (inception is not None or scorers) and table != "table3":
        raise click.UsageError("--inception and --scorer are for table3")
    if (model is not None or results) and table != "turing":
        raise click.UsageError("--model and --results are for turing")
    if (rows or budget is not None) and table in ("toy-game", "turing"):
        raise click.UsageError(f"{table} trains nothing and has no rows; leave --rows and --budget out")
    if dry_run and budget is None:
        raise click.UsageError("--dry-run says what a --budget would train")


def _request(
    table: str,
    rows: tuple[str, ...],
    data: str | None,
    out: Path | None,
    inception: Path | None,
    scorers: tuple[str, ...],
    images: int | None,
    how: dict[str, Any],
) -> Request:
    from igan_zoo.reproduction.published import TABLES
    from igan_zoo.reproduction.request import Request
    from igan_zoo.reproduction.scores import IMAGES

    chosen = TABLES[table]
    names = [name for given in rows for name in given.split(",") if name]
    return Request(
        table=chosen,
        rows=chosen.find_rows(names),
        data=data or chosen.dataset,
        out=out or Path("reproduction") / table,
        inception=_inception(inception, how["threads"]) if inception is not None else None,
        scorers=scorers,
        images=images or IMAGES,
        command=shlex.join(["igan-zoo", *sys.argv[1:]])
        if sys.argv[1:2] == ["reproduce"]
        else f"igan-zoo reproduce {table}",
        say=lambda sentence: click.echo(sentence, err=True),
        **how,
    )


def _inception(file: Path, threads: int | None) -> Network:
    """Returns the network of 2015, from an exported scorer or from its published weights."""
    from igan_zoo.commands.scorers import load_network

    if file.suffix == ".onnx":
        return load_network(str(file), None, device="cpu", threads=threads)
    return load_network(None, file, device="cpu", threads=threads)


def _table(request: Request, as_json: bool) -> None:
    from igan_zoo.reproduction.making import reproduce_table
    from igan_zoo.reproduction.report import empty_cells, overview, record

    report = reproduce_table(request)
    if as_json:
        print_json(record(report))
    else:
        click.echo(report.title)
        print_table(overview(report))
        for sentence in empty_cells(report):
            click.echo(sentence, err=True)
    click.echo(f"{request.out / 'report.md'}, {request.out / 'report.json'}", err=as_json)


def _preview(request: Request, as_json: bool) -> None:
    from igan_zoo.reproduction.carrying_out import decide
    from igan_zoo.reproduction.making import given_evidence
    from igan_zoo.reproduction.report import duration

    decision = decide(request, given_evidence(request).evidence, estimated=True)
    total = sum(estimate.seconds for estimate in decision.estimates)
    trainings: list[dict[str, Any]] = [
        {
            "training": job.name,
            "recipe": job.recipe.name,
            "epochs": job.recipe.epochs,
            "seconds": round(estimate.seconds),
        }
        for job, estimate in zip(decision.to_do, decision.estimates, strict=True)
    ]
    if as_json:
        print_json({"trainings": trainings, "seconds": round(total), "without": decision.missing})
        return
    rows = [(one["training"], one["recipe"], f"{one['epochs']}", duration(one["seconds"])) for one in trainings]
    print_table([("training", "recipe", "epochs", "about"), *rows])
    click.echo(f"{len(rows)} trainings, about {duration(total)} in all, measured by the first steps here")
    for name, reason in decision.missing.items():
        click.echo(f"{name}: {reason}", err=True)


def _toy_game(out: Path | None, as_json: bool) -> None:
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


def _turing(
    out: Path, model: str | None, data: str | None, images: int, seed: int, results: tuple[Path, ...], as_json: bool
) -> None:
    from igan_zoo.models.catalogue import DEFAULT_MODEL
    from igan_zoo.reproduction import turing_tests
    from igan_zoo.reproduction.pages import write_pages

    summaries = turing_tests.summarize(results)
    prepared = None
    if model is not None or data is not None or not results:
        prepared = turing_tests.prepare_test(out, model or DEFAULT_MODEL, data, images=images, seed=seed)
    record = turing_tests.record(prepared, summaries)
    write_pages(out, record, turing_tests.markdown(prepared, summaries))
    if as_json:
        print_json(record)
    else:
        if prepared is not None:
            click.echo(f"{prepared['images']} real and as many generated images in {out}; next: {prepared['command']}")
        for one in summaries:
            click.echo(
                f"{turing_tests.condition(one)}: {1 - one.errors / one.answers:.1%} right "
                f"({1 - one.high:.1%} to {1 - one.low:.1%}) of {one.answers} answers"
            )
    click.echo(f"{out / 'report.md'}, {out / 'report.json'}", err=as_json)
