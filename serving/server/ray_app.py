"""The server's app under Ray Serve, which starts and ends replicas of it as requests come and go.

serve run igan_zoo.serving.server.ray_app:build models=mnist-ssl,cifar10-ssl max_replicas=8
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from igan_zoo.errors import MissingExtraError, SpecificationError, first_line, pip_install
from igan_zoo.serving.engine import Device
from igan_zoo.serving.server.app import create_app
from igan_zoo.serving.server.models.origins import find_origin
from igan_zoo.serving.server.models.repository import Repository
from igan_zoo.serving.server.settings import ServerSettings

if TYPE_CHECKING:
    from ray.serve import Application
    from starlette.types import ASGIApp


class RaySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What ``build`` is given; ``server`` is as everywhere, its names those of ``ServerSettings``.

    ``models`` are separated by commas, and every machine has them. A replica has ``cpus`` cores, as many threads, and
    ``gpus`` devices. Replicas are added while each has more than ``target_ongoing_requests`` on average, which is two
    full batches: one runs while the other fills. A replica is given no more than ``max_ongoing_requests`` at a time,
    and Ray answers with 503 what waits beyond ``max_queued_requests``.
    """

    models: str
    device: Device = "cpu"
    min_replicas: int = 1
    max_replicas: int = 4
    cpus: float = 1
    gpus: float = 0
    target_ongoing_requests: int = 64
    max_ongoing_requests: int = 128
    max_queued_requests: int = 256
    server: ServerSettings = ServerSettings()


def build(options: Mapping[str, Any]) -> Application:
    """Returns the application for ``serve.run``, ``serve run`` and Serve's configuration files.

    ``options`` are the fields of ``RaySettings``, as text where they come from a command line.

    Raises:
        SpecificationError: an option is unknown or of another type, or a number cannot be.
        MissingExtraError: Ray Serve is not installed.
    """
    settings = _settings(options)
    try:
        from ray import serve
    except ImportError:
        raise MissingExtraError(f"Ray Serve needs the ray extra: {pip_install('ray,serve,cpu')}.") from None

    def app() -> ASGIApp:
        return load_app(settings)

    deployment = serve.deployment(
        serve.ingress(app)(),
        name="igan-zoo",
        ray_actor_options={"num_cpus": settings.cpus, "num_gpus": settings.gpus},
        autoscaling_config={
            "min_replicas": settings.min_replicas,
            "max_replicas": settings.max_replicas,
            "target_ongoing_requests": settings.target_ongoing_requests,
        },
        max_ongoing_requests=settings.max_ongoing_requests,
        max_queued_requests=settings.max_queued_requests,
        graceful_shutdown_timeout_s=settings.server.grace,
    )
    return deployment.bind()


def load_app(settings: RaySettings) -> ASGIApp:
    """Returns the app of one replica with its models loaded: Ray sends it no request before.

    Raises:
        UnknownNameError, ModelDirectoryError, ChecksumError, DeviceError: as :meth:`Repository.load_all`.
    """
    server = replace(settings.server, threads=settings.server.threads or max(1, int(settings.cpus)))
    origins = [find_origin(name.strip(), settings.device) for name in settings.models.split(",")]
    repository = Repository(origins, server)
    repository.load_all()
    return create_app(repository, server)


def _settings(options: Mapping[str, Any]) -> RaySettings:
    try:
        settings = msgspec.convert(dict(options), RaySettings, strict=False)
    except msgspec.ValidationError as error:
        raise SpecificationError(f"Ray Serve was given invalid options: {first_line(error)}") from error
    if not 0 <= settings.min_replicas <= settings.max_replicas or settings.max_replicas < 1:
        raise SpecificationError(
            f"min_replicas is {settings.min_replicas} and max_replicas {settings.max_replicas}: the first must not be "
            "larger, and the second is at least 1."
        )
    return settings
