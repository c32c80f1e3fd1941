"""Loads a model in a process of its own first, which can be ended: a thread that loads a graph cannot.

What changes on a server's disk may take any time to load, or crash the process that tries: a few nodes, folded as they
are loaded, are hours of work.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import DEVNULL
from pathlib import Path
from typing import cast

from igan_zoo.counts import counted
from igan_zoo.errors import IganZooError, InterfaceError
from igan_zoo.models import store
from igan_zoo.models.spec import Variant
from igan_zoo.serving.engine import Device, Precision
from igan_zoo.serving.server.models.origins import LoadOptions, load_role, load_single, roles_of

_COMMAND = (sys.executable, "-m", __name__)


async def try_to_load(path: Path, device: Device, options: LoadOptions, seconds: float) -> None:
    """Waits for a process that loads all graphs of a model. What it finds wrong is found again, and told, afterwards.

    Raises:
        InterfaceError: it takes longer, or its process ended by a signal.
    """
    told = (str(path.absolute()), device, str(options.threads or 1), options.variant or "", options.precision)
    process = await asyncio.create_subprocess_exec(*_COMMAND, *told, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL)
    try:
        async with asyncio.timeout(seconds):
            ended = await process.wait()
    except TimeoutError:
        raise InterfaceError(
            f"{path} was not loaded within {counted(seconds, 'second')}; if it is that large, raise --load-timeout."
        ) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if ended < 0:
        raise InterfaceError(f"{path} crashed the process that loaded it on trial ({signal.Signals(-ended).name}).")


def main(path: str, device: str, threads: str, variant: str, precision: str) -> None:
    """Loads a model and forgets it."""
    model = store.resolve(path)
    options = LoadOptions(int(threads), cast("Variant", variant or None), cast("Precision", precision))
    roles = roles_of(model)
    if roles is None:
        load_single(model, cast("Device", device), options)
    for role in roles or ():
        load_role(model, role, cast("Device", device), options)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except IganZooError:
        sys.exit(1)
