"""Where skips are not accepted, each one fails; and what the list accepts can still happen."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.skips import VARIABLE, accepted_skips

LIST = REPOSITORY / "tests" / "accepted_skips.toml"

TESTS = """
import pytest

def test_passes():
    pass

@pytest.mark.xfail(reason="is known")
def test_fails_as_expected():
    assert False

@pytest.mark.skipif(True, reason="needs a moon")
def test_marked():
    pass

@pytest.fixture
def sun():
    pytest.skip("needs a sun")

def test_in_a_fixture(sun):
    pass

def test_in_its_body():
    pytest.skip("needs a comet of 1910")
"""
WHOLE_FILE = "import pytest\npytest.importorskip('no_such_module', reason='needs no_such_module')\n"


def test_a_skip_that_is_not_listed_fails(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").touch()
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "test_file.py").write_text(WHOLE_FILE)
    (tmp_path / "list.toml").write_text('[[skip]]\ntests = "test_some.py"\nreason = "needs a comet"\nwhy = "Rare."\n')
    environment = {**os.environ, VARIABLE: "list.toml", "PYTHONPATH": str(REPOSITORY)}
    options = ["-p", "tests.skips", "-p", "no:cacheprovider", "--continue-on-collection-errors"]
    command = [sys.executable, "-m", "pytest", *options]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 1, run.stdout
    assert "1 passed, 1 skipped, 1 xfailed, 3 errors" in run.stdout
    for reason in ("needs a moon", "needs a sun", "needs no_such_module"):
        assert f"Skipped ({reason}), which list.toml does not accept." in run.stdout
    assert "comet" not in run.stdout


@pytest.mark.parametrize("entry", accepted_skips(str(LIST)), ids=lambda entry: f"{entry['tests']}: {entry['reason']}")
def test_every_listed_skip_can_happen(entry: dict[str, str]) -> None:
    assert entry.keys() == {"tests", "reason", "why"}
    named = REPOSITORY / entry["tests"]
    assert any(entry["reason"] in file.read_text() for file in ([named] if named.is_file() else named.rglob("*.py")))
    assert entry["why"]
