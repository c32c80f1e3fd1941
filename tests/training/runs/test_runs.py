"""Runs: what they write, how they stop, and that they go on to the same bits."""

from __future__ import annotations

import json
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from igan_zoo.errors import OutOfTimeError, SpecificationError, TrainingError
from igan_zoo.training.games.alternating import AlternatingGame
from igan_zoo.training.games.game import Losses
from igan_zoo.training.loop import Options, Training, open_game
from igan_zoo.training.recipes.catalogue import find_recipe
from igan_zoo.training.recipes.settings import customize
from igan_zoo.training.runs import saving
from igan_zoo.training.runs.checkpoints import checkpoint_facts
from igan_zoo.training.runs.directory import Run
from igan_zoo.training.start import start_training
from tests.conftest import TINY, igan_zoo_process

Cli = Callable[..., tuple[int, str, str]]


def training(data: Path, out: Path, epochs: int, *more: str) -> list[str]:
    settings = [argument for setting in [*TINY, f"epochs={epochs}", *more] for argument in ("--set", setting)]
    return ["train", "mnist-ssl", "--data", str(data), "--labels", "20", "--out", str(out), "--threads", "1", *settings]


def test_a_finished_run_holds_its_records_and_pictures(finished_run: Path) -> None:
    names = {path.name for path in finished_run.iterdir()}
    records = {"recipe.json", "labels.csv", "log.jsonl", "timing.jsonl", "checkpoint.safetensors", "realness.json"}
    assert names == {*records, "samples.png", "curves.png"}
    log = Run(finished_run).log()
    assert [row["epoch"] for row in log] == [1, 2, 3]
    for row in log:
        assert {"labelled_loss", "unlabelled_loss", "feature_matching_loss", "validation_error"} < row.keys()
    assert log[-1]["validation_error"] < 0.1, "ten squares at ten places are easy"
    facts = Run(finished_run).facts()
    assert facts.command().startswith(
        "igan-zoo train mnist-ssl-softplus --data ylecun/mnist --labels 20 --seed 1 --threads 1"
    )


def test_kill_and_resume_give_the_log_of_an_uninterrupted_run(data_directory: Path, tmp_path: Path) -> None:
    """SIGKILL at random moments, as often as it takes; logs and checkpoints are equal to the last bit.

    The generator's output changes on the way, so that a resumed run has to know where it was.
    """
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    switch = ("generator_output=softplus", "sigmoid_from=3")
    process = igan_zoo_process(*training(data_directory, whole, 6, *switch))
    _, errors = process.communicate()
    assert process.returncode == 0, errors

    moments = random.Random()
    kills = 0
    while True:
        process = igan_zoo_process(*training(data_directory, broken, 6, *switch), "--resume")
        if kills < 3:
            while process.poll() is None and not (broken / "recipe.json").exists():
                time.sleep(0.01)
            time.sleep(moments.uniform(0, 4))
            process.kill()
        _, errors = process.communicate()
        kills += 1
        if process.returncode == 0:
            break
        assert process.returncode == -9, errors
    assert (broken / "log.jsonl").read_bytes() == (whole / "log.jsonl").read_bytes()
    assert (broken / "checkpoint.safetensors").read_bytes() == (whole / "checkpoint.safetensors").read_bytes()
    assert {path.name for path in broken.iterdir()} == {path.name for path in whole.iterdir()}


def test_short_epochs_are_not_each_saved(data_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first, after the last, and between them where saving takes little of the time."""
    saved: list[int] = []
    honest = Training.save

    def counted(self: Training) -> None:
        saved.append(self.position.epoch)
        honest(self)

    monkeypatch.setattr(Training, "save", counted)
    recipe = customize(find_recipe("mnist-ssl-softplus"), [*TINY, "epochs=3", "epoch_images=20", "labels=20"])
    for work, expected in ((1e9, [0, 3]), (0.0, [0, 1, 2, 3])):
        monkeypatch.setattr(saving, "_WORK_PER_SAVE", work)
        saved.clear()
        start_training(recipe, str(data_directory), tmp_path / f"{work}", threads=1)
        assert saved == expected
        assert [row["epoch"] for row in Run(tmp_path / f"{work}").log()] == [1, 2, 3]
        assert (tmp_path / f"{work}" / "samples.png").exists()


def test_a_run_out_of_time_saves_its_state_and_goes_on_to_the_same_log(data_directory: Path, tmp_path: Path) -> None:
    """With a deadline that has passed, every call takes a single one of the three steps."""
    recipe = customize(find_recipe("mnist-ssl-softplus"), ["validation_images=50", "epochs=1", "labels=20"])
    source, stopped, whole = str(data_directory), tmp_path / "stopped", tmp_path / "whole"
    start_training(recipe, source, whole, threads=1)
    late = Options(deadline=time.monotonic())
    for step in (1, 2):
        with pytest.raises(OutOfTimeError, match="stopped is out of time in epoch 1; it can continue"):
            start_training(recipe, source, stopped, resume=True, threads=1, options=late)
        assert checkpoint_facts(stopped / "checkpoint.safetensors")["step"] == step
        assert not Run(stopped).is_finished()
    start_training(recipe, source, stopped, resume=True, threads=1, options=late)
    assert Run(stopped).is_finished()
    timings = [json.loads(line) for line in (stopped / "timing.jsonl").read_text().splitlines()]
    assert [(row["epoch"], row.get("step")) for row in timings] == [(1, 1), (1, 2), (1, None)]
    assert Run(stopped).seconds() == sum(row["seconds"] for row in timings) > timings[-1]["seconds"]
    assert (stopped / "log.jsonl").read_bytes() == (whole / "log.jsonl").read_bytes()
    assert (stopped / "checkpoint.safetensors").read_bytes() == (whole / "checkpoint.safetensors").read_bytes()


def test_a_run_of_a_recipe_that_was_renamed_is_of_the_new_name(finished_run: Path, tmp_path: Path) -> None:
    text = (finished_run / "recipe.json").read_text()
    (tmp_path / "recipe.json").write_text(text.replace('"mnist-ssl-softplus"', '"mnist-ssl-fast"'))
    assert "mnist-ssl-fast" in (tmp_path / "recipe.json").read_text()
    assert Run(tmp_path).facts() == Run(finished_run).facts()


def test_the_labeled_images_are_a_file_that_labels_them_again(
    igan_zoo: Cli, data_directory: Path, finished_run: Path, tmp_path: Path
) -> None:
    labels = finished_run / "labels.csv"
    rows = [line.split(",") for line in labels.read_text().splitlines()]
    assert rows[0] == ["file", "label"]
    assert len(rows) == 21
    for name, label in rows[1:]:
        assert int(name) % 10 == int(label), "the classes of this data follow one another"
    command = training(data_directory, tmp_path / "run", 1)
    command[command.index("--labels") + 1] = str(labels)
    code, _, errors = igan_zoo(*command)
    assert code == 0, errors
    assert sorted((tmp_path / "run" / "labels.csv").read_text().splitlines()) == sorted(labels.read_text().splitlines())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_is_saved_and_says_how_to_go_on(
    data_directory: Path, tmp_path: Path, number: signal.Signals
) -> None:
    process = igan_zoo_process(*training(data_directory, tmp_path / "run", 1000), "--checkpoint-seconds", "1000")
    while process.poll() is None and not (tmp_path / "run" / "log.jsonl").exists():
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == 1
    assert errors.splitlines()[-1] == (
        f"Error: Interrupted; the same command with --resume continues {tmp_path / 'run'}."
    )
    saved = checkpoint_facts(tmp_path / "run" / "checkpoint.safetensors")
    epochs = len(Run(tmp_path / "run").log())
    assert (saved["epoch"], saved["step"] > 0) == (epochs, True), "all that was done is there"


def test_a_second_run_in_the_same_place_needs_resume(igan_zoo: Cli, data_directory: Path, finished_run: Path) -> None:
    code, _, errors = igan_zoo(*training(data_directory, finished_run, 3))
    assert code == 1
    assert "add --resume" in errors
    code, _, errors = igan_zoo(*training(data_directory, finished_run, 3, "learning_rate=0.002"), "--resume")
    assert code == 1
    assert "was made from other settings (" in errors
    assert "learning_rate is 0.003 there and 0.002 here" in errors


def test_a_finished_run_goes_on_for_more_epochs_to_the_same_bits(data_directory: Path, tmp_path: Path) -> None:
    short = customize(find_recipe("mnist-ssl-softplus"), [*TINY, "epochs=1", "labels=20"])
    longer, source = customize(short, ["epochs=2"]), str(data_directory)
    start_training(longer, source, tmp_path / "whole", threads=1)
    start_training(short, source, tmp_path / "run", threads=1)
    start_training(longer, source, tmp_path / "run", threads=1, resume=True)
    assert Run(tmp_path / "run").facts().recipe == longer
    for name in ("log.jsonl", "checkpoint.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    with pytest.raises(TrainingError, match="has 2 epochs done already, more than 1"):
        start_training(short, source, tmp_path / "run", threads=1, resume=True)


def test_a_run_is_not_made_longer_where_its_learning_rate_has_fallen(data_directory: Path, tmp_path: Path) -> None:
    falling = customize(find_recipe("mnist-ssl-softplus"), [*TINY, "epochs=2", "labels=20", "decay_from=0.25"])
    start_training(falling, str(data_directory), tmp_path, threads=1)
    with pytest.raises(TrainingError, match=r"falls toward the end of 2 \(decay_from=0.25\), and has since epoch 2"):
        start_training(customize(falling, ["epochs=4"]), str(data_directory), tmp_path, threads=1, resume=True)


def test_a_resumed_run_needs_the_same_data(igan_zoo: Cli, data_directory: Path, tmp_path: Path) -> None:
    arguments = training(data_directory, tmp_path / "run", 1)
    assert igan_zoo(*arguments)[0] == 0
    for label in range(10):
        (tmp_path / "other" / "train" / str(label)).mkdir(parents=True)
        for index in range(10):
            Image.new("L", (28, 28), label * 20).save(tmp_path / "other" / "train" / str(label) / f"{index}.png")
    code, _, errors = igan_zoo(*training(tmp_path / "other", tmp_path / "run", 1), "--resume")
    assert code == 1
    assert "was trained on other data" in errors


def test_a_damaged_checkpoint_is_named(igan_zoo: Cli, data_directory: Path, tmp_path: Path) -> None:
    arguments = training(data_directory, tmp_path / "run", 1)
    assert igan_zoo(*arguments)[0] == 0
    checkpoint = tmp_path / "run" / "checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    code, _, errors = igan_zoo(*arguments, "--resume")
    assert code == 1
    assert "checkpoint.safetensors is damaged" in errors


@pytest.mark.parametrize("damage", [b"{\n", b"5\n", b"{}\n", b'{"epoch": "1"}\n', b"\xff\n", b"[" * 100_000 + b"\n"])
def test_a_damaged_line_of_a_log_is_named(damage: bytes, finished_run: Path, tmp_path: Path) -> None:
    run = Run(Path(shutil.copytree(finished_run, tmp_path / "run")))
    lines = run.log_file.read_bytes().splitlines(keepends=True)
    run.log_file.write_bytes(lines[0] + damage + lines[1])
    with pytest.raises(TrainingError, match=r"Line 2 of .*log\.jsonl is damaged"):
        run.log()


@pytest.mark.parametrize("facts", ["{}", "5", '{"epoch": 1}', '{"epoch": "1", "step": 0}', "[" * 100_000])
def test_facts_of_a_checkpoint_that_lack_something_are_damage(facts: str, tmp_path: Path) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "it.safetensors", metadata={"facts": facts})
    with pytest.raises(TrainingError, match=r"checkpoint .*it\.safetensors is damaged"):
        checkpoint_facts(tmp_path / "it.safetensors")


def test_a_recipe_with_deep_fields_is_named(tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text('{"more": ' + "[" * 100_000 + "]" * 100_000 + "}")
    with pytest.raises(SpecificationError, match="is not a run's recipe"):
        Run(tmp_path).facts()


def test_one_run_is_trained_by_one_process(igan_zoo: Cli, data_directory: Path, tmp_path: Path) -> None:
    arguments = training(data_directory, tmp_path / "run", 2)
    assert igan_zoo(*arguments)[0] == 0
    before = (tmp_path / "run" / "log.jsonl").read_bytes()
    with Run(tmp_path / "run").alone():
        code, _, errors = igan_zoo(*arguments, "--resume")
    assert code == 1
    assert f"Another process is training {tmp_path / 'run'}: wait for it" in errors
    assert (tmp_path / "run" / "log.jsonl").read_bytes() == before
    assert igan_zoo(*arguments, "--resume")[0] == 0


def test_divergence_stops_the_run_and_leaves_the_last_good_checkpoint(
    igan_zoo: Cli, data_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss turns NaN in the second epoch; the checkpoint of the first stays, whole and finite."""
    monkeypatch.setattr(saving, "_WORK_PER_SAVE", 0.0)
    steps = {"count": 0}
    honest = AlternatingGame.generator_step

    def poisoned(self: AlternatingGame, unlabelled: torch.Tensor) -> Losses:
        steps["count"] += 1
        factor = float("nan") if steps["count"] == 20 else 1.0
        return {name: loss * factor for name, loss in honest(self, unlabelled).items()}

    monkeypatch.setattr(AlternatingGame, "generator_step", poisoned)
    code, _, errors = igan_zoo(*training(data_directory, tmp_path / "run", 3))
    assert code == 1
    assert "diverged in epoch 2: a loss of the steps up to 15" in errors
    with safe_open(tmp_path / "run" / "checkpoint.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["facts"])["epoch"] == 1
    assert [row["epoch"] for row in Run(tmp_path / "run").log()] == [1]


def test_parameters_that_are_not_finite_are_never_saved(
    igan_zoo: Cli, data_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "_WORK_PER_SAVE", 0.0)
    honest = Training.validation_error

    def breaking(self: Training) -> float | None:
        error = honest(self)
        with torch.no_grad():
            next(self.game.discriminator.parameters())[0, 0] = torch.inf
        return error

    monkeypatch.setattr(Training, "validation_error", breaking)
    code, _, errors = igan_zoo(*training(data_directory, tmp_path / "run", 3))
    assert code == 1
    assert "discriminator.body.1.bias" in errors or "discriminator.body.1.direction" in errors
    with safe_open(tmp_path / "run" / "checkpoint.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["facts"])["epoch"] == 0


def test_a_changed_output_is_there_after_loading(igan_zoo: Cli, data_directory: Path, tmp_path: Path) -> None:
    """The generator is as it was in the last epoch, which is what export sees."""
    for epochs, expected in ((1, "Softplus"), (2, "Sigmoid")):
        path = tmp_path / str(epochs)
        switch = ("generator_output=softplus", "sigmoid_from=1")
        assert igan_zoo(*training(data_directory, path, epochs, *switch))[0] == 0
        game, _ = open_game(Run(path))
        assert isinstance(game, AlternatingGame)
        assert game.generator is not None
        assert type(game.generator[-1]).__name__ == expected


def test_what_is_not_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="not a run directory"):
        Run(tmp_path).facts()
    (tmp_path / "recipe.json").write_text('{"recipe": 1}')
    with pytest.raises(SpecificationError, match="not a run's recipe"):
        Run(tmp_path).facts()


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(
    igan_zoo: Cli, data_directory: Path, tmp_path: Path
) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert igan_zoo(*training(data_directory, tmp_path / name, 1), "--seed", seed)[0] == 0
    logs = [(tmp_path / name / "log.jsonl").read_bytes() for name in "abc"]
    assert logs[0] == logs[1] != logs[2]


def test_a_run_starts_from_the_weights_of_a_model(data_directory: Path, exported_model: Path, tmp_path: Path) -> None:
    """One step at the smallest rate away from the model, and not from fresh networks."""
    out = tmp_path / "run"
    settings = ["batch_size=20", "epochs=1", "epoch_images=20", "learning_rate=1e-9", f"start_from={exported_model}"]
    recipe = customize(find_recipe("mnist-ssl"), [*TINY, *settings])
    start_training(recipe, str(data_directory), out, threads=1)
    with safe_open(exported_model / "model.safetensors", "pt") as file:
        saved = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    game, _ = open_game(Run(out))
    for player, network in game.players():
        for name, parameter in network.named_parameters():
            torch.testing.assert_close(parameter, saved[f"{player}.{name}"], atol=1e-6, rtol=0)


def test_a_model_of_another_kind_is_refused(data_directory: Path, exported_model: Path, tmp_path: Path) -> None:
    recipe = customize(find_recipe("mnist-ssl-consistency"), [*TINY, f"start_from={exported_model}"])
    with pytest.raises(TrainingError, match="differs from this recipe's network"):
        start_training(recipe, str(data_directory), tmp_path / "run", threads=1)
    assert not (tmp_path / "run").exists()
