"""Runtimes side by side, and the function for ONNX Runtime: the real ones."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support import ROOT, engine, script

from builders.interpreters import find_interpreter

pytestmark = pytest.mark.integration

PYTHON = "3.12"
MODEL = ROOT / "smoke_lambda/models/digits-int8.tflite"
CANNOT_BE_HAD = 3
EVENTS = 30
"""Of which each model is asked more."""


def answered(done: subprocess.CompletedProcess[str]) -> Any:  # noqa: ANN401 - JSON
    """Return a command's JSON; skip if the network lacks what the command needs."""
    if done.returncode == CANNOT_BE_HAD:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.fixture(autouse=True)
def needs_python() -> None:
    if find_interpreter(PYTHON) is None:
        pytest.skip(f"no Python {PYTHON}: pyenv install {PYTHON}")


def test_our_wheels_and_onnx_runtime_answer_the_same(tmp_path: Path) -> None:
    html = tmp_path / "out.html"
    options: list[str | Path] = [
        "--only",
        "onnxruntime",
        "--runner",
        "native",
        "--html",
        html,
        "--json",
    ]
    picture = ROOT / "smoke_lambda/images/7.png"
    found = answered(script("compare", MODEL, "--python", PYTHON, "--picture", picture, *options))
    (model,) = found["models"]
    rows = {row["runtime"]: row for row in model["rows"]}
    assert not [row for row in rows.values() if "error" in row]
    (converted,) = (row for name, row in rows.items() if "(converted)" in name)
    assert converted["apart"] <= 2 / 256, "a step of the quantization, or two"
    ours = [row for row in rows.values() if row["own"]]
    assert len(ours) >= 2
    assert all(row["apart"] <= 1 / 256 for row in ours)
    assert all(row["request_ms"] > 0 for row in rows.values())
    assert "<svg" in html.read_text()


@pytest.mark.parametrize("runner", ["native", "docker"])
def test_the_function_for_onnx_runtime_answers_every_event(runner: str) -> None:
    if runner == "docker":
        engine()
    (report,) = answered(script("smoke", "--onnx", PYTHON, "--runner", runner, "--json"))
    (run,) = report["runs"]
    for model in ("digits-float32", "digits-int8"):
        checks = [check for check in run["checks"] if check["name"].startswith(f"{model}: ")]
        assert len(checks) > EVENTS
        assert [check for check in checks if not check["ok"]] == []
