"""Starts the processes of a server that has several, and ends them together.

All listen on one port, and the system gives each a share of the connections. The first also keeps what only one can
have: the open Turing tests, and the order in which models change.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from igan_zoo.errors import IganZooError
from igan_zoo.serving.server.models.origins import Origin
from igan_zoo.serving.server.settings import ServerSettings

# What a process tells the one that started it, and the only thing that it is told.
_OPEN, _LOADED, _FAILED, _ALL_LOADED = "open", "loaded", "failed", "all loaded"


@dataclass(frozen=True)
class _Part:
    """What one process is given."""

    index: int
    addresses: Sequence[Path]
    origins: Sequence[Origin]
    settings: ServerSettings
    host: str
    listener: socket.socket
    grpc_port: int | None
    pipe: Connection


@dataclass(frozen=True)
class _Started:
    process: BaseProcess
    pipe: Connection


def serve_together(
    origins: Sequence[Origin],
    settings: ServerSettings,
    *,
    host: str,
    port: int,
    announce: Callable[[str], None],
    grpc_port: int | None = None,
) -> None:
    """Does what ``running.serve`` does with ``settings.workers`` processes; if one of them ends, all do.

    Raises:
        IganZooError: a port cannot be had, a model cannot be loaded, or a process was killed.
    """
    from igan_zoo.serving.server.running import announce_all

    if not (hasattr(socket, "SO_REUSEPORT") and hasattr(socket, "AF_UNIX")):
        raise IganZooError("This system does not let several processes share a port; remove --workers.")
    listeners = _shared(host, port, settings.workers)
    bound = listeners[0].getsockname()[1]
    # Bound but not listening, it keeps the port for the processes.
    kept = None if grpc_port is None else _shared(host, grpc_port, 1)[0]
    if kept is not None:
        grpc_port = kept.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="igan-zoo-") as folder:
        sockets = [Path(folder) / str(index) for index in range(settings.workers)]
        started = [
            _start(index, sockets, origins, settings, host, listener, grpc_port)
            for index, listener in enumerate(listeners)
        ]
        with _ending_together(started) as asked_to_end:
            failure = _watch(started, lambda: announce_all(announce, host, bound, grpc_port))
            failure = "" if asked_to_end.is_set() else failure
    if kept is not None:
        kept.close()
    if failure:
        raise IganZooError(failure)


def _start(
    index: int,
    addresses: Sequence[Path],
    origins: Sequence[Origin],
    settings: ServerSettings,
    host: str,
    listener: socket.socket,
    grpc_port: int | None,
) -> _Started:
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    part = _Part(index, addresses, origins, settings, host, listener, grpc_port, theirs)
    process = spawn.Process(target=_work, args=(part,), name=f"igan-zoo {index}")
    process.start()
    theirs.close()
    listener.close()
    return _Started(process, ours)


@contextlib.contextmanager
def _ending_together(started: Sequence[_Started]) -> Iterator[threading.Event]:
    """Hands signals on, of which the event tells, and leaves no process behind."""
    asked_to_end = threading.Event()

    def end(*_: object) -> None:
        asked_to_end.set()
        for one in started:
            one.process.terminate()

    ends = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
    before = {number: signal.signal(number, end) for number in ends}
    before |= {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGUSR1, signal.SIGUSR2)}
    try:
        yield asked_to_end
    finally:
        end()
        for one in started:
            one.process.join()
            one.pipe.close()
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch(started: Sequence[_Started], opened: Callable[[], object]) -> str:
    """Returns when the first process has ended: with a sentence if it failed, else with nothing."""
    by_pipe = {one.pipe: one for one in started}
    counts = {_OPEN: 0, _LOADED: 0}
    while True:
        for pipe in wait(list(by_pipe)):
            one = by_pipe[pipe]  # type: ignore[index]
            try:
                word, sentence = one.pipe.recv()
            except (EOFError, OSError):
                one.process.join()
                code = one.process.exitcode
                name = signal.Signals(-code).name if code is not None and code < 0 else f"code {code}"
                return f"{one.process.name} ended with {name}, so the server stops." if code else ""
            if word == _FAILED:
                return str(sentence)
            counts[word] += 1
            if counts[word] == len(started):
                if word == _OPEN:
                    opened()
                else:
                    _tell_all(started)


def _tell_all(started: Sequence[_Started]) -> None:
    for one in started:
        with contextlib.suppress(OSError):
            one.pipe.send(_ALL_LOADED)


def _work(part: _Part) -> None:
    """Serves in a process of its own until a signal, or until the process that started it is gone."""
    import asyncio

    from igan_zoo.serving.server.middleware.requests_log import Log
    from igan_zoo.serving.server.models.repository import Repository
    from igan_zoo.serving.server.processes.channel import Channel
    from igan_zoo.serving.server.running import prepare, run

    others_loaded = threading.Event()
    threading.Thread(target=_listen_to, args=(part.pipe, others_loaded), daemon=True).start()

    async def loaded() -> None:
        part.pipe.send((_LOADED, ""))
        while not others_loaded.is_set():
            await asyncio.sleep(0.02)

    log = Log(worker=part.index)
    try:
        repository = Repository(part.origins, part.settings)
        repository.all_started = False
        channel = Channel(part.index, part.addresses)
        app, companion = prepare(
            repository, part.settings, host=part.host, grpc_port=part.grpc_port, log=log, channel=channel, loaded=loaded
        )
        run(app, companion, part.listener, lambda _: part.pipe.send((_OPEN, "")), log)
    except IganZooError as error:
        part.pipe.send((_FAILED, str(error)))


def _listen_to(pipe: Connection, others_loaded: threading.Event) -> None:
    with contextlib.suppress(EOFError, OSError):
        while pipe.recv() == _ALL_LOADED:
            others_loaded.set()
    os.kill(os.getpid(), signal.SIGTERM)


def _shared(host: str, port: int, count: int) -> list[socket.socket]:
    """Returns sockets that listen together, at a port that nobody else has."""
    from igan_zoo.serving.server.running import address_of, bound_answers, cannot_listen, listen

    # Without this, another server that shares its port would get a part of the connections, and give a part of its own.
    if port:
        listen(host, port).close()
    family, address = address_of(host, port)
    sockets: list[socket.socket] = []
    try:
        for _ in range(count):
            one = socket.socket(family)
            sockets.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            one.bind((address[0], sockets[0].getsockname()[1] or address[1]))
            bound_answers(one)
    except OSError as error:
        raise cannot_listen(host, port, error) from error
    return sockets
