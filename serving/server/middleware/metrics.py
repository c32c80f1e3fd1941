"""What Prometheus is told: requests by model and status, latencies, batches, queues, providers.

What Triton tells too has Triton's name, so that its dashboards and alerts work; all else begins with ``igan_zoo_``.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from igan_zoo.serving.server.counts import Answers, Counts, GraphCounts

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
# Triton's counters, whose names do not end as Prometheus' own client would have them: what each is, and its value.
_TRITON: Mapping[str, tuple[str, Callable[[GraphCounts], float]]] = {
    "nv_inference_request_success": ("Requests that succeeded.", lambda graph: graph.statistics.succeeded),
    "nv_inference_request_failure": ("Requests that failed.", lambda graph: graph.statistics.failed),
    "nv_inference_count": ("Images of the batches that ran.", lambda graph: graph.statistics.images),
    "nv_inference_exec_count": ("Batches that ran.", lambda graph: sum(graph.statistics.batches.values())),
    "nv_inference_request_duration_us": (
        "Microseconds of all requests that succeeded.",
        lambda graph: round(graph.statistics.succeeded_seconds * 1e6),
    ),
    "nv_inference_queue_duration_us": (
        "Microseconds that requests waited for their batch.",
        lambda graph: round(graph.statistics.queue_seconds * 1e6),
    ),
    "nv_inference_compute_infer_duration_us": (
        "Microseconds of the batches that ran.",
        lambda graph: round(graph.statistics.run_seconds * 1e6),
    ),
}


class Metrics:
    """Answers of one process by route, model and status; counted in one thread, and so without locks."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str, int | str], Answers] = {}

    def observe(self, route: str, model: str, status: int | str, seconds: float) -> None:
        """Counts an answered request; ``route`` and ``model`` must be of a bounded set.

        ``status`` is HTTP's number or gRPC's name.
        """
        key = (route, model, status)
        answers = self._answers.get(key)
        if answers is None:
            answers = self._answers[key] = Answers(route, model, str(status), [0] * (len(_SECONDS) + 1), 0.0)
        answers.buckets[bisect_left(_SECONDS, seconds)] += 1
        answers.seconds += seconds

    def answers(self) -> list[Answers]:
        """Returns what has been counted."""
        return list(self._answers.values())


def metrics_text(counts: Counts) -> bytes:
    """Returns counts in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Families(counts))
    return generate_latest(registry) + "".join(_triton(counts.graphs)).encode()


class _Families(Collector):
    """What the client library writes."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        yield from _requests(self._counts.answers)
        yield from _graphs(self._counts.graphs)
        ready = GaugeMetricFamily("igan_zoo_ready", "1 if all models are loaded and the server is not stopping.")
        ready.add_metric([], float(self._counts.ready))
        yield ready


def _requests(answers: Iterable[Answers]) -> Iterator[Metric]:
    labels = ["route", "model", "status"]
    requests = CounterMetricFamily("igan_zoo_requests", "Requests answered.", labels=labels)
    seconds = HistogramMetricFamily(
        "igan_zoo_request_seconds", "Time from the head of a request to the end of its answer.", labels=labels
    )
    for one in answers:
        names = [one.route, one.model, one.status]
        counts = list(accumulate(one.buckets))
        requests.add_metric(names, counts[-1])
        limits = [*map(str, _SECONDS), "+Inf"]
        seconds.add_metric(names, list(zip(limits, counts, strict=True)), one.seconds)
    yield from (requests, seconds)


def _graphs(graphs: Iterable[GraphCounts]) -> Iterator[Metric]:
    labels = ["model", "version"]
    info = InfoMetricFamily("igan_zoo_graph", "Execution provider that a graph runs on.", labels=labels)
    waiting = GaugeMetricFamily("nv_inference_pending_request_count", "Requests waiting for a graph.", labels=labels)
    batches = HistogramMetricFamily("igan_zoo_batch_rows", "Rows of the batches that ran.", labels=labels)
    for graph in graphs:
        names = [graph.name, graph.version]
        info.add_metric(names, {"provider": graph.provider, "device": graph.device, "role": graph.role})
        waiting.add_metric(names, graph.waiting)
        counted = dict(graph.statistics.batches)
        buckets = [(str(limit), sum(n for rows, n in counted.items() if rows <= limit)) for limit in _ROWS]
        buckets.append(("+Inf", sum(counted.values())))
        batches.add_metric(names, buckets, sum(rows * n for rows, n in counted.items()))
    yield from (info, waiting, batches)


def _triton(graphs: Iterable[GraphCounts]) -> Iterator[str]:
    known = list(graphs)
    for name, (what, value) in _TRITON.items():
        yield f"# HELP {name} {what}\n# TYPE {name} counter\n"
        for graph in known:
            labels = f'model="{_escaped(graph.name)}",version="{_escaped(graph.version)}"'
            yield f"{name}{{{labels}}} {value(graph)}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
