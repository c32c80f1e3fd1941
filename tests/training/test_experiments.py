"""Every recipe through the command line on small data of the real formats: it trains, stops half way, and goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.utils._pytree import tree_leaves

from igan_zoo.training.games.choice import new_game
from igan_zoo.training.games.game import Batches, Game, Losses
from igan_zoo.training.recipes.catalogue import RECIPES, find_recipe
from igan_zoo.training.recipes.settings import Recipe, customize
from igan_zoo.training.runs.directory import Run
from igan_zoo.training.runs.position import Position

Cli = Callable[..., tuple[int, str, str]]

# The real recipe in everything but size: two epochs of three steps take a second or two.
TINY = ["batch_size=4", "epochs=2", "epoch_images=12", "initialization_images=16", "validation_images=8"]


def arguments(recipe: Recipe, sources: dict[str, Path], out: Path, *more: str) -> list[str]:
    later = ["generator_from=1"] if recipe.generator_from else []
    if recipe.consistency_weight:
        later += ["consistency_from=1", "consistency_images=8", "consistency_confidence=0.1"]
    if recipe.teacher:
        later += ["teacher=none"]  # see test_teaching.py
    settings = [*TINY, *later, *([] if recipe.network == "mnist-dense" else ["network_width=0.0625"]), *more]
    size = ["--size", "32"] if recipe.network == "multi-scale" else []
    labels = {"0": "0", "all": "all", "25-per-class": "2-per-class"}.get(recipe.labels, "20")
    given = [argument for setting in settings for argument in ("--set", setting)]
    where = ["--data", str(sources[recipe.dataset]), "--out", str(out), "--labels", labels]
    where += ["--features", "none"] * (recipe.name == "custom")
    return ["train", recipe.name, *where, "--threads", "1", "--checkpoint-seconds", "0", *size, *given]


class Killed(BaseException):
    """What nothing catches, as a kill."""


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_trains_is_killed_within_an_epoch_and_goes_on_to_the_same_bits(
    name: str, sources: dict[str, Path], igan_zoo: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = find_recipe(name)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    code, _, errors = igan_zoo(*arguments(recipe, sources, whole))
    assert code == 0, errors
    assert [row["epoch"] for row in Run(whole).log()] == [1, 2]

    # Killed twice: after the fifth step, and then after the next.
    honest = Position.add
    for steps in (5, 1):
        left = iter(range(steps - 1))

        def stopping(self: Position, losses: Losses, left: object = left) -> None:
            if next(left, None) is None:  # type: ignore[call-overload]
                raise Killed
            honest(self, losses)

        monkeypatch.setattr(Position, "add", stopping)
        with pytest.raises(Killed):
            igan_zoo(*arguments(recipe, sources, broken), "--resume")
    monkeypatch.setattr(Position, "add", honest)
    code, _, errors = igan_zoo(*arguments(recipe, sources, broken), "--resume")
    assert code == 0, errors
    assert (broken / "log.jsonl").read_bytes() == (whole / "log.jsonl").read_bytes()
    assert (broken / "checkpoint.safetensors").read_bytes() == (whole / "checkpoint.safetensors").read_bytes()


def test_a_generator_that_joins_later_finds_a_classifier_and_the_run_resumes(
    sources: dict[str, Path], igan_zoo: Cli, tmp_path: Path
) -> None:
    recipe = find_recipe("cifar10-ssl-half-width")
    out, later = tmp_path / "run", ["generator_from=1", "flips=true", "shifts=2", "cutout=5", "input_dropout=0"]
    code, _, errors = igan_zoo(*arguments(recipe, sources, out, *later))
    assert code == 0, errors
    alone, together = (set(row) for row in Run(out).log())
    assert together - alone == {"unlabelled_loss", "feature_matching_loss"}
    assert {"labelled_loss", "validation_error"} <= alone


def test_a_game_begins_with_optimizers_that_remember_nothing(
    sources: dict[str, Path], igan_zoo: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second run goes on in the middle of the game, and restarts nothing."""
    restarted: list[int] = []
    monkeypatch.setattr(Game, "restart_optimizers", lambda game: restarted.append(game.counters()["average_updates"]))
    recipe = find_recipe("cifar10-ssl-half-width")
    for epochs in (3, 4):
        settings = ("generator_from=2", f"epochs={epochs}")
        facts = tmp_path / "run" / "recipe.json"
        if facts.exists():
            facts.write_text(facts.read_text().replace('"epochs": 3', '"epochs": 4'))
        code, _, errors = igan_zoo(*arguments(recipe, sources, tmp_path / "run", *settings), "--resume")
        assert code == 0, errors
    assert restarted == [2 * 3]  # after two epochs of three steps


def test_consistency_joins_when_the_recipe_says_so_and_its_weight_rises(
    sources: dict[str, Path], igan_zoo: Cli, tmp_path: Path
) -> None:
    recipe = find_recipe("cifar10-ssl-consistency")
    assert [recipe.consistency_at(epoch) for epoch in (4, 5, 6, 7, 8)] == [
        0,
        pytest.approx(1 / 3),
        pytest.approx(2 / 3),
        1,
        1,
    ]
    code, _, errors = igan_zoo(*arguments(recipe, sources, tmp_path / "run"))
    assert code == 0, errors
    alone, together = (set(row) for row in Run(tmp_path / "run").log())
    assert together - alone == {"consistency_loss", "confident_share"}


def test_the_game_and_consistency_are_played_together(sources: dict[str, Path], igan_zoo: Cli, tmp_path: Path) -> None:
    recipe = find_recipe("cifar10-ssl-consistency")
    code, _, errors = igan_zoo(*arguments(recipe, sources, tmp_path, "generator=true", "unlabeled_weight=1"))
    assert code == 0, errors
    losses = {"labelled_loss", "unlabelled_loss", "feature_matching_loss", "consistency_loss"}
    assert losses <= Run(tmp_path).log()[-1].keys()


def test_no_run_without_a_generator_draws_samples(sources: dict[str, Path], igan_zoo: Cli, tmp_path: Path) -> None:
    """The supervised baseline: the same labels and network, nothing else."""
    recipe = find_recipe("custom")
    code, _, errors = igan_zoo(*arguments(recipe, sources, tmp_path, "generator=false", "unlabeled_weight=0"))
    assert code == 0, errors
    row = Run(tmp_path).log()[-1]
    assert {"labelled_loss", "labelled_error"} < row.keys()
    assert not {"unlabelled_loss", "feature_matching_loss"} & row.keys()
    assert not (tmp_path / "samples.png").exists()


@pytest.mark.parametrize("name", ["mnist-ssl", "cifar10-table3-ours", "imagenet128"])
def test_bfloat16_trains_close_to_float32(name: str, sources: dict[str, Path], igan_zoo: Cli, tmp_path: Path) -> None:
    """Mean losses within 25 %: six steps of a game carry 8-bit differences along, but a broken cast would show."""
    recipe = find_recipe(name)
    logs = []
    for precision in ("float32", "bfloat16"):
        code, _, errors = igan_zoo(*arguments(recipe, sources, tmp_path / precision, f"precision={precision}"))
        assert code == 0, errors
        logs.append(Run(tmp_path / precision).log()[-1])
    for key in logs[0]:
        if key.endswith("_loss"):
            assert logs[1][key] == pytest.approx(logs[0][key], rel=0.25, abs=0.02), key
            assert logs[1][key] != logs[0][key], key


def test_an_ensemble_trains_seeds_in_turn_and_resumes(sources: dict[str, Path], igan_zoo: Cli, tmp_path: Path) -> None:
    recipe = find_recipe("cifar10-ssl")
    command = [*arguments(recipe, sources, tmp_path / "members"), "--ensemble", "2", "--seed", "4"]
    assert igan_zoo(*command)[0] == 0
    members = [Run(tmp_path / "members" / f"seed{seed}") for seed in (4, 5)]
    assert [member.facts().recipe.seed for member in members] == [4, 5]
    assert {member.facts().recipe.subset_seed for member in members} == {4}, "one labelled subset for all"
    assert members[0].log() != members[1].log()
    before = [(member.path / "checkpoint.safetensors").stat().st_mtime_ns for member in members]
    code, _, errors = igan_zoo(*command)
    assert code == 1
    assert "add --resume" in errors
    assert igan_zoo(*command, "--resume")[0] == 0
    assert [(member.path / "checkpoint.safetensors").stat().st_mtime_ns for member in members] == before


def test_pictures_and_events_on_request(sources: dict[str, Path], igan_zoo: Cli, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs the tensorboard extra")
    recipe = find_recipe("mnist-mbd")
    code, _, errors = igan_zoo(*arguments(recipe, sources, tmp_path), "--picture-steps", "2", "--tensorboard")
    assert code == 0, errors
    frames = sorted(path.name for path in (tmp_path / "progress").iterdir())
    assert frames == ["step-00000002.png", "step-00000004.png", "step-00000006.png"]
    with Image.open(tmp_path / "progress.webp") as animation:
        assert animation.n_frames >= 1  # equal frames become one
    assert list((tmp_path / "tensorboard").glob("events.out.tfevents.*"))


def test_a_runs_recipe_file_makes_the_run_again(sources: dict[str, Path], igan_zoo: Cli, tmp_path: Path) -> None:
    assert igan_zoo(*arguments(find_recipe("mnist-ssl"), sources, tmp_path / "first"))[0] == 0
    recipe_file = tmp_path / "first" / "recipe.json"
    assert igan_zoo("train", recipe_file, "--out", tmp_path / "second", "--threads", 1)[0] == 0
    for name in ("log.jsonl", "checkpoint.safetensors"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    code, _, errors = igan_zoo("train", tmp_path / "recipe.json")
    assert code == 1
    assert "is not a run directory" in errors


@pytest.mark.parametrize("name", ["mnist-ssl", "cifar10-mbd", "imagenet128"])
def test_compiled_losses_are_the_losses(
    name: str, sources: dict[str, Path], igan_zoo: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Traced and differentiated ahead of time, without a backend that generates code; the random numbers are the same.

    Two steps within 1 %: sums are taken in other orders.
    """
    honest = torch.compile
    calls: list[str] = []

    def traced(function: Callable[..., object], mode: str) -> object:
        calls.append(mode)
        return honest(function, backend="aot_eager")

    monkeypatch.setattr(torch, "compile", traced)
    recipe, few = find_recipe(name), ("epochs=1", "epoch_images=8")
    assert igan_zoo(*arguments(recipe, sources, tmp_path / "plain", *few))[0] == 0
    code, _, errors = igan_zoo(*arguments(recipe, sources, tmp_path / "traced", *few), "--compile", "reduce-overhead")
    assert code == 0, errors
    assert set(calls) == {"reduce-overhead"}
    plain, compiled = (Run(tmp_path / run).log()[-1] for run in ("plain", "traced"))
    for key in plain:
        if key.endswith("_loss"):
            assert compiled[key] == pytest.approx(plain[key], rel=0.01, abs=0.001), key


@pytest.mark.parametrize("name", ["mnist-ssl", "cifar10-mbd", "imagenet128"])
def test_a_step_keeps_nothing_that_the_next_compiled_function_overwrites(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CUDA graphs share one memory: as soon as a compiled function runs, what others returned is gone."""
    returned: list[torch.Tensor] = []

    def overwriting(function: Callable[..., object], mode: str) -> Callable[..., object]:
        def run(*given: object) -> object:
            for tensor in returned:
                tensor.data.fill_(torch.nan)
            result = function(*given)
            returned.extend(tensor for tensor in tree_leaves(result) if isinstance(tensor, torch.Tensor))
            return result

        return run

    settings = ["batch_size=4", *([] if name == "mnist-ssl" else ["network_width=0.0625"])]
    settings += ["height=32", "width=32"] if name == "imagenet128" else []
    game = new_game(customize(find_recipe(name), settings), 10)
    monkeypatch.setattr(torch, "compile", overwriting)
    game.compile("reduce-overhead")
    images = [torch.rand(4, 784) if name == "mnist-ssl" else torch.rand(4, 3, 32, 32) for _ in range(3)]
    labels = torch.tensor([0, 3, 7, 9])
    batches = Batches((images[0], labels), None if name == "imagenet128" else (images[1], images[2]))
    losses = [game.step(batches) for _ in range(2)]
    for loss in (loss for reported in losses for loss in reported.values()):
        assert loss.isfinite()
        assert not loss.requires_grad


def test_a_run_is_evaluated_before_any_export(
    sources: dict[str, Path], igan_zoo: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = find_recipe("custom")
    assert igan_zoo(*arguments(recipe, sources, tmp_path / "run"))[0] == 0
    command = ("evaluate", tmp_path / "run", "--data", sources[recipe.dataset], "--split", "val", "--json")
    code, output, errors = igan_zoo(*command)
    assert code == 0, errors
    found = json.loads(output)
    assert found["total"] == 6
    assert {Path(row["file"]).parts[0] for row in found["wrong_files"]} <= {"val"}

    heldout = ("--data", sources[recipe.dataset] / "val")
    code, output, errors = igan_zoo("export", tmp_path / "run", "--out", tmp_path / "model", *heldout)
    assert code == 0, errors
    assert output.startswith(f"{found['wrong']} errors of 6 "), "a folder without splits is test data"
    code, output, errors = igan_zoo(
        "export", tmp_path / "run", "--out", tmp_path / "other", "--data", sources[recipe.dataset], "--split", "val"
    )
    assert code == 0, errors
    assert "your own images val" in output
    assert "6 (" in output
    monkeypatch.setattr("igan_zoo.images.loading.decode_ahead", None)  # refused before
    code, _, errors = igan_zoo("evaluate", tmp_path / "run", "--data", sources["uoft-cs/cifar10"])
    assert code == 1
    assert "knows the classes n01440764, n02102040, n03888257, but the data has a, b" in errors


def test_labels_from_a_file(sources: dict[str, Path], igan_zoo: Cli, tmp_path: Path) -> None:
    """A flat folder of photos and a CSV of some labels; all other photos are unlabelled."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for index, path in enumerate(sorted((sources["your own images"] / "train").rglob("*.JPEG"))):
        (photos / f"{index}.jpg").write_bytes(path.read_bytes())
    (tmp_path / "labels.csv").write_text("file,label\n0.jpg,cat\n1.jpg,dog\n2.jpg,cat\n3.jpg,dog\n")
    command = arguments(find_recipe("custom"), {"your own images": photos}, tmp_path / "run")
    command[command.index("--labels") + 1] = str(tmp_path / "labels.csv")
    code, _, errors = igan_zoo(*command)
    assert code == 0, errors
    facts = Run(tmp_path / "run").facts()
    assert (facts.classes, facts.labelled_images, facts.training_images) == (("cat", "dog"), 4, 78)
    assert "validation_error" not in Run(tmp_path / "run").log()[-1], "there is no label that training does not see"

    published = "igan-zoo train custom --data photos --labels labels.csv --features none --seed 1"
    assert facts.command().startswith(published), "a published command holds no more of one's own folders than the name"
    again = ("train", tmp_path / "run" / "recipe.json", "--out", tmp_path / "again", "--threads", "1")
    code, _, errors = igan_zoo(*again)
    assert code == 0, errors
    assert Run(tmp_path / "again").facts() == facts
    assert Run(tmp_path / "again").log() == Run(tmp_path / "run").log()

    (tmp_path / "dogs.csv").write_text("file,label\n4.jpg,dog\n5.jpg,dog\n6.jpg,dog\n")
    dogs = ("--data", photos, "--labels", tmp_path / "dogs.csv")
    code, counted, errors = igan_zoo("evaluate", tmp_path / "run", *dogs)
    assert code == 0, errors
    assert "errors of 3" in counted
    code, output, errors = igan_zoo("export", tmp_path / "run", "--out", tmp_path / "model", *dogs)
    assert code == 0, errors
    assert output.startswith(counted.splitlines()[0]), "the second class alone has the number that training gave it"
    assert igan_zoo("evaluate", tmp_path / "model", *dogs)[1].splitlines()[0] == counted.splitlines()[0]
    code, _, errors = igan_zoo("export", tmp_path / "run", "--out", tmp_path / "other", *dogs[2:])
    assert (code, "--labels requires --data" in errors) == (2, True)
    (tmp_path / "dogs.csv").write_text("file,label\n4.jpg,wolf\n")
    code, _, errors = igan_zoo("export", tmp_path / "run", "--out", tmp_path / "other", *dogs)
    assert (code, "knows the classes cat, dog, but the data has wolf" in errors) == (1, True)

    (tmp_path / "labels.csv").write_text("file,label\n0.jpg,cat\n1.jpg,dog\n")
    code, _, errors = igan_zoo(*command, "--resume")
    assert code == 1
    assert "was trained with 4 labels and not 2" in errors


@pytest.mark.parametrize(
    ("damage", "more", "message"),
    [
        (lambda root: (root / "train" / "empty").mkdir(), [], "empty"),
        (lambda root: [path.unlink() for path in (root / "train").rglob("n0[23]*.JPEG")], [], "n02102040"),
        (lambda root: None, ["--labels", "27-per-class"], "n01440764' has 26 labeled images, but 27"),
        (lambda root: None, ["--size", "33"], "choose one|square images of 28, 32"),
        (lambda root: (root / "train" / "n01440764" / "bad.JPEG").write_bytes(b"no"), ["--strict"], "bad.JPEG"),
        (lambda root: None, ["--data", "/nowhere"], "/nowhere"),
    ],
    ids=["empty class", "one class", "too few labels", "size", "corrupt and strict", "no data"],
)
def test_bad_data_gives_a_sentence(
    damage: Callable[[Path], object],
    more: list[str],
    message: str,
    sources: dict[str, Path],
    igan_zoo: Cli,
    tmp_path: Path,
) -> None:
    import re
    import shutil

    photos = tmp_path / "photos"
    shutil.copytree(sources["your own images"], photos)
    damage(photos)
    code, _, errors = igan_zoo(*arguments(find_recipe("custom"), {"your own images": photos}, tmp_path / "run"), *more)
    assert code == 1
    assert re.search(message, errors.splitlines()[-1]), errors
    assert not (tmp_path / "run").exists()


def test_a_corrupt_photo_is_named_and_skipped(sources: dict[str, Path], igan_zoo: Cli, tmp_path: Path) -> None:
    import shutil

    photos = tmp_path / "photos"
    shutil.copytree(sources["your own images"], photos)
    (photos / "train" / "n01440764" / "bad.JPEG").write_bytes(b"no image")
    code, _, errors = igan_zoo(*arguments(find_recipe("custom"), {"your own images": photos}, tmp_path / "run"))
    assert code == 0
    assert "bad.JPEG" in errors
    assert Run(tmp_path / "run").facts().training_images == 78


def test_two_processes_under_torchrun_train_one_game_and_resume(sources: dict[str, Path], tmp_path: Path) -> None:
    """One of them writes and speaks; the finished run, started again with --resume, stays as it is."""
    import subprocess
    import sys

    recipe = find_recipe("cifar10-mbd")

    def launch(out: Path, *more: str) -> subprocess.CompletedProcess[str]:
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        command = [*launcher, "-m", "igan_zoo", *arguments(recipe, sources, out), *more]
        return subprocess.run(command, capture_output=True, text=True)

    whole = launch(tmp_path / "run", "--set", "epoch_images=16")
    assert whole.returncode == 0, whole.stderr
    assert whole.stdout.count("2 epochs done") == 1, "one process speaks for both"
    run = Run(tmp_path / "run")
    assert run.facts().processes == 2
    assert [row["epoch"] for row in run.log()] == [1, 2]
    before = run.log_file.read_bytes()
    again = launch(tmp_path / "run", "--set", "epoch_images=16", "--resume")
    assert again.returncode == 0, again.stderr
    assert run.log_file.read_bytes() == before
