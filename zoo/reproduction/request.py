"""What was asked of a reproduction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from igan_zoo.paper import SEEDS
from igan_zoo.reproduction.published import Row, Table
from igan_zoo.serving.scoring.network import Network

# The paper's number of images behind a score.
IMAGES = 50_000


@dataclass(frozen=True)
class Request:
    """One call. ``budget`` is in minutes of training; with None nothing is trained.

    ``runs`` and ``models`` are folders of what was trained before, ``inception`` the network of the Inception score,
    ``scorers`` other networks by name, ``images`` how many a score is of. ``say`` takes sentences about the progress.
    """

    table: Table
    rows: tuple[Row, ...]
    data: str
    out: Path
    budget: float | Literal["full"] | None = None
    seeds: int | None = None
    threads: int | None = None
    runs: tuple[Path, ...] = ()
    models: tuple[Path, ...] = ()
    inception: Network | None = None
    scorers: tuple[str, ...] = ()
    images: int = IMAGES
    note: str | None = None
    command: str = ""
    say: Callable[[str], None] = lambda _: None

    @property
    def is_full(self) -> bool:
        """Whether the paper's whole protocol was asked for."""
        return self.budget == "full"

    @property
    def seconds(self) -> float | None:
        """The budget in seconds; None is without an end."""
        return None if self.budget is None or self.budget == "full" else 60 * self.budget

    @property
    def seed_count(self) -> int:
        """The seeds of every row: as given, else the paper's for its whole protocol and one for a budget."""
        return self.seeds or (SEEDS if self.is_full else 1)

    @property
    def budget_text(self) -> str | None:
        """The budget in words."""
        if self.budget is None or self.budget == "full":
            return "the paper's whole protocol" if self.budget else None
        return f"{self.budget:g} minute{'' if self.budget == 1 else 's'} of training"

    @property
    def own_runs(self) -> Path:
        """Where this reproduction trains."""
        return self.out / "runs"
