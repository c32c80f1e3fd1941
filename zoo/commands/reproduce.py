"""The command that computes a result of the paper again: reproduce."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from igan_zoo.commands.options import json_option, missing_train
from igan_zoo.terminal import print_json, print_seconds_since, print_table


@click.command()
@click.argument("row", metavar="ROW")
@click.option("--out", type=click.Path(path_type=Path), help="A folder for the picture and the numbers.")
@json_option
def reproduce(row: str, out: Path | None, as_json: bool) -> None:
    """Compute a result of the paper again, and print its numbers.

    ROW is toy-game: gradient descent and historical averaging on the minimax game of section 3.3.
    """
    from igan_zoo.errors import UnknownNameError
    from igan_zoo.names import nearest

    if row not in _ROWS:
        raise UnknownNameError(f"There is no row {row!r} to reproduce; {nearest(row, _ROWS)}")
    began = time.perf_counter()
    try:
        _ROWS[row](out, as_json)
    except ImportError as error:
        raise missing_train(error) from error
    print_seconds_since(began)


def _toy_game(out: Path | None, as_json: bool) -> None:
    import msgspec

    from igan_zoo.training.toy_game import Outcome, ToyGame, draw_game

    game = ToyGame()
    outcomes = game.play()
    methods = {method: outcome.summary() for method, outcome in outcomes.items()}
    record = {
        "row": "toy-game",
        **msgspec.to_builtins(game),
        "converged_below": Outcome.converged_below,
        "methods": methods,
    }
    if as_json:
        print_json(record)
    else:
        click.echo(
            f"{len(game.starts())} starts, {game.steps} steps of size {game.learning_rate}; distances to (1, 1), "
            f"converged: below {Outcome.converged_below} all through the last fifth"
        )
        print_table(_toy_game_table(methods))
    if out is not None:
        picture, numbers = out / "toy-game.png", out / "toy-game.json"
        draw_game(picture, outcomes)
        _write_json(numbers, record)
        click.echo(f"{picture}, {numbers}", err=as_json)


def _toy_game_table(methods: dict[str, dict[str, Any]]) -> list[tuple[str, ...]]:
    columns = {
        "final median": "median_final_distance",
        "final largest": "largest_final_distance",
        "last fifth smallest": "smallest_distance_at_the_end",
        "last fifth largest": "largest_distance_at_the_end",
    }
    rows = [
        (method, f"{numbers['converged']} of {numbers['starts']}", *(f"{numbers[key]:.4f}" for key in columns.values()))
        for method, numbers in methods.items()
    ]
    return [("method", "converged", *columns), *rows]


def _write_json(path: Path, value: Any) -> None:
    import json

    from igan_zoo.files import atomic_file

    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n")


_ROWS: dict[str, Callable[[Path | None, bool], None]] = {"toy-game": _toy_game}
