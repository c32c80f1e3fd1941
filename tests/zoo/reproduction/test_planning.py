"""What a budget buys: which recipes, how many epochs, and who goes without."""

from __future__ import annotations

from pathlib import Path

import pytest

from igan_zoo.errors import SpecificationError, TrainingError
from igan_zoo.reproduction.evidence import Evidence, with_subset
from igan_zoo.reproduction.planning import (
    Estimator,
    Job,
    Plan,
    Wanted,
    decide_full,
    decide_within,
    minutes_for,
    read_plan,
    wanted_trainings,
    without_satisfied,
    write_plan,
)
from igan_zoo.reproduction.published import TABLE1, TABLE3, Row
from igan_zoo.training.recipes import find_recipe
from igan_zoo.training.settings import Recipe, customize

# An epoch of MNIST has 600 steps; with the planner's margin it takes 72 s at this pace.
STEP = 0.1
EPOCH = 72.0


def row(name: str) -> Row:
    (found,) = TABLE1.find_rows([name])
    return found


def estimator(step: float = STEP) -> Estimator:
    return Estimator(lambda recipe: step, 60_000)


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
    recipes = [one.recipe(one.row.variants[0]) for one in wanted]
    assert {recipe.subset_seed for recipe in recipes} == {1}
    assert not wanted_trainings(TABLE1, TABLE1.find_rows(["ensemble-50"]), 1)
    assert not wanted_trainings(TABLE3, TABLE3.find_rows(["real"]), 5)


@pytest.mark.parametrize(
    ("epochs", "recipe", "trained"),
    [
        (300, "mnist-ssl", 300),
        (299, "mnist-ssl-softplus-then-sigmoid", 75),
        (75, "mnist-ssl-softplus-then-sigmoid", 75),
        (74, "mnist-ssl-softplus", 74),
    ],
)
def test_the_first_recipe_that_fits_is_taken_and_the_last_one_is_cut(epochs: int, recipe: str, trained: int) -> None:
    wanted = [Wanted(row("100"), 1, 1)]
    (job,), misfits = decide_within(wanted, epochs * EPOCH + 1, estimator(), asked="so much")
    assert (job.name, job.recipe.name, job.recipe.epochs) == ("100/seed1", recipe, trained)
    assert job.recipe == customize(find_recipe(recipe), [f"epochs={trained}"])
    assert misfits == []


def test_trainings_share_the_time_and_the_least_valuable_go_without_where_it_is_short() -> None:
    wanted = [Wanted(row(name), 1, 1) for name in ("100", "50", "200")]
    jobs, misfits = decide_within(wanted, 9 * EPOCH + 1, estimator(), asked="so much")
    assert [job.recipe.epochs for job in jobs] == [3, 3, 3]
    assert misfits == []
    jobs, misfits = decide_within(wanted, 2.5 * EPOCH, estimator(), asked="3 minutes")
    assert [(job.name, job.recipe.epochs) for job in jobs] == [("100/seed1", 1), ("50/seed1", 1)]
    (misfit,) = misfits
    assert misfit.wanted.name == "200/seed1"
    assert misfit.reason.startswith(
        "3 minutes left no time for it: one epoch of mnist-ssl-softplus takes about 72 s here"
    )
    assert misfit.reason.endswith("--budget 4 would")
    # And so it is.
    assert not decide_within(wanted, 4 * 60, estimator(), asked="4 minutes")[1]


def test_a_budget_without_room_for_an_epoch_is_refused_with_one_that_has_room() -> None:
    wanted = [Wanted(row("100"), 1, 1)]
    with pytest.raises(
        TrainingError, match=r"30 s is too small: one epoch .* about 72 s here; give --budget 2 or more"
    ):
        decide_within(wanted, 30, estimator(), asked="30 s")
    assert decide_within(wanted, 2 * 60, estimator(), asked="2")[0]
    assert [minutes_for(seconds) for seconds in (59, 61, 0.5)] == ["0.99", "2", "0.01"]


def test_the_whole_protocol_is_the_papers_recipe_whatever_it_takes() -> None:
    (job,) = decide_full([Wanted(row("100"), 4, 4)])
    assert job == Job("100/seed4", customize(find_recipe("mnist-ssl"), ["seed=4"]))


def test_each_kind_of_training_is_measured_once() -> None:
    measured: list[Recipe] = []

    def pace(recipe: Recipe) -> float:
        measured.append(recipe)
        return STEP

    estimate = Estimator(pace, 60_000)
    for name in ("100", "20"):
        for seed in (1, 2):
            assert estimate(Wanted(row(name), seed, seed).recipe(row(name).variants[0])).epoch_seconds == EPOCH
    assert len(measured) == 1
    estimate(customize(find_recipe("mnist-ssl"), ["labels=0"]))
    estimate(customize(find_recipe("mnist-ssl"), ["batch_size=50"]))
    assert len(measured) == 3


def test_epochs_before_the_generator_joins_are_measured_apart() -> None:
    """Theirs are steps of the labels alone, which take a quarter of the time."""
    measured: list[bool] = []

    def pace(recipe: Recipe) -> float:
        measured.append(recipe.generator_plays_at(0))
        return STEP if measured[-1] else STEP / 4

    estimate = Estimator(pace, 60_000)(customize(find_recipe("mnist-ssl"), ["generator_from=40", "epochs=52"]))
    assert measured == [True, False]
    assert (estimate.epoch_seconds, estimate.seconds) == (EPOCH, pytest.approx((40 / 4 + 12) * EPOCH))
    assert estimate.seconds_after(44) == pytest.approx(8 * EPOCH)
    assert estimate.seconds_after(52) == 0


def test_finished_trainings_stand_for_their_row_and_seeds_but_only_the_papers_for_the_whole_protocol() -> None:
    wanted = wanted_trainings(TABLE1, TABLE1.find_rows(["100"]), 2)
    warm = finished(find_recipe("mnist-ssl-softplus-then-sigmoid"))
    assert [one.name for one in without_satisfied(wanted, [warm], full=False)] == ["100/seed2"]
    assert len(without_satisfied(wanted, [warm], full=True)) == 2
    paper = finished(customize(find_recipe("mnist-ssl"), ["seed=2"]))
    assert [one.name for one in without_satisfied(wanted, [paper], full=True)] == ["100/seed1"]
    other_labels = finished(customize(find_recipe("mnist-ssl"), ["labels=50"]))
    assert len(without_satisfied(wanted, [other_labels], full=False)) == 2


def test_a_plan_survives_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    assert read_plan(path) == Plan()
    plan = Plan(decide_full([Wanted(row("100"), 1, 1)]))
    write_plan(path, plan)
    assert read_plan(path) == plan
    path.write_text('{"jobs": [{}]}')
    with pytest.raises(SpecificationError, match=r"plan\.json is no plan of igan-zoo reproduce"):
        read_plan(path)
