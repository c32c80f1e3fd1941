"""The command for the paper's visual Turing test: turing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from igan_zoo.commands.options import device_option, host_option, json_option, port_option, server_token_option
from igan_zoo.commands.terminal import print_json, print_table
from igan_zoo.errors import missing_extra


@click.command()
@click.option(
    "--real",
    metavar="[MODEL=]SOURCE",
    multiple=True,
    help="Real images: any source that igan-zoo score takes; may be given for each model.",
)
@click.option("--split", help="Part of the real images to show.")
@click.option(
    "--model",
    "models",
    multiple=True,
    help="Model whose images are mixed with the real ones; may be given several times.",
)
@click.option(
    "--rounds",
    type=click.IntRange(1, 200),
    default=20,
    show_default=True,
    help="Number of rounds that the page proposes.",
)
@click.option(
    "--results",
    type=click.Path(dir_okay=False, path_type=Path),
    default="turing.jsonl",
    show_default=True,
    help="File to append the answers to.",
)
@host_option
@port_option
@server_token_option("--token", "IGAN_ZOO_TOKEN", "Bearer token required on every route.")
@device_option
@click.option(
    "--summary",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.jsonl",
    help="Print the results of earlier tests without starting a server.",
)
@json_option
def turing(
    real: tuple[str, ...],
    split: str | None,
    models: tuple[str, ...],
    rounds: int,
    results: Path,
    host: str,
    port: int,
    token: str | None,
    device: Any,
    summary: Path | None,
    as_json: bool,
) -> None:
    """Let people tell real images from generated ones on a web page (section 4 of the paper), or summarize their
    answers.
    """
    if summary is not None:
        _print_summary(summary, as_json)
        return
    if not real:
        raise click.UsageError("Give real images with --real SOURCE, or results with --summary FILE.jsonl.")
    try:
        from igan_zoo.serving.server.running import serve
    except ImportError as error:
        raise missing_extra(error, "serve") from error
    from igan_zoo.serving.server.models.origins import find_origin
    from igan_zoo.serving.server.models.repository import Repository
    from igan_zoo.serving.server.settings import ServerSettings

    settings = ServerSettings(
        token=token,
        log_requests=False,
        real=real,
        real_split=split,
        turing_rounds=rounds,
        turing_results=results,
    )
    origins = [find_origin(model, device) for model in (models or (None,))]
    repository = Repository(origins, settings)

    def announce(address: str) -> None:
        click.echo(f"{address}/#turing/{origins[0].name}")
        click.echo(f"Answers go to {results}; stop with Ctrl-C or SIGTERM (process {os.getpid()}).", err=True)

    serve(repository, settings, host=host, port=port, announce=announce)


def _print_summary(path: Path, as_json: bool) -> None:
    from dataclasses import asdict

    from igan_zoo.serving.server.turing.results import read_results

    found = read_results([path]).summaries()
    if as_json:
        print_json([asdict(summary) for summary in found])
        return
    rows = [
        (
            its.model,
            "yes" if its.feedback else "no",
            f"{its.tests:,}",
            f"{its.unfinished:,}",
            f"{its.errors:,} of {its.answers:,}",
            "-" if its.error_rate is None else f"{its.error_rate:.1%} ({its.low:.1%} to {its.high:.1%})",
            "-" if its.fooled is None else f"{its.fooled:.1%}",
        )
        for its in found
    ]
    headings = ("model", "feedback", "tests", "unfinished", "wrong", "error rate (95 %)", "generated taken for real")
    print_table([headings, *rows])
