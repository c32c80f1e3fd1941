"""What the command line says of itself: doctor, --version, recipes, completion."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from igan_zoo import diagnosis
from igan_zoo.machine.versions import installed_versions
from igan_zoo.models import store

Cli = Callable[..., tuple[int, str, str]]


def test_doctor_runs_a_graph_and_lists_what_is_here(igan_zoo: Cli) -> None:
    found = json.loads(igan_zoo("doctor", "--json")[1])
    cpu = found["providers"][0]
    assert (cpu["device"], cpu["works"], cpu["provider"]) == ("cpu", True, "CPUExecutionProvider")
    assert cpu["milliseconds"] > 0
    assert found["versions"]["onnxruntime"]
    assert found["models"]["mnist-ssl"] == ["bundled"]
    assert found["scorers"][0] == {
        "name": "inception-2015-12-05",
        "ready": False,
        "path": str(store.home() / "scorers" / "inception-2015-12-05.onnx"),
    }
    assert {cache["holds"] for cache in found["caches"]} >= {"pulled models", "scorers"}
    code, output, _ = igan_zoo("doctor")
    assert "works: CPUExecutionProvider" in output
    assert (code == 0) == ("No problems found." in output)


def advice(igan_zoo: Cli, problem: str) -> str:
    """The advice that doctor gives for a problem, which makes it fail."""
    code, output, _ = igan_zoo("doctor", "--json")
    assert code == 1
    found = [row["advice"] for row in json.loads(output)["problems"] if problem in row["what"]]
    assert len(found) == 1, output
    return str(found[0])


def test_two_runtimes_at_once_are_a_problem(igan_zoo: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    both = {"onnxruntime": "1.21", "onnxruntime-gpu": "1.21"}
    monkeypatch.setattr(diagnosis, "installed_versions", lambda names: installed_versions(names) | both)
    assert "pip uninstall onnxruntime onnxruntime-gpu" in advice(igan_zoo, "both installed")
    # With a runtime for CUDA, a device that does not run is a problem, too.
    assert "nvidia-smi" in advice(igan_zoo, "The device cuda does not run")


def test_problems_of_folders_come_with_advice(igan_zoo: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = store.home() / "models" / "tiny"
    damaged.mkdir(parents=True)
    (damaged / "config.json").write_text("{")
    assert "igan-zoo cache prune tiny" in advice(igan_zoo, "is not a valid model specification")
    assert "--weights FILE" in advice(igan_zoo, "HF_HUB_OFFLINE is set")
    monkeypatch.setenv("IGAN_ZOO_MIRROR", str(tmp_path / "gone"))
    assert "correct or unset it" in advice(igan_zoo, "Models cannot be listed")


def test_version_names_the_runtime_and_its_providers(igan_zoo: Cli) -> None:
    code, output, _ = igan_zoo("--version")
    assert code == 0
    first, second = output.splitlines()
    assert first.startswith("igan-zoo, version ")
    assert second.startswith("onnxruntime, version ")
    assert "CPUExecutionProvider" in second


def test_every_recipe_has_a_sentence(igan_zoo: Cli) -> None:
    from igan_zoo.training.recipes.catalogue import RECIPES
    from igan_zoo.training.recipes.sentences import SENTENCES

    assert SENTENCES.keys() == RECIPES.keys()
    header, *rows = igan_zoo("recipes")[1].splitlines()
    assert header.split() == ["recipe", "trains"]
    assert [row.split()[0] for row in rows] == list(SENTENCES)
    assert json.loads(igan_zoo("recipes", "--json")[1])[0]["name"] == "mnist-ssl"


@pytest.mark.parametrize(
    ("words", "name"),
    [("train mnist-ssl-so", "mnist-ssl-softplus"), ("sample mnist-s", "mnist-ssl"), ("pull cifar10-m", "cifar10-mbd")],
)
def test_names_of_recipes_and_models_complete(words: str, name: str) -> None:
    from click.shell_completion import ShellComplete

    from igan_zoo.cli import cli

    *before, incomplete = words.split()
    completer = ShellComplete(cli, {}, "igan-zoo", "_IGAN_ZOO_COMPLETE")
    found = completer.get_completions(before, incomplete)
    assert name in [item.value for item in found]
    # A path may stand there as well.
    assert "file" in [item.type for item in found]
