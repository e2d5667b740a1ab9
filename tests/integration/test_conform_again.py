"""What TensorFlow makes: the committed corpus again, byte for byte, and models for a hunt."""

from __future__ import annotations

import json
import platform
import subprocess
from pathlib import Path

import pytest
from support import ROOT

from builders.cache import Cache, default_root
from builders.interpreters import find_interpreter
from ci.proof.tensorflow_environment import tensorflow_python
from smoke_lambda.conform.drawing import draw_graph
from smoke_lambda.conform.graph import as_data
from smoke_lambda.inside.conform import MARK
from smoke_lambda.lock import TRAIN_PYTHON

pytestmark = pytest.mark.integration

# Small families of each kind: a convolution of the quantizer's, Keras', tables, loops.
SOME = ("cast", "control_flow", "pool", "signatures", "transpose_conv")

# Graphs of int8: in the second, a convolution's answer has a 700th of its input's scale.
USUAL, STEEP = 5383, 5785


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if platform.machine() != "x86_64":
        pytest.skip("the locked TensorFlow, tensorflow-cpu, is for x86_64: run this there")
    interpreter = find_interpreter(TRAIN_PYTHON)
    if interpreter is None:
        pytest.skip(f"no Python {TRAIN_PYTHON}: install one, such as with pyenv")
    log = tmp_path_factory.mktemp("log") / "log"
    return tensorflow_python(interpreter, Cache(default_root()), log)


def test_the_same_models_and_answers_are_made_again(python: Path) -> None:
    command: list[str | Path] = [
        python,
        "-m",
        "smoke_lambda.train.generate",
        "--check",
        "--only",
        *SOME,
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    assert all(f"{family}: " in done.stdout for family in SOME)


def test_a_steep_graph_is_no_model_for_a_hunt(python: Path, tmp_path: Path) -> None:
    lines = [json.dumps(as_data(draw_graph(seed))) for seed in (USUAL, STEEP)]
    done = subprocess.run(
        [python, "-B", "-m", "smoke_lambda.train.hunting", tmp_path],
        cwd=ROOT,
        input="\n".join(lines),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    answers = [json.loads(line[len(MARK) :]) for line in done.stdout.splitlines() if MARK in line]
    assert [list(answer) for answer in answers] == [["made"], ["unfit"]]
    assert "graph5785.int8 is steep" in answers[1]["unfit"]
    assert (tmp_path / "0" / "index.json").is_file()
