"""Whether a run may go on with the settings that are asked for: the same ones, or more epochs of the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from igan_zoo.counts import counted
from igan_zoo.errors import TrainingError
from igan_zoo.training.recipes.settings import Recipe
from igan_zoo.training.runs.directory import Run


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Returns a list of what differs, such as ``epochs is 20 there and 40 here``; empty where nothing does."""
    return ", ".join(
        f"{name} is {_shown(before.get(name))} there and {_shown(now.get(name))} here"
        for name in {**before, **now}
        if before.get(name) != now.get(name)
    )


def check_recipe(run: Run, before: Recipe, now: Recipe) -> None:
    """Refuses to go on with another recipe than the run was made from; a number of epochs may be another one.

    That may be if no epoch that the run has behind it would have been another: its learning rate depends on their
    number from ``decay_from`` on.

    Raises:
        TrainingError: a setting differs; the message names it.
    """
    if msgspec.structs.replace(before, epochs=now.epochs) != now:
        both = (msgspec.structs.asdict(before), msgspec.structs.asdict(now))
        raise TrainingError(
            f"{run.path} was made from other settings ({differences(*both)}); give the same, or choose another --out."
        )
    done = run.epochs_done()
    if now.epochs < done:
        raise TrainingError(
            f"{run.path} has {counted(done, 'epoch')} done already, more than {now.epochs}; choose another --out."
        )
    changed = next((at for at in range(done) if before.learning_rate_at(at) != now.learning_rate_at(at)), None)
    if changed is not None:
        raise TrainingError(
            f"{run.path} cannot have {counted(now.epochs, 'epoch')}: its learning rate falls toward the end of "
            f"{before.epochs} (decay_from={before.decay_from:g}), and has since epoch {changed + 1}; train again in "
            "another --out."
        )


def _shown(value: object) -> str:
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
