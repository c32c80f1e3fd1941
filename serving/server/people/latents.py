"""Latents for clients that draw images themselves: those of an address, and directions worth moving along."""

from __future__ import annotations

import asyncio
import io
from functools import partial
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from igan_zoo.serving.server.errors import ProtocolError
from igan_zoo.serving.server.middleware.answers import json_answer
from igan_zoo.serving.server.middleware.query import Query
from igan_zoo.serving.server.models.hosted import HostedGraph
from igan_zoo.serving.server.models.repository import Repository
from igan_zoo.serving.server.people.directions import Direction, principal_directions
from igan_zoo.serving.server.people.routes import MOST_SEED, MOST_START
from igan_zoo.serving.server.settings import ServerSettings

DIRECTIONS = 6
# Images from which directions are found: those of one seed from index 0 on.
_IMAGES, _SEED = 256, 0
# Numbers in one answer: an ImageNet generator's latents are long. In JSON each is an object for a moment.
_MAX_NUMBERS = {"json": 2**20, "npy": 2**22}


def routes(repository: Repository, settings: ServerSettings) -> list[Route]:
    """Returns ``GET /latents`` and ``GET /directions``."""
    found: WeakKeyDictionary[HostedGraph, list[Direction]] = WeakKeyDictionary()

    async def give_latents(request: Request) -> Response:
        """Gives latents by their address (contract 3): as JSON, or as a ``.npy`` file of float32 ``[n, L]``."""
        query = Query(request.query_params.multi_items(), ("model", "seed", "start", "n", "format"))
        generator = generator_of(repository, query)
        count = query.integer("n", 1, least=1, most=settings.max_images)
        seed = query.integer("seed", 0, least=0, most=MOST_SEED)
        start = query.integer("start", 0, least=0, most=MOST_START)
        form = query.choice("format", ("json", "npy"))
        (size,) = generator.graph.input_shape
        most = _MAX_NUMBERS[form] // size
        if count > most:
            raise ProtocolError(f"{count} latents of {size} numbers are too many; ask for {most}.")
        return await repository.aside(_answer, generator, seed, start, count, form)

    async def give_directions(request: Request) -> Response:
        """Gives the directions along which a generator's images change most; found once for each generator."""
        generator = generator_of(repository, Query(request.query_params.multi_items(), ("model",)))
        if generator not in found:
            z = await repository.aside(partial(generator.latents, seed=_SEED, start=0, count=_IMAGES))
            images = (await generator.run({"latent": z}))["images"]
            found[generator] = await asyncio.to_thread(principal_directions, z, images, DIRECTIONS)
        return json_answer({"directions": [_as_json(direction) for direction in found[generator]]})

    return [
        Route("/latents", give_latents, methods=["GET"]),
        Route("/directions", give_directions, methods=["GET"]),
    ]


def _answer(generator: HostedGraph, seed: int, start: int, count: int, form: str) -> Response:
    drawn = generator.latents(seed=seed, start=start, count=count)
    if form == "npy":
        return Response(_npy(drawn), media_type="application/octet-stream")
    return json_answer({"latents": drawn.astype(np.float64).tolist()})


def _as_json(found: Direction) -> dict[str, object]:
    numbers = found.direction.astype(np.float64).tolist()
    return {"direction": numbers, "spread": found.spread, "explained": found.explained}


def generator_of(repository: Repository, query: Query) -> HostedGraph:
    """Returns the generator of the model that a query names.

    Raises:
        ProtocolError: it names none.
        UnknownNameError: there is no such model, or it has no generator.
    """
    name = query.text("model")
    if name is None:
        raise ProtocolError("Which model? Add ?model=NAME.")
    return repository.model(name).graph("generator")


def _npy(array: NDArray[np.float32]) -> bytes:
    content = io.BytesIO()
    np.lib.format.write_array(content, array.astype("<f4"), version=(1, 0), allow_pickle=False)
    return content.getvalue()
