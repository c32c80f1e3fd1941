"""The routes of the visual Turing test; ``docs/page.md`` says what they take and give.

Whatever is asked, the kind of an image is told only after its answer, and without feedback only after the last.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from weakref import WeakKeyDictionary

from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from igan_zoo.errors import UnknownNameError
from igan_zoo.images.sources import open_source
from igan_zoo.models.spec import Strict, is_name
from igan_zoo.serving.server.errors import RefusedError
from igan_zoo.serving.server.middleware.answers import json_answer
from igan_zoo.serving.server.middleware.query import Query, read_json
from igan_zoo.serving.server.models.hosted import HostedGraph, HostedModel
from igan_zoo.serving.server.models.repository import Repository
from igan_zoo.serving.server.settings import ServerSettings
from igan_zoo.serving.server.turing.game import (
    MAX_ROUNDS,
    Kind,
    OpenTests,
    TuringTest,
    choose_rounds,
    new_name,
    new_seed,
    wilson_interval,
)
from igan_zoo.serving.server.turing.images import RealImages, arrange, encode_alike, prepare
from igan_zoo.serving.server.turing.results import append_answer, last_answer, prepare_results, read_results

_UNCACHED = {"Cache-Control": "no-store"}


class Wish(Strict, frozen=True, kw_only=True):
    """The body of ``POST /turing``."""

    model: str
    # JSON Schema takes 130.0 for an integer, and so do the clients that are made from it.
    rounds: Annotated[float, Meta(multiple_of=1)]
    feedback: bool = False


class Said(Strict, frozen=True, kw_only=True):
    """The body of an answer."""

    answer: Kind


def routes(repository: Repository, settings: ServerSettings) -> list[Route]:
    """Returns the routes of the test. Without real images they say how to start a server that has them.

    Raises:
        DataError: the source of real images, or the file of answers, cannot be read.
        UnknownNameError: there is no such source.
    """
    room = _Room(repository, settings)
    return [
        Route("/turing", room.facts_or_begin, methods=["GET", "POST"]),
        Route("/turing/results", room.summaries, methods=["GET"]),
        Route("/turing/{test}", room.state, methods=["GET"]),
        Route("/turing/{test}/{round:int}.png", room.picture, methods=["GET"]),
        Route("/turing/{test}/{round:int}", room.answer, methods=["POST"]),
        Route("/examples", room.examples, methods=["GET"]),
        Route("/examples/{number:int}.png", room.example, methods=["GET"]),
    ]


class _Room:
    """Where tests are taken: the real images, the open tests, the results."""

    def __init__(self, repository: Repository, settings: ServerSettings) -> None:
        self._repository, self._rounds = repository, settings.turing_rounds
        self._real = _sources(settings)
        self._file, self._writing = settings.turing_results, asyncio.Lock()
        self._tests = OpenTests()
        self._sums: WeakKeyDictionary[HostedGraph, str] = WeakKeyDictionary()
        if self._file is not None:
            prepare_results(self._file)
        self._results = read_results([] if self._file is None else [self._file])

    async def facts_or_begin(self, request: Request) -> Response:
        """Does one or the other, as the method says."""
        return await self._begin(request) if request.method == "POST" else self._facts()

    def _facts(self) -> Response:
        """Says what can be tested: models with a generator, real images, limits."""
        shared = self._real.get(None)
        models = [
            {
                "name": hosted.name,
                "dataset": _dataset(hosted),
                "real_images": 0 if (real := self._real.get(hosted.name, shared)) is None else len(real.for_tests),
            }
            for hosted in self._repository.models()
            if "generator" in hosted.graphs
        ]
        count = max((len(real.for_tests) for real in self._real.values()), default=0)
        most = min(MAX_ROUNDS, 2 * count)
        facts = {
            "models": models,
            "real_images": count,
            "rounds": min(self._rounds, most),
            "max_rounds": most,
            "saved": self._file is not None,
        }
        return json_answer(facts)

    async def _begin(self, request: Request) -> Response:
        """Opens a test."""
        wish = read_json(await request.body(), Wish, "a test")
        real, generator = self._real_images(wish.model), self._repository.model(wish.model).graph("generator")
        seed = new_seed()
        rounds = choose_rounds(int(wish.rounds), real=real.for_tests, seed=seed)
        made = sum(shown.kind == "generated" for shown in rounds)
        z = generator.latents(seed=seed, start=0, count=made)
        generated = (await generator.run({"latent": z}))["images"]
        images = await asyncio.to_thread(arrange, rounds, real, generated, crop=_crops(generator))
        test = TuringTest(new_name(), wish.model, wish.feedback, seed, rounds, images)
        self._tests.add(test)
        return json_answer({"test": test.test, "rounds": len(rounds)}, 201, headers=_UNCACHED)

    async def state(self, request: Request) -> Response:
        """Says how far a test is, and what came of it as far as that may be told."""
        test = self._tests.find(request.path_params["test"])
        content = {"model": test.model, "feedback": test.feedback, "rounds": len(test.rounds), **_progress(test)}
        if test.feedback or test.finished:
            content["given"] = test.answers
            content["truth"] = [shown.kind for shown in test.rounds[: len(test.answers)]]
        return json_answer(content, headers=_UNCACHED)

    async def picture(self, request: Request) -> Response:
        """Gives the image of a round."""
        shown = self._tests.find(request.path_params["test"]).shown(request.path_params["round"])
        return Response(encode_alike(shown), media_type="image/png", headers=_UNCACHED)

    async def answer(self, request: Request) -> Response:
        """Takes an answer, and saves it before anything is told."""
        said = read_json(await request.body(), Said, "an answer")
        test = self._tests.find(request.path_params["test"])
        async with self._writing:
            correct = test.answer(request.path_params["round"], said.answer)
            try:
                await self._save(test)
            except BaseException:
                test.take_back()
                raise
        told = {"correct": correct} if test.feedback else {}
        return json_answer({**told, **_progress(test)}, headers=_UNCACHED)

    async def summaries(self, request: Request) -> Response:
        """Gives the sums of finished tests by model and condition."""
        found = self._results.summaries(Query(request.query_params.multi_items(), ("model",)).text("model"))
        return json_answer({"results": [asdict(summary) for summary in found]}, headers=_UNCACHED)

    async def examples(self, request: Request) -> Response:
        """Says how many real images are there as examples for a model, and whether they are of its own kind."""
        name = Query(request.query_params.multi_items(), ("model",)).text("model")
        dataset = None if name is None else _dataset(self._repository.model(name))
        real = self._real.get(name, self._real.get(None))
        if real is None:
            return json_answer({"examples": 0, "own": False})
        own = (name is not None and name in self._real) or real.reference.partition(" (")[0] == dataset
        return json_answer({"examples": len(real.examples), "own": own})

    async def example(self, request: Request) -> Response:
        """Gives one of them, as the named model takes images."""
        name = Query(request.query_params.multi_items(), ("model",)).text("model") or ""
        real, number = self._real_images(name), request.path_params["number"]
        if not 1 <= number <= len(real.examples):
            raise UnknownNameError(f"There are examples 1 to {len(real.examples)}, but no example {number}.")
        hosted = self._repository.model(name)
        graph = next(iter(hosted.graphs.values()))
        shape = graph.graph.output_shape if graph.role == "generator" else graph.graph.input_shape
        if len(shape) != 3:
            raise RefusedError(f"{hosted.name} takes images of any size, so it has no examples.")
        (stored,) = real.fetch([real.examples[number - 1]])
        image = await asyncio.to_thread(prepare, stored, shape, crop=_crops(graph))
        return Response(encode_alike(image), media_type="image/png")

    def _real_images(self, model: str) -> RealImages:
        real = self._real.get(model, self._real.get(None))
        if real is None:
            whose, option = (f" for {model}", f"{model}=SOURCE") if self._real else ("", "SOURCE")
            raise RefusedError(
                f"This server has no real images{whose}; start it with: igan-zoo turing --real {option}."
            )
        return real

    async def _save(self, test: TuringTest) -> None:
        day = datetime.now(UTC).date().isoformat()
        real = self._real_images(test.model).reference
        record = last_answer(test, generator=self._sum_of(test.model), real=real, day=day)
        if self._file is not None:
            await asyncio.to_thread(append_answer, self._file, record)
        self._results.add(record)

    def _sum_of(self, model: str) -> str:
        """Returns the sha256 of the graph that a model's generator has now."""
        generator = self._repository.model(model).graph("generator")
        if generator not in self._sums:
            self._sums[generator] = hashlib.sha256(generator.model.graph("generator")).hexdigest()
        return self._sums[generator]


def _progress(test: TuringTest) -> dict[str, Any]:
    """What may be told of a test at this point: without feedback, a running error rate would give answers away."""
    answers = len(test.answers)
    content: dict[str, Any] = {"answers": answers, "finished": test.finished}
    if test.feedback or test.finished:
        low, high = wilson_interval(test.errors, answers)
        rate = test.errors / answers if answers else None
        content |= {"errors": test.errors, "error_rate": rate, "low": low, "high": high}
    return content


def _sources(settings: ServerSettings) -> dict[str | None, RealImages]:
    """Opens the sources of real images, by the model that each is for; None is for all others."""
    found: dict[str | None, RealImages] = {}
    for given in settings.real:
        model, equals, source = given.partition("=")
        named = bool(equals) and is_name(model) and not Path(given).exists()
        images = open_source(source if named else given, split=settings.real_split)
        found[model if named else None] = RealImages(images)
    return found


def _dataset(hosted: HostedModel) -> str | None:
    return None if hosted.model.directory is None else hosted.model.directory.spec.dataset.id


def _crops(graph: HostedGraph) -> bool:
    return graph.model.directory is not None and graph.model.directory.spec.image.crop
