"""The report of one table: trainings first, then test images and scores, and then the page."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from igan_zoo.errors import IganZooError
from igan_zoo.machine.processor import this_machine
from igan_zoo.reproduction.answers import Answers
from igan_zoo.reproduction.cells import Cell, Measure, Measured, make_cell, mixed_ensembles, real_cell
from igan_zoo.reproduction.evidence import Evidence, Found, find_models, find_runs, matching
from igan_zoo.reproduction.page import markdown
from igan_zoo.reproduction.pictures import copy_samples, draw_validation_errors, side_by_side, validation_errors
from igan_zoo.reproduction.report import Report, TrainingRow, record, write_report
from igan_zoo.reproduction.request import Request
from igan_zoo.reproduction.scores import NO_INCEPTION, Score, Scores, check_inception, score_generators
from igan_zoo.reproduction.trainings import reason_for, train_in_order, trainings_to_do
from igan_zoo.training.data.training_set import load_for_recipe
from igan_zoo.training.precision import torch_threads
from igan_zoo.training.recipes.catalogue import find_recipe
from igan_zoo.training.recipes.departures import departures

# Of each row, so many generators have their images shown.
_GRIDS = 2
# Why a row's cell is empty if it is.
Reasons = dict[str, str]


@dataclass
class _Numbers:
    """What was measured: cells, what stands beside them, and the errors by path."""

    cells: list[Cell]
    wrong: dict[str, int] = field(default_factory=dict)
    test_images: int | None = None
    mixed: dict[str, dict[str, Measured]] = field(default_factory=dict)
    scores: Scores = field(default_factory=Scores)


def find_evidence(request: Request) -> Found:
    """Returns what was trained so far, models first: their ONNX files stand for the runs they come from.

    Raises:
        DataError: a folder has nothing of its kind.
    """
    found = Found()
    if request.models:
        found.add(find_models(request.models))
    if request.runs:
        found.add(find_runs(request.runs))
    if any(request.own_runs.rglob("recipe.json")):
        found.add(find_runs([request.own_runs]))
    return found


def report_table(request: Request) -> Report:
    """Trains what is wanted, measures, writes the report with its pictures to ``request.out`` and returns it.

    Raises:
        DataError: data, runs or models are missing.
        ScoringError: the network for the Inception score is another one.
        OutputError: ``request.out`` cannot be written.
    """
    began = time.monotonic()
    if request.inception is not None:
        check_inception(request.inception)
    missing = train_in_order(request, trainings_to_do(request, find_evidence(request).evidence))
    found = find_evidence(request)
    reasons = {row.name: reason_for(row, request, missing) for row in request.rows}
    with torch_threads(request.threads):
        numbers = _measure(request, found, reasons)
    behind = _behind(request, found.evidence)
    table = request.table
    report = Report(
        table=table.name,
        title=table.title,
        source=table.source,
        metric=table.metric,
        remark=table.remark,
        note=request.note,
        data=request.data,
        test_images=numbers.test_images,
        paper_test_images=table.test_images,
        budget=request.budget_text,
        command=request.command,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - began, 1),
        machine=this_machine(),
        threads=request.threads,
        cells=tuple(numbers.cells),
        trainings=tuple(_training(one, numbers.wrong) for one in behind),
        mixed_ensembles=numbers.mixed,
        scores=tuple(numbers.scores.scores),
        left_out=tuple(dict.fromkeys([*found.left_out, *numbers.scores.left_out])),
        pictures=_draw(request, numbers.cells, behind),
    )
    write_report(request.out, record(report), markdown(report))
    return report


def _measure(request: Request, found: Found, reasons: Reasons) -> _Numbers:
    if request.table.metric == "Inception score":
        return _inception_scores(request, found, reasons)
    if request.table.metric == "pictures":
        return _Numbers(_cells(request, found.evidence, reasons, lambda _: (None, None)))
    return _errors(request, found, reasons)


def _errors(request: Request, found: Found, reasons: Reasons) -> _Numbers:
    behind = _behind(request, found.evidence)
    if not behind:
        return _Numbers(_cells(request, [], reasons, lambda _: (None, None)))
    test = load_for_recipe(behind[0].recipe, request.data, "test", labeled_only=True)
    answers = Answers(test, request.out / "answers")
    wrong: dict[str, int] = {}
    usable = []
    for one in behind:
        try:
            wrong[str(one.path)] = answers.wrong(one)
            usable.append(one)
        except IganZooError as error:
            found.left_out.append(f"{one.path} is left out: {error}")

    def measure(members: Sequence[Evidence]) -> tuple[float, None]:
        count = wrong[str(members[0].path)] if len(members) == 1 else answers.ensemble_wrong(members)
        return (float(count) if request.table.metric == "errors" else 100 * count / len(test)), None

    mixed = {row.name: dict(mixed_ensembles(row, usable, measure)) for row in request.rows if row.ensemble}
    return _Numbers(
        _cells(request, usable, reasons, measure),
        wrong,
        len(test),
        {row: ensembles for row, ensembles in mixed.items() if ensembles},
    )


def _inception_scores(request: Request, found: Found, reasons: Reasons) -> _Numbers:
    scores = score_generators(request, found.evidence)
    if request.inception is None:
        reasons = dict.fromkeys(reasons, NO_INCEPTION)
    scored = [one for one in found.evidence if str(one.path) in scores.inception]
    return _Numbers(_cells(request, scored, reasons, scores.measure, scores.real), scores=scores)


def _cells(
    request: Request, evidence: Sequence[Evidence], reasons: Reasons, measure: Measure, real: Score | None = None
) -> list[Cell]:
    """Returns the cell of every row; ``real`` is the score of real images, which one row may be of."""
    return [
        make_cell(row, evidence, measure, reason=reasons[row.name])
        if row.labels is not None
        else real_cell(row, real, path=request.data, reason=reasons[row.name])
        for row in request.rows
    ]


def _behind(request: Request, evidence: Sequence[Evidence]) -> list[Evidence]:
    """Returns the trainings that any of the rows is about, each once, in the rows' order."""
    found = [one for row in request.rows if row.labels is not None for one in matching(row, evidence)]
    return list({str(one.path): one for one in found}.values())


def _training(one: Evidence, wrong: dict[str, int]) -> TrainingRow:
    return TrainingRow(
        path=str(one.path),
        kind="ONNX" if one.is_model else "run",
        recipe=one.recipe.name,
        departures=departures(one.recipe, find_recipe(one.recipe.name)),
        labels=one.labelled,
        seed=one.recipe.seed,
        subset=one.recipe.subset_seed,
        members=one.members,
        epochs=one.recipe.epochs,
        seconds=round(one.seconds),
        validation_error=one.validation_error,
        wrong=wrong.get(str(one.path)),
        command=one.command,
    )


def _draw(request: Request, cells: Sequence[Cell], behind: Sequence[Evidence]) -> dict[str, str]:
    """Writes the pictures beside the report and returns their names by what they show."""
    folder = request.out / "pictures"
    pictures: dict[str, str] = {}
    curves = {_label(one): validation_errors(one) for one in behind}
    if draw_validation_errors(folder / "validation-errors.png", curves):
        pictures["Learning curves: errors on validation images by epoch"] = "pictures/validation-errors.png"
    by_path = {str(one.path): one for one in behind}
    grids = []
    for cell in (cell for cell in cells if cell.groups and not cell.ensemble and cell.labels is not None):
        for measured in cell.groups[0].measured[:_GRIDS]:
            one = by_path[measured.paths[0]]
            if path := copy_samples(one, folder, f"{cell.row}-seed{measured.seeds[0]}"):
                grids.append((f"{cell.title}, {_label(one)}", path))
    if request.table.metric == "pictures" and len(grids) > 1:
        side_by_side(folder / f"{request.table.name}.png", grids)
        return {**pictures, request.table.title: f"pictures/{request.table.name}.png"}
    return pictures | {f"Generated images: {what}": f"pictures/{path.name}" for what, path in grids}


def _label(one: Evidence) -> str:
    settings = departures(one.recipe, find_recipe(one.recipe.name))
    changed = f" ({', '.join(setting.partition(' ')[0] for setting in settings)})" if settings else ""
    subset = "" if one.recipe.seed == one.recipe.subset_seed else f" on labels of seed {one.recipe.subset_seed}"
    return f"{one.recipe.name}{changed}, {one.labelled} labels, seed {one.recipe.seed}{subset}"
