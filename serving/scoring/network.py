"""What answers for images when they are scored: a scorer of contract 2, or a classifier of the zoo."""

from __future__ import annotations

import functools
import hashlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from igan_zoo.errors import InterfaceError, ScoringError
from igan_zoo.images.pixels import Shape
from igan_zoo.machine.cores import cores
from igan_zoo.models import store
from igan_zoo.models.interface import PRECISION_KEY, RESIZE_KEY, SCORER_KEY, WEIGHTS_KEY
from igan_zoo.serving.engine import PROVIDERS, Arrays, Device, Engine, Graph, check_specification
from igan_zoo.serving.model import LoadedModel
from igan_zoo.serving.scoring.protocols import INCEPTION, INCEPTION_CLEAN, INCEPTION_SPATIAL, INCEPTION_WEIGHTS
from igan_zoo.serving.scoring.statistics_cache import kept

Pixels = NDArray[np.uint8]
Scores = NDArray[np.float32]


# A scorer resizes inside, so that its memory grows with the batch and its speed hardly; small classifiers are faster in
# larger batches.
SCORER_BATCH = 10
CLASSIFIER_BATCH = 100
# What the resize of a record says of pixels as they are stored, so that such numbers do not compare with others.
_AS_STORED = ", pixels as stored"


class Network:
    """Features and logits of images, and everything about their origin that a score depends on.

    ``shape`` is None where images of any size are resized inside the graph, and ``input`` what images are decoded to.
    ``batch_size`` is how many images to answer for at a time. ``content`` gives the bytes of the graph, to run it
    elsewhere.
    """

    def __init__(
        self, name: str, sha256: str, engine: Engine, *, shape: Shape | None, content: Callable[[], bytes] | None = None
    ) -> None:
        self.name, self.sha256, self.shape, self.engine = name, sha256, shape, engine
        self.provider, self.content = engine.provider, content
        self._role = "scorer" if shape is None else "classifier"
        graph = engine.graphs[self._role]
        self.channels = graph.input_shape[-1]
        self.precision = graph.metadata.get(PRECISION_KEY, "fp32") if engine.precision == "fp32" else engine.precision
        self.input = shape or Shape(self.channels)
        self.resize = _resize(shape) if shape else graph.metadata.get(RESIZE_KEY, "inside the graph")
        self.batch_size = SCORER_BATCH if shape is None else CLASSIFIER_BATCH

    @property
    def features(self) -> int:
        """How many features an image has: 0 for a classifier."""
        return self._sizes[0]

    @property
    def classes(self) -> int:
        """How many logits an image has: 0 for an encoder."""
        return self._sizes[1]

    @functools.cached_property
    def _sizes(self) -> tuple[int, int]:
        shapes = self.engine.graphs[self._role].outputs
        features, classes = (shapes[name][0] if name in shapes else 0 for name in ("features", "logits"))
        if -1 in (features, classes):
            # The file leaves a size open, which an answer has.
            size = (self.input.height or 32, self.input.width or 32)
            answers = self.answer(np.zeros((1, *size, self.channels), np.uint8))
            features, classes = (answer.shape[1] for answer in answers)
        return features, classes

    def answer(self, images: Pixels) -> tuple[Scores, Scores]:
        """Returns features float32 ``[n, features]`` and logits ``[n, classes]`` of images uint8 ``[n, H, W, C]``.

        Raises:
            InterfaceError: the graph does not take them.
        """
        outputs = self.engine.run(self._role, {"images": images})
        none = np.zeros((len(images), 0), np.float32)
        return outputs.get("features", none), outputs.get("logits", none)

    def take_as_stored(self) -> None:
        """From now on takes the pixels of files as they are stored, and says so in its ``resize``.

        Raises:
            ScoringError: it is a classifier of the zoo.
        """
        if self.shape is not None:
            raise ScoringError(f"--as-stored is for scorers, and {self.name} is a classifier of the zoo: remove it.")
        self.input = replace(self.input, as_stored=True)
        self.resize += _AS_STORED


class _KnownEngine(Engine):
    """An engine for CPUs of a graph that was loaded here before: its session is made when the first batch comes."""

    def __init__(self, content: bytes, graphs: dict[str, Graph], threads: int | None) -> None:
        self.graphs, self.provider, self.precision = graphs, PROVIDERS["cpu"], "fp32"
        self.threads = threads or cores()
        # Bytes until they are loaded: a second copy of the weights would be as large as all else.
        self._graph: bytes | Engine = content
        self._loading = threading.Lock()

    def run(self, role: str, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        with self._loading:
            if isinstance(self._graph, bytes):
                self._graph = Engine({role: self._graph}, threads=self.threads)
        return self._graph.run(role, inputs)


def open_network(
    reference: str, *, device: Device = "cpu", threads: int | None = None, remembered: bool = False
) -> Network:
    """Loads a scorer: an ``.onnx`` file, or the classifier of a model's name or directory.

    A file without metadata is called by its name and sha256. Nothing but a graph of the published weights is called
    ``inception-2015-12-05``. What a file for CPUs says of itself is kept in the cache if ``remembered``. Then the next
    call does not load it before the first image comes, which takes longer than all else where statistics are cached.

    Raises:
        UnknownNameError, ModelDirectoryError, ChecksumError: there is no such model, or it is damaged.
        InterfaceError: the file is neither a scorer nor a classifier, or claims a name that is not its own.
        DeviceError, MissingExtraError: as ``Engine``.
    """
    model = store.resolve(reference)
    content = model.graph("classifier")
    sha256 = hashlib.sha256(content).hexdigest()
    if device != "cpu" or not remembered:
        return network_of(model, sha256, _engine(model, content, device, threads))
    engines = []

    def load() -> dict[str, Graph]:
        engines.append(_engine(model, content, device, threads))
        return dict(engines[0].graphs)

    graphs = kept(dict[str, Graph], ["graph", sha256, model.directory is None], load)
    engine = engines[0] if engines else _KnownEngine(content, graphs, threads)
    if model.directory is not None:
        check_specification(model, engine)
    return network_of(model, sha256, engine)


def network_of(model: store.Model, sha256: str, engine: Engine) -> Network:
    """Returns a loaded scorer, or else classifier, of a model as what answers; ``sha256`` is that of its graph's file.

    Raises:
        InterfaceError: a scorer claims a name that is not its own.
    """
    content = functools.partial(model.graph, "classifier")
    if "scorer" in engine.graphs:
        return Network(_scorer_name(model.path, sha256, engine), sha256, engine, shape=None, content=content)
    height, width, channels = engine.graphs["classifier"].image_shape
    name = model.name if model.directory is not None else f"{model.path.stem}-{sha256[:8]}"
    shape = Shape(channels, height, width, LoadedModel(model, engine).crop)
    return Network(name, sha256, engine, shape=shape, content=content)


def _resize(shape: Shape) -> str:
    return f"pillow-bilinear-{shape.height}x{shape.width}" + ("-crop" if shape.crop else "")


def _engine(model: store.Model, content: bytes, device: Device, threads: int | None) -> Engine:
    if model.directory is not None:
        engine = Engine({"classifier": content}, device=device, threads=threads)
        check_specification(model, engine)
        return engine
    try:
        return Engine({"scorer": content}, device=device, threads=threads)
    except InterfaceError as error:
        try:
            return Engine({"classifier": content}, device=device, threads=threads)
        except InterfaceError:
            hint = ""
            if "tensor(float) of rank 4" in str(error):
                hint = f" For an encoder of float images, write its size, mean and deviation to {model.path.stem}.json."
            raise InterfaceError(f"{model.path} is neither a scorer nor a classifier. {error}{hint}") from error


def _scorer_name(path: Path, sha256: str, engine: Engine) -> str:
    metadata = engine.graphs["scorer"].metadata
    name = metadata.get(SCORER_KEY, f"{path.stem}-{sha256[:8]}")
    if name in (INCEPTION, INCEPTION_CLEAN, INCEPTION_SPATIAL) and metadata.get(WEIGHTS_KEY) != INCEPTION_WEIGHTS:
        raise InterfaceError(
            f"{path} is named {name}, but its weights are not the published ones: create it again with "
            "igan-zoo export inception."
        )
    return name
