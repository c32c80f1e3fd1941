"""Runs the app as the only task of its process, until SIGTERM or SIGINT."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import socket
import sys
import warnings
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from igan_zoo.errors import IganZooError, MissingExtraError, pip_install
from igan_zoo.serving.server.app import App, create_app
from igan_zoo.serving.server.http1.serving import BACKLOG, HttpServer
from igan_zoo.serving.server.middleware.browsers import hosts_of
from igan_zoo.serving.server.middleware.requests_log import Log, LogHandler
from igan_zoo.serving.server.models.repository import Repository
from igan_zoo.serving.server.processes.channel import Channel
from igan_zoo.serving.server.settings import ServerSettings

if TYPE_CHECKING:
    from igan_zoo.serving.server.protocol.grpc_service import GrpcServer

# Seconds after which a thread lets another have the interpreter: Python's 5 ms are what a batch would wait for while
# the event loop sends the answers of the last one.
_SWITCH_INTERVAL = 0.0005
# Files of a process that are no connections: models, temporary files.
_OTHER_FILES = 256
# Bytes of answers that the kernel takes for a connection before they are on their way.
_UNSENT = 128 * 1024


def _raise_file_limit(wanted: int) -> int:
    """Lets the process open ``wanted`` files if it may, and returns how many it can open."""
    try:
        import resource
    except ImportError:
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        soft = min(wanted, hard) if hard != resource.RLIM_INFINITY else wanted
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft


def serve(
    repository: Repository,
    settings: ServerSettings,
    *,
    host: str,
    port: int,
    announce: Callable[[str], None],
    grpc_port: int | None = None,
) -> None:
    """Serves until a signal, with ``grpc_port`` over gRPC too; ``announce`` is told each address once its port is open.

    Raises:
        IganZooError: a port cannot be had, or a model cannot be loaded.
        MissingExtraError: ``grpc_port`` without grpcio and protobuf.
    """
    log = Log()
    app, companion = prepare(
        repository, settings, host=host, grpc_port=grpc_port, log=log, channel=Channel(), loaded=None
    )
    listener = listen(host, port)
    bound = listener.getsockname()[1]
    run(app, companion, listener, lambda grpc: announce_all(announce, host, bound, grpc), log)


def announce_all(announce: Callable[[str], None], host: str, port: int, grpc_port: int | None) -> None:
    """Tells ``announce`` the addresses at which a server answers over gRPC, if it does, and over HTTP."""
    place = f"[{host}]" if ":" in host else host
    if grpc_port is not None:
        announce(f"grpc://{place}:{grpc_port}")
    announce(f"http://{place}:{port}")


def prepare(
    repository: Repository,
    settings: ServerSettings,
    *,
    host: str,
    grpc_port: int | None,
    log: Log,
    channel: Channel,
    loaded: Callable[[], Awaitable[None]] | None,
) -> tuple[App, GrpcServer | None]:
    """Returns what a process serves over HTTP and over gRPC; ``channel`` and ``loaded`` are as for ``create_app``.

    Raises:
        MissingExtraError: ``grpc_port`` without grpcio and protobuf.
    """
    # Those of gRPC, a quarter as many, are files too.
    files = _raise_file_limit(settings.max_connections * 5 // 4 + _OTHER_FILES)
    settings = replace(
        settings,
        hosts=hosts_of(host, settings.hosts),
        max_connections=max(1, min(settings.max_connections, (files - _OTHER_FILES) * 4 // 5)),
    )
    app = create_app(repository, settings, log=log, channel=channel, loaded=loaded)
    return app, None if grpc_port is None else _companion(app, host, grpc_port)


def run(
    app: App,
    companion: GrpcServer | None,
    listener: socket.socket,
    announce: Callable[[int | None], None],
    log: Log,
) -> None:
    """Serves until a signal; ``announce`` is told the port of gRPC, if any, once both are open.

    Raises:
        IganZooError: the port of gRPC cannot be had, or a model cannot be loaded.
    """
    with _process_of_its_own(log):
        HttpServer(app, announce, companion).run([listener], once_ready=_keep_for_good)
    if app.repository.failure is not None:
        raise app.repository.failure
    log.write("stopped")


def _companion(app: App, host: str, port: int) -> GrpcServer:
    try:
        from igan_zoo.serving.server.protocol.grpc_service import GrpcServer
    except ImportError as error:
        raise MissingExtraError(
            f"Serving over gRPC needs {error.name or error}, of the grpc extra: {pip_install('grpc,cpu')}."
        ) from error
    return GrpcServer(app, host=host, port=port)


def listen(host: str, port: int) -> socket.socket:
    """Returns a listening socket; port 0 picks a free one.

    Raises:
        IganZooError: it cannot be had.
    """
    family, address = address_of(host, port)
    try:
        listener = socket.create_server(address, family=family, backlog=BACKLOG)
    except OSError as error:
        raise cannot_listen(host, port, error) from error
    bound_answers(listener)
    return listener


def address_of(host: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    """Returns what a socket is bound to.

    Raises:
        IganZooError: there is no such host.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise cannot_listen(host, port, error) from error
    family, *_, address = found[0]
    return family, (str(address[0]), int(address[1]))


def cannot_listen(host: str, port: int, error: OSError) -> IganZooError:
    """Returns the error for a port that is not available."""
    reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
    return IganZooError(f"Cannot listen at {host}, port {port}: {reason}.")


def bound_answers(listener: socket.socket) -> None:
    """Lets connections that the socket accepts hold few unread bytes of the memory that the kernel has for all."""
    with contextlib.suppress(OSError, AttributeError):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT)


def _keep_for_good() -> None:
    """Excludes everything loaded so far, such as modules and models, from garbage collection.

    Scanning it takes tens of milliseconds, during which no request is answered.
    """
    gc.collect()
    gc.freeze()


@contextlib.contextmanager
def _process_of_its_own(log: Log) -> Iterator[None]:
    """Lets threads take turns more often, and libraries' messages and warnings into the log; until the end."""
    root, interval, show = logging.getLogger(), sys.getswitchinterval(), warnings.showwarning
    handlers, level = root.handlers, root.level
    root.handlers = [LogHandler(log)]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
    captured = warnings.showwarning is not show
    sys.setswitchinterval(_SWITCH_INTERVAL)
    try:
        yield
    finally:
        gc.unfreeze()
        sys.setswitchinterval(interval)
        if captured:
            logging.captureWarnings(capture=False)
        root.setLevel(level)
        root.handlers = handlers
