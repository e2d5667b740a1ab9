"""Hunt for graphs that a runtime fails at: one seed after the other, each failure made smaller.

What a graph is tried with is told by the caller: it converts the graph (see making), runs it on
a wheel, and says what is wrong.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from smoke_lambda.conform.drawing import draw_graph
from smoke_lambda.conform.graph import Graph, smaller

MOST_TRIES = 150
"""For a smaller graph that still fails; each is a conversion and a run, below a second."""

RunModel = Callable[[Graph], str]
"""What is wrong with a graph on a runtime, in one line; empty where nothing is."""


@dataclass(frozen=True)
class Failure:
    """A graph that a runtime fails at.

    Attributes:
        graph: the smallest that was found.
        said: what is wrong with it.
        drawn: how many operators the seed's own graph has.
    """

    graph: Graph
    said: str
    drawn: int


@dataclass(frozen=True)
class Hunt:
    """What a hunt found.

    Attributes:
        first_seed, seeds: the first seed, and how many were tried.
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
        seconds: how long; the graph that is tried then, or made smaller, is finished.
        on_failure: is told of each failure, made small, at once.
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
    """The smallest graph that still fails, as far as a number of tries goes."""
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
