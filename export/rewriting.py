"""A generator's graph rewritten for CPUs: the same function in exact arithmetic, of standard operators only.

Every large transposed convolution gets Winograd's form (:mod:`igan_zoo.export.winograd`), which pays as soon as its
matrix products have enough rows. Where one image has too few of them, an ``If`` on the batch size chooses between the
plain layers and the rewritten ones. The weights are stored once, as they are in the plain graph; onnxruntime transforms
them when it loads the graph. What pays was measured: docs/performance.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import onnx
from onnx import NodeProto, helper

from igan_zoo.export import winograd
from igan_zoo.export.phases import Axis
from igan_zoo.export.winograd_nodes import Layer, Nodes, winograd_nodes, winograd_weights

# The smallest batch that has Winograd's form everywhere, and the number of tiles from which one image alone has it.
WINOGRAD_BATCH = 4
WINOGRAD_TILES = 16
# With fewer channels a transposed convolution is bound by memory in any form; where most places that the tiles cover
# are not in the output, Winograd's form has too much to do.
_FEWEST_CHANNELS = 32
_MOST_SURPLUS = 2.0

# A layer and the names of its transformed weights.
_Transformed = tuple[Layer, list[str]]


def rewritten(content: bytes) -> bytes | None:
    """Returns the plain graph ``content`` rewritten for CPUs, or None if that makes no layer of it faster.

    Interface, opset and metadata stay; what it computes differs by float32 rounding.
    """
    model = onnx.load_model_from_string(content)
    layers = find_layers(model)
    if not layers:
        return None
    outer = Nodes("outer.")
    many = {name: (layer, winograd_weights(outer, layer)) for name, layer in layers.items()}
    few = {name: (layer, weights) for name, (layer, weights) in many.items() if layer.tiles >= WINOGRAD_TILES}
    before, after = _parted(model.graph, layers)
    batch = outer.one("Shape", model.graph.input[0].name, start=0, end=1)
    choice = helper.make_node(
        "If",
        [outer.one("Less", batch, outer.constant([WINOGRAD_BATCH]))],
        [output.name for output in model.graph.output],
        then_branch=_branch(after, model.graph.output, "few", few),
        else_branch=_branch(after, model.graph.output, "many", many),
    )
    del model.graph.node[:]
    model.graph.node.extend([*before, *outer.nodes, choice])
    model.graph.initializer.extend(outer.constants)
    onnx.checker.check_model(model, full_check=True)
    result: bytes = model.SerializeToString(deterministic=True)
    return result


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


def _parted(graph: onnx.GraphProto, layers: Iterable[str]) -> tuple[list[NodeProto], list[NodeProto]]:
    """Returns copies of the nodes that no layer's output reaches, and of the layers and all others, both in order."""
    reached = set(layers)
    before, after = [], []
    for node in graph.node:
        copy = NodeProto()
        copy.CopyFrom(node)
        copy.name = ""
        if reached.isdisjoint([*node.input, *node.output]):
            before.append(copy)
        else:
            after.append(copy)
            reached.update(node.output)
    return before, after


def _branch(
    nodes: list[NodeProto], outputs: Iterable[onnx.ValueInfoProto], name: str, layers: dict[str, _Transformed]
) -> onnx.GraphProto:
    """Returns ``nodes`` with ``layers`` in Winograd's form as a graph of its own; the weights stay outside."""
    computed = {output for node in nodes for output in node.output}
    body = Nodes(f"{name}.")

    def here(tensor: str) -> str:
        return body.prefix + tensor if tensor in computed else tensor

    for node in nodes:
        names = [here(tensor) for tensor in node.output]
        if node.output[0] in layers:
            layer, weights = layers[node.output[0]]
            result = winograd_nodes(body, layer, here(layer.x), weights)
            body.nodes.append(helper.make_node("Identity", [result], names))
        else:
            copy = NodeProto()
            copy.CopyFrom(node)
            copy.input[:] = [here(tensor) for tensor in node.input]
            copy.output[:] = names
            body.nodes.append(copy)
    values = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in outputs]
    for value in values:
        value.name = here(value.name)
    return helper.make_graph(body.nodes, name, [], values, body.constants)
