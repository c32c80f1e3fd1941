"""The ``config.json`` of an exported model: its parts, how each was made, and its measured errors."""

from __future__ import annotations

from pathlib import Path

from msgspec import to_builtins

from igan_zoo.models.directory import ModelDirectory
from igan_zoo.models.parity import Agreement, ParityReport
from igan_zoo.models.spec import (
    CONFIG,
    DatasetSpec,
    ImageSpec,
    LatentSpec,
    ModelSpec,
    ResultSpec,
    TrainingSpec,
    Variant,
    is_name,
)
from igan_zoo.training.recipes.departures import departures, experiment_of
from igan_zoo.training.recipes.settings import Recipe
from igan_zoo.training.runs.directory import Run
from igan_zoo.training.weights import TrainedNetworks


def _results(parity: ParityReport) -> tuple[ResultSpec, ...]:
    """Returns the errors that were counted beside the comparisons."""
    tested: list[tuple[Variant | None, Agreement | None]] = [(None, file.test) for file in parity.files.values()]
    tested += [(file.variant, file.test) for file in parity.variants.values()]
    return tuple(
        ResultSpec(
            dataset=test.dataset, split=test.split, wrong=test.wrong.onnxruntime, total=test.images, variant=variant
        )
        for variant, test in tested
        if test is not None
    )


def name_of(out: Path, recipe: Recipe) -> str:
    """Returns the folder's name, under which a directory of models finds it."""
    return out.name if is_name(out.name) else recipe.name


def specification(
    members: list[Run],
    networks: TrainedNetworks,
    name: str,
    roles: list[str],
    parity: ParityReport,
    maker: Path | None,
) -> ModelSpec:
    """Returns the specification of a model before its files have checksums; ``maker`` made its generator."""
    recipe, facts, count = networks.recipe, members[0].facts(), len(members)
    parts = [role for role in ("classifier", "generator") if role in roles]
    kind = f"ensemble of {count} semi-supervised classifiers" if count > 1 else f"semi-supervised {' and '.join(parts)}"
    return ModelSpec(
        name=name,
        summary=f"{kind[0].upper()}{kind[1:]} for {recipe.dataset} ({facts.labelled_images} labels)",
        license="apache-2.0",
        dataset=DatasetSpec(id=recipe.dataset, license=recipe.dataset_license),
        image=ImageSpec(height=recipe.height, width=recipe.width, channels=recipe.channels, crop=recipe.crop),
        latent=LatentSpec(size=networks.latent_size, distribution=networks.generator_recipe.latent_distribution)
        if "generator" in roles
        else None,
        classes=networks.classes if "classifier" in roles else None,
        # Of an ensemble's mean it was not measured, and without a generator nothing taught the classifier what is real.
        least_realness=members[0].least_realness()
        if "classifier" in roles and count == 1 and recipe.generator
        else None,
        temperature=networks.temperature if networks.temperature != 1.0 else None,
        training=_training(members),
        generator_training=_training_of(maker) if maker is not None else None,
        results=_results(parity),
    )


def _training_of(maker: Path) -> TrainingSpec:
    """Returns how the generator of a run or of a model directory was made."""
    if not (maker / CONFIG).is_file():
        return _training([Run(maker)])
    spec = ModelDirectory.open(maker).spec
    return spec.generator_training or spec.training


def _training(members: list[Run]) -> TrainingSpec:
    """Returns how a run, or an ensemble of runs, was made."""
    facts, count = members[0].facts(), len(members)
    experiment = experiment_of(facts.recipe)
    return TrainingSpec(
        recipe=facts.recipe.name,
        command=facts.command() + (f" --ensemble {count}" if count > 1 else ""),
        labels=facts.labelled_images,
        seed=facts.recipe.seed,
        epochs=facts.recipe.epochs,
        seconds=round(sum(run.seconds() for run in members)),
        versions=facts.versions,
        experiment=experiment.name if experiment else None,
        departures=departures(facts.recipe, experiment) if experiment else (),
        settings=to_builtins(facts.recipe),
        members=count,
    )
