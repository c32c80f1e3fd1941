"""What the server overrides and uses of uvicorn beyond what uvicorn promises is there, with the same parameters."""

from __future__ import annotations

import asyncio
import inspect
import tomllib
from collections.abc import Iterable
from importlib.metadata import version

import uvicorn
from packaging.requirements import Requirement
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from igan_zoo.serving.server.guarded_protocol import GuardedProtocol
from igan_zoo.serving.server.running import _Server
from igan_zoo.serving.server.small_requests import SmallRequests, _InFlight
from tests.conftest import REPOSITORY

PROTOCOL = {
    "connection_made": "transport",
    "connection_lost": "exc",
    "data_received": "data",
    "on_message_begin": "",
    "on_headers_complete": "",
    "on_body": "body",
    "on_message_complete": "",
    "on_response_complete": "",
    "pause_writing": "",
    "resume_writing": "",
    "timeout_keep_alive_handler": "",
}
SERVER = {
    "__init__": "config",
    "startup": "sockets",
    "on_tick": "counter",
    "shutdown": "sockets",
    "capture_signals": "",
}


def overridden(*ours: type) -> set[str]:
    """The names that classes of ours and the uvicorn class below them both define."""
    (theirs,) = (kind for kind in ours[-1].__bases__)
    names = {name for kind in ours for name, member in vars(kind).items() if inspect.isfunction(member)}
    return {name for name in names if name in vars(theirs)}


def parameters(kind: type, names: Iterable[str]) -> dict[str, str]:
    return {name: " ".join(list(inspect.signature(getattr(kind, name)).parameters)[1:]) for name in names}


def test_the_methods_that_the_server_overrides_take_what_they_took() -> None:
    assert overridden(SmallRequests, GuardedProtocol) == set(PROTOCOL)
    assert parameters(HttpToolsProtocol, PROTOCOL) == PROTOCOL
    assert overridden(_Server) == set(SERVER)
    assert parameters(uvicorn.Server, SERVER) == SERVER


def test_what_the_protocol_uses_of_uvicorn_s_is_there() -> None:
    async def made() -> HttpToolsProtocol:
        protocol = HttpToolsProtocol(uvicorn.Config(lambda *_: None), ServerState(), {})
        protocol.on_message_begin()
        return protocol

    protocol = asyncio.run(made())
    used = {"config", "transport", "flow", "client", "loop", "tasks", "parser", "headers", "url", "cycle"}
    assert used <= vars(protocol).keys()
    assert protocol.cycle is None
    assert {"send_400_response"} <= vars(HttpToolsProtocol).keys()
    assert {"write_paused"} <= vars(FlowControl(None)).keys()  # type: ignore[arg-type]
    assert {"drain"} <= vars(FlowControl).keys()
    source = inspect.getsource(RequestResponseCycle.__init__)
    used = {"disconnected", "keep_alive", "response_complete", "message_event", "more_body"}
    assert all(f"self.{name} =" in source for name in used)
    # What uvicorn's protocol reads of the request in its place.
    assert {"disconnected", "keep_alive", "response_complete", "message_event"} <= set(dir(_InFlight))


def test_only_the_tested_uvicorn_is_installed_with_the_server() -> None:
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (uvicorn_,) = (one for one in map(Requirement, extras["serve"]) if one.name == "uvicorn")
    major, minor, *_ = map(int, version("uvicorn").split("."))
    assert uvicorn_.specifier.contains(version("uvicorn"))
    assert not uvicorn_.specifier.contains(f"{major}.{minor + 1}")
