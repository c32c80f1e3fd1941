"""Images of a generator as one picture or one archive of arrays, the bytes that ``igan-zoo sample`` writes."""

from __future__ import annotations

import asyncio
import io

import numpy as np
from numpy.typing import NDArray

from igan_zoo.images.pixels import encode_png, grid
from igan_zoo.serving.sample_writers import Samples, npz_archive
from igan_zoo.serving.server.errors import ProtocolError
from igan_zoo.serving.server.models.hosted import HostedGraph

Images = NDArray[np.uint8]


async def sample_images(graph: HostedGraph, *, seed: int, start: int, count: int) -> Images:
    """Returns images ``start`` to ``start + count - 1`` of ``seed``, uint8 ``[count, H, W, C]`` (contract 3).

    Raises:
        QueueFullError, DeadlineError: as ``HostedGraph.run``.
        InterfaceError: a single ONNX file that does not say how its latents are distributed.
    """
    z = await asyncio.to_thread(graph.latents, seed=seed, start=start, count=count)
    return (await graph.run({"latent": z}))["images"]


async def images_of_latents(graph: HostedGraph, rows: list[list[float]]) -> Images:
    """Returns the images of latents that were given as numbers, uint8 ``[N, H, W, C]``.

    Raises:
        ProtocolError: they are not ``[N, L]`` finite numbers.
        QueueFullError, DeadlineError: as ``HostedGraph.run``.
    """
    (size,) = graph.graph.input_shape
    wrong = next((len(row) for row in rows if len(row) != size), None)
    if wrong is not None:
        raise ProtocolError(f"A latent of {graph.name} has {size} numbers, not {wrong}.")
    with np.errstate(over="ignore"):
        z = np.array(rows, np.float64).astype(np.float32)
    if not np.isfinite(z).all():
        raise ProtocolError("A latent has a number that is too large for float32.")
    return (await graph.run({"latent": z}))["images"]


def png_grid(images: Images) -> bytes:
    """Returns uint8 ``[N, H, W, C]`` arranged in one PNG picture."""
    file = io.BytesIO()
    encode_png(file, grid(images))
    return file.getvalue()


def npz_samples(images: Images, *, seed: int, start: int) -> bytes:
    """Returns uint8 ``[N, H, W, C]`` as the ``.npz`` archive that ``igan-zoo sample`` writes."""
    file = io.BytesIO()
    with npz_archive(file, Samples(images.shape[1:], seed, start, len(images))) as add:
        add(images)
    return file.getvalue()


def npz_images(images: Images) -> bytes:
    """Returns uint8 ``[N, H, W, C]`` as an ``.npz`` archive of ``images`` alone."""
    file = io.BytesIO()
    np.savez(file, images=images)
    return file.getvalue()
