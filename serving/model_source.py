"""Images to score that a generator draws when they are asked for; none is stored."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from igan_zoo.latents import Distribution, latents
from igan_zoo.models.store import Model
from igan_zoo.serving.engine import Device, Engine, check_specification
from igan_zoo.serving.model import LoadedModel
from igan_zoo.serving.stored_images import StoredImage, check_indices

# Differs from `sample`, whose batches have any size: matrix products of another size round differently, which can tip
# a grey level. Drawn in whole blocks of one size, an image is the same bits in every shard and after every restart.
BLOCK = 100
_BLOCKS_KEPT = 2


class ModelSource:
    """Images 0 to ``count - 1`` of ``seed`` (contract 3), always drawn in blocks of 100 that start at a multiple."""

    encoded = False

    def __init__(self, model: Model, engine: Engine, distribution: Distribution, *, count: int, seed: int) -> None:
        self.model, self.count, self.seed = model, count, seed
        self.reference = model.name
        self.distribution, self._engine = distribution, engine
        (self._size,) = engine.graphs["generator"].input_shape
        self._blocks: OrderedDict[int, NDArray[np.uint8]] = OrderedDict()

    def __len__(self) -> int:
        return self.count

    def name(self, index: int) -> str:
        return f"image {index} of seed {self.seed} of {self.model.name}"

    def fetch(self, indices: Sequence[int]) -> list[StoredImage]:
        check_indices(indices, len(self))
        return [StoredImage(self.name(index), self._block(index // BLOCK)[index % BLOCK]) for index in indices]

    def fingerprint(self) -> str:
        """Returns the sha256 over the generator's graph, the distribution of latents, the seed and the count."""
        digest = hashlib.sha256(self.model.graph("generator"))
        digest.update(f"\0{self.distribution}\0{self.seed}\0{self.count}".encode())
        return digest.hexdigest()

    def _block(self, number: int) -> NDArray[np.uint8]:
        if number not in self._blocks:
            z = latents(self._size, self.distribution, seed=self.seed, start=number * BLOCK, count=BLOCK)
            self._blocks[number] = self._engine.run("generator", {"latent": z})["images"]
            while len(self._blocks) > _BLOCKS_KEPT:
                self._blocks.popitem(last=False)
        return self._blocks[number]


def open_model(
    model: Model, *, count: int, seed: int, device: Device = "cpu", threads: int | None = None
) -> ModelSource:
    """Loads the generator of a model as a source of ``count`` images.

    Raises:
        ModelDirectoryError: the model has no generator.
        DeviceError, InterfaceError, MissingExtraError: as ``Engine`` and ``LoadedModel.latents``.
    """
    engine = Engine({"generator": model.graph("generator")}, device=device, threads=threads)
    check_specification(model, engine)
    return ModelSource(model, engine, LoadedModel(model, engine).latents.distribution, count=count, seed=seed)
