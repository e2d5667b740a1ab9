"""Runs upstream's tests against one wheel, in an environment with the real TensorFlow."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from builders.cache import sha256_of
from builders.errors import SmokeError
from builders.interpreters import Interpreter
from builders.matrix import Matrix, Target
from builders.native import NativeRunner
from ci.proof.tensorflow_environment import REQUIREMENTS, tensorflow_python
from ci.upstream_tests.expected import Version
from ci.upstream_tests.libraries import TESTDATA, make_libraries
from ci.upstream_tests.models import make_models
from ci.upstream_tests.report import Report, outcomes_of
from smoke_lambda.native import uv
from smoke_lambda.session import started

PROBE = Path(__file__).with_name("probe.py")
TESTS = Path("tensorflow/lite/python/interpreter_test.py")
# The one file that the tests need from a folder other than their testdata.
SPARSE = Path("tensorflow/lite/testdata/sparse_tensor.bin")
SECONDS = 300.0

Tell = Callable[[str], None]


def run_tests(
    wheel: Path,
    target: Target,
    version: Version,
    *,
    matrix: Matrix,
    interpreter: Interpreter,
    runner: NativeRunner,
    tell: Tell,
) -> Report:
    """Run upstream's tests against a wheel.

    Args:
        target: the wheel's target.
        version: the expectations for the tests.
        interpreter: this machine's interpreter for the target's Python.
        runner: provides the sources and headers.
        tell: a function to call with the name of each step.

    Raises:
        SmokeError: the tests cannot be run.
    """
    trees = runner.trees(target.tensorflow)
    data = runner.trees(matrix.tensorflow(version.testdata)) / "tensorflow"
    headers = runner.headers(target)
    log = runner.log(f"upstream tests {target.identifier}")
    tell("TensorFlow's environment")
    python = tensorflow_python(interpreter, runner.cache, log)
    tell("the models of the tests")
    models = make_models(data / TESTDATA, python, REQUIREMENTS, runner.cache, log)
    tell("the libraries of the tests")
    libraries = make_libraries(
        target,
        trees,
        data / TESTDATA,
        headers,
        cache=runner.cache,
        toolchain=runner.toolchain,
        log=log,
    )
    tell("tests")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve()
        tests = stage(folder, trees / "tensorflow", data, models, libraries)
        site = folder / "site"
        install = ("pip", "install", "--python", python, "--no-deps", "--target", site, wheel)
        uv("installing the wheel", *install, log=log)
        found, events, status = run_probe(python, site, tests, version.left_out, folder, log)
        return Report(
            wheel=wheel.name,
            version=version,
            test_sha256=sha256_of(tests),
            environment=found["environment"],
            outcomes=outcomes_of(found["tests"], events, status),
        )


def stage(folder: Path, tree: Path, data: Path, models: Path, libraries: Path) -> Path:
    """Lay out upstream's tests and their data as Bazel does.

    Args:
        tree: the TensorFlow tree with the tests.
        data: the TensorFlow tree with their data.

    Returns:
        The test file.
    """
    shutil.copytree(data / TESTDATA, folder / TESTDATA)
    for made in (models, libraries):
        shutil.copytree(made, folder / TESTDATA, dirs_exist_ok=True)
    (folder / SPARSE).parent.mkdir()
    shutil.copy2(data / SPARSE, folder / SPARSE)
    shutil.copy2(tree / TESTS, folder / TESTS)
    return folder / TESTS


def run_probe(
    python: Path, site: Path, tests: Path, left_out: Sequence[str], work: Path, log: Path
) -> tuple[dict[str, Any], list[dict[str, str]], str]:
    """Run the test file.

    Args:
        site: the folder in which the wheel is installed.
        left_out: the patterns of the tests to leave out.
        work: a folder for the files that the run writes.

    Returns:
        The names of the tests with the environment, the events, and how the process ended.

    Raises:
        SmokeError: the tests cannot be loaded, or they import an interpreter that is not the
            wheel's.
    """
    result, home = work / "result.jsonl", work / "home"
    home.mkdir()
    env = {"HOME": str(home), "TMPDIR": str(home), "TF_CPP_MIN_LOG_LEVEL": "2"}
    command: list[str | Path] = [python, "-I", "-B", PROBE, site, tests, result, *left_out]
    status = None
    with (
        started(command, cwd=home, env=env, log=log) as process,
        contextlib.suppress(subprocess.TimeoutExpired),
    ):
        status = process.wait(SECONDS)
    ended = ending(status)
    lines = result.read_text().splitlines() if result.exists() else []
    if not lines:
        raise SmokeError(f"upstream's tests could not be loaded: {ended}", remedy=f"see {log}")
    found, *events = map(json.loads, lines)
    module = Path(found["environment"].pop("interpreter"))
    if site not in module.parents:
        raise SmokeError(f"upstream's tests imported {module}, not the wheel")
    return found, events, ended


def ending(status: int | None) -> str:
    """Return in words how a process ended; a status of None means that it ran out of time."""
    if status is None:
        return f"not done in {SECONDS:.0f} s"
    if status < 0:
        return f"ended by {signal.Signals(-status).name}"
    return f"exit status {status}"
