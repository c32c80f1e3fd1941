"""What Prometheus is told: requests by model and status, latencies, batches, queues, providers."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
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
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from igan_zoo.serving.server.models.repository import Repository

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class _Answers:
    """Answers of one route, model and status: how many, and how many took at most each of ``_SECONDS`` or longer."""

    __slots__ = ("buckets", "seconds")

    def __init__(self) -> None:
        self.buckets = [0] * (len(_SECONDS) + 1)
        self.seconds = 0.0


class Metrics:
    """The metrics of one app, in a registry of its own. Requests are counted in one thread, and so without locks."""

    def __init__(self, repository: Repository) -> None:
        self.registry = CollectorRegistry()
        self._answers: dict[tuple[str, str, int | str], _Answers] = {}
        self.registry.register(_Requests(self._answers))
        self.registry.register(_Graphs(repository))

    def observe(self, route: str, model: str, status: int | str, seconds: float) -> None:
        """Counts an answered request; ``route`` and ``model`` must be of a bounded set.

        ``status`` is HTTP's number or gRPC's name.
        """
        key = (route, model, status)
        answers = self._answers.get(key)
        if answers is None:
            answers = self._answers[key] = _Answers()
        answers.buckets[bisect_left(_SECONDS, seconds)] += 1
        answers.seconds += seconds

    def text(self) -> bytes:
        """Returns all metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class _Requests(Collector):
    """Tells of the answers that were counted."""

    def __init__(self, answers: Mapping[tuple[str, str, int | str], _Answers]) -> None:
        self._answers = answers

    def collect(self) -> Iterator[Metric]:
        labels = ["route", "model", "status"]
        requests = CounterMetricFamily("igan_zoo_requests", "Requests that were answered.", labels=labels)
        seconds = HistogramMetricFamily(
            "igan_zoo_request_seconds", "Time from the head of a request to the end of its answer.", labels=labels
        )
        for (route, model, status), answers in self._answers.items():
            names = [route, model, str(status)]
            counts = list(accumulate(answers.buckets))
            requests.add_metric(names, counts[-1])
            limits = [*map(str, _SECONDS), "+Inf"]
            seconds.add_metric(names, list(zip(limits, counts, strict=True)), answers.seconds)
        yield from (requests, seconds)


class _Graphs(Collector):
    """Reads off the served graphs what they have counted themselves."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def collect(self) -> Iterator[Metric]:
        labels = ["model", "version"]
        info = InfoMetricFamily("igan_zoo_graph", "Where a graph really runs.", labels=labels)
        depth = GaugeMetricFamily("igan_zoo_queue_depth", "Requests that wait for a graph.", labels=labels)
        batches = HistogramMetricFamily("igan_zoo_batch_rows", "Rows of the batches that ran.", labels=labels)
        for graph in self._repository.graphs():
            names = [graph.name, graph.version]
            info.add_metric(names, {"provider": graph.provider, "device": graph.device, "role": graph.role})
            depth.add_metric(names, graph.batcher.depth)
            counted = dict(graph.statistics.batches)
            buckets = [(str(limit), sum(n for rows, n in counted.items() if rows <= limit)) for limit in _ROWS]
            buckets.append(("+Inf", sum(counted.values())))
            batches.add_metric(names, buckets, sum(rows * n for rows, n in counted.items()))
        ready = GaugeMetricFamily("igan_zoo_ready", "1 if all models are loaded and the server is not stopping.")
        ready.add_metric([], float(self._repository.ready))
        yield from (info, depth, batches, ready)


def routes(metrics: Metrics) -> list[Route]:
    """Returns the route ``/metrics``."""

    async def show(_: Request) -> Response:
        return Response(metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    return [Route("/metrics", show)]
