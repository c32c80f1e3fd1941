"""The scores of Table 3: of the generators behind its rows, of all others that were given, and of real data.

The Inception score takes the network of 2015; scores by the zoo's own classifiers stand beside it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from msgspec import Struct

from igan_zoo.counts import counted
from igan_zoo.errors import IganZooError, ScoringError
from igan_zoo.export.exporter import export_run
from igan_zoo.images.sources import open_source
from igan_zoo.images.stored import ImageSource
from igan_zoo.models import store
from igan_zoo.models.directory import ModelDirectory
from igan_zoo.models.spec import graph_file
from igan_zoo.reproduction.evidence import Evidence, matching
from igan_zoo.reproduction.request import Request
from igan_zoo.serving.model_source import open_model
from igan_zoo.serving.scoring import plan as plans
from igan_zoo.serving.scoring.gathering import Manner
from igan_zoo.serving.scoring.network import Network, open_network
from igan_zoo.serving.scoring.protocols import INCEPTION

# The classifier of the zoo that scores generators of a data set.
SCORERS = {"ylecun/mnist": "mnist-ssl", "uoft-cs/cifar10": "cifar10-ssl"}

# What `export inception` calls the network of TensorFlow's file of 2015, of which no published sum is known.
_TENSORFLOW = "inception-tensorflow-"

NO_INCEPTION = (
    "the Inception score needs the network of 2015, whose weights are not part of this zoo: pass them with --inception "
    "FILE (the published state dict, TensorFlow's graph, or the output of igan-zoo export inception)"
)


class Score(Struct, frozen=True):
    """The score of a set of images by one network: mean and deviation over ten splits, as the paper's.

    ``metric`` is what to call it; ``own_classifier`` is whether the network was trained together with the generator.
    """

    subject: str
    path: str
    dataset: str
    metric: str
    scorer: str
    scorer_sha256: str
    value: float
    deviation: float | None
    unsplit: float
    images: int
    own_classifier: bool = False


@dataclass
class Scores:
    """All ``scores``, those by Inception by the training's folder, and that of real data."""

    scores: list[Score] = field(default_factory=list)
    inception: dict[str, Score] = field(default_factory=dict)
    real: Score | None = None
    left_out: list[str] = field(default_factory=list)

    def measure(self, found: Sequence[Evidence]) -> tuple[float, float | None]:
        """Returns the Inception score of a training and its deviation over splits."""
        score = self.inception[str(found[0].path)]
        return score.value, score.deviation


@dataclass(frozen=True)
class _Judge:
    """A network that scores, for the generators of one data set."""

    network: Network
    dataset: str


def is_inception(name: str) -> bool:
    """Whether a scorer of this name is the network of 2015: its published state dict, or TensorFlow's own file."""
    return name == INCEPTION or name.startswith(_TENSORFLOW)


def check_inception(network: Network) -> None:
    """Refuses another network in the column of the Inception score.

    Raises:
        ScoringError: it is another one.
    """
    if not is_inception(network.name):
        raise ScoringError(
            f"{network.name} is not {INCEPTION}, so its numbers are not Inception scores; give it with --scorer."
        )


def score_generators(request: Request, evidence: Sequence[Evidence]) -> Scores:
    """Scores the generators behind the rows of a request and those of all models that were given.

    Raises:
        ScoringError: so few images allow no score.
    """
    found = Scores()
    subjects = _subjects(request, evidence, found)
    judges = _judges(request, [directory for _, directory in subjects])
    for one, directory in subjects:
        dataset = directory.spec.dataset.id
        for judge in (judge for judge in judges if judge.dataset == dataset):
            request.say(f"{directory.spec.name}: {counted(request.images, 'image')} for {judge.network.name}")
            score = _score_generator(directory, judge, request)
            found.scores.append(score)
            if is_inception(judge.network.name):
                found.inception[str(one.path)] = score
        if all(judge.dataset != dataset for judge in judges):
            found.left_out.append(
                f"{directory.path} has no score: no classifier of {dataset} was found; --scorer names one."
            )
    if any(row.labels is None for row in request.rows):
        _score_real(request, judges, found)
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
            directory = _as_model(one, request.out / "models")
        except IganZooError as error:
            found.left_out.append(f"{one.path} is left out: {error}")
            continue
        if directory.spec.latent is not None:
            subjects.append((one, directory))
    return subjects


def _as_model(one: Evidence, folder: Path) -> ModelDirectory:
    """Returns the model directory of a training; a run is exported to one in ``folder``, once."""
    path = one.path
    if not one.is_model:
        path = folder / f"{one.recipe.name}-seed{one.recipe.seed}-{one.weights_sum[:8]}"
    if one.is_model or path.exists():
        return ModelDirectory.open(path)
    return export_run(one.path, path, test=None, name=one.recipe.name)


def _judges(request: Request, directories: Sequence[ModelDirectory]) -> list[_Judge]:
    """Returns who scores: Inception where it was given, and the named scorers or the zoo's classifiers.

    A classifier is for its own data set, a scorer's file for the table's; models that were given come before others.
    """
    dataset, threads = request.table.dataset, request.threads
    judges = [_Judge(request.inception, dataset)] if request.inception is not None else []
    for reference in request.scorers:
        directory = store.resolve(reference).directory
        judges.append(
            _Judge(open_network(reference, threads=threads), directory.spec.dataset.id if directory else dataset)
        )
    if request.scorers:
        return judges
    given = {directory.spec.name: str(directory.path) for directory in directories if directory.spec.classes}
    for other in dict.fromkeys([dataset, *(directory.spec.dataset.id for directory in directories)]):
        name = SCORERS.get(other)
        if name is not None and (name in given or any(place.find(name) for place in store.local_stores())):
            judges.append(_Judge(open_network(given.get(name, name), threads=threads), other))
    return judges


def _score_generator(directory: ModelDirectory, judge: _Judge, request: Request) -> Score:
    """Returns the score of the first images of seed 0 of a model."""
    model = store.Model(directory.spec.name, directory.path, directory)
    source = open_model(model, count=request.images, seed=0, threads=request.threads)
    classifier = graph_file("classifier")
    own = (
        classifier in directory.spec.files
        and hashlib.sha256(directory.read(classifier)).hexdigest() == judge.network.sha256
    )
    subject = f"{directory.spec.name}, seed {directory.spec.training.seed}"
    return _score(source, judge, subject, directory.path, request, own=own)


def _score_real(request: Request, judges: Sequence[_Judge], found: Scores) -> None:
    """Scores training images, as many as of a generator, or all if they are fewer."""
    for judge in judges:
        if judge.dataset != request.table.dataset:
            continue
        try:
            source = open_source(request.data, split="train")
            score = _score(source, judge, "real data", Path(request.data), request)
        except IganZooError as error:
            found.left_out.append(f"Real images have no score by {judge.network.name}: {error}")
            continue
        found.scores.append(score)
        if is_inception(judge.network.name):
            found.real = score


def _score(
    source: ImageSource, judge: _Judge, subject: str, path: Path, request: Request, *, own: bool = False
) -> Score:
    """Scores as ``igan-zoo score`` does, statistics kept, so that nothing is scored twice and a killed one goes on."""
    plan = plans.Plan(("is",), manner=Manner(threads=request.threads))
    facts = plan.facts(source, judge.network, min(request.images, len(source)))
    statistics = plans.find_or_gather(plan, source, judge.network, facts)
    records = {record.quantity: record for record in plans.results(plan.metrics, statistics, None)}
    split = records["split mean"]
    return Score(
        subject=subject,
        path=str(path),
        dataset=judge.dataset,
        metric="Inception score" if is_inception(judge.network.name) else split.metric,
        scorer=split.scorer,
        scorer_sha256=split.scorer_sha256,
        value=split.value,
        deviation=split.deviation,
        unsplit=records["unsplit"].value,
        images=split.images,
        own_classifier=own,
    )
