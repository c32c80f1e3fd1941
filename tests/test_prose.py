"""Idioms that no native engineer writes, and British spellings, kept out of what users read."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

TICS = re.compile(
    r"\b(anew|for want of|whoever|wants|go(es)? on|went on|stands|is none|mend(s|ed)?|beside|(is|are) of|as to|"
    r"at hand|of ours|one's own|meanwhile|whilst|towards|artefacts?|(organ|recogn|quant|initial|optim)is\w+|"
    r"colours?|grey|neighbours?|labelled|normalis\w+|behaviour|centred?|licence|"
    r"in place of|of (its|their|our|his|one's) own|by heart|laboratory|cut off|passed over|these very|nothing but|"
    r"pixels a side|of wall time|go(es)? with|(the )?training does not see|choices? of labels|game (is|was|are) played|"
    r"trainings|(?<!here )(is|are|was|were) no (?!longer|more|better|worse|way))\b"
)
# Names of the protocol, of settings and of commands.
ALLOWED = re.compile(r"`[^`]*`|\bcentred-12[78](\.5)?|--grey|\bigan-zoo catalogue\b")
PAGES = sorted(
    [REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]
    + [*(REPOSITORY / "docs").rglob("*.md"), *(REPOSITORY / "models").glob("*/README.md")]
)
CODE = sorted(
    path for folder in ("zoo", "training", "export", "serving") for path in (REPOSITORY / folder).rglob("*.py")
)
WEB = sorted((REPOSITORY / "serving" / "server" / "web" / "page").glob("*.html"))


def found(text: str) -> list[str]:
    return [match[0] for match in TICS.finditer(" ".join(ALLOWED.sub("", text).split()))]


@pytest.mark.parametrize("page", [*PAGES, *WEB], ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_pages_read_as_native_english(page: Path) -> None:
    text = re.sub(r"```.*?```|^    [^\n]*$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    assert found(text) == []


def is_command(node: ast.AST) -> bool:
    """Whether this is a command, whose docstring is its help."""
    return any("command" in ast.unparse(one) for one in getattr(node, "decorator_list", []))


def messages(tree: ast.AST) -> Iterator[str]:
    """The text of errors and of the command line's help: strings with a space, and the docstrings of commands."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and not is_command(node)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value if " " in node.value else ""


def test_messages_read_as_native_english() -> None:
    tics = {
        f"{path.relative_to(REPOSITORY)}: {message}": words
        for path in CODE
        for message in messages(ast.parse(path.read_text()))
        if (words := found(message))
    }
    assert tics == {}
