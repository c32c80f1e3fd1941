"""Converting a file of weights, as the command does it, without its messages."""

from __future__ import annotations

from pathlib import Path

from igan_zoo.serving.scorers.converting import ScorerKind, convert, scorer_name
from igan_zoo.serving.scorers.weights import open_weights


def converted(kind: ScorerKind, weights: Path, folder: Path) -> Path:
    """The scorer of ``weights`` as a file of its own name in ``folder``."""
    file = open_weights(weights)
    path = folder / f"{scorer_name(kind, file)}.onnx"
    path.write_bytes(convert(kind, file))
    return path
