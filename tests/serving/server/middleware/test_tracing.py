"""OpenTelemetry: spans as a collector receives them."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from igan_zoo.errors import MissingExtraError
from igan_zoo.serving.server.app import create_app
from igan_zoo.serving.server.models.repository import Repository
from tests.serving.server.conftest import GENERATOR, MODEL, ServerSettings
from tests.serving.server.live import ask, head, running
from tests.serving.server.test_small_requests import PATH, body_of, long, short

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@contextmanager
def collecting() -> Iterator[tuple[str, list[bytes]]]:
    """Yields the address of a collector, and the bodies that it got."""
    bodies: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            bodies.append(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/traces", bodies
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def spans_of(bodies: list[bytes]) -> list[Any]:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    requests = [ExportTraceServiceRequest.FromString(body) for body in bodies]
    resources = [resource for request in requests for resource in request.resource_spans]
    for resource in resources:
        assert ("service.name", "igan-zoo") in [
            (one.key, one.value.string_value) for one in resource.resource.attributes
        ]
    return [span for resource in resources for scope in resource.scope_spans for span in scope.spans]


def test_each_request_is_a_span_of_its_client_s_trace() -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs the tracing extra")
    repository = Repository.open([MODEL], ServerSettings(threads=1))
    parent = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
    with collecting() as (address, bodies):
        with running(repository, traces=address) as port:
            assert short(port, PATH, body_of(), X_Request_Id="mine", **parent).status == 200
            assert long(port, PATH, body_of(), **parent).status == 200
            assert ask(port, head("GET", "/nothing")).status == 404
        first, second, alone = spans_of(bodies)
    for span in (first, second):
        assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, SPAN)
        assert span.name == "POST /v2/models/{model}/infer"
        assert 0 < span.end_time_unix_nano - span.start_time_unix_nano < 60e9
    attributes = {one.key: one.value.string_value or one.value.int_value for one in first.attributes}
    assert attributes == {
        "igan_zoo.request_id": "mine",
        "igan_zoo.model": GENERATOR,
        "http.request.method": "POST",
        "http.route": "/v2/models/{model}/infer",
        "http.response.status_code": 200,
    }
    assert (alone.parent_span_id, alone.name) == (b"", "GET none")


def test_a_server_without_the_extra_says_which_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    options = ServerSettings(threads=1, traces="http://127.0.0.1:1/v1/traces")
    with pytest.raises(MissingExtraError, match=r"pip install '.\[tracing,cpu\]'"):
        create_app(Repository([], options), options)
