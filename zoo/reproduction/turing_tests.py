"""The visual Turing test of sections 4 and 6: images and a command to prepare one, and a summary of its answers."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from igan_zoo.counts import counted
from igan_zoo.errors import DataError
from igan_zoo.images.pixels import Shape, write_image
from igan_zoo.images.sources import open_source
from igan_zoo.models import store
from igan_zoo.reproduction.published import HUMAN_RESULTS
from igan_zoo.serving.model_source import open_model
from igan_zoo.serving.scoring.gathering import choose_images
from igan_zoo.serving.server.turing.results import Summary, read_results


def summarize(files: Iterable[Path]) -> list[Summary]:
    """Returns the sums of the finished tests in JSONL files, by model and condition where there are any.

    Raises:
        DataError: a file is missing, or a line is something else than an answer.
    """
    return [summary for summary in read_results(files).summaries() if summary.answers]


def condition(summary: Summary) -> str:
    """Returns the model of a summary and whether people were told the answers."""
    return f"{summary.model}, {'with' if summary.feedback else 'without'} feedback"


def prepare_test(out: Path, model: str, data: str | None, *, images: int, seed: int) -> dict[str, Any]:
    """Writes real and generated images as PNG files and returns what is needed to show them to people.

    Real ones are a seeded choice of the split test, generated ones the first of ``seed``.

    Raises:
        DataError, UnknownNameError, ModelDirectoryError: the data or the model is not there, or has too few images.
        OutputError: ``out`` cannot be written.
    """
    chosen = store.resolve(model)
    if chosen.directory is None:
        raise DataError(f"{model} is a single file; give a model directory or a name, whose data set is known.")
    source = open_source(data or chosen.directory.spec.dataset.id, split="test")
    places = choose_images(len(source), images, seed)
    shape = Shape(chosen.directory.spec.image.channels)
    for number, image in enumerate(source.fetch([int(place) for place in places])):
        write_image(out / "real" / f"{number:05d}.png", image.decode(shape))
    drawn = open_model(chosen, count=images, seed=seed)
    for number, image in enumerate(drawn.fetch(range(images))):
        write_image(out / "generated" / f"{number:05d}.png", np.asarray(image.decode(shape)))
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
        "ours": [asdict(summary) for summary in summaries],
    }


def lines(prepared: dict[str, Any] | None, summaries: Sequence[Summary], out: Path) -> list[str]:
    """Returns the same in a few lines."""
    said = []
    if prepared is not None:
        said.append(f"{prepared['images']} real and as many generated images in {out}; next: {prepared['command']}")
    said += [
        f"{condition(one)}: {1 - one.errors / one.answers:.1%} right ({1 - one.high:.1%} to {1 - one.low:.1%}) of "
        f"{counted(one.answers, 'answer')}"
        for one in summaries
    ]
    return said


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
        f"| ours: {condition(one)} | **{1 - one.errors / one.answers:.1%}** "
        f"({1 - one.high:.1%} to {1 - one.low:.1%}) | {one.answers:,} in {one.tests} tests |"
        for one in summaries
    ]
    lines += ["", "Intervals are Wilson's, of 95 %; unfinished tests do not count."]
    if not summaries:
        lines += ["", "Nobody has taken the test yet. Summarize answers with `--results FILE.jsonl`."]
    if prepared is not None:
        lines += [
            "",
            "## Take the test",
            "",
            f"    {prepared['command']}",
            "",
            f"shows {prepared['images']} real images of `{prepared['data']}` and what `{prepared['model']}` draws. The "
            "images of both kinds are also here as PNG files, in `real/` and `generated/`.",
        ]
    return "\n".join(lines) + "\n"
