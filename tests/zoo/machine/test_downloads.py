"""Fetching a published file: checked, resumed, bounded, and nothing under its name that is not it."""

from __future__ import annotations

import hashlib
import http.server
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from igan_zoo.errors import ChecksumError, DownloadError
from igan_zoo.machine import downloads
from igan_zoo.machine.downloads import download

CONTENT = bytes(range(256)) * 5000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
URL = "https://example.org/weights.pth"


class Server(http.server.BaseHTTPRequestHandler):
    """Gives ``CONTENT``, or of a ``sends`` other than None only so many bytes; keeps the ranges that were asked for."""

    ranges = True
    sends: int | None = None
    asked: list[str | None] = []  # noqa: RUF012

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.asked.append(wanted)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.ranges else 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        self.wfile.write(CONTENT[start : None if self.sends is None else start + self.sends])

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Server]]:
    """Answers for every https address, on this machine and without the s."""
    handler = type("Handler", (Server,), {"asked": []})
    running = http.server.HTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    plain: Callable[..., Any] = urllib.request.urlopen

    def redirected(request: urllib.request.Request, **options: Any) -> Any:
        request.full_url = f"http://127.0.0.1:{running.server_port}/"
        return plain(request, **options)

    monkeypatch.setattr(downloads.urllib.request, "urlopen", redirected)
    yield handler
    running.shutdown()
    running.server_close()


def fetch(path: Path, *, sha256: str = SHA256, largest: int = 2**21, url: str = URL) -> None:
    download(url, path, sha256=sha256, largest=largest)


def test_a_file_arrives_under_its_name(server: type[Server], tmp_path: Path) -> None:
    fetch(tmp_path / "deep" / "weights.pth")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["weights.pth"]
    assert (tmp_path / "deep" / "weights.pth").read_bytes() == CONTENT


@pytest.mark.parametrize("ranges", [True, False])
def test_what_broke_off_is_gone_on_with(server: type[Server], tmp_path: Path, ranges: bool) -> None:
    server.ranges, server.sends = ranges, 1000
    with pytest.raises(DownloadError, match=r"ended after|IncompleteRead"):
        fetch(tmp_path / "weights.pth")
    assert not (tmp_path / "weights.pth").exists()
    server.sends = None
    fetch(tmp_path / "weights.pth")
    assert server.asked == [None, "bytes=1000-"]
    assert (tmp_path / "weights.pth").read_bytes() == CONTENT


def test_all_that_was_there_already_is_taken(server: type[Server], tmp_path: Path) -> None:
    (tmp_path / "weights.pth.part").write_bytes(CONTENT)
    fetch(tmp_path / "weights.pth")
    assert (tmp_path / "weights.pth").read_bytes() == CONTENT


def test_another_file_than_the_published_one_leaves_nothing(server: type[Server], tmp_path: Path) -> None:
    with pytest.raises(ChecksumError, match=f"its sha256 is {SHA256}, not 0000"):
        fetch(tmp_path / "weights.pth", sha256="0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_too_large_is_not_fetched_to_its_end(server: type[Server], tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="more than 1,000,000 bytes"):
        fetch(tmp_path / "weights.pth", largest=10**6)


def test_only_https_is_used(tmp_path: Path) -> None:
    for url in ("http://example.org/x", "file:///etc/hosts"):
        with pytest.raises(DownloadError, match="only https"):
            fetch(tmp_path / "x", url=url)


def test_without_a_network_the_error_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(downloads.urllib.request, "urlopen", unreachable)
    with pytest.raises(DownloadError, match=r"Cannot fetch https://example\.org/weights\.pth .*Name or service"):
        fetch(tmp_path / "weights.pth")
