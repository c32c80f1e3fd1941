"""Options of the commands that print scores: score and merge-scores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from igan_zoo.serving.scoring.numbers import Metric


def _metrics(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the metrics of ``is,fid`` and repeated options, each once; ``all`` stays as it is."""
    from igan_zoo.serving.scoring.numbers import METRICS

    names = [name.strip() for value in values for name in value.split(",")]
    for name in names:
        if name not in (*METRICS, "all"):
            known = ", ".join(map(repr, (*METRICS, "all")))
            raise click.BadParameter(f"{name!r} is not one of {known}.", context, option)
    return ("all",) if "all" in names else tuple(dict.fromkeys(names))


metric_option = click.option(
    "--metric",
    "metrics",
    callback=_metrics,
    multiple=True,
    metavar="is|fid|kid|pr|dc|is-inf|fid-inf|kid-rbf|vendi|all",
    help="Metrics to compute, such as is,fid.  [default: is, or fid with a reference]",
)
format_option = click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="How to print the scores; json and csv include everything they depend on.",
)
subset_option = click.option(
    "--subset-size",
    type=click.IntRange(min=2),
    help="Images per subset of the kernel distance.  [default: 1000, or fewer with --metric all]",
)
bootstrap_option = click.option(
    "--bootstrap",
    type=click.IntRange(min=2),
    metavar="DRAWS",
    help="Add standard errors to fid and vendi from this many resamplings.",
)
save_option = click.option(
    "--save-statistics",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="X.safetensors|X.npz",
    help="Keep the statistics as a reference for later; .npz holds pytorch-fid's mean and covariance.",
)


def _self_check(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    """Prints the scores of known images instead of anything else."""
    if not wanted or context.resilient_parsing:
        return
    from igan_zoo.commands.terminal import print_table
    from igan_zoo.errors import ScoringError
    from igan_zoo.serving.scorers.self_check import self_check

    figures = self_check()
    rows = [
        (each.name, f"{each.here:.9g}", f"{each.expected:.9g}", "ok" if each.right else "WRONG") for each in figures
    ]
    print_table([("score", "here", "expected", ""), *rows])
    wrong = [each.name for each in figures if not each.right]
    if wrong:
        raise ScoringError(
            f"{len(wrong)} of {len(figures)} scores of known images are wrong, first {wrong[0]}: do not trust this "
            "installation's scores; reinstall numpy, Pillow and onnxruntime."
        )
    context.exit()


self_check_option = click.option(
    "--self-check",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_self_check,
    help="Score known images with a small network, compare with stored figures, and exit.",
)


def default_metrics(metrics: tuple[Any, ...], reference: str | None) -> tuple[Metric, ...]:
    """Returns the metrics to compute; of all of them the scorer and the reference say which are possible."""
    from igan_zoo.serving.scoring.numbers import METRICS
    from igan_zoo.serving.scoring.protocols import WITHOUT_REFERENCE

    if metrics == ("all",):
        return METRICS if reference is not None else tuple(metric for metric in METRICS if metric in WITHOUT_REFERENCE)
    return metrics or ("fid" if reference is not None else "is",)


def check_usage(
    metrics: tuple[Any, ...],
    reference: str | None,
    shard: tuple[int, int] | None,
    out: Path | None,
    save_statistics: Path | None,
) -> None:
    """Refuses options that do not belong together."""
    from igan_zoo.serving.scoring.protocols import Protocol

    chosen = default_metrics(metrics, reference)
    comparing = [metric for metric in chosen if Protocol(metric, 1).needs_reference]
    if save_statistics is not None and save_statistics.suffix not in (".safetensors", ".npz"):
        raise click.UsageError(
            f"--save-statistics needs a name ending in .safetensors or .npz, not {save_statistics.name}"
        )
    if shard is not None:
        if out is None:
            raise click.UsageError("--shard writes the statistics of its part: name the file with --out")
        if reference is not None or save_statistics is not None:
            raise click.UsageError("--reference and --save-statistics belong to igan-zoo merge-scores, not to --shard")
    elif comparing and reference is None and save_statistics is None:
        raise click.UsageError(f"--metric {comparing[0]} compares with other images: name them with --reference")
    elif reference is not None and not comparing:
        raise click.UsageError("--reference needs a metric that compares with it, such as --metric fid")


def check_weights(scorer: str | None, weights: Path | None) -> None:
    """Refuses weights for a scorer that is not made from any."""
    if weights is None or scorer is None:
        return
    from igan_zoo.serving.scorers.converting import inception_kinds

    if scorer not in inception_kinds():
        raise click.UsageError(f"--weights applies to {' or '.join(inception_kinds())}, not to {scorer}")
