"""Headers that keep browsers from doing what no page of ours does."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# No other host; blob: and data: are images that the page makes itself, wasm is onnxruntime-web, whose threads are
# workers from a blob.
_POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; img-src 'self' blob: data:; "
    "media-src 'self' blob:; style-src 'self'; connect-src 'self' blob: data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
# The opener and embedder policies isolate the page, without which browsers give WebAssembly no threads.
_PAGES = [
    (b"content-security-policy", _POLICY.encode()),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-embedder-policy", b"require-corp"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
]


class SecurityHeaders:
    """ASGI middleware: adds them to all answers but the protocol's, which no browser shows."""

    def __init__(self, app: ASGIApp, *, shared: bool) -> None:
        """``shared`` leaves out the header by which pages of other origins may not read answers."""
        self._app = app
        self._pages = [header for header in _PAGES if not (shared and header[0] == b"cross-origin-resource-policy")]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/v2"):
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name for name, _ in message.get("headers", ())}
                message["headers"] = [
                    *message.get("headers", ()),
                    *(pair for pair in self._pages if pair[0] not in present),
                ]
            await send(message)

        await self._app(scope, receive, guarded)
