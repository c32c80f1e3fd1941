"""The command line as a whole; its commands are in :mod:`igan_zoo.commands`."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence

import click

from igan_zoo import __version__
from igan_zoo.commands import bench, cache, doctor, export, inference, inspecting, models, publishing, serve, turing
from igan_zoo.commands.scoring import merge_scores, neighbors, rank, score
from igan_zoo.commands.terminal import logging_to_stderr
from igan_zoo.commands.training import prepare, reproduce, suggest, train
from igan_zoo.errors import IganZooError, first_line, one_line
from igan_zoo.machine.progress import showing_progress

_DEBUG = "IGAN_ZOO_DEBUG"
_LONGEST_SENTENCE = 2000
_EMPTY = re.compile("(--[a-z-]+=)?")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line; every failure is one sentence on stderr and exit code 1, wrong usage exit code 2.

    With ``--debug``, or IGAN_ZOO_DEBUG in the environment, an error that is not one of ours is raised as it is.
    """
    try:
        _refuse_empty(sys.argv[1:] if arguments is None else arguments)
        with logging_to_stderr(), showing_progress():
            code = cli.main(arguments, prog_name="igan-zoo", standalone_mode=False)
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
        _fail(f"Operating system error: {error}.", 1)
    except Exception as error:
        if os.environ.get(_DEBUG):
            raise
        _fail(_unexpected(error), 1)
    # Click returns the code of a command that exits by itself.
    if code:
        sys.exit(code)


def _refuse_empty(arguments: Sequence[str]) -> None:
    """Refuses what a shell makes of an unset variable: as a path it would be the working directory."""
    for place, argument in enumerate(arguments):
        if _EMPTY.fullmatch(argument):
            of = argument.rstrip("=") or (arguments[place - 1] if place else "igan-zoo")
            raise click.UsageError(f"what follows {of} is empty: check the variable that it comes from")


def _unexpected(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return f"There is not enough memory ({first_line(error).rstrip('.')}); ask for less, or in smaller batches."
    return (
        f"Unexpected {type(error).__name__} ({first_line(error).rstrip('.')}): a file may be damaged or a number too "
        "large; igan-zoo --debug with the same command shows where it came from."
    )


def _fail(sentence: str, code: int) -> None:
    click.echo(f"Error: {one_line(sentence, most=_LONGEST_SENTENCE)}", err=True)
    sys.exit(code)


def _set_debug(_context: click.Context, _option: click.Parameter, value: bool) -> None:
    if value:
        # In the environment, so that worker processes know it as well.
        os.environ[_DEBUG] = "1"


def _print_version(context: click.Context, _option: click.Parameter, value: bool) -> None:
    if not value or context.resilient_parsing:
        return
    click.echo(f"igan-zoo, version {__version__}")
    try:
        import onnxruntime
    except ImportError:
        click.echo("onnxruntime is not installed")
    else:
        providers = ", ".join(onnxruntime.get_available_providers())
        click.echo(f"onnxruntime, version {onnxruntime.__version__}: {providers}")
    context.exit()


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the versions of igan-zoo and onnxruntime, with its providers, and exit.",
)
@click.option(
    "--debug", is_flag=True, expose_value=False, callback=_set_debug, help="Show the traceback of an unexpected error."
)
def cli() -> None:
    """Generators and classifiers of "Improved Techniques for Training GANs", as ONNX files."""


_COMMANDS = (
    models.list_models,
    models.info,
    models.verify,
    models.pull,
    models.search,
    cache.cache,
    publishing.publish,
    publishing.catalogue,
    inference.sample,
    inference.classify,
    inference.evaluate,
    score.score,
    merge_scores.merge_scores,
    rank.rank,
    neighbors.neighbors,
    bench.bench,
    serve.serve,
    inspecting.inspect,
    prepare.prepare,
    train.recipes,
    train.train,
    suggest.suggest,
    export.export,
    reproduce.reproduce,
    turing.turing,
    doctor.doctor,
)
for _command in _COMMANDS:
    cli.add_command(_command)
