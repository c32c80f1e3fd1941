"""The registry says what the paper says, and its recipes exist."""

from __future__ import annotations

import pytest

from igan_zoo.errors import UnknownNameError
from igan_zoo.reproduction.published import HUMAN_RESULTS, SVHN, TABLE1, TABLES, Table
from igan_zoo.training.recipes.catalogue import find_recipe
from igan_zoo.training.recipes.settings import customize

# Typed from the paper's tables: mean, deviation, runs.
PAPER = {
    "table1": {
        "20": (1677, 452, 10),
        "50": (221, 136, 10),
        "100": (93, 6.5, 10),
        "200": (90, 4.2, 10),
        "ensemble-20": (1134, 445, 10),
        "ensemble-50": (142, 96, 10),
        "ensemble-100": (86, 5.6, 10),
        "ensemble-200": (81, 4.3, 10),
    },
    "table2": {
        "1000": (21.83, 2.01, 10),
        "2000": (19.61, 2.09, 10),
        "4000": (18.63, 2.32, 10),
        "8000": (17.72, 1.82, 10),
        "ensemble-1000": (19.22, 0.54, 10),
        "ensemble-2000": (17.25, 0.66, 10),
        "ensemble-4000": (15.59, 0.47, 10),
        "ensemble-8000": (14.87, 0.89, 10),
    },
    "svhn": {
        "500": (18.44, 4.8, 10),
        "1000": (8.11, 1.3, 10),
        "2000": (6.16, 0.58, 10),
        "ensemble-1000": (5.88, 1.0, 10),
    },
    "table3": {
        "real": (11.24, 0.12, 1),
        "ours": (8.09, 0.07, 1),
        "vbn-bn": (7.54, 0.07, 1),
        "l-ha": (6.86, 0.06, 1),
        "ls": (6.83, 0.06, 1),
        "l": (4.36, 0.04, 1),
        "mbf": (3.87, 0.03, 1),
    },
    "figure3": {"feature-matching": None, "minibatch-discrimination": None},
}


def test_every_number_is_the_papers() -> None:
    registered = {
        table.name: {
            row.name: (row.published.value, row.published.deviation, row.published.runs) if row.published else None
            for row in table.rows
        }
        for table in TABLES.values()
    }
    assert registered == PAPER
    assert [(one.right_percent, one.votes) for one in HUMAN_RESULTS] == [
        (52.4, 2000),
        (78.7, None),
        (71.4, None),
        (95.0, None),
    ]


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_row_has_a_place_in_the_order_of_value(table: Table) -> None:
    assert sorted(table.valuable_first) == sorted(row.name for row in table.rows)


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_the_recipes_of_a_row_are_of_its_data_and_fall_in_work(table: Table) -> None:
    for row in table.rows:
        recipes = [customize(find_recipe(variant.recipe), variant.settings) for variant in row.variants]
        assert {recipe.dataset for recipe in recipes} <= {table.dataset}
        if recipes:
            epochs = [recipe.epochs for recipe in recipes]
            assert (epochs[0], epochs[-1]) == (max(epochs), min(epochs))


def test_the_first_recipe_is_the_one_that_the_project_calls_by_the_papers_name() -> None:
    first = {table.name: {row.variants[0].recipe for row in table.rows if row.variants} for table in TABLES.values()}
    assert first["table1"] == {"mnist-ssl"}
    assert first["table2"] == {"cifar10-ssl"}
    assert first["svhn"] == {"svhn-ssl"}
    assert first["table3"] == {f"cifar10-table3-{name}" for name in ("ours", "vbn-bn", "l-ha", "ls", "l", "mbf")}


def test_every_row_is_of_all_training_images() -> None:
    images = {table.name: {row.training_images for row in table.rows} for table in TABLES.values()}
    assert images == {
        "table1": {60_000},
        "table2": {50_000},
        "svhn": {73_257},
        "table3": {50_000},
        "figure3": {60_000},
    }


def test_rows_are_found_in_the_tables_order() -> None:
    assert [row.name for row in TABLE1.find_rows(["ensemble-100", "20"])] == ["20", "ensemble-100"]
    assert TABLE1.find_rows([]) == TABLE1.rows
    with pytest.raises(UnknownNameError, match="svhn has no row '100'; did you mean 1000"):
        SVHN.find_rows(["100"])
