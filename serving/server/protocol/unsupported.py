"""What Triton does and this server does not: clients that ask for it are told so in one sentence."""

from __future__ import annotations

from collections.abc import Mapping

_MEMORY = "This server shares no memory with its clients; send tensors in the request."
_TRACE = "This server has no trace settings; igan-zoo serve --traces sends spans to an OpenTelemetry collector."
_LOG = "The log of this server is set when it is started; see igan-zoo serve --help."
_TEXT = "This server runs no language models; use infer."

# By path over HTTP.
ROUTES: Mapping[str, str] = {
    "/v2/systemsharedmemory/{call:path}": _MEMORY,
    "/v2/cudasharedmemory/{call:path}": _MEMORY,
    "/v2/trace/setting": _TRACE,
    "/v2/models/{model}/trace/setting": _TRACE,
    "/v2/logging": _LOG,
    "/v2/models/{model}/generate": _TEXT,
    "/v2/models/{model}/generate_stream": _TEXT,
}
# By method over gRPC.
METHODS: Mapping[str, str] = {
    **{f"SystemSharedMemory{call}": _MEMORY for call in ("Status", "Register", "Unregister")},
    **{f"CudaSharedMemory{call}": _MEMORY for call in ("Status", "Register", "Unregister")},
    "TraceSetting": _TRACE,
    "LogSettings": _LOG,
}
