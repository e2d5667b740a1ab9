from __future__ import annotations

import json

import pytest

from smoke_lambda.conform.drawing import MOST_OUTPUTS, draw_graph
from smoke_lambda.conform.grammar import FLOAT_RULES, RULES
from smoke_lambda.conform.graph import (
    MOST_ELEMENTS,
    Graph,
    Node,
    Value,
    as_data,
    flavour_of,
    from_data,
    smaller,
)

SEEDS = range(100)


@pytest.fixture(scope="module")
def graphs() -> list[Graph]:
    return [draw_graph(seed) for seed in SEEDS]


def test_a_seed_gives_the_same_graph_again(graphs: list[Graph]) -> None:
    assert graphs[:20] == [draw_graph(seed) for seed in SEEDS[:20]]


def test_graphs_are_of_the_size_that_was_asked_for(graphs: list[Graph]) -> None:
    assert {len(graph.nodes) >= 10 for graph in graphs} == {True}
    assert {len(graph.outputs) <= MOST_OUTPUTS for graph in graphs} == {True}
    assert all(value.size <= MOST_ELEMENTS for graph in graphs for value in graph.values)


def test_a_node_takes_only_what_is_there_before_it(graphs: list[Graph]) -> None:
    for graph in graphs:
        for number, node in enumerate(graph.nodes, start=len(graph.inputs)):
            assert all(taken < number for taken in node.inputs)


def test_every_operator_of_the_grammar_is_drawn(graphs: list[Graph]) -> None:
    drawn = {node.op for graph in graphs for node in graph.nodes}
    assert len(drawn) >= len(set(RULES)) - 2
    assert {"conv", "mean", "gate", "reshape", "concat"} <= drawn


def test_an_int8_graph_has_only_operators_with_int8_kernels(graphs: list[Graph]) -> None:
    assert FLOAT_RULES
    ops = {n.op for g in graphs if flavour_of(g.seed) == "int8" for n in g.nodes}
    assert ops.isdisjoint({"elu", "square", "negative", "squared_difference"})


def test_a_dynamic_batch_stays_the_first_axis(graphs: list[Graph]) -> None:
    dynamic = [graph for graph in graphs if graph.dynamic]
    assert dynamic
    for graph in dynamic:
        assert all(value.shape[0] == 1 for value in graph.values)


def test_graphs_become_smaller_until_one_node_is_left(graphs: list[Graph]) -> None:
    for graph in graphs[:10]:
        while len(graph.nodes) > 1:
            graph_size = len(graph.nodes)
            graph = next(smaller(graph))
            assert len(graph.nodes) < graph_size


def test_an_operator_gives_way_to_what_it_was_made_of() -> None:
    value = Value((1, 4))
    nodes = (Node("relu", (0,), value), Node("tanh", (1,), value), Node("add", (1, 2), value))
    graph = Graph(1, (value,), nodes)
    without_relu = Graph(1, (value,), (Node("tanh", (0,), value), Node("add", (0, 1), value)))
    assert without_relu in list(smaller(graph))


@pytest.mark.parametrize("seed", range(20))
def test_a_graph_goes_through_json(seed: int) -> None:
    graph = draw_graph(seed)
    assert from_data(json.loads(json.dumps(as_data(graph)))) == graph
