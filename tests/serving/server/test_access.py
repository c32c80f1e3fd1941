"""Who may call what: every route and method, under every spelling, asks for the token that is its own."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, unquote

import pytest
from starlette.routing import Route
from starlette.testclient import TestClient

from igan_zoo.errors import SpecificationError
from igan_zoo.serving.server.app import create_app
from igan_zoo.serving.server.middleware.requests_log import Log
from igan_zoo.serving.server.models.repository import Repository
from igan_zoo.serving.server.settings import ServerSettings
from tests.serving.server.conftest import GENERATOR, MODEL
from tests.serving.server.live import ask, head, running

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
# Written out here: what the code calls open or administration must not decide what the test expects.
OPEN = {"/", "/docs", "/openapi.json", "/v2/health/live", "/v2/health/ready"}
VALUES = {"model": GENERATOR, "version": "1", "name": MODEL, "path": "config.json", "test": "x", "round": "1"}
VALUES |= {"call": "status"}
TOKENS = {"token": "usual", "admin_token": "boss", "allow_load": True}


def is_open(path: str) -> bool:
    return path in OPEN or path.startswith("/page/") or (path.startswith("/docs/") and path.count("/") == 2)


def is_administration(path: str) -> bool:
    plain = unquote(path).lower()
    return "metrics" in plain or "load" in plain


def paths_of(table: list[Route]) -> list[str]:
    found = []
    for route in table:
        path = route.path
        for name, value in {**VALUES, "number": "1"}.items():
            for kind in ("", ":path", ":int"):
                path = path.replace(f"{{{name}{kind}}}", value)
        assert "{" not in path, path
        found.append(path)
    return found


def spellings(path: str) -> Iterator[str]:
    """Yields a path, percent-encoded, and others that a sloppy look might take for it."""
    yield path
    for code in (*range(0x21), 0x7F, 0x85, 0xA0, 0x2028):
        character = quote(chr(code))
        yield from (path + character, f"/{character}{path[1:]}", path.replace("/", f"/{character}", 2))
    for end in (
        "/",
        "//",
        "/.",
        "/..",
        ";",
        ";x",
        ".",
        "%2f",
        "%2F",
        "%00",
        "%3f",
        "%23",
        "%25",
        "%250a",
        "\\",
        "%5c",
        "~",
    ):
        yield path + end
    yield from ("/" + path, "//" + path, "/." + path, "/x/.." + path, path.upper(), path.title(), path.swapcase())
    yield from (path.replace("/", "//"), path.replace("/", "%2f"), "/" + path[1:].replace("/", "%2F"))
    yield "".join(f"%{ord(character):02x}" if character.isalpha() else character for character in path)


async def call(app: Any, method: str, path: str, token: str | None) -> int:
    """Sends a request as an HTTP server does, which decodes paths, and returns the status."""
    status: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        status.extend([message["status"]] if message["type"] == "http.response.start" else [])

    headers = [(b"host", b"x")] + ([(b"authorization", f"Bearer {token}".encode())] if token else [])
    scope = {
        "type": "http", "http_version": "1.1", "method": method, "path": unquote(path), "raw_path": path.encode(),
        "query_string": b"", "root_path": "", "headers": headers, "client": ("10.0.0.1", 5), "scheme": "http",
    }  # fmt: skip
    await app(scope, receive, send)
    return status[0]


@pytest.fixture(scope="module")
def guarded() -> Any:
    """The app, its whole table, and its repository, of which no request may change anything."""
    repository = Repository.open([MODEL], ServerSettings(threads=1))
    settings = ServerSettings(threads=1, reload=0, log_requests=False, **TOKENS)  # type: ignore[arg-type]
    app = create_app(repository, settings, log=Log(io.StringIO()))
    return app, app.table, repository


@pytest.mark.parametrize("token", [None, "wrong", "usual"])
def test_no_route_answers_under_any_spelling_without_its_token(token: str | None, guarded: Any) -> None:
    app, table, repository = guarded
    # The user's token opens all but administration; with it only those paths are of interest.
    paths = [path for path in paths_of(table) if token != "usual" or is_administration(path)]
    assert len(paths) >= 3

    async def ask_all() -> list[str]:
        answered = []
        for path in paths:
            for spelling in spellings(path):
                for method in METHODS:
                    if token != "usual" and is_open(unquote(spelling)):
                        continue
                    status = await call(app, method, spelling, token)
                    if status not in ((400, 401) if token != "usual" else (400, 401, 404, 405)):
                        answered.append(f"{method} {spelling!r}: {status}")
        return answered

    assert asyncio.run(ask_all()) == []
    assert [line.state for line in repository.index()] == ["READY", "READY"]


def test_the_page_documentation_and_health_need_no_token(guarded: Any) -> None:
    app, *_ = guarded

    async def ask_all() -> dict[str, int]:
        return {path: await call(app, "GET", path, None) for path in (*OPEN, "/page/style.css", "/docs/docs.css")}

    assert set(asyncio.run(ask_all()).values()) == {200}


def test_every_route_and_method_is_in_the_table_of_rules_and_no_other(guarded: Any) -> None:
    from igan_zoo.serving.server.rules import GRPC, HTTP, Access

    _, table, _ = guarded
    assert {route.path for route in table} == set(HTTP)
    closed = {path for path, rule in HTTP.items() if rule.access is not Access.OPEN}
    assert {path for path in HTTP if path not in closed} == {*OPEN, "/page/{name:path}", "/docs/{name}"}
    messages = pytest.importorskip("igan_zoo.serving.server.protocol.grpc_messages", reason="needs the grpc extra")
    from igan_zoo.serving.server.protocol.unsupported import METHODS as REFUSED

    services = (messages.SERVICE, messages.HEALTH, messages.REFLECTION)
    known = {method.name for service in services for method in messages.methods(service)}
    assert known | set(REFUSED) == set(GRPC)


def test_a_newline_opens_nothing_at_a_real_port() -> None:
    repository = Repository.open([MODEL], ServerSettings(threads=1))
    unload = f"/v2/repository/models/{GENERATOR}/unload"
    with running(repository, Log(io.StringIO()), **TOKENS) as port:
        for end in ("", "%0A", "%0D%0A", "\n", "%0b"):
            for headers in ({}, {"Authorization": "Bearer usual"}):
                refusals = (400, 401, 404) if headers and end else (400, 401)
                assert ask(port, head("POST", unload + end, Content_Length=0, **headers)).status in refusals
                assert ask(port, head("GET", "/metrics" + end, **headers)).status in refusals
        assert ask(port, head("GET", "/v2%0A", Authorization="Bearer usual")).status == 404
    assert {line.state for line in repository.index()} == {"READY"}


@pytest.mark.parametrize("token", ["", "line\n", " ", "two words", "tab\t", "ключ"])
def test_a_token_that_opens_everything_or_nothing_is_refused(token: str) -> None:
    for name in ("token", "admin_token"):
        with pytest.raises(SpecificationError, match="token"):
            ServerSettings(**{name: token})  # type: ignore[arg-type]


@pytest.mark.parametrize("variable", ["IGAN_ZOO_TOKEN", "IGAN_ZOO_ADMIN_TOKEN"])
def test_an_empty_secret_does_not_open_the_server(
    variable: str, monkeypatch: pytest.MonkeyPatch, igan_zoo: Callable[..., tuple[int, str, str]]
) -> None:
    monkeypatch.setenv(variable, "")
    code, _, error = igan_zoo("serve", MODEL, "--host", "256.0.0.1", "--port", 0)
    assert (code, "token is empty" in error.splitlines()[-1]) == (1, True)
    monkeypatch.setenv(variable, "from-a-file\n")
    code, _, error = igan_zoo("serve", MODEL, "--host", "256.0.0.1", "--port", 0)
    assert (code, "ends with a line break" in error.splitlines()[-1]) == (1, True)


ORIGINS = [
    ({}, 200),
    ({"Origin": "http://testserver"}, 200),
    ({"Origin": "https://testserver"}, 200),
    ({"Origin": "http://evil.example"}, 403),
    ({"Origin": "null"}, 403),
    ({"Origin": "http://testserver.evil.example"}, 403),
    ({"Origin": "https://friend.example"}, 200),
    ({"Origin": "https://public.example", "Sec-Fetch-Site": "same-origin"}, 200),  # behind a proxy that renames
    ({"Origin": "http://testserver", "Sec-Fetch-Site": "cross-site"}, 403),
    ({"Sec-Fetch-Site": "same-site"}, 403),
]


@pytest.mark.parametrize(("headers", "expected"), ORIGINS)
def test_pages_of_other_sites_may_not_write(
    headers: dict[str, str], expected: int, client_of: Callable[..., TestClient]
) -> None:
    client = client_of(Repository.open([MODEL], ServerSettings(threads=1)), cors=("https://friend.example",))
    assert client.post("/v2/repository/index", headers=headers).status_code == expected
    assert client.get("/v2", headers=headers).status_code == 200


@pytest.mark.parametrize("path", ["/v2/repository/index", f"/v2/models/{GENERATOR}/infer"])
def test_a_foreign_name_reaches_nothing_but_health(path: str) -> None:
    from igan_zoo.serving.server.middleware.browsers import hosts_of

    repository = Repository.open([MODEL], ServerSettings(threads=1))
    with running(repository, hosts=hosts_of("127.0.0.1", ["zoo.example"])) as port:
        for host, expected in (
            ("evil.example", 403), (f"localhost:{port}", 200), (f"127.0.0.1:{port}", 200), ("[::1]:80", 200),
            ("ZOO.example.", 200), ("localhost.evil.example", 403), ("", 403),
        ):  # fmt: skip
            status = ask(
                port, head("POST", path, Content_Length=0).replace(b"Host: x", f"Host: {host}".encode())
            ).status
            assert (status == 403) == (expected == 403), host
        assert ask(port, head("GET", "/v2/health/ready")).status == 200
    assert hosts_of("0.0.0.0", []) == ()


def test_a_request_has_one_host() -> None:
    with running(Repository.open([MODEL], ServerSettings(threads=1))) as port:
        for path in ("/v2", f"/v2/models/{GENERATOR}/infer"):
            none = head("POST", path, Content_Length=0).replace(b"Host: x\r\n", b"")
            assert ask(port, none).status == 400
            assert ask(port, head("POST", path, Content_Length=0, Host="y")).status == 400
        assert ask(port, b"GET /v2 HTTP/1.0\r\n\r\n").status == 200


def test_only_loopback_names_are_known_to_a_server_of_this_machine() -> None:
    from igan_zoo.serving.server.middleware.browsers import is_loopback

    assert all(map(is_loopback, ["127.0.0.1", "127.8.0.1", "::1", "localhost", "a.localhost"]))
    assert not any(map(is_loopback, ["0.0.0.0", "::", "192.168.1.1", "localhost.example"]))


def test_no_method_of_grpc_answers_without_its_token_or_decodes_anything() -> None:
    grpc = pytest.importorskip("grpc", reason="needs the grpc extra")
    from igan_zoo.serving.server.protocol.grpc_messages import HEALTH, SERVICE, methods
    from igan_zoo.serving.server.protocol.grpc_service import GrpcServer

    free = {"ServerLive", "ServerReady", "Check"}
    log = io.StringIO()

    async def status(channel: Any, path: str, body: bytes, token: str | None) -> str:
        metadata = (("authorization", f"Bearer {token}"),) if token else None
        try:
            await channel.unary_unary(path)(body, metadata=metadata, timeout=10)
        except grpc.aio.AioRpcError as error:
            return str(error.code().name)
        return "OK"

    async def run() -> dict[str, set[str]]:
        options = ServerSettings(threads=1, **TOKENS)  # type: ignore[arg-type]
        repository = Repository.open([MODEL], options)
        written = Log(log)
        app = create_app(repository, options, log=written)
        server = GrpcServer(app, host="127.0.0.1", port=0)
        found: dict[str, set[str]] = {}
        async with grpc.aio.insecure_channel(f"127.0.0.1:{await server.start()}") as channel:
            for service in (SERVICE, HEALTH):
                for method in methods(service):
                    # Anybody may watch health, for as long as they like.
                    if method.name == "Watch":
                        continue
                    path = f"/{service}/{method.name}"
                    others = (path + "/", path + "%0A", path.lower(), path.upper(), "/" + path, path + " ", path[1:])
                    for body in (b"", b"\xff\xff\xff", b"\x0a\x01x"):
                        for token in (None, "wrong", "usual") if "Repository" in path else (None, "wrong"):
                            for spelling in (path, *others):
                                code = await status(channel, spelling, body, token)
                                found.setdefault(method.name if spelling == path else "others", set()).add(code)
                    found[f"{method.name} with the token"] = {await status(channel, path, b"\xff\xff", "boss")}
        await server.stop()
        written.flush()
        repository.close()
        assert {line.state for line in repository.index()} == {"READY"}
        return found

    found = asyncio.run(run())
    assert found.pop("others") <= {"UNIMPLEMENTED", "UNAUTHENTICATED", "INTERNAL", "UNKNOWN"}
    for name, codes in found.items():
        if name.endswith("with the token"):
            assert codes == {"INVALID_ARGUMENT"}, name
        elif name == "RepositoryIndex":
            assert codes <= {"UNAUTHENTICATED", "OK", "INVALID_ARGUMENT"}
        elif name not in free:
            assert codes == {"UNAUTHENTICATED"}, name
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert {line["event"] for line in lines} == {"request"}
    assert "Traceback" not in log.getvalue()
