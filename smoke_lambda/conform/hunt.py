"""Hunt for graphs that a runtime fails at: one seed after the other, each failure made smaller.

The caller gives a function that tries a graph. It converts the graph (see making), runs it on
a wheel, and returns what is wrong.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from smoke_lambda.conform.drawing import draw_graph
from smoke_lambda.conform.graph import Graph, smaller

MOST_TRIES = 150
"""The most tries for a smaller graph that still fails.

Each try is a conversion and a run, and takes less than a second.
"""

RunModel = Callable[[Graph], str]
"""A function that returns what is wrong with a graph on a runtime, in one line, or nothing."""


@dataclass(frozen=True)
class Failure:
    """A graph that a runtime fails at.

    Attributes:
        graph: the smallest failing graph that was found.
        said: what is wrong with it.
        drawn: the number of operators in the seed's own graph.
    """

    graph: Graph
    said: str
    drawn: int


@dataclass(frozen=True)
class Hunt:
    """The results of a hunt.

    Attributes:
        first_seed, seeds: the first seed, and the number of seeds that were tried.
    """

    first_seed: int
    seeds: int
    failures: tuple[Failure, ...]


def hunt(
    seconds: float,
    first_seed: int,
    run_model: RunModel,
    *,
    on_failure: Callable[[Failure], None] = lambda _failure: None,
    clock: Callable[[], float] = time.monotonic,
) -> Hunt:
    """Try graphs until the time is up; at least one.

    Args:
        seconds: the duration. A graph that is being tried or made smaller at its end is finished.
        on_failure: is called with each failure as soon as its graph is made smaller.
    """
    end = clock() + seconds
    failures: list[Failure] = []
    seed = first_seed
    while seed == first_seed or clock() < end:
        graph = draw_graph(seed)
        if said := run_model(graph):
            failures.append(shrunk(graph, said, run_model))
            on_failure(failures[-1])
        seed += 1
    return Hunt(first_seed, seed - first_seed, tuple(failures))


def shrunk(graph: Graph, said: str, run_model: RunModel) -> Failure:
    """Return the failure with the smallest graph that MOST_TRIES tries find."""
    drawn, tries = len(graph.nodes), 0
    found = True
    while found:
        found = False
        for candidate in smaller(graph):
            tries += 1
            if tries > MOST_TRIES:
                break
            if again := run_model(candidate):
                graph, said, found = candidate, again, True
                break
    return Failure(graph, said, drawn)
