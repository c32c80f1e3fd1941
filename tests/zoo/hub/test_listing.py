"""Listing, searching and describing models, here and on the Hub, and clearing the cache."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import constants

from igan_zoo.hub import cache as hub_cache
from igan_zoo.hub import pulling
from igan_zoo.hub.listing import ListedModel, list_known, search_models
from igan_zoo.models import catalogue, store
from igan_zoo.models.directory import ModelDirectory
from tests.hub_standin.repositories import READ_TOKEN
from tests.hub_standin.server import StandIn

Cli = Callable[..., tuple[int, str, str]]
OURS = {entry.name for entry in catalogue.CATALOGUE}


def by_name(models: list[ListedModel]) -> dict[str, ListedModel]:
    return {model.name: model for model in models}


def test_a_listing_says_where_a_model_is_and_how_good(model: Path) -> None:
    pulling.pull("tiny", source=model)
    listed = by_name(list_known())
    assert set(listed) == OURS | {"tiny"}
    spec = ModelDirectory.open(model).spec
    assert listed["tiny"].places == ("cache",)
    assert listed["tiny"].size == sum(file.size for file in spec.files.values())
    assert listed["tiny"].error == spec.results[0].error
    assert listed[catalogue.DEFAULT_MODEL].places == ("bundled",)
    assert listed["imagenet128"].places == ("checkout",)


def test_patterns_choose_names() -> None:
    assert set(by_name(list_known(["mnist-*"]))) == {"mnist-mbd", "mnist-ssl"}
    assert set(by_name(list_known(["*-ssl", "none"]))) == {"mnist-ssl", "cifar10-ssl"}


def test_patterns_match_names_with_and_without_their_organization() -> None:
    assert hub_cache.matches("org/tiny-ssl", ["tiny-*"])
    assert hub_cache.matches("org/tiny-ssl", ["org/*"])
    assert not hub_cache.matches("org/tiny-ssl", ["org"])


def test_the_default_model_is_marked(model: Path, igan_zoo: Cli) -> None:
    header, *rows = igan_zoo("list")[1].splitlines()
    assert header.split() == ["model", "where", "size", "variants", "errors", "summary"]
    assert [row.split()[:2] for row in rows if " * " in row] == [[catalogue.DEFAULT_MODEL, "*"]]
    pulling.pull("tiny", source=model)
    assert [name for name, listed in by_name(list_known()).items() if listed.default] == ["tiny"]


@pytest.mark.parametrize("command", [["list", "--remote", "mnist-*"], ["search", "digits"]])
@pytest.mark.parametrize("offline", [True, False])
def test_without_the_hub_what_is_here_is_listed_at_once(
    igan_zoo: Cli, monkeypatch: pytest.MonkeyPatch, command: list[str], offline: bool
) -> None:
    from huggingface_hub.utils import close_session

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("nobody is to wait for the Hub"))
    close_session()
    code, output, errors = igan_zoo(*command)
    close_session()
    assert code == 0
    assert [row.split()[0] for row in output.splitlines()] == ["model", "mnist-mbd", "mnist-ssl"]
    (warning,) = errors.splitlines()
    assert warning.startswith("Only models on this machine are listed. ")
    assert ("HF_HUB_OFFLINE is set" if offline else "Cannot reach http://127.0.0.1:9") in warning


def test_remote_models_are_those_with_our_tag(
    standin: StandIn, exported_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, commit = standin.add("org/tiny", exported_model)
    standin.add("org/hidden", exported_model, private=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "README.md").write_text("---\ntags:\n- other\n---\n")
    standin.add("org/other", tmp_path / "other")
    assert set(by_name(list_known(remote=True))) == OURS | {"org/tiny"}
    assert set(by_name(list_known(remote=True, token=READ_TOKEN))) == OURS | {"org/tiny", "org/hidden"}
    entry = catalogue.CatalogueEntry("tiny", "small", "0" * 64, "org/tiny", commit)
    monkeypatch.setattr("igan_zoo.hub.listing.CATALOGUE", (entry,))
    monkeypatch.setitem(catalogue.BY_NAME, "tiny", entry)
    assert by_name(list_known(remote=True))["tiny"].places == ("Hub",)


def test_searching_reads_names_summaries_and_the_hub(standin: StandIn, exported_model: Path, igan_zoo: Cli) -> None:
    standin.add("org/tiny-classifier", exported_model)
    assert set(by_name(search_models("mnist softplus sigmoid"))) == {"mnist-ssl"}
    classifiers = {entry.name for entry in catalogue.CATALOGUE if "classifier" in entry.summary.lower()}
    assert set(by_name(search_models("classifier"))) == classifiers | {"org/tiny-classifier"}
    code, output, _ = igan_zoo("search", "tiny-classifier", "--json")
    assert code == 0
    assert [(row["name"], row["where"]) for row in json.loads(output)] == [("org/tiny-classifier", ["Hub"])]


def test_a_remote_model_is_described_from_its_config_alone(
    standin: StandIn, exported_model: Path, igan_zoo: Cli
) -> None:
    _, commit = standin.add("org/tiny", exported_model)
    code, output, _ = igan_zoo("info", "org/tiny", "--remote", "--json")
    assert code == 0
    assert json.loads(output)["path"] == f"org/tiny@{commit}"
    assert not [request for request in standin.requests if "config.json" not in request and "resolve" in request]
    assert igan_zoo("info", "org/tiny")[0] == 1
    assert "lists no mnist-ssl on the Hub" in igan_zoo("info", "mnist-ssl", "--remote")[2]


def test_the_cache_is_listed_and_pruned(standin: StandIn, exported_model: Path, igan_zoo: Cli) -> None:
    standin.add("org/tiny", exported_model)
    path = pulling.pull("org/tiny").path
    leftover = store.home() / "models" / "org" / ".tiny.abc.part"
    leftover.mkdir()
    assert igan_zoo("cache", "path")[1].strip() == str(store.home() / "models")
    ((row),) = json.loads(igan_zoo("cache", "list", "org/*", "--json")[1])
    assert (row["name"], row["path"]) == ("org/tiny", str(path))
    assert igan_zoo("cache", "list", "none")[1] == ""

    copies = Path(constants.HF_HUB_CACHE) / "models--org--tiny"
    code, _, errors = igan_zoo("cache", "prune", "--dry-run")
    assert code == 0
    assert "2 folders would be removed" in errors
    assert leftover.exists()
    assert copies.exists()
    igan_zoo("cache", "prune")
    assert not leftover.exists()
    assert not copies.exists()
    assert store.resolve(None).path == path

    igan_zoo("cache", "prune", "org/*")
    assert not path.exists()
    assert store.resolve(None).name == catalogue.DEFAULT_MODEL


def test_pruning_leaves_other_models_of_the_hub_alone(standin: StandIn, tmp_path: Path) -> None:
    from igan_zoo.hub.client import client

    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text('{"model_type": "bert"}')
    standin.add("org/other", tmp_path / "other")
    client().hf_hub_download("org/other", "config.json")
    assert hub_cache.removable(["*"]) == []


def test_a_damaged_cached_model_is_listed_and_can_be_removed(model: Path, igan_zoo: Cli) -> None:
    shutil.copytree(model, store.home() / "models" / "tiny")
    (store.home() / "models" / "tiny" / "config.json").write_text("{")
    assert igan_zoo("list", "tiny")[1].splitlines()[1].split() == ["tiny", "cache", "-", "-", "-"]
    assert "0 bytes" in igan_zoo("cache", "list")[1]
    igan_zoo("cache", "prune", "tiny")
    assert not (store.home() / "models" / "tiny").exists()
