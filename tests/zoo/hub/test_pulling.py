"""Pulling from the Hub: found, checked, cached, offline. The Hub is a stand-in on this machine."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import constants

from igan_zoo.errors import ChecksumError, HubError, HubUnreachableError, ModelDirectoryError
from igan_zoo.hub import pulling
from igan_zoo.hub.client import Address, parse_address
from igan_zoo.machine.files import sha256_of
from igan_zoo.models import catalogue, store
from igan_zoo.models.directory import ModelDirectory
from tests.conftest import REPOSITORY
from tests.hub_standin.repositories import READ_TOKEN
from tests.hub_standin.server import StandIn


@pytest.fixture
def published(standin: StandIn, exported_model: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A repository with the model, and a catalogue that pins it under the name tiny; returns the commit."""
    _, commit = standin.add("org/tiny", exported_model)
    pin = sha256_of(exported_model / "config.json")
    entry = catalogue.CatalogueEntry("tiny", "", pin, "org/tiny", commit)
    monkeypatch.setitem(catalogue.BY_NAME, "tiny", entry)
    return commit


def content(path: Path) -> dict[str, bytes]:
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()}


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("org/name", Address("org/name")),
        ("org/name@v1.0", Address("org/name", "v1.0")),
        ("org/name@refs/pr/3", Address("org/name", "refs/pr/3")),
        ("mnist-ssl", None),
        ("../models/name", None),
        ("/models/name", None),
        ("a/b/c", None),
        ("org/name@", None),
    ],
)
def test_addresses_have_an_organization_and_perhaps_a_revision(text: str, address: Address | None) -> None:
    assert parse_address(text) == address


def test_a_name_of_the_catalogue_is_pulled_from_its_repository(published: str, exported_model: Path) -> None:
    directory = pulling.pull("tiny")
    label = directory.place
    assert label == "Hub"
    assert directory.path == store.home() / "models" / "tiny"
    assert content(directory.path) == content(exported_model)
    assert store.resolve(None).path == directory.path


def test_a_repository_is_pulled_by_its_address_and_keeps_apart_from_the_name(
    standin: StandIn, published: str, exported_model: Path
) -> None:
    directory = pulling.pull("org/tiny")
    assert directory.path == store.home() / "models" / "org" / "tiny"
    assert store.resolve("org/tiny").path == directory.path
    with pytest.raises(ModelDirectoryError, match="igan-zoo pull tiny"):
        store.resolve("tiny")
    standin.repositories["org/tiny"].replace("README.md", b"changed")
    with pytest.raises(ChecksumError):
        pulling.pull("org/tiny")
    assert pulling.pull(f"org/tiny@{published}").path == directory.path


def test_a_second_pull_asks_nothing(standin: StandIn, published: str) -> None:
    pulling.pull("tiny")
    before = len(standin.requests)
    assert pulling.pull("tiny").place == "cache"
    shutil.rmtree(store.home())
    assert pulling.pull("tiny").place == "Hub"
    assert len(standin.requests) == before


def test_offline_means_no_connection_at_all(
    standin: StandIn, published: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pulling.pull("org/tiny")

    def refuse(*arguments: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert pulling.pull("org/tiny").place == "Hub"
    assert pulling.pull("tiny").place == "Hub"
    shutil.rmtree(tmp_path / "hub")
    assert pulling.pull("org/tiny").place == "cache"
    shutil.rmtree(store.home())
    with pytest.raises(HubUnreachableError, match=r"HF_HUB_OFFLINE is set, .* --from DIR"):
        pulling.pull("org/tiny")


def test_the_hub_is_asked_before_the_package_which_serves_where_there_is_no_network(
    standin: StandIn,
    published: str,
    exported_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    bundle = store.DirectoryStore("bundled", tmp_path / "bundle")
    shutil.copytree(exported_model, bundle.root / "tiny")
    monkeypatch.setattr(store, "bundled_store", lambda: bundle)
    assert pulling.pull("tiny").place == "Hub"
    shutil.rmtree(store.home())
    shutil.rmtree(tmp_path / "hub")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    directory = pulling.pull("tiny")
    label = directory.place
    assert (directory.path, label) == (bundle.root / "tiny", "bundled")
    said = caplog.text
    assert "tiny comes from this machine (bundled)." in said
    assert "org/tiny@" in said
    assert "HF_HUB_OFFLINE" in said


def test_the_environment_of_huggingface_hub_holds_for_us(
    standin: StandIn, published: str, tmp_path: Path, process: Callable[..., tuple[int, str, str]]
) -> None:
    """HF_ENDPOINT, HF_HOME and HF_TOKEN, read by a process of its own."""
    standin.repositories["org/tiny"].private = True
    environment = {"HF_ENDPOINT": standin.endpoint, "HF_HOME": str(tmp_path / "elsewhere"), "HF_HUB_OFFLINE": "0"}
    assert process("pull", "org/tiny", **environment)[0] == 1
    code, output, _ = process("pull", "org/tiny", HF_TOKEN=READ_TOKEN, **environment)
    assert code == 0, output
    assert "tiny (Hub)" in output
    assert (tmp_path / "elsewhere" / "hub" / "models--org--tiny").is_dir()


@pytest.fixture
def process(tmp_path: Path) -> Callable[..., tuple[int, str, str]]:
    """Runs the command line in a process of its own."""
    import subprocess

    def run(*arguments: str, **environment: str) -> tuple[int, str, str]:
        result = subprocess.run(
            [sys.executable, "-m", "igan_zoo", *arguments],
            env={**os.environ, **environment},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        return result.returncode, result.stdout, result.stderr

    return run


def test_a_model_that_is_nowhere_published_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(catalogue.BY_NAME, "tiny", catalogue.CatalogueEntry("tiny", "", "0" * 64))
    with pytest.raises(ModelDirectoryError, match=r"it is not on the Hub; .*--from DIR .*IGAN_ZOO_MIRROR"):
        pulling.pull("tiny")


def test_a_cached_copy_of_an_older_catalogue_is_replaced(
    standin: StandIn, exported_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = Path(shutil.copytree(exported_model, tmp_path / "old" / "tiny"))
    config = json.loads((old / "config.json").read_text())
    (old / "config.json").write_text(json.dumps({**config, "summary": "older"}))
    pulling.pull("tiny", source=old)
    _, commit = standin.add("org/tiny", exported_model)
    entry = catalogue.CatalogueEntry("tiny", "", sha256_of(exported_model / "config.json"), "org/tiny", commit)
    monkeypatch.setitem(catalogue.BY_NAME, "tiny", entry)
    directory = pulling.pull("tiny")
    label = directory.place
    assert (label, directory.spec.summary) == ("Hub", config["summary"])


def test_another_config_than_the_pinned_one_is_refused_with_both_sums(
    standin: StandIn, published: str, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned = catalogue.BY_NAME["tiny"].config_sha256
    commit = standin.repositories["org/tiny"].replace("config.json", (model / "config.json").read_bytes() + b"\n")
    entry = catalogue.CatalogueEntry("tiny", "", pinned, "org/tiny", commit)
    monkeypatch.setitem(catalogue.BY_NAME, "tiny", entry)
    (model / "config.json").write_bytes((model / "config.json").read_bytes() + b"\n")
    with pytest.raises(ChecksumError) as caught:
        pulling.pull("tiny")
    assert pinned in str(caught.value)
    assert sha256_of(model / "config.json") in str(caught.value)
    assert not (store.home() / "models" / "tiny").exists()


def test_a_repository_of_something_else_is_refused(standin: StandIn, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "README.md").write_text("---\n{}\n---\n")
    standin.add("org/other", tmp_path / "other")
    with pytest.raises(HubError, match=r"org/other is not a complete igan-zoo model: it has no config\.json"):
        pulling.pull("org/other")


def test_to_copies_a_repository_anywhere(published: str, exported_model: Path, tmp_path: Path) -> None:
    directory = pulling.pull("org/tiny", to=tmp_path / "here")
    assert content(directory.path) == content(exported_model)
    assert not (store.home() / "models").exists()


@pytest.fixture
def with_variants(model: Path) -> Path:
    """The model with an fp16 classifier, which is the plain one under another name."""
    config = json.loads((model / "config.json").read_text())
    shutil.copy(model / "onnx" / "classifier.onnx", model / "onnx" / "classifier_fp16.onnx")
    config["files"]["onnx/classifier_fp16.onnx"] = config["files"]["onnx/classifier.onnx"]
    (model / "config.json").write_text(json.dumps(config))
    return model


def test_a_variant_comes_without_what_it_does_not_need(standin: StandIn, with_variants: Path) -> None:
    standin.add("org/tiny", with_variants)
    directory = pulling.pull("org/tiny", variant="fp16")
    assert sorted(directory.verify()) == ["labels.csv", "model.safetensors", "onnx/classifier.onnx"]
    model = store.resolve("org/tiny")
    assert model.graph("classifier", "fp16") == (with_variants / "onnx" / "classifier_fp16.onnx").read_bytes()
    assert model.graph("generator") == (with_variants / "onnx" / "generator.onnx").read_bytes()
    with pytest.raises(ModelDirectoryError, match=r"only the fp16 form of its classifier; add --variant fp16"):
        model.graph("classifier")
    with pytest.raises(ModelDirectoryError, match=r"has no int8 variant: it has fp16;"):
        pulling.pull("org/tiny", variant="int8")
    # The rest comes when it is asked for, and stays.
    assert pulling.pull("org/tiny").verify() == []
    assert pulling.pull("org/tiny", variant="fp16").verify() == []


def test_pulled_models_are_links_to_the_hubs_cache_where_they_can_be(published: str) -> None:
    directory = pulling.pull("tiny")
    assert (directory.path / "onnx" / "generator.onnx").stat().st_nlink == 2
    assert not (directory.path / "onnx" / "generator.onnx").is_symlink()


def test_the_published_models_have_pins_that_a_pull_would_meet() -> None:
    for entry in catalogue.CATALOGUE:
        directory = ModelDirectory.open(REPOSITORY / "models" / entry.name)
        assert sha256_of(directory.path / "config.json") == entry.config_sha256
        assert (entry.repository is None) == (entry.revision is None)
