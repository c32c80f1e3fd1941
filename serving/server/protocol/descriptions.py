"""What the Open Inference Protocol says about a graph: metadata, configuration, statistics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from igan_zoo.serving.server.models.hosted import HostedGraph, TensorSpec
from igan_zoo.serving.server.settings import ServerSettings

PLATFORM = "onnxruntime_onnx"


def describe_model(graph: HostedGraph, versions: Sequence[str]) -> dict[str, Any]:
    """Returns a graph's metadata; ``parameters`` tell where it really runs."""
    return {
        "name": graph.name,
        "versions": list(versions),
        "platform": PLATFORM,
        "inputs": [_tensor(tensor) for tensor in graph.inputs],
        "outputs": [_tensor(tensor) for tensor in graph.outputs],
        "parameters": {"provider": graph.provider, "device": graph.device, "role": graph.role},
    }


def describe_config(graph: HostedGraph, settings: ServerSettings) -> dict[str, Any]:
    """Returns a graph's configuration in Triton's terms; shapes are without the batch."""
    return {
        "name": graph.name,
        "platform": PLATFORM,
        "backend": "onnxruntime",
        "version_policy": {"all": {}},
        "max_batch_size": graph.max_batch,
        "input": [_configured(tensor) for tensor in graph.inputs],
        "output": [_configured(tensor) for tensor in graph.outputs],
        "instance_group": [
            {"name": graph.name, "kind": "KIND_GPU" if graph.device == "cuda" else "KIND_CPU", "count": 1}
        ],
        "dynamic_batching": {
            "preferred_batch_size": [graph.max_batch],
            "max_queue_delay_microseconds": round(settings.max_wait * 1e6),
            "default_queue_policy": {
                "timeout_action": "REJECT",
                "default_timeout_microseconds": round(settings.deadline * 1e6),
                "max_queue_size": settings.queue,
            },
        },
        "parameters": {"execution_provider": {"string_value": graph.provider}},
    }


def describe_statistics(graph: HostedGraph) -> dict[str, Any]:
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


def _configured(tensor: TensorSpec) -> dict[str, Any]:
    return {"name": tensor.name, "data_type": f"TYPE_{tensor.datatype}", "dims": tensor.shape[1:]}


def _duration(count: int, seconds: float) -> dict[str, int]:
    return {"count": count, "ns": round(seconds * 1e9)}
