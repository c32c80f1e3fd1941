"""The stand-in as a server in a thread."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from tests.hub_standin.application import Hub
from tests.hub_standin.faults import FaultyTransport
from tests.hub_standin.repositories import Repository
from tests.hub_standin.xet_store import XetStore


class StandIn:
    """A running stand-in: its address, its repositories, and the faults that are to happen."""

    def __init__(self, root: Path) -> None:
        self.hub = Hub(XetStore(root))
        self.transport = FaultyTransport(self.hub.application())
        self.socket = socket.create_server(("127.0.0.1", 0))
        port = self.socket.getsockname()[1]
        self.hub.endpoint = self.endpoint = f"http://127.0.0.1:{port}"
        self.hub.blob_endpoint = f"http://localhost:{port}"
        config = uvicorn.Config(self.transport, log_level="critical", lifespan="off", timeout_graceful_shutdown=1)
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, args=([self.socket],), daemon=True)

    @property
    def repositories(self) -> dict[str, Repository]:
        return self.hub.repositories

    @property
    def requests(self) -> list[str]:
        return self.transport.requests

    def add(self, name: str, directory: Path, *, private: bool = False) -> tuple[Repository, str]:
        """Makes a repository of a directory and returns it with the commit's id."""
        repository = self.repositories[name] = Repository(name, private)
        return repository, repository.add_directory(directory)

    def stop(self) -> None:
        """Ends the server, so that nothing listens at its address any more."""
        self.server.should_exit = True
        self.thread.join(5)
        self.socket.close()


@contextmanager
def running(root: Path) -> Iterator[StandIn]:
    """Runs a stand-in whose Xet store is ``root``."""
    standin = StandIn(root)
    standin.thread.start()
    while not standin.server.started:
        time.sleep(0.01)
    try:
        yield standin
    finally:
        standin.stop()
