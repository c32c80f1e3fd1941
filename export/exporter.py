"""A finished run becomes a model directory."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from igan_zoo import cards
from igan_zoo.directory import ModelDirectory, seal
from igan_zoo.errors import TrainingError
from igan_zoo.export.freeze import (
    ImageClassifier,
    ImageGenerator,
    frozen_discriminator,
    frozen_generator,
    measure_population,
)
from igan_zoo.export.graphs import classes_metadata, to_onnx
from igan_zoo.export.parity import BATCHES, Subject, parity_report
from igan_zoo.files import atomic_directory
from igan_zoo.images import grid, write_image
from igan_zoo.latents import latents
from igan_zoo.serving.classifying import count_errors
from igan_zoo.serving.engine import CLASSES_KEY, CROP_KEY, DISTRIBUTION_KEY, Engine
from igan_zoo.spec import (
    SAMPLES,
    WEIGHTS,
    DatasetSpec,
    ImageSpec,
    LatentSpec,
    ModelSpec,
    ResultSpec,
    TrainingSpec,
)
from igan_zoo.training.data.sources import LabelledImages
from igan_zoo.training.game import Game
from igan_zoo.training.loop import grid_images, open_game
from igan_zoo.training.runs import Run, RunFacts
from igan_zoo.training.settings import Recipe


def export_run(
    run: Run, out: Path, *, test: LabelledImages | None, name: str | None = None, replace: bool = False
) -> ModelDirectory:
    """Exports the last checkpoint of ``run`` to the model directory ``out`` and returns it.

    A run without labels, or whose classifier compares the images of a batch with each other, gives a generator alone; a
    run without a generator gives a classifier alone. ``test`` are labelled images that no choice was made on; the
    exported classifier's errors on them go on the card.

    Raises:
        TrainingError: the run has no checkpoint, is not finished, or has nothing to export.
        ParityError: a graph does not compute what its torch module computes.
        OutputError: ``out`` exists, without ``replace``, or cannot be written.
    """
    facts = run.facts()
    recipe = facts.recipe
    game, epochs = open_game(run)
    if epochs < recipe.epochs:
        raise TrainingError(f"{run.path} has {epochs} of {recipe.epochs} epochs; finish it first with --resume.")
    if game.average is not None:
        game.discriminator.load_state_dict(game.average.value(), strict=False)
    game.discriminator.eval()

    # Make the graphs, with everything an onnxruntime script needs inside.
    subjects = []
    shape = (max(BATCHES), recipe.height, recipe.width, recipe.channels)
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    if game.generator is not None:
        measure_population(game.generator, game.latent_size, recipe.latent_distribution)
        subject = _generator(game.generator, game.latent_size, recipe)
        subjects.append(subject)
        with torch.no_grad():
            images = subject.module(torch.from_numpy(subject.inputs)).numpy()
    if recipe.labels != "0" and not getattr(game.discriminator, "mixes_examples", False):
        subjects.append(_classifier(game.discriminator, facts, images))
    if not subjects:
        raise TrainingError(f"{run.path} has no generator, and its classifier compares the images of a batch.")

    # Compare them with the training networks in evaluation mode, nothing folded.
    parity = parity_report(subjects)
    engine = Engine({subject.role: subject.content for subject in subjects})
    spec = _specification(run, facts, game, name or recipe.name, engine, test)

    # Write everything beside the final name, seal it with its checksums, and only then give it the name.
    with atomic_directory(out, replace=replace) as temporary:
        (temporary / "onnx").mkdir()
        for subject in subjects:
            (temporary / spec.graphs[subject.role]).write_bytes(subject.content)
        (temporary / "parity.json").write_text(json.dumps(parity, indent=2) + "\n")
        if spec.latent is not None:
            count = grid_images(recipe)
            z = latents(spec.latent.size, spec.latent.distribution, seed=0, start=0, count=count)
            write_image(temporary / SAMPLES, grid(engine.run("generator", {"latent": z})["images"]))
        _write_weights(temporary / WEIGHTS, game)
        cards.write_card(temporary, spec, parity)
        seal(temporary, spec).verify()
    return ModelDirectory.open(out)


def _generator(network: nn.Module, latent_size: int, recipe: Recipe) -> Subject:
    z = latents(latent_size, recipe.latent_distribution, seed=0, start=0, count=max(BATCHES))
    content = to_onnx(
        ImageGenerator(frozen_generator(network), recipe),
        torch.from_numpy(z[:2]),
        input_name="latent",
        outputs=["images"],
        metadata={DISTRIBUTION_KEY: recipe.latent_distribution},
    )
    return Subject("generator", content, ImageGenerator(network, recipe).eval(), z)


def _classifier(network: nn.Module, facts: RunFacts, images: NDArray[np.uint8]) -> Subject:
    recipe = facts.recipe
    content = to_onnx(
        ImageClassifier(frozen_discriminator(network), recipe),
        torch.from_numpy(images[:2]),
        input_name="images",
        outputs=["logits", "probabilities", "realness"],
        metadata={CLASSES_KEY: classes_metadata(facts.classes), CROP_KEY: json.dumps(recipe.crop)},
    )
    return Subject("classifier", content, ImageClassifier(network, recipe).eval(), images)


def _test_results(engine: Engine, facts: RunFacts, test: LabelledImages | None) -> tuple[ResultSpec, ...]:
    if test is None or "classifier" not in engine.graphs:
        return ()
    wrong = count_errors(engine, test.images, test.labels)
    return (ResultSpec(dataset=facts.recipe.dataset, split="test", wrong=wrong, total=len(test)),)


def _specification(
    run: Run, facts: RunFacts, game: Game, name: str, engine: Engine, test: LabelledImages | None
) -> ModelSpec:
    recipe = facts.recipe
    parts = [
        *(["classifier"] if "classifier" in engine.graphs else []),
        *(["generator"] if "generator" in engine.graphs else []),
    ]
    return ModelSpec(
        name=name,
        summary=f"Semi-supervised {' and '.join(parts)} of {recipe.dataset} ({facts.labelled_images} labels)",
        license="apache-2.0",
        dataset=DatasetSpec(id=recipe.dataset, license=recipe.dataset_license),
        image=ImageSpec(height=recipe.height, width=recipe.width, channels=recipe.channels, crop=recipe.crop),
        latent=LatentSpec(size=game.latent_size, distribution=recipe.latent_distribution)
        if "generator" in engine.graphs
        else None,
        classes=facts.classes if "classifier" in engine.graphs else None,
        training=TrainingSpec(
            recipe=recipe.name,
            command=facts.command(),
            labels=facts.labelled_images,
            seed=recipe.seed,
            epochs=recipe.epochs,
            seconds=round(sum(row["seconds"] for row in run.timings())),
            versions=facts.versions,
        ),
        results=_test_results(engine, facts, test),
    )


def _write_weights(path: Path, game: Game) -> None:
    """Writes the generator, with its population statistics, and the averaged discriminator."""
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {
        f"{prefix}.{name}": tensor.contiguous()
        for prefix, network in game.players()
        for name, tensor in network.state_dict().items()
    }
    path.write_bytes(save(tensors))
