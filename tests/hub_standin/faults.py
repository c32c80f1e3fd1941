"""What goes wrong on the way: answers of another kind, broken connections, changed bytes."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send


@dataclass
class Fault:
    """Happens to requests whose method and path match, at most ``times`` times.

    With ``status`` the request is answered so; with ``drop_after`` the connection breaks after that many bytes of body;
    with ``stop_after`` it stands still there, until ``go_on`` is set; with ``flip`` one bit of that byte is changed;
    with ``shorten`` the last byte is left out, and the announced length is one less.
    """

    path: str
    method: str = "GET"
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    drop_after: int | None = None
    stop_after: int | None = None
    flip: int | None = None
    shorten: bool = False
    times: int = 1
    reached: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)


class ConnectionDroppedError(Exception):
    """Makes the server close a connection in the middle of an answer."""


class FaultyTransport:
    """Wraps the application, notes every request, and lets the chosen faults happen."""

    def __init__(self, application: ASGIApp) -> None:
        self.application = application
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.ranges: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.application(scope, receive, send)
            return
        self.requests.append(f"{scope['method']} {scope['path']}")
        self.ranges += [value.decode() for name, value in scope["headers"] if name == b"range"]
        fault = self._fault(scope)
        if fault is None:
            await self.application(scope, receive, send)
        elif fault.status is not None:
            answer = JSONResponse({"error": "a fault of the stand-in"}, fault.status, fault.headers)
            await answer(scope, receive, send)
        else:
            await self.application(scope, receive, _changed(send, fault))

    def _fault(self, scope: Scope) -> Fault | None:
        for fault in self.faults:
            if fault.times > 0 and fault.method in ("*", scope["method"]) and fault.path in scope["path"]:
                fault.times -= 1
                return fault
        return None


def _changed(send: Send, fault: Fault) -> Send:
    sent = 0

    async def change(message: Message) -> None:
        nonlocal sent
        if fault.shorten and message["type"] == "http.response.start":
            headers = dict(message["headers"])
            headers[b"content-length"] = b"%d" % (int(headers[b"content-length"]) - 1)
            message = {**message, "headers": list(headers.items())}
        if message["type"] == "http.response.body":
            body = bytearray(message.get("body", b""))
            if fault.shorten:
                del body[-1:]
            if fault.stop_after is not None:
                await send({**message, "body": bytes(body[: fault.stop_after]), "more_body": True})
                fault.reached.set()
                while not fault.go_on.is_set():
                    await asyncio.sleep(0.01)
                raise ConnectionDroppedError
            if fault.flip is not None and sent <= fault.flip < sent + len(body):
                body[fault.flip - sent] ^= 1
            if fault.drop_after is not None and sent + len(body) > fault.drop_after:
                await send({**message, "body": bytes(body[: fault.drop_after - sent]), "more_body": True})
                raise ConnectionDroppedError
            sent += len(body)
            message = {**message, "body": bytes(body)}
        await send(message)

    return change
