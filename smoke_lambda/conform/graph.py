"""Graphs of operators over shapes, as data, without TensorFlow.

A graph that fails can so be made smaller (see `smaller`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

MOST_ELEMENTS = 1200
"""Of a value; a graph is to be small."""
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
