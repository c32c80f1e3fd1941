"""What a model is: the ``config.json`` of a model directory (contract 1), read strictly."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from igan_zoo.errors import ModelDirectoryError, SpecificationError
from igan_zoo.latents import Distribution
from igan_zoo.machine.files import open_regular

_NAME = r"^[a-z0-9][a-z0-9.-]{0,62}$"
Name = Annotated[str, Meta(pattern=_NAME)]
Text = Annotated[str, Meta(min_length=1)]
Positive = Annotated[int, Meta(ge=1)]
Share = Annotated[float, Meta(ge=0, le=1)]
Setting = bool | int | float | str | None

# Forms of a graph beside the plain one: float16 layers, 8-bit layers, and virtual batch normalization without the
# example's own moments.
Variant = Literal["fp16", "int8", "affine"]
VARIANTS: tuple[Variant, ...] = get_args(Variant)
# What a role's graph may be beside plain: a variant, or the same function rewritten for CPUs.
Form = Variant | Literal["cpu"]

# Roles that models may have graphs of. A discriminator is written on request: a classifier whose answers depend on the
# others of their batch. No command uses it.
ROLES = ("generator", "classifier", "discriminator")


def graph_file(role: str, form: Form | None = None) -> str:
    """Returns the ONNX file of a role, or of a form of it: a suffix of the stem, as the Hub's tools expect."""
    return f"onnx/{role}_{form}.onnx" if form else f"onnx/{role}.onnx"


CONFIG = "config.json"
_LONGEST_NAME = 255
_LARGEST_CONFIG = 2**22
WEIGHTS = "model.safetensors"
SAMPLES = "samples.png"
PARITY = "parity.json"
LABELS = "labels.csv"
REQUIRED = ("README.md", PARITY)
# What a mirror or the bundled copy may leave out: only training on needs the weights, only training again the labels,
# nothing needs the discriminator, and the plain graph does the work of the one for CPUs.
OPTIONAL = (WEIGHTS, LABELS, graph_file("discriminator"), *(graph_file(role, "cpu") for role in ROLES))


class Strict(Struct, frozen=True, forbid_unknown_fields=True):
    """A record whose fields are all checked and none of which may be unknown."""


class ImageSpec(Strict, kw_only=True, frozen=True):
    """Shape of the images: pixels are uint8, black 0; C is 1 (grey) or 3 (RGB).

    Images of another shape are resized, after ``crop`` to the largest central part of the same aspect ratio.
    """

    height: Positive
    width: Positive
    channels: Literal[1, 3]
    crop: bool = False


class LatentSpec(Strict, kw_only=True, frozen=True):
    """What a generator is fed: ``size`` numbers an image, drawn as :mod:`igan_zoo.latents` says."""

    size: Positive
    distribution: Distribution


class DatasetSpec(Strict, kw_only=True, frozen=True):
    """The data that the model was trained on: a Hub id and its licence."""

    id: Text
    license: Text


class TrainingSpec(Strict, kw_only=True, frozen=True):
    """How the model was made. ``command`` made the run; ``seconds`` is the wall time of all epochs.

    ``departures`` are the settings that differ from the paper's ``experiment``, as ``key=value (the paper's)``.
    ``settings`` are the whole recipe's, by name; older directories lack them. An ensemble has several ``members``.
    """

    recipe: Text
    command: Text
    labels: Annotated[int, Meta(ge=0)]
    seed: Annotated[int, Meta(ge=0)]
    epochs: Positive
    seconds: Annotated[int, Meta(ge=0)]
    versions: dict[str, str]
    experiment: Text | None = None
    departures: tuple[str, ...] = ()
    settings: dict[str, Setting] | None = None
    members: Positive = 1


class ResultSpec(Strict, kw_only=True, frozen=True, omit_defaults=True):
    """A measured error of the exported classifier, or of a variant: ``wrong`` of ``total`` images of one split."""

    dataset: Text
    split: Text
    wrong: Annotated[int, Meta(ge=0)]
    total: Positive
    variant: Variant | None = None

    @property
    def error(self) -> float:
        """The share of wrong answers."""
        return self.wrong / self.total


class FileSpec(Strict, kw_only=True, frozen=True):
    """The bytes that a file must have."""

    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    size: Annotated[int, Meta(ge=0)]


class ModelSpec(Strict, kw_only=True, frozen=True):
    """A model directory's ``config.json``.

    ``latent`` is there if and only if the model has a generator, ``classes`` if and only if it has a classifier.
    ``least_realness`` is what 99 of 100 training images exceed in realness, and ``temperature`` what the logits of the
    classes were divided by; older directories lack both. ``weakness`` is a sentence on what a person sees wrong with
    the generated images, and ``note`` what a reader of the errors must know, both for the card.
    """

    format: Literal[1] = 1
    name: Name
    summary: Text
    license: Text
    dataset: DatasetSpec
    image: ImageSpec
    latent: LatentSpec | None = None
    classes: tuple[str, ...] | None = None
    least_realness: Share | None = None
    temperature: Annotated[float, Meta(gt=0)] | None = None
    weakness: Text | None = None
    note: Text | None = None
    training: TrainingSpec
    generator_training: TrainingSpec | None = None  # where the generator comes from a run of its own
    results: tuple[ResultSpec, ...] = ()
    files: dict[str, FileSpec] = {}

    def __post_init__(self) -> None:
        if self.latent is None and self.classes is None:
            raise ValueError("a model has a generator, a classifier or both, so give latent or classes")
        for path in self.files:
            pure = PurePosixPath(path)
            if pure.is_absolute() or ".." in pure.parts or "\\" in path or str(pure) != path or path == CONFIG:
                raise ValueError(f"the file name {path!r} does not stay inside the directory")
            if not path.isprintable() or len(path) > _LONGEST_NAME:
                raise ValueError(f"the file name {path[:100]!r} is too long or has a character that cannot be printed")

    @property
    def graphs(self) -> dict[str, str]:
        """The ONNX file of every role that the model has."""
        parts = {"generator": self.latent, "classifier": self.classes}
        return {role: graph_file(role) for role, part in parts.items() if part is not None}

    def variants(self, role: str) -> tuple[Variant, ...]:
        """The variants of a role's graph that the model has."""
        return tuple(variant for variant in VARIANTS if role in self.graphs and graph_file(role, variant) in self.files)

    def files_for(self, variant: Variant) -> tuple[str, ...]:
        """Returns the files that running one variant takes: a part without it comes plain, training weights not at all.

        Raises:
            ModelDirectoryError: no part has that variant.
        """
        if not any(variant in self.variants(role) for role in self.graphs):
            found = {found for role in self.graphs for found in self.variants(role)}
            raise missing_variant(f"{variant} variant", self.name, sorted(found))
        others = {graph_file(role, other) for role in self.graphs for other in (None, *VARIANTS)} | {*OPTIONAL}
        plain = [role for role in self.graphs if variant not in self.variants(role)]
        chosen = {graph_file(role, form) for role in plain for form in (None, "cpu")}
        chosen |= {graph_file(role, variant) for role in self.graphs if role not in plain}
        return tuple(name for name in self.files if name in chosen or name not in others)

    def may_lack(self, name: str, present: Collection[str]) -> bool:
        """Returns whether a copy with the files ``present`` is of use without ``name``: another form does its work."""
        if name in OPTIONAL:
            return True
        forms = [{graph_file(role, variant) for variant in (None, *VARIANTS)} for role in self.graphs]
        return any(name in same and not same.isdisjoint(present) for same in forms)


def missing_variant(what: str, name: str, others: Iterable[str]) -> ModelDirectoryError:
    """Returns the error for a variant that the model ``name`` does not have; ``others`` are those that it has."""
    found = ", ".join(others)
    advice = f"it has {found}; use one of them, or remove --variant" if found else "remove --variant"
    return ModelDirectoryError(f"{name} has no {what}: {advice}.")


def is_name(text: str) -> bool:
    """Returns whether a model may be called so."""
    return re.fullmatch(_NAME, text) is not None


def read_spec(path: Path) -> ModelSpec:
    """Reads and checks a ``config.json``.

    Raises:
        ModelDirectoryError: there is none.
        SpecificationError: it is not JSON, lacks a field, has an unknown one, or a value is out of range.
    """
    try:
        with open_regular(path) as file:
            content = file.read(_LARGEST_CONFIG + 1)
    except OSError:
        raise ModelDirectoryError(f"{path.parent} is not a model directory: it has no {CONFIG}.") from None
    if len(content) > _LARGEST_CONFIG:
        raise SpecificationError(f"{path} has more than {_LARGEST_CONFIG:,} bytes, which no model needs.")
    try:
        spec = msgspec.json.decode(content, type=ModelSpec)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SpecificationError(f"{path} is not a valid model specification: {error}.") from error
    samples = () if spec.latent is None else (SAMPLES,)
    for name in (*spec.graphs.values(), *REQUIRED, *samples):
        if name not in spec.files:
            raise SpecificationError(f"{path} names no file {name}, which this model must have.")
    return spec


def encode_spec(spec: ModelSpec) -> bytes:
    """Returns the bytes of ``config.json``: indented JSON in a fixed order."""
    return msgspec.json.format(msgspec.json.encode(spec), indent=2) + b"\n"
