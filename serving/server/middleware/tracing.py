"""OpenTelemetry traces: a span for each request over HTTP and gRPC, within the trace that its client began."""

from __future__ import annotations

import time
from collections.abc import Iterable

from igan_zoo import __version__
from igan_zoo.errors import MissingExtraError, pip_install

TRACEPARENT = b"traceparent"


class RequestId(bytes):
    """A request's id, and the header that names the span of its client."""

    parent: str = ""


class Tracing:
    """Sends spans to a collector, a few seconds later and in a thread of its own; a dead one costs no request.

    Sampling, names and batches follow OpenTelemetry's own environment variables, such as ``OTEL_TRACES_SAMPLER``.
    """

    def __init__(self, endpoint: str) -> None:
        """``endpoint`` takes spans over OTLP with HTTP, such as ``http://collector:4318/v1/traces``.

        Raises:
            MissingExtraError: OpenTelemetry is not installed.
        """
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.trace import SpanKind, StatusCode
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ImportError as error:
            raise MissingExtraError(
                f"Traces need {error.name or error}, of the tracing extra: {pip_install('tracing,cpu')}."
            ) from error
        # What the environment says of the service comes after this, and wins.
        resource = Resource.create({SERVICE_NAME: "igan-zoo", SERVICE_VERSION: __version__})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
        self._tracer = self._provider.get_tracer("igan_zoo.server", __version__)
        self._propagator = TraceContextTextMapPropagator()
        self._server, self._error = SpanKind.SERVER, StatusCode.ERROR

    def identify(self, request_id: bytes, headers: Iterable[tuple[bytes, bytes]]) -> RequestId:
        """Returns a request's id with the span of its client."""
        identified = RequestId(request_id)
        for name, value in headers:
            if name == TRACEPARENT:
                identified.parent = value.decode("latin-1")
        return identified

    def record(self, request_id: bytes, method: str, route: str, model: str, status: int | str, seconds: float) -> None:
        """Makes the span of a request that has just been answered; ``status`` is HTTP's number or gRPC's name."""
        parent = request_id.parent if isinstance(request_id, RequestId) else ""
        ended = time.time_ns()
        over_grpc = method == "gRPC"
        attributes: dict[str, str | int] = {"igan_zoo.request_id": request_id.decode()}
        if over_grpc:
            attributes |= {"rpc.system": "grpc", "rpc.method": route, "rpc.grpc.status": str(status)}
        else:
            attributes |= {"http.request.method": method, "http.route": route, "http.response.status_code": status}
        if model:
            attributes["igan_zoo.model"] = model
        span = self._tracer.start_span(
            route if over_grpc else f"{method} {route}",
            context=self._propagator.extract({"traceparent": parent}) if parent else None,
            kind=self._server,
            attributes=attributes,
            start_time=ended - round(seconds * 1e9),
        )
        if isinstance(status, int) and status >= 500:
            span.set_status(self._error)
        span.end(ended)

    def close(self) -> None:
        """Sends what is left; blocks."""
        self._provider.shutdown()
