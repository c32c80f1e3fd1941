"""The networks of a model in one safetensors file, with the recipe that they are built from in its metadata."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from igan_zoo.errors import ModelDirectoryError, first_line
from igan_zoo.training.games.choice import new_game
from igan_zoo.training.networks.multi_scale import MultiScaleGenerator
from igan_zoo.training.recipes.settings import Recipe
from igan_zoo.training.runs.checkpoints import fits

_FACTS_KEY = "igan_zoo.networks"


@dataclass(frozen=True)
class TrainedNetworks:
    """Networks in evaluation mode: averaged discriminators, and a generator with its population statistics.

    Several ``discriminators`` are an ensemble, which has no generator; ``recipe`` is the first member's.
    ``generator_recipe`` is that of the generator, which may come from another run. The logits of the classes are
    divided by ``temperature``.
    """

    recipe: Recipe
    classes: tuple[str, ...]
    latent_size: int
    generator: nn.Module | None
    discriminators: tuple[nn.Module, ...]
    generator_recipe: Recipe
    temperature: float = 1.0


class SavedFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What it takes to build the networks whose tensors a weights file holds."""

    recipe: Recipe
    classes: tuple[str, ...]
    generator: bool
    discriminators: int
    generator_recipe: Recipe | None = None  # where it is not the discriminators'
    temperature: float = 1.0


def save_networks(path: Path, networks: TrainedNetworks) -> None:
    """Writes all tensors to a safetensors file, with the recipe and the classes in its metadata."""
    facts = SavedFacts(
        networks.recipe,
        networks.classes,
        networks.generator is not None,
        discriminators=len(networks.discriminators),
        generator_recipe=networks.generator_recipe if networks.generator_recipe != networks.recipe else None,
        temperature=networks.temperature,
    )
    tensors = {name: tensor.contiguous() for name, tensor in _tensors(networks).items()}
    path.write_bytes(save(tensors, metadata={_FACTS_KEY: msgspec.json.encode(facts).decode()}))


def saved_facts(path: Path) -> SavedFacts:
    """Returns what a weights file says of its networks, without reading the tensors.

    Raises:
        ModelDirectoryError: the file is missing, damaged, or does not say.
    """
    with _opened(path) as (_, facts):
        return facts


def load_networks(path: Path) -> TrainedNetworks:
    """Returns the networks of a weights file that :func:`save_networks` wrote.

    Raises:
        ModelDirectoryError: the file is missing, damaged, or does not say which networks it holds.
    """
    with _opened(path) as (file, facts):
        saved = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    networks = _new_networks(facts)
    live = _tensors(networks)
    saved = _as_named_today(saved, networks.generator)
    if not fits(live, saved):
        raise ModelDirectoryError(f"{path} does not hold the tensors of the networks it names; download it again.")
    with torch.no_grad():
        for name, tensor in live.items():
            tensor.copy_(saved[name])
    return networks


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, SavedFacts]]:
    """Opens a weights file and reads what it says of itself; whatever goes wrong inside the block is its damage."""
    try:
        with safe_open(path, framework="pt") as file:
            yield file, msgspec.json.decode((file.metadata() or {})[_FACTS_KEY], type=SavedFacts)
    except KeyError:
        raise ModelDirectoryError(f"{path} does not say which networks it holds; export the run again.") from None
    except Exception as error:
        # safetensors raises anything at damaged bytes.
        raise ModelDirectoryError(f"{path} is not a model's weights file: {first_line(error)}") from error


def _as_named_today(saved: dict[str, Tensor], generator: nn.Module | None) -> dict[str, Tensor]:
    """Returns the tensors of a file under the names that networks have now; older files load to the same function."""
    tensors = {}
    for name, tensor in saved.items():
        layer, _, kind = name.rpartition(".")
        if kind == "population_mean_square":  # before virtual batch normalization kept the variance
            variance = tensor.double() - saved[f"{layer}.population_mean"].double().square()
            tensors[f"{layer}.population_variance"] = variance.clamp(min=0)
        else:
            tensors[name] = tensor
    if isinstance(generator, MultiScaleGenerator):  # before its first layer had a bias
        tensors.setdefault("generator.stem.bias", torch.zeros_like(generator.stem.bias))
    return tensors


def _new_networks(facts: SavedFacts) -> TrainedNetworks:
    games = [new_game(facts.recipe, len(facts.classes)) for _ in range(facts.discriminators)]
    discriminators = tuple(game.discriminator.eval() for game in games)
    recipe = facts.generator_recipe or facts.recipe
    maker = games[0] if facts.generator_recipe is None else new_game(recipe, len(facts.classes))
    generator = maker.generator if facts.generator else None
    if generator is not None:
        maker.set_output(recipe.output_at(recipe.epochs - 1))
        generator.eval()
    latent_size = maker.latent_size
    return TrainedNetworks(
        facts.recipe, facts.classes, latent_size, generator, discriminators, recipe, facts.temperature
    )


def _tensors(networks: TrainedNetworks) -> dict[str, Tensor]:
    several = len(networks.discriminators) > 1
    named = {"generator": networks.generator} if networks.generator is not None else {}
    for index, discriminator in enumerate(networks.discriminators):
        named[f"discriminator.{index}" if several else "discriminator"] = discriminator
    return {
        f"{prefix}.{name}": tensor for prefix, network in named.items() for name, tensor in network.state_dict().items()
    }
