"""Every model of the corpus answers in the server as in TensorFlow."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from serving_support import python
from support import ROOT

pytestmark = pytest.mark.integration


def test_every_model_of_the_corpus_is_answered() -> None:
    program = Path(__file__).with_name("serving_corpus.py")
    done = subprocess.run(
        [python(), program, ROOT / "smoke_lambda/conform/corpus"],
        env={"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    # A request without rows is refused.
    faults = {name: said for name, said in found["faults"].items() if "not [0, " not in said}
    assert faults == {}
    assert set(found["batching"]) == {"RESIZE", "ROWS", "NONE"}
