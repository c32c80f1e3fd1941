"""Words in place of ImageNet's numbers."""

from __future__ import annotations

import re
from pathlib import Path

from igan_zoo.models.class_words import readable

TABLE = Path(__file__).parents[3] / "zoo" / "models" / "imagenet_words.tsv"


def test_synsets_become_words_and_other_names_stay() -> None:
    assert readable(("n01440764", "n02102040", "n99999999")) == ("tench", "English springer", "n99999999")
    assert readable(("cat", "n0244")) == ("cat", "n0244")


def test_the_thousand_words_differ() -> None:
    rows = [line.split("\t") for line in TABLE.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == len({synset for synset, _ in rows}) == len({word for _, word in rows}) == 1000
    assert all(re.fullmatch(r"n\d{8}", synset) and word.strip() == word != "" for synset, word in rows)
