"""A served graph: its engine behind a batcher, its inputs and outputs, its statistics."""

from __future__ import annotations

import math
import time
from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from igan_zoo.counts import counted
from igan_zoo.errors import IganZooError, InterfaceError, UnknownNameError
from igan_zoo.images.pixels import Shape
from igan_zoo.latents import latents
from igan_zoo.models.interface import INPUTS, OUTPUTS
from igan_zoo.models.store import Model
from igan_zoo.serving.engine import Arrays, Device, Engine
from igan_zoo.serving.model import LoadedModel, classes_in
from igan_zoo.serving.server.errors import QueueFullError
from igan_zoo.serving.server.models.batching import BatchLimits, Done, DynamicBatcher, Ran, Waiting
from igan_zoo.serving.server.models.datatypes import DATATYPES, datatype_of
from igan_zoo.serving.server.models.encoded_images import IMAGE_BYTES, ImageDecoding
from igan_zoo.serving.server.settings import ServerSettings

Number = TypeVar("Number", int, float)

# Seconds that other requests may wait for a batch in the event loop.
_AT_ONCE = 0.001
# Of the outputs of one request.
_MOST_BYTES = 64 * 2**20

# The roles whose images the server decodes itself where a request asks for it.
_DECODING = ("classifier", "scorer")

_TYPES: Mapping[str, tuple[str, Any]] = {"tensor(uint8)": ("UINT8", np.uint8), "tensor(float)": ("FP32", np.float32)}


@dataclass(frozen=True)
class TensorSpec:
    """A tensor of a graph: the protocol's name of its type, and its shape, batch first, with -1 for any size."""

    name: str
    datatype: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


_ENCODED = TensorSpec(IMAGE_BYTES, "BYTES", DATATYPES["BYTES"], (-1, 1))


@dataclass
class Statistics:
    """Statistics of a graph since it was loaded; times are in seconds."""

    succeeded: int = 0
    failed: int = 0
    succeeded_seconds: float = 0.0
    failed_seconds: float = 0.0
    queue_seconds: float = 0.0
    run_seconds: float = 0.0
    images: int = 0
    last: float = 0.0
    batches: dict[int, int] = field(default_factory=dict)
    batch_seconds: dict[int, float] = field(default_factory=dict)

    def answered(self, seconds: float, *, succeeded: bool) -> None:
        """Counts a request."""
        if succeeded:
            self.succeeded += 1
            self.succeeded_seconds += seconds
            self.last = time.time()
        else:
            self.failed += 1
            self.failed_seconds += seconds

    def observe(self, ran: Ran) -> None:
        """Counts a batch."""
        self.queue_seconds += ran.waited
        self.run_seconds += ran.seconds
        self.images += ran.rows
        self.batches[ran.rows] = self.batches.get(ran.rows, 0) + 1
        self.batch_seconds[ran.rows] = self.batch_seconds.get(ran.rows, 0.0) + ran.seconds

    def __add__(self, other: Statistics) -> Statistics:
        """Returns the sum of both."""
        summed = {name: getattr(self, name) + getattr(other, name) for name in _SUMMED}
        return replace(
            self,
            **summed,
            last=max(self.last, other.last),
            batches=_added(self.batches, other.batches),
            batch_seconds=_added(self.batch_seconds, other.batch_seconds),
        )


# The fields of ``Statistics`` that are plain sums.
_SUMMED = ("succeeded", "failed", "succeeded_seconds", "failed_seconds", "queue_seconds", "run_seconds", "images")


def _added(one: Mapping[int, Number], other: Mapping[int, Number]) -> dict[int, Number]:
    return {
        rows: one.get(rows, 0) + other.get(rows, 0) for rows in (*one, *(rows for rows in other if rows not in one))
    }


class HostedGraph:
    """One graph of one version of a model, ready to run; ``name`` is what the protocols call it."""

    def __init__(
        self,
        name: str,
        version: str,
        role: str,
        model: Model,
        engine: Engine,
        device: Device,
        settings: ServerSettings,
        pool: ThreadPoolExecutor,
        decoding: ImageDecoding,
    ) -> None:
        self.name, self.version, self.role = name, version, role
        self.model, self.engine, self.device = model, engine, device
        self.graph = engine.graphs[role]
        self._input, self._decoding = _input(engine, role), decoding
        self.inputs = (self._input, *([_ENCODED] if role in _DECODING else []))
        self.outputs = _outputs(engine, role)
        self.statistics = Statistics()
        # The answer of a discriminator depends on the others of its batch, so it never shares one with strangers.
        self.batches = role != "discriminator"
        self.max_batch = settings.max_batch if self.batches else settings.max_images
        row = sum(
            output.dtype.itemsize * math.prod(max(1, size) for size in output.shape[1:]) for output in self.outputs
        )
        self.max_rows = max(1, min(settings.max_images, _MOST_BYTES // row))
        # What runs elsewhere takes this processor no time, and still the event loop must not wait for it.
        at_once = _AT_ONCE if device == "cpu" else 0.0
        limits = BatchLimits(self.max_batch, settings.max_wait, settings.queue, settings.deadline, at_once)
        self.batcher = DynamicBatcher(
            lambda inputs: engine.run(role, inputs), limits, pool, observe=self.statistics.observe
        )

    @property
    def provider(self) -> str:
        """The execution provider actually in use."""
        return self.engine.provider

    @property
    def loaded(self) -> LoadedModel:
        """The model with only this graph, for its latents and classes."""
        return LoadedModel(self.model, self.engine)

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The names of a classifier's or scorer's logits, if the model has them."""
        spec = self.loaded.spec
        if spec is not None and self.role != "scorer":
            return spec.classes
        return classes_in(self.graph)

    def latents(self, *, seed: int, start: int, count: int) -> NDArray[np.float32]:
        """Returns a generator's latents ``start`` to ``start + count - 1`` of ``seed``, float32 ``[count, L]``.

        Raises:
            InterfaceError: a single ONNX file that does not say how its latents are distributed.
        """
        known = self.loaded.latents
        return latents(known.size, known.distribution, seed=seed, start=start, count=count)

    async def run(self, inputs: Mapping[str, NDArray[Any]], *, deadline: float | None = None) -> Arrays:
        """Runs any number of rows, those of other requests in the same batches; none give outputs without rows.

        ``deadline`` is the number of seconds each batch may wait, if less than the server allows.

        Raises:
            InterfaceError: an input is missing, unknown, of another type or shape, or has too many rows.
            QueueFullError: too many requests wait already.
            DeadlineError: a batch did not start in time.
        """
        began = time.monotonic()
        try:
            encoded = inputs.get(IMAGE_BYTES)
            if encoded is None or len(inputs) != 1:
                outputs = await self._run(self._checked(inputs), deadline)
            else:
                outputs = await self._run_encoded(encoded, deadline)
        except BaseException:
            self.statistics.answered(time.monotonic() - began, succeeded=False)
            raise
        self.statistics.answered(time.monotonic() - began, succeeded=True)
        return outputs

    def submit(
        self, inputs: Mapping[str, NDArray[Any]], done: Done, *, deadline: float | None = None
    ) -> Waiting | None:
        """Like :meth:`run`, but without waiting, for at most one batch: ``done`` is called with the outputs.

        Returns the waiting request, which the batcher can withdraw. Returns None and does nothing if there are no rows,
        more than fit in a batch, or encoded ones. The caller counts the request in ``statistics``.

        Raises:
            InterfaceError: an input is missing, unknown, or of another type or shape.
            QueueFullError: too many requests wait already.
        """
        if IMAGE_BYTES in inputs:
            return None
        try:
            given = self._checked(inputs)
        except IganZooError:
            self.statistics.answered(0.0, succeeded=False)
            raise
        return self.submit_checked(given, done, deadline=deadline) if 0 < len(given) <= self.max_batch else None

    def submit_checked(
        self, given: NDArray[Any], done: Done, *, deadline: float | None, packed: tuple[str, ...] = ()
    ) -> Waiting:
        """Like :meth:`submit`, for rows already known to have the right name, type, shape and number.

        ``done`` is called with the bytes of the outputs in ``packed``, one after another, if it names some.

        Raises:
            QueueFullError: too many requests wait already.
        """
        rows = {self.graph.input_name: given}
        try:
            return self.batcher.submit(rows, len(given), done, key=self._key(given), deadline=deadline, packed=packed)
        except QueueFullError:
            self.statistics.answered(0.0, succeeded=False)
            raise

    def _key(self, given: NDArray[Any]) -> Hashable:
        """Returns what requests in one batch must share: the size of images, if it is free."""
        if not self.batches:
            return id(given)
        return given.shape[1:] if self.graph.free_axes else ()

    async def _run(self, given: NDArray[Any], deadline: float | None) -> Arrays:
        name, count = self.graph.input_name, len(given)
        if count == 0:
            return {
                output.name: np.zeros((0, *(max(size, 0) for size in output.shape[1:])), output.dtype)
                for output in self.outputs
            }
        key = self._key(given)
        if count <= self.max_batch:
            return await self.batcher.run({name: given}, count, key=key, deadline=deadline)
        pieces = [
            await self.batcher.run({name: piece}, len(piece), key=key, deadline=deadline)
            for piece in (given[start : start + self.max_batch] for start in range(0, count, self.max_batch))
        ]
        return {output.name: np.concatenate([piece[output.name] for piece in pieces]) for output in self.outputs}

    async def _run_encoded(self, encoded: NDArray[Any], deadline: float | None) -> Arrays:
        self._check(IMAGE_BYTES, datatype_of(encoded), encoded.shape)
        height, width, channels = self.graph.image_shape
        if not encoded.size:
            return await self._run(np.zeros((0, max(1, height), max(1, width), channels), np.uint8), deadline)
        own_size = self.role == "scorer"
        crop = not own_size and self.loaded.crop
        shape = Shape(channels) if own_size else Shape(channels, height, width, crop)
        return await self._decoding.run(
            encoded.ravel(), shape, self.max_batch, lambda pixels: self._run(pixels, deadline)
        )

    def _checked(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """Returns the one input, by the graph's own names, types and shapes."""
        given = inputs.get(self._input.name)
        if given is None or len(inputs) != 1:
            raise self._other_inputs(", ".join(inputs) or "nothing")
        self._check(self._input.name, datatype_of(given), given.shape)
        return given

    def check_tensor(self, name: str, datatype: str, shape: Sequence[int]) -> None:
        """Checks that this graph accepts a tensor, from what a request declares before its data are read.

        Raises:
            InterfaceError: it takes no such tensor.
        """
        try:
            self._check(name, datatype, shape)
        except InterfaceError:
            self.statistics.answered(0.0, succeeded=False)
            raise

    def _check(self, name: str, datatype: str, shape: Sequence[int]) -> None:
        expected = next((tensor for tensor in self.inputs if tensor.name == name), None)
        if expected is None:
            raise self._other_inputs(name)
        if datatype != expected.datatype:
            raise InterfaceError(f"{self.name} takes {name} as {expected.datatype}, not {datatype[:32]}.")
        if not (_is_column(shape) if expected is _ENCODED else self.graph.takes(tuple(shape))):
            raise InterfaceError(f"{self.name} takes {name} of shape {list(expected.shape)}, not {list(shape)}.")
        if shape[0] > self.max_rows:
            raise InterfaceError(
                f"A request may have {counted(self.max_rows, 'image')}, not {shape[0]}; send several requests."
            )

    def _other_inputs(self, given: str) -> InterfaceError:
        names = " or ".join(f"the input {tensor.name}" for tensor in self.inputs)
        return InterfaceError(f"{self.name} takes {names} and nothing else; it was given {given}.")


@dataclass(frozen=True)
class HostedModel:
    """A version of a model with its loaded graphs, by role."""

    name: str
    version: str
    model: Model
    graphs: Mapping[str, HostedGraph]

    def graph(self, *roles: str) -> HostedGraph:
        """Returns the graph of the first of these roles that it has.

        Raises:
            UnknownNameError: it has none of them.
        """
        for role in roles:
            if role in self.graphs:
                return self.graphs[role]
        raise UnknownNameError(f"The model {self.name} has no {' or '.join(roles)}; it has: {', '.join(self.graphs)}.")


def _is_column(shape: Sequence[int]) -> bool:
    return len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)


def _input(engine: Engine, role: str) -> TensorSpec:
    graph = engine.graphs[role]
    shape = (-1, *(-1 for _ in graph.free_axes), *graph.input_shape)
    ((name, (kind, _)),) = INPUTS[role].items()
    return _tensor(name, kind, shape)


def _outputs(engine: Engine, role: str) -> tuple[TensorSpec, ...]:
    sizes = engine.graphs[role].outputs
    return tuple(_tensor(name, kind, (-1, *sizes[name])) for name, (kind, _) in OUTPUTS[role].items() if name in sizes)


def _tensor(name: str, kind: str, shape: tuple[int, ...]) -> TensorSpec:
    datatype, dtype = _TYPES[kind]
    return TensorSpec(name, datatype, np.dtype(dtype), shape)
