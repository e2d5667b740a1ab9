"""Draw random graphs, each from a seed: one operator after the other, on existing values."""

from __future__ import annotations

import random

from smoke_lambda.conform.grammar import draw_node
from smoke_lambda.conform.graph import Graph, Node, Shape, Value, flavour_of

MOST_OUTPUTS = 4


def draw_graph(seed: int) -> Graph:
    """Return the graph of a seed, with ten to forty drawn operators that its flavour allows."""
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
    """Return the shape of an input, mostly that of an image."""
    kind = rng.random()
    if kind < 0.7:
        return batch, rng.randint(3, 7), rng.randint(3, 7), rng.choice((3, 4, 8))
    if kind < 0.85:
        return batch, rng.randint(2, 8), rng.choice((4, 8, 12, 16))
    return batch, rng.choice((8, 16, 24, 32))


def joined(graph: Graph) -> Graph:
    """Return the graph with surplus outputs reduced and added up, so that few outputs remain."""
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
