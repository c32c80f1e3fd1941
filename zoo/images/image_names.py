"""Which image a person means who writes its name a little differently."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Collection
from functools import cached_property
from pathlib import PurePosixPath

from igan_zoo.errors import DataError
from igan_zoo.images.files.kinds import SUFFIXES

# So many names are compared for a suggestion: each takes some microseconds.
_COMPARED = 20_000

Parts = tuple[str, ...]


class ImageNames:
    """The names of images, with ``/`` between, and how to find one of them.

    The name as it is goes first; then what differs least: the Unicode form (macOS decomposes accents), the folders
    before it, its case and its suffix. A difference is accepted where exactly one image is meant.
    """

    def __init__(self, known: Collection[str]) -> None:
        self.known = known if isinstance(known, set | frozenset | dict) else set(known)

    def find(self, name: str, where: str, place: str) -> str:
        """Returns the known name that ``name`` means; errors begin with ``where`` and call the data ``place``.

        Raises:
            DataError: none is meant, or several are.
        """
        for written in (name, PurePosixPath(name).as_posix(), PurePosixPath(name.replace("\\", "/")).as_posix()):
            if written in self.known:
                return written
        wanted = _parts(name.replace("\\", "/"))
        candidates = self._by_stem.get(_loose(wanted)[-1], [])
        for alike in (_composed, _loose):
            found = _longest(alike(wanted), [(alike(_parts(candidate)), candidate) for candidate in candidates])
            if len(found) == 1:
                return found[0]
            if found:
                listed = ", ".join(sorted(found)[:3])
                raise DataError(f"{where} names {name!r}, which may be {listed}; write the folder and the suffix, too.")
        raise DataError(f"{where} names {name!r}, but there is no such image in {place}{self._suggestion(name)}")

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name in self.known:
            found.setdefault(_loose(_parts(name))[-1], []).append(name)
        return found

    def _suggestion(self, name: str) -> str:
        close = difflib.get_close_matches(name, sorted(self.known)[:_COMPARED], n=1)
        return f"; did you mean {close[0]}?" if close else "."


def _parts(name: str) -> Parts:
    return tuple(part for part in name.split("/") if part not in ("", ".", "..")) or ("",)


def _composed(parts: Parts) -> Parts:
    return tuple(unicodedata.normalize("NFC", part) for part in parts)


def _loose(parts: Parts) -> Parts:
    """Returns the parts of a name without what people write differently."""
    *folders, last = (part.casefold() for part in _composed(parts))
    suffix = next((suffix for suffix in SUFFIXES if last.endswith(suffix)), "")
    return *folders, last.removesuffix(suffix)


def _longest(wanted: Parts, candidates: list[tuple[Parts, str]]) -> list[str]:
    """Returns the candidates that end as ``wanted`` does as far as both go, those with the most parts in common."""
    shared: dict[int, list[str]] = {}
    for parts, name in candidates:
        count = min(len(parts), len(wanted))
        if parts[-count:] == wanted[-count:]:
            shared.setdefault(count, []).append(name)
    return shared[max(shared)] if shared else []
