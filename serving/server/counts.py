"""What a process has counted, and the sum over the processes of one server."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from igan_zoo.serving.server.models.hosted import HostedGraph, Statistics
from igan_zoo.serving.server.models.repository import Repository


class Answers(Struct):
    """Answers of one route, model and status: how many took at most each of some times, and seconds in all."""

    route: str
    model: str
    status: str
    buckets: list[int]
    seconds: float


class GraphCounts(Struct):
    """A graph: what it has done, and how many requests wait for it."""

    name: str
    version: str
    provider: str
    device: str
    role: str
    waiting: int
    statistics: Statistics


class Counts(Struct):
    """All of it."""

    answers: list[Answers]
    graphs: list[GraphCounts]
    ready: bool


def counts_of(repository: Repository, answers: Sequence[Answers]) -> Counts:
    """Returns what this process has counted; the statistics may still change."""
    return Counts(list(answers), [_graph(graph) for graph in repository.graphs()], repository.ready)


def total(parts: Sequence[Counts]) -> Counts:
    """Returns the sum; a server is ready if all of its processes are."""
    answers: dict[tuple[str, str, str], Answers] = {}
    graphs: dict[tuple[str, str], GraphCounts] = {}
    for part in parts:
        for one in part.answers:
            key = (one.route, one.model, one.status)
            answers[key] = _added(answers[key], one) if key in answers else one
        for graph in part.graphs:
            place = (graph.name, graph.version)
            graphs[place] = _added_graph(graphs[place], graph) if place in graphs else graph
    return Counts(list(answers.values()), list(graphs.values()), all(part.ready for part in parts))


def _added(one: Answers, other: Answers) -> Answers:
    buckets = [a + b for a, b in zip(one.buckets, other.buckets, strict=True)]
    return Answers(one.route, one.model, one.status, buckets, one.seconds + other.seconds)


def _added_graph(one: GraphCounts, other: GraphCounts) -> GraphCounts:
    statistics = one.statistics + other.statistics
    waiting = one.waiting + other.waiting
    return GraphCounts(one.name, one.version, one.provider, one.device, one.role, waiting, statistics)


def _graph(graph: HostedGraph) -> GraphCounts:
    return GraphCounts(
        graph.name,
        graph.version,
        graph.provider,
        graph.device,
        graph.role,
        graph.batcher.depth,
        graph.statistics,
    )
