"""Counts in sentences."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """Returns a count with its noun, given in the singular: ``1 class``, ``2 classes``, ``1,000 images``."""
    return f"{count:,} {noun if count == 1 else plural(noun)}"


def plural(noun: str) -> str:
    """Returns the plural of a regular noun."""
    return f"{noun}es" if noun.endswith(("s", "x", "ch", "sh")) else f"{noun}s"
