"""Random graphs as patterns: what TensorFlow makes of a drawn graph.

Runs in the environment of requirements/train.txt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import tensorflow as tf  # type: ignore[import-untyped]

from smoke_lambda.conform.drawing import draw_graph
from smoke_lambda.conform.graph import Graph, Node, Value, flavour_of
from smoke_lambda.train.pattern import INT8, Draw, Input, Pattern, Tensor

ABORTED = (16, 34, 46, 52, 64)
"""Seeds whose int8 graphs have a factor that TensorFlow Lite ends the process at."""

SEEDS = tuple(seed for seed in range(1, 66) if seed not in ABORTED)
"""Of the graphs that the corpus has."""

Build = Callable[[Node, list[Any], Draw], Any]

PLAIN: Mapping[str, Callable[..., Any]] = {
    "relu": tf.nn.relu,
    "relu6": tf.nn.relu6,
    "sigmoid": tf.sigmoid,
    "tanh": tf.tanh,
    "abs": tf.abs,
    "leaky_relu": lambda y: tf.nn.leaky_relu(y, 0.3),
    "hard_swish": lambda y: y * (tf.nn.relu6(y + 3) * (1 / 6)),
    "softmax": tf.nn.softmax,
    "elu": tf.nn.elu,
    "square": tf.square,
    "negative": tf.negative,
    "add": tf.add,
    "sub": tf.subtract,
    "mul": tf.multiply,
    "maximum": tf.maximum,
    "minimum": tf.minimum,
    "squared_difference": tf.math.squared_difference,
    "space_to_depth": lambda y: tf.nn.space_to_depth(y, 2),
    "depth_to_space": lambda y: tf.nn.depth_to_space(y, 2),
}
REDUCTIONS = {"mean": tf.reduce_mean, "max": tf.reduce_max, "sum": tf.reduce_sum}
ACTIVATIONS = {"": tf.identity, "relu": tf.nn.relu, "relu6": tf.nn.relu6}


def constant(node: Node, tensors: list[Tensor], k: Draw) -> Tensor:
    """A constant for each channel, or one for all."""
    (y,) = tensors
    shape = y.shape[-1:] if node.options["channels"] else ()
    return y * k.positive(*shape) if node.op == "scale" else y + k.bias(*shape)


def convolution(node: Node, tensors: list[Tensor], k: Draw) -> Tensor:
    """Plain or depthwise."""
    (y,), o = tensors, node.options
    dilation, stride = o["dilation"], o["stride"]
    if node.op == "conv":
        kernel = k.weights(*o["size"], y.shape[-1], o["channels"])
        y = tf.nn.conv2d(y, kernel, stride, o["padding"], dilations=dilation)
    else:
        kernel = k.array((*o["size"], o["channels"], 1), -0.75, 0.75, "float32")
        steps = [1, stride, stride, 1]
        y = tf.nn.depthwise_conv2d(y, kernel, steps, o["padding"], dilations=[dilation] * 2)
    return ACTIVATIONS[o["activation"]](y + k.bias(o["channels"]))


def pooling(node: Node, tensors: list[Tensor], _k: Draw) -> Tensor:
    """The largest, or the mean, of each window."""
    function = tf.nn.max_pool2d if node.op == "max_pool" else tf.nn.avg_pool2d
    return function(
        tensors[0], node.options["size"], node.options["stride"], node.options["padding"]
    )


def dense(node: Node, tensors: list[Tensor], k: Draw) -> Tensor:
    """Over the last axis."""
    (y,), units = tensors, node.options["channels"]
    product = tf.tensordot(y, k.weights(y.shape[-1], units), 1)
    return ACTIVATIONS[node.options["activation"]](product + k.bias(units))


def reduction(node: Node, tensors: list[Tensor], _k: Draw) -> Tensor:
    """Over some axes."""
    return REDUCTIONS[node.op](tensors[0], list(node.options["axes"]), node.options["keepdims"])


def resize(node: Node, tensors: list[Tensor], _k: Draw) -> Tensor:
    """With pixels' corners or centers in the same place."""
    return tf.raw_ops.ResizeBilinear(
        images=tensors[0],
        size=node.options["size"],
        align_corners=False,
        half_pixel_centers=node.options["centers"],
    )


def part(node: Node, tensors: list[Tensor], _k: Draw) -> Tensor:
    """Along one axis, by steps."""
    o = node.options
    before = (slice(None),) * o["axis"]
    return tensors[0][(*before, slice(o["begin"], o["end"], o["step"]))]


def gate(node: Node, tensors: list[Tensor], k: Draw) -> Tensor:
    """Squeeze-and-excitation."""
    (y,) = tensors
    channels = y.shape[-1]
    z = tf.reduce_mean(y, [1, 2], keepdims=node.options["keepdims"])
    z = z if node.options["keepdims"] else tf.reshape(z, (-1, 1, 1, channels))
    return y * tf.sigmoid(tf.nn.conv2d(z, k.weights(1, 1, channels, channels), 1, "SAME"))


BUILDERS: Mapping[str, Build] = {
    **dict.fromkeys(("scale", "offset"), constant),
    **dict.fromkeys(("conv", "depthwise"), convolution),
    **dict.fromkeys(("max_pool", "average_pool"), pooling),
    **dict.fromkeys(REDUCTIONS, reduction),
    "dense": dense,
    "resize": resize,
    "part": part,
    "gate": gate,
    "reshape": lambda node, ts, _k: tf.reshape(ts[0], (-1, *node.value.shape[1:])),
    "transpose": lambda node, ts, _k: tf.transpose(ts[0], node.options["axes"]),
    "pad": lambda node, ts, _k: tf.pad(ts[0], node.options["around"]),
    "concat": lambda node, ts, _k: tf.concat(ts, node.options["axis"]),
}


def build_node(node: Node, tensors: list[Tensor]) -> Tensor:
    """An operator of a graph."""
    if node.op in PLAIN:
        return PLAIN[node.op](*tensors)
    return BUILDERS[node.op](node, tensors, Draw(str(node.options.get("draw", 0))))


def shape_of(value: Value, *, dynamic: bool) -> tuple[int | None, ...]:
    """A value's shape as TensorFlow knows it."""
    return (None, *value.shape[1:]) if dynamic else value.shape


def pattern_of(graph: Graph) -> Pattern:
    """The pattern of a graph, in the flavour of its seed."""

    def traced(*tensors: Tensor) -> list[Tensor]:
        values = list(tensors)
        for node in graph.nodes:
            tensor = build_node(node, [values[number] for number in node.inputs])
            tensor.set_shape(shape_of(node.value, dynamic=graph.dynamic))
            values.append(tensor)
        return [values[number] for number in graph.outputs]

    shapes = [(None, *value.shape[1:]) if graph.dynamic else value.shape for value in graph.inputs]
    inputs = tuple(Input(shape) for shape in shapes)
    specs = [each.spec(f"x{number}") for number, each in enumerate(inputs)]
    return Pattern(
        name=f"graph{graph.seed:04}",
        build=lambda _k: tf.function(traced, specs, autograph=False),
        inputs=inputs,
        flavours=(flavour_of(graph.seed),),
        sizes=(1, 3) if graph.dynamic else (1,),
        tolerance="graph",
        constant=True,
        # Forty roundings to int8 may add up to half of what TensorFlow answers.
        own=flavour_of(graph.seed) != INT8,
        # The reference kernel for sums of int8 answers nothing but zeros.
        optimized=any(node.op == "sum" for node in graph.nodes),
    )


def patterns() -> Iterator[tuple[int, Pattern]]:
    """The seeds of the corpus, and their patterns."""
    for seed in SEEDS:
        yield seed, pattern_of(draw_graph(seed))
