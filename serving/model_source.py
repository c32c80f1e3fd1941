"""Images to score that a generator draws when they are asked for; none is stored."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from igan_zoo.errors import DataError, UnknownNameError
from igan_zoo.images.sources import open_source
from igan_zoo.images.stored import ImageSource, StoredImage, check_indices
from igan_zoo.images.summary import log_summary
from igan_zoo.latents import Distribution, latents
from igan_zoo.models import store
from igan_zoo.models.spec import CONFIG
from igan_zoo.models.store import Model
from igan_zoo.serving.engine import Device, Engine, check_specification
from igan_zoo.serving.model import LoadedModel

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


def open_images(
    reference: str,
    *,
    split: str | None = None,
    count: int | None = None,
    seed: int = 0,
    device: Device = "cpu",
    threads: int | None = None,
) -> ImageSource:
    """Opens stored images as ``open_source`` does, or a model that draws ``count`` images of ``seed`` on ``device``.

    What stored images there are is logged.

    Raises:
        DataError, MissingExtraError: as ``open_source``; or nothing says how many images a model is to draw.
        UnknownNameError: there is no model of that name, nor a file.
        ModelDirectoryError, InterfaceError, DeviceError: the model cannot be used.
    """
    if not is_model(reference):
        source = open_source(reference, split=split)
        log_summary(source, source.reference)
        return source
    try:
        model = store.resolve(reference)
    except UnknownNameError as error:
        reason = str(error)
        raise UnknownNameError(
            f"There is no file or folder {reference}, and {reason[:1].lower()}{reason[1:]}"
        ) from None
    if count is None:
        raise DataError(f"{reference} is a model; set the number of images to draw with --n.")
    return open_model(model, count=count, seed=seed, device=device, threads=threads)


def is_model(reference: str) -> bool:
    """Returns whether ``reference`` means a model and not stored images: what exists under that path goes first."""
    path = Path(reference)
    if path.exists():
        return path.suffix == ".onnx" or (path / CONFIG).is_file()
    return path.suffix == ".onnx" or (path.name == reference and path.suffix == "")
