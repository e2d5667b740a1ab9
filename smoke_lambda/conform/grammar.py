"""The operators of random graphs: when each is valid, and what shape it gives.

Each rule is a function that takes a random generator, a graph and the number of a value. It
returns a node, or None if the operator cannot take that value. Every operator is continuous: a
small error in its input stays a small error in its output, so that answers can be compared.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from smoke_lambda.conform.graph import LARGEST, MOST_ELEMENTS, Graph, Node, Shape, Value

Rule = Callable[[random.Random, Graph, int], Node | None]

LOOSE = 0.85
"""The probability that an operator takes a value that no other has taken, for deep graphs."""


def draw_node(rng: random.Random, graph: Graph, *, int8: bool) -> Node | None:
    """Draw an operator on values of the graph; return None if the operator does not fit."""
    values = graph.values
    number = pick(rng, graph, range(len(values)))
    value = values[number]
    if value.bound > LARGEST:
        return Node("tanh", (number,), Value(value.shape, 1.0))
    rules = [rule for rule in RULES if not (int8 and rule in FLOAT_RULES)]
    node = rng.choice(rules)(rng, graph, number)
    if node is None or not node.value.size or node.value.size > MOST_ELEMENTS:
        return None
    return node


def pick(rng: random.Random, graph: Graph, among: Iterable[int]) -> int:
    """Pick one of some values, mostly one that no operator has taken."""
    every = [*among]
    loose = [number for number in every if number in graph.loose]
    return rng.choice(loose if loose and rng.random() < LOOSE else every)


def unary(op: str, bound: Callable[[float], float]) -> Rule:
    """Return a rule for an elementwise function. `bound` maps the input's bound to the output's."""

    def rule(_rng: random.Random, graph: Graph, number: int) -> Node:
        value = graph.values[number]
        return Node(op, (number,), Value(value.shape, bound(value.bound)))

    return rule


def binary(op: str, bound: Callable[[float, float], float]) -> Rule:
    """Return a rule for an operator on two values, one of which may be broadcast."""

    def rule(rng: random.Random, graph: Graph, number: int) -> Node | None:
        values = graph.values
        fitting = [n for n, v in enumerate(values) if broadcast(graph, number, v.shape)]
        other = pick(rng, graph, fitting)
        shape = broadcast(graph, number, values[other].shape)
        assert shape is not None
        pair = (number, other) if rng.random() < 0.5 else (other, number)
        most = bound(*(values[n].bound for n in pair))
        return Node(op, pair, Value(shape, most)) if most <= LARGEST * 4 else None

    return rule


def broadcast(graph: Graph, number: int, other: Shape) -> Shape | None:
    """Return the shape of an operation on two values; None if their shapes do not fit."""
    one = graph.values[number].shape
    if graph.dynamic and len(one) != len(other):
        return None
    rank = max(len(one), len(other))
    padded = [(1,) * (rank - len(shape)) + shape for shape in (one, other)]
    if any(a != b and 1 not in (a, b) for a, b in zip(*padded, strict=True)):
        return None
    return tuple(map(max, *padded))


def drawn(rng: random.Random) -> int:
    """Draw a seed for an operator's weights, so that they stay when other operators are removed."""
    return rng.randrange(1 << 30)


def constant(op: str) -> Rule:
    """Return a rule for a value and a constant: one per channel, or one for all channels."""

    def rule(rng: random.Random, graph: Graph, number: int) -> Node:
        value = graph.values[number]
        each = rng.random() < 0.6 and len(value.shape) > 1
        bound = value.bound * 1.5 if op == "scale" else value.bound + 0.5
        return Node(
            op, (number,), Value(value.shape, bound), {"draw": drawn(rng), "channels": each}
        )

    return rule


def window(
    rng: random.Random, value: Value, *, dilated: bool
) -> tuple[dict[str, Any], Shape] | None:
    """Draw a window's size, stride, padding and dilation; return them and the image size after.

    Return None if the image would be empty.
    """
    size = (rng.choice((1, 1, 2, 3, 3)), rng.choice((1, 2, 3, 3)))
    stride = rng.choice((1, 1, 2))
    dilation = rng.choice((1, 1, 2)) if dilated and stride == 1 else 1
    padding = rng.choice(("SAME", "VALID"))
    after = []
    for length, part in zip(value.shape[1:3], size, strict=True):
        reach = (part - 1) * dilation + 1
        left = length if padding == "SAME" else length - reach + 1
        after.append(-(-left // stride))
    if min(after) < 1:
        return None
    options = {"size": size, "stride": stride, "dilation": dilation, "padding": padding}
    return options, tuple(after)


def convolution(op: str) -> Rule:
    """Return a rule for a convolution, plain or depthwise, and its activation."""

    def rule(rng: random.Random, graph: Graph, number: int) -> Node | None:
        value = graph.values[number]
        found = window(rng, value, dilated=True) if len(value.shape) == 4 else None
        if found is None:
            return None
        options, image = found
        channels = value.shape[3] if op == "depthwise" else rng.choice((1, 4, 8, 12, 24))
        options |= {"draw": drawn(rng), "channels": channels}
        options["activation"] = rng.choice(("", "relu", "relu6"))
        return Node(
            op, (number,), Value((value.shape[0], *image, channels), value.bound * 2), options
        )

    return rule


def pooling(op: str) -> Rule:
    """Return a rule for a pooling."""

    def rule(rng: random.Random, graph: Graph, number: int) -> Node | None:
        value = graph.values[number]
        found = window(rng, value, dilated=False) if len(value.shape) == 4 else None
        if found is None:
            return None
        options, image = found
        return Node(
            op, (number,), Value((value.shape[0], *image, value.shape[3]), value.bound), options
        )

    return rule


def dense(rng: random.Random, graph: Graph, number: int) -> Node | None:
    """Draw a fully connected layer over the last axis."""
    value = graph.values[number]
    if len(value.shape) < 2:
        return None
    units = rng.choice((4, 8, 16, 32))
    options = {"draw": drawn(rng), "channels": units, "activation": rng.choice(("", "relu"))}
    return Node("dense", (number,), Value((*value.shape[:-1], units), value.bound * 2), options)


def reduction(op: str) -> Rule:
    """Return a rule for a reduction over axes other than the batch."""

    def rule(rng: random.Random, graph: Graph, number: int) -> Node | None:
        value = graph.values[number]
        rank = len(value.shape)
        if rank < 2:
            return None
        if rank == 4 and rng.random() < 0.6:
            axes: Sequence[int] = (1, 2)
        else:
            axes = sorted(rng.sample(range(1, rank), rng.randint(1, rank - 1)))
        keepdims = rng.random() < 0.6
        kept = [1 if axis in axes else length for axis, length in enumerate(value.shape)]
        dropped = [length for axis, length in enumerate(value.shape) if axis not in axes]
        shape = tuple(kept if keepdims else dropped)
        growth = value.size // max(Value(shape).size, 1) if op == "sum" else 1
        if value.bound * growth > LARGEST * 8:
            return None
        options = {"axes": tuple(axes), "keepdims": keepdims}
        return Node(op, (number,), Value(shape, value.bound * growth), options)

    return rule


def resize(rng: random.Random, graph: Graph, number: int) -> Node | None:
    """Draw a resize of an image to another size."""
    value = graph.values[number]
    if len(value.shape) != 4:
        return None
    size = (rng.randint(1, 8), rng.randint(1, 8))
    options = {"size": size, "centers": rng.random() < 0.5}
    return Node(
        "resize", (number,), Value((value.shape[0], *size, value.shape[3]), value.bound), options
    )


def reshape(rng: random.Random, graph: Graph, number: int) -> Node | None:
    """Draw another shape with the same batch."""
    value = graph.values[number]
    if not value.shape:
        return None
    rest, target = value.size // value.shape[0], [value.shape[0]]
    for _ in range(rng.randint(0, 3)):
        factor = rng.choice([f for f in range(1, 13) if rest % f == 0])
        target.append(factor)
        rest //= factor
    return Node("reshape", (number,), Value((*target, rest), value.bound))


def transpose(rng: random.Random, graph: Graph, number: int) -> Node | None:
    """Draw another order of the axes; the batch stays the first."""
    value = graph.values[number]
    if len(value.shape) < 3:
        return None
    order = list(range(1, len(value.shape)))
    rng.shuffle(order)
    axes = (0, *order)
    shape = tuple(value.shape[axis] for axis in axes)
    return Node("transpose", (number,), Value(shape, value.bound), {"axes": axes})


def part(rng: random.Random, graph: Graph, number: int) -> Node | None:
    """Draw a slice of a tensor along one axis, with a step."""
    value = graph.values[number]
    axes = [axis for axis, length in enumerate(value.shape) if axis and length > 1]
    if not axes:
        return None
    axis = rng.choice(axes)
    begin = rng.randrange(value.shape[axis])
    end, step = rng.randint(begin + 1, value.shape[axis]), rng.choice((1, 1, 2))
    shape = list(value.shape)
    shape[axis] = len(range(begin, end, step))
    options = {"axis": axis, "begin": begin, "end": end, "step": step}
    return Node("part", (number,), Value(tuple(shape), value.bound), options)


def pad(rng: random.Random, graph: Graph, number: int) -> Node | None:
    """Draw a padding of a tensor with zeros."""
    value = graph.values[number]
    if len(value.shape) < 2:
        return None
    around = [(0, 0)] + [(rng.randint(0, 1), rng.randint(0, 2)) for _ in value.shape[1:]]
    shape = tuple(n + a + b for n, (a, b) in zip(value.shape, around, strict=True))
    return Node("pad", (number,), Value(shape, value.bound), {"around": tuple(around)})


def concat(rng: random.Random, graph: Graph, number: int) -> Node | None:
    """Draw a concatenation of two tensors along an axis other than the batch."""
    values = graph.values
    shape = values[number].shape
    if len(shape) < 2:
        return None
    axis = rng.randrange(1, len(shape))
    alike = [
        n
        for n, v in enumerate(values)
        if len(v.shape) == len(shape)
        and all(a == b or i == axis for i, (a, b) in enumerate(zip(shape, v.shape, strict=True)))
    ]
    other = pick(rng, graph, alike)
    length = shape[axis] + values[other].shape[axis]
    bound = max(values[number].bound, values[other].bound)
    joined = Value((*shape[:axis], length, *shape[axis + 1 :]), bound)
    return Node("concat", (number, other), joined, {"axis": axis})


def depth(op: str) -> Rule:
    """Return a rule that moves two by two pixels to channels, or back."""

    def rule(_rng: random.Random, graph: Graph, number: int) -> Node | None:
        value = graph.values[number]
        if len(value.shape) != 4:
            return None
        batch, height, width, channels = value.shape
        if op == "space_to_depth":
            fits, shape = (
                height % 2 == width % 2 == 0,
                (batch, height // 2, width // 2, channels * 4),
            )
        else:
            fits, shape = channels % 4 == 0, (batch, height * 2, width * 2, channels // 4)
        return Node(op, (number,), Value(shape, value.bound)) if fits else None

    return rule


def gate(rng: random.Random, graph: Graph, number: int) -> Node | None:
    """Draw a whole squeeze-and-excitation block."""
    value = graph.values[number]
    if len(value.shape) != 4:
        return None
    options = {"draw": drawn(rng), "keepdims": rng.random() < 0.5}
    return Node("gate", (number,), value, options)


FLOAT_RULES: tuple[Rule, ...] = (
    unary("elu", lambda bound: bound),
    unary("square", lambda bound: bound * bound),
    unary("negative", lambda bound: bound),
    binary("squared_difference", lambda a, b: (a + b) ** 2),
)
"""The rules that an int8 model does not use."""

RULES: tuple[Rule, ...] = (
    unary("relu", lambda bound: bound),
    unary("relu6", lambda bound: min(bound, 6.0)),
    unary("sigmoid", lambda _: 1.0),
    unary("tanh", lambda _: 1.0),
    unary("abs", lambda bound: bound),
    unary("leaky_relu", lambda bound: bound),
    unary("hard_swish", lambda bound: bound),
    unary("softmax", lambda _: 1.0),
    binary("add", lambda a, b: a + b),
    binary("sub", lambda a, b: a + b),
    binary("mul", lambda a, b: a * b),
    binary("maximum", max),
    binary("minimum", max),
    constant("scale"),
    constant("offset"),
    convolution("conv"),
    convolution("conv"),
    convolution("depthwise"),
    pooling("max_pool"),
    pooling("average_pool"),
    dense,
    reduction("mean"),
    reduction("mean"),
    reduction("max"),
    reduction("sum"),
    resize,
    reshape,
    transpose,
    part,
    pad,
    concat,
    depth("space_to_depth"),
    depth("depth_to_space"),
    gate,
    *FLOAT_RULES,
)
