from __future__ import annotations

from collections.abc import Callable
from itertools import count

from smoke_lambda.conform.drawing import draw_graph
from smoke_lambda.conform.graph import Graph
from smoke_lambda.conform.hunt import MOST_TRIES, Failure, hunt, shrunk


def ticking() -> Callable[[], float]:
    times = count()
    return lambda: float(next(times))


def without(op: str) -> Callable[[Graph], str]:
    return lambda graph: f"{op} is wrong" if op in {node.op for node in graph.nodes} else ""


def test_seeds_are_tried_until_the_time_is_up() -> None:
    tried: list[int] = []

    def right(graph: Graph) -> str:
        tried.append(graph.seed)
        return ""

    found = hunt(4, 7, right, clock=ticking())
    assert tried == [7, 8, 9, 10]
    assert (found.first_seed, found.seeds, found.failures) == (7, 4, ())


def test_one_graph_is_tried_even_without_time() -> None:
    assert hunt(0, 7, lambda _: "").seeds == 1


def test_a_failure_is_told_of_and_made_small() -> None:
    seed = next(s for s in count() if "mul" in {node.op for node in draw_graph(s).nodes})
    told: list[Failure] = []
    found = hunt(0, seed, without("mul"), on_failure=told.append)
    (failure,) = found.failures
    assert told == [failure]
    assert failure.said == "mul is wrong"
    assert "mul" in {node.op for node in failure.graph.nodes}
    assert len(failure.graph.nodes) < failure.drawn


def test_making_a_graph_smaller_ends() -> None:
    tries: list[Graph] = []

    def fails_as_drawn(graph: Graph) -> str:
        tries.append(graph)
        return ""

    graph = draw_graph(3)
    assert shrunk(graph, "wrong", fails_as_drawn) == Failure(graph, "wrong", len(graph.nodes))
    assert 0 < len(tries) <= MOST_TRIES
