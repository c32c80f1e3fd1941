"""The command that says which photos to label next: suggest."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from igan_zoo.commands.completion import MODEL
from igan_zoo.commands.options import announce, device_option, force_option, json_option, keep_inputs
from igan_zoo.commands.terminal import print_json, print_seconds_since, print_table
from igan_zoo.counts import counted
from igan_zoo.errors import DataError, ModelDirectoryError, OutputError, missing_extra

if TYPE_CHECKING:
    from igan_zoo.images.stored import LabeledSource
    from igan_zoo.serving.suggesting import Answers, Pick, Suspicion


@click.command()
@click.argument("model", metavar="RUN|MODEL", type=MODEL)
@click.option("--data", required=True, help="Photos: a folder, a .tar or .parquet file, or a Hub id.")
@click.option(
    "--labels",
    "labels_file",
    type=click.Path(path_type=Path),
    metavar="FILE.csv",
    help="CSV file with the labels so far.  [default: the class folders]",
)
@click.option("--split", default="train", show_default=True, help="Part of the data set to look at.")
@click.option(
    "--n", "count", type=click.IntRange(1, 1000), default=20, show_default=True, help="Number of photos to suggest."
)
@click.option(
    "--suspicious",
    type=click.FloatRange(0, 1),
    default=0.9,
    show_default=True,
    help="Probability of another class from which a label counts as suspicious.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), default="suggested", show_default=True, help="New folder to write to."
)
@json_option
@device_option
@force_option
def suggest(
    model: str,
    data: str,
    labels_file: Path | None,
    split: str,
    count: int,
    suspicious: float,
    out: Path,
    as_json: bool,
    device: Any,
    force: bool,
) -> None:
    """Choose the unlabeled photos to label next, and list labels that the classifier contradicts.

    Picks photos whose two most likely classes are close, and that differ from each other. Writes sheet.png to look at,
    labels.csv to fill in for train --labels, and suspicious.csv to the folder --out. Accepts a model, or a run of train
    custom on features.
    """
    from igan_zoo.images.labels import labeled_lines
    from igan_zoo.images.sources import open_source
    from igan_zoo.images.summary import log_summary
    from igan_zoo.machine.files import refuse_full
    from igan_zoo.serving.suggesting import pick_photos, suspicious_labels, write_suggestions

    began = time.perf_counter()
    keep_inputs([out], [model, data, labels_file])
    refuse_full(out, replace=force)
    if Path(data).is_dir() and out.resolve().is_relative_to(Path(data).resolve()):
        raise OutputError(f"{out} is inside {data}, so its sheet would become one of the photos; choose another --out.")
    source = open_source(data, split=split, labeled=True, labels_file=labels_file)
    log_summary(source, source.reference)
    names = source.file_names()
    if not names:
        raise DataError(
            f"The images of {data} have no names that labels could refer to; give a folder, .tar or .parquet file."
        )
    answers = _answers(model, source, device)
    picks = pick_photos(answers, source, count)
    suspicions = suspicious_labels(answers, source, suspicious)
    if labels_file is not None:
        labels = labeled_lines(labels_file)
    else:
        numbers = source.labels(range(len(source))).tolist()
        labels = {name: source.classes[number] for name, number in zip(names, numbers, strict=True) if number >= 0}
    write_suggestions(out, source, labels, picks, suspicions, replace=force)
    unknown = sorted(set(labels.values()) - set(answers.classes))
    if unknown:
        click.echo(f"The classifier does not know the class {', '.join(unknown)}: train it again.", err=True)
    if as_json:
        print_json(
            {
                "picks": [{"file": pick.file, "classes": pick.classes, "margin": pick.margin} for pick in picks],
                "suspicious": [asdict(suspicion) for suspicion in suspicions],
            }
        )
    else:
        _print(picks, suspicions, out)
    print_seconds_since(began)


def _answers(model: str, source: LabeledSource, device: Any) -> Answers:
    """Returns what a model, or a run on features, says of a source."""
    if (Path(model) / "recipe.json").is_file():
        raise ModelDirectoryError(f"{model} is a run on pixels: export it and give the exported model.")
    if (Path(model) / "features.json").is_file():
        if device != "cpu":
            raise click.UsageError("--device applies to exported models; a run on features uses the CPU")
        return _answers_of_run(Path(model), source)
    from igan_zoo.api import load
    from igan_zoo.images.loading import report_skipped
    from igan_zoo.serving.suggesting import answers_of_model

    loaded = load(model, roles=["classifier"], device=device)
    announce(loaded)
    answers, skipped = answers_of_model(loaded, source)
    report_skipped(skipped)
    return answers


def _answers_of_run(path: Path, source: LabeledSource) -> Answers:
    """Returns what the classifier of a run says, by the features that are kept of its photos."""
    try:
        from igan_zoo.training.features.runs import FeatureRun
    except ImportError as error:
        raise missing_extra(error, "train") from error
    import numpy as np

    from igan_zoo.serving.scorers.feature_encoders import encoder_of
    from igan_zoo.serving.scorers.photo_features import feature_rows
    from igan_zoo.serving.suggesting import Answers

    run = FeatureRun(path)
    run.result()  # before the features, which may take minutes
    facts = run.facts()
    rows, places = feature_rows(source, encoder_of(run.encoder_content(), facts.encoder, facts.size))
    return Answers(facts.classes, np.array(places, np.int64), *run.answers(rows))


def _print(picks: Sequence[Pick], suspicions: Sequence[Suspicion], out: Path) -> None:
    rows = [
        (str(number), pick.file, "  ".join(f"{name} {share:.4f}" for name, share in pick.classes))
        for number, pick in enumerate(picks, start=1)
    ]
    print_table([("number", "file", "class and probability"), *rows])
    if suspicions:
        click.echo()
        doubtful = [(one.file, one.label, f"{one.predicted} {one.probability:.4f}") for one in suspicions]
        print_table([("file", "suspicious label", "class and probability"), *doubtful])
    click.echo(f"\n{out / 'labels.csv'}: {counted(len(picks), 'photo')} to label, shown in {out / 'sheet.png'}")
    click.echo(f"{out / 'suspicious.csv'}: {counted(len(suspicions), 'label')} to look at again")
