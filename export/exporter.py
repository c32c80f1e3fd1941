"""A finished run becomes a model directory."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

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
from igan_zoo.serving.engine import CLASSES_KEY, DISTRIBUTION_KEY, Engine
from igan_zoo.spec import (
    CLASSIFIER,
    GENERATOR,
    WEIGHTS,
    DatasetSpec,
    ImageSpec,
    LatentSpec,
    ModelSpec,
    ResultSpec,
    TrainingSpec,
)
from igan_zoo.training.alternating import AlternatingGame
from igan_zoo.training.data.sources import LabelledImages
from igan_zoo.training.game import Game
from igan_zoo.training.loop import open_game
from igan_zoo.training.runs import Run, RunFacts

_GRID_IMAGES = 100


def export_run(
    run: Run, out: Path, *, test: LabelledImages | None, name: str | None = None, replace: bool = False
) -> ModelDirectory:
    """Exports the last checkpoint of ``run`` to the model directory ``out`` and returns it.

    ``test`` are labelled images that no choice was made on; the exported classifier's errors on them go on the card.

    Raises:
        TrainingError: the run has no checkpoint, or is not finished.
        ParityError: a graph does not compute what its torch module computes.
        OutputError: ``out`` exists, without ``replace``, or cannot be written.
    """
    facts = run.facts()
    recipe = facts.recipe
    game, epochs = open_game(run)
    if not isinstance(game, AlternatingGame) or recipe.network != "mnist-dense" or game.generator is None:
        raise TrainingError(f"{run.path} is a run of {recipe.name}, and only the dense MNIST networks export so far.")
    if epochs < recipe.epochs:
        raise TrainingError(f"{run.path} has {epochs} of {recipe.epochs} epochs; finish it first with --resume.")
    if game.average is not None:
        game.discriminator.load_state_dict(game.average.value(), strict=False)
    game.discriminator.eval()
    measure_population(game.generator, recipe.latent_size)

    # Make the graphs, with everything an onnxruntime script needs inside.
    shape = (recipe.height, recipe.width, recipe.channels)
    z = latents(recipe.latent_size, "uniform", seed=0, start=0, count=max(BATCHES))
    images = np.zeros((len(z), *shape), np.uint8)
    generator = to_onnx(
        ImageGenerator(frozen_generator(game.generator), shape),
        torch.from_numpy(z[:2]),
        input_name="latent",
        outputs=["images"],
        metadata={DISTRIBUTION_KEY: "uniform"},
    )
    classifier = to_onnx(
        ImageClassifier(frozen_discriminator(game.discriminator)),
        torch.from_numpy(images[:2]),
        input_name="images",
        outputs=["logits", "probabilities", "realness"],
        metadata={CLASSES_KEY: classes_metadata(facts.classes)},
    )

    # Compare them with the training networks in evaluation mode, nothing folded.
    engine = Engine({"generator": generator, "classifier": classifier})
    generated = engine.run("generator", {"latent": z})["images"]
    parity = parity_report(
        [
            Subject("generator", generator, ImageGenerator(game.generator, shape).eval(), z),
            Subject("classifier", classifier, ImageClassifier(game.discriminator).eval(), generated),
        ]
    )
    spec = _specification(run, facts, name or recipe.name, _test_results(engine, facts, test))
    samples = latents(recipe.latent_size, "uniform", seed=0, start=0, count=_GRID_IMAGES)

    # Write everything beside the final name, seal it with its checksums, and only then give it the name.
    with atomic_directory(out, replace=replace) as temporary:
        (temporary / "onnx").mkdir()
        (temporary / GENERATOR).write_bytes(generator)
        (temporary / CLASSIFIER).write_bytes(classifier)
        (temporary / "parity.json").write_text(json.dumps(parity, indent=2) + "\n")
        write_image(temporary / "samples.png", grid(engine.run("generator", {"latent": samples})["images"]))
        _write_weights(temporary / WEIGHTS, game)
        cards.write_card(temporary, spec, parity)
        seal(temporary, spec).verify()
    return ModelDirectory.open(out)


def _test_results(engine: Engine, facts: RunFacts, test: LabelledImages | None) -> tuple[ResultSpec, ...]:
    if test is None:
        return ()
    wrong = count_errors(engine, test.images, test.labels)
    return (ResultSpec(dataset=facts.recipe.dataset, split="test", wrong=wrong, total=len(test)),)


def _specification(run: Run, facts: RunFacts, name: str, results: tuple[ResultSpec, ...]) -> ModelSpec:
    recipe = facts.recipe
    return ModelSpec(
        name=name,
        summary=f"Semi-supervised classifier ({facts.labelled_images} labels) and generator of {recipe.dataset}",
        license="apache-2.0",
        dataset=DatasetSpec(id=recipe.dataset, license=recipe.dataset_license),
        image=ImageSpec(height=recipe.height, width=recipe.width, channels=recipe.channels),
        latent=LatentSpec(size=recipe.latent_size, distribution="uniform"),
        classes=facts.classes,
        training=TrainingSpec(
            recipe=recipe.name,
            command=facts.command(),
            labels=facts.labelled_images,
            seed=recipe.seed,
            epochs=recipe.epochs,
            seconds=round(sum(row["seconds"] for row in run.timings())),
            versions=facts.versions,
        ),
        results=results,
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
