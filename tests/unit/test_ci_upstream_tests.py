from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from builders.errors import ArchiveError, SmokeError, UsageError
from builders.interpreters import Interpreter
from builders.matrix import Target, load_matrix
from ci.commands import upstream_tests as command
from ci.upstream_tests.expected import (
    FAILED,
    LEFT_OUT,
    PASSED,
    SKIPPED,
    Expectation,
    Version,
    load_version,
    parse_versions,
)
from ci.upstream_tests.models import Conversion, read_conversions
from ci.upstream_tests.report import Outcome, Report, outcomes_of
from ci.upstream_tests.run import ending, run_probe
from ci.upstream_tests.wheels import published, target_of
from smoke_lambda.lock import TRAIN_PYTHON

MATRIX = load_matrix()

KNOWN = Version(
    tensorflow="2.14.1",
    testdata="2.14.1",
    expected=(
        Expectation(test="A.flaky", outcome=SKIPPED, reason="upstream skips it"),
        Expectation(test="*.missing", outcome=LEFT_OUT, reason="its model is not to be had"),
        Expectation(test="A.bug", outcome=FAILED, reason="a bug of upstream's"),
    ),
)
AS_EXPECTED = (
    Outcome("A.good", PASSED),
    Outcome("A.flaky", SKIPPED, "TODO"),
    Outcome("B.missing", LEFT_OUT),
    Outcome("A.bug", FAILED, "ValueError: 1"),
)

GOOD: dict[str, Any] = {
    "expected": [{"test": "A.a", "outcome": "skipped", "reason": "flaky"}],
    "version": [
        {
            "tensorflow": "2.14.1",
            "testdata": "2.14.1",
            "expected": [{"test": "A.b", "outcome": "failed", "reason": "why"}],
        }
    ],
}

BUILD = """
load("//tensorflow/lite:build_def.bzl", "tf_to_tflite")

tf_to_tflite(
    name = "negate",
    src = "negate.pbtxt",
    out = "negate.tflite",
    options = [
        "--input_arrays=x",
    ],
)

cc_library(name = "other", srcs = glob(["*.cc"]))
"""

TESTS = """\
import os
import unittest

import tensorflow
from tensorflow.lite.python import interpreter as interpreter_wrapper
from tensorflow.lite.python.metrics import metrics
from tensorflow.lite.python.testdata import made


class First(unittest.TestCase):
    def test_wheel(self):
        self.assertEqual(interpreter_wrapper.NAME, "the wheel's")
        self.assertEqual(metrics.NAME, "the wheel's metrics")
        self.assertEqual(made.NAME, "made")

    def test_bad(self):
        self.assertEqual(1, 2)

    def test_parts(self):
        for part in range(2):
            with self.subTest(part):
                self.assertEqual(part, 0)

    def test_error(self):
        raise OSError("two\\nlines")

    @unittest.skip("flaky")
    def test_skipped(self):
        self.fail()

    @unittest.expectedFailure
    def test_known(self):
        self.fail()

    @unittest.expectedFailure
    def test_mended(self):
        pass

    def test_unwanted(self):
        self.fail()


class Second(unittest.TestCase):
    def test_abort(self):
        {abort}

    def test_last(self):
        pass
"""


def report(*outcomes: Outcome) -> Report:
    return Report(
        wheel="a.whl",
        version=KNOWN,
        test_sha256="0" * 64,
        environment={"numpy": "1.26.4"},
        outcomes=outcomes,
    )


def test_what_is_expected_is_no_fault() -> None:
    found = report(*AS_EXPECTED)
    assert found.ok
    assert found.counts == {PASSED: 1, FAILED: 1, SKIPPED: 2}
    assert found.reasons == {
        "A.flaky": (SKIPPED, "upstream skips it"),
        "B.missing": (LEFT_OUT, "its model is not to be had"),
        "A.bug": (FAILED, "a bug of upstream's"),
    }
    data = json.loads(json.dumps(found.as_json()))
    assert (data["passed"], data["failed"], data["skipped"], data["ok"]) == (1, 1, 2, True)
    assert data["tests"][3] == {
        "test": "A.bug",
        "outcome": FAILED,
        "detail": "ValueError: 1",
        "reason": "a bug of upstream's",
    }


@pytest.mark.parametrize(
    ("outcomes", "fault"),
    [
        (
            (*AS_EXPECTED, Outcome("A.new", FAILED, "no")),
            "A.new failed: no (expected: passed)",
        ),
        (
            (*AS_EXPECTED, Outcome("A.new", SKIPPED, "no GPU")),
            "A.new skipped: no GPU (expected: passed)",
        ),
        (
            (*AS_EXPECTED[:3], Outcome("A.bug", PASSED)),
            "A.bug passed (expected: failed: a bug of upstream's)",
        ),
        (
            (AS_EXPECTED[0], Outcome("A.flaky", FAILED, "no"), *AS_EXPECTED[2:]),
            "A.flaky failed: no (expected: skipped: upstream skips it)",
        ),
        (AS_EXPECTED[:3], "A.bug: expected to be failed, but there is no such test"),
        (AS_EXPECTED[1:], "no test passed"),
    ],
)
def test_anything_else_is_a_fault(outcomes: Sequence[Outcome], fault: str) -> None:
    found = report(*outcomes)
    assert found.faults == (fault,)
    assert not found.ok


def test_what_the_process_did_not_live_to_tell_failed() -> None:
    events = [
        {"test": "A.one", "outcome": "started", "detail": ""},
        {"test": "A.one", "outcome": "passed", "detail": ""},
        {"test": "A.two", "outcome": "started", "detail": ""},
    ]
    assert outcomes_of(["A.one", "A.two", "A.three"], events, "ended by SIGSEGV") == (
        Outcome("A.one", PASSED),
        Outcome("A.two", FAILED, "the process did not survive it: ended by SIGSEGV"),
        Outcome("A.three", FAILED, "not run: ended by SIGSEGV"),
    )


@pytest.mark.parametrize(
    ("status", "words"), [(0, "exit status 0"), (-11, "ended by SIGSEGV"), (None, "not done in")]
)
def test_how_a_process_ended_is_said(status: int | None, words: str) -> None:
    assert ending(status).startswith(words)


def test_every_verified_tensorflow_has_its_expectations() -> None:
    for tensorflow in MATRIX.tensorflows:
        if tensorflow.verified:
            version = load_version(tensorflow.version)
            assert MATRIX.tensorflow(version.testdata)


def test_an_unknown_tensorflow_is_refused() -> None:
    with pytest.raises(UsageError, match=r"has no expectations for TensorFlow 1\.0"):
        load_version("1.0")


@pytest.mark.parametrize(
    "change",
    [
        {"test": ""},
        {"outcome": "passed"},
        {"reason": ""},
        {"reason": "two\nlines"},
        {"issue": "unknown key"},
    ],
)
def test_a_malformed_expectation_is_refused(change: dict[str, str]) -> None:
    good = GOOD["expected"][0]
    parse_versions(GOOD | {"expected": [good]})
    with pytest.raises(UsageError):
        parse_versions(GOOD | {"expected": [good | change]})


def test_a_version_that_is_there_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="twice"):
        parse_versions(GOOD | {"version": GOOD["version"] * 2})


def test_a_version_has_what_is_expected_of_all_and_of_itself() -> None:
    version = parse_versions(GOOD)["2.14.1"]
    flaky, own, other = (version.of(test) for test in ("A.a", "A.b", "A.c"))
    assert flaky == Expectation(test="A.a", outcome=SKIPPED, reason="flaky")
    assert own == Expectation(test="A.b", outcome=FAILED, reason="why")
    assert other is None


def test_the_models_are_those_that_bazel_makes(tmp_path: Path) -> None:
    (found,) = read_conversions(BUILD)
    assert found == Conversion("negate.pbtxt", "negate.tflite", ("--input_arrays=x",))
    assert found.arguments(Path("data"), tmp_path) == [
        "--enable_v1_converter",
        "--graph_def_file=data/negate.pbtxt",
        f"--output_file={tmp_path / 'negate.tflite'}",
        "--input_arrays=x",
    ]


@pytest.mark.parametrize(
    "build",
    ["cc_library()", "tf_to_tflite(", "tf_to_tflite(src = 'a')", "tf_to_tflite(src = SOURCE)"],
)
def test_a_build_file_that_makes_no_model_is_an_error(build: str) -> None:
    with pytest.raises(ArchiveError):
        read_conversions(build)


def fakes(folder: Path, abort: str) -> tuple[Path, Path]:
    """Write a site with fakes of TensorFlow and a wheel, and a test file for them."""
    site = folder / "site"
    files = {
        "numpy/__init__.py": "__version__ = '2.0'",
        "tensorflow/__init__.py": "__version__ = '2.14'",
        "tensorflow/lite/__init__.py": "",
        "tensorflow/lite/python/__init__.py": "",
        "tensorflow/lite/python/interpreter.py": "NAME = 'TensorFlow's'",
        "tensorflow/lite/python/metrics/__init__.py": "",
        "tflite_runtime/__init__.py": "",
        "tflite_runtime/interpreter.py": 'NAME = "the wheel\'s"',
        "tflite_runtime/metrics_portable.py": 'NAME = "the wheel\'s metrics"',
    }
    for name, text in files.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)
    (folder / "testdata").mkdir()
    (folder / "testdata/made.py").write_text("NAME = 'made'")
    tests = folder / "interpreter_test.py"
    tests.write_text(TESTS.replace("{abort}", abort))
    return site, tests


def probed(folder: Path, abort: str) -> tuple[dict[str, Any], dict[str, tuple[str, str]]]:
    site, tests = fakes(folder, abort)
    log = folder / "log"
    found, events, status = run_probe(
        Path(sys.executable), site, tests, ["*.test_unwanted"], folder, log
    )
    outcomes = outcomes_of(found["tests"], events, status)
    return found, {o.test: (o.outcome, o.detail) for o in outcomes}


@pytest.mark.usefixtures("allow_subprocess")
def test_the_tests_run_on_the_wheel_and_each_outcome_is_told(tmp_path: Path) -> None:
    found, outcomes = probed(tmp_path, "pass")
    assert found["environment"]["numpy"] == "2.0"
    assert found["environment"]["tensorflow"] == "2.14"
    assert outcomes == {
        "First.test_wheel": (PASSED, ""),
        "First.test_bad": (FAILED, "AssertionError: 1 != 2"),
        "First.test_parts": (FAILED, "AssertionError: 1 != 0"),
        "First.test_error": (FAILED, "OSError: two lines"),
        "First.test_skipped": (SKIPPED, "flaky"),
        "First.test_known": (PASSED, ""),
        "First.test_mended": (FAILED, "passes, and upstream expects it to fail"),
        "First.test_unwanted": (LEFT_OUT, ""),
        "Second.test_abort": (PASSED, ""),
        "Second.test_last": (PASSED, ""),
    }


@pytest.mark.usefixtures("allow_subprocess")
def test_a_crash_is_a_failure_of_the_test_and_of_those_after_it(tmp_path: Path) -> None:
    _, outcomes = probed(tmp_path, "os.abort()")
    assert outcomes["First.test_wheel"] == (PASSED, "")
    assert outcomes["Second.test_abort"] == (
        FAILED,
        "the process did not survive it: ended by SIGABRT",
    )
    assert outcomes["Second.test_last"] == (FAILED, "not run: ended by SIGABRT")


@pytest.mark.usefixtures("allow_subprocess")
def test_tests_that_do_not_load_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(SmokeError, match="could not be loaded: exit status 1"):
        probed(tmp_path, "1 +")


@pytest.mark.usefixtures("allow_subprocess")
def test_tests_of_another_interpreter_are_an_error(tmp_path: Path) -> None:
    site, tests = fakes(tmp_path, "pass")
    (site / "tflite_runtime/interpreter.py").write_text("__file__ = '/elsewhere/interpreter.py'")
    with pytest.raises(SmokeError, match=r"imported /elsewhere/interpreter\.py, not"):
        run_probe(Path(sys.executable), site, tests, [], tmp_path, tmp_path / "log")


def test_the_published_wheels_are_the_default() -> None:
    wheels = published(command.WHEELS)
    versions = [target_of(wheel, MATRIX).tensorflow.version for wheel in wheels]
    assert versions
    assert len(set(versions)) == len(versions)


def test_nothing_published_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is published"):
        published(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "absent.whl",
        "tflite_runtime.whl",
        "tflite_runtime-2.14.1-1-cp312-cp312-manylinux_2_17_x86_64.whl",
        "tflite_runtime-2.14.1-1-cp311-cp311-manylinux_2_17_riscv64.whl",
        "tflite_runtime-1.0-1-cp311-cp311-manylinux_2_17_{arch}.whl",
    ],
)
def test_a_wheel_that_cannot_be_tested_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    wheel = tmp_path / name.replace("{arch}", "x86_64")
    if "absent" not in name:
        wheel.touch()
    with pytest.raises(UsageError):
        target_of(wheel, MATRIX)


@pytest.mark.parametrize(
    ("outcomes", "status"), [(AS_EXPECTED, 0), (AS_EXPECTED[1:], SmokeError.exit_code)]
)
def test_the_command_says_what_was_found(
    outcomes: Sequence[Outcome],
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tried: list[Target] = []

    def run_tests(_wheel: Path, target: Target, _version: Version, **_: object) -> Report:
        tried.append(target)
        return report(*outcomes)

    interpreter = Interpreter(
        executable=Path(sys.executable), version="3.11.0", arch="x86_64", include=Path("include")
    )
    monkeypatch.setattr(command, "run_tests", run_tests)
    monkeypatch.setattr(command, "find_interpreter", lambda _python: interpreter)
    assert command.main([]) == status
    assert {target.runtime.python for target in tried} == {TRAIN_PYTHON}
    said = capsys.readouterr().out
    assert "upstream skips it" in said
    assert ("FAILED no test passed" in said) == bool(status)
    tried.clear()
    assert command.main(["--json"]) == status
    assert [each["ok"] for each in json.loads(capsys.readouterr().out)] == [not status] * len(tried)


def test_without_that_python_there_is_a_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "find_interpreter", lambda _python: None)
    assert command.main([]) == UsageError.exit_code
    assert f"no Python {TRAIN_PYTHON} here; install it" in capsys.readouterr().err


def test_data_of_another_version_is_said_to_be(capsys: pytest.CaptureFixture[str]) -> None:
    version = Version(tensorflow="2.22.0", testdata="2.14.1", expected=())
    found = Report(
        wheel="a.whl",
        version=version,
        test_sha256="0" * 64,
        environment={},
        outcomes=(Outcome("A.good", PASSED),),
    )
    command.show(found, Console(width=200))
    assert "of TensorFlow 2.22.0, data of 2.14.1" in capsys.readouterr().out
