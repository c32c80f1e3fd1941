"""The visual Turing test of sections 4 and 6: images and a command to prepare one, and a summary of its answers."""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from msgspec import Struct

from igan_zoo import store
from igan_zoo.errors import DataError
from igan_zoo.files import atomic_file
from igan_zoo.images import write_image
from igan_zoo.reproduction.published import HUMAN_RESULTS
from igan_zoo.serving.image_sources import open_source
from igan_zoo.serving.model_source import open_model
from igan_zoo.serving.scoring.gathering import choose_images

# The 97.5 % point of the normal distribution: intervals are of 95 %.
_QUANTILE = 1.959963984540054

Kind = Literal["real", "generated"]


class Answer(Struct, frozen=True):
    """What a summary needs of an answer that ``igan-zoo turing`` writes as a line of JSON."""

    test: str
    model: str
    feedback: bool
    rounds: int
    kind: Kind
    answer: Kind


class Summary(Struct, frozen=True):
    """The finished tests of a model, with or without feedback: the share of right answers, its interval of 95 %, and
    the share of generated images that were taken for real ones.
    """

    model: str
    feedback: bool
    tests: int
    votes: int
    right: int
    right_percent: float
    low_percent: float
    high_percent: float
    fooled_percent: float | None


def read_answers(files: Iterable[Path]) -> list[Answer]:
    """Returns the answers in JSONL files; what a crash left of a last line is passed over.

    Raises:
        DataError: a file is missing, or a line is something else than an answer.
    """
    answers = []
    for path in files:
        try:
            lines = path.read_bytes().splitlines()
        except OSError as error:
            raise DataError(f"Cannot read the results {path}: {error.strerror}.") from error
        for number, line in enumerate(lines, 1):
            try:
                answers.append(msgspec.json.decode(line, type=Answer))
            except msgspec.ValidationError as error:
                raise DataError(f"Line {number} of {path} is not an answer of a Turing test: {error}.") from error
            except msgspec.DecodeError:
                continue
    return answers


def summarize(answers: Iterable[Answer]) -> list[Summary]:
    """Returns the sums by model and condition. Unfinished tests do not count: who is right more often may go on."""
    tests: dict[tuple[str, bool, str], list[Answer]] = defaultdict(list)
    for answer in answers:
        tests[answer.model, answer.feedback, answer.test].append(answer)
    by_condition: dict[tuple[str, bool], list[list[Answer]]] = defaultdict(list)
    for (model, feedback, _), given in tests.items():
        if len(given) >= given[0].rounds:
            by_condition[model, feedback].append(given)
    return [_summary(model, feedback, finished) for (model, feedback), finished in sorted(by_condition.items())]


def _summary(model: str, feedback: bool, finished: Sequence[Sequence[Answer]]) -> Summary:
    votes = [answer for given in finished for answer in given]
    right = sum(answer.kind == answer.answer for answer in votes)
    generated = [answer for answer in votes if answer.kind == "generated"]
    fooled = 100 * sum(answer.answer == "real" for answer in generated) / len(generated) if generated else None
    low, high = wilson_interval(right, len(votes))
    return Summary(
        model, feedback, len(finished), len(votes), right, 100 * right / len(votes), 100 * low, 100 * high, fooled
    )


def wilson_interval(hits: int, total: int) -> tuple[float, float]:
    """Returns the 95 % score interval (Wilson, 1927) of a share: ``hits`` of ``total``."""
    if total == 0:
        return 0.0, 1.0
    share, square = hits / total, _QUANTILE**2 / total
    centre = (share + square / 2) / (1 + square)
    half = _QUANTILE * math.sqrt(share * (1 - share) / total + square / (4 * total)) / (1 + square)
    # At the ends the limit is the share itself, which rounding would miss.
    return (centre - half if hits else 0.0), (centre + half if hits < total else 1.0)


def prepare_test(out: Path, model: str, data: str | None, *, images: int, seed: int) -> dict[str, Any]:
    """Writes real and generated images as PNG files and returns what is needed to show them to people.

    Real ones are a seeded choice of the split test, generated ones the first of ``seed``.

    Raises:
        DataError, UnknownNameError, ModelDirectoryError: the data or the model is not there, or has too few images.
        OutputError: ``out`` cannot be written.
    """
    chosen = store.resolve(model)
    if chosen.directory is None:
        raise DataError(f"{model} is a single file; give a model directory or a name, which know their data.")
    source = open_source(data or chosen.directory.spec.dataset.id, split="test")
    places = choose_images(len(source), images, seed)
    channels = chosen.directory.spec.image.channels
    for number, image in enumerate(source.fetch([int(place) for place in places])):
        write_image(out / "real" / f"{number:05d}.png", image.decode(channels))
    drawn = open_model(chosen, count=images, seed=seed)
    for number, image in enumerate(drawn.fetch(range(images))):
        write_image(out / "generated" / f"{number:05d}.png", np.asarray(image.decode(channels)))
    shown = os.path.relpath(chosen.path)
    reference = chosen.name if ".." in shown else shown
    return {
        "model": chosen.name,
        "data": source.reference,
        "images": images,
        "seed": seed,
        "command": f"igan-zoo turing --real {out / 'real'} --model {reference}",
    }


def record(prepared: dict[str, Any] | None, summaries: Sequence[Summary]) -> dict[str, Any]:
    """Returns a report as JSON has it."""
    return {
        "table": "turing",
        "paper": [msgspec.to_builtins(result) for result in HUMAN_RESULTS],
        "prepared": prepared,
        "ours": [msgspec.to_builtins(summary) for summary in summaries],
    }


def markdown(prepared: dict[str, Any] | None, summaries: Sequence[Summary]) -> str:
    """Returns the report as a page."""
    lines = [
        "# Can people tell generated images from real ones?",
        "",
        "Sections 4 and 6 of *Improved Techniques for Training GANs* (Salimans et al., 2016): people are shown images, "
        "half of them generated, and say which are real. 50 % of right answers is chance.",
        "",
        "| who, and which images | right answers | votes |",
        "|---|---|---|",
    ]
    lines += [
        f"| the paper: {one.title} | {one.right_percent:g} % | {f'{one.votes:,}' if one.votes else 'not given'} |"
        for one in HUMAN_RESULTS
    ]
    lines += [
        f"| ours: {one.model}, {'with' if one.feedback else 'without'} feedback | **{one.right_percent:.1f} %** "
        f"({one.low_percent:.1f} to {one.high_percent:.1f} %) | {one.votes:,} in {one.tests} tests |"
        for one in summaries
    ]
    lines += ["", "Intervals are Wilson's, of 95 %; tests that somebody did not finish do not count."]
    if not summaries:
        lines += ["", "Nobody has taken a test here yet: people have to. Summaries come from `--results FILE.jsonl`."]
    if prepared is not None:
        lines += [
            "",
            "## Take the test",
            "",
            f"    {prepared['command']}",
            "",
            f"shows {prepared['images']} real images of `{prepared['data']}` and what `{prepared['model']}` draws. The "
            "images of both kinds also lie here as PNG files, in `real/` and `generated/`.",
        ]
    return "\n".join(lines) + "\n"


def write_turing_report(out: Path, prepared: dict[str, Any] | None, summaries: Sequence[Summary]) -> None:
    """Writes ``report.json`` and ``report.md``.

    Raises:
        OutputError: ``out`` cannot be written.
    """
    with atomic_file(out / "report.json") as temporary:
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(record(prepared, summaries)), indent=2) + b"\n")
    with atomic_file(out / "report.md") as temporary:
        temporary.write_text(markdown(prepared, summaries))
