"""The command that serves models over HTTP: serve."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from igan_zoo.commands.completion import MODEL
from igan_zoo.commands.options import VARIANTS, host_option, port_option, precision_option, server_token_option
from igan_zoo.errors import missing_extra

_POSITIVE = click.IntRange(min=1)
_SECONDS = click.FloatRange(min=0)
_POSITIVE_SECONDS = click.FloatRange(min=0, min_open=True)


@click.command()
@click.argument("models", nargs=-1, metavar="[MODEL[@DEVICE]...]", type=MODEL)
@host_option
@port_option
@click.option("--grpc-port", type=click.IntRange(0, 65535), help="Port for gRPC; 0 picks a free one.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", help="Device for models without @DEVICE.")
@click.option("--variant", type=VARIANTS, help="Variant to serve of each graph that has it.")
@precision_option
@click.option(
    "--threads", type=_POSITIVE, help="Threads per session.  [default: the cores, divided among the sessions]"
)
@click.option(
    "--workers",
    type=_POSITIVE,
    default=1,
    show_default=True,
    help="Processes that share the port, each with all models and the limits below.",
)
@click.option(
    "--max-batch", type=_POSITIVE, default=32, show_default=True, help="Largest number of images that run together."
)
@click.option(
    "--max-wait",
    type=_SECONDS,
    default=2.0,
    show_default=True,
    help="Milliseconds a batch waits for more requests.",
)
@click.option("--queue", type=_POSITIVE, default=256, show_default=True, help="Requests that may wait per graph.")
@click.option("--deadline", type=_SECONDS, default=10.0, show_default=True, help="Seconds a request may wait.")
@click.option(
    "--concurrency", type=_POSITIVE, default=512, show_default=True, help="Requests handled at the same time."
)
@click.option("--max-body", type=_POSITIVE, default=32, show_default=True, help="Megabytes per request.")
@click.option("--max-images", type=_POSITIVE, default=4096, show_default=True, help="Images per request.")
@click.option(
    "--max-upload", type=_POSITIVE, default=4096, show_default=True, help="Megabytes per upload of images to score."
)
@click.option("--max-score-images", type=_POSITIVE, default=50_000, show_default=True, help="Images per score.")
@click.option(
    "--body-timeout",
    type=_POSITIVE_SECONDS,
    default=20.0,
    show_default=True,
    help="Seconds within which a body must arrive.",
)
@click.option(
    "--upload-timeout",
    type=_POSITIVE_SECONDS,
    default=3600.0,
    show_default=True,
    help="Seconds within which images to score must arrive.",
)
@click.option(
    "--min-rate",
    type=_POSITIVE,
    default=4,
    show_default=True,
    help="Kilobytes per second that such an upload must sustain.",
)
@click.option(
    "--idle-timeout",
    type=_POSITIVE_SECONDS,
    default=60.0,
    show_default=True,
    help="Seconds a client may be silent.",
)
@click.option(
    "--per-address",
    type=click.IntRange(min=0),
    default=256,
    show_default=True,
    help="Bodies in transit per client address; 0 means no limit.",
)
@click.option(
    "--max-connections",
    type=_POSITIVE,
    default=2048,
    show_default=True,
    help="Open HTTP connections; a quarter as many more for gRPC.",
)
@click.option("--max-bodies", type=_POSITIVE, default=256, show_default=True, help="Megabytes of all bodies in memory.")
@click.option(
    "--max-spool", type=_POSITIVE, default=1024, show_default=True, help="Megabytes of all zip archives on disk."
)
@click.option(
    "--grace",
    type=_SECONDS,
    default=30.0,
    show_default=True,
    help="Seconds to complete accepted requests after SIGTERM.",
)
@server_token_option("--token", "IGAN_ZOO_TOKEN", "Bearer token required on every route.")
@server_token_option("--admin-token", "IGAN_ZOO_ADMIN_TOKEN", "Bearer token required to load and unload models.")
@click.option("--allow-load", is_flag=True, help="Let clients load and unload models.")
@click.option(
    "--cors",
    multiple=True,
    metavar="ORIGIN",
    help="Origin whose pages may call this server; may be given several times.",
)
@click.option(
    "--allow-host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="Host name under which a proxy forwards requests; may be given several times.",
)
@click.option(
    "--real",
    metavar="[MODEL=]SOURCE",
    multiple=True,
    help="Real images for the page's Turing test and examples; may be given for each model.",
)
@click.option("--real-split", help="Part of the real images to show.")
@click.option(
    "--turing-results",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to append the answers of Turing tests to.",
)
@click.option(
    "--reload",
    type=_SECONDS,
    default=2.0,
    show_default=True,
    help="Seconds between checks for changed models; 0 disables them.",
)
@click.option(
    "--load-timeout",
    type=_POSITIVE_SECONDS,
    default=60.0,
    show_default=True,
    help="Seconds a changed or added model may take to load.",
)
@click.option(
    "--traces",
    metavar="URL",
    envvar="OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    help="OpenTelemetry collector to send a span per request to, by OTLP over HTTP.",
)
@click.option("--log-requests/--no-log-requests", default=True, show_default=True, help="Log one line per request.")
def serve(
    models: tuple[str, ...],
    host: str,
    port: int,
    grpc_port: int | None,
    device: Any,
    max_wait: float,
    min_rate: int,
    max_body: int,
    max_bodies: int,
    max_upload: int,
    max_spool: int,
    **options: Any,
) -> None:
    """Serve models over HTTP: Open Inference Protocol, simple routes, a page, metrics.

    Without MODEL, serves the one pulled last, or a bundled one. A directory with numbered folders is a model
    with versions.
    """
    try:
        from igan_zoo.serving.server.processes.starting import serve_together
        from igan_zoo.serving.server.running import serve as run
    except ImportError as error:
        raise missing_extra(error, "serve") from error
    from igan_zoo.serving.server.models.origins import find_origin
    from igan_zoo.serving.server.models.repository import Repository
    from igan_zoo.serving.server.settings import MEGABYTE, ServerSettings

    settings = ServerSettings(
        max_wait=max_wait / 1000,
        min_rate=min_rate * 1024,
        max_body=max_body * MEGABYTE,
        max_bodies=max_bodies * MEGABYTE,
        max_upload=max_upload * MEGABYTE,
        max_spool=max_spool * MEGABYTE,
        **options,
    )
    origins = [find_origin(model, device) for model in (models or (None,))]
    for origin in origins:
        click.echo(f"{origin.name} ({origin.path}) for {origin.device}", err=True)

    def announce(address: str) -> None:
        click.echo(f"Serving at {address} (process {os.getpid()}); stop with Ctrl-C or SIGTERM.", err=True)

    place: Any = {"host": host, "port": port, "announce": announce, "grpc_port": grpc_port}
    if settings.workers > 1:
        serve_together(origins, settings, **place)
    else:
        run(Repository(origins, settings), settings, **place)
