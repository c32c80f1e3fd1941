"""Anybody's encoder as a scorer: a float graph ``[N, 3, H, W]``, and a JSON file that says how images come to it.

``X.json`` next to ``X.onnx``::

    {"size": 224, "resize": "bicubic", "crop": true,
     "mean": [0.485, 0.456, 0.406], "deviation": [0.229, 0.224, 0.225], "features": "last_hidden"}

The preprocessing becomes part of the graph, so that the result is a scorer like any other (contract 2).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from google.protobuf.message import DecodeError

from igan_zoo.errors import InterfaceError, OutputError, first_line
from igan_zoo.machine.files import atomic_file
from igan_zoo.models.interface import CROP_KEY, RESIZE_KEY, SCORER_KEY
from igan_zoo.serving.scorers.layers import pillow_resize, tf1_bilinear
from igan_zoo.serving.scorers.onnx_graph import DATA_TYPES, OnnxGraph, parse_model

_FLOAT, _INT64 = DATA_TYPES[np.dtype(np.float32)], DATA_TYPES[np.dtype(np.int64)]
_Three = tuple[float, float, float]
# From here on Shape takes a range of axes.
_LEAST_OPSET = 15


class EncoderSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How images come to an encoder, and which of its outputs count.

    ``resize``: ``bicubic`` and ``bilinear`` are Pillow's and torchvision's, with antialiasing; ``tf1-bilinear`` is
    Inception's. ``crop`` resizes the shorter side to ``shorter_side``, or else ``size``, and takes the middle square,
    as torchvision's ``Resize`` and ``CenterCrop``; without it both sides become ``size``. Levels, 0 to 1, come in as
    ``(level - mean) / deviation``. ``features`` and ``logits`` name outputs ``[N, F]`` and ``[N, K]``; where neither is
    named, the only output is the features.
    """

    size: int
    mean: _Three
    deviation: _Three
    resize: Literal["bicubic", "bilinear", "tf1-bilinear"] = "bicubic"
    crop: bool = False
    shorter_side: int | None = None
    features: str | None = None
    logits: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.size <= 4096 or not all(value > 0 for value in self.deviation):
            raise ValueError("size must be in 1..4096, and every deviation above 0")
        if self.shorter_side is not None and not (self.crop and self.size <= self.shorter_side <= 4096):
            raise ValueError("shorter_side needs crop, and must be in size..4096")
        if self.crop and self.resize == "tf1-bilinear":
            raise ValueError("tf1-bilinear does not crop")


def settings_file(encoder: Path) -> Path:
    """Returns where an encoder's settings are looked for."""
    return encoder.with_suffix(".json")


def encoder_as_scorer(encoder: Path, folder: Path) -> Path:
    """Returns the scorer of an encoder's file and its settings, made in ``folder`` unless it is there.

    Its name ends in a sum of both.

    Raises:
        InterfaceError: the settings are not of that form, or the graph is no such encoder.
        OutputError: a file cannot be read or written.
    """
    try:
        content, described = encoder.read_bytes(), settings_file(encoder).read_bytes()
    except OSError as error:
        raise OutputError(f"Cannot read {error.filename}: {error.strerror}.") from error
    try:
        settings = msgspec.json.decode(described, type=EncoderSettings)
    except (msgspec.DecodeError, ValueError) as error:
        raise InterfaceError(f"{settings_file(encoder)} does not describe an encoder: {first_line(error)}") from error
    name = f"{encoder.stem}-{hashlib.sha256(content + msgspec.json.encode(settings)).hexdigest()[:8]}"
    path = folder / f"{name}.onnx"
    if not path.is_file():
        made = with_preprocessing(content, settings, name, str(encoder))
        with atomic_file(path) as temporary:
            temporary.write_bytes(made)
    return path


def with_preprocessing(content: bytes, settings: EncoderSettings, name: str, file: str) -> bytes:
    """Returns the encoder ``content`` as a scorer called ``name``.

    Raises:
        InterfaceError: it has no float input ``[N, 3, H, W]`` with a free batch, not these outputs, or an older opset
            than the preprocessing has.
    """
    try:
        return _with_preprocessing(parse_model(content), settings, name, file)
    except DecodeError:
        raise InterfaceError(f"{file} is not an ONNX model, or is truncated.") from None
    except UnicodeDecodeError:
        raise InterfaceError(f"{file} has names that are not UTF-8; export it again.") from None


def _with_preprocessing(model: Any, settings: EncoderSettings, name: str, file: str) -> bytes:
    versions = {entry.domain: entry.version for entry in model.opset_import}
    if versions.get("", 0) < _LEAST_OPSET:
        raise InterfaceError(f"{file} has opset {versions.get('', 0)}: export it with opset {_LEAST_OPSET} or later.")
    pixels = _input_name(model.graph, settings, file)
    outputs = _outputs(model.graph, settings, file)
    inner = f"igan_zoo/{pixels}"
    graph = OnnxGraph(prefix="igan_zoo/")
    _preprocess(graph, graph.input("images", np.uint8, ["N", "H", "W", 3]), settings, inner)
    # The encoder reads its input, and whatever else is called as a tensor of the scorer, under another name.
    renamed = {taken: f"igan_zoo/{taken}" for taken in ("images", "features", "logits", pixels)}
    _rename(model.graph, renamed)
    for role, (output, width) in outputs.items():
        graph.output(role, renamed.get(output, output), ["N", width])
    sizes = settings.size if settings.shorter_side is None else f"{settings.shorter_side}-{settings.size}"
    said = {SCORER_KEY: name, RESIZE_KEY: f"{settings.resize}-{sizes}", CROP_KEY: json.dumps(settings.crop)}
    return graph.around(model, said)


def _rename(graph: Any, renamed: Mapping[str, str]) -> None:
    """Renames tensors of a graph and of its branches, which read those around them."""
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [renamed.get(tensor, tensor) for tensor in names]
        for attribute in node.attribute:
            _rename(attribute.g, renamed)
            for value in (*attribute.g.input, *attribute.g.output):
                value.name = renamed.get(value.name, value.name)
    for tensor in graph.initializer:
        tensor.name = renamed.get(tensor.name, tensor.name)


def _input_name(graph: Any, settings: EncoderSettings, file: str) -> str:
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    kinds = [value.type.tensor_type for value in inputs]
    sizes = [[dim.dim_value for dim in kind.shape.dim] for kind in kinds]
    if len(inputs) != 1 or kinds[0].elem_type != _FLOAT or len(sizes[0]) != 4 or sizes[0][1] not in (0, 3):
        found = ", ".join(f"{value.name} {size}" for value, size in zip(inputs, sizes, strict=True))
        raise InterfaceError(f"{file} is not an image encoder: its input is {found}, not float32 [N, 3, H, W].")
    batch, _, *extents = sizes[0]
    if batch:
        raise InterfaceError(f"{file} takes only batches of {batch}: export it with a dynamic batch size.")
    if any(extent not in (0, settings.size) for extent in extents):
        raise InterfaceError(f"{file} takes images of {extents} pixels, but its settings say {settings.size}.")
    return str(inputs[0].name)


def _outputs(graph: Any, settings: EncoderSettings, file: str) -> dict[str, tuple[str, int | str]]:
    """Returns the tensors that become ``features`` and ``logits``, each with its size where the file says it."""
    shapes = {value.name: value.type.tensor_type.shape.dim for value in graph.output}
    named = {"features": settings.features, "logits": settings.logits}
    if not any(named.values()):
        if len(shapes) != 1:
            raise InterfaceError(
                f"{file} has the outputs {', '.join(map(str, shapes))}: name one in its settings as features."
            )
        named["features"] = next(iter(shapes))
    chosen: dict[str, tuple[str, int | str]] = {}
    for role, name in named.items():
        if name is None:
            continue
        if name not in shapes or len(shapes[name]) != 2:
            raise InterfaceError(f"{file} has no output {name} of shape [N, F]; it has {', '.join(map(str, shapes))}.")
        chosen[role] = name, shapes[name][1].dim_value or role
    return chosen


def _preprocess(graph: OnnxGraph, images: str, settings: EncoderSettings, result: str) -> None:
    if settings.resize == "tf1-bilinear":
        levels = tf1_bilinear(graph, images, settings.size)
    else:
        levels = _resized(graph, images, settings)
    mean, deviation = (np.array(values).reshape(1, 3, 1, 1) for values in (settings.mean, settings.deviation))
    scaled = graph.node("Div", levels, graph.constant(255.0))
    centered = graph.node("Sub", scaled, graph.constant(mean))
    graph.node("Div", centered, graph.constant(deviation), output=result)


def _resized(graph: OnnxGraph, images: str, settings: EncoderSettings) -> str:
    square = graph.constant([settings.size, settings.size])
    sizes = square
    if settings.crop:
        # The longer side as torchvision has it, rounded down.
        extents = graph.node("Shape", images, start=1, end=3)
        shorter = graph.constant([settings.shorter_side or settings.size])
        sizes = graph.node("Div", graph.node("Mul", extents, shorter), graph.node("ReduceMin", extents))
    levels = pillow_resize(graph, images, sizes, cubic=settings.resize == "bicubic")
    if not settings.crop:
        return levels
    margins = graph.node("Cast", graph.node("Sub", sizes, square), to=_FLOAT)
    start = graph.node("Cast", graph.node("Round", graph.node("Mul", margins, graph.constant(0.5))), to=_INT64)
    return graph.node("Slice", levels, start, graph.node("Add", start, square), graph.constant([2, 3]))
