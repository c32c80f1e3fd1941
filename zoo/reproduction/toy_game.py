"""The report of the toy game of section 3.3: its numbers, its picture, and what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from igan_zoo.reproduction.report import write_report
from igan_zoo.training.games.toy_game import Outcome, ToyGame, draw_game

_COLUMNS = {
    "final median": "median_final_distance",
    "final largest": "largest_final_distance",
    "last fifth smallest": "smallest_distance_at_the_end",
    "last fifth largest": "largest_distance_at_the_end",
}


def play_toy_game() -> tuple[dict[str, Any], dict[str, Outcome]]:
    """Plays the game by every method; returns the record of its numbers, and where the players were."""
    game = ToyGame()
    outcomes = game.play()
    methods = {method: outcome.summary() for method, outcome in outcomes.items()}
    numbers = {"table": "toy-game", **msgspec.to_builtins(game), "starts": len(game.starts())}
    return {**numbers, "converged_below": Outcome.converged_below, "methods": methods}, outcomes


def settings(record: dict[str, Any]) -> str:
    """Returns how the game was played, in a line."""
    return (
        f"{record['starts']} starts, {record['steps']} steps of size {record['learning_rate']}; distances to (1, 1), "
        f"converged: below {record['converged_below']} all through the last fifth"
    )


def rows(record: dict[str, Any]) -> list[tuple[str, ...]]:
    """Returns the table's head and a row for every method."""
    return [
        ("method", "converged", *_COLUMNS),
        *(
            (method, f"{its['converged']} of {its['starts']}", *(f"{its[key]:.4f}" for key in _COLUMNS.values()))
            for method, its in record["methods"].items()
        ),
    ]


def write_toy_report(out: Path, record: dict[str, Any], outcomes: dict[str, Outcome]) -> None:
    """Writes ``report.md``, ``report.json`` and ``toy-game.png``.

    Raises:
        OutputError: ``out`` cannot be written.
    """
    draw_game(out / "toy-game.png", outcomes)
    head, *body = [" | ".join(row) for row in rows(record)]
    table = "\n".join([f"| {head} |", "|---" * (len(_COLUMNS) + 2) + "|", *(f"| {row} |" for row in body)])
    page = (
        "# Does historical averaging find equilibria?\n\n"
        "Section 3.3 of *Improved Techniques for Training GANs* (Salimans et al., 2016) says that gradient descent "
        "does not approach the equilibrium (1, 1) of the game (f(x) - 1)(y - 1), and that historical averaging "
        f"does. It gives no numbers.\n\n{settings(record)}.\n\n{table}\n\n"
        "![The way of one start by each method, and all distances](toy-game.png)\n"
    )
    write_report(out, record, page)
