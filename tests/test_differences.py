"""The page on differences from the 2016 code and the marks in the source say the same."""

from __future__ import annotations

import re

from tests.conftest import REPOSITORY

PAGE = REPOSITORY / "docs" / "differences.md"
SOURCES = ("zoo", "training", "export", "serving")
MARK = re.compile(r"Differs from the 2016 code")


def marked() -> set[str]:
    files = (path for folder in SOURCES for path in (REPOSITORY / folder).rglob("*.py"))
    return {str(path.relative_to(REPOSITORY)) for path in files if MARK.search(path.read_text())}


def test_every_row_names_a_file_that_is_marked_and_every_marked_file_has_a_row() -> None:
    section = PAGE.read_text().split("## The 2016 code and this one")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
    named = [re.search(r"\| `([^`]+)` \|$", row) for row in rows]
    assert all(named), "each row ends with its file"
    assert {match[1] for match in named if match} == marked()


def test_the_page_speaks_of_settings_and_recipes_that_exist() -> None:
    from igan_zoo.training.recipes.catalogue import RECIPES

    names = re.findall(r"`((?:mnist|cifar10|svhn|imagenet128)-[a-z0-9-]+)`", PAGE.read_text())
    assert names
    assert set(names) <= RECIPES.keys()
