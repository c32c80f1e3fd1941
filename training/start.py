"""Starting or resuming a run: data, threads, the run's facts, and then the loop."""

from __future__ import annotations

import dataclasses
import logging
import os
import platform
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from msgspec.structs import replace
from numpy.typing import NDArray

from igan_zoo.counts import counted
from igan_zoo.errors import DataError, DeviceError, TrainingError
from igan_zoo.images.labeled import LabeledImages
from igan_zoo.machine.files import refuse_unwritable
from igan_zoo.training.data.subsets import labelled_subset
from igan_zoo.training.data.training_set import load_for_recipe
from igan_zoo.training.distributed import World
from igan_zoo.training.evaluation import least_realness
from igan_zoo.training.features.runs import FeatureRun
from igan_zoo.training.games.choice import new_game
from igan_zoo.training.loop import Options, start_from, train
from igan_zoo.training.precision import denormals_as_zero, float32_as, resolved_precision, torch_threads
from igan_zoo.training.recipes.requests import TrainOptions, TrainRequest
from igan_zoo.training.recipes.settings import Precision, Recipe
from igan_zoo.training.runs.directory import Run, RunFacts
from igan_zoo.training.runs.resuming import check_recipe
from igan_zoo.training.teaching import check_models, check_teacher, model_weights
from igan_zoo.training.timing import estimated_seconds, fastest_threads, seconds_per_step, thread_choices

_LOG = logging.getLogger(__name__)


def start(request: TrainRequest, options: TrainOptions, *, resume: bool, device: str) -> None:
    """Starts or resumes the training of a request: one run, or those of an ensemble.

    Raises:
        TrainingError, DataError, DeviceError: as :func:`start_training`.
    """
    how = Options(device, options.compile, options.checkpoint_seconds, options.picture_steps, options.tensorboard)
    if options.ensemble is not None:
        start_ensemble(
            request.recipe,
            request.source,
            request.path,
            options.ensemble,
            resume=resume,
            threads=options.threads,
            options=how,
            labels_file=request.labels_file,
            strict=options.strict,
        )
    else:
        start_training(
            request.recipe,
            request.source,
            request.path,
            resume=resume,
            threads=options.threads,
            options=how,
            labels_file=request.labels_file,
            strict=options.strict,
        )


def start_training(
    recipe: Recipe,
    source: str,
    path: Path,
    *,
    resume: bool = False,
    threads: int | None = None,
    options: Options | None = None,
    labels_file: Path | None = None,
    strict: bool = False,
    loaded: LabeledImages | None = None,
) -> None:
    """Trains ``recipe`` on ``source`` in the run directory ``path``.

    With ``resume`` an existing run goes on from its checkpoint, with its number of threads unless ``threads`` says
    otherwise, and for more epochs if ``recipe`` has more; one that has no checkpoint, or does not exist yet, starts.
    Under ``torchrun`` all processes train one game, and the first of them writes the run. ``loaded`` are the training
    images of ``source``, if they are there. torch's settings are afterwards what they were before.

    Raises:
        TrainingError: a run exists and ``resume`` is false, it was made from another recipe or other data, or another
            process trains it.
        OutOfTimeError: the deadline of the options has passed.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the state is saved.
        DataError: the data is not what the recipe needs.
        DeviceError: the device is not there.
    """
    options = options or Options()
    run = Run(path)
    started = _started(run, recipe, options.device, resume=resume)
    data = loaded
    check = partial(_check_labels if started is not None else _check_new, recipe, source)
    if data is None:
        refuse_unwritable(path)
        data = load_for_recipe(recipe, source, "train", labels_file=labels_file, strict=strict, check=check)
    check(data.labels, data.classes)
    threads = threads or (started.threads if started is not None else chosen_threads(recipe, data, options.device))
    with torch_threads(threads):
        labelled = labelled_subset(data.labels, recipe.labels, data.classes, recipe.subset_seed)
        world = World.join(options.device)
        resume = resume and run.checkpoint.exists()
        world.wait()
        precision = started.precision if started is not None else None
        precision = precision or resolved_precision(recipe.precision, options.device)
        facts = _facts(recipe, source, labels_file, data, len(labelled), options, threads, world, precision)
        if started is not None:
            _check_data(path, started, facts)
        with run.alone() if world.leads else nullcontext():
            if world.leads:
                if started is None:
                    run.start(facts, _labels_to_keep(data, labelled))
                else:
                    run.clean()
                    if started.recipe != recipe:  # it goes on for more epochs
                        run.write(dataclasses.replace(started, recipe=recipe))
                if recipe.precision == "auto":
                    _LOG.info("precision: %s", precision)
            try:
                # Differs from the 2016 code: denormal numbers are zero. A saturated generator makes many slow ones.
                with denormals_as_zero(), float32_as(precision, options.device):
                    resolved = replace(recipe, precision=precision)
                    train(resolved, data, run, resume=resume, options=options, world=world)
                if world.leads:
                    run.draw_progress()
                    if recipe.labels != "0" and recipe.minibatch_discrimination is None:
                        run.keep_least_realness(least_realness(run, data))
            finally:
                world.leave()


def chosen_threads(recipe: Recipe, data: LabeledImages, device: str) -> int:
    """Returns how many threads a new run is best done with: on a CPU a few steps are timed, with one and with all.

    On a busy machine threads wait for each other, and all of them may be ten times slower than one.
    """
    choices = thread_choices()
    if device != "cpu" or len(choices) == 1 or "RANK" in os.environ:
        return torch.get_num_threads()
    seconds = seconds_per_step(recipe, data, choices)
    best = fastest_threads(seconds)
    listed = ", ".join(f"{needed:.3f} s a step with {count}" for count, needed in seconds.items())
    _LOG.info("threads: %d (%s)", best, listed)
    return best


def estimate(request: TrainRequest, options: TrainOptions) -> float:
    """Returns how many seconds the training of a request takes here on the CPU, by a few steps; nothing is kept.

    Raises:
        DataError: the data is not what the recipe needs.
    """
    recipe = request.recipe
    labels_file, strict = request.labels_file, options.strict
    check = partial(_check_new, recipe, request.source)
    data = load_for_recipe(recipe, request.source, "train", labels_file=labels_file, strict=strict, check=check)
    choices = [options.threads] if options.threads else thread_choices()
    seconds = min(seconds_per_step(recipe, data, choices).values())
    return (options.ensemble or 1) * estimated_seconds(recipe, len(data), seconds)


def _started(run: Run, recipe: Recipe, device: str, *, resume: bool) -> RunFacts | None:
    """Returns the facts of the run that is to go on; None of one that starts."""
    if device == "cuda" and not torch.cuda.is_available():
        raise DeviceError("There is no CUDA device for PyTorch; train with --device cpu.")
    if FeatureRun.is_one(run.path):
        raise TrainingError(f"{run.path} holds a run on features: remove --features none, or choose another --out.")
    if not run.recipe_file.exists():
        check_models(recipe)
        return None
    if not resume:
        raise TrainingError(f"{run.path} holds a run already; add --resume to continue, or choose another --out.")
    started = run.facts()
    check_recipe(run, started.recipe, recipe)
    return started


def _labels_to_keep(data: LabeledImages, labelled: NDArray[np.int64]) -> list[tuple[str, str]]:
    """Returns file and class of the labeled images; none where all are, which a list would not say better."""
    if len(labelled) == len(data):
        return []
    return [
        (name, data.classes[label]) for name, label in zip(data.names(labelled), data.labels[labelled], strict=True)
    ]


def _check_new(recipe: Recipe, source: str, labels: NDArray[np.int64], classes: Sequence[str]) -> None:
    """Refuses for a new run what :func:`_check_labels` does, and models that do not fit its classes or networks."""
    _check_labels(recipe, source, labels, classes)
    for teacher in recipe.teachers:
        check_teacher(teacher, recipe, classes)
    if recipe.start_from is not None:
        start_from(new_game(recipe, len(classes)), model_weights(recipe.start_from, "start_from"))


def _check_labels(recipe: Recipe, source: str, labels: NDArray[np.int64], classes: Sequence[str]) -> None:
    """Refuses images that are too few, or too few of which have labels: of all, and again of those that can be used."""
    if not classes and recipe.labels != "0":
        raise DataError(f"{source} has no labels; give --labels FILE.csv, or --set labels=0 to train without any.")
    if len(labels) < recipe.batch_size:
        raise DataError(f"The data has {counted(len(labels), 'image')}, fewer than one batch of {recipe.batch_size}.")
    labelled_subset(labels, recipe.labels, classes, recipe.subset_seed)


def _check_data(path: Path, started: RunFacts, facts: RunFacts) -> None:
    """Refuses to go on with other images or labels than a run was started with."""
    if (started.classes, started.training_images) != (facts.classes, facts.training_images):
        raise TrainingError(f"{path} was trained on other data ({started.data}); give the same --data.")
    if started.labelled_images != facts.labelled_images:
        raise TrainingError(
            f"{path} was trained with {counted(started.labelled_images, 'label')} and not {facts.labelled_images:,}; "
            "give the same --labels."
        )


def start_ensemble(
    recipe: Recipe,
    source: str,
    path: Path,
    members: int,
    *,
    resume: bool = False,
    threads: int | None = None,
    options: Options | None = None,
    labels_file: Path | None = None,
    strict: bool = False,
) -> None:
    """Trains ``members`` runs of ``recipe`` one after the other, of as many seeds, in ``path/seedN``.

    Every member has the labelled subset of the first; the other arguments are those of :func:`start_training`. With
    ``resume`` finished members stay as they are.

    Raises:
        TrainingError, DataError, DeviceError: as :func:`start_training`.
    """
    for seed in range(recipe.seed, recipe.seed + members):
        member = replace(recipe, seed=seed, data_seed=recipe.subset_seed)
        run = Run(path / f"seed{seed}")
        if resume and run.recipe_file.exists() and run.facts().recipe == member and len(run.log()) == member.epochs:
            threads = threads or run.facts().threads
            continue
        start_training(
            member,
            source,
            run.path,
            resume=resume,
            threads=threads,
            options=options,
            labels_file=labels_file,
            strict=strict,
        )
        # The members are to be alike: what was measured for the first holds for all.
        threads = threads or run.facts().threads


def _facts(
    recipe: Recipe,
    source: str,
    labels_file: Path | None,
    data: LabeledImages,
    labelled_images: int,
    options: Options,
    threads: int,
    world: World,
    precision: Precision,
) -> RunFacts:
    packages = {name: version(name) for name in ("igan-zoo", "torch", "numpy")}
    return RunFacts(
        recipe=recipe,
        data=source,
        classes=data.classes,
        training_images=len(data),
        labelled_images=labelled_images,
        device=options.device,
        threads=threads,
        versions={"python": platform.python_version(), **packages},
        processes=world.size,
        labels_file=str(labels_file) if labels_file is not None else None,
        precision=precision,
    )
