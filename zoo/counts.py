"""Counts in sentences."""

from __future__ import annotations


def counted(count: float, noun: str) -> str:
    """Returns a count with its noun, given in the singular: ``1 class``, ``2 classes``, ``1,000 images``."""
    number = f"{int(count):,}" if float(count).is_integer() else f"{count:g}"
    return f"{number} {noun if count == 1 else plural(noun)}"


def plural(noun: str) -> str:
    """Returns the plural of a regular noun."""
    hisses = noun.endswith(("s", "x", "ch", "sh")) and noun != "epoch"
    return f"{noun}es" if hisses else f"{noun}s"


def none_usable(count: int, noun: str, place: str) -> str:
    """Returns that of ``count`` things of ``place`` none can be used, as the beginning of a sentence."""
    if count == 1:
        return f"The only {noun} of {place} cannot be used"
    return f"None of the {count:,} {plural(noun)} of {place} can be used"
