"""What the protocol says and checks, whatever carries it: HTTP and gRPC differ in how they write it down."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any, TypeVar

from igan_zoo import __version__
from igan_zoo.errors import IganZooError, UnknownNameError
from igan_zoo.serving.engine import Arrays
from igan_zoo.serving.server.counts import GraphCounts
from igan_zoo.serving.server.errors import NotReadyError, ProtocolError, RefusedError
from igan_zoo.serving.server.middleware.metrics import metrics_text
from igan_zoo.serving.server.models.encoded_images import IMAGE_BYTES
from igan_zoo.serving.server.models.hosted import HostedGraph, TensorSpec
from igan_zoo.serving.server.models.repository import Repository
from igan_zoo.serving.server.processes.together import Together
from igan_zoo.serving.server.settings import ServerSettings

# Bytes that are decoded or encoded in the event loop, which has others to serve while it is more.
AT_ONCE = 64 * 1024

_PLATFORM = "onnxruntime_onnx"
_EXTENSIONS = ("classification", "model_configuration", "model_repository", "statistics")

Result = TypeVar("Result")


class Service:
    """The answers of one repository, as what becomes JSON or a message."""

    def __init__(self, repository: Repository, settings: ServerSettings, together: Together) -> None:
        self.repository, self._settings, self._together = repository, settings, together

    def server(self, *extensions: str) -> dict[str, Any]:
        """Returns the server's metadata; ``extensions`` are those that its transport has besides."""
        return {"name": "igan-zoo", "version": __version__, "extensions": (*extensions, *_EXTENSIONS)}

    def metadata(self, graph: HostedGraph) -> dict[str, Any]:
        """Returns a graph's metadata; ``parameters`` tell where it really runs."""
        return {
            "name": graph.name,
            "versions": self.repository.versions(graph.name),
            "platform": _PLATFORM,
            "inputs": [_tensor(tensor) for tensor in graph.inputs],
            "outputs": [_tensor(tensor) for tensor in graph.outputs],
            "parameters": {"provider": graph.provider, "device": graph.device, "role": graph.role},
        }

    def config(self, graph: HostedGraph) -> dict[str, Any]:
        """Returns a graph's configuration in Triton's terms; shapes are without the batch."""
        return {
            "name": graph.name,
            "platform": _PLATFORM,
            "backend": "onnxruntime",
            "version_policy": {"all": {}},
            "max_batch_size": graph.max_batch,
            "input": [_configured(tensor, optional=tensor.name == IMAGE_BYTES) for tensor in graph.inputs],
            "output": [_configured(tensor) for tensor in graph.outputs],
            "instance_group": [
                {"name": graph.name, "kind": "KIND_GPU" if graph.device == "cuda" else "KIND_CPU", "count": 1}
            ],
            "dynamic_batching": {
                "preferred_batch_size": [graph.max_batch],
                "max_queue_delay_microseconds": round(self._settings.max_wait * 1e6),
                "default_queue_policy": {
                    "timeout_action": "REJECT",
                    "default_timeout_microseconds": round(self._settings.deadline * 1e6),
                    "max_queue_size": self._settings.queue,
                },
            },
            "parameters": {"execution_provider": {"string_value": graph.provider}},
        }

    async def statistics(self, graph: HostedGraph | None = None, version: str | None = None) -> dict[str, Any]:
        """Returns what all graphs have done, or one of them: in all of its versions, if none is named."""
        graphs = [
            counted
            for counted in (await self._together.counts()).graphs
            if graph is None or (counted.name == graph.name and version in (None, "", counted.version))
        ]
        return {"model_stats": [_statistics(graph) for graph in graphs]}

    async def metrics(self) -> bytes:
        """Returns what Prometheus is told."""
        return metrics_text(await self._together.counts())

    def index(self, *, ready: bool) -> list[dict[str, str]]:
        """Returns the repository's index, or the lines of it that are ready."""
        return [asdict(line) for line in self.repository.index() if line.state == "READY" or not ready]

    async def load(self, name: str, parameters: object) -> None:
        """Loads a model, or one graph of it.

        Raises:
            RefusedError: this server's models stay as they are.
            ProtocolError: there are parameters, or the model cannot be loaded, which is no failure of the server.
            UnknownNameError: there is no such model.
        """
        self._check_allowed()
        if parameters:
            raise ProtocolError("This server loads models as they are on its disk; remove the parameters.")
        await _changed(self._together.change("load", name))

    async def unload(self, name: str) -> None:
        """Forgets a model, or one graph of it; raises as :meth:`load` does."""
        self._check_allowed()
        await _changed(self._together.change("unload", name))

    async def convert(self, size: int, function: Callable[..., Result], *arguments: Any) -> Result:
        """Returns ``function(*arguments)``, which decodes or encodes ``size`` bytes; in a thread if they are many."""
        return await self.repository.aside(function, *arguments) if size > AT_ONCE else function(*arguments)

    def _check_allowed(self) -> None:
        if not self._settings.allow_load:
            raise RefusedError("This server was not started with --allow-load: its models cannot be changed.")


def size_of(outputs: Arrays) -> int:
    """Returns how many bytes arrays have."""
    return sum(output.nbytes for output in outputs.values())


async def _changed(change: Awaitable[None]) -> None:
    try:
        await change
    except (UnknownNameError, NotReadyError):
        raise
    except IganZooError as error:
        raise ProtocolError(str(error)) from error


def _statistics(graph: GraphCounts) -> dict[str, Any]:
    """Returns what a graph has done since it was loaded; ``count`` counts requests, or batches, ``ns`` nanoseconds."""
    statistics = graph.statistics
    runs = sum(statistics.batches.values())
    return {
        "name": graph.name,
        "version": graph.version,
        "last_inference": round(statistics.last * 1000),
        "inference_count": statistics.images,
        "execution_count": runs,
        "inference_stats": {
            "success": _duration(statistics.succeeded, statistics.succeeded_seconds),
            "fail": _duration(statistics.failed, statistics.failed_seconds),
            "queue": _duration(statistics.succeeded, statistics.queue_seconds),
            "compute_input": _duration(statistics.succeeded, 0.0),
            "compute_infer": _duration(runs, statistics.run_seconds),
            "compute_output": _duration(statistics.succeeded, 0.0),
        },
        "batch_stats": [
            {
                "batch_size": rows,
                "compute_input": _duration(count, 0.0),
                "compute_infer": _duration(count, statistics.batch_seconds[rows]),
                "compute_output": _duration(count, 0.0),
            }
            for rows, count in sorted(statistics.batches.items())
        ],
    }


def _tensor(tensor: TensorSpec) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}


def _configured(tensor: TensorSpec, *, optional: bool = False) -> dict[str, Any]:
    datatype = "STRING" if tensor.datatype == "BYTES" else tensor.datatype
    content = {"name": tensor.name, "data_type": f"TYPE_{datatype}", "dims": tensor.shape[1:]}
    return content | {"optional": True} if optional else content


def _duration(count: int, seconds: float) -> dict[str, int]:
    return {"count": count, "ns": round(seconds * 1e9)}
