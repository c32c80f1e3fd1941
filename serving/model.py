"""A loaded model: its graphs in an engine, and what its specification or their metadata say about them."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, get_args, overload

import numpy as np
from numpy.typing import NDArray

from igan_zoo.errors import ImageError, InterfaceError, ModelDirectoryError
from igan_zoo.images.sources import names_several, open_given
from igan_zoo.images.stored import LabeledSource
from igan_zoo.images.summary import log_summary
from igan_zoo.latents import Distribution
from igan_zoo.machine.progress import Progress, showing_progress
from igan_zoo.models.class_words import readable
from igan_zoo.models.interface import CLASSES_KEY, CROP_KEY, DISTRIBUTION_KEY, LEAST_REALNESS_KEY
from igan_zoo.models.spec import LatentSpec, ModelSpec, Variant
from igan_zoo.models.store import Model
from igan_zoo.serving.classifying import Classification, classify, realness_of
from igan_zoo.serving.engine import Device, Engine, Graph, Precision, check_specification, load_engine
from igan_zoo.serving.notes import Expected
from igan_zoo.serving.sampling import sample

if TYPE_CHECKING:
    from igan_zoo.evaluation.evaluation import Evaluation
    from igan_zoo.images.given import GivenImages

Role = Literal["generator", "classifier"]
ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True)
class LoadedModel:
    """A model and the engine that holds its graphs; as thread-safe as the engine.

    ``engine`` is the level below: ``engine.run(role, {input: array})`` returns every output of a graph as an array.
    """

    model: Model
    engine: Engine
    device: Device = "cpu"
    variant: Variant | None = None

    @property
    def name(self) -> str:
        """The model's name; for a single ``.onnx`` file, its name without the suffix."""
        return self.model.name

    @property
    def path(self) -> Path:
        """The model directory, or the ``.onnx`` file."""
        return self.model.path

    @property
    def spec(self) -> ModelSpec | None:
        """What ``config.json`` says; None for a single ``.onnx`` file."""
        return self.model.directory.spec if self.model.directory is not None else None

    @property
    def provider(self) -> str:
        """The execution provider that actually runs the graphs, such as ``CPUExecutionProvider``."""
        return self.engine.provider

    @property
    def latents(self) -> LatentSpec:
        """Size and distribution of the latents that the generator takes.

        Raises:
            ModelDirectoryError: the model was loaded without a generator.
            InterfaceError: it is a single ``.onnx`` file that does not say how its latents are distributed.
        """
        graph = self._graph("generator")
        if self.spec is not None and self.spec.latent is not None:
            return self.spec.latent
        said = graph.metadata.get(DISTRIBUTION_KEY)
        if said not in get_args(Distribution):
            raise InterfaceError(
                f"{self.path} does not name its latent distribution in its metadata ({DISTRIBUTION_KEY})."
            )
        return LatentSpec(size=graph.input_shape[0], distribution=cast("Distribution", said))

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classifier's outputs, in order; numbers if they have no names.

        Raises:
            ModelDirectoryError: the model was loaded without a classifier.
        """
        count = self._graph("classifier").output_shape[0]
        return self.known_classes or tuple(str(index) for index in range(count))

    @property
    def known_classes(self) -> tuple[str, ...] | None:
        """The same, but None if neither the specification nor the graph's metadata names them."""
        if self.spec is not None and self.spec.classes is not None:
            return self.spec.classes
        return classes_in(self._graph("classifier"))

    @property
    def crop(self) -> bool:
        """Whether images are cropped to their central part before they are resized for the classifier."""
        if self.spec is not None:
            return self.spec.image.crop
        return self._graph("classifier").metadata.get(CROP_KEY) == "true"

    @property
    def expected(self) -> Expected:
        """What the classifier's training images are like, for notes next to its answers."""
        if self.spec is None:
            return Expected(least_realness_in(self._graph("classifier")))
        # MNIST's digits are white on black; photos of paper are the reverse.
        return Expected(self.spec.least_realness, light_on_dark=self.spec.dataset.id == "ylecun/mnist")

    def sample(
        self, count: int, *, seed: int = 0, start: int = 0, batch_size: int = 250, progress: bool = False
    ) -> NDArray[np.uint8]:
        """Returns generated images, uint8 ``[count, H, W, C]``.

        Args:
            count: how many.
            seed: 0 to 2**64 - 1. Image *i* of a seed is the same in every range, batch and process, within one gray
            level
                if batch sizes differ.
            start: the index of the first image.
            batch_size: how many run together.
            progress: shows a progress bar.

        Raises:
            ModelDirectoryError: the model was loaded without a generator.
            InterfaceError: it is a single ``.onnx`` file that does not say how its latents are distributed.
        """
        images = np.empty((count, *self._graph("generator").output_shape), np.uint8)
        done = 0
        with showing_progress(progress), Progress("sampling", count, unit="images") as bar:
            for batch in self.sample_batches(count, seed=seed, start=start, batch_size=batch_size):
                images[done : done + len(batch)] = batch
                done += len(batch)
                bar.advance(len(batch))
        return images

    def sample_batches(
        self, count: int, *, seed: int = 0, start: int = 0, batch_size: int = 250
    ) -> Iterator[NDArray[np.uint8]]:
        """Yields the images of :meth:`sample` a batch at a time, uint8 ``[n, H, W, C]``: more than memory holds."""
        at_once = min(self.engine.threads, -(-count // batch_size)) if self.device == "cpu" else 1
        yield from sample(
            self.engine if at_once == 1 else self._one_thread,
            self.latents.distribution,
            seed=seed,
            start=start,
            count=count,
            batch_size=batch_size,
            at_once=at_once,
        )

    @functools.cached_property
    def _one_thread(self) -> Engine:
        """A second session of the generator, for several batches at the same time, each in its own thread."""
        precision = self.engine.precision
        return load_engine(
            self.model, ["generator"], device=self.device, threads=1, variant=self.variant, precision=precision
        )

    @overload
    def classify(
        self,
        images: GivenImages,
        *,
        top: int = 1,
        batch_size: int = 100,
        errors: Literal["raise"] = "raise",
        progress: bool = False,
    ) -> list[Classification]: ...

    @overload
    def classify(
        self,
        images: GivenImages,
        *,
        top: int = 1,
        batch_size: int = 100,
        errors: Literal["return"],
        progress: bool = False,
    ) -> list[Classification | ImageError]: ...

    def classify(
        self,
        images: GivenImages,
        *,
        top: int = 1,
        batch_size: int = 100,
        errors: Literal["raise", "return"] = "raise",
        progress: bool = False,
    ) -> Sequence[Classification | ImageError]:
        """Returns the classes of images, one answer per image in order.

        Args:
            images: one or several of: the path of an image file, of a folder or an archive of them, or of an array; the
                bytes of an image file; a Pillow image; an array uint8 ``[H, W]``, ``[H, W, C]`` or ``[N, H, W, C]``
                with C = 1 or 3. Images of any size are brought to the classifier's.
            top: how many classes an answer has, best first.
            batch_size: how many images run together.
            errors: ``"raise"`` raises the error of the first image that cannot be used; ``"return"`` puts each error in
                the place of its answer.
            progress: shows a progress bar.

        Raises:
            ImageError: an image cannot be used; the message names it.
            ModelDirectoryError: the model was loaded without a classifier.
        """
        names, source, crop = readable(self.classes), _opened(images), self.crop
        with showing_progress(progress):
            found = classify(
                self.engine, names, source, top=top, crop=crop, batch_size=batch_size, expected=self.expected
            )
            answers = list(found)
        if errors == "raise":
            for answer in answers:
                if isinstance(answer, ImageError):
                    raise answer
        return answers

    def realness(self, images: GivenImages, *, batch_size: int = 100, progress: bool = False) -> NDArray[np.float32]:
        """Returns the discriminator's realness of images, float32 ``[N]`` in [0, 1].

        This is D(x) = Z / (Z + 1), where Z is the sum of the exponentials of the logits: low for images unlike the
        training images. ``images`` are as for :meth:`classify`.

        Raises:
            ImageError: an image cannot be used; the message names it.
            ModelDirectoryError: the model was loaded without a classifier.
        """
        self._graph("classifier")
        with showing_progress(progress):
            return realness_of(self.engine, _opened(images), crop=self.crop, batch_size=batch_size)

    def evaluate(
        self,
        data: str | PathLike[str],
        *,
        split: str | None = None,
        labels_file: str | PathLike[str] | None = None,
        progress: bool = False,
    ) -> Evaluation:
        """Tests the classifier on labeled images and returns ``wrong`` of ``total``, the rate ``error``, and more.

        ``by_class``, ``confusion``, ``wrong_files`` and ``calibration`` describe errors by class, wrong images, and how
        reliable the probabilities are.

        Args:
            data: labeled images: a Hub id, a copy in the Hub's layout, or a folder with a folder for each class.
                Classes are matched by name, where the model names its own.
            split: the part of the data. None is ``test``, or all of a folder that has no splits.
            labels_file: a CSV file of the images' labels.
            progress: shows a progress bar.

        Raises:
            DataError: the images, the split or the labels are missing, or have classes that the model does not know.
            ModelDirectoryError: the model was loaded without a classifier.
        """
        from igan_zoo.serving.evaluating import evaluate_model

        self._graph("classifier")
        with showing_progress(progress):
            labels = None if labels_file is None else Path(labels_file)
            return evaluate_model(self, fspath(data), split, labels)

    def _graph(self, role: Role) -> Graph:
        try:
            return self.engine.graphs[role]
        except KeyError:
            loaded = ", ".join(self.engine.graphs)
            raise ModelDirectoryError(f"{self.name} was loaded without a {role}; it has: {loaded}.") from None


def load_model(
    model: Model,
    roles: Sequence[Role] | None = None,
    *,
    device: Device = "cpu",
    variant: Variant | None = None,
    threads: int | None = None,
    precision: Precision = "fp32",
) -> LoadedModel:
    """Verifies and loads the graphs of ``roles``, or all that the model has.

    With ``variant``, a graph that has no such form is loaded plain, if another one has it.

    Raises:
        ModelDirectoryError: the model has no such graph, or no graph in that form.
        ChecksumError: a file was changed.
        InterfaceError: a file is not the expected graph.
        DeviceError, MissingExtraError: the device, or onnxruntime, is not available.
    """
    if roles is None:
        if model.directory is None:
            return LoadedModel(model, _engine_of_file(model, device, variant, threads, precision), device, variant)
        roles = [role for role in ROLES if role in model.directory.spec.graphs]
    engine = load_engine(model, roles, device=device, threads=threads, variant=variant, precision=precision)
    return LoadedModel(model, engine, device, variant)


def _engine_of_file(
    model: Model, device: Device, variant: Variant | None, threads: int | None, precision: Precision
) -> Engine:
    """Loads an ``.onnx`` file, whose role is inferred from its inputs and outputs."""
    content = model.graph("classifier", variant)
    for role in ROLES:
        try:
            engine = Engine({role: content}, device=device, threads=threads, precision=precision)
        except InterfaceError:
            continue
        check_specification(model, engine)
        return engine
    raise InterfaceError(f"{model.path} is neither a generator nor a classifier that onnxruntime loads.")


def _opened(images: GivenImages) -> LabeledSource:
    """Opens images, and logs the contents of folders and archives among them."""
    source = open_given(images)
    if names_several(images):
        log_summary(source, source.reference)
    return source


def least_realness_in(graph: Graph) -> float | None:
    """Returns the realness that nearly all training images exceed, if a classifier's metadata has it."""
    try:
        return float(graph.metadata[LEAST_REALNESS_KEY])
    except (KeyError, ValueError):
        return None


def classes_in(graph: Graph) -> tuple[str, ...] | None:
    """Returns the class names in a classifier's metadata, if there are as many as outputs."""
    try:
        names = json.loads(graph.metadata.get(CLASSES_KEY, "null"))
    except (json.JSONDecodeError, RecursionError):
        return None
    if isinstance(names, list) and len(names) == graph.output_shape[0]:
        return tuple(str(name) for name in names)
    return None
