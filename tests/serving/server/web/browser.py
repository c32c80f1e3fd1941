"""A real server in a thread, and a real browser that asks it; what the tests of the page share."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from igan_zoo.serving.server.app import create_app
from igan_zoo.serving.server.http1.serving import HttpServer
from igan_zoo.serving.server.middleware.requests_log import Log
from igan_zoo.serving.server.models.repository import Repository
from igan_zoo.serving.server.settings import ServerSettings

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserType

# What Debian and its maker call it.
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@dataclass
class RunningServer:
    """A server of this process; it can be stopped, and started again at the same address."""

    models: Sequence[str | Path]
    settings: ServerSettings
    port: int = 0
    _server: HttpServer | None = field(default=None, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        listener = socket.create_server(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        app = create_app(Repository.open(self.models, self.settings), self.settings, log=Log(_Nowhere()))
        self._server = HttpServer(app)
        self._thread = threading.Thread(target=self._server.run, args=([listener],), daemon=True)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)

    def stop(self) -> None:
        assert self._server is not None
        assert self._thread is not None
        self._server.should_exit = True
        self._thread.join(10)


class _Nowhere:
    def write(self, _: str) -> int:
        return 0

    def flush(self) -> None:
        pass


@contextmanager
def running(models: Sequence[str | Path], **settings: Any) -> Iterator[RunningServer]:
    """Runs a server at a free port."""
    server = RunningServer(models, ServerSettings(threads=1, reload=0.0, **settings))
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def chromium() -> Iterator[Browser]:
    """Runs the Chromium of this machine without a window, or skips."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with playwright.sync_playwright() as started, launched(started.chromium) as browser:
        yield browser


@contextmanager
def launched(kind: BrowserType, *options: str) -> Iterator[Browser]:
    """Runs a browser without a window, with these command line options."""
    browser = kind.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", *options])
    try:
        yield browser
    finally:
        browser.close()
