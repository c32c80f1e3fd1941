"""A table's cells: what finished trainings amount to beside the paper's number, and what they fall short of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from msgspec import Struct

from igan_zoo.counts import counted
from igan_zoo.paper import SEEDS
from igan_zoo.reproduction.evidence import Evidence, matching, seeds_of
from igan_zoo.reproduction.published import Row
from igan_zoo.reproduction.scores import Score
from igan_zoo.training.recipes.catalogue import find_recipe
from igan_zoo.training.recipes.departures import departures
from igan_zoo.training.recipes.settings import Recipe

# Returns the table's number of one training, or of several as an ensemble, and the number's own deviation; None of what
# is only looked at, and where there is none.
Measure = Callable[[Sequence[Evidence]], tuple[float | None, float | None]]


class Measured(Struct, frozen=True):
    """One number: of a single model, or of an ensemble of ``members``, with its own deviation, if it has one."""

    value: float | None
    deviation: float | None
    seeds: tuple[int, ...]
    subset: int
    members: int
    paths: tuple[str, ...]


class Group(Struct, frozen=True):
    """The numbers of all trainings of one protocol: a recipe with its settings, whatever the seed.

    ``deviation`` is the sample's standard deviation (divisor n - 1). ``departures`` are the settings that differ from
    the paper's protocol, whose own value is in brackets. ``training_images`` is the fewest that a run is known to have
    had.
    """

    recipe: str
    departures: tuple[str, ...]
    epochs: int
    measured: tuple[Measured, ...]
    validation_error: float | None
    training_images: int | None

    @property
    def values(self) -> tuple[float, ...]:
        """The numbers."""
        return tuple(one.value for one in self.measured if one.value is not None)

    @property
    def mean(self) -> float | None:
        """Of the numbers."""
        return mean(self.values) if self.values else None

    @property
    def deviation(self) -> float | None:
        """Of several numbers; of one, its own."""
        return stdev(self.values) if len(self.values) > 1 else self.measured[0].deviation


class Cell(Struct, frozen=True):
    """One number of the paper and what stands beside it: the first of ``groups``, or the reason why there is none.

    The groups come in an order that no test image has a say in: the paper's protocol, then by the number of seeds, then
    by the error on validation images, then as the table names its recipes. ``shortfalls`` say what the first one lacks
    of the protocol.
    """

    row: str
    title: str
    labels: int | None
    ensemble: bool
    paper: dict[str, Any] | None
    groups: tuple[Group, ...] = ()
    shortfalls: tuple[str, ...] = ()
    empty_because: str | None = None


def make_cell(row: Row, evidence: Sequence[Evidence], measure: Measure, *, reason: str) -> Cell:
    """Returns the cell of a row; ``reason`` is why it is empty if nothing was trained for it."""
    collect = _ensembles if row.ensemble else _singles
    groups = [
        _group(row, recipe, found, measured)
        for recipe, found in _by_protocol(matching(row, evidence)).items()
        if (measured := collect(found, measure))
    ]
    groups.sort(key=lambda group: _order(group, row))
    return Cell(
        row=row.name,
        title=row.title,
        labels=row.labels,
        ensemble=row.ensemble,
        paper=paper_number(row),
        groups=tuple(groups),
        shortfalls=shortfalls(row, groups[0]) if groups else (),
        empty_because=None if groups else reason,
    )


def real_cell(row: Row, score: Score | None, *, path: str, reason: str) -> Cell:
    """Returns the cell of real images, which nothing was trained for; without a score, for that ``reason``."""
    groups: tuple[Group, ...] = ()
    if score is not None:
        groups = (Group("", (), 0, (Measured(score.value, score.deviation, (), 0, 1, (path,)),), None, None),)
    return Cell(
        row=row.name,
        title=row.title,
        labels=None,
        ensemble=False,
        paper=paper_number(row),
        groups=groups,
        empty_because=None if groups else reason,
    )


def paper_number(row: Row) -> dict[str, Any] | None:
    """Returns the paper's number as a report has it."""
    number = row.published
    return None if number is None else {"value": number.value, "deviation": number.deviation, "runs": number.runs}


def _by_protocol(evidence: Iterable[Evidence]) -> dict[Recipe, list[Evidence]]:
    groups: dict[Recipe, list[Evidence]] = {}
    for one in evidence:
        groups.setdefault(one.protocol, []).append(one)
    return groups


def _singles(found: Sequence[Evidence], measure: Measure) -> tuple[Measured, ...]:
    """Single models: one of each labelled subset where there are such, else all of the one subset."""
    single = [one for one in found if one.members == 1]
    own = [one for one in single if one.recipe.seed == one.recipe.data_seed] or single
    return tuple(_measured([one], 1, measure) for one in sorted(own, key=lambda one: one.recipe.seed))


def _ensembles(found: Sequence[Evidence], measure: Measure) -> tuple[Measured, ...]:
    """Ensembles: the runs that share a labelled subset, or a model that is one; of two of a subset, the larger."""
    by_subset: dict[int, list[list[Evidence]]] = {}
    for one in found:
        if one.members > 1:
            by_subset.setdefault(one.recipe.subset_seed, []).append([one])
    for subset in {one.recipe.subset_seed for one in found}:
        members = [one for one in found if one.members == 1 and one.recipe.subset_seed == subset]
        if len(members) > 1:
            by_subset.setdefault(subset, []).append(members)
    largest = {
        subset: max(ensembles, key=lambda ensemble: sum(one.members for one in ensemble))
        for subset, ensembles in by_subset.items()
    }
    return tuple(
        _measured(ensemble, sum(one.members for one in ensemble), measure) for _, ensemble in sorted(largest.items())
    )


def _measured(found: Sequence[Evidence], members: int, measure: Measure) -> Measured:
    paths = tuple(str(one.path) for one in found)
    value, deviation = measure(found)
    return Measured(value, deviation, seeds_of(found), found[0].recipe.subset_seed, members, paths)


def _group(row: Row, recipe: Recipe, found: Sequence[Evidence], measured: tuple[Measured, ...]) -> Group:
    errors = [one.validation_error for one in found if one.validation_error is not None]
    return Group(
        recipe=recipe.name,
        departures=departures(recipe, find_recipe(row.variants[0].recipe)),
        epochs=recipe.epochs,
        measured=measured,
        validation_error=mean(errors) if errors else None,
        training_images=min((one.training_images for one in found if one.training_images), default=None),
    )


def _order(group: Group, row: Row) -> tuple[Any, ...]:
    full = group.recipe == row.variants[0].recipe and not group.departures
    error = group.validation_error
    place = row.recipes.index(group.recipe)
    return (not full, -len(group.measured), error is None, error or 0.0, place, group.departures)


def shortfalls(row: Row, group: Group) -> tuple[str, ...]:
    """Returns what a group lacks of the paper's protocol; nothing if it is all there."""
    full = find_recipe(row.variants[0].recipe)
    found = []
    if group.epochs != full.epochs:
        found.append(f"{group.epochs} of {counted(full.epochs, 'epoch')}")
    others = [one for one in group.departures if not one.startswith("epochs=")]
    if group.recipe != full.name or others:
        found.append(f"the recipe {group.recipe}" + (f" with {', '.join(others)}" if others else ""))
    if group.training_images not in (None, row.training_images):
        found.append(f"{group.training_images:,} training images and not {row.training_images:,}")
    wanted = row.published.runs if row.published is not None else 1
    if row.ensemble:
        members = min(one.members for one in group.measured)
        if members < SEEDS:
            found.append(f"ensembles of {members} models instead of {SEEDS}")
        if len(group.measured) < wanted:
            found.append(f"{_count(len(group.measured), 'ensemble')} and not of {wanted} labeled subsets")
    elif len(group.measured) < wanted:
        found.append(f"{_count(len(group.measured), 'seed')} of {wanted}")
    subsets = {one.subset for one in group.measured}
    if not row.ensemble and len(group.measured) > 1 and len(subsets) == 1:
        found.append("all on the same labeled images")
    return tuple(found)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def mixed_ensembles(row: Row, evidence: Sequence[Evidence], measure: Measure) -> Mapping[str, Measured]:
    """Returns, by recipe, ensembles of runs that have different labelled images: not what the paper's row is.

    Together their members saw more labels than the row names, so they stand in no cell.
    """
    found: dict[str, Measured] = {}
    own = [one for one in matching(row, evidence) if one.members == 1 and one.recipe.seed == one.recipe.data_seed]
    for recipe, members in _by_protocol(own).items():
        if len(members) > 1:
            settings = departures(recipe, find_recipe(recipe.name))
            name = recipe.name + (f" with {', '.join(settings)}" if settings else "")
            found[name] = _measured(members, len(members), measure)
    return found
