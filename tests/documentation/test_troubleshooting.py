"""The errors that the page on troubleshooting explains are errors of the code, word for word."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator

import pytest

from tests.conftest import REPOSITORY

PAGE = (REPOSITORY / "docs" / "troubleshooting.md").read_text()
GAPS = "…: "
QUOTED = [block.strip() for block in re.findall(r"```text\n(.*?)```", PAGE, flags=re.DOTALL)]


@functools.cache
def messages() -> list[str]:
    return list(strings())


def strings() -> Iterator[str]:
    """Every string of the code, with … for what is filled in."""
    for folder in ("zoo", "training", "export", "serving"):
        for path in sorted((REPOSITORY / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.JoinedStr):
                    yield "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)  # type: ignore[misc]
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


def same(quoted: str, message: str) -> bool:
    """Whether the message, its gaps filled in, can read as the quotation; a gap may hold words of another message."""
    parts = [part for part in message.split("…") if part.strip()]
    if len("".join(parts)) <= len(quoted) / 4 or not all(part in quoted for part in parts):
        return False
    return re.fullmatch(".*".join(map(re.escape, parts)), quoted.strip(GAPS)) is not None


@pytest.mark.parametrize("quoted", QUOTED, ids=lambda quoted: quoted[:40])
def test_the_error_is_one_of_the_code(quoted: str) -> None:
    assert any(same(quoted, message.strip(GAPS)) for message in messages())


def test_there_are_ten_errors_each_with_advice() -> None:
    sections = PAGE.split("\n## ")[1:]
    assert len(sections) >= 10
    assert all(section.split("```")[-1].strip() for section in sections)


def test_a_sentence_of_no_error_is_noticed() -> None:
    assert not any(same("The moon of … is made of cheese; eat less of it.", message) for message in messages())
