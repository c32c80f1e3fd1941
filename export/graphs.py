"""From a frozen torch module to the bytes of an ONNX graph by contract 2."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence

import onnx
import torch
from torch import Tensor, nn

from igan_zoo.errors import ParityError

# Loaded by onnxruntime 1.17 and later.
OPSET = 18
IR_VERSION = 9


def to_onnx(
    module: nn.Module, example: Tensor, *, input_name: str, outputs: Sequence[str], metadata: Mapping[str, str]
) -> bytes:
    """Returns ``module`` as a checked ONNX model with a dynamic batch and named tensors.

    ``example`` is one batch of at least two inputs. The model uses standard operators only, holds its weights, and
    says nothing of the machine it was made on.

    Raises:
        ParityError: the graph has an operator that the contract forbids.
    """
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _quiet("torch.onnx", "onnxscript"):
        # The exporter warns of its own internals (deprecations in torch and copyreg), which no caller can change.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module.eval(),
            (example,),
            input_names=[input_name],
            output_names=list(outputs),
            dynamic_shapes=({0: torch.export.Dim("N")},),
            opset_version=OPSET,
            dynamo=True,
        )
    if program is None:
        raise ParityError("torch.onnx.export made no program.")
    model = program.model_proto
    _anonymize(model)
    model.ir_version = IR_VERSION
    onnx.helper.set_model_props(model, dict(metadata))
    _require_standard(model)
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


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
            raise ParityError(f"The graph contains {node.op_type}, which a frozen model has no use for.")


@contextlib.contextmanager
def _quiet(*loggers: str) -> Iterator[None]:
    """Silences loggers below errors inside the block."""
    levels = {name: logging.getLogger(name).level for name in loggers}
    for name in loggers:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
