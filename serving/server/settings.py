"""What a server is started with: limits, batching, tokens, what it allows."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from igan_zoo.spec import Variant

MEGABYTE = 2**20

# Paths whose bodies are worked on as they arrive, and never kept.
STREAMED = frozenset({"/score"})


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
    # The same of a request whose images are scored as they arrive; its body only has to keep coming.
    max_upload: int = 4096 * MEGABYTE
    max_score_images: int = 50_000
    # Requests at a time, whatever they ask for.
    concurrency: int = 512
    # Threads of each session, by default the cores shared out among the sessions.
    threads: int | None = None
    variant: Variant | None = None
    token: str | None = field(default=None, repr=False)
    admin_token: str | None = field(default=None, repr=False)
    allow_load: bool = False
    # Origins whose pages may call this server.
    cors: tuple[str, ...] = ()
    # How often the model directories are looked at for changes; 0 is never.
    reload: float = 2.0
    # How long accepted requests have when the server stops.
    grace: float = 30.0
    log_requests: bool = True
    # Of visual Turing tests: a source of real images and its split, the rounds that are proposed, the file of answers.
    real: str | None = None
    real_split: str | None = None
    turing_rounds: int = 20
    turing_results: Path | None = None

    def body_limit(self, path: str) -> int:
        """Returns how many bytes the body of a request to ``path`` may have."""
        return self.max_upload if path in STREAMED else self.max_body
