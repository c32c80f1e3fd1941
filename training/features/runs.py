"""A run on features: its folder, and the steps from features and labels to one calibrated classifier.

The folder contains ``features.json`` (facts), ``encoder.onnx``, ``member-N.safetensors`` for each finished game,
``classifier.safetensors`` and ``result.json``. Files get their names only when complete, so a killed run continues with
the game it was training.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from igan_zoo.errors import SpecificationError, TrainingError
from igan_zoo.machine.files import alone, atomic_file, open_regular, refuse_unwritable
from igan_zoo.machine.progress import Progress
from igan_zoo.models.spec import LABELS
from igan_zoo.training.data.subsets import labelled_subset, validation_subset
from igan_zoo.training.features.classifier import FeatureClassifier
from igan_zoo.training.features.clusters import separated
from igan_zoo.training.features.game import GameSettings, feature_classifier, play
from igan_zoo.training.features.logistic import fit_logistic
from igan_zoo.training.features.preparation import Preparation, in_blocks
from igan_zoo.training.features.propagation import agreed
from igan_zoo.training.features.settings import FeatureRecipe, Keep
from igan_zoo.training.networks.players import Discriminator
from igan_zoo.training.precision import denormals_as_zero, torch_threads
from igan_zoo.training.runs.checkpoints import load_checkpoint, save_checkpoint
from igan_zoo.training.runs.directory import keep_labels
from igan_zoo.training.runs.resuming import differences

FACTS = "features.json"
Record = TypeVar("Record", bound=msgspec.Struct)


class FeatureFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a run was made from. ``sum`` changes with any feature or label."""

    recipe: FeatureRecipe
    data: str
    labels_file: str | None
    classes: tuple[str, ...]
    encoder: str
    size: int
    photos: int
    width: int
    sum: str
    versions: dict[str, str]


class FeatureResult(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Errors of both methods on ``validation`` photos, None without such photos, and which method was kept."""

    labeled: int
    validation: int
    game_errors: int | None
    linear_errors: int | None
    kept: Literal["game", "linear"]
    temperature: float
    least_realness: float | None = None  # 99 of 100 photos exceed it


@dataclass(frozen=True)
class FeatureData:
    """Features float32 ``[N, F]`` of all photos with labels int64 ``[N]``, -1 where none is known, and names."""

    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    names: Sequence[str] = ()

    def sum(self) -> str:
        """Returns a checksum that changes with any feature, label or class."""
        content = hashlib.sha256(self.features.tobytes())
        content.update(self.labels.tobytes())
        content.update(repr(self.classes).encode())
        return content.hexdigest()


@dataclass(frozen=True)
class FeatureRun:
    """Paths and records of one run."""

    path: Path

    @property
    def encoder(self) -> Path:
        """The graph that computes the features."""
        return self.path / "encoder.onnx"

    @staticmethod
    def is_one(path: Path) -> bool:
        """Returns whether ``path`` is the folder of a run on features."""
        return (path / FACTS).is_file()

    def facts(self) -> FeatureFacts:
        """Reads ``features.json``.

        Raises:
            TrainingError: there is no run here.
            SpecificationError: the file is not a run's.
        """
        return _read(self.path / FACTS, FeatureFacts)

    def result(self) -> FeatureResult:
        """Reads the result of a finished run.

        Raises:
            TrainingError: the run is not finished.
            SpecificationError: the file is not a run's.
        """
        return _read(self.path / "result.json", FeatureResult)

    def refuse_start(self, *, resume: bool) -> None:
        """Rejects a folder where no run can start, or continue with ``resume``, before features are computed.

        Raises:
            TrainingError: a run exists and ``resume`` is false.
            OutputError: the folder cannot be written.
        """
        if (self.path / "recipe.json").exists() or any(self.path.glob("seed*/recipe.json")):
            raise TrainingError(
                f"{self.path} holds a run on pixels: add --resume --features none to continue it, or choose another "
                "--out."
            )
        if (self.path / FACTS).exists() and not resume:
            raise TrainingError(f"{self.path} holds a run already; add --resume to continue, or choose another --out.")
        refuse_unwritable(self.path)

    def start(self, facts: FeatureFacts, encoder: bytes, *, resume: bool) -> None:
        """Creates the folder, or checks that the existing run matches.

        Raises:
            TrainingError: a run exists and ``resume`` is false, or it was made from something else.
        """
        self.refuse_start(resume=resume)
        if (self.path / FACTS).exists():
            if other := differences(_compared(self.facts()), _compared(facts)):
                raise TrainingError(
                    f"{self.path} was made with other settings ({other}); give the same, or choose another --out."
                )
            return
        for path, content in ((self.encoder, encoder), (self.path / FACTS, _json(facts))):
            with atomic_file(path) as temporary:
                temporary.write_bytes(content)

    def train(self, recipe: FeatureRecipe, data: FeatureData, keep: Keep, threads: int | None = None) -> FeatureResult:
        """Trains the unfinished games, and writes the classifier and the result.

        Uses one thread if ``threads`` is None: the matrices are small, and on a busy machine, threads waiting for each
        other make a game five times as long.

        Raises:
            TrainingError: another process trains this run, or a file of it is damaged.
            DataError: there are fewer labels than the recipe needs, or fewer than two classes.
        """
        busy = TrainingError(f"Another process is training {self.path}: wait for it, or choose another --out.")
        with alone(self.path, busy), torch_threads(threads or 1), denormals_as_zero():
            return self._train(recipe, data, keep)

    def classifier(self) -> FeatureClassifier:
        """Returns the classifier of a finished run, in evaluation.

        Raises:
            TrainingError: the run is not finished, or a file of it is damaged.
        """
        facts, result = self.facts(), self.result()
        inputs = min(facts.recipe.dimensions, facts.photos, facts.width)
        made = FeatureClassifier(
            Preparation(facts.width, inputs),
            [self._new_member(inputs, len(facts.classes)) for _ in range(facts.recipe.members)],
            nn.Linear(facts.width, len(facts.classes)),
            keeps_linear=result.kept == "linear",
        )
        tensors, _ = load_checkpoint(self.path / "classifier.safetensors")
        _load(made, tensors, self.path)
        return made.eval().requires_grad_(False)

    def answers(self, features: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Returns the probabilities ``[N, K]`` of features ``[N, F]``, and the prepared features ``[N, D]``.

        Raises:
            TrainingError: as :meth:`classifier`.
        """
        classifier, rows = self.classifier(), torch.from_numpy(features)
        with torch.no_grad():
            return classifier(rows)[1].numpy(), classifier.preparation(rows).numpy()

    def encoder_content(self) -> bytes:
        """Returns the bytes of the graph that computes the features.

        Raises:
            TrainingError: it cannot be read.
        """
        try:
            return self.encoder.read_bytes()
        except OSError as error:
            raise TrainingError(f"Cannot read {self.encoder}: {error.strerror}; train the run again.") from error

    def _train(self, recipe: FeatureRecipe, data: FeatureData, keep: Keep) -> FeatureResult:
        known = labelled_subset(data.labels, recipe.labels, data.classes, recipe.seed)
        if data.names and len(known) < len(data.labels):
            keep_labels(self.path / LABELS, [(data.names[row], data.classes[data.labels[row]]) for row in known])
        held_out = validation_subset(data.labels, known, recipe.validation_images, recipe.seed)
        features, all_labels = torch.from_numpy(data.features), torch.from_numpy(data.labels)
        labeled, labels = torch.from_numpy(known), all_labels[torch.from_numpy(known)]
        classes = len(data.classes)
        preparation, points, spread = separated(features, recipe.dimensions, labeled, labels, classes)
        directions = preparation.directions(features[labeled]) - preparation.center
        linear = fit_logistic(directions.double(), labels, classes, recipe.strength)
        shares = in_blocks(FeatureClassifier(preparation, [], linear).linear_logits, features).softmax(dim=1)
        targets = agreed(spread, shares, labeled, labels)
        members = self._members(recipe, points, labeled, labels, targets)
        made = FeatureClassifier(preparation, members, linear).eval()
        seen, answers = features[torch.from_numpy(held_out)], all_labels[torch.from_numpy(held_out)]
        game = linear_errors = None
        if len(held_out):
            game = _errors(made(seen)[1], answers)
            linear_errors = _errors(made.linear_logits(seen), answers)
        lost = game is not None and linear_errors is not None and linear_errors < game
        made.keeps_linear = keep == "linear" or (keep == "better" and lost)
        if len(held_out):
            made.calibrate(seen, answers)
        realness = in_blocks(lambda block: made(block)[2], features)
        save_checkpoint(self.path / "classifier.safetensors", made.state_dict(), {"epoch": 1, "step": 0})
        result = FeatureResult(
            labeled=len(known),
            validation=len(held_out),
            game_errors=game,
            linear_errors=linear_errors,
            kept="linear" if made.keeps_linear else "game",
            temperature=float(made.temperature),
            least_realness=float(np.quantile(realness.numpy(), 0.01)),
        )
        with atomic_file(self.path / "result.json") as temporary:
            temporary.write_bytes(_json(result))
        return result

    def _members(
        self, recipe: FeatureRecipe, points: Tensor, labeled: Tensor, labels: Tensor, targets: Tensor
    ) -> list[Discriminator]:
        settings = game_settings(recipe)
        members = []
        with Progress("playing", recipe.members * settings.steps, unit="steps") as progress:
            for seed in range(recipe.seed, recipe.seed + recipe.members):
                path = self.path / f"member-{seed}.safetensors"
                if path.exists():
                    member = self._new_member(points.shape[1], targets.shape[1])
                    _load(member, load_checkpoint(path)[0], self.path)
                    progress.advance(settings.steps)
                else:
                    member = play(points, labeled, labels, targets, settings, seed, progress.advance)
                    save_checkpoint(path, member.state_dict(), {"epoch": 1, "step": settings.steps})
                members.append(member.eval().requires_grad_(False))
        return members

    @staticmethod
    def _new_member(inputs: int, classes: int) -> Discriminator:
        return feature_classifier(inputs, classes, GameSettings(steps=1))


def _compared(facts: FeatureFacts) -> dict[str, object]:
    """Returns what identifies a run, by name; the checksum of photos and labels only shows that they differ."""
    compared = msgspec.structs.asdict(facts) | msgspec.structs.asdict(facts.recipe)
    compared["photos and labels"] = f"{compared.pop('sum')[:8]}..."
    return {name: value for name, value in compared.items() if name not in ("recipe", "versions")}


def game_settings(recipe: FeatureRecipe) -> GameSettings:
    """Returns the settings of a recipe's games."""
    return GameSettings(
        steps=recipe.steps,
        learning_rate=recipe.learning_rate,
        averaging_rate=recipe.averaging_rate,
        unlabeled_weight=recipe.unlabeled_weight,
        propagation_weight=recipe.propagation_weight,
    )


def _errors(answers: Tensor, labels: Tensor) -> int:
    return int((answers.argmax(dim=1) != labels).sum())


def _json(record: msgspec.Struct) -> bytes:
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"


def _load(module: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    try:
        module.load_state_dict(tensors)
    except RuntimeError:
        raise TrainingError(f"{path} holds networks of a different size than declared; start the run again.") from None


def _read(path: Path, kind: type[Record]) -> Record:
    try:
        with open_regular(path) as file:
            return msgspec.json.decode(file.read(), type=kind)
    except (FileNotFoundError, NotADirectoryError):
        raise TrainingError(f"{path.parent} has no {path.name}: the run is not finished; add --resume.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SpecificationError(f"{path} is not from a run on features: {error}.") from error
