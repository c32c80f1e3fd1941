"""Commands about what was pulled: cache list, cache prune, cache path."""

from __future__ import annotations

import click

from igan_zoo.commands.options import json_option
from igan_zoo.commands.terminal import print_json, print_table
from igan_zoo.counts import counted


@click.group()
def cache() -> None:
    """List or clear the cache of pulled models."""


@cache.command("list")
@click.argument("patterns", nargs=-1, metavar="[PATTERN]...")
@json_option
def list_cache(patterns: tuple[str, ...], as_json: bool) -> None:
    """List pulled models, or those whose names match a pattern such as 'mnist-*'."""
    from igan_zoo.hub.cache import list_cached

    models = list_cached(patterns)
    if as_json:
        rows = [{"name": m.name, "path": str(m.path), "size": m.size, "variants": list(m.variants)} for m in models]
        print_json(rows)
    elif models:
        print_table([(m.name, f"{m.size:,} bytes", ", ".join(m.variants) or "plain", str(m.path)) for m in models])


@cache.command()
@click.argument("patterns", nargs=-1, metavar="[PATTERN]...")
@click.option("--dry-run", is_flag=True, help="Print what would be removed, and remove nothing.")
def prune(patterns: tuple[str, ...], dry_run: bool) -> None:
    """Remove leftovers of interrupted pulls, and the copies of igan-zoo models in the Hub's cache.

    Pulled models stay, except those whose names match a PATTERN. '*' removes all.
    """
    from igan_zoo.hub.cache import removable, remove

    found = removable(patterns)
    for path, size in found:
        click.echo(f"{path}  {size:,} bytes")
        if not dry_run:
            remove(path)
    click.echo(f"{counted(len(found), 'folder')} {'would be ' if dry_run else ''}removed", err=True)


@cache.command()
def path() -> None:
    """Print the directory of pulled models (IGAN_ZOO_HOME says where)."""
    from igan_zoo.models.store import cache_store

    click.echo(cache_store().root)
