"""A server of the bundled model, in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from io import StringIO
from typing import Any

import pytest
from starlette.testclient import TestClient

from igan_zoo.serving.server.app import create_app
from igan_zoo.serving.server.middleware.requests_log import Log
from igan_zoo.serving.server.models.repository import Repository
from igan_zoo.serving.server.settings import ServerSettings

MODEL = "mnist-ssl"
GENERATOR, CLASSIFIER = f"{MODEL}-generator", f"{MODEL}-classifier"


@pytest.fixture(scope="session")
def hosted() -> Repository:
    """The bundled model, loaded; tests that change what is served make their own."""
    return Repository.open([MODEL], ServerSettings(threads=1))


@pytest.fixture
def log() -> StringIO:
    return StringIO()


@pytest.fixture
def client_of(log: StringIO) -> Iterator[Callable[..., TestClient]]:
    """Makes a client of a server of ``repository`` with the settings given."""
    with ExitStack() as stack:

        def make(repository: Repository, **settings: Any) -> TestClient:
            options = ServerSettings(**{"threads": 1, "reload": 0.0, **settings})
            app = create_app(repository, options, log=Log(log))
            return stack.enter_context(TestClient(app, raise_server_exceptions=False))

        yield make


@pytest.fixture
def client(hosted: Repository, client_of: Callable[..., TestClient]) -> TestClient:
    return client_of(Repository.open([MODEL], ServerSettings(threads=1)))
