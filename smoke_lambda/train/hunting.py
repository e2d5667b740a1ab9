"""Makes models of the graphs that a hunt asks for; started by ci/proof/hunter.py.

    python -m smoke_lambda.train.hunting FOLDER

Each line of the standard input is a graph (smoke_lambda.conform.graph.as_data). To each comes one
line: `made` with the folder of a corpus of it, or `unfit` with what TensorFlow says of it. Runs in
the environment of requirements/train.txt.
"""

from __future__ import annotations

import json
import sys
from itertools import count
from pathlib import Path

import numpy as np

from builders.errors import UsageError, UserError
from smoke_lambda.conform.graph import from_data
from smoke_lambda.conform.settings import load_tolerances
from smoke_lambda.inside.conform import MARK
from smoke_lambda.ops import load_ops
from smoke_lambda.train.answers import steepness
from smoke_lambda.train.making import entries_of, settle, version
from smoke_lambda.train.pattern import INT8
from smoke_lambda.train.patterns import RANDOM
from smoke_lambda.train.random_graphs import pattern_of
from smoke_lambda.train.writing import Entry, write_corpus


def refuse_steep(entry: Entry, *, optimized: bool) -> None:
    """Refuse an int8 graph on which two right runtimes may differ by many steps; see `steepness`.

    This also refuses graphs on which they agree: a hunt has enough of others.

    Raises:
        UsageError: the answers move by more steps than runtimes may differ by.
    """
    if entry.model.flavour != INT8:
        return
    draw = np.random.default_rng(entry.model.seed)
    steps = steepness(entry.content, entry.cases, optimized=optimized, draw=draw)
    allowed = load_tolerances()[entry.model.tolerance]["steps"]
    if steps > allowed:
        raise UsageError(
            f"{entry.model.name} is steep: a step of its inputs moves an answer by {steps} steps, "
            f"and {allowed} are allowed"
        )


def main(arguments: list[str]) -> int:
    """Answer until the input ends."""
    settle()
    table = load_ops()
    for number in count():
        line = sys.stdin.readline()
        if not line:
            return 0
        graph = from_data(json.loads(line))
        folder = Path(arguments[0]) / str(number)
        try:
            pattern = pattern_of(graph)
            entries = list(entries_of(RANDOM, pattern, table, graph.seed))
            for entry in entries:
                refuse_steep(entry, optimized=pattern.optimized)
            write_corpus(folder, version(), entries)
        except UserError as error:
            said = {"unfit": str(error)}
        else:
            said = {"made": str(folder)}
        print("\n" + MARK + json.dumps(said), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
