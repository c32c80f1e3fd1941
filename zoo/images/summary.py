"""What a source of images holds: how many of which class, in which formats, and what is skipped and why."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from igan_zoo.counts import counted
from igan_zoo.errors import DataError, ImageError, printable
from igan_zoo.images.batches import decode_ahead
from igan_zoo.images.files.kinds import SNIFFED_BYTES, image_format
from igan_zoo.images.findings import Finding, Findings
from igan_zoo.images.folders.source import FolderSource, split_folders
from igan_zoo.images.memory import JoinedSource, ListedImages
from igan_zoo.images.pixels import PREVIEW, quiet_pillow
from igan_zoo.images.sources import is_undivided, open_source
from igan_zoo.images.stored import LabeledSource
from igan_zoo.machine.files import open_regular
from igan_zoo.machine.progress import Progress

_LOG = logging.getLogger(__name__)
_MOST_CLASSES = 12
_EXAMPLES = 3


@dataclass(frozen=True)
class SplitSummary:
    """Images of one part of a data set: labeled ones by class, formats by number of files, and what was skipped.

    ``unusable`` are images that cannot be decoded, None where nobody has tried. ``formats`` are known of files only.
    """

    name: str
    images: int
    classes: Mapping[str, int]
    formats: Mapping[str, int]
    passed_over: tuple[Finding, ...]
    unusable: tuple[Finding, ...] | None = None

    @property
    def labeled(self) -> int:
        """How many images have a label."""
        return sum(self.classes.values())

    @property
    def unlabeled(self) -> int:
        """How many images have none."""
        return self.images - self.labeled

    def sentence(self) -> str:
        """Returns the counts in one line, without what was skipped."""
        count = f"{self.name}: {counted(self.images, 'image')}"
        formats = f" ({_listed(self.formats)})" if self.formats else ""
        parts = [f"{self.unlabeled:,} without a label"] if self.unlabeled and self.classes else []
        if self.classes:
            parts.insert(0, f"{counted(len(self.classes), 'class')}: {_listed(self.classes)}")
        return printable("; ".join([count + formats, *parts]))


@dataclass(frozen=True)
class Summary:
    """The parts of a data set; ``duplicates`` are images of one part whose pixels are those of one in another."""

    reference: str
    splits: tuple[SplitSummary, ...]
    duplicates: tuple[Finding, ...] | None = None
    sources: tuple[LabeledSource, ...] = field(default=(), repr=False, compare=False)


def summarize(source: LabeledSource, name: str) -> SplitSummary:
    """Counts what an open source holds; of files only the first bytes are read, and nothing is decoded."""
    labels = source.labels(range(len(source)))
    counts = np.bincount(labels[labels >= 0], minlength=len(source.classes)).tolist()
    classes = dict(zip(source.classes, counts, strict=True))
    return SplitSummary(name, len(source), classes, dict(_formats(source).most_common()), source.findings)


def log_summary(source: LabeledSource, name: str) -> None:
    """Logs in a line what an open source holds, in another what is ignored, and in more what may be missed."""
    if _LOG.isEnabledFor(logging.INFO):
        _LOG.info("%s", summarize(source, name).sentence())
        if ignored := "; ".join(str(finding) for finding in source.findings if finding.expected):
            _LOG.info("Ignored: %s", ignored)
    for finding in source.findings:
        if not finding.expected:
            _LOG.warning("Passed over: %s", finding)


def inspect_images(reference: str, *, labels_file: Path | None = None, decode: bool = True) -> Summary:
    """Counts what every part of a data set holds; with ``decode`` also which images cannot be used, and duplicates.

    Raises:
        DataError: there are no images, or the labels are not what they should be.
    """
    sources = _parts(reference, labels_file)
    splits = [summarize(source, name) for name, source in sources.items()]
    duplicates = None
    if decode:
        digests = {}
        for place, (name, source) in enumerate(sources.items()):
            digests[name], unusable = _decoded(source)
            splits[place] = replace(splits[place], unusable=unusable)
        duplicates = _duplicates(sources, digests)
    return Summary(reference, tuple(splits), duplicates, tuple(sources.values()))


def _parts(reference: str, labels_file: Path | None) -> dict[str, LabeledSource]:
    """Returns the open parts of a data set by name, in the order training, test."""
    root = Path(reference)
    if not root.is_dir() and root.exists():
        return {"all": open_source(reference, labeled=True, labels_file=labels_file)}
    if is_undivided(reference):
        return {"all": open_source(reference, split="train", labeled=True, labels_file=labels_file)}
    names: Sequence[str] = split_folders(root) if root.is_dir() else ()
    found: dict[str, LabeledSource] = {}
    errors = []
    for name in sorted(names, key=lambda name: not name.lower().startswith("train")) or ("train", "test"):
        try:
            found[name] = open_source(reference, split=name, labeled=True, labels_file=labels_file)
        except DataError as error:
            # A data set of the Hub need not have both, but folders that are there have to be readable.
            if names:
                raise
            errors.append(error)
    if not found:
        raise errors[0]
    return found


def _formats(source: LabeledSource) -> Counter[str]:
    """Returns how many files of a source begin as an image of which format; none of what is no file of its own."""
    counts: Counter[str] = Counter()
    for part in source.sources if isinstance(source, JoinedSource) else [source]:
        if not isinstance(part, FolderSource | ListedImages):
            continue
        for image in part.fetch(range(len(part))):
            if isinstance(image.content, Path):
                counts[_format_of(image.content)] += 1
    return counts


def _format_of(path: Path) -> str:
    try:
        with open_regular(path) as file:
            return image_format(file.read(SNIFFED_BYTES)) or "unknown"
    except OSError:
        return "unreadable"


def _decoded(source: LabeledSource) -> tuple[list[bytes | None], tuple[Finding, ...]]:
    """Returns a hash of the pixels of every image, None where there are none, and why."""
    digests: list[bytes | None] = [None] * len(source)
    findings = Findings()
    with (
        Progress(f"decoding {source.reference}", len(source), unit="images") as progress,
        quiet_pillow(),
        closing(decode_ahead(source, range(len(source)), PREVIEW)) as decoded,
    ):
        for index, result in decoded:
            if isinstance(result, ImageError):
                findings.add("image", _why(result, source, index), source.name(index))
            else:
                digests[index] = _digest(result)
            progress.advance(1)
    return digests, findings.listed()


def _why(error: ImageError, source: LabeledSource, index: int) -> str:
    """Returns what is wrong with an image without its name, so that equal faults are counted together."""
    said = str(error).rstrip(".")
    name = source.name(index)
    place = str(source.root / name) if isinstance(source, FolderSource) else name
    _, known, rest = said.partition(place)
    return f" whose file {rest.strip() or 'is missing'}" if known else f" without usable pixels: {said}"


def _digest(pixels: NDArray[np.uint8]) -> bytes:
    return hashlib.sha256(repr(pixels.shape).encode() + np.ascontiguousarray(pixels).data).digest()


def _duplicates(
    sources: Mapping[str, LabeledSource], digests: Mapping[str, Sequence[bytes | None]]
) -> tuple[Finding, ...]:
    """Returns, for each two parts, how many images of the later one have the pixels of one in the earlier."""
    found = []
    names = list(sources)
    for place, first in enumerate(names):
        known = {digest: index for index, digest in reversed(list(enumerate(digests[first]))) if digest is not None}
        for second in names[place + 1 :]:
            pairs = [(index, known[digest]) for index, digest in enumerate(digests[second]) if digest in known]
            if pairs:
                shown = tuple(
                    f"{sources[second].name(index)} = {sources[first].name(same)}" for index, same in pairs[:_EXAMPLES]
                )
                found.append(Finding("image", f" of {second} with the pixels of one of {first}", len(pairs), shown))
    return tuple(found)


def _listed(counts: Mapping[str, int]) -> str:
    shown = [f"{name} {count:,}" for name, count in list(counts.items())[:_MOST_CLASSES]]
    more = len(counts) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more > 0 else "")
