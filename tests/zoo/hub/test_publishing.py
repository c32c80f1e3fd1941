"""Publishing to the Hub, which is a stand-in: what is fit for it, what is written, and that a stranger can use it."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants

from igan_zoo.errors import ChecksumError, HubError, IganZooError, ModelDirectoryError, PublishingError
from igan_zoo.hub import publishing, pulling
from igan_zoo.hub.publishable import check_publishable
from igan_zoo.models import catalogue, store
from igan_zoo.models.directory import ModelDirectory, seal
from tests.hub_standin.faults import Fault
from tests.hub_standin.repositories import READ_TOKEN, WRITE_TOKEN
from tests.hub_standin.server import StandIn

# huggingface_hub's own, when it uploads without Xet.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture(params=["xet", "lfs"])
def protocol(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How large files travel."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", request.param == "lfs")
    return str(request.param)


@pytest.fixture
def writer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", WRITE_TOKEN)


def content(path: Path) -> dict[str, bytes]:
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def reseal(model: Path) -> ModelDirectory:
    """Lets ``config.json`` promise what is there now."""
    return seal(model, ModelDirectory.open(model).spec)


def test_what_was_published_can_be_pulled_sampled_and_classified(
    standin: StandIn, model: Path, protocol: str, writer: None
) -> None:
    from igan_zoo.latents import latents
    from igan_zoo.serving.engine import load_engine

    publication = publishing.publish(ModelDirectory.open(model), "org/tiny")
    assert publication.changed
    uploads = [request for request in standin.requests if request.startswith("PUT /lfs/")]
    assert bool(uploads) == (protocol == "lfs")
    directory = pulling.pull("org/tiny")
    assert content(directory.path) == content(model)
    engine = load_engine(store.resolve("org/tiny"), ["generator", "classifier"])
    z = latents(100, "uniform", seed=0, start=0, count=3)
    images = engine.run("generator", {"latent": z})["images"]
    original = load_engine(store.resolve(str(model)), ["generator", "classifier"])
    np.testing.assert_array_equal(images, original.run("generator", {"latent": z})["images"])
    logits = engine.run("classifier", {"images": images})["logits"]
    np.testing.assert_array_equal(logits, original.run("classifier", {"images": images})["logits"])


def test_everything_is_one_commit_and_nothing_changed_is_none(
    standin: StandIn, model: Path, protocol: str, writer: None
) -> None:
    directory = ModelDirectory.open(model)
    first = publishing.publish(directory, "org/tiny")
    commits = standin.repositories["org/tiny"].commits
    # The repository was made with a commit of its own.
    assert len(commits) == 2
    second = publishing.publish(directory, "org/tiny")
    assert (second.commit, second.changed, len(commits)) == (first.commit, False, 2)


def test_only_what_differs_is_written_and_what_is_gone_is_deleted(standin: StandIn, model: Path, writer: None) -> None:
    publishing.publish(ModelDirectory.open(model), "org/tiny")
    shutil.copy(model / "samples.png", model / "old.png")
    publishing.publish(reseal(model), "org/tiny")
    (model / "old.png").unlink()
    plan = publishing.plan_publication(reseal(model), "org/tiny")
    assert (plan.written, plan.deleted) == (("config.json",), ("old.png",))
    publishing.publish(ModelDirectory.open(model), "org/tiny")
    repository = standin.repositories["org/tiny"]
    assert set(repository.commits[repository.refs["main"]]) == {*content(model), ".gitattributes"}


def test_a_dry_run_changes_nothing(standin: StandIn, igan_zoo: Cli, model: Path, writer: None) -> None:
    code, _, errors = igan_zoo("publish", model, "--repo", "org/tiny", "--dry-run")
    assert code == 0
    assert "org/tiny: to be made, 9 files to write, 0 to delete" in errors
    assert "  write onnx/generator.onnx" in errors
    assert standin.repositories == {}
    assert not [request for request in standin.requests if not request.startswith(("GET", "HEAD"))]


def test_the_command_prints_the_entry_for_the_catalogue(
    standin: StandIn, igan_zoo: Cli, model: Path, tmp_path: Path, writer: None
) -> None:
    code, output, _ = igan_zoo("publish", model, "--repo", "org/tiny", "--private")
    assert code == 0
    repository = standin.repositories["org/tiny"]
    assert repository.private
    entry = catalogue.CatalogueEntry(**json.loads(output))
    assert (entry.name, entry.repository, entry.revision) == ("tiny", "org/tiny", repository.refs["main"])
    path = Path(shutil.copy(catalogue.FILE, tmp_path / "catalogue.json"))
    code, output, _ = igan_zoo("catalogue", "update", model, "--repo", "org/tiny", "--file", path)
    assert (code, output) == (0, f"{path}: tiny changed\n")
    assert catalogue.load_catalogue(path) == (*catalogue.CATALOGUE, entry)
    assert igan_zoo("catalogue", "update", model, "--repo", "org/tiny", "--file", path)[1].endswith("nothing changed\n")


def test_the_catalogue_only_takes_what_the_repository_holds(standin: StandIn, igan_zoo: Cli, model: Path) -> None:
    standin.add("org/tiny", model)
    (model / "samples.png").write_bytes(b"\x89PNG\r\n\x1a\nother")
    reseal(model)
    code, _, errors = igan_zoo("catalogue", "update", model, "--repo", "org/tiny")
    assert code == 1
    assert "org/tiny holds a config.json that differs from" in errors


def test_a_changed_model_of_the_catalogue_counts_as_unpublished(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = catalogue.CatalogueEntry("tiny", "a summary", "0" * 64, "org/tiny", "1" * 40)
    monkeypatch.setitem(catalogue.BY_NAME, "tiny", published)
    entry = publishing.catalogue_entry(ModelDirectory.open(model))
    assert (entry.summary, entry.repository, entry.revision) == ("a summary", None, None)
    monkeypatch.setitem(
        catalogue.BY_NAME, "tiny", catalogue.CatalogueEntry("tiny", "", entry.config_sha256, "org/tiny", "1" * 40)
    )
    assert publishing.catalogue_entry(ModelDirectory.open(model)).repository == "org/tiny"


def test_a_pull_request_leaves_the_main_branch_alone(
    standin: StandIn, igan_zoo: Cli, model: Path, writer: None
) -> None:
    code, output, errors = igan_zoo("publish", model, "--repo", "org/tiny", "--create-pr")
    assert (code, output) == (0, "")
    assert "/org/tiny/discussions/1" in errors
    assert "when it is merged: igan-zoo catalogue update" in errors
    repository = standin.repositories["org/tiny"]
    assert set(repository.commits[repository.refs["main"]]) == {".gitattributes"}
    assert pulling.pull("org/tiny@refs/pr/1").verify() == []


def test_a_commit_whose_answer_was_lost_is_not_made_twice(standin: StandIn, model: Path, writer: None) -> None:
    standin.transport.faults.append(Fault("/commit/", "POST", drop_after=5))
    publication = publishing.publish(ModelDirectory.open(model), "org/tiny")
    assert publication.commit == standin.repositories["org/tiny"].refs["main"]
    assert len(standin.repositories["org/tiny"].commits) == 2


def test_what_is_read_back_must_be_what_was_sent(standin: StandIn, model: Path, writer: None) -> None:
    standin.transport.faults.append(Fault("/resolve/", flip=0))
    with pytest.raises(ChecksumError):
        publishing.publish(ModelDirectory.open(model), "org/tiny")


@pytest.mark.parametrize(
    ("token", "sentence"),
    [
        (None, "log in with: hf auth login"),
        (READ_TOKEN, "The token may not do this with org/tiny .*: hf auth login"),
        ("hf_wrong", "rejects the token for org/tiny"),
    ],
)
def test_publishing_without_the_right_token(standin: StandIn, model: Path, token: str | None, sentence: str) -> None:
    with pytest.raises(HubError, match=sentence) as caught:
        publishing.publish(ModelDirectory.open(model), "org/tiny", token=token)
    assert "hf_" not in str(caught.value).replace("hf_***", "")


def test_without_a_token_nothing_is_planned(standin: StandIn, model: Path, igan_zoo: Cli) -> None:
    code, _, errors = igan_zoo("publish", model, "--repo", "org/tiny")
    assert (code, errors) == (1, "Error: Publishing needs a token; log in with: hf auth login, or set HF_TOKEN.\n")
    assert standin.requests == []


def damage_model(model: Path) -> None:
    (model / "onnx" / "generator.onnx").write_bytes(b"other")


def add_unnamed_file(model: Path) -> None:
    (model / "weights.pkl").write_bytes(b"\x80\x04.")


def add_named_pickle(model: Path) -> None:
    add_unnamed_file(model)
    reseal(model)


def disguise_a_pickle(model: Path) -> None:
    (model / "more.json").write_bytes(b"PK\x03\x04 as torch.save writes it")
    reseal(model)


def fake_safetensors(model: Path) -> None:
    (model / "model.safetensors").write_bytes(struct.pack("<Q", 4) + b"\x80\x04..")
    reseal(model)


def leave_weights_out(model: Path) -> None:
    (model / "model.safetensors").unlink()


def keep_another_report(model: Path) -> None:
    report = json.loads((model / "parity.json").read_text())
    report["files"]["onnx/generator.onnx"]["sha256"] = "0" * 64
    (model / "parity.json").write_text(json.dumps(report))
    reseal(model)


def keep_no_report(model: Path) -> None:
    (model / "parity.json").write_text('{"format": 1, "files": {}}')
    reseal(model)


def edit(old: str, new: str) -> Callable[[Path], None]:
    def change(model: Path) -> None:
        text = (model / "README.md").read_text()
        assert old in text
        (model / "README.md").write_text(text.replace(old, new))
        reseal(model)

    change.__name__ = f"card_{old.split()[0]}"
    return change


def state_other_results(model: Path) -> None:
    path = model / ".eval_results" / "tiny.yaml"
    path.write_text(path.read_text().replace("value: ", "value: 9"))
    reseal(model)


@pytest.mark.parametrize(
    ("change", "kind", "sentence"),
    [
        (damage_model, ChecksumError, r"generator\.onnx is damaged"),
        (add_unnamed_file, ModelDirectoryError, r"weights\.pkl is not named"),
        (add_named_pickle, PublishingError, r"weights\.pkl has a type that is not published"),
        (disguise_a_pickle, PublishingError, r"more\.json is a pickle or an archive"),
        (fake_safetensors, PublishingError, r"model\.safetensors is not a safetensors file"),
        (leave_weights_out, PublishingError, r"lacks model\.safetensors"),
        (keep_another_report, PublishingError, r"parity\.json is not about this onnx/generator\.onnx"),
        (keep_no_report, PublishingError, r"parity\.json is not a parity report"),
        (edit("license: apache-2.0", "license: mit"), PublishingError, "has the license 'mit'"),
        (edit("## Limits", "## No limits"), PublishingError, "has no section Limits"),
        (edit("- ylecun/mnist", "- ylecun/other"), PublishingError, "has the datasets"),
        (edit("value: ", "value: 9"), PublishingError, "states the accuracies"),
        (edit("---\ndatasets", "---\n: : datasets"), PublishingError, "cannot be read as a model card"),
        (state_other_results, PublishingError, r"tiny\.yaml states the accuracies"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_not_fit_stays_at_home(
    standin: StandIn, model: Path, change: Callable[[Path], None], kind: type[IganZooError], sentence: str
) -> None:
    check_publishable(ModelDirectory.open(model))
    change(model)
    with pytest.raises(kind, match=sentence):
        publishing.publish(ModelDirectory.open(model), "org/tiny", token=WRITE_TOKEN)
    assert standin.requests == []


def test_a_repository_needs_an_organization(model: Path) -> None:
    with pytest.raises(PublishingError, match="--repo ORG/NAME"):
        publishing.plan_publication(ModelDirectory.open(model), "tiny")


def test_logging_in_is_left_to_huggingface_hub(igan_zoo: Cli) -> None:
    assert igan_zoo("login")[0] == 2
    for command in ("pull", "publish"):
        assert "hf auth login" in " ".join(igan_zoo(command, "--help")[1].split())
