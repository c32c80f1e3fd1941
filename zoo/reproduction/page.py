"""A report as a page that is read with pleasure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from igan_zoo.counts import counted
from igan_zoo.reproduction.cells import Cell
from igan_zoo.reproduction.report import Report


def markdown(report: Report) -> str:
    """Returns the page."""
    sections = [
        f"# {report.title}",
        _opening(report),
        _table(report),
        _shortfalls(report),
        _empty(report),
        _scores(report),
        _pictures(report),
        _other_groups(report),
        _mixed(report),
        _trainings(report),
        _made(report),
        _left_out(report),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def number(value: float, metric: str) -> str:
    """Returns a number as the paper prints it: errors whole or with a half, percent and scores with two digits."""
    return f"{value:.2f}" if metric in ("error percent", "Inception score") else f"{round(value, 1):g}"


def with_deviation(value: float, deviation: float | None, metric: str) -> str:
    """Returns ``93 ± 6.5``."""
    return number(value, metric) + ("" if deviation is None else f" ± {number(deviation, metric)}")


def _opening(report: Report) -> str:
    lines = [f"{report.source[0].upper()}{report.source[1:]} of *Improved Techniques for Training GANs* (Salimans et "]
    lines[0] += f"al., 2016), computed again on {report.made[:10]}."
    measured = [cell for cell in report.cells if cell.groups]
    whole = [cell for cell in measured if not cell.shortfalls]
    if report.metric != "pictures":
        lines.append(
            f"Of the paper's {len(report.cells)} numbers, those with our number next to them: {len(measured)}; by its "
            f"whole protocol: {len(whole)}."
        )
    if report.remark:
        lines.append(report.remark)
    if report.note:
        lines.append(f"**{report.note}**")
    return "\n\n".join(lines)


def _table(report: Report) -> str:
    head = ["", "the paper", "ours", "seeds", "recipe", "epochs"]
    if report.metric == "pictures":
        head = ["", "seeds", "recipe", "epochs"]
    rows = [_row(cell, report) for cell in report.cells]
    if report.metric == "pictures":
        rows = [[row[0], *row[3:]] for row in rows]
    table = "\n".join(
        ["| " + " | ".join(head) + " |", "|---" * len(head) + "|", *("| " + " | ".join(row) + " |" for row in rows)]
    )
    return f"{table}\n\n{_legend(report)}"


def _row(cell: Cell, report: Report) -> list[str]:
    paper = with_deviation(cell.paper["value"], cell.paper["deviation"], report.metric) if cell.paper else ""
    if not cell.groups:
        return [cell.title, paper, "–", "", "", ""]
    first = cell.groups[0]
    ours = "" if first.mean is None else f"**{with_deviation(first.mean, first.deviation, report.metric)}**"
    ours += " †" if cell.shortfalls else ""
    seeds = f"{len(first.measured)}" if first.epochs else ""
    if cell.ensemble:
        seeds = " + ".join(f"{one.members}" for one in first.measured) + " members"
    return [cell.title, paper, ours, seeds, *((f"`{first.recipe}`", f"{first.epochs}") if first.epochs else ("", ""))]


def _legend(report: Report) -> str:
    said = []
    if any(cell.shortfalls for cell in report.cells):
        said.append("† Below the paper's protocol: see the next section.")
    if report.metric in ("errors", "error percent"):
        said.append(
            "± is the standard deviation: the paper's over ten labeled subsets, ours over the seeds there are "
            "(divisor n - 1). A seed chooses weights, noise, shuffles and the labeled images."
        )
    if report.metric == "Inception score":
        said.append(
            "± of a single model is the deviation over ten splits of its images, as the paper's; of several, over them."
        )
    return " ".join(said)


def _shortfalls(report: Report) -> str:
    lines = [f"- {cell.title}: {'; '.join(cell.shortfalls)}." for cell in report.cells if cell.shortfalls]
    if report.test_images is not None and report.test_images != report.paper_test_images:
        lines.append(f"- Everywhere: {report.test_images:,} test images instead of {report.paper_test_images:,}.")
    return "## Shortfalls from the paper's protocol\n\n" + "\n".join(lines) if lines else ""


def _empty(report: Report) -> str:
    lines = [f"- {sentence}" for sentence in empty_cells(report)]
    return "## Empty cells\n\n" + "\n".join(lines) if lines else ""


def empty_cells(report: Report) -> list[str]:
    """Returns a sentence for every reason why cells are empty."""
    by_reason: dict[str, list[str]] = {}
    for cell in report.cells:
        if cell.empty_because:
            by_reason.setdefault(cell.empty_because, []).append(cell.title)
    return [f"{', '.join(titles)}: {reason}." for reason, titles in by_reason.items()]


def _scores(report: Report) -> str:
    scores = [score for score in report.scores if score.metric != "Inception score"]
    if not scores:
        return ""
    lines = ["| images of | scored by | score | images |", "|---|---|---|---|"]
    for score in scores:
        own = " (its own classifier)" if score.own_classifier else ""
        value = with_deviation(score.value, score.deviation, "Inception score")
        lines.append(f"| {score.subject} | `{score.scorer}`{own} | {value} | {score.images:,} |")
    return (
        "## Scores by the zoo's own classifiers\n\nThe same formula with another network: these are **not Inception "
        "scores** and compare only with each other, by the same scorer. A classifier that was trained together "
        "with the generator flatters it.\n\n" + "\n".join(lines)
    )


def _pictures(report: Report) -> str:
    parts = [f"### {what}\n\n![{what}]({file})" for what, file in report.pictures.items()]
    return "## Pictures\n\n" + "\n\n".join(parts) if parts else ""


def _other_groups(report: Report) -> str:
    lines = []
    for cell in report.cells:
        if len(cell.groups) < 2:
            continue
        for group in cell.groups:
            ours = "" if group.mean is None else with_deviation(group.mean, group.deviation, report.metric)
            settings = ", ".join(group.departures) or "as in the paper"
            error = "" if group.validation_error is None else f"{group.validation_error:.2%}"
            lines.append(f"| {cell.title} | `{group.recipe}` | {settings} | {len(group.measured)} | {error} | {ours} |")
    if not lines:
        return ""
    head = "| | recipe | settings (the paper's) | seeds | validation error | ours |\n|---|---|---|---|---|---|\n"
    return (
        "## All recipes that were run\n\nThe table above shows the first of each, in an order in which the test images "
        "have no say: the paper's protocol, then the number of seeds, then the validation error.\n\n"
        + head
        + "\n".join(lines)
    )


def _mixed(report: Report) -> str:
    titles = {cell.row: cell.title for cell in report.cells}
    lines = [
        f"- {titles[row]}: {number(one.value, report.metric)} with {counted(one.members, 'model')} of `{recipe}`, "
        f"seeds {', '.join(map(str, one.seeds))}."
        for row, found in report.mixed_ensembles.items()
        for recipe, one in found.items()
        if one.value is not None
    ]
    if not lines:
        return ""
    return (
        "## Ensembles over different labeled images\n\nTheir members saw different labeled images, so together more "
        "of them than the row names. They are not the paper's ensembles and appear in no cell.\n\n" + "\n".join(lines)
    )


def _trainings(report: Report) -> str:
    if not report.trainings:
        return ""
    lines = [
        "| training | labels | seed | epochs | time | validation error | test errors |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in report.trainings:
        name = f"`{Path(one.path).name}`" + (f" ({counted(one.members, 'member')})" if one.members > 1 else "")
        error = "" if one.validation_error is None else f"{one.validation_error:.2%}"
        wrong = (
            ""
            if one.wrong is None or not report.test_images
            else f"{one.wrong:,} ({one.wrong / report.test_images:.2%})"
        )
        lines.append(
            f"| {name}, `{one.recipe}`, {one.kind} | {one.labels} | {one.seed} | {one.epochs} | "
            f"{duration(one.seconds)} | {error} | {wrong} |"
        )
    commands = list(dict.fromkeys(one.command for one in report.trainings))
    return (
        "## Trainings\n\nThe validation error is on training images whose labels are hidden from training. The test "
        "images were read after every training had ended, and no choice depends on them.\n\n"
        + "\n".join(lines)
        + "\n\nTo repeat them:\n\n"
        + "\n".join(f"    {command}" for command in commands)
    )


def _made(report: Report) -> str:
    machine = report.machine
    memory = "" if machine.memory_gib is None else f", {machine.memory_gib:g} GiB of memory"
    threads = "" if report.threads is None else f" {counted(report.threads, 'thread')} of PyTorch."
    versions = ", ".join(f"{name} {number}" for name, number in machine.versions.items())
    budget = f" Budget: {report.budget}." if report.budget else ""
    return (
        f"## How it was made\n\n    {report.command}\n\nin {duration(report.seconds)} (this call; training times are "
        f"above), on {machine.processor}, {_cores(machine.cores)}{memory}, {machine.system}.{threads} "
        f"{versions}.{budget} Data: `{report.data}`."
    )


def _cores(count: int) -> str:
    return f"{count} core{'' if count == 1 else 's'}"


def _left_out(report: Report) -> str:
    return "## Left out\n\n" + "\n".join(f"- {sentence}" for sentence in report.left_out) if report.left_out else ""


def duration(seconds: float) -> str:
    """Returns a time as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def overview(report: Report) -> Sequence[Sequence[str]]:
    """Returns the table as rows of plain text."""
    rows = [["", "the paper", "ours", "seeds", "recipe", "epochs"]]
    rows += [[text.replace("*", "").replace("`", "") for text in _row(cell, report)] for cell in report.cells]
    return rows
