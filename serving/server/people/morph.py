"""Morphs: a short animation from one generated image to another and back, as an animated WebP or GIF."""

from __future__ import annotations

import asyncio
import io

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from igan_zoo.images.pixels import to_pillow
from igan_zoo.latents import Distribution
from igan_zoo.serving.server.middleware.disconnects import while_connected
from igan_zoo.serving.server.middleware.query import Query
from igan_zoo.serving.server.middleware.requests_log import MODEL
from igan_zoo.serving.server.models.hosted import HostedGraph
from igan_zoo.serving.server.models.repository import Repository
from igan_zoo.serving.server.people.latents import generator_of
from igan_zoo.serving.server.people.routes import MOST_SEED

# Images from one end to the other; an animation shows all but the ends a second time on its way back.
FRAMES, MOST_FRAMES = 24, 60
# Small images are enlarged by whole pixels to about this many a side.
_SIDE = 256
_MILLISECONDS = 60
_AT_THE_ENDS = 500
# Nearer than this the arc between two latents is as good as a line.
_LEAST_ANGLE = 1e-3


def routes(repository: Repository) -> list[Route]:
    """Returns ``GET /morph``."""

    async def give_morph(request: Request) -> Response:
        """Gives the way from image 0 of one seed to image 0 of another and back, as an animation."""
        query = Query(request.query_params.multi_items(), ("model", "from", "to", "frames", "format"))
        generator = generator_of(repository, query)
        seeds = [query.integer(end, default, least=0, most=MOST_SEED) for end, default in (("from", 0), ("to", 1))]
        most = min(MOST_FRAMES, generator.max_rows)
        count = query.integer("frames", min(FRAMES, most), least=2, most=most)
        form = query.choice("format", ("webp", "gif"))
        request.scope[MODEL] = generator.name
        images = await while_connected(request.receive, _draw(generator, seeds, count))
        content = await repository.aside(animation, images, form)
        name = f"{generator.model.name}-{seeds[0]}-to-{seeds[1]}.{form}".encode("ascii", "replace").decode()
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(content, headers=headers, media_type=f"image/{form}")

    return [Route("/morph", give_morph, methods=["GET"])]


async def _draw(generator: HostedGraph, seeds: list[int], count: int) -> NDArray[np.uint8]:
    first, last = [generator.latents(seed=seed, start=0, count=1)[0] for seed in seeds]
    z = await asyncio.to_thread(way, first, last, count, generator.loaded.latents.distribution)
    return (await generator.run({"latent": z}))["images"]


def way(
    first: NDArray[np.float32], last: NDArray[np.float32], count: int, distribution: Distribution
) -> NDArray[np.float32]:
    """Returns ``count`` latents from ``first`` ``[L]`` to ``last``, float32 ``[count, L]``, in equal steps.

    They lie on a line, which stays in the range of uniform latents. Normal ones all have about one length, which a line
    would cut short in the middle: they lie on an arc.
    """
    steps = np.linspace(0, 1, count)[:, None]
    weights = 1 - steps, steps
    if distribution == "normal":
        cosine = np.dot(first, last) / np.sqrt(np.dot(first, first) * np.dot(last, last))
        angle = np.arccos(np.clip(cosine, -1, 1))
        if _LEAST_ANGLE < angle < np.pi - _LEAST_ANGLE:
            weights = np.sin((1 - steps) * angle) / np.sin(angle), np.sin(steps * angle) / np.sin(angle)
    between: NDArray[np.float32] = (weights[0] * first + weights[1] * last).astype(np.float32)
    return between


def animation(images: NDArray[np.uint8], form: str) -> bytes:
    """Returns uint8 ``[N, H, W, C]`` as an animation without end, there and back: ``form`` is ``webp`` or ``gif``."""
    factor = max(1, _SIDE // max(images.shape[1:3]))
    enlarged = images.repeat(factor, axis=1).repeat(factor, axis=2)
    pictures = [to_pillow(image) for image in enlarged]
    shown = [*pictures, *pictures[-2:0:-1]]
    durations = [_MILLISECONDS] * len(shown)
    durations[0] = durations[len(pictures) - 1] = _AT_THE_ENDS
    content = io.BytesIO()
    options = {"lossless": True, "method": 2} if form == "webp" else {"disposal": 1}
    shown[0].save(
        content,
        format=form.upper(),
        save_all=True,
        append_images=shown[1:],
        duration=durations,
        loop=0,
        **options,
    )
    return content.getvalue()
