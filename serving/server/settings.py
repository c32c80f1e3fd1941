"""What a server is started with: limits, batching, tokens, what it allows."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from igan_zoo.errors import SpecificationError
from igan_zoo.models.spec import Variant
from igan_zoo.serving.engine import Precision
from igan_zoo.serving.server.rules import Body

MEGABYTE = 2**20

# Bytes of a body where nothing large is meant.
SMALL_BODY = 64 * 1024


@dataclass(frozen=True)
class ServerSettings:
    """The options of ``igan-zoo serve``. Times are seconds; a limit is the largest value that is still taken."""

    # Batches: at most so many images, and how long the first of a batch waits for others.
    max_batch: int = 32
    max_wait: float = 0.002
    # Requests that wait for each graph, and how long one may wait before it is given up.
    queue: int = 256
    deadline: float = 10.0
    # Of one request: bytes of its body, images it asks for, time until its body has come.
    max_body: int = 32 * MEGABYTE
    max_images: int = 4096
    body_timeout: float = 20.0
    # The same of a request whose images are scored as they arrive. Its body must not pause for ``body_timeout``, and
    # come at the least rate in bytes a second; the time that it is waited for counts.
    max_upload: int = 4096 * MEGABYTE
    max_score_images: int = 50_000
    upload_timeout: float = 3600.0
    min_rate: int = 4096
    # Requests at a time, whatever they ask for; of one address those whose body is on its way, 0 is no limit.
    concurrency: int = 512
    per_address: int = 256
    # Of all requests: bytes of bodies and answers in memory, and of archives in temporary files.
    max_bodies: int = 256 * MEGABYTE
    max_spool: int = 1024 * MEGABYTE
    # Connections at a time, and how long one may be silent between requests or messages.
    max_connections: int = 2048
    idle_timeout: float = 60.0
    # Processes, each with all models and limits of its own.
    workers: int = 1
    # Threads of each session, by default the cores shared out among the sessions.
    threads: int | None = None
    variant: Variant | None = None
    precision: Precision = "fp32"
    token: str | None = field(default=None, repr=False)
    admin_token: str | None = field(default=None, repr=False)
    allow_load: bool = False
    # Origins whose pages may call this server, and the names by which it may be called; without any, every name.
    cors: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    # How often the model directories are looked at for changes; 0 is never.
    reload: float = 2.0
    # How long a model may take that is loaded later than at the start.
    load_timeout: float = 60.0
    # How long accepted requests have when the server stops.
    grace: float = 30.0
    log_requests: bool = True
    # Where spans of requests go, over OTLP with HTTP.
    traces: str | None = None
    # Of visual Turing tests: sources of real images, SOURCE for all models or MODEL=SOURCE for one, their split, the
    # rounds that are proposed, the file of answers.
    real: tuple[str, ...] = ()
    real_split: str | None = None
    turing_rounds: int = 20
    turing_results: Path | None = None

    def __post_init__(self) -> None:
        """Checks the tokens, and that one request leaves room for others.

        Raises:
            SpecificationError: a token is empty, or has what no header can carry; a body may fill the memory.
        """
        for name, token in (("token", self.token), ("admin token", self.admin_token)):
            check_token(name, token)
        if self.max_bodies < 2 * self.max_body:
            raise SpecificationError(
                f"A body may have {self.max_body} bytes, but all together {self.max_bodies}; let --max-bodies be at "
                "least twice --max-body."
            )

    @property
    def grpc_connections(self) -> int:
        """How many connections gRPC has at a time, which carry many calls each."""
        return max(1, self.max_connections // 4)

    def body_limit(self, kind: Body) -> int:
        """Returns how many bytes a body of this kind may have."""
        return {Body.SMALL: min(SMALL_BODY, self.max_body), Body.LARGE: self.max_body, Body.STREAMED: self.max_upload}[
            kind
        ]


def check_token(name: str, token: str | None) -> None:
    """Does nothing for a token that a client can send.

    Raises:
        SpecificationError: it is empty, or has spaces, line breaks or letters beyond ASCII.
    """
    if token is None:
        return
    if not token:
        raise SpecificationError(f"The {name} is empty, which would open the server; set one, or remove the option.")
    if not all("!" <= character <= "~" for character in token):
        what = (
            "ends with a line break" if token.endswith("\n") else "has a space, a line break or a letter beyond ASCII"
        )
        raise SpecificationError(f"The {name} {what}, which no client can send; use printable ASCII without spaces.")
