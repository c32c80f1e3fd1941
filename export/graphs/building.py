"""From a frozen torch module to the bytes of an ONNX graph by contract 2."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence

import onnx
import torch
from torch import Tensor, nn

from igan_zoo.errors import ParityError, first_line

# Loaded by onnxruntime 1.17 and later.
OPSET = 18
IR_VERSION = 9


def to_onnx(
    module: nn.Module,
    example: Tensor,
    *,
    input_name: str,
    outputs: Sequence[str],
    metadata: Mapping[str, str],
    axes: Sequence[str] = ("N",),
) -> bytes:
    """Returns ``module`` as a checked ONNX model with a dynamic batch and named tensors.

    ``example`` is one batch of at least two inputs. ``axes`` names the input's leading axes that may have any size. The
    model uses standard operators only, holds its weights, and says nothing of the machine it was made on.

    Raises:
        ParityError: the graph has an operator that the contract forbids.
    """
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), quiet("torch.onnx", "onnxscript"):
        # The exporter warns of its own internals (deprecations in torch and copyreg), which no caller can change.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module.eval(),
            (example,),
            input_names=[input_name],
            output_names=list(outputs),
            dynamic_shapes=({axis: torch.export.Dim(name) for axis, name in enumerate(axes)},),
            opset_version=OPSET,
            dynamo=True,
        )
    if program is None:
        raise ParityError("torch.onnx.export returned no program.")
    return to_bytes(program.model_proto, metadata)


def to_bytes(model: onnx.ModelProto, metadata: Mapping[str, str]) -> bytes:
    """Returns the bytes of a checked model, always the same ones, with this metadata and no other; changes ``model``.

    Raises:
        ParityError: the graph has an operator that the contract forbids.
    """
    _anonymize(model)
    model.ir_version = IR_VERSION
    onnx.helper.set_model_props(model, dict(metadata))
    _require_standard(model)
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def metadata_of(model: onnx.ModelProto) -> dict[str, str]:
    """Returns the metadata of a model that :func:`to_bytes` made."""
    return {entry.key: entry.value for entry in model.metadata_props}


def interface(content: bytes) -> tuple[dict[str, list[int | str]], dict[str, list[int | str]]]:
    """Returns the inputs and the outputs of an ONNX model by name, each with its shape, in which names are free sizes.

    Raises:
        ParityError: the bytes are no ONNX model.
    """
    try:
        graph = onnx.load_model_from_string(content).graph
    except Exception as error:
        raise ParityError(f"This is not an ONNX model: {first_line(error)}") from error

    def shapes(values: Iterable[onnx.ValueInfoProto]) -> dict[str, list[int | str]]:
        return {
            value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in values
        }

    return shapes(graph.input), shapes(graph.output)


def with_levels(content: bytes) -> bytes:
    """Returns a generator that also gives ``levels``: its grey levels before they are rounded, ``[N, H, W, C]``.

    Raises:
        ParityError: the graph rounds nothing on the way to ``images``.
    """
    model = onnx.load_model_from_string(content)
    makers = {output: node for node in model.graph.node for output in node.output}
    node = makers.get("images")
    while node is not None and node.op_type != "Round":
        node = makers.get(node.input[0])
    if node is None:
        raise ParityError("The generator's images are not rounded gray levels.")
    model.graph.node.append(onnx.helper.make_node("Identity", [node.input[0]], ["levels"]))
    kind = onnx.helper.make_tensor_value_info("levels", onnx.TensorProto.FLOAT, ["N", None, None, None])
    model.graph.output.append(kind)
    exposed: bytes = model.SerializeToString()
    return exposed


def classes_metadata(classes: Sequence[str]) -> str:
    """Returns class names as the graph's metadata holds them."""
    return json.dumps(list(classes))


def _anonymize(model: onnx.ModelProto) -> None:
    """Drops what the exporter notes of its caller: stack traces with file paths, module names, versions."""
    model.producer_name, model.producer_version, model.doc_string = "igan-zoo", "", ""
    del model.metadata_props[:], model.graph.metadata_props[:]
    model.graph.name, model.graph.doc_string = "main", ""
    for item in (*model.graph.node, *model.graph.initializer, *model.graph.input, *model.graph.output):
        item.doc_string = ""
        del item.metadata_props[:]
    del model.graph.value_info[:]


def _require_standard(model: onnx.ModelProto) -> None:
    domains = {opset.domain: opset.version for opset in model.opset_import}
    if domains != {"": OPSET} or model.functions:
        raise ParityError(f"The graph needs operators outside opset {OPSET} of the standard: {domains}.")
    for node in model.graph.node:
        if node.op_type.startswith(("Random", "BatchNormalization", "Dropout", "Multinomial", "Bernoulli")):
            raise ParityError(f"The graph contains {node.op_type}, which has no place in a frozen model.")


@contextlib.contextmanager
def quiet(*loggers: str) -> Iterator[None]:
    """Silences loggers below errors inside the block."""
    levels = {name: logging.getLogger(name).level for name in loggers}
    for name in loggers:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
