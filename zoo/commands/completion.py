"""Arguments that a shell completes with the names of models or recipes; ``docs/command-line.md`` says how."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import click
from click.shell_completion import CompletionItem


class Named(click.types.StringParamType):
    """A text that is completed with files and with the keys of ``names()``, each explained by its value."""

    def __init__(self, name: str, names: Callable[[], Mapping[str, str]]) -> None:
        self.name, self._names = name, names

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        found = self._names().items()
        named = [CompletionItem(name, help=text) for name, text in found if name.startswith(incomplete)]
        return [*named, CompletionItem(incomplete, type="file")]


def _models() -> dict[str, str]:
    from igan_zoo.models.store import source_stores

    return {name: store.label for store in source_stores() for name in store.names()}


def _catalogue() -> dict[str, str]:
    from igan_zoo.models.catalogue import CATALOGUE

    return {entry.name: entry.summary for entry in CATALOGUE}


def _recipes() -> dict[str, str]:
    from igan_zoo.training.recipes.sentences import SENTENCES

    return SENTENCES


MODEL = Named("model", _models)
PUBLISHED_MODEL = Named("model", _catalogue)
RECIPE = Named("recipe", _recipes)
