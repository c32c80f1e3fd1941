"""Which trainings a table wants, and which recipe and how many epochs of it fit a number of minutes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from igan_zoo.errors import SpecificationError, TrainingError
from igan_zoo.machine.files import atomic_file
from igan_zoo.reproduction.evidence import Evidence, matching, with_subset
from igan_zoo.reproduction.published import Row, Table, Variant
from igan_zoo.training.recipes import find_recipe
from igan_zoo.training.settings import Recipe, customize

# What validation, checkpoints and other work on the machine add to the steps.
_MARGIN = 1.2

# Returns the seconds of one step of a recipe on this machine.
Pace = Callable[[Recipe], float]


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

    def recipe(self, variant: Variant, epochs: int | None = None) -> Recipe:
        """Returns the recipe of a variant for it."""
        settings = [*variant.settings, f"labels={self.row.labels}", f"seed={self.seed}"]
        settings += [f"data_seed={self.subset}"] if self.subset != self.seed else []
        settings += [f"epochs={epochs}"] if epochs is not None else []
        return customize(find_recipe(variant.recipe), settings)


class Job(Struct, frozen=True):
    """A training that was decided on: its folder below ``runs``, and its recipe."""

    name: str
    recipe: Recipe


class Plan(Struct):
    """What was decided so far, in the order in which it is to be trained; it survives in ``plan.json``."""

    jobs: list[Job] = []


@dataclass(frozen=True)
class Misfit:
    """A training that found no place in the budget, and why."""

    wanted: Wanted
    reason: str


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


def without_satisfied(wanted: Iterable[Wanted], evidence: Sequence[Evidence], *, full: bool) -> list[Wanted]:
    """Returns the trainings that nothing finished stands for yet.

    With ``full`` only the paper's own protocol does, else every finished training of the same row and seeds.
    """
    return [
        one
        for one in wanted
        if not any(
            (other.recipe.seed, other.recipe.data_seed) == (one.seed, one.subset)
            and (not full or other.recipe == with_subset(one.recipe(one.row.variants[0])))
            for other in matching(one.row, evidence)
        )
    ]


@dataclass(frozen=True)
class Estimate:
    """The seconds that an epoch of a recipe is likely to take here; ``early_seconds`` before its generator joins."""

    recipe: Recipe
    epoch_seconds: float
    early_seconds: float

    @property
    def seconds(self) -> float:
        """Of the whole recipe."""
        return self.seconds_after(0)

    def seconds_after(self, done: int) -> float:
        """Returns what is left after ``done`` epochs."""
        left = range(done, self.recipe.epochs)
        early = sum(not self.recipe.generator_plays_at(epoch) for epoch in left)
        return early * self.early_seconds + (len(left) - early) * self.epoch_seconds


class Estimator:
    """Estimates by measuring the first steps of each kind of training once."""

    def __init__(self, pace: Pace, images: int) -> None:
        self._pace, self._images = pace, images
        self._measured: dict[Recipe, float] = {}

    def __call__(self, recipe: Recipe) -> Estimate:
        """Returns the estimate of one recipe."""
        steps = max(min(self._images, recipe.epoch_images or self._images) // recipe.batch_size, 1)
        whole = self._step_seconds(replace(recipe, generator_from=0))
        early = self._step_seconds(replace(recipe, generator_from=1)) if recipe.generator_from else whole
        return Estimate(recipe, whole * steps * _MARGIN, early * steps * _MARGIN)

    def _step_seconds(self, recipe: Recipe) -> float:
        """Returns what one of the first steps takes."""
        # Batches are full however few labels there are, so their number changes no step, unless there are none.
        labels = recipe.labels if recipe.labels == "0" else "all"
        alike = replace(recipe, seed=1, data_seed=None, epochs=1, sigmoid_from=None, labels=labels, name="")
        if alike not in self._measured:
            self._measured[alike] = self._pace(recipe)
        return self._measured[alike]


def decide_full(wanted: Iterable[Wanted]) -> list[Job]:
    """Returns the trainings by the paper's own protocol, whatever they take."""
    return [Job(one.name, one.recipe(one.row.variants[0])) for one in wanted]


def decide_within(
    wanted: Sequence[Wanted], seconds: float, estimate: Estimator, *, asked: str
) -> tuple[list[Job], list[Misfit]]:
    """Returns trainings that fit into ``seconds``, which they share equally, and those that found no place.

    Each takes the first of its row's variants that fits whole, else the last one cut to as many epochs as fit. Where
    the shares hold not even one epoch, the least valuable trainings give theirs to the others.

    Raises:
        TrainingError: no training at all fits; ``asked`` is the budget in the words of whoever gave it.
    """
    shortest = [estimate(one.recipe(one.row.variants[-1])) for one in wanted]
    kept = len(wanted)
    while kept and any(seconds / kept < least.epoch_seconds for least in shortest[:kept]):
        kept -= 1
    if wanted and not kept:
        first = shortest[0]
        raise TrainingError(
            f"A budget of {asked} is too small: one epoch of {first.recipe.name} takes about "
            f"{first.epoch_seconds:.0f} s here; give --budget {minutes_for(first.epoch_seconds)} or more."
        )
    jobs = [Job(one.name, _fitting(one, seconds / kept, estimate)) for one in wanted[:kept]]
    misfits = [
        Misfit(
            one,
            f"{asked} left no time for it: one epoch of {least.recipe.name} takes about {least.epoch_seconds:.0f} s "
            f"here, and more valuable rows come first; --budget "
            f"{minutes_for(max(other.epoch_seconds for other in shortest[: index + 1]) * (index + 1))} would",
        )
        for index, (one, least) in enumerate(zip(wanted, shortest, strict=True))
        if index >= kept
    ]
    return jobs, misfits


def minutes_for(seconds: float) -> str:
    """Returns a number of minutes, rounded up to something that one would type."""
    minutes = seconds / 60
    return f"{-(-minutes // 1):.0f}" if minutes >= 1 else f"{-(-minutes * 100 // 1) / 100:g}"


def _fitting(one: Wanted, share: float, estimate: Estimator) -> Recipe:
    for variant in one.row.variants:
        recipe = one.recipe(variant)
        if estimate(recipe).seconds <= share:
            return recipe
    last = one.row.variants[-1]
    recipe = one.recipe(last)
    epochs = max(int(share / estimate(recipe).epoch_seconds), 1)
    return one.recipe(last, min(epochs, recipe.epochs))


def read_plan(path: Path) -> Plan:
    """Reads a plan; an empty one where there is none.

    Raises:
        SpecificationError: the file is not a plan of this version.
    """
    if not path.is_file():
        return Plan()
    try:
        return msgspec.json.decode(path.read_bytes(), type=Plan)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SpecificationError(f"{path} is no plan of igan-zoo reproduce: {error}; choose another --out.") from error


def write_plan(path: Path, plan: Plan) -> None:
    """Writes a plan."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(plan), indent=2) + b"\n")
