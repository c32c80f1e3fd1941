"""The trainings that rows of a table want, done one after the other until a time is over."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass

from igan_zoo.counts import counted
from igan_zoo.errors import OutOfTimeError, TrainingError
from igan_zoo.images.labeled import LabeledImages
from igan_zoo.reproduction.evidence import Evidence, matching, with_subset
from igan_zoo.reproduction.published import Row, Table
from igan_zoo.reproduction.request import Request
from igan_zoo.training.data.training_set import load_for_recipe
from igan_zoo.training.loop import Options
from igan_zoo.training.recipes.catalogue import find_recipe
from igan_zoo.training.recipes.settings import Recipe, customize
from igan_zoo.training.runs.directory import Run, train_command
from igan_zoo.training.start import start_training

# A kill costs at most so many seconds.
_CHECKPOINT_SECONDS = 60.0

# Why trainings that rows want are not there, by the trainings' names.
Missing = dict[str, str]


@dataclass(frozen=True)
class Wanted:
    """One training that a row wants: a seed, and the seed of its labelled subset."""

    row: Row
    seed: int
    subset: int

    @property
    def name(self) -> str:
        """Its folder below ``runs``."""
        return f"{self.row.name}/seed{self.seed}"

    def recipe(self, *, full: bool) -> Recipe:
        """Returns the paper's recipe for it with ``full``, else the row's shortest."""
        variant = self.row.variants[0 if full else -1]
        settings = [*variant.settings, f"labels={self.row.labels}", f"seed={self.seed}"]
        settings += [f"data_seed={self.subset}"] if self.subset != self.seed else []
        return customize(find_recipe(variant.recipe), settings)


def wanted_trainings(table: Table, rows: Sequence[Row], seeds: int) -> list[Wanted]:
    """Returns the trainings that rows want, the most valuable first; every row's first seed before any second one.

    A single model of seed s has the labelled subset of seed s. The members of an ensemble share that of seed 1, and the
    first of them is the single model of seed 1.
    """
    ordered = table.by_value(row for row in rows if row.labels is not None)
    singles = {row.labels: row for row in table.rows if not row.ensemble}
    wanted = []
    for seed in range(1, seeds + 1):
        for row in ordered:
            if not row.ensemble:
                wanted.append(Wanted(row, seed, seed))
            elif seeds > 1:
                wanted.append(Wanted(row if seed > 1 else singles[row.labels], seed, 1))
    return list({one.name: one for one in wanted}.values())


def trainings_to_do(request: Request, evidence: Sequence[Evidence]) -> list[Wanted]:
    """Returns, in order, the trainings of a request that nothing finished stands for yet.

    For the whole protocol only the paper's own recipe does, else every finished training of the same row and seeds.
    """
    if request.budget is None:
        return []
    wanted = wanted_trainings(request.table, request.rows, request.seed_count)
    return [one for one in wanted if not _is_there(one, evidence, full=request.is_full)]


def command_of(one: Wanted, request: Request) -> str:
    """Returns the command that does one training of a request where the request itself would do it."""
    command = train_command(one.recipe(full=request.is_full), request.data, threads=request.threads)
    return f"{command} --out {shlex.quote(str(request.own_runs / one.name))} --resume"


def _is_there(one: Wanted, evidence: Sequence[Evidence], *, full: bool) -> bool:
    return any(
        (other.recipe.seed, other.recipe.data_seed) == (one.seed, one.subset)
        and (not full or other.recipe == with_subset(one.recipe(full=True)))
        for other in matching(one.row, evidence)
    )


def train_in_order(request: Request, to_do: Sequence[Wanted]) -> Missing:
    """Trains, each resumed where it was, until the budget is used up; returns why others are still missing.

    The budget counts what earlier calls have trained. A training that diverges is left as it is; the others go on.

    Raises:
        DataError, ImageError, MissingExtraError: the data is missing.
    """
    missing: Missing = {}
    if not to_do:
        return missing
    data: LabeledImages | None = None
    spent = sum(Run(file.parent).seconds() for file in request.own_runs.rglob("recipe.json"))
    left = None if request.seconds is None else request.seconds - spent
    deadline: float | None = None
    for one in to_do:
        run, recipe = Run(request.own_runs / one.name), one.recipe(full=request.is_full)
        if (left is not None and left <= 0) or (deadline is not None and time.monotonic() > deadline):
            missing[one.name] = _out_of_time(one, run, recipe, request)
            continue
        if data is None:
            data = load_for_recipe(recipe, request.data, "train")
            deadline = None if left is None else time.monotonic() + left
        request.say(f"{one.name}: {recipe.name}, {counted(recipe.epochs, 'epoch')}")
        options = Options(checkpoint_seconds=_CHECKPOINT_SECONDS, deadline=deadline)
        try:
            start_training(
                recipe, request.data, run.path, resume=True, threads=request.threads, options=options, loaded=data
            )
        except OutOfTimeError:
            missing[one.name] = _out_of_time(one, run, recipe, request)
        except TrainingError as error:
            missing[one.name] = str(error)
    return missing


def _out_of_time(one: Wanted, run: Run, recipe: Recipe, request: Request) -> str:
    """Returns how far a training has come."""
    goes_on = "the same command with a larger --budget continues"
    if not run.recipe_file.exists():
        return f"{request.budget_text} were over before it; {goes_on}"
    log = run.log()
    error = log[-1].get("validation_error") if log else None
    validation = "" if error is None else f", validation error {error:.2%}"
    minutes = run.seconds() / 60
    epochs = f"{len(log)} of {counted(recipe.epochs, 'epoch')}"
    return f"{one.name} is at {epochs} after {minutes:.2g} min{validation}; {goes_on}"


def reason_for(row: Row, request: Request, missing: Missing) -> str:
    """Returns why nothing stands in a row's cell."""
    wanted = wanted_trainings(request.table, (row,), request.seed_count)
    if reasons := dict.fromkeys(missing[one.name].rstrip(".") for one in wanted if one.name in missing):
        return "; ".join(reasons)
    if row.ensemble and request.budget is not None and request.seed_count < 2:
        return "an ensemble takes at least two models with the same labeled images: --seeds 2 or more"
    if request.budget is None:
        return "nothing was trained for it: give --budget MINUTES or full, or existing work with --runs or --models"
    return "nothing was trained for it"
