"""Random graphs: a grammar of valid operators over shapes, without TensorFlow.

A graph is drawn from a seed, one operator after the other, each on values that are there.
What is drawn is data, so that a graph that fails can be made smaller (see `smaller`).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

MOST_ELEMENTS = 1200
"""Of a value; a graph is to be small."""
MOST_OUTPUTS = 4
LARGEST = 16.0
"""A value whose elements may be larger goes through tanh before it goes on."""

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Value:
    """A float32 tensor of a graph.

    Attributes:
        shape: where the batch is dynamic, the first size is that of the first case.
        bound: how large its elements are, more or less.
    """

    shape: Shape
    bound: float = 2.0

    @property
    def size(self) -> int:
        """How many elements it has."""
        size = 1
        for length in self.shape:
            size *= length
        return size


@dataclass(frozen=True)
class Node:
    """An operator.

    Attributes:
        op: its name in the grammar.
        inputs: numbers of values: those of the graph's inputs come first, then the nodes'.
        value: what it gives.
        options: what else there is to know.
    """

    op: str
    inputs: tuple[int, ...]
    value: Value
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Graph:
    """A graph of operators.

    Attributes:
        seed: that it was drawn from; the weights are, too.
        dynamic: the first size of every value is the batch, and not fixed.
    """

    seed: int
    inputs: tuple[Value, ...]
    nodes: tuple[Node, ...]
    dynamic: bool = False

    @property
    def values(self) -> tuple[Value, ...]:
        """All values, in the order of their numbers."""
        return self.inputs + tuple(node.value for node in self.nodes)

    @property
    def loose(self) -> tuple[int, ...]:
        """The values that no node uses."""
        used = {number for node in self.nodes for number in node.inputs}
        count = len(self.inputs) + len(self.nodes)
        return tuple(number for number in range(count) if number not in used)

    @property
    def outputs(self) -> tuple[int, ...]:
        """The nodes' values that no other uses."""
        return tuple(number for number in self.loose if number >= len(self.inputs))


def as_data(graph: Graph) -> dict[str, Any]:
    """A graph as JSON can hold it."""
    return asdict(graph)


def from_data(data: Mapping[str, Any]) -> Graph:
    """The graph of what as_data gave, after JSON has made lists of its tuples."""
    return Graph(
        seed=data["seed"],
        inputs=tuple(_value(value) for value in data["inputs"]),
        nodes=tuple(
            Node(
                op=node["op"],
                inputs=tuple(node["inputs"]),
                value=_value(node["value"]),
                options={name: _frozen(option) for name, option in node["options"].items()},
            )
            for node in data["nodes"]
        ),
        dynamic=data["dynamic"],
    )


def _value(data: Mapping[str, Any]) -> Value:
    return Value(tuple(data["shape"]), data["bound"])


def _frozen(option: Any) -> Any:  # noqa: ANN401
    return tuple(map(_frozen, option)) if isinstance(option, list) else option


def flavour_of(seed: int) -> str:
    """The flavour that a seed's graph comes in."""
    flavours = ("float32", "int8", "float32", "dynamic", "int8", "float16")
    return flavours[seed % len(flavours)]


def draw_graph(seed: int) -> Graph:
    """The graph of a seed: ten to forty operators, of those that its flavour has."""
    # Imported here: the operators are drawn with the classes above.
    from smoke_lambda.conform.grammar import draw_node

    rng = random.Random(seed)
    dynamic = rng.random() < 0.3
    batch = 1 if dynamic or rng.random() < 0.7 else 3
    inputs = tuple(Value(draw_shape(rng, batch)) for _ in range(rng.choice((1, 1, 2))))
    graph = Graph(seed, inputs, (), dynamic)
    wanted = rng.randint(10, 40)
    int8 = flavour_of(seed) == "int8"
    while len(graph.nodes) < wanted:
        node = draw_node(rng, graph, int8=int8)
        if node is not None:
            graph = Graph(seed, inputs, (*graph.nodes, node), dynamic)
    return joined(graph)


def draw_shape(rng: random.Random, batch: int) -> Shape:
    """Of an input: mostly an image."""
    kind = rng.random()
    if kind < 0.7:
        return batch, rng.randint(3, 7), rng.randint(3, 7), rng.choice((3, 4, 8))
    if kind < 0.85:
        return batch, rng.randint(2, 8), rng.choice((4, 8, 12, 16))
    return batch, rng.choice((8, 16, 24, 32))


def joined(graph: Graph) -> Graph:
    """The graph with what is left over reduced and added up, so that it has few outputs."""
    nodes = list(graph.nodes)
    first = len(graph.inputs)
    loose = list(graph.outputs)
    while len(loose) > MOST_OUTPUTS:
        parts = []
        for number in loose[:2]:
            value = Graph(graph.seed, graph.inputs, tuple(nodes), graph.dynamic).values[number]
            axes = tuple(range(1, len(value.shape)))
            if axes:
                shape = value.shape[:1]
                options = {"axes": axes, "keepdims": False}
                nodes.append(Node("mean", (number,), Value(shape, value.bound), options))
                number = first + len(nodes) - 1
            parts.append(number)
        bound = sum(nodes[number - first].value.bound for number in parts)
        shape = nodes[parts[0] - first].value.shape
        nodes.append(Node("add", tuple(parts), Value(shape, bound)))
        loose = [*loose[2:], first + len(nodes) - 1]
    return Graph(graph.seed, graph.inputs, tuple(nodes), graph.dynamic)


def smaller(graph: Graph) -> Iterator[Graph]:
    """Graphs with fewer operators: the first halves, then without one operator each.

    What is left out gives way to a value of its shape that it was made of, where there is one.
    """
    for keep in (len(graph.nodes) // 2, len(graph.nodes) - 1):
        if 0 < keep < len(graph.nodes):
            yield Graph(graph.seed, graph.inputs, graph.nodes[:keep], graph.dynamic)
    for number in reversed(range(len(graph.nodes))):
        yield from _without(graph, number)


def _without(graph: Graph, gone: int) -> Iterator[Graph]:
    first = len(graph.inputs)
    node, values = graph.nodes[gone], graph.values
    if first + gone in graph.outputs:
        yield _cut(graph, gone, first + gone)
    for stand_in in node.inputs:
        if values[stand_in].shape == node.value.shape:
            yield _cut(graph, gone, stand_in)


def _cut(graph: Graph, gone: int, stand_in: int) -> Graph:
    """The graph without a node, whose users take another value."""
    first = len(graph.inputs)

    def moved(number: int) -> int:
        number = stand_in if number == first + gone else number
        return number - (number > first + gone)

    nodes = tuple(
        Node(node.op, tuple(map(moved, node.inputs)), node.value, node.options)
        for number, node in enumerate(graph.nodes)
        if number != gone
    )
    return Graph(graph.seed, graph.inputs, nodes, graph.dynamic)
