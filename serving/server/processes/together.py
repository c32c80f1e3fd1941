"""What the processes of one server do as one: count, change models, and keep what only one can have.

A server of one process does all of it itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Scope

from igan_zoo import errors as package_errors
from igan_zoo.serving.server import errors as server_errors
from igan_zoo.serving.server.counts import Counts, counts_of, total
from igan_zoo.serving.server.errors import NotReadyError
from igan_zoo.serving.server.middleware.answers import error_answer, sentence_of
from igan_zoo.serving.server.middleware.metrics import Metrics
from igan_zoo.serving.server.models.repository import Repository
from igan_zoo.serving.server.processes.channel import (
    Answered,
    Change,
    Channel,
    Count,
    Counted,
    Done,
    Failed,
    Forward,
    Kind,
    Question,
    Reply,
)

FIRST = 0


class Together:
    """One process among those of its server. ``app`` answers the requests that the first one has to answer."""

    app: ASGIApp
    # Is told of errors that the operator can do something about.
    tell: Callable[[bytes, Exception], None]

    def __init__(self, repository: Repository, metrics: Metrics, channel: Channel) -> None:
        self._repository, self._metrics, self._channel = repository, metrics, channel
        self._changing = asyncio.Lock()
        self._server: asyncio.Server | None = None

    @property
    def is_first(self) -> bool:
        """Whether this process keeps what only one can have."""
        return self._channel.index == FIRST

    async def start(self) -> None:
        """Answers the others from now on."""
        self._server = await self._channel.listen(self._answer)

    def stop(self) -> None:
        """Answers the others no more."""
        if self._server is not None:
            self._server.close()

    async def counts(self) -> Counts:
        """Returns what the server has counted; processes that do not answer, as when it stops, are left out."""
        own = counts_of(self._repository, self._metrics.answers())
        replies = await self._ask_others(Count())
        return total([own, *(reply.counts for reply in replies if isinstance(reply, Counted))])

    async def change(self, kind: Kind, name: str) -> None:
        """Loads or unloads a model in every process, all in the same order.

        Raises:
            IganZooError: as ``Repository.load`` and ``unload``; or not all processes could, and say why.
        """
        if not self.is_first:
            _check(await self._channel.ask(FIRST, Change(kind, name, here=False)))
            return
        async with self._changing:
            await self._change_here(kind, name)
            for reply in await self._ask_others(Change(kind, name, here=True)):
                _check(reply)

    async def forward(self, request: Request) -> Response:
        """Lets the first process answer a request that has passed all checks."""
        scope = request.scope
        question = Forward(
            scope["method"], scope["path"], scope["query_string"], list(scope["headers"]), await request.body()
        )
        reply = await self._channel.ask(FIRST, question)
        _check(reply)
        response = Response()
        if isinstance(reply, Answered):
            response.body, response.status_code, response.raw_headers = reply.body, reply.status, reply.headers
        return response

    async def _ask_others(self, question: Question) -> list[Reply]:
        asked = [self._channel.ask(index, question) for index in self._channel.others]
        replies = await asyncio.gather(*asked, return_exceptions=True)
        return [Failed("NotReadyError", str(reply)) if isinstance(reply, BaseException) else reply for reply in replies]

    async def _answer(self, question: Question) -> Reply:
        try:
            if isinstance(question, Count):
                return Counted(counts_of(self._repository, self._metrics.answers()))
            if isinstance(question, Forward):
                return await self._answer_request(question)
            await (self._change_here if question.here else self.change)(question.kind, question.name)
        except Exception as error:
            return Failed(type(error).__name__, sentence_of(error))
        return Done()

    async def _answer_request(self, question: Forward) -> Answered:
        try:
            return await _answered(self.app, question)
        except Exception as error:
            self.tell(dict(question.headers).get(b"x-request-id", b""), error)
            answer = error_answer(error, question.path)
            return Answered(answer.status_code, list(answer.raw_headers), bytes(answer.body))

    async def _change_here(self, kind: Kind, name: str) -> None:
        await (self._repository.load if kind == "load" else self._repository.unload)(name)


def _check(reply: Reply) -> None:
    if isinstance(reply, Failed):
        known = {**vars(package_errors), **vars(server_errors)}
        raise known.get(reply.kind, NotReadyError)(reply.sentence)


async def _answered(app: ASGIApp, question: Forward) -> Answered:
    """Runs an app on a request that is here whole, and gathers its answer."""
    scope: Scope = {
        "type": "http",
        "http_version": "1.1",
        "scheme": "http",
        "method": question.method,
        "path": question.path,
        "query_string": question.query,
        "headers": question.headers,
        "client": None,
        "root_path": "",
    }
    messages: list[Message] = [{"type": "http.request", "body": question.body, "more_body": False}]
    sent: list[Message] = []

    async def receive() -> Message:
        if messages:
            return messages.pop()
        # The client is watched by the process that asks.
        await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start, *rest = sent
    return Answered(start["status"], list(start["headers"]), b"".join(part.get("body", b"") for part in rest))
