"""What a source of images passed over: counted by reason, so that nothing vanishes without a word."""

from __future__ import annotations

from dataclasses import dataclass, field

_EXAMPLES = 3


@dataclass(frozen=True)
class Finding:
    """``count`` things that were passed over for one ``reason``, the first three by name.

    ``expected`` is true of what nobody misses: hidden files, those of a system, captions beside images.
    """

    reason: str
    count: int
    examples: tuple[str, ...]
    expected: bool = False

    def __str__(self) -> str:
        more = ", ..." if self.count > len(self.examples) else ""
        return f"{self.count:,} {self.reason} ({', '.join(self.examples)}{more})"


@dataclass
class Findings:
    """Counts findings as they come."""

    _found: dict[tuple[str, bool], list[str]] = field(default_factory=dict)
    _counts: dict[tuple[str, bool], int] = field(default_factory=dict)

    def add(self, reason: str, name: str, *, expected: bool = False) -> None:
        """Counts ``name`` as passed over for ``reason``, a noun in the plural."""
        key = reason, expected
        self._counts[key] = self._counts.get(key, 0) + 1
        examples = self._found.setdefault(key, [])
        if len(examples) < _EXAMPLES:
            examples.append(name)

    def listed(self) -> tuple[Finding, ...]:
        """Returns what was found: first what somebody may miss, then by number."""
        found = [
            Finding(reason, self._counts[reason, expected], tuple(examples), expected)
            for (reason, expected), examples in self._found.items()
        ]
        return tuple(sorted(found, key=lambda finding: (finding.expected, -finding.count)))
