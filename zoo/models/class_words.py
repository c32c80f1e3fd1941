"""Words for ImageNet's classes, whose folders are called by the numbers of WordNet's synsets.

``imagenet_words.tsv`` has the first word of each of the 1,000 synsets in WordNet 3.0, which is copyright 2006 by
Princeton University and free to use, copy and distribute with that notice.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

_SYNSET = re.compile(r"n\d{8}")


def readable(classes: Sequence[str]) -> tuple[str, ...]:
    """Returns the names of classes for people: a synset's first word in place of its number, others as they are."""
    if not any(_SYNSET.fullmatch(name) for name in classes):
        return tuple(classes)
    return tuple(_words().get(name, name) for name in classes)


@cache
def _words() -> dict[str, str]:
    text = files("igan_zoo.models").joinpath("imagenet_words.tsv").read_text(encoding="utf-8")
    return dict(line.split("\t") for line in text.splitlines())
