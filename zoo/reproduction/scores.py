"""Scores of generators: the Inception score where its network was given, and scores of the zoo's own classifiers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec import Struct

from igan_zoo.errors import ScoringError
from igan_zoo.export.exporter import export_run
from igan_zoo.models import store
from igan_zoo.models.directory import ModelDirectory
from igan_zoo.models.spec import graph_file
from igan_zoo.reproduction.evidence import Evidence
from igan_zoo.serving.image_sources import open_source
from igan_zoo.serving.model_source import open_model
from igan_zoo.serving.scoring import plan as plans
from igan_zoo.serving.scoring.gathering import Manner
from igan_zoo.serving.scoring.network import Network, open_network
from igan_zoo.serving.scoring.protocols import INCEPTION, Record
from igan_zoo.serving.stored_images import ImageSource

# The paper's number of images, and the classifier of the zoo that scores generators of a data set.
IMAGES = 50_000
SCORERS = {"ylecun/mnist": "mnist-ssl", "uoft-cs/cifar10": "cifar10-ssl"}

# What `export inception` calls the network of TensorFlow's file of 2015, of which no published sum is known.
_TENSORFLOW = "inception-tensorflow-"


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


@dataclass(frozen=True)
class Judge:
    """A network that scores, for the generators of one data set."""

    network: Network
    dataset: str

    @property
    def is_inception(self) -> bool:
        """Whether its numbers may stand beside the paper's."""
        return is_inception(self.network.name)


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
            f"{network.name} is not {INCEPTION}, so its numbers are no Inception scores; give it with --scorer."
        )


def zoo_judges(datasets: Iterable[str], models: Sequence[ModelDirectory], threads: int | None) -> list[Judge]:
    """Returns the zoo's own classifier for each data set for which there is one, among ``models`` or installed ones."""
    given = {directory.spec.name: directory.path for directory in models if directory.spec.classes is not None}
    judges = []
    for dataset in dict.fromkeys(datasets):
        name = SCORERS.get(dataset)
        if name in given:
            judges.append(Judge(open_network(str(given[name]), threads=threads), dataset))
        elif name is not None and any(place.find(name) for place in store.local_stores()):
            judges.append(Judge(open_network(name, threads=threads), dataset))
    return judges


def given_judge(reference: str, dataset: str, threads: int | None) -> Judge:
    """Returns a classifier or scorer that was named; a model is for its own data set, a file for ``dataset``.

    Raises:
        UnknownNameError, ModelDirectoryError, InterfaceError: as ``open_network``.
    """
    model = store.resolve(reference)
    network = open_network(reference, threads=threads)
    return Judge(network, model.directory.spec.dataset.id if model.directory is not None else dataset)


def as_model(evidence: Evidence, folder: Path) -> ModelDirectory:
    """Returns the model directory of a training; a run is exported to one in ``folder``, once.

    Raises:
        TrainingError, ParityError: the run has nothing to export, or its graph is not what it should be.
    """
    if evidence.is_model:
        return ModelDirectory.open(evidence.path)
    name = f"{evidence.recipe.name}-seed{evidence.recipe.seed}-{evidence.weights_sum[:8]}"
    path = folder / name
    if path.exists():
        return ModelDirectory.open(path)
    return export_run(evidence.path, path, test=None, name=evidence.recipe.name)


def score_generator(directory: ModelDirectory, judge: Judge, *, images: int, threads: int | None) -> Score:
    """Returns the score of the first ``images`` images of seed 0 of a model.

    Statistics are kept as ``igan-zoo score`` keeps them, so that nothing is scored twice and a killed one goes on.

    Raises:
        ScoringError: so many images allow no score.
        DeviceError, InterfaceError, ChecksumError, MissingExtraError: the model cannot be used.
    """
    model = store.Model(directory.spec.name, directory.path, directory)
    source = open_model(model, count=images, seed=0, threads=threads)
    classifier = graph_file("classifier")
    own = classifier in directory.spec.files and _sum(directory, classifier) == judge.network.sha256
    subject = f"{directory.spec.name}, seed {directory.spec.training.seed}"
    return _score(source, judge, subject, directory.path, directory.spec.dataset.id, threads, own=own)


def score_real(reference: str, judge: Judge, *, images: int, threads: int | None) -> Score:
    """Returns the score of ``images`` training images of a data set, or of all if they are fewer.

    Raises:
        DataError, UnknownNameError: there are no such images.
    """
    source = open_source(reference, split="train")
    return _score(source, judge, "real data", Path(reference), judge.dataset, threads, count=images)


def _score(
    source: ImageSource,
    judge: Judge,
    subject: str,
    path: Path,
    dataset: str,
    threads: int | None,
    *,
    count: int | None = None,
    own: bool = False,
) -> Score:
    plan = plans.Plan(("is",), manner=Manner(threads=threads))
    facts = plan.facts(source, judge.network, None if count is None else min(count, len(source)))
    statistics = plans.find_or_gather(plan, source, judge.network, facts)
    records = {record.quantity: record for record in plans.results(plan.metrics, statistics, None)}
    split: Record = records["split mean"]
    return Score(
        subject=subject,
        path=str(path),
        dataset=dataset,
        metric=split.metric if not judge.is_inception else "Inception score",
        scorer=split.scorer,
        scorer_sha256=split.scorer_sha256,
        value=split.value,
        deviation=split.deviation,
        unsplit=records["unsplit"].value,
        images=split.images,
        own_classifier=own,
    )


def _sum(directory: ModelDirectory, name: str) -> str:
    return hashlib.sha256(directory.read(name)).hexdigest()
