"""Which trainings rows want, and in which order."""

from __future__ import annotations

from pathlib import Path

from igan_zoo.reproduction.evidence import Evidence, with_subset
from igan_zoo.reproduction.published import TABLE1, TABLE3
from igan_zoo.reproduction.request import Request
from igan_zoo.reproduction.trainings import command_of, trainings_to_do, wanted_trainings
from igan_zoo.training.recipes.catalogue import find_recipe
from igan_zoo.training.recipes.settings import Recipe, customize


def finished(recipe: Recipe) -> Evidence:
    return Evidence(Path("run"), with_subset(recipe), int(recipe.labels), 1.0, "igan-zoo train")


def test_every_row_gets_its_first_seed_before_any_a_second_one_the_most_valuable_first() -> None:
    rows = TABLE1.find_rows(["20", "100", "ensemble-100"])
    names = [one.name for one in wanted_trainings(TABLE1, rows, 2)]
    assert names == ["100/seed1", "20/seed1", "100/seed2", "20/seed2", "ensemble-100/seed2"]


def test_members_of_an_ensemble_share_the_labels_of_the_first_which_is_the_single_model() -> None:
    wanted = wanted_trainings(TABLE1, TABLE1.find_rows(["ensemble-50"]), 3)
    assert [(one.name, one.seed, one.subset) for one in wanted] == [
        ("50/seed1", 1, 1),
        ("ensemble-50/seed2", 2, 1),
        ("ensemble-50/seed3", 3, 1),
    ]
    assert {one.recipe(full=True).subset_seed for one in wanted} == {1}
    assert not wanted_trainings(TABLE1, TABLE1.find_rows(["ensemble-50"]), 1)
    assert not wanted_trainings(TABLE3, TABLE3.find_rows(["real"]), 5)


def test_the_whole_protocol_is_the_papers_recipe_and_minutes_are_for_the_shortest_one() -> None:
    (one,) = wanted_trainings(TABLE1, TABLE1.find_rows(["100"]), 1)
    assert one.recipe(full=True) == find_recipe("mnist-ssl")
    assert one.recipe(full=False) == find_recipe("mnist-ssl-softplus-then-sigmoid")


def test_finished_trainings_stand_for_their_row_and_seeds_but_only_the_papers_for_the_whole_protocol() -> None:
    def to_do(budget: float | str | None, evidence: Evidence) -> list[str]:
        request = Request(TABLE1, TABLE1.find_rows(["100"]), "data", Path("out"), budget=budget, seeds=2)
        return [one.name for one in trainings_to_do(request, [evidence])]

    short = finished(find_recipe("mnist-ssl-softplus-then-sigmoid"))
    assert to_do(5, short) == ["100/seed2"]
    assert to_do("full", short) == ["100/seed1", "100/seed2"]
    assert to_do("full", finished(customize(find_recipe("mnist-ssl"), ["seed=2"]))) == ["100/seed1"]
    assert to_do(5, finished(customize(find_recipe("mnist-ssl"), ["labels=50"]))) == ["100/seed1", "100/seed2"]
    assert to_do(None, short) == []


def test_the_command_of_a_training_writes_where_the_report_looks() -> None:
    request = Request(TABLE1, TABLE1.rows, "my digits", Path("out"), budget=5, seeds=2, threads=4)
    *_, member = wanted_trainings(TABLE1, TABLE1.find_rows(["ensemble-50"]), 2)
    assert command_of(member, request) == (
        "igan-zoo train mnist-ssl-softplus-then-sigmoid --data 'my digits' --labels 50 --seed 2 --threads 4 "
        "--set data_seed=1 --out out/runs/ensemble-50/seed2 --resume"
    )
