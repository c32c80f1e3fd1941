"""A server in a process of its own, on free ports."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_ADDRESS = re.compile(r"Serving at (http|grpc)://(\S+)")


@dataclass(frozen=True)
class Running:
    """A server that is ready: addresses as host and port, its process, and the file that its stderr goes to."""

    http: str
    grpc: str
    process: subprocess.Popen[bytes]
    log: Path


@contextmanager
def serving(folder: Path, *arguments: object) -> Iterator[Running]:
    """Runs ``igan-zoo serve`` with the arguments, and stops it with SIGTERM."""
    log = folder / "serve.log"
    command = [sys.executable, "-m", "igan_zoo", "serve", *map(str, arguments), "--port", "0", "--grpc-port", "0"]
    with log.open("wb") as file, subprocess.Popen(command, stderr=file) as process:
        try:
            found: dict[str, str] = {}
            deadline = time.monotonic() + 60
            while len(found) < 2 or '"event":"ready"' not in log.read_text():
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
                found = dict(_ADDRESS.findall(log.read_text()))
            yield Running(found["http"], found["grpc"], process, log)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
