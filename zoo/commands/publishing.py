"""Commands that publish models: publish, catalogue update."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from igan_zoo.commands.options import token_option
from igan_zoo.counts import counted

if TYPE_CHECKING:
    from igan_zoo.hub.publishing import Plan


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--repo",
    "repository",
    metavar="ORG/NAME",
    required=True,
    help="Repository on the Hub, created if it does not exist.",
)
@click.option("--private", is_flag=True, help="Create the repository as a private one.")
@click.option("--create-pr", is_flag=True, help="Open a pull request instead of changing the main branch.")
@click.option("--dry-run", is_flag=True, help="Check everything and print what would be done.")
@token_option
def publish(directory: Path, repository: str, private: bool, create_pr: bool, dry_run: bool, token: str | None) -> None:
    """Upload a model directory to the Hugging Face Hub (or HF_ENDPOINT) in one commit, and read it back.

    The directory must be complete and unchanged, with a parity report and a card for exactly these files, and without
    pickles. If the repository already has these files, nothing happens. Log in first: hf auth login, or set HF_TOKEN.
    """
    from igan_zoo.hub import publishing
    from igan_zoo.models.catalogue import encode_entry
    from igan_zoo.models.directory import ModelDirectory

    model = ModelDirectory.open(directory)
    if not dry_run:
        publishing.require_token(token)
    plan = publishing.plan_publication(model, repository, token=token)
    click.echo(f"{repository}: {_intention(plan)}", err=True)
    for verb, names in (("write", plan.written), ("delete", plan.deleted)):
        for name in names:
            click.echo(f"  {verb} {name}", err=True)
    if dry_run:
        return
    done = publishing.publish(model, repository, private=private, create_pr=create_pr, token=token)
    click.echo(f"{done.url}: {'read back and verified' if done.changed else 'unchanged, and verified'}", err=True)
    if done.pull_request:
        click.echo(f"when it is merged: igan-zoo catalogue update {directory} --repo {repository}", err=True)
    else:
        click.echo(encode_entry(publishing.catalogue_entry(model, repository, done.commit)))


def _intention(plan: Plan) -> str:
    if not plan.changes:
        return "nothing to do, it already has exactly these files"
    made = "" if plan.exists else "to be made, "
    return f"{made}{counted(len(plan.written), 'file')} to write, {len(plan.deleted)} to delete"


@click.group()
def catalogue() -> None:
    """Maintain the list of models that igan-zoo knows by name."""


@catalogue.command()
@click.argument("directories", nargs=-1, required=True, metavar="DIR...", type=click.Path(path_type=Path))
@click.option(
    "--repo", "repository", metavar="ORG/NAME", help="Repository where DIR was published; its newest commit is pinned."
)
@click.option("--file", "path", type=click.Path(path_type=Path), help="Catalogue to change.  [default: the package's]")
@token_option
def update(directories: tuple[Path, ...], repository: str | None, path: Path | None, token: str | None) -> None:
    """Record model directories in the catalogue: their checksums and, with --repo, where they are on the Hub.

    A directory that has changed counts as unpublished until --repo says where it is.
    """
    from igan_zoo.hub import publishing
    from igan_zoo.models.catalogue import FILE, update_catalogue
    from igan_zoo.models.directory import ModelDirectory

    if repository is not None and len(directories) > 1:
        raise click.UsageError("--repo requires exactly one DIR")
    entries = []
    for directory in map(ModelDirectory.open, directories):
        directory.verify()
        commit = publishing.published_commit(directory, repository, token=token) if repository else None
        entries.append(publishing.catalogue_entry(directory, repository, commit))
    changed = update_catalogue(entries, path or FILE)
    click.echo(f"{path or FILE}: {', '.join(changed) or 'nothing'} changed")
