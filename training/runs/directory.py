"""A run directory: ``recipe.json``, ``labels.csv``, ``log.jsonl``, ``timing.jsonl``, a checkpoint and pictures.

``log.jsonl`` holds only what the recipe determines, so an interrupted and resumed run has the same bytes as an
uninterrupted one; clock times stand in ``timing.jsonl``.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from igan_zoo.errors import DataError, SpecificationError, TrainingError
from igan_zoo.images.labels import write_labels
from igan_zoo.images.pixels import grid, write_image
from igan_zoo.machine.files import alone, atomic_file, open_regular
from igan_zoo.models.spec import LABELS
from igan_zoo.training.recipes.catalogue import find_recipe
from igan_zoo.training.recipes.settings import Precision, Recipe
from igan_zoo.training.runs.pictures import draw_curves, draw_progress

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunFacts:
    """What a run was made from, beside its recipe: written at its start, read by export."""

    recipe: Recipe
    data: str
    classes: tuple[str, ...]
    training_images: int
    labelled_images: int
    device: str
    threads: int
    versions: dict[str, str]
    processes: int = 1
    labels_file: str | None = None  # a CSV file that chose the labelled images
    precision: Precision | None = None  # what the recipe's came to; None in files from before there was a choice

    def command(self) -> str:
        """Returns the command that makes this run again, with the Hub's name for the data of the paper's recipes.

        It is for publishing: of one's own folder of images it has the name alone, and of a file of labels that of the
        copy in the run, which goes with the model.
        """
        recipe = msgspec.structs.replace(self.recipe, precision=self.precision or self.recipe.precision)
        labels = LABELS if self.labels_file else None
        data = recipe.dataset
        if recipe.name == "custom":
            place = Path(self.data)
            on_the_hub = self.data.count("/") == 1 and not place.is_absolute() and not place.exists()
            data = self.data if on_the_hub else place.name
        return train_command(recipe, data, labels=labels, threads=self.threads)


def train_command(recipe: Recipe, data: str, *, labels: str | None = None, threads: int | None = None) -> str:
    """Returns the command that trains ``recipe`` on ``data``; ``labels`` is a file that chooses the labelled images."""
    base, last = find_recipe(recipe.name), "precision"
    settings = {key: value for key, value in msgspec.structs.asdict(recipe).items() if value != getattr(base, key)}
    changed = [key for key in settings if key not in ("labels", "seed", last)] + [last] * (last in settings)
    words = ["igan-zoo", "train", recipe.name, "--data", data, "--labels", labels or recipe.labels]
    words += ["--features", "none"] * (recipe.name == "custom")
    words += ["--seed", str(recipe.seed), *(["--threads", str(threads)] if threads is not None else [])]
    return shlex.join(words) + "".join(f" --set {key}={_setting(settings[key])}" for key in changed)


def _setting(value: Any) -> str:
    """Returns a value as the command line takes it."""
    return json.dumps(value) if isinstance(value, bool) else "none" if value is None else str(value)


@dataclass(frozen=True)
class Run:
    """Paths and records of one run directory."""

    path: Path

    @property
    def checkpoint(self) -> Path:
        """The newest checkpoint."""
        return self.path / "checkpoint.safetensors"

    @property
    def teacher(self) -> Path:
        """What the recipe's teacher answers."""
        return self.path / "teacher.safetensors"

    @property
    def recipe_file(self) -> Path:
        """The resolved recipe and what it was run on."""
        return self.path / "recipe.json"

    @property
    def log_file(self) -> Path:
        """One line an epoch."""
        return self.path / "log.jsonl"

    @property
    def labels_file(self) -> Path:
        """The labeled images, as a CSV file that labels them again in another run."""
        return self.path / LABELS

    def start(self, facts: RunFacts, labels: Iterable[tuple[str, str]] = ()) -> None:
        """Makes the directory and writes ``recipe.json``, and ``labels.csv`` if there are labels: files and classes.

        Raises:
            TrainingError: there is a run already.
        """
        if self.recipe_file.exists():
            raise TrainingError(f"{self.path} holds a run already; add --resume to continue, or choose another --out.")
        keep_labels(self.labels_file, labels)
        self.write(facts)

    def write(self, facts: RunFacts) -> None:
        """Writes ``recipe.json``, whole or not at all."""
        with atomic_file(self.recipe_file) as temporary:
            temporary.write_bytes(msgspec.json.format(msgspec.json.encode(facts), indent=2) + b"\n")

    def facts(self) -> RunFacts:
        """Reads ``recipe.json``.

        Raises:
            TrainingError: there is no run here.
            SpecificationError: the file is not a run's.
        """
        return read_facts(self.recipe_file)

    def alone(self) -> AbstractContextManager[None]:
        """Lets one process at a time train this run; others that try raise a TrainingError."""
        return alone(
            self.path, TrainingError(f"Another process is training {self.path}: wait for it, or choose another --out.")
        )

    def clean(self) -> None:
        """Removes what a killed process was writing; nothing of it has a final name."""
        for rest in self.path.glob(".*.part"):
            rest.unlink()

    def append(self, record: dict[str, Any]) -> None:
        """Appends an epoch to the log."""
        _append_line(self.log_file, record)

    def append_time(self, epoch: int, seconds: float, *, step: int | None = None) -> None:
        """Writes down the wall time since the last such row; ``step`` is how far an unfinished epoch has come."""
        _append_line(self._timing_file, {"epoch": epoch, **({"step": step} if step else {}), "seconds": seconds})

    def log(self) -> list[dict[str, Any]]:
        """Returns the log's records; a half-written last line is left out."""
        return _read_lines(self.log_file)

    def keep_least_realness(self, least: float) -> None:
        """Writes down what nearly all training images exceed in realness."""
        with atomic_file(self._realness_file) as temporary:
            temporary.write_text(json.dumps({"least_realness": least}) + "\n")

    def least_realness(self) -> float | None:
        """Returns what nearly all training images exceed in realness; None where that was not measured.

        Raises:
            TrainingError: the file is damaged.
        """
        try:
            with open_regular(self._realness_file) as file:
                content = json.load(file)
            return float(content["least_realness"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise TrainingError(f"{self._realness_file} is damaged; remove it, or finish the run again.") from error

    @property
    def _realness_file(self) -> Path:
        return self.path / "realness.json"

    def is_finished(self) -> bool:
        """Returns whether the checkpoint has all epochs of the recipe behind it.

        Raises:
            TrainingError: there is no run here, or the checkpoint is damaged.
            SpecificationError: ``recipe.json`` is not a run's.
        """
        return self.epochs_done() >= self.facts().recipe.epochs

    def epochs_done(self) -> int:
        """Returns how many whole epochs the checkpoint has behind it; 0 where there is none.

        Raises:
            TrainingError: the checkpoint is damaged.
        """
        from igan_zoo.training.runs.checkpoints import checkpoint_facts

        return int(checkpoint_facts(self.checkpoint)["epoch"]) if self.checkpoint.is_file() else 0

    def seconds(self) -> float:
        """Returns the wall time of all that was trained, before and after every resume."""
        return float(sum(row["seconds"] for row in _read_lines(self._timing_file)))

    @property
    def _timing_file(self) -> Path:
        return self.path / "timing.jsonl"

    def rewind(self, epochs: int, step: int) -> None:
        """Drops what was logged after the checkpoint, ``step`` steps after ``epochs`` epochs, was written."""
        for path in (self.log_file, self._timing_file):
            rows = [
                row
                for row in _read_lines(path)
                if row["epoch"] <= epochs or (row["epoch"] == epochs + 1 and row.get("step", step + 1) <= step)
            ]
            with atomic_file(path) as temporary:
                temporary.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def draw(self, samples: NDArray[np.uint8] | None) -> None:
        """Writes ``samples.png`` (a grid of uint8 ``[N, H, W, C]``), if there are any, and ``curves.png``."""
        if samples is not None:
            write_image(self.path / "samples.png", grid(samples))
        draw_curves(self.path / "curves.png", self.log())

    def draw_frame(self, step: int, samples: NDArray[np.uint8]) -> None:
        """Writes a grid of samples as ``progress/step-N.png``."""
        self.frames.mkdir(exist_ok=True)
        write_image(self.frames / f"step-{step:08d}.png", grid(samples))

    @property
    def frames(self) -> Path:
        """The folder of the pictures drawn on the way."""
        return self.path / "progress"

    def draw_progress(self) -> None:
        """Writes ``progress.webp``, the pictures drawn on the way one after the other, if there are any."""
        if frames := sorted(self.frames.glob("step-*.png")):
            draw_progress(self.path / "progress.webp", frames)


def read_facts(path: Path) -> RunFacts:
    """Reads a run's ``recipe.json``, wherever it is.

    Raises:
        TrainingError: there is no such file.
        SpecificationError: the file is not a run's.
        UnknownNameError: its recipe has no name of this version.
    """
    try:
        with open_regular(path) as file:
            facts = msgspec.json.decode(file.read(), type=RunFacts)
    except (FileNotFoundError, NotADirectoryError):
        raise TrainingError(f"{path.parent} is not a run directory: it has no {path.name}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SpecificationError(f"{path} is not a run's recipe: {error}.") from error
    name = find_recipe(facts.recipe.name).name  # what it is called now
    return replace(facts, recipe=msgspec.structs.replace(facts.recipe, name=name))


def keep_labels(path: Path, labels: Iterable[tuple[str, str]]) -> None:
    """Writes which images are labeled, and how, as a CSV file; none where a name cannot stand in one."""
    rows = list(labels)
    if not rows:
        return
    try:
        with atomic_file(path) as temporary:
            write_labels(temporary, rows)
    except DataError as error:
        _LOG.warning("%s is not written: %s", path, error)


def _append_line(path: Path, row: dict[str, Any]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _read_lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    rows = []
    with open_regular(path) as file:
        lines = file.read().splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        if not line.endswith(b"\n"):
            break
        try:
            row = json.loads(line)
            valid = isinstance(row, dict) and isinstance(row.get("epoch"), int)
        except (ValueError, RecursionError):
            valid = False
        if not valid:
            raise TrainingError(
                f"Line {number} of {path} is damaged; delete the line, or start the run again in another --out."
            )
        rows.append(row)
    return rows
