"""The page on the command line lists exactly the environment variables that the code reads or sets."""

from __future__ import annotations

import ast
import re

from tests.conftest import REPOSITORY

PAGE = (REPOSITORY / "docs" / "command-line.md").read_text()
VARIABLE = re.compile(r"CC|RANK|[A-Z]+(_[A-Z0-9]+)+")


def in_the_code() -> set[str]:
    """Strings that look like variables, in files that use the environment."""
    found: set[str] = set()
    for folder in ("zoo", "training", "export", "serving"):
        for path in (REPOSITORY / folder).rglob("*.py"):
            text = path.read_text()
            if re.search(r"environ|envvar|server_token_option", text):
                strings = [node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)]
                found |= {value for value in strings if isinstance(value, str) and VARIABLE.fullmatch(value)}
    return found


def test_the_table_has_the_variables_of_the_code_and_no_others() -> None:
    table = PAGE.split("igan-zoo reads:")[1].split("Its libraries read")[0]
    listed = re.findall(r"`(\w+)`", "".join(line.split("|")[1] for line in table.splitlines() if line.startswith("|")))
    assert len(listed) == len(set(listed))
    assert set(listed) == in_the_code()
