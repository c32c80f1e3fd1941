"""Recipes are data; settings are checked."""

from __future__ import annotations

import msgspec
import pytest
import torch

from igan_zoo.errors import SpecificationError, UnknownNameError
from igan_zoo.training.games.players import build_discriminator, build_generator
from igan_zoo.training.recipes.catalogue import RECIPES, find_recipe
from igan_zoo.training.recipes.experiments import (
    CIFAR10_SSL,
    CIFAR10_SSL_HALF_WIDTH,
    CIFAR10_SSL_LABELS_FIRST,
    IMAGENET128,
    MNIST_SSL,
    MNIST_SSL_SOFTPLUS,
    MNIST_SSL_SOFTPLUS_THEN_SIGMOID,
)
from igan_zoo.training.recipes.settings import Recipe, customize


def test_the_2016_recipe_is_the_2016_script() -> None:
    recipe = MNIST_SSL
    assert (recipe.epochs, recipe.batch_size, recipe.labels, recipe.latent_size) == (300, 100, "100", 100)
    assert (recipe.learning_rate, recipe.averaging_rate, recipe.unlabeled_weight) == (0.003, 0.0001, 1.0)
    assert recipe.generator_output == "sigmoid"
    assert {recipe.learning_rate_at(epoch) for epoch in range(300)} == {0.003}


@pytest.mark.parametrize(
    ("name", "generator", "discriminator"),
    [
        ("mnist-ssl", 694_568, 1_538_770),
        ("cifar10-ssl", 4_933_382, 1_406_804),
        ("cifar10-mbd", 4_933_382, 1_504_404),
        ("svhn-ssl", 4_933_382, 626_580),
        ("svhn-mbd", 4_933_382, 1_504_404),
    ],
)
def test_the_networks_of_a_recipe_have_the_2016_scripts_parameter_counts(
    name: str, generator: int, discriminator: int
) -> None:
    recipe = find_recipe(name)
    with torch.device("meta"):
        networks = build_generator(recipe), build_discriminator(recipe, 10)
    counts = [sum(parameter.numel() for parameter in network.parameters()) for network in networks]
    assert counts == [generator, discriminator]


def test_the_softplus_recipe_differs_in_four_things() -> None:
    original, softplus = map(msgspec.structs.asdict, (MNIST_SSL, MNIST_SSL_SOFTPLUS))
    changed = {key for key in original if original[key] != softplus[key]}
    assert changed == {"name", "generator_output", "epochs", "decay_from", "averaging_rate"}


def test_softplus_then_sigmoid_changes_its_output_and_is_shorter() -> None:
    recipe = MNIST_SSL_SOFTPLUS_THEN_SIGMOID
    before, after = map(msgspec.structs.asdict, (MNIST_SSL_SOFTPLUS, recipe))
    assert {key for key in before if before[key] != after[key]} == {"name", "sigmoid_from", "epochs", "decay_from"}
    assert [recipe.output_at(epoch) for epoch in range(recipe.epochs)] == ["softplus"] * 20 + ["sigmoid"] * 55
    rates = [recipe.learning_rate_at(epoch) for epoch in range(recipe.epochs)]
    assert rates[:55] == [0.003] * 55
    assert rates[74] == pytest.approx(0.003 / 21)


def test_the_short_recipe_for_cifar_learns_the_labels_before_the_generator_comes() -> None:
    small, fast = map(msgspec.structs.asdict, (CIFAR10_SSL_HALF_WIDTH, CIFAR10_SSL_LABELS_FIRST))
    changed = {key for key in small if small[key] != fast[key]}
    schedule = {"epochs", "learning_rate", "decay_from"}
    assert changed == {"name", "flips", "shifts", "cutout", "mirrored_answers", "generator_from"} | schedule
    assert [CIFAR10_SSL_LABELS_FIRST.generator_plays_at(epoch) for epoch in range(68)] == [False] * 58 + [True] * 10
    rates = [CIFAR10_SSL_LABELS_FIRST.learning_rate_at(epoch) for epoch in range(68)]
    assert rates[:61] == pytest.approx([0.0015] * 61)
    assert rates[67] == pytest.approx(0.0015 / 8)


def test_the_rate_falls_linearly_over_the_last_part() -> None:
    recipe = customize(MNIST_SSL_SOFTPLUS, ["epochs=100", "decay_from=0.5", "learning_rate=0.002"])
    rates = [recipe.learning_rate_at(epoch) for epoch in range(100)]
    assert rates[:51] == [0.002] * 51
    assert rates[75] == pytest.approx(0.001)
    assert rates[99] == pytest.approx(0.002 / 50)
    assert customize(recipe, ["decay_from=0"]).learning_rate_at(0) == 0.002


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_found_by_its_name_and_survives_json(name: str) -> None:
    recipe = find_recipe(name)
    assert recipe.name == name
    assert msgspec.json.decode(msgspec.json.encode(recipe), type=type(recipe)) == recipe


def test_unknown_recipes_are_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean mnist-ssl"):
        find_recipe("mnist-sll")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("epochs", "key=value"),
        ("epoch=3", "did you mean epochs"),
        ("epochs=0", ">= 1"),
        ("epochs=1.5", "Expected `int`"),
        ("learning_rate=2", "<= 1"),
        ("learning_rate=nan", "not possible"),
        ("generator_output=tanh", "tanh"),
        ("channels=2", "2"),
        ("labels=3-per-clas", "per-class"),
        ("generator=false", "needs unlabeled_weight=0"),
        ("shifts=14", "<= 13"),
        ("mirrored_answers=true", "needs a convolutional network"),
        ("normalization=virtual-batch", "no virtual batch normalization"),
        ("network=multi-scale", "for square images of 32, 64, 128"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(setting: str, message: str) -> None:
    with pytest.raises(SpecificationError, match=message):
        customize(MNIST_SSL, [setting])


@pytest.mark.parametrize(
    ("recipe", "setting", "message"),
    [(CIFAR10_SSL, "labels=0", "labels=0"), (IMAGENET128, "crop=true", "simultaneous")],
)
def test_a_generator_can_only_join_later_where_labels_come_first(recipe: Recipe, setting: str, message: str) -> None:
    with pytest.raises(SpecificationError, match=message):
        customize(recipe, [setting, "generator_from=3"])


def test_the_labelled_subset_has_the_seed_unless_given_its_own() -> None:
    assert customize(MNIST_SSL, ["seed=4"]).subset_seed == 4
    assert customize(MNIST_SSL, ["seed=4", "data_seed=9"]).subset_seed == 9
    assert customize(MNIST_SSL, ["data_seed=9", "data_seed=none"]).subset_seed == MNIST_SSL.seed


def test_a_recipe_is_named_after_the_papers_experiment_and_its_own_idea() -> None:
    """What a method is worth today (fast, small) is not its name."""
    experiments = ("mnist-ssl", "mnist-mbd", "cifar10-ssl", "cifar10-mbd", "cifar10-table3", "svhn-ssl", "svhn-mbd")
    for name in RECIPES:
        assert name == "custom" or name.startswith((*experiments, "imagenet128")), name
        assert not name.endswith(("-fast", "-warm", "-small", "-tiny")), name


@pytest.mark.parametrize(
    ("former", "name"),
    [("mnist-ssl-warm", "mnist-ssl-softplus-then-sigmoid"), ("imagenet128-tiny", "imagenet128-ten-classes")],
)
def test_a_recipe_is_found_under_its_former_name(former: str, name: str) -> None:
    assert find_recipe(former) is RECIPES[name]


def test_a_warmed_rate_rises_from_a_fifth_and_then_falls() -> None:
    recipe = customize(find_recipe("cifar10-ssl-self-trained"), ["epochs=10", "learning_rate=0.05"])
    rates = [recipe.learning_rate_at(epoch) for epoch in range(10)]
    assert rates == pytest.approx([0.01, 0.03, 0.05, *(0.05 * left / 8 for left in range(7, 0, -1))])


def test_the_average_answers_beside_a_teacher_in_the_second_part() -> None:
    recipe = customize(find_recipe("cifar10-ssl-self-trained"), ["epochs=10", "teacher_until=0.6"])
    assert [epoch for epoch in range(10) if recipe.average_answers_at(epoch)] == [6, 7, 8, 9]
    assert customize(recipe, ["teacher=none"]).average_answers_at(0)


@pytest.mark.parametrize("setting", ["consistency_weight=0", "optimizer=adam"])
def test_settings_that_need_another_one_say_so(setting: str) -> None:
    with pytest.raises(SpecificationError, match="needs"):
        customize(find_recipe("cifar10-ssl-self-trained"), [setting, "weight_decay=0"])
