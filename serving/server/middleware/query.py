"""What a request says in its address or its body, read strictly: what is unknown or comes twice is an error."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import msgspec

from igan_zoo.names import nearest
from igan_zoo.serving.server.errors import ProtocolError

_MOST_DIGITS = 20

Kind = TypeVar("Kind")


class Query:
    """Name and value pairs; each of ``names`` may come once, and no other."""

    def __init__(self, pairs: Iterable[tuple[str, str]], names: Iterable[str]) -> None:
        """Checks the names.

        Raises:
            ProtocolError: one is unknown or comes twice.
        """
        known = list(names)
        self._values: dict[str, str] = {}
        for name, value in pairs:
            if name not in known:
                hint = nearest(name, known) if known else "this route takes none."
                raise ProtocolError(f"There is no parameter {name!r}; {hint}")
            if name in self._values:
                raise ProtocolError(f"The parameter {name} was given twice; give it once.")
            self._values[name] = value

    def text(self, name: str) -> str | None:
        """Returns a value as it is, or None where it is not given."""
        return self._values.get(name)

    def integer(self, name: str, default: int, *, least: int, most: int) -> int:
        """Returns a whole number.

        Raises:
            ProtocolError: it is none, or not in ``least..most``.
        """
        value = self._values.get(name)
        if value is None:
            return default
        plain = value.isascii() and value.isdigit() and len(value) <= _MOST_DIGITS
        if not plain or not least <= int(value) <= most:
            raise ProtocolError(f"{name} is {value!r}; it must be a whole number in {least}..{most}.")
        return int(value)

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        """Returns one of ``choices``, by default the first.

        Raises:
            ProtocolError: it is none of them.
        """
        value = self._values.get(name, choices[0])
        if value not in choices:
            raise ProtocolError(f"{name} is {value!r}; it must be {' or '.join(choices)}.")
        return value


def read_json(body: bytes, kind: type[Kind], what: str) -> Kind:
    """Returns a body's JSON as ``kind``; ``what`` says for the error what it should be.

    Raises:
        ProtocolError: it is something else.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"The body is not the JSON of {what}: {str(error).rstrip('.')[:200]}.") from None
