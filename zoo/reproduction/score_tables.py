"""The scores of Table 3: of the generators behind its rows, of all others that were given, and of real data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from igan_zoo.errors import IganZooError
from igan_zoo.models.directory import ModelDirectory
from igan_zoo.reproduction.evidence import Evidence, matching
from igan_zoo.reproduction.request import Request
from igan_zoo.reproduction.scores import (
    Judge,
    Score,
    as_model,
    given_judge,
    score_generator,
    score_real,
    zoo_judges,
)

NO_INCEPTION = (
    "the Inception score is of the network of 2015, whose weights are not part of this zoo: give them with --inception "
    "FILE (the published state dict, TensorFlow's graph, or what igan-zoo export inception made of one)"
)


@dataclass
class Scores:
    """All ``scores``, those by Inception by the training's folder, and that of real data."""

    scores: list[Score] = field(default_factory=list)
    inception: dict[str, Score] = field(default_factory=dict)
    real: Score | None = None
    no_inception: str | None = None
    left_out: list[str] = field(default_factory=list)

    def scored(self, evidence: Sequence[Evidence]) -> list[Evidence]:
        """Returns the trainings whose generator has an Inception score."""
        return [one for one in evidence if str(one.path) in self.inception]

    def measure(self, found: Sequence[Evidence]) -> tuple[float, float | None]:
        """Returns the Inception score of a training and its deviation over splits."""
        score = self.inception[str(found[0].path)]
        return score.value, score.deviation


def make_scores(request: Request, evidence: Sequence[Evidence]) -> Scores:
    """Scores the generators behind the rows of a request and those of all models that were given.

    Raises:
        ScoringError: so few images allow no score.
    """
    found = Scores()
    subjects = _subjects(request, evidence, found)
    judges = _judges(request, [directory for _, directory in subjects])
    if request.inception is None:
        found.no_inception = NO_INCEPTION
    for one, directory in subjects:
        for judge in judges:
            if judge.dataset != directory.spec.dataset.id:
                continue
            request.say(f"{directory.spec.name}: {request.images:,} images for {judge.network.name}")
            score = score_generator(directory, judge, images=request.images, threads=request.threads)
            found.scores.append(score)
            if judge.is_inception:
                found.inception[str(one.path)] = score
    if any(row.labels is None for row in request.rows):
        _score_real(request, judges, found)
    _say_what_nobody_scored(subjects, judges, found)
    return found


def _subjects(request: Request, evidence: Sequence[Evidence], found: Scores) -> list[tuple[Evidence, ModelDirectory]]:
    """Returns the generators to score: of the rows' trainings, exported where they are runs, and of all models."""
    rows = [row for row in request.rows if row.labels is not None]
    behind = {str(one.path) for row in rows for one in matching(row, evidence)}
    subjects = []
    for one in evidence:
        if not one.recipe.generator or one.members > 1 or not (one.is_model or str(one.path) in behind):
            continue
        try:
            directory = as_model(one, request.out / "models")
        except IganZooError as error:
            found.left_out.append(f"{one.path} is left out: {error}")
            continue
        if directory.spec.latent is not None:
            subjects.append((one, directory))
    return subjects


def _judges(request: Request, directories: Sequence[ModelDirectory]) -> list[Judge]:
    judges = []
    if request.inception is not None:
        judges.append(Judge(request.inception, request.table.dataset))
    if request.scorers:
        return judges + [given_judge(name, request.table.dataset, request.threads) for name in request.scorers]
    datasets = [request.table.dataset, *(directory.spec.dataset.id for directory in directories)]
    return judges + zoo_judges(datasets, directories, request.threads)


def _score_real(request: Request, judges: Sequence[Judge], found: Scores) -> None:
    for judge in judges:
        if judge.dataset != request.table.dataset:
            continue
        try:
            score = score_real(request.data, judge, images=request.images, threads=request.threads)
        except IganZooError as error:
            found.left_out.append(f"Real images have no score by {judge.network.name}: {error}")
            continue
        found.scores.append(score)
        if judge.is_inception:
            found.real = score


def _say_what_nobody_scored(
    subjects: Sequence[tuple[Evidence, ModelDirectory]], judges: Sequence[Judge], found: Scores
) -> None:
    judged = {judge.dataset for judge in judges}
    for _, directory in subjects:
        dataset = directory.spec.dataset.id
        if dataset not in judged:
            found.left_out.append(
                f"{directory.path} has no score: no classifier of {dataset} was found; --scorer names one."
            )
