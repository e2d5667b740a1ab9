"""The committed corpus is what TensorFlow makes again, byte for byte."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import pytest
from support import ROOT

from builders.cache import Cache, default_root
from builders.interpreters import find_interpreter
from ci.proof.tensorflow_environment import tensorflow_python
from smoke_lambda.lock import TRAIN_PYTHON

pytestmark = pytest.mark.integration

# Small families of each kind: a convolution of the quantizer's, Keras', tables, loops.
SOME = ("cast", "control_flow", "pool", "signatures", "transpose_conv")


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
