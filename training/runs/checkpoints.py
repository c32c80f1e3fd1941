"""A checkpoint: every tensor that the next step depends on, in one safetensors file, written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from igan_zoo.errors import TrainingError, first_line
from igan_zoo.machine.files import atomic_file, open_regular
from igan_zoo.training.games.historical import HistoricalAverage
from igan_zoo.training.optimizers import Adam, NesterovMomentum, ParameterAverage


def save_checkpoint(path: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Writes named tensors and JSON facts to ``path``."""
    from safetensors.torch import save

    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_file(path) as temporary:
        temporary.write_bytes(save(contiguous, metadata={"facts": json.dumps(facts)}))


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Returns the tensors and facts of a checkpoint.

    Raises:
        TrainingError: the file is missing or damaged.
    """
    with _opened(path) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        return tensors, _facts(file)


def checkpoint_facts(path: Path) -> dict[str, Any]:
    """Returns the facts of a checkpoint alone, without reading its tensors.

    Raises:
        TrainingError: the file is missing or damaged.
    """
    with _opened(path) as file:
        return _facts(file)


def _facts(file: Any) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(file.metadata()["facts"])
    if not all(isinstance(facts[name], int) for name in ("epoch", "step")):
        raise ValueError("its epoch and step are not numbers")
    return facts


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Opens a checkpoint and says what is wrong with it."""
    from safetensors import safe_open

    try:
        open_regular(path).close()
        with safe_open(path, framework="pt") as file:
            yield file
    except FileNotFoundError:
        raise TrainingError(f"There is no checkpoint {path}; start the run without --resume.") from None
    except Exception as error:
        # safetensors and json raise anything at damaged bytes.
        raise TrainingError(
            f"The checkpoint {path} is damaged ({first_line(error)}); start the run again in another --out."
        ) from error


def network_tensors(prefix: str, network: nn.Module) -> dict[str, Tensor]:
    """Returns the state of a network under ``prefix.``."""
    return {f"{prefix}.{name}": tensor for name, tensor in network.state_dict().items()}


def optimizer_tensors(prefix: str, optimizer: Adam | NesterovMomentum) -> dict[str, Tensor]:
    """Returns the moments and step counters of an optimizer under ``prefix.``."""
    return {
        f"{prefix}.{index}.{name}": tensor
        for index, parameter in enumerate(optimizer.parameters)
        for name, tensor in optimizer.state[parameter].items()
    }


def average_tensors(prefix: str, average: ParameterAverage) -> dict[str, Tensor]:
    """Returns the running totals of a parameter average under ``prefix.``."""
    return {f"{prefix}.{name}": tensor for name, tensor in average.totals.items()}


def history_tensors(prefix: str, history: HistoricalAverage) -> dict[str, Tensor]:
    """Returns the averages of a historical averaging under ``prefix.``; its ``updates`` belong to the facts."""
    return {f"{prefix}.{index}": tensor for index, tensor in enumerate(history.averages)}


def fits(live: Mapping[str, Tensor], saved: Mapping[str, Tensor]) -> bool:
    """Returns whether saved tensors have the names and shapes of the live ones."""
    return live.keys() == saved.keys() and all(live[name].shape == saved[name].shape for name in live)


@torch.no_grad()
def restore(live: dict[str, Tensor], saved: dict[str, Tensor], path: Path) -> None:
    """Copies saved tensors into the live ones of the same names.

    Raises:
        TrainingError: names or shapes differ: the checkpoint belongs to another recipe.
    """
    if not fits(live, saved):
        raise TrainingError(f"The checkpoint {path} does not fit this recipe; start again in another --out.")
    for name, tensor in live.items():
        tensor.copy_(saved[name])
