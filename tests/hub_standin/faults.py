"""What goes wrong on the way: answers of another kind, broken connections, changed bytes."""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send


@dataclass
class Fault:
    """Happens to requests whose method and path match, at most ``times`` times.

    With ``status`` the request is answered so; with ``drop_after`` the connection breaks after that many bytes of body;
    with ``flip`` one bit of that byte is changed.
    """

    path: str
    method: str = "GET"
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    drop_after: int | None = None
    flip: int | None = None
    times: int = 1


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
        if message["type"] == "http.response.body":
            body = bytearray(message.get("body", b""))
            if fault.flip is not None and sent <= fault.flip < sent + len(body):
                body[fault.flip - sent] ^= 1
            if fault.drop_after is not None and sent + len(body) > fault.drop_after:
                await send({**message, "body": bytes(body[: fault.drop_after - sent]), "more_body": True})
                raise ConnectionDroppedError
            sent += len(body)
            message = {**message, "body": bytes(body)}
        await send(message)

    return change
