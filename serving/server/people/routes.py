"""Routes for people and their scripts: ``/classify``, ``/sample``, ``/score``, ``/models``."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import PurePosixPath
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from igan_zoo.errors import IganZooError, UnknownNameError
from igan_zoo.serving.scoring.network import Network
from igan_zoo.serving.scoring.statistics import DEFAULT_SEED, DEFAULT_SPLITS
from igan_zoo.serving.server.errors import NotReadyError, ProtocolError, UploadError
from igan_zoo.serving.server.middleware.answers import json_answer, sentence_of
from igan_zoo.serving.server.middleware.disconnects import while_connected
from igan_zoo.serving.server.middleware.query import Query, read_json
from igan_zoo.serving.server.middleware.requests_log import MODEL
from igan_zoo.serving.server.middleware.shares import Room
from igan_zoo.serving.server.models.datatypes import MOST_NUMBERS
from igan_zoo.serving.server.models.hosted import HostedGraph, HostedModel
from igan_zoo.serving.server.models.repository import Repository
from igan_zoo.serving.server.people import samples as pictures
from igan_zoo.serving.server.people.classify import Answer, classify_uploads
from igan_zoo.serving.server.people.model_files import CARD, FileAnswer, etag_matches, find_file
from igan_zoo.serving.server.people.model_listing import describe
from igan_zoo.serving.server.people.running_score import RunningScore
from igan_zoo.serving.server.people.score import last_line, network, running_lines
from igan_zoo.serving.server.people.uploads.body import Body
from igan_zoo.serving.server.people.uploads.receiving import Uploaded, UploadLimits, receive
from igan_zoo.serving.server.settings import ServerSettings

# A start may be so large that index and seed still fit the integers of an archive.
MOST_START = 2**63 - 1 - 2**32
MOST_SEED = 2**64 - 1
# What latents are in JSON.
_ROWS: Any = Annotated[list[list[float]], Meta(min_length=1)]
_CHOSEN = "X-Igan-Zoo-Model"
_MEDIA_TYPES = {
    ".json": "application/json",
    ".md": "text/markdown; charset=utf-8",
    ".onnx": "application/octet-stream",
    ".png": "image/png",
    ".safetensors": "application/octet-stream",
    ".yaml": "application/yaml",
}


class _Latents(Struct, forbid_unknown_fields=True):
    """The body of ``POST /sample``."""

    latents: Raw
    model: str | None = None
    format: str = "png"


class PeopleRoutes:
    """The handlers, over one repository."""

    def __init__(self, repository: Repository, settings: ServerSettings) -> None:
        self._repository, self._settings = repository, settings
        self._decoder, self._room = repository.decoding.decoder, Room(settings.max_spool)
        self._networks: weakref.WeakKeyDictionary[HostedGraph, Network] = weakref.WeakKeyDictionary()

    async def classify(self, request: Request) -> Response:
        """``POST /classify``: an image as the body, or several as files of a form or of an archive."""
        settings = self._settings
        query = Query(request.query_params.multi_items(), ("model", "top"))
        graph = self._graph(request, query.text("model"), ("classifier",))
        top = query.integer("top", 1, least=1, most=10_000)
        uploaded = await self._uploaded(request, UploadLimits(settings.max_images, settings.max_body, self._room))
        async with aclosing(uploaded.images) as images:
            answers = await classify_uploads(graph, images, self._decoder, top=top)
        if not answers:
            raise UploadError(
                "The request has no image: give a form's parts a file name, an archive's files .png or .jpg."
            )
        if len(answers) == 1 and isinstance(answers[0], tuple):
            raise answers[0][1]
        return json_answer([_as_json(answer) for answer in answers], headers={_CHOSEN: _header(graph)})

    async def sample(self, request: Request) -> Response:
        """``GET /sample``: images by seed and index, as a picture or an archive; ``POST``: those of given latents."""
        if request.method == "POST":
            return await self._sample_latents(request)
        query = Query(request.query_params.multi_items(), ("model", "n", "seed", "start", "format"))
        graph = self._graph(request, query.text("model"), ("generator",))
        most = graph.max_rows
        count = query.integer("n", min(16, most), least=1, most=most)
        seed = query.integer("seed", 0, least=0, most=MOST_SEED)
        start = query.integer("start", 0, least=0, most=MOST_START)
        form = query.choice("format", ("png", "npz"))
        drawing = pictures.sample_images(graph, seed=seed, start=start, count=count)
        images = await while_connected(request.receive, drawing)
        if form == "png":
            return _picture(await asyncio.to_thread(pictures.png_grid, images), graph)
        archive = await asyncio.to_thread(pictures.npz_samples, images, seed=seed, start=start)
        return _archive(archive, f"samples-{seed}-{start}.npz", graph)

    async def _sample_latents(self, request: Request) -> Response:
        Query(request.query_params.multi_items(), ())
        wanted: _Latents = await self._repository.aside(read_json, await request.body(), _Latents, "latents")
        graph = self._graph(request, wanted.model, ("generator",))
        if wanted.format not in ("png", "npz"):
            raise ProtocolError(f"format is {wanted.format[:32]!r}; it must be png or npz.")
        rows = await self._repository.aside(_rows, bytes(wanted.latents), graph.max_rows)
        images = await while_connected(request.receive, pictures.images_of_latents(graph, rows))
        if wanted.format == "png":
            return _picture(await asyncio.to_thread(pictures.png_grid, images), graph)
        return _archive(await asyncio.to_thread(pictures.npz_images, images), "samples.npz", graph)

    async def score(self, request: Request) -> Response:
        """``POST /score``: lines of the running Inception score of the images that arrive, then its records."""
        settings = self._settings
        query = Query(request.query_params.multi_items(), ("model", "metric", "splits", "seed", "every"))
        query.choice("metric", ("is",))
        graph = self._graph(request, query.text("model"), ("scorer", "classifier"))
        splits = query.integer("splits", DEFAULT_SPLITS, least=1, most=settings.max_score_images)
        seed = query.integer("seed", DEFAULT_SEED, least=0, most=2**32 - 1)
        every = query.integer("every", 100, least=1, most=settings.max_score_images)
        limits = UploadLimits(settings.max_score_images, settings.max_body, self._room)
        uploaded = await self._uploaded(request, limits)
        lines = self._lines(graph, uploaded, splits=splits, seed=seed, every=every)
        # What is wrong from the beginning has a status of its own.
        first = await anext(lines)
        return _Lines(first, lines, {_CHOSEN: _header(graph)})

    async def models(self, request: Request) -> Response:
        """``GET /models``: every loaded model."""
        Query(request.query_params.multi_items(), ())
        found = self._repository.models()
        return json_answer(await asyncio.to_thread(lambda: [describe(hosted) for hosted in found]))

    async def model(self, request: Request) -> Response:
        """``GET /models/{name}``: one of them."""
        return json_answer(await asyncio.to_thread(describe, self._named(request)))

    async def card(self, request: Request) -> Response:
        """``GET /models/{name}/card``: its model card."""
        return await self._file(request, self._named(request), CARD)

    async def file(self, request: Request) -> Response:
        """``GET /models/{name}/files/{path}``: a file of its model directory."""
        return await self._file(request, self._named(request), request.path_params["path"])

    async def _uploaded(self, request: Request, limits: UploadLimits) -> Uploaded:
        return await receive(Body(request.stream()), request.headers.get("content-type", ""), limits)

    async def _lines(
        self, graph: HostedGraph, uploaded: Uploaded, *, splits: int, seed: int, every: int
    ) -> AsyncGenerator[dict[str, Any]]:
        scorer = self._networks.get(graph)
        if scorer is None:
            scorer = self._networks[graph] = await asyncio.to_thread(network, graph, self._settings.variant)
        source = f"upload ({uploaded.kind})"
        with RunningScore(scorer, self._settings.max_score_images) as score:
            shown = 0
            async with aclosing(uploaded.images) as images:
                lines = running_lines(graph, scorer, images, self._decoder, score, every=every)
                async with aclosing(lines) as running:
                    async for line in running:
                        shown = line["images"]
                        yield line
            last = await asyncio.to_thread(last_line, score, source, uploaded.fingerprint(), splits=splits, seed=seed)
            if score.images != shown:
                yield await asyncio.to_thread(score.line)
            yield last

    def _graph(self, request: Request, name: str | None, roles: tuple[str, ...]) -> HostedGraph:
        """Returns the graph of a named model, or of the first that has one of the roles, and notes it for the log."""
        models = self._repository.models() if name is None else [self._repository.model(name)]
        suitable = [model for model in models if not model.graphs.keys().isdisjoint(roles)]
        if name is None and not suitable:
            wanted = " or ".join(roles)
            if not self._repository.ready:
                raise NotReadyError(f"No model with a {wanted} is loaded yet; try again in a second.")
            raise UnknownNameError(f"No served model has a {wanted}; start the server with one.")
        graph = (suitable or models)[0].graph(*roles)
        request.scope[MODEL] = graph.name
        return graph

    def _named(self, request: Request) -> HostedModel:
        Query(request.query_params.multi_items(), ())
        hosted = self._repository.model(request.path_params["name"])
        request.scope[MODEL] = hosted.name
        return hosted

    async def _file(self, request: Request, hosted: HostedModel, name: str) -> Response:
        file, sha256 = await asyncio.to_thread(find_file, hosted, name)
        headers = {"ETag": f'"{sha256}"', "Cache-Control": "no-cache"}
        if etag_matches(request.headers.get("if-none-match"), sha256):
            return Response(status_code=304, headers=headers)
        media_type = _MEDIA_TYPES.get(PurePosixPath(name).suffix, "application/octet-stream")
        return FileAnswer(file, request.headers, headers, media_type)


class _Lines(Response):
    """Lines of JSON, each sent when it is there, while the request's body may still be arriving.

    An error after the first line can only be a line itself.
    """

    def __init__(self, first: dict[str, Any], rest: AsyncGenerator[dict[str, Any]], headers: dict[str, str]) -> None:
        super().__init__(None, headers=headers, media_type="application/x-ndjson")
        del self.headers["content-length"]
        self._first, self._rest = first, rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async with aclosing(self._rest):
            async for line in self._all():
                content = msgspec.json.encode(line) + b"\n"
                await send({"type": "http.response.body", "body": content, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _all(self) -> AsyncIterator[dict[str, Any]]:
        yield self._first
        try:
            async for line in self._rest:
                yield line
        except IganZooError as error:
            yield {"error": sentence_of(error)}


def routes(repository: Repository, settings: ServerSettings) -> list[Route]:
    """Returns the routes."""
    handlers = PeopleRoutes(repository, settings)
    return [
        Route("/classify", handlers.classify, methods=["POST"]),
        Route("/sample", handlers.sample, methods=["GET", "POST"]),
        Route("/score", handlers.score, methods=["POST"]),
        Route("/models", handlers.models, methods=["GET"]),
        Route("/models/{name}", handlers.model, methods=["GET"]),
        Route("/models/{name}/card", handlers.card, methods=["GET"]),
        Route("/models/{name}/files/{path:path}", handlers.file, methods=["GET"]),
    ]


def _rows(text: bytes, most: int) -> list[list[float]]:
    """Returns rows of numbers from JSON, of which there are not too many before there are objects of them."""
    if text.count(b"[") > most + 1:
        raise ProtocolError(f"A request may have {most} latents, not {text.count(b'[') - 1}; send several.")
    if text.count(b",") >= MOST_NUMBERS:
        raise ProtocolError(f"A request may have {MOST_NUMBERS} numbers; send fewer latents at a time.")
    rows: list[list[float]] = read_json(text, _ROWS, "latents")
    return rows


def _as_json(answer: Answer) -> dict[str, Any]:
    if isinstance(answer, tuple):
        return {"file": answer[0], "error": sentence_of(answer[1])}
    classes = [{"name": name, "probability": probability} for name, probability in answer.classes]
    said = {"file": answer.file, "classes": classes, "realness": answer.realness}
    return said if answer.note is None else {**said, "note": answer.note}


def _picture(content: bytes, graph: HostedGraph) -> Response:
    return Response(content, headers={_CHOSEN: _header(graph)}, media_type="image/png")


def _archive(content: bytes, name: str, graph: HostedGraph) -> Response:
    headers = {_CHOSEN: _header(graph), "Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, headers=headers, media_type="application/zip")


def _header(graph: HostedGraph) -> str:
    """Returns a model's name for a header, which is ASCII."""
    return graph.model.name.encode("ascii", "replace").decode()
