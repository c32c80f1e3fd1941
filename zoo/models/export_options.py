"""What the maker of a model directory may say, beside the run that it is made from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What else ``export`` is told.

    Attributes:
        weakness: a sentence for the card: what a person sees wrong with the generated images.
        note: a sentence for the card: what a reader of the errors must know.
        discriminator: adds a discriminator with minibatch discrimination, whose answer for an image depends on the
            others of its batch.
        temperature: what the logits of the classes are divided by, as ``evaluate`` finds it; no answer changes, only
            how sure it is.
        generator_run: another run, or a model directory, whose generator to take.
    """

    weakness: str | None = None
    note: str | None = None
    discriminator: bool = False
    temperature: float = 1.0
    generator_run: Path | None = None
