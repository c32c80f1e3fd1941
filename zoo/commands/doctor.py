"""The command that says what works on this machine: doctor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from igan_zoo.commands.options import json_option
from igan_zoo.commands.terminal import print_json, print_table

if TYPE_CHECKING:
    from igan_zoo.diagnosis import Diagnosis


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Check this installation: versions, devices, caches, models, scorers; one line of advice for each problem.

    Downloads and changes nothing. The exit code is 1 if there is a problem.
    """
    from dataclasses import asdict

    from igan_zoo.diagnosis import diagnose

    found = diagnose()
    if as_json:
        print_json(asdict(found))
    else:
        print_table(_rows(found))
        for problem in found.problems:
            click.echo(f"Problem: {problem.what}\n  Advice: {problem.advice}")
        if not found.problems:
            click.echo("No problems found.")
    if found.problems:
        raise click.exceptions.Exit(1)


def _rows(found: Diagnosis) -> list[tuple[str, str]]:
    kernels = found.kernels
    built = f"built ({', '.join(kernels.instruction_sets)})" if kernels.built else "not built"
    return [
        ("system", found.system),
        *(("version", f"{name} {version}") for name, version in found.versions.items()),
        *(
            (
                f"device {provider.device}",
                f"works: {provider.provider}, {provider.milliseconds:.1f} ms an MNIST image"
                if provider.works
                else f"not usable: {provider.reason}",
            )
            for provider in found.providers
        ),
        *(("cache", f"{cache.holds}: {cache.size / 1e6:,.1f} MB in {cache.path}") for cache in found.caches),
        *(("model", f"{name} ({', '.join(places)})") for name, places in found.models.items()),
        *(
            (
                "scorer",
                f"{scorer.name}: ready" if scorer.ready else f"{scorer.name}: downloaded at the first score (96 MB)",
            )
            for scorer in found.scorers
        ),
        ("C operators", built),
        ("compiler", kernels.compiler or "none"),
    ]
