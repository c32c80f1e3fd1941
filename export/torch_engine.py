"""A model directory's networks run by PyTorch, to compare with the graphs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray

from igan_zoo.errors import ModelDirectoryError
from igan_zoo.export.exporter import evaluation_module
from igan_zoo.models.directory import ModelDirectory
from igan_zoo.models.interface import OUTPUTS
from igan_zoo.models.spec import WEIGHTS
from igan_zoo.serving.engine import Arrays, Graph
from igan_zoo.training.weights import load_networks


class TorchEngine:
    """Runs the networks in evaluation mode, nothing folded, on the CPU; the interface is the engine's."""

    provider = "PyTorch"

    def __init__(self, directory: ModelDirectory, graphs: Mapping[str, Graph], *, threads: int | None = None) -> None:
        """Loads the training weights, to run the roles of ``graphs``.

        Raises:
            ModelDirectoryError: they are not here, or damaged.
        """
        if not (directory.path / WEIGHTS).exists():
            raise ModelDirectoryError(f"{directory.path} has no {WEIGHTS}, which PyTorch needs; remove --torch.")
        if threads is not None:
            torch.set_num_threads(threads)
        directory.read(WEIGHTS)  # its sum is checked before it is opened
        networks = load_networks(directory.path / WEIGHTS)
        self.graphs = graphs
        self.modules = {role: evaluation_module(networks, role) for role in graphs}

    @torch.inference_mode()
    def run(self, role: str, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """Runs a batch, ``{input: array}``, and returns ``{output: array}``."""
        (given,) = inputs.values()
        outputs = self.modules[role](torch.from_numpy(given))
        results = outputs if isinstance(outputs, tuple) else (outputs,)
        return {name: result.numpy() for name, result in zip(OUTPUTS[role], results, strict=True)}
