"""A generator's graph rewritten for CPUs: the same function in exact arithmetic, of standard operators only.

Every large transposed convolution gets Winograd's form (:mod:`igan_zoo.export.graphs.winograd`). The weights are stored
as they are in the plain graph; onnxruntime transforms them when it loads the graph. What pays was measured:
docs/lab/performance.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from onnx import NodeProto, helper

from igan_zoo.export.graphs import winograd
from igan_zoo.export.graphs.phases import Axis
from igan_zoo.export.graphs.winograd_nodes import Layer, Nodes, winograd_nodes, winograd_weights

# With fewer channels a transposed convolution is bound by memory in any form; where most places that the tiles cover
# are not in the output, Winograd's form has too much to do.
_FEWEST_CHANNELS = 32
_MOST_SURPLUS = 2.0


def rewritten(content: bytes) -> bytes | None:
    """Returns the plain graph ``content`` rewritten for CPUs, or None if that makes no layer of it faster.

    Interface, opset and metadata stay; what it computes differs by float32 rounding.
    """
    model = onnx.load_model_from_string(content)
    layers = find_layers(model)
    if not layers:
        return None
    graph = Nodes("winograd.")
    for node in model.graph.node:
        layer = layers.get(node.output[0])
        if layer is None:
            graph.nodes.append(node)
        else:
            result = winograd_nodes(graph, layer, layer.x, winograd_weights(graph, layer))
            graph.nodes.append(helper.make_node("Identity", [result], node.output))
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in graph.nodes]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(graph.constants)
    onnx.checker.check_model(model, full_check=True)
    rewritten_content: bytes = model.SerializeToString(deterministic=True)
    return rewritten_content


def find_layers(model: onnx.ModelProto) -> dict[str, Layer]:
    """Returns the transposed convolutions of a graph that another form makes faster, by the name of their output."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    sizes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*inferred.value_info, *inferred.input)
    }
    weights = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    found = {}
    for node in model.graph.node:
        if node.op_type == "ConvTranspose" and node.input[1] in weights:
            layer = _layer(node, sizes.get(node.input[0], []), weights[node.input[1]])
            if layer is not None and _pays(layer):
                found[node.output[0]] = layer
    return found


def _layer(node: NodeProto, size: Sequence[int], weight: Sequence[int]) -> Layer | None:
    """Returns the node as a layer, or None if the forms do not cover it."""
    given = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    strides, pads = given.get("strides", [1, 1]), given.get("pads", [0, 0, 0, 0])
    covered = (
        len(size) == len(weight) == 4
        and min(size[2:]) > 0
        and strides[0] == strides[1]
        and pads[:2] == pads[2:]
        and given.get("group", 1) == 1
        and set(given.get("dilations", [1])) == {1}
        and given.get("auto_pad", b"NOTSET") == b"NOTSET"
        and "output_shape" not in given
    )
    if not covered:
        return None
    extra = given.get("output_padding", [0, 0])
    rows, columns = (Axis(size[2 + i], weight[2 + i], strides[i], pads[i], extra[i]) for i in (0, 1))
    x, weight_name, bias = (*node.input, "")[:3]
    return Layer(x, weight_name, bias, rows, columns, inputs=weight[0], outputs=weight[1])


def _pays(layer: Layer) -> bool:
    """Returns whether Winograd's form of a layer is possible and faster."""
    surplus = layer.tiles * winograd.OUTPUTS**2 / (layer.rows.steps * layer.columns.steps)
    return (
        layer.rows.stride > 1
        and len(layer.rows.taps(0)) == len(layer.columns.taps(0)) == winograd.TAPS
        and layer.outputs >= _FEWEST_CHANNELS
        and surplus <= _MOST_SURPLUS
    )
