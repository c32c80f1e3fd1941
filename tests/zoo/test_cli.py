"""The command line as a person meets it: results on stdout, one sentence and an exit code for every mistake."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

from tests.zoo.images.test_pixels import png_header
from tests.zoo.models.test_directory import flip_one_bit

Cli = Callable[..., tuple[int, str, str]]


def test_help_and_version(igan_zoo: Cli) -> None:
    code, output, _ = igan_zoo("--help")
    assert code == 0
    for command in (
        "classify",
        "evaluate",
        "export",
        "info",
        "list",
        "prepare",
        "pull",
        "sample",
        "score",
        "train",
        "verify",
    ):
        assert f"  {command} " in output
    assert igan_zoo("--version")[1].startswith("igan-zoo, version")
    code, output, errors = igan_zoo()
    assert code == 2
    assert "Commands:" in output + errors


def options_of(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Option]]:
    """Every option of every command, with its name."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from options_of(command, f"{path}{name} ")
        for option in command.params:
            if isinstance(option, click.Option):
                yield f"{path}{name} {option.opts[0]}", option


def test_the_help_of_every_option_stands_alone() -> None:
    """Whoever reads one line of it knows what the option is."""
    from igan_zoo.cli import cli

    unexplained = [
        name for name, option in options_of(cli) if not re.match(r"[A-Zo0].{8,}?[.;,]", option.help or "", re.DOTALL)
    ]
    assert unexplained == []
    assert [name for name, option in options_of(cli) if re.match(r"(Of|Over) |\[", option.help or "")] == []


def test_pull_list_info_verify(igan_zoo: Cli, model: Path) -> None:
    code, output, _ = igan_zoo("pull", model)
    assert code == 0
    assert output.startswith("tiny (directory): ")
    code, output, _ = igan_zoo("list")
    assert "tiny" in output
    assert "cache" in output
    rows = json.loads(igan_zoo("list", "--json")[1])
    assert ("tiny", ["cache"]) in [(row["name"], row["where"]) for row in rows]
    code, output, _ = igan_zoo("info")
    assert code == 0
    assert "28x28x1" in output
    assert "errors" in output
    assert json.loads(igan_zoo("info", "tiny", "--json")[1])["name"] == "tiny"
    code, output, _ = igan_zoo("verify", model, "tiny")
    assert code == 0
    assert output.count("files match") == 2


def test_sample_writes_an_archive_and_a_picture(igan_zoo: Cli, model: Path, tmp_path: Path) -> None:
    code, output, errors = igan_zoo("sample", model, "--n", 130, "--seed", 3, "--out", tmp_path / "a.npz")
    assert code == 0
    assert "130 images 28x28x1, seed 3, from index 0" in output
    assert "CPUExecutionProvider" in errors
    assert (tmp_path / "a-grid.png").exists()
    igan_zoo("sample", model, "--n", 30, "--seed", 3, "--start", 100, "--out", tmp_path / "b.npz", "--batch-size", 7)
    whole, part = (np.load(tmp_path / name)["images"] for name in ("a.npz", "b.npz"))
    assert np.abs(whole[100:].astype(int) - part).max() <= 1


def test_classify_prints_a_table_or_json(igan_zoo: Cli, model: Path, digit: Path) -> None:
    code, output, _ = igan_zoo("classify", model, digit, "--top", 2)
    assert code == 0
    assert output.splitlines()[0].split() == ["file", "class", "and", "probability", "realness"]
    (answer,) = json.loads(igan_zoo("classify", model, digit, "--top", 2, "--json")[1])
    assert answer["file"] == str(digit)
    assert len(answer["classes"]) == 2
    igan_zoo("pull", model)
    assert json.loads(igan_zoo("classify", digit, "--json")[1])[0]["classes"][0] == answer["classes"][0]
    assert json.loads(igan_zoo("classify", "tiny", digit.parent, "--json")[1])


def test_evaluate_gives_the_errors_on_the_card(igan_zoo: Cli, model: Path, data_directory: Path) -> None:
    code, output, _ = igan_zoo("evaluate", model, "--data", data_directory)
    result = json.loads((model / "config.json").read_text())["results"][0]
    assert code == 0
    assert output.startswith(f"{result['wrong']} errors of 100 ({result['wrong'] / 100:.2%})\n")
    answer = json.loads(igan_zoo("evaluate", model, "--data", data_directory, "--json")[1])
    assert (answer["wrong"], answer["total"]) == (result["wrong"], 100)


def folder_of(digit: Path, root: Path, *classes: str) -> Path:
    for name in classes:
        (root / "test" / name).mkdir(parents=True)
        (root / "test" / name / "one.png").write_bytes(digit.read_bytes())
    return root


def test_evaluate_goes_by_the_names_of_the_classes(igan_zoo: Cli, model: Path, digit: Path, tmp_path: Path) -> None:
    """A folder of a few of the classes numbers them in its own way."""
    said = json.loads(igan_zoo("classify", model, digit, "--json")[1])[0]["classes"][0][0]
    others = [str(other) for other in range(10) if str(other) != said]
    for folder, wrong in (
        (folder_of(digit, tmp_path / "a", said, others[0]), 1),
        (folder_of(digit, tmp_path / "b", *others), 9),
    ):
        assert json.loads(igan_zoo("evaluate", model, "--data", folder, "--json")[1])["wrong"] == wrong


def test_evaluate_refuses_images_of_other_classes_before_it_decodes_one(
    igan_zoo: Cli, model: Path, digit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("igan_zoo.images.loading.decode_ahead", None)
    code, _, errors = igan_zoo("evaluate", model, "--data", folder_of(digit, tmp_path, "four", "two"))
    assert code == 1
    assert "knows the classes 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, but the data has four, two" in errors


def test_train_dry_run_prints_the_resolved_recipe(igan_zoo: Cli) -> None:
    code, output, _ = igan_zoo("train", "mnist-ssl", "--labels", 50, "--set", "epochs=7", "--dry-run")
    assert code == 0
    recipe = json.loads(output)
    assert (recipe["labels"], recipe["epochs"], recipe["learning_rate"]) == ("50", 7, 0.003)


def fails(result: tuple[int, str, str], code: int, *parts: str) -> None:
    """The command failed with that code and one sentence that has all the parts; no traceback, no second line."""
    actual, output, errors = result
    assert actual == code, errors
    notes = re.compile(r".* on CPUExecutionProvider|\d+\.\d s")
    sentence = [line for line in errors.splitlines() if not notes.fullmatch(line)]
    assert len(sentence) == 1, errors
    assert sentence[0].startswith("Error: ")
    for part in parts:
        assert part in sentence[0]
    assert "Traceback" not in output + errors


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["sample", "--n", "0"], ["'--n': 0"]),
        (["sample", "--n", "many"], ["'many' is not a valid integer"]),
        (["sample", "--seed", "-1"], ["--seed"]),
        (["sample", "--start", str(2**63)], ["--start", "not in the range"]),
        (["sample", "--start", "1" + "0" * 400], ["--start"]),
        (["sample", "--n", str(10**15)], ["--n", "not in the range"]),
        (["sample", "--batch-size", str(10**12)], ["--batch-size", "not in the range"]),
        (["rank", "x", "--n", str(10**15)], ["--n", "not in the range"]),
        (["score", "x", "--threads", str(10**10)], ["--threads", "not in the range"]),
        (["score", "x", "--save-every", "inf"], ["inf is not a finite number"]),
        (["bench", "--seconds", "nan"], ["nan is not a finite number"]),
        (["sample", "--device", "tpu"], ["'tpu' is not one of"]),
        (["classify"], ["Missing argument"]),
        (["evaluate"], ["Missing option '--data'"]),
        (["smaple"], ["No such command 'smaple'"]),
        (["train", "custom", "--data", "", "--dry-run"], ["what follows --data is empty"]),
        (["sample", "--out="], ["what follows --out is empty"]),
        ([""], ["what follows igan-zoo is empty"]),
    ],
)
def test_wrong_usage_is_one_sentence_and_code_2(igan_zoo: Cli, arguments: list[str], parts: list[str]) -> None:
    fails(igan_zoo(*arguments), 2, *parts, "--help")


def test_an_error_that_nobody_foresaw_is_one_sentence_and_with_debug_a_traceback(
    igan_zoo: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_with(error: Exception) -> None:
        def resolve(reference: str | None) -> None:
            raise error

        monkeypatch.setattr("igan_zoo.models.store.resolve", resolve)

    monkeypatch.delenv("IGAN_ZOO_DEBUG")
    for error in (OverflowError("too\nlarge"), RecursionError(), KeyError("x"), UnicodeError("x"), AssertionError()):
        fail_with(error)
        fails(igan_zoo("info", "x"), 1, f"Unexpected {type(error).__name__}", "--debug")
    for error in (MemoryError(), MemoryError("Unable to allocate 16.0 GiB")):
        fail_with(error)
        fails(igan_zoo("info", "x"), 1, "There is not enough memory")
    with pytest.raises(MemoryError):
        igan_zoo("--debug", "info", "x")


def test_tests_see_bugs_as_they_are(igan_zoo: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("igan_zoo.models.store.resolve", lambda reference: {}[reference])
    with pytest.raises(KeyError):
        igan_zoo("info", "x")


def test_a_sentence_stays_one_line_of_some_length(igan_zoo: Cli, tmp_path: Path) -> None:
    for name in ("a\nb\x1b[31m", "x" * 50_000):
        code, _, errors = igan_zoo("score", name + ".tar")
        assert code == 1
        assert errors.count("\n") == 1
        assert "\x1b" not in errors
        assert len(errors) < 2100


def test_a_sample_larger_than_the_disk_is_refused_at_once(igan_zoo: Cli, tmp_path: Path) -> None:
    for out in ("a.npz", "a.tar", "folder"):
        answer = igan_zoo("sample", "mnist-ssl", "--n", 2**31, "--out", tmp_path / out)
        if answer[0] == 0:
            pytest.skip("needs a disk that is smaller")
        fails(answer, 1, "This needs", "free some space")
        assert list(tmp_path.iterdir()) == []


def test_unknown_models_are_answered_with_the_nearest(igan_zoo: Cli, digit: Path) -> None:
    for arguments in (
        ["info", "mnist-slf"],
        ["pull", "mnist-slf"],
        ["sample", "mnist-slf"],
        ["classify", "mnist-slf", digit],
    ):
        fails(igan_zoo(*arguments), 1, "no model 'mnist-slf'", "did you mean mnist-ssl")


def test_bad_images_are_named(igan_zoo: Cli, model: Path, digit: Path, tmp_path: Path) -> None:
    text, truncated, bomb = tmp_path / "text.png", tmp_path / "truncated.png", tmp_path / "bomb.png"
    text.write_text("hello")
    truncated.write_bytes(digit.read_bytes()[:-200])
    bomb.write_bytes(png_header(100_000, 100_000))
    fails(igan_zoo("classify", model, tmp_path / "none.png"), 1, "no file", "none.png")
    fails(igan_zoo("classify", model, text), 1, "text.png is not a PNG, JPEG")
    fails(igan_zoo("classify", model, truncated), 1, "truncated.png cannot be decoded")
    fails(igan_zoo("classify", model, bomb), 1, "at most 50,000,000 are decoded")
    code, output, errors = igan_zoo("classify", model, text, digit, bomb)
    assert code == 1
    assert str(digit) in output
    assert errors.count("Error: ") == 2


def test_an_onnx_file_with_the_wrong_inputs(igan_zoo: Cli, model: Path, digit: Path, tmp_path: Path) -> None:
    classifier, generator = (model / "onnx" / f"{role}.onnx" for role in ("classifier", "generator"))
    fails(igan_zoo("sample", classifier, "--out", tmp_path / "a.npz"), 1, "not a generator: its inputs are images")
    fails(igan_zoo("classify", generator, digit), 1, "not a classifier: its inputs are latent")
    assert not (tmp_path / "a.npz").exists()


def test_one_flipped_byte_is_named_with_both_sums(igan_zoo: Cli, model: Path, digit: Path, tmp_path: Path) -> None:
    for name in ("classifier", "generator"):
        flip_one_bit(model / "onnx" / f"{name}.onnx")
    promised = json.loads((model / "config.json").read_text())["files"]["onnx/classifier.onnx"]["sha256"]
    for arguments in (["verify", model], ["classify", model, digit], ["pull", model]):
        fails(igan_zoo(*arguments), 1, "classifier.onnx is damaged", promised)
    fails(igan_zoo("sample", model, "--out", tmp_path / "a.npz"), 1, "generator.onnx is damaged")
    assert not list(tmp_path.glob("a*"))


def test_what_is_no_model_directory(igan_zoo: Cli, model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    fails(igan_zoo("verify", tmp_path / "empty"), 1, "has no config.json")
    fails(igan_zoo("pull", "tiny", "--from", tmp_path / "empty"), 1, "is not a model directory")
    fails(igan_zoo("export", tmp_path / "empty", "--out", tmp_path / "x"), 1, "not a run directory")
    fails(
        igan_zoo("train", "mnist-ssl", "--data", tmp_path / "nowhere", "--out", tmp_path / "r"),
        1,
        "There are no images at",
    )
    assert not (tmp_path / "r").exists()


def test_existing_and_unwritable_outputs(igan_zoo: Cli, model: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine.txt").write_text("keep")
    fails(igan_zoo("sample", model, "--n", 5, "--out", tmp_path / "folder"), 1, "already exists", "--force")
    assert (tmp_path / "folder" / "mine.txt").read_text() == "keep"
    fails(igan_zoo("sample", model, "--n", 5, "--out", "/proc/none/a.npz"), 1, "Cannot write /proc/none/a.npz")
    fails(igan_zoo("sample", model, "--n", 5, "--out", tmp_path / "a.gif"), 1, "Cannot write samples as .gif")


@pytest.mark.parametrize("out", ["a.npz", "folder"])
def test_a_full_disk_leaves_nothing_under_the_final_name(model: Path, tmp_path: Path, out: str) -> None:
    """The system refuses to let any file grow beyond 100 kB (or 300 bytes), as a full disk would."""
    if sys.platform == "win32":
        pytest.skip("needs RLIMIT_FSIZE")
    limit = 100_000 if out == "a.npz" else 300
    code = (
        f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); "
        f"from igan_zoo.cli import main; main(['sample', {str(model)!r}, '--n', '2000', '--out', {out!r}])"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    fails((result.returncode, result.stdout, result.stderr), 1, f"Cannot write {out}: File too large")
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_a_missing_extra_says_what_to_install(igan_zoo: Cli, finished_run: Path, tmp_path: Path) -> None:
    """In a process where torch cannot be imported, as in an installation without the train extra."""
    for command in (["export", str(finished_run), "--out", "x"], ["train", "mnist-ssl"]):
        code = f"import sys; sys.modules['torch'] = None; from igan_zoo.cli import main; main({command!r})"
        result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
        fails((result.returncode, result.stdout, result.stderr), 1, "pip install '.[train,cpu]'")


def test_a_reader_who_leaves_early_is_no_traceback(model: Path) -> None:
    command = f"{sys.executable} -m igan_zoo info {model} | head -n 1"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert "Traceback" not in result.stderr


def test_sampling_needs_no_network_and_no_torch(model: Path, tmp_path: Path) -> None:
    code = (
        "import socket, sys; socket.socket.connect = None; sys.modules['torch'] = sys.modules['onnx'] = None; "
        f"from igan_zoo.cli import main; main(['sample', {str(model)!r}, '--n', '1'])"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "samples.npz").exists()


def test_a_mirror_serves_pull(igan_zoo: Cli, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.move(model, tmp_path / "mirror" / "tiny")
    monkeypatch.setenv("IGAN_ZOO_MIRROR", str(tmp_path / "mirror"))
    fails(igan_zoo("info", "tiny"), 1, "igan-zoo pull tiny")
    code, output, _ = igan_zoo("pull", "tiny")
    assert code == 0
    assert "(mirror)" in output
    monkeypatch.delenv("IGAN_ZOO_MIRROR")
    assert igan_zoo("info", "tiny")[0] == 0


def test_networks_run_in_as_many_threads_as_the_user_says(
    igan_zoo: Cli,
    model: Path,
    digit: Path,
    data_directory: Path,
    finished_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    from igan_zoo.serving.engine import load_engine

    used: list[int | None] = []

    def noted(*arguments: Any, threads: int | None = None, **how: Any) -> Any:
        used.append(threads)
        return load_engine(*arguments, threads=threads, **how)

    monkeypatch.setattr("igan_zoo.serving.model.load_engine", noted)
    monkeypatch.setattr(torch, "set_num_threads", used.append)
    data, before = ("--data", data_directory), torch.get_num_threads()
    for command, expected in (
        (("sample", model, "--n", "1", "--out", tmp_path / "x.npz"), [3]),
        (("classify", model, digit), [3]),
        (("evaluate", model, *data), [3]),
        (("evaluate", finished_run, *data), [3, before]),
    ):
        used.clear()
        assert igan_zoo(*command, "--threads", "3")[0] == 0
        assert used == expected
