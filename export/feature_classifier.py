"""A run on features as one ONNX file: uint8 images of any size in, contract 2's outputs out, the encoder inside."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from igan_zoo.errors import ParityError
from igan_zoo.export.freeze import frozen_discriminator
from igan_zoo.export.graphs.building import classes_metadata
from igan_zoo.models.interface import CLASSES_KEY, CROP_KEY, LEAST_REALNESS_KEY, RESIZE_KEY
from igan_zoo.serving.engine import Engine
from igan_zoo.serving.scorers.onnx_graph import OnnxGraph
from igan_zoo.training.features.classifier import LEAST, FeatureClassifier

_OUTPUTS = ("logits", "probabilities", "realness")
# Of probabilities and realness, between PyTorch and onnxruntime on the same pixels.
_LIMIT = 1e-3
_PREFIX = "igan_zoo/head/"


def with_head(
    encoder: bytes,
    classifier: FeatureClassifier,
    classes: tuple[str, ...],
    size: int,
    least_realness: float | None = None,
) -> bytes:
    """Returns a scorer's graph extended from its features to the outputs of ``classifier``."""
    model = onnx.load_model_from_string(encoder)
    said = {entry.key: entry.value for entry in model.metadata_props}
    head = onnx.load_model_from_string(_head(classifier, len(classes)))
    # The features become a tensor inside; other outputs of the encoder go.
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [f"igan_zoo/encoder/{name}" if name in (*_OUTPUTS, "features") else name for name in names]
    for node in head.graph.node:
        node.input[:] = ["igan_zoo/encoder/features" if name == "features" else name for name in node.input]
    model.graph.node.extend(head.graph.node)
    model.graph.initializer.extend(head.graph.initializer)
    del model.graph.output[:]
    model.graph.output.extend(head.graph.output)
    _drop_unused(model.graph)
    onnx.helper.set_model_props(
        model,
        {
            CLASSES_KEY: classes_metadata(classes),
            CROP_KEY: said.get(CROP_KEY, "false"),
            RESIZE_KEY: said.get(RESIZE_KEY, f"inside-{size}"),
            **({} if least_realness is None else {LEAST_REALNESS_KEY: repr(least_realness)}),
        },
    )
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def compare(content: bytes, encoder: bytes, classifier: FeatureClassifier, size: int) -> dict[str, float]:
    """Returns the largest difference of each output between the graph and the encoder followed by PyTorch.

    Raises:
        ParityError: one of probabilities or realness is too large.
    """
    images = np.random.default_rng(0).integers(0, 256, (4, size, size, 3), np.uint8)
    images[1:] = images[1:] // 4 + np.array([0, 90, 180], np.uint8)[:, None, None, None]
    features = Engine({"scorer": encoder}).run("scorer", {"images": images})["features"]
    with torch.no_grad():
        expected = classifier(torch.from_numpy(features))
    actual = Engine({"classifier": content}).run("classifier", {"images": images})
    differences = {
        name: float(np.abs(actual[name] - tensor.numpy()).max())
        for name, tensor in zip(_OUTPUTS, expected, strict=True)
    }
    worst = max(differences["probabilities"], differences["realness"])
    if not worst <= _LIMIT:
        raise ParityError(f"The exported graph differs from PyTorch by {worst:.2g}, more than {_LIMIT:g}.")
    return differences


def _head(classifier: FeatureClassifier, classes: int) -> bytes:
    """Returns the graph from ``features`` to the outputs."""
    graph = OnnxGraph(prefix=_PREFIX)
    preparation = classifier.preparation
    features = graph.input("features", np.float32, ["N", len(preparation.root_mean)])
    roots = graph.node("Mul", graph.node("Sign", features), graph.node("Sqrt", graph.node("Abs", features)))
    centered = graph.node("Sub", roots, graph.constant(preparation.root_mean.numpy()))
    standardized = graph.node("Div", centered, graph.constant(preparation.deviation.numpy()))
    squares = graph.node("Mul", standardized, standardized)
    norm = graph.node("Sqrt", graph.node("ReduceSum", squares, graph.constant([1]), keepdims=1))
    directions = graph.node("Div", standardized, graph.node("Max", norm, graph.constant(1e-6)))
    rows = graph.node("Sub", directions, graph.constant(preparation.center.numpy()))
    # They are numbers of 16 bits already, and the largest matrix of the head.
    components = graph.node("Cast", graph.constant(preparation.components.half().numpy()), to=1)
    points = graph.node("MatMul", rows, components)
    each = [_logits(graph, frozen_discriminator(member), points) for member in classifier.members]
    logs = [graph.node("LogSoftmax", logits, axis=1) for logits in each]
    if classifier.keeps_linear:
        shares = graph.node("Softmax", _logits(graph, classifier.linear, rows), axis=1)
    else:
        shares = _mean(graph, [graph.node("Exp", log) for log in logs])
    cooled = graph.node("Div", _log(graph, shares), graph.constant(float(classifier.temperature)))
    log_shares = graph.node("LogSoftmax", cooled, axis=1)
    # log Z is what the softmax takes off every logit.
    log_z = [
        graph.node("Gather", graph.node("Sub", logits, log), graph.constant([0]), axis=1)
        for logits, log in zip(each, logs, strict=True)
    ]
    real = _mean(graph, [graph.node("Sigmoid", z) for z in log_z])
    generated = _mean(graph, [graph.node("Sigmoid", graph.node("Neg", z)) for z in log_z])
    log_odds = graph.node("Sub", _log(graph, real), _log(graph, generated))
    graph.output("logits", graph.node("Add", log_shares, log_odds), ["N", classes])
    graph.output("probabilities", graph.node("Exp", log_shares), ["N", classes])
    realness = graph.node("Squeeze", graph.node("Sigmoid", log_odds), graph.constant([1]))
    graph.output("realness", realness, ["N"])
    return graph.to_bytes({})


def _logits(graph: OnnxGraph, network: nn.Module, x: str) -> str:
    """Adds dense layers and their nonlinearities."""
    for layer in network.modules():
        match layer:
            case nn.Linear():
                weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
                x = graph.node("Gemm", x, graph.constant(weight), graph.constant(bias), transB=1)
            case nn.ReLU():
                x = graph.node("Relu", x)
            case nn.Sequential():
                continue
            case _:
                raise ParityError(f"A classifier on features has a layer that cannot be exported: {layer}.")
    return x


def _mean(graph: OnnxGraph, values: list[str]) -> str:
    return graph.node("Div", graph.node("Sum", *values), graph.constant(float(len(values))))


def _log(graph: OnnxGraph, x: str) -> str:
    return graph.node("Log", graph.node("Max", x, graph.constant(LEAST)))


def _drop_unused(graph: Any) -> None:
    """Removes the nodes and constants that no output needs: those of the encoder's own logits."""
    needed = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if not needed.isdisjoint(node.output):
            needed.update(_read(node))
            kept.append(node)
    constants = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(reversed(kept))
    graph.initializer.extend(constants)


def _read(node: onnx.NodeProto) -> Iterator[str]:
    """Yields the names of the tensors that a node reads, and those that the branches of an ``If`` read."""
    yield from node.input
    for attribute in node.attribute:
        for inner in attribute.g.node:
            yield from _read(inner)
