"""Graphs of operators over shapes, as data, without TensorFlow.

Because it is data, a graph that fails can be made smaller (see `smaller`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

MOST_ELEMENTS = 1200
"""The most elements of a value; graphs are kept small."""
LARGEST = 16.0
"""A value whose elements may be larger goes through tanh before it is used."""

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Value:
    """A float32 tensor of a graph.

    Attributes:
        shape: the shape; if the batch is dynamic, the first size is that of the first case.
        bound: the approximate largest magnitude of the elements.
    """

    shape: Shape
    bound: float = 2.0

    @property
    def size(self) -> int:
        """The number of elements."""
        size = 1
        for length in self.shape:
            size *= length
        return size


@dataclass(frozen=True)
class Node:
    """An operator.

    Attributes:
        op: the operator's name in the grammar.
        inputs: the numbers of its input values: the graph's inputs come first, then the nodes.
        value: the output.
        options: further details of the operator, such as its axes.
    """

    op: str
    inputs: tuple[int, ...]
    value: Value
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Graph:
    """A graph of operators.

    Attributes:
        seed: the seed that the graph was drawn from, and the weights, too.
        dynamic: True if the first size of every value is the batch and is open.
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
        """The numbers of the values that no node uses."""
        used = {number for node in self.nodes for number in node.inputs}
        count = len(self.inputs) + len(self.nodes)
        return tuple(number for number in range(count) if number not in used)

    @property
    def outputs(self) -> tuple[int, ...]:
        """The numbers of the nodes' values that no other node uses."""
        return tuple(number for number in self.loose if number >= len(self.inputs))


def as_data(graph: Graph) -> dict[str, Any]:
    """Return a graph as data that JSON can hold."""
    return asdict(graph)


def from_data(data: Mapping[str, Any]) -> Graph:
    """Return the graph of data from `as_data`, after JSON has turned its tuples into lists."""
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
    """Return the flavour of a seed's graph."""
    flavours = ("float32", "int8", "float32", "dynamic", "int8", "float16")
    return flavours[seed % len(flavours)]


def smaller(graph: Graph) -> Iterator[Graph]:
    """Yield graphs with fewer operators: first without the last ones, then without one each.

    An operator that is left out is replaced by one of its inputs of the same shape. Without such
    an input, it is left out only if nothing uses it.
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
    """Return the graph without a node. The users of the node take another value instead."""
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
