"""Which finished trainings stand beside which number, and what a cell says of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from igan_zoo.reproduction.cells import Cell, make_cell, mixed_ensembles
from igan_zoo.reproduction.evidence import Evidence, Found, matching, with_subset
from igan_zoo.reproduction.published import TABLE1, Row
from igan_zoo.training.recipes.catalogue import find_recipe
from igan_zoo.training.recipes.departures import departures
from igan_zoo.training.recipes.settings import customize


def row(name: str) -> Row:
    (found,) = TABLE1.find_rows([name])
    return found


def training(
    name: str, *settings: str, members: int = 1, error: float | None = None, is_model: bool = False
) -> Evidence:
    recipe = with_subset(customize(find_recipe(name), settings))
    path = Path(f"{name}-{'-'.join(settings)}-{members}")
    labelled = 100 if recipe.labels == "10-per-class" else int(recipe.labels)
    return Evidence(path, recipe, labelled, 60.0, "igan-zoo train", members, error, is_model)


def by_seed(found: Sequence[Evidence]) -> tuple[float, None]:
    """Ten times the sum of the seeds, for an ensemble less its members."""
    return 10.0 * sum(one.recipe.seed for one in found) - (len(found) if len(found) > 1 else 0), None


def cell(name: str, evidence: list[Evidence]) -> Cell:
    return make_cell(row(name), evidence, by_seed, reason="no reason")


def test_the_mean_and_deviation_are_over_the_seeds_of_one_protocol() -> None:
    found = cell("100", [training("mnist-ssl", f"seed={seed}") for seed in (3, 1, 2)])
    (group,) = found.groups
    assert [one.seeds for one in group.measured] == [(1,), (2,), (3,)]
    assert (group.mean, group.deviation) == (20, 10)
    assert found.shortfalls == ("3 seeds of 10",)
    assert found.empty_because is None
    alone = cell("100", [training("mnist-ssl")]).groups[0]
    assert (alone.mean, alone.deviation) == (10, None)


def test_ten_seeds_of_the_papers_recipe_fall_short_of_nothing() -> None:
    assert cell("100", [training("mnist-ssl", f"seed={seed}") for seed in range(1, 11)]).shortfalls == ()


def test_less_data_is_less_than_the_papers_protocol() -> None:
    few = [replace(training("mnist-ssl", f"seed={seed}"), training_images=6_000) for seed in range(1, 11)]
    assert cell("100", few).shortfalls == ("6,000 training images and not 60,000",)
    assert cell("100", [replace(one, training_images=60_000) for one in few]).shortfalls == ()


def test_protocols_do_not_mix_and_no_test_error_decides_which_is_shown() -> None:
    softplus, then_sigmoid = "mnist-ssl-softplus", "mnist-ssl-softplus-then-sigmoid"
    one = training(then_sigmoid, "seed=1", error=0.01)
    two = [training(softplus, f"seed={seed}", error=0.02) for seed in (8, 9)]
    groups = cell("100", [one, *two]).groups
    assert [(group.recipe, len(group.measured)) for group in groups] == [(softplus, 2), (then_sigmoid, 1)]
    better, worse = training(softplus, "seed=9", error=0.01), training(then_sigmoid, error=0.02)
    assert [group.recipe for group in cell("100", [worse, better]).groups] == [softplus, then_sigmoid]
    full = training("mnist-ssl", "seed=5", error=0.5)
    assert cell("100", [one, *two, full]).groups[0].recipe == "mnist-ssl"


def test_a_named_departure_is_a_protocol_of_its_own_and_says_what_departs() -> None:
    early = training("mnist-ssl-softplus-then-sigmoid", "sigmoid_from=30", "epochs=60", "decay_from=0.75")
    found = cell("100", [early])
    assert found.groups[0].departures == (
        "generator_output=softplus (sigmoid)",
        "sigmoid_from=30 (none)",
        "epochs=60 (300)",
        "decay_from=0.75 (1)",
        "averaging_rate=0.001 (0.0001)",
    )
    epochs, recipe, seeds = found.shortfalls
    assert (epochs, seeds) == ("60 of 300 epochs", "1 seed of 10")
    assert recipe.startswith(
        "the recipe mnist-ssl-softplus-then-sigmoid with generator_output=softplus (sigmoid), sigmoid_from=30 (none)"
    )


def test_rows_take_their_own_labels_however_they_are_written() -> None:
    found = [training("mnist-ssl", "labels=10-per-class"), training("mnist-ssl", "labels=50")]
    assert matching(row("100"), found) == found[:1]
    assert matching(row("50"), found) == found[1:]
    assert matching(row("100"), [training("mnist-mbd", "labels=100")]) == []


def test_a_classifier_of_the_labels_alone_is_another_method() -> None:
    alone = training("mnist-ssl", "generator=false", "unlabeled_weight=0")
    assert matching(row("100"), [alone]) == []


def test_an_ensemble_is_of_models_that_share_their_labelled_images() -> None:
    members = [training("mnist-ssl", f"seed={seed}", "data_seed=1") for seed in (1, 2, 3)]
    other_labels = training("mnist-ssl", "seed=7")
    found = cell("ensemble-100", [*members, other_labels])
    (measured,) = found.groups[0].measured
    assert (measured.members, measured.seeds, measured.subset, measured.value) == (3, (1, 2, 3), 1, 57)
    assert "ensembles of 3 models instead of 10" in found.shortfalls
    assert "1 ensemble and not of 10 labeled subsets" in found.shortfalls


def test_single_models_are_one_of_each_labelled_subset() -> None:
    runs = [
        training("mnist-ssl", "seed=1"),
        training("mnist-ssl", "seed=2", "data_seed=1"),
        training("mnist-ssl", "seed=3"),
    ]
    assert [one.seeds for one in cell("100", runs).groups[0].measured] == [(1,), (3,)]
    shared = [training("mnist-ssl", f"seed={seed}", "data_seed=9") for seed in (1, 2)]
    found = cell("100", shared)
    assert len(found.groups[0].measured) == 2
    assert "all on the same labeled images" in found.shortfalls


def test_a_model_that_is_an_ensemble_goes_to_the_ensembles_row() -> None:
    model = training("mnist-ssl", members=10, is_model=True)
    assert cell("ensemble-100", [model]).groups[0].measured[0].members == 10
    assert cell("100", [model]).groups == ()


def test_an_ensemble_over_different_labels_stands_in_no_cell() -> None:
    runs = [training("mnist-ssl", f"seed={seed}") for seed in (1, 2)]
    empty = cell("ensemble-100", runs)
    assert (empty.groups, empty.empty_because) == ((), "no reason")
    (beside,) = mixed_ensembles(row("ensemble-100"), runs, by_seed).items()
    assert beside[0] == "mnist-ssl"
    assert beside[1].seeds == (1, 2)


def test_a_model_and_its_run_are_one_training_with_the_runs_validation_error() -> None:
    found = Found([training("mnist-ssl", is_model=True)])
    found.add(
        Found([Evidence(Path("run"), with_subset(find_recipe("mnist-ssl")), 100, 1, "", 1, 0.02, run=Path("run"))])
    )
    (one,) = found.evidence
    assert (one.is_model, one.validation_error, one.run) == (True, 0.02, Path("run"))


@pytest.mark.parametrize("name", ["mnist-ssl", "cifar10-table3-l"])
def test_a_recipe_does_not_depart_from_itself(name: str) -> None:
    assert departures(customize(find_recipe(name), ["seed=3", "labels=20"]), find_recipe(name)) == ()
