"""What there is to report: finished runs and model directories, and the rows of a table that each belongs to."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import msgspec
from msgspec.structs import replace

from igan_zoo.counts import counted
from igan_zoo.errors import DataError, IganZooError, SpecificationError
from igan_zoo.machine.files import sha256_of
from igan_zoo.models.directory import ModelDirectory
from igan_zoo.models.spec import CONFIG, WEIGHTS
from igan_zoo.reproduction.published import Row
from igan_zoo.training.recipes.catalogue import find_recipe
from igan_zoo.training.recipes.settings import Recipe
from igan_zoo.training.runs.directory import Run
from igan_zoo.training.weights import saved_facts


@dataclass(frozen=True)
class Evidence:
    """A finished training: a run directory, or a model that was made from one. An ensemble has several ``members``.

    ``recipe`` has its labelled subset's seed resolved. ``validation_error`` is that of the last epoch, on training
    images; ``seconds`` is wall time. ``run`` is where the log is, if it is there: a model's may be found beside it.
    Only a run knows its ``training_images``.
    """

    path: Path
    recipe: Recipe
    labelled: int
    seconds: float
    command: str
    members: int = 1
    validation_error: float | None = None
    is_model: bool = False
    run: Path | None = None
    training_images: int | None = None

    @property
    def protocol(self) -> Recipe:
        """The recipe without its seeds: what all runs of one experiment share."""
        return replace(self.recipe, seed=0, data_seed=0)

    @property
    def weights(self) -> Path:
        """The file that its answers come from."""
        return self.path / "onnx" / "classifier.onnx" if self.is_model else Run(self.path).checkpoint

    @cached_property
    def weights_sum(self) -> str:
        """The sha256 of that file."""
        return sha256_of(self.weights)


@dataclass
class Found:
    """Finished trainings, and a sentence for everything that looked like one and is none."""

    evidence: list[Evidence] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def add(self, other: Found) -> None:
        """Takes in what else was found. A training that is here already stays, and learns where its log is."""
        for one in other.evidence:
            place = self._place(one)
            if place is None:
                self.evidence.append(one)
            elif self.evidence[place].run is None and one.run is not None:
                known = dataclasses.replace(
                    self.evidence[place],
                    run=one.run,
                    validation_error=one.validation_error,
                    training_images=one.training_images,
                )
                self.evidence[place] = known
            elif one.run is not None and one.run != self.evidence[place].run:
                first = self.evidence[place].path
                self.left_out.append(
                    f"{one.path} is the same training as {first}, of the same seed, which counts once."
                )
        self.left_out += other.left_out

    def _place(self, one: Evidence) -> int | None:
        for place, here in enumerate(self.evidence):
            if (here.recipe, here.members) == (one.recipe, one.members):
                return place
        return None


def find_runs(folders: Iterable[Path]) -> Found:
    """Returns the finished runs in and below ``folders``.

    Raises:
        DataError: a folder is not there, or holds no run.
    """
    found = Found()
    for folder in folders:
        files = _below(folder, "recipe.json")
        if not files:
            raise DataError(f"There is no run in {folder}: no recipe.json; give the --out of igan-zoo train.")
        for file in files:
            try:
                _add_run(found, Run(file.parent))
            except IganZooError as error:
                found.left_out.append(str(error))
    return found


def _add_run(found: Found, run: Run) -> None:
    facts, log = run.facts(), run.log()
    if not run.is_finished():
        last = f", validation error {error:.2%}" if log and (error := log[-1].get("validation_error")) else ""
        found.left_out.append(
            f"{run.path} is not finished: {len(log)} of {counted(facts.recipe.epochs, 'epoch')}{last}."
        )
        return
    evidence = Evidence(
        path=run.path,
        recipe=with_subset(facts.recipe),
        labelled=facts.labelled_images,
        seconds=run.seconds(),
        command=facts.command(),
        validation_error=log[-1].get("validation_error"),
        run=run.path,
        training_images=facts.training_images,
    )
    found.add(Found([evidence]))


def find_models(folders: Iterable[Path]) -> Found:
    """Returns the model directories in and below ``folders``.

    Raises:
        DataError: a folder is not there, or holds no model.
    """
    found = Found()
    for folder in folders:
        files = _below(folder, CONFIG)
        if not files:
            raise DataError(f"There is no model in {folder}: no {CONFIG}; give the --out of igan-zoo export.")
        for file in files:
            try:
                found.add(Found([model_evidence(ModelDirectory.open(file.parent))]))
            except IganZooError as error:
                found.left_out.append(f"{file.parent} is left out: {error}")
    return found


def _below(folder: Path, name: str) -> list[Path]:
    # `rglob` follows no links, and what lies in a folder may be one.
    return sorted({*folder.rglob(name), *folder.glob(f"*/{name}")})


def model_evidence(directory: ModelDirectory) -> Evidence:
    """Returns the training that a model says it comes from.

    Raises:
        SpecificationError, UnknownNameError: its recipe has a name or settings that this version has not.
        ModelDirectoryError: an older directory, whose weights are not here to say what it is.
    """
    training, members = directory.spec.training, directory.spec.training.members
    if training.settings is None:
        directory.read(WEIGHTS)  # its sum is checked before it is opened
        saved = saved_facts(directory.path / WEIGHTS)
        recipe, members = saved.recipe, saved.discriminators
    else:
        try:
            recipe = msgspec.convert(training.settings, Recipe)
        except msgspec.ValidationError as error:
            raise SpecificationError(f"{directory.path / CONFIG} has another kind of recipe: {error}.") from error
    return Evidence(
        path=directory.path,
        recipe=with_subset(replace(recipe, name=find_recipe(recipe.name).name)),
        labelled=training.labels,
        seconds=training.seconds,
        command=training.command,
        members=members,
        is_model=True,
    )


def with_subset(recipe: Recipe) -> Recipe:
    """Returns the recipe with the seed of its labelled subset written out."""
    return replace(recipe, data_seed=recipe.subset_seed)


def matching(row: Row, evidence: Iterable[Evidence]) -> list[Evidence]:
    """Returns what belongs to a row: its recipes or named departures of them, with its number of labels.

    A training of the labels alone, without a generator, is another method and belongs to none; nor do labels that a
    file chose.
    """
    return [
        found
        for found in evidence
        if found.recipe.name in row.recipes
        and found.labelled == row.labels
        and found.recipe.generator
        and (found.recipe.labels != "all" or row.labels == 0)
    ]


def seeds_of(evidence: Sequence[Evidence]) -> tuple[int, ...]:
    """Returns the seeds of trainings, in order."""
    return tuple(sorted(found.recipe.seed for found in evidence))
