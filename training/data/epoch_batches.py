"""What the steps of one epoch see: its orders on the device from the start, images on disk read one step ahead."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from igan_zoo.training.data.subsets import epoch_order, tiled_order
from igan_zoo.training.data.training_set import TrainingSet, to_network
from igan_zoo.training.distributed import World
from igan_zoo.training.games.game import Batches


def epoch_length(training_set: TrainingSet) -> int:
    """Returns how many unlabelled images an epoch shows, to all processes together."""
    return min(len(training_set), training_set.recipe.epoch_images or len(training_set))


@dataclass(frozen=True)
class _Order:
    """The indices of one kind of batch, ``[steps, batch_size]``: on the host, and on the device of the labels."""

    host: NDArray[np.int64]
    device: Tensor


class EpochBatches:
    """The batches of one epoch, for one process. Use it as a context, which ends the reading ahead.

    Only the orders that the epoch needs are made: of the labelled images where there are some, of the unlabelled ones
    where the generator plays, of other ones for the generator where its objective compares with real images, and of
    those for consistency.
    """

    def __init__(self, training_set: TrainingSet, world: World, epoch: int) -> None:
        self._set, self._world, self._epoch = training_set, world, epoch
        recipe = training_set.recipe
        self._simultaneous = recipe.simultaneous
        plays = recipe.generator_plays_at(epoch) and not recipe.simultaneous
        orders = {
            "labelled": None if recipe.simultaneous else self._labelled_order(),
            "discriminator": self._order("discriminator") if plays or recipe.simultaneous else None,
            "generator": self._order("generator") if plays and recipe.matches_features else None,
            "consistency": self._consistency_order() if recipe.consistency_at(epoch) > 0 else None,
        }
        self._orders = {name: order for name, order in orders.items() if order is not None}
        self.steps = epoch_length(training_set) // (recipe.batch_size * world.size)
        self._reader = None if training_set.on_device else _reader(training_set.device)
        self._ahead: tuple[int, dict[str, Future[Tensor]]] = (-1, {})

    def __enter__(self) -> EpochBatches:
        return self

    def __exit__(self, *_: object) -> None:
        if self._reader is not None:
            self._reader.shutdown(cancel_futures=True)

    def __iter__(self) -> Iterator[Batches]:
        return map(self.at, range(self.steps))

    def at(self, step: int) -> Batches:
        """Returns the images of a step."""
        images = {name: to_network(pixels, self._set.recipe) for name, pixels in self._pixels(step).items()}
        if self._simultaneous:
            order = self._orders["discriminator"].device[step]
            return Batches((images["discriminator"], self._set.known_labels(order)), None)
        known = None
        if "labelled" in images:
            known = images["labelled"], self._set.labels_at(self._orders["labelled"].device[step])
        plays = "discriminator" in images
        unlabelled = (images["discriminator"], images.get("generator")) if plays else None
        return Batches(known, unlabelled, self._consistency(images, step))

    def _consistency(self, images: dict[str, Tensor], step: int) -> tuple[Tensor, Tensor | None] | None:
        if "consistency" not in images:
            return None
        taught = self._set.taught
        return images["consistency"], None if taught is None else taught[self._orders["consistency"].device[step]]

    def _pixels(self, step: int) -> dict[str, Tensor]:
        """Returns uint8 images by the name of their order."""
        if self._reader is None:
            return {name: self._set.pixels(order.device[step]) for name, order in self._orders.items()}
        ready, reading = self._ahead
        if ready != step:
            reading = self._read(self._reader, step)
        self._ahead = (step + 1, self._read(self._reader, step + 1) if step + 1 < self.steps else {})
        return {name: self._set.uploaded(read.result()) for name, read in reading.items()}

    def _read(self, reader: ThreadPoolExecutor, step: int) -> dict[str, Future[Tensor]]:
        return {name: reader.submit(self._set.read, order.host[step]) for name, order in self._orders.items()}

    def _order(self, stream: str) -> _Order:
        order = epoch_order(len(self._set), self._set.recipe.seed, self._epoch, stream)
        return self._shared(order[: epoch_length(self._set)])

    def _labelled_order(self) -> _Order | None:
        labelled = self._set.labelled
        if len(labelled) == 0:
            return None
        tiles = tiled_order(len(labelled), epoch_length(self._set), self._set.recipe.seed, self._epoch)
        return self._shared(labelled[tiles])

    def _consistency_order(self) -> _Order:
        recipe, size = self._set.recipe, self._set.recipe.consistency_images
        steps = epoch_length(self._set) // (recipe.batch_size * self._world.size)
        total = steps * size * self._world.size
        return self._shared(tiled_order(len(self._set), total, recipe.seed, self._epoch, "consistency"), size)

    def _shared(self, order: NDArray[np.int64], batch_size: int | None = None) -> _Order:
        share = self._world.share(order, batch_size or self._set.recipe.batch_size)
        return _Order(share, torch.from_numpy(np.ascontiguousarray(share)).to(self._set.device))


def _reader(device: str) -> ThreadPoolExecutor:
    if device != "cuda":
        return ThreadPoolExecutor(1)
    # A thread begins with the first GPU as its own, and would pin its memory there.
    return ThreadPoolExecutor(1, initializer=torch.cuda.set_device, initargs=(torch.cuda.current_device(),))
