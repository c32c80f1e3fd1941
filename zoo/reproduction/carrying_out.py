"""From a request to trainings: decide what is not decided yet, by measured times, train, and say what is missing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from igan_zoo.errors import TrainingError
from igan_zoo.reproduction.evidence import Evidence
from igan_zoo.reproduction.planning import (
    Estimate,
    Estimator,
    Job,
    Plan,
    Wanted,
    decide_full,
    decide_within,
    minutes_for,
    read_plan,
    wanted_trainings,
    without_satisfied,
    write_plan,
)
from igan_zoo.reproduction.published import Row
from igan_zoo.reproduction.request import Request
from igan_zoo.reproduction.trainings import TrainingData, is_finished, pace_of, spent_seconds, train_all
from igan_zoo.training.runs import Run

# Why trainings that rows want are not there, by the trainings' names.
Missing = dict[str, str]


@dataclass(frozen=True)
class Decision:
    """What a request comes to: trainings that are to be done, and those that found no place in its budget."""

    plan: Plan
    to_do: tuple[Job, ...]
    missing: Missing
    seconds: float | None
    data: TrainingData | None
    estimates: tuple[Estimate, ...] = ()


def decide(request: Request, evidence: Sequence[Evidence], *, estimated: bool = False) -> Decision:
    """Returns what is to be trained, without training it; ``estimated`` measures that of the whole protocol, too.

    Raises:
        TrainingError: the budget is too small for a single epoch, or the runs there are of a smaller one.
        DataError: the data is missing.
    """
    plan = read_plan(request.out / "plan.json")
    missing: Missing = {}
    full = request.budget == "full"
    wanted = wanted_trainings(request.table, request.rows, request.seed_count) if request.budget is not None else []
    wanted = without_satisfied(wanted, evidence, full=full)
    planned = {job.name: job for job in plan.jobs}
    if full:
        _refuse_shorter(request, wanted, planned)
    new = [one for one in wanted if one.name not in planned]
    going_on = [job for one in wanted if (job := planned.get(one.name)) and not _done(request, job)]
    if not new and not going_on:
        return Decision(plan, (), missing, None, None)
    data = TrainingData.load(request.data, going_on[0].recipe if going_on else new[0].recipe(new[0].row.variants[0]))
    began = time.monotonic()
    estimate = Estimator(pace_of(data, request.threads), len(data.images))
    if full:
        jobs = decide_full(new)
        estimates = tuple(estimate(job.recipe) for job in [*going_on, *jobs]) if estimated else ()
        return Decision(Plan([*plan.jobs, *jobs]), (*going_on, *jobs), missing, None, data, estimates)
    jobs = _decide_new(request, plan, new, going_on, estimate, missing, began)
    seconds = _seconds_left(request, plan, began)
    to_do = (*going_on, *jobs)
    estimates = tuple(estimate(job.recipe) for job in to_do) if estimated else ()
    return Decision(Plan([*plan.jobs, *jobs]), to_do, missing, seconds, data, estimates)


def carry_out(request: Request, decision: Decision) -> Missing:
    """Trains what was decided and returns what is still missing then."""
    missing = dict(decision.missing)
    if not decision.to_do or decision.data is None:
        return missing
    write_plan(request.out / "plan.json", decision.plan)
    for job in decision.to_do:
        request.say(f"{job.name}: {job.recipe.name}, {job.recipe.epochs} epochs")
    outcome = train_all(
        decision.to_do, request.own_runs, decision.data, threads=request.threads, seconds=decision.seconds
    )
    missing |= outcome.failed
    for job in decision.to_do:
        if job.name not in outcome.failed and not _done(request, job):
            missing[job.name] = _unfinished(request, job)
    return missing


def reason_for(row: Row, request: Request, missing: Missing) -> str:
    """Returns why nothing stands in a row's cell."""
    wanted = wanted_trainings(request.table, (row,), request.seed_count)
    reasons = list(dict.fromkeys(missing[one.name] for one in wanted if one.name in missing))
    if reasons:
        return "; ".join(reason.rstrip(".") for reason in reasons)
    if row.ensemble and request.budget is not None and request.seed_count < 2:
        return "an ensemble takes at least two models of the same labelled images: --seeds 2 or more"
    if request.budget is None:
        return "nothing was trained for it: give --budget MINUTES or full, or what there is with --runs or --models"
    return "nothing was trained for it"


def _decide_new(
    request: Request,
    plan: Plan,
    new: Sequence[Wanted],
    going_on: Sequence[Job],
    estimate: Estimator,
    missing: Missing,
    began: float,
) -> list[Job]:
    """Decides on trainings that no call before this one has decided on; what those left over is theirs."""
    if not new:
        return []
    for one in new:  # measuring takes of the same time, so it comes first
        for variant in one.row.variants:
            estimate(one.recipe(variant))
    needed = sum(_seconds_to_go(request, job, estimate) for job in going_on)
    left = (_seconds_left(request, plan, began) or 0.0) - needed
    asked = request.budget_text or ""
    try:
        jobs, misfits = decide_within(new, left, estimate, asked=asked)
    except TrainingError as error:
        if not plan.jobs:
            raise
        missing |= {one.name: f"{asked} are used up by the rows before it" for one in new}
        request.say(str(error))
        return []
    missing |= {misfit.wanted.name: misfit.reason for misfit in misfits}
    return jobs


def _refuse_shorter(request: Request, wanted: Sequence[Wanted], planned: dict[str, Job]) -> None:
    for one in wanted:
        job = planned.get(one.name)
        if job is not None and job.recipe != one.recipe(one.row.variants[0]):
            raise TrainingError(
                f"{request.own_runs / one.name} was decided on by a smaller budget ({job.recipe.name}, "
                f"{job.recipe.epochs} epochs); choose another --out for the paper's whole protocol."
            )


def _seconds_left(request: Request, plan: Plan, began: float) -> float | None:
    """The minutes asked for less what all calls so far have trained and this one has measured."""
    if request.budget is None or request.budget == "full":
        return None
    return 60 * request.budget - spent_seconds(request.own_runs, plan.jobs) - (time.monotonic() - began)


def _seconds_to_go(request: Request, job: Job, estimate: Estimator) -> float:
    done = len(Run(request.own_runs / job.name).log())
    return estimate(job.recipe).seconds_after(done)


def _done(request: Request, job: Job) -> bool:
    return is_finished(Run(request.own_runs / job.name), job.recipe)


def _unfinished(request: Request, job: Job) -> str:
    log = Run(request.own_runs / job.name).log()
    error = log[-1].get("validation_error") if log else None
    validation = "" if error is None else f", validation error {error:.2%}"
    spent = minutes_for(spent_seconds(request.own_runs, [job]))
    return (
        f"{job.name} stands at {len(log)} of {job.recipe.epochs} epochs after {spent} minutes{validation}; the same "
        "command with a larger --budget goes on"
    )
