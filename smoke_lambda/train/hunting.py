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

from builders.errors import UserError
from smoke_lambda.conform.graph import from_data
from smoke_lambda.inside.conform import MARK
from smoke_lambda.ops import load_ops
from smoke_lambda.train.making import entries_of, settle, version
from smoke_lambda.train.patterns import RANDOM
from smoke_lambda.train.random_graphs import pattern_of
from smoke_lambda.train.writing import write_corpus


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
            write_corpus(
                folder, version(), entries_of(RANDOM, pattern_of(graph), table, graph.seed)
            )
        except UserError as error:
            said = {"unfit": str(error)}
        else:
            said = {"made": str(folder)}
        print("\n" + MARK + json.dumps(said), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
