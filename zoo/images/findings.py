"""What a source of images skipped: counted by reason, so that nothing vanishes without a word."""

from __future__ import annotations

from dataclasses import dataclass, field

from igan_zoo.counts import counted, plural
from igan_zoo.errors import printable

_EXAMPLES = 3


@dataclass(frozen=True)
class Finding:
    """``count`` things that were skipped for one reason, the first three by name.

    ``noun`` is what one is called, and ``detail`` what is said behind it, of one and of many: ``image`` and `` whose
    file is empty``. ``expected`` is true of what nobody misses, such as hidden files, and captions beside images.
    """

    noun: str
    detail: str
    count: int
    examples: tuple[str, ...]
    expected: bool = False

    @property
    def reason(self) -> str:
        """What they are, in the plural."""
        return f"{plural(self.noun)}{self.detail}"

    def __str__(self) -> str:
        more = ", ..." if self.count > len(self.examples) else ""
        return printable(f"{counted(self.count, self.noun)}{self.detail} ({', '.join(self.examples)}{more})")


@dataclass
class Findings:
    """Counts findings as they come."""

    _found: dict[tuple[str, str, bool], list[str]] = field(default_factory=dict)
    _counts: dict[tuple[str, str, bool], int] = field(default_factory=dict)

    def add(self, noun: str, detail: str, name: str, *, expected: bool = False) -> None:
        """Counts ``name`` as skipped; noun and detail are as for ``Finding``."""
        key = noun, detail, expected
        self._counts[key] = self._counts.get(key, 0) + 1
        examples = self._found.setdefault(key, [])
        if len(examples) < _EXAMPLES:
            examples.append(name)

    def listed(self) -> tuple[Finding, ...]:
        """Returns what was found: first what somebody may miss, then by number."""
        found = [
            Finding(noun, detail, self._counts[noun, detail, expected], tuple(examples), expected)
            for (noun, detail, expected), examples in self._found.items()
        ]
        return tuple(sorted(found, key=lambda finding: (finding.expected, -finding.count)))
