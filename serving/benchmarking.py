"""How many images a second graphs run on this machine, measured side by side."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from igan_zoo.errors import InterfaceError
from igan_zoo.latents import latents
from igan_zoo.machine.processor import processor
from igan_zoo.machine.progress import Progress
from igan_zoo.models.spec import Form, ModelSpec, graph_file
from igan_zoo.models.store import Model
from igan_zoo.serving.engine import Arrays, Device, Engine, Graph, check_specification

ROUNDS = 7
_ROLES = ("generator", "classifier")
# Of those that decide how fast 8-bit layers are.
_INSTRUCTIONS = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "asimddp", "i8mm")


class Runner(Protocol):
    """What runs a batch of a role: an engine, or something else with its interface."""

    @property
    def graphs(self) -> Mapping[str, Graph]: ...

    @property
    def provider(self) -> str: ...

    def run(self, role: str, inputs: Mapping[str, NDArray[Any]]) -> Arrays: ...


@dataclass(frozen=True)
class Candidate:
    """A graph on a device, ready to run: a role of a model, "cpu" or a variant of it (None: the plain graph)."""

    role: str
    variant: Form | None
    device: Device
    engine: Runner


@dataclass(frozen=True)
class Speed:
    """The medians of all rounds: images a second by the clock, and milliseconds of this process's CPU time an image.

    ``ratio`` is the median, over the rounds, of the plain graph's time beside this one's.
    """

    role: str
    variant: Form | None
    device: Device
    provider: str
    batch: int
    images_per_second: float
    cpu_milliseconds: float
    ratio: float


def load_candidates(model: Model, device: Device, threads: int | None) -> list[Candidate]:
    """Loads every graph of a model and every variant of it, the plain one of a role first.

    Raises:
        InterfaceError: a single file that is neither a generator nor a classifier.
        DeviceError: the device is not really there.
    """
    if model.directory is None:
        return [_of_single_file(model, device, threads)]
    directory = model.directory
    candidates = []
    for role in directory.spec.graphs:
        for variant, file in _files(directory.spec, role, device):
            engine = Engine({role: directory.read(file)}, device=device, threads=threads)
            check_specification(model, engine)
            candidates.append(Candidate(role, variant, device, engine))
    return candidates


def _files(spec: ModelSpec, role: str, device: Device) -> Iterator[tuple[Form | None, str]]:
    """Yields the forms of a role's graph for a device, with their files."""
    yield None, graph_file(role)
    forms: tuple[Form, ...] = ("cpu", *spec.variants(role)) if device == "cpu" else spec.variants(role)
    for form in forms:
        if graph_file(role, form) in spec.files:
            yield form, graph_file(role, form)


def _of_single_file(model: Model, device: Device, threads: int | None) -> Candidate:
    for role in _ROLES:
        try:
            return Candidate(role, None, device, Engine({role: model.graph(role)}, device=device, threads=threads))
        except InterfaceError:
            continue
    raise InterfaceError(f"{model.path} is neither a generator nor a classifier that onnxruntime loads.")


def measure_speeds(candidates: Sequence[Candidate], batches: Sequence[int], *, seconds: float) -> list[Speed]:
    """Runs all candidates in turn, round by round, at every batch size; ``seconds`` are for each of them at each size.

    What else the machine does then slows all of them, and the ratios stay.
    """
    speeds = []
    with Progress("measuring", len(batches) * len(candidates) * ROUNDS, unit="rounds") as bar:
        for batch in batches:
            inputs = [_inputs(candidate, batch) for candidate in candidates]
            # The first run of a size allocates; the second says how often to run in a round.
            repeats = [
                _repeats(candidate, given, seconds / ROUNDS)
                for candidate, given in zip(candidates, inputs, strict=True)
            ]
            clock, cpu = (np.zeros((len(candidates), ROUNDS)) for _ in range(2))
            for turn in range(ROUNDS):
                for index, candidate in enumerate(candidates):
                    timed = _timed(candidate, inputs[index], repeats[index])
                    clock[index, turn], cpu[index, turn] = (value / batch for value in timed)
                    bar.advance(1, f"batch {batch}")
            speeds += [_speed(candidates, index, batch, clock, cpu) for index in range(len(candidates))]
    return speeds


def conditions(threads: int | None) -> dict[str, Any]:
    """Returns what the figures depend on, beside the model: processor, system, versions, threads."""
    here = processor()
    return {
        "processor": here.name,
        "instructions": [instruction for instruction in _INSTRUCTIONS if instruction in here.flags],
        "system": f"{platform.system()} {platform.machine()}",
        "threads": threads,
        "rounds": ROUNDS,
        "versions": {"python": platform.python_version()} | {name: version(name) for name in ("onnxruntime", "numpy")},
    }


def _inputs(candidate: Candidate, batch: int) -> Mapping[str, NDArray[Any]]:
    graph = candidate.engine.graphs[candidate.role]
    if candidate.role == "generator":
        return {graph.input_name: latents(graph.input_shape[0], "uniform", seed=0, start=0, count=batch)}
    return {graph.input_name: np.random.default_rng(0).integers(0, 256, (batch, *graph.image_shape), np.uint8)}


def _repeats(candidate: Candidate, inputs: Mapping[str, NDArray[Any]], seconds: float) -> int:
    _timed(candidate, inputs, 1)
    clock, _ = _timed(candidate, inputs, 1)
    return max(1, round(seconds / clock))


def _timed(candidate: Candidate, inputs: Mapping[str, NDArray[Any]], repeats: int) -> tuple[float, float]:
    """Returns seconds a batch, by the clock and of CPU time."""
    clock, cpu = time.perf_counter(), time.process_time()
    for _ in range(repeats):
        candidate.engine.run(candidate.role, inputs)
    return (time.perf_counter() - clock) / repeats, (time.process_time() - cpu) / repeats


def _speed(
    candidates: Sequence[Candidate], index: int, batch: int, clock: NDArray[np.float64], cpu: NDArray[np.float64]
) -> Speed:
    candidate = candidates[index]
    plain = next(
        position
        for position, other in enumerate(candidates)
        if (other.role, other.device) == (candidate.role, candidate.device)
    )
    return Speed(
        role=candidate.role,
        variant=candidate.variant,
        device=candidate.device,
        provider=candidate.engine.provider,
        batch=batch,
        images_per_second=float(1 / np.median(clock[index])),
        cpu_milliseconds=float(1000 * np.median(cpu[index])),
        ratio=statistics.median(clock[plain] / clock[index]),
    )
