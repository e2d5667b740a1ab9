"""TensorFlow's own tests of its interpreter, on every published wheel that can run them here."""

from __future__ import annotations

import json
import platform
import zipfile
from pathlib import Path
from typing import Any

import pytest
from support import ROOT, script
from test_smoke_wheels import interpreter

from builders.errors import SmokeError
from ci.publish.manifest import read_manifest
from ci.upstream_tests.wheels import published
from smoke_lambda.lock import TRAIN_PYTHON

pytestmark = pytest.mark.integration

WHEELS = ROOT / "wheels"
# What a test asks for, and what a wheel that fails it would say instead.
RIGHT, WRONG = b"num_threads should >= 1", b"num_threads is too small"


def reported(*wheels: Path) -> tuple[int, list[dict[str, Any]], str]:
    if platform.machine() != "x86_64":
        pytest.skip("the locked TensorFlow, tensorflow-cpu, is for x86_64: run this there")
    interpreter(TRAIN_PYTHON)
    done = script("upstream-tests", "--json", *wheels)
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout or "[]"), done.stderr


def test_every_published_tensorflow_passes() -> None:
    status, reports, said = reported()
    assert status == 0, said
    versions = {wheel.tensorflow for wheel in read_manifest(WHEELS).current}
    assert {report["tensorflow"] for report in reports} == versions
    for report in reports:
        assert report["faults"] == []
        assert report["passed"] > report["skipped"]
        assert report["failed"] + report["passed"] + report["skipped"] == len(report["tests"])
        assert all(t["reason"] for t in report["tests"] if t["outcome"] != "passed")


def test_a_wheel_that_is_wrong_fails(tmp_path: Path) -> None:
    whole = published(WHEELS)[-1]
    wrong = tmp_path / whole.name
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(wrong, "w") as target:
        files = {name: source.read(name) for name in source.namelist()}
        assert RIGHT in files["tflite_runtime/interpreter.py"]
        for name, data in files.items():
            target.writestr(name, data.replace(RIGHT, WRONG) if name.endswith(".py") else data)
    status, (report,), _ = reported(wrong)
    assert status == SmokeError.exit_code
    (fault,) = report["faults"]
    assert fault.startswith("InterpreterTest.testThreads_NegativeValue failed: AssertionError")
