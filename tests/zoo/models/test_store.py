"""Finding, pulling and resolving models."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from igan_zoo.errors import ChecksumError, ModelDirectoryError, UnknownNameError
from igan_zoo.hub import pulling
from igan_zoo.machine.files import sha256_of
from igan_zoo.models import catalogue, store
from igan_zoo.models.directory import ModelDirectory, seal
from igan_zoo.models.spec import missing_variant


@pytest.fixture
def mirror(tmp_path: Path, exported_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "mirror"
    shutil.copytree(exported_model, root / "tiny")
    monkeypatch.setenv("IGAN_ZOO_MIRROR", str(root))
    return root


def cached(name: str) -> Path:
    return store.home() / "models" / name


def test_pulling_a_directory_copies_it_and_makes_it_the_default(model: Path) -> None:
    directory = pulling.pull("tiny", source=model)
    label = directory.place
    assert label == "directory"
    assert directory.path == cached("tiny")
    directory.verify()
    assert store.resolve(None).path == directory.path
    assert store.resolve("tiny").path == directory.path


def test_pulling_from_a_mirror(mirror: Path) -> None:
    with pytest.raises(ModelDirectoryError, match="igan-zoo pull tiny"):
        store.resolve("tiny")
    assert pulling.pull("tiny").place == "mirror"
    assert store.resolve("tiny").path == cached("tiny")


def test_a_mirror_that_is_no_directory_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IGAN_ZOO_MIRROR", str(tmp_path / "gone"))
    with pytest.raises(ModelDirectoryError, match="gone, which is not a directory"):
        pulling.pull("mnist-ssl")


def test_a_missing_variant_names_those_that_there_are() -> None:
    assert str(missing_variant("int8 variant", "tiny", [])) == "tiny has no int8 variant: remove --variant."
    assert "it has affine, fp16; use one of them" in str(missing_variant("int8 variant", "tiny", ["affine", "fp16"]))


def test_pulling_twice_is_the_same_as_once(mirror: Path) -> None:
    first = pulling.pull("tiny")
    second = pulling.pull("tiny")
    assert first == second
    assert [path.name for path in (store.home() / "models").iterdir()] == ["tiny"]


def test_a_damaged_source_leaves_no_copy_and_the_old_default(mirror: Path) -> None:
    damaged = mirror / "tiny" / "onnx" / "generator.onnx"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    with pytest.raises(ChecksumError, match=r"generator\.onnx"):
        pulling.pull("tiny")
    assert not cached("tiny").exists()
    assert not (store.home() / "last").exists()


def test_a_mirror_must_hold_the_published_bytes_of_a_catalogued_name(
    mirror: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = catalogue.CatalogueEntry("tiny", "", "0" * 64)
    monkeypatch.setitem(catalogue.BY_NAME, "tiny", entry)
    with pytest.raises(ChecksumError) as caught:
        pulling.pull("tiny")
    assert "0" * 64 in str(caught.value)
    assert sha256_of(mirror / "tiny" / "config.json") in str(caught.value)
    # The same directory, named on purpose, is taken.
    pulling.pull("tiny", source=mirror)


def test_pulling_to_a_place_of_ones_own(model: Path, tmp_path: Path) -> None:
    directory = pulling.pull("tiny", source=model, to=tmp_path / "here")
    assert directory.path == tmp_path / "here"
    assert not cached("tiny").exists()


def test_training_weights_missing_at_the_source_are_no_obstacle(model: Path) -> None:
    (model / "model.safetensors").unlink()
    directory = pulling.pull("tiny", source=model)
    assert directory.verify() == ["model.safetensors"]


def test_a_directory_under_another_name_is_refused(model: Path) -> None:
    with pytest.raises(ModelDirectoryError, match="holds the model tiny, not mnist-ssl"):
        pulling.pull("mnist-ssl", source=model)


@pytest.fixture
def checkout(tmp_path: Path, exported_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with the model, which the package seems to have been installed from; returns its models."""
    shutil.copytree(exported_model, tmp_path / "checkout" / "models" / "tiny")
    (tmp_path / "checkout" / "zoo").mkdir()
    (tmp_path / "checkout" / "zoo" / "__init__.py").touch()
    found = store.checkout_store(tmp_path / "checkout" / "zoo")
    assert found is not None
    monkeypatch.setattr(store, "shipped_stores", lambda: [found])
    monkeypatch.setattr(pulling, "shipped_stores", lambda: [found])
    return found.root


def test_the_models_of_the_checkout_are_known_to_an_editable_installation(checkout: Path) -> None:
    assert checkout.parts[-2:] == ("checkout", "models")
    assert store.resolve("tiny").path == checkout / "tiny"
    directory = pulling.pull("tiny")
    label = directory.place
    assert (directory.path, label) == (checkout / "tiny", "checkout")
    assert not cached("tiny").exists()
    assert store.resolve(None).path == checkout / "tiny"


def test_a_strict_editable_installation_links_to_its_checkout(checkout: Path, tmp_path: Path) -> None:
    package = tmp_path / "build" / "igan_zoo"
    package.mkdir(parents=True)
    (package / "__init__.py").symlink_to(checkout.parent / "zoo" / "__init__.py")
    found = store.checkout_store(package)
    assert found is not None
    assert found.root == checkout


def test_an_installed_wheel_has_no_checkout(tmp_path: Path) -> None:
    package = tmp_path / "site-packages" / "igan_zoo"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (tmp_path / "site-packages" / "models").mkdir()
    assert store.checkout_store(package) is None


def test_a_copy_without_the_form_for_cpus_is_whole_and_says_what_it_lacks(
    model: Path, igan_zoo: Callable[..., tuple[int, str, str]]
) -> None:
    """As the wheel's: the plain graph does its work."""
    (model / "onnx" / "generator_cpu.onnx").write_bytes(b"rewritten")
    seal(model, ModelDirectory.open(model).spec)
    (model / "onnx" / "generator_cpu.onnx").unlink()
    (model / "model.safetensors").unlink()
    lacks = ", without model.safetensors (training weights), onnx/generator_cpu.onnx (faster on CPUs)\n"
    code, output, _ = igan_zoo("pull", "tiny", "--from", model)
    assert (code, output) == (0, f"tiny (directory): {cached('tiny')}{lacks}")
    assert igan_zoo("verify", "tiny", "--sums-only")[1].endswith(f"files match{lacks}")
    assert store.resolve("tiny").graph_for_cpus("generator") is None
    assert igan_zoo("sample", "tiny", "--n", 8, "--out", model / "samples.npz")[0] == 0


def test_unknown_names_are_answered_with_the_nearest(mirror: Path) -> None:
    for ask in (store.resolve, pulling.pull):
        with pytest.raises(UnknownNameError, match="did you mean tiny"):
            ask("tinny")


def test_a_folder_that_only_shares_a_models_name_does_not_hide_it(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pulling.pull("tiny", source=model)
    (tmp_path / "work" / "tiny").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    assert store.resolve("tiny").path == cached("tiny")
    with pytest.raises(ModelDirectoryError, match=r"has no config\.json"):
        store.resolve(str(tmp_path / "work" / "tiny"))


def test_a_single_onnx_file_is_a_model(model: Path) -> None:
    resolved = store.resolve(str(model / "onnx" / "generator.onnx"))
    assert resolved.directory is None
    assert resolved.graph("generator") == (model / "onnx" / "generator.onnx").read_bytes()
    with pytest.raises(ModelDirectoryError, match="no file"):
        store.resolve(str(model / "none.onnx"))


def test_the_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("IGAN_ZOO_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert store.home() == tmp_path / "igan-zoo"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert store.home() == Path.home() / ".cache" / "igan-zoo"
