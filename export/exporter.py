"""A finished run, or an ensemble of runs, becomes a model directory."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from msgspec import structs
from numpy.typing import NDArray
from torch import nn

from igan_zoo.errors import TrainingError
from igan_zoo.export.freeze import (
    ImageClassifier,
    ImageEnsemble,
    ImageGenerator,
    frozen_discriminator,
    frozen_generator,
    with_affine_normalization,
)
from igan_zoo.export.graphs.building import classes_metadata, to_onnx
from igan_zoo.export.graphs.rewriting import rewritten
from igan_zoo.export.parity import BATCHES, Subject, TestImages, parity_report
from igan_zoo.export.realness import with_realness
from igan_zoo.export.specification import name_of, specification
from igan_zoo.export.trained import networks_of_ensemble, networks_of_run, with_generator_of
from igan_zoo.export.variants import calibration_images, make_variants, variants_report
from igan_zoo.images.labeled import LabeledImages
from igan_zoo.images.pixels import ImageArray, grid, write_image
from igan_zoo.latents import latents
from igan_zoo.machine.files import atomic_directory
from igan_zoo.models import cards
from igan_zoo.models.directory import ModelDirectory, seal
from igan_zoo.models.export_options import ExportOptions
from igan_zoo.models.interface import CLASSES_KEY, CROP_KEY, DISTRIBUTION_KEY
from igan_zoo.models.parity import ParityReport, encode_parity
from igan_zoo.models.spec import (
    LABELS,
    PARITY,
    ROLES,
    SAMPLES,
    WEIGHTS,
    ModelSpec,
    Variant,
    graph_file,
)
from igan_zoo.serving.engine import Engine
from igan_zoo.training.loop import grid_images
from igan_zoo.training.runs.directory import Run
from igan_zoo.training.weights import TrainedNetworks, save_networks

_REALNESS = (
    "The classifier was trained without a generator. `realness` was trained afterwards, as a linear function of the "
    "features that separates training images from images of this generator; it changes no probability."
)


def export_run(
    path: Path,
    out: Path,
    *,
    test: LabeledImages | None,
    split: str = "test",
    name: str | None = None,
    variants: Sequence[Variant] = (),
    training_images: ImageArray | None = None,
    overwrite: bool = False,
    options: ExportOptions | None = None,
) -> ModelDirectory:
    """Exports the last checkpoint of the run ``path`` to the model directory ``out`` and returns it.

    A directory of runs, as ``--ensemble`` makes them, becomes one classifier: the mean of its members' probabilities. A
    run without labels, or whose classifier compares the images of a batch with each other, becomes only a generator; a
    run without a generator, only a classifier.

    Args:
        path: the directory of a finished run, or of the runs of an ensemble.
        out: the model directory.
        test: labeled images that influenced no choice; the errors on them go on the model card.
        split: what the card calls these images.
        variants: forms of the graphs to write in addition to the plain ones.
        training_images: uint8 ``[N, H, W, C]``. int8 is calibrated on some of them, and a classifier that was trained
            without a generator gets its realness from them, where there is a generator of another run.
        name: the model's name. None is that of the folder ``out``, or of the recipe where that cannot name a model.
        overwrite: ``out`` may replace a model directory.
        options: everything else.

    Raises:
        TrainingError: a run has no checkpoint, is not finished, or has nothing to export.
        DataError: ``test`` has a class that the run does not know.
        ParityError: a graph does not compute what its torch module computes.
        OutputError: ``out`` exists, without ``overwrite``, or cannot be written.
    """
    options = options or ExportOptions()
    members = find_members(path)
    networks, notes = _networks(members, training_images, options)
    networks = replace(networks, temperature=options.temperature)
    roles = _roles(networks, path, discriminator=options.discriminator)
    if options.weakness is not None and "generator" not in roles:
        raise TrainingError(f"{path} has no generator whose images --weakness could describe; remove --weakness.")

    # Make the graphs, with everything an onnxruntime script needs inside.
    contents = {role: _graph(networks, role) for role in roles}

    # Compare them with the training networks in evaluation mode, nothing folded.
    recipe = networks.recipe
    images = None
    if test is not None:
        images = TestImages(recipe.dataset, split, test.numbered_by(networks.classes, path))
    subjects = parity_subjects(networks, {graph_file(role): content for role, content in contents.items()})
    faster = _rewritten(subjects)
    plain = parity_report([*subjects, *faster], images)

    # The variants of the graphs, each with its own differences and errors.
    affine = _affine_graph(networks, path) if "affine" in variants else None
    calibration = calibration_images(training_images) if training_images is not None else None
    graphs = make_variants(subjects, variants, calibration, affine)
    parity = structs.replace(plain, variants=variants_report(graphs, images))
    spec = specification(members, networks, name or name_of(out, recipe), roles, parity, options.generator_run)
    spec = structs.replace(spec, weakness=options.weakness, note=" ".join(notes) or None)

    # Write everything beside the final name, seal it with its checksums, and only then give it the name.
    files = [*subjects, *faster, *(graph.subject for graph in graphs)]
    with atomic_directory(out, replace=overwrite) as temporary:
        _write(temporary, networks, files, spec, parity, members[0].labels_file)
    return ModelDirectory.open(out)


def _networks(
    members: list[Run], training_images: ImageArray | None, options: ExportOptions
) -> tuple[TrainedNetworks, list[str]]:
    """Returns what to export, and sentences about it for the model card."""
    notes = [options.note] if options.note else []
    networks = networks_of_run(members[0]) if len(members) == 1 else networks_of_ensemble(members)
    if options.generator_run is None:
        return networks, notes
    networks = with_generator_of(networks, options.generator_run)
    if training_images is None or networks.recipe.labels == "0" or networks.recipe.generator:
        return networks, notes
    return with_realness(networks, training_images), [*notes, _REALNESS]


def _write(
    folder: Path,
    networks: TrainedNetworks,
    subjects: Sequence[Subject],
    spec: ModelSpec,
    parity: ParityReport,
    labels_file: Path,
) -> None:
    (folder / "onnx").mkdir()
    contents = {subject.file: subject.content for subject in subjects}
    for file, content in contents.items():
        (folder / file).write_bytes(content)
    (folder / PARITY).write_bytes(encode_parity(parity))
    if spec.latent is not None:
        count = grid_images(networks.recipe)
        z = latents(spec.latent.size, spec.latent.distribution, seed=0, start=0, count=count)
        engine = Engine({"generator": contents[graph_file("generator")]})
        write_image(folder / SAMPLES, grid(engine.run("generator", {"latent": z})["images"]))
    save_networks(folder / WEIGHTS, networks)
    if labels_file.is_file():
        shutil.copyfile(labels_file, folder / LABELS)
    cards.write_card(folder, spec, parity)
    seal(folder, spec).verify()


def find_members(path: Path) -> list[Run]:
    """Returns the run in ``path``, or the runs of the ensemble there, by seed."""
    if (path / "recipe.json").is_file():
        return [Run(path)]
    members = [Run(file.parent) for file in path.glob("seed*/recipe.json")]
    return sorted(members, key=lambda run: run.facts().recipe.seed) or [Run(path)]


def _roles(networks: TrainedNetworks, path: Path, *, discriminator: bool) -> list[str]:
    """Returns the roles to export: a classifier only if it classifies each image independently."""
    answers = networks.recipe.labels != "0"
    mixes = any(getattr(network, "mixes_examples", False) for network in networks.discriminators)
    if discriminator and not (answers and mixes):
        raise TrainingError(f"{path} has no discriminator with minibatch discrimination and labels to add.")
    roles = [
        *(["generator"] if networks.generator is not None else []),
        *(["classifier"] if answers and not mixes else []),
        *(["discriminator"] if discriminator else []),
    ]
    if not roles:
        raise TrainingError(f"{path} has no generator, and its classifier compares the images of a batch.")
    return roles


def _graph(networks: TrainedNetworks, role: str) -> bytes:
    """Returns the ONNX graph of a role, with everything folded that can be."""
    recipe = networks.recipe
    if role == "generator":
        return _generator_graph(networks, _generator(networks))
    return to_onnx(
        _classifier(networks, [frozen_discriminator(network) for network in networks.discriminators]),
        torch.zeros(2, recipe.height, recipe.width, recipe.channels, dtype=torch.uint8),
        input_name="images",
        outputs=["logits", "probabilities", "realness"],
        metadata={CLASSES_KEY: classes_metadata(networks.classes), CROP_KEY: json.dumps(recipe.crop)},
    )


def _generator_graph(networks: TrainedNetworks, generator: nn.Module) -> bytes:
    return to_onnx(
        ImageGenerator(frozen_generator(generator), networks.generator_recipe),
        torch.from_numpy(_latents(networks)[:2]),
        input_name="latent",
        outputs=["images"],
        metadata={DISTRIBUTION_KEY: networks.generator_recipe.latent_distribution},
    )


def _rewritten(subjects: list[Subject]) -> list[Subject]:
    """Returns those that have a faster graph for CPUs, with that graph."""
    graphs = [(subject, rewritten(subject.content)) for subject in subjects]
    return [
        replace(subject, file=graph_file(subject.role, "cpu"), content=content)
        for subject, content in graphs
        if content is not None
    ]


def _affine_graph(networks: TrainedNetworks, path: Path) -> bytes:
    if networks.generator is None or networks.generator_recipe.normalization != "virtual-batch":
        raise TrainingError(f"affine is a variant of virtual batch normalization, which {path} does not have.")
    return _generator_graph(networks, with_affine_normalization(networks.generator))


def parity_subjects(networks: TrainedNetworks, contents: Mapping[str, bytes]) -> list[Subject]:
    """Returns, for the files of a model directory, what each must compute; one rewritten for CPUs is the same."""
    subjects = []
    for role in ROLES:
        names = [name for name in (graph_file(role), graph_file(role, "cpu")) if name in contents]
        if names:
            module, inputs = evaluation_module(networks, role), _inputs(networks, role)
            subjects += [Subject(name, role, contents[name], module, inputs) for name in names]
    return subjects


def evaluation_module(networks: TrainedNetworks, role: str) -> nn.Module:
    """Returns the module of a role in evaluation mode, nothing folded."""
    if role == "generator":
        return ImageGenerator(_generator(networks), networks.generator_recipe).eval()
    return _classifier(networks, networks.discriminators).eval()


def _classifier(networks: TrainedNetworks, members: Sequence[nn.Module]) -> ImageClassifier | ImageEnsemble:
    if len(members) == 1:
        return ImageClassifier(members[0], networks.recipe, networks.temperature)
    return ImageEnsemble([ImageClassifier(member, networks.recipe) for member in members], networks.temperature)


def _generator(networks: TrainedNetworks) -> nn.Module:
    assert networks.generator is not None  # noqa: S101 - whoever asks has looked
    return networks.generator


def _latents(networks: TrainedNetworks) -> NDArray[np.float32]:
    distribution = networks.generator_recipe.latent_distribution
    return latents(networks.latent_size, distribution, seed=0, start=0, count=max(BATCHES))


def _inputs(networks: TrainedNetworks, role: str) -> NDArray[Any]:
    """Returns what a role is compared on: latents, and for a classifier the generator's images, or noise."""
    if role == "generator":
        return _latents(networks)
    recipe = networks.recipe
    if networks.generator is None:
        shape = (max(BATCHES), recipe.height, recipe.width, recipe.channels)
        return np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    with torch.no_grad():
        generated = evaluation_module(networks, "generator")(torch.from_numpy(_latents(networks)))
    images: NDArray[np.uint8] = generated.numpy()
    return images
