"""The process that converts a hunt's graphs to models: its output, and how it ends."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ci.proof.hunter import Maker
from smoke_lambda.conform.drawing import draw_graph
from smoke_lambda.conform.graph import Graph
from smoke_lambda.inside.conform import MARK

pytestmark = pytest.mark.usefixtures("allow_subprocess")

# Stands in for TensorFlow's process: seed 1 cannot be converted, seed 2 ends the process.
SCRIPT = f"""#!{sys.executable}
import json, sys
for line in sys.stdin:
    seed = json.loads(line)["seed"]
    print("INFO: what TensorFlow writes")
    if seed == 2:
        sys.exit(134)
    said = {{"unfit": "no"}} if seed == 1 else {{"made": sys.argv[-1] + "/" + str(seed)}}
    print({MARK!r} + json.dumps(said), flush=True)
"""


@pytest.fixture
def maker(tmp_path: Path) -> Iterator[Maker]:
    python = tmp_path / "python"
    python.write_text(SCRIPT)
    python.chmod(0o755)
    made = Maker(python=python, folder=tmp_path, log=tmp_path / "log")
    yield made
    made.stop()


def graph(seed: int) -> Graph:
    drawn = draw_graph(seed)
    return Graph(seed, drawn.inputs, drawn.nodes)


def test_one_process_makes_many(maker: Maker, tmp_path: Path) -> None:
    assert maker.corpus(graph(3)) == tmp_path / "1" / "3"
    assert maker.corpus(graph(4)) == tmp_path / "1" / "4"
    assert maker.unfit == 0


def test_what_tensorflow_refuses_is_counted(maker: Maker, tmp_path: Path) -> None:
    assert maker.corpus(graph(1)) is None
    assert maker.unfit == 1
    assert maker.corpus(graph(3)) == tmp_path / "1" / "3"


def test_a_graph_that_ends_tensorflow_costs_a_new_process(maker: Maker, tmp_path: Path) -> None:
    assert maker.corpus(graph(2)) is None
    assert maker.unfit == 1
    assert maker.corpus(graph(3)) == tmp_path / "2" / "3"
