"""The trained networks of a run, an ensemble of runs, or a model directory, as they are in evaluation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec

from igan_zoo.counts import counted
from igan_zoo.errors import TrainingError
from igan_zoo.export.freeze import measure_population
from igan_zoo.models.spec import CONFIG, WEIGHTS
from igan_zoo.training.loop import open_game
from igan_zoo.training.runs.directory import Run
from igan_zoo.training.weights import TrainedNetworks, load_networks


def networks_of_run(run: Run) -> TrainedNetworks:
    """Returns the networks of a finished run's last checkpoint.

    Raises:
        TrainingError: the run has no checkpoint, or is not finished.
    """
    facts = run.facts()
    game, epochs = open_game(run)
    if epochs < facts.recipe.epochs:
        raise TrainingError(
            f"{run.path} has {epochs} of {counted(facts.recipe.epochs, 'epoch')}; finish it first with --resume."
        )
    for name, network in game.players():
        network.load_state_dict(game.averaged(name), strict=False)
    game.discriminator.eval()
    if game.generator is not None:
        measure_population(game.generator, game.latent_size, facts.recipe.latent_distribution)
    recipe = facts.recipe
    return TrainedNetworks(recipe, facts.classes, game.latent_size, game.generator, (game.discriminator,), recipe)


def with_generator_of(networks: TrainedNetworks, path: Path) -> TrainedNetworks:
    """Returns ``networks`` with the generator of another run, or of a model directory, in place of their own.

    Raises:
        TrainingError: that run has no generator, no checkpoint, is not finished, or makes images of another shape.
        ModelDirectoryError: the model directory has no weights, or they are damaged.
    """
    other = load_networks(path / WEIGHTS) if (path / CONFIG).is_file() else networks_of_run(Run(path))
    if other.generator is None:
        raise TrainingError(f"{path} has no generator; give a run or a model that has one.")
    shapes = [(recipe.height, recipe.width, recipe.channels) for recipe in (networks.recipe, other.generator_recipe)]
    if shapes[0] != shapes[1]:
        raise TrainingError(f"{path} makes images of {shapes[1]} (H, W, C), but the classifier takes {shapes[0]}.")
    return replace(
        networks,
        generator=other.generator,
        generator_recipe=other.generator_recipe,
        latent_size=other.latent_size,
    )


def networks_of_ensemble(members: list[Run]) -> TrainedNetworks:
    """Returns the discriminators of the runs of an ensemble.

    Raises:
        TrainingError: a run is not finished, or was made from another recipe, other classes or other labelled images
            than the first.
    """
    networks = [networks_of_run(member) for member in members]
    first = networks[0]
    seedless = msgspec.structs.replace(first.recipe, seed=0, data_seed=0)
    for member, other in zip(members, networks, strict=True):
        if (msgspec.structs.replace(other.recipe, seed=0, data_seed=0), other.classes) != (seedless, first.classes):
            raise TrainingError(
                f"{member.path} was trained with a different recipe than {members[0].path}; remove one."
            )
        if other.recipe.subset_seed != first.recipe.subset_seed:
            raise TrainingError(
                f"{member.path} has other labeled images than {members[0].path}, so together they saw more "
                "labels than either reports; train the members with --ensemble, or with the same --set data_seed=N."
            )
    discriminators = tuple(discriminator for other in networks for discriminator in other.discriminators)
    return TrainedNetworks(first.recipe, first.classes, first.latent_size, None, discriminators, first.recipe)
