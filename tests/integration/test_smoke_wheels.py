"""The smoke test itself: real wheels, the real emulator, fresh environments.

The wheels come from the folder $TFLITE_WHEELS, TensorFlow's models from the tree of 2.14.1.
"""

from __future__ import annotations

import dataclasses
import os
import platform
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from packaging.utils import parse_wheel_filename
from support import RECOMMENDED, fetcher, rie, tree_of, wheels_folder
from uv import find_uv_bin

from builders.errors import SmokeError
from builders.interpreters import find_interpreter
from builders.matrix import NumPyRange, Runtime, load_matrix
from smoke_lambda import bench, compat, events, native
from smoke_lambda.function import running
from smoke_lambda.lock import lock_path
from smoke_lambda.report import SmokeReport
from smoke_lambda.session import started

pytestmark = pytest.mark.integration

# PyPI's last one: compiled against NumPy 1, and its int8 models run without XNNPACK.
PUBLISHED = (
    "tflite-runtime",
    "2.14.0",
    "tflite_runtime-2.14.0-cp311-cp311-manylinux2014_x86_64.whl",
    "195ab752e7e57329a68e54dd3dd5439fad888b9bff1be0f0dc042a3237a90e4d",
)

SLEEPERS = "set -m; sleep 300 & sleep 300 & wait"


def interpreter(python: str) -> Path:
    found = find_interpreter(python)
    if found is None:
        pytest.skip(f"no Python {python}: install one, such as with pyenv")
    return found.executable


def wheels() -> list[tuple[Path, Runtime]]:
    """Return the wheels that this machine can run, with their runtimes."""
    folder = wheels_folder()
    found = []
    for wheel in sorted(folder.glob("*.whl")):
        tag = next(iter(parse_wheel_filename(wheel.name)[3]))
        if tag.platform.endswith(platform.machine()):
            found.append((wheel, load_matrix().runtime(tag.interpreter)))
    assert found, f"no wheels for {platform.machine()} in {folder}"
    return found


def with_numpy(runtime: Runtime, version: str) -> Runtime:
    numpy = dataclasses.replace(runtime.numpy, floor=version, on_lambda=version, newest=version)
    assert isinstance(numpy, NumPyRange)
    return dataclasses.replace(runtime, numpy=numpy)


def smoke(wheel: Path, runtime: Runtime, folder: Path) -> SmokeReport:
    return bench.smoke(
        native.site(
            wheel,
            runtime,
            python=interpreter(runtime.python),
            work=folder / "work",
            rie=rie,
            log=folder / f"{wheel.stem}.log",
        )
    )


def published() -> Path:
    if platform.machine() != "x86_64":
        pytest.skip("the published wheel under test is one for x86_64")
    return fetcher().pypi(*PUBLISHED)


def environment(folder: Path, runtime: Runtime, numpy: str, wheel: Path) -> Path:
    uv, python = find_uv_bin(), folder / "bin" / "python"
    install: list[str | Path] = [uv, "pip", "install", "--quiet", "--python", python]
    commands: list[list[str | Path]] = [
        [uv, "venv", "--quiet", "--python", interpreter(runtime.python), folder],
        [*install, "--require-hashes", "-r", lock_path(runtime, numpy)],
        [*install, "--no-deps", wheel],
    ]
    for command in commands:
        subprocess.run(command, check=True)
    return python


def descendants(word: str) -> list[str]:
    """Return the command lines of this machine's processes that contain a word."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if word in line and "pytest" not in line:
            found.append(line)
    return found


def test_every_wheel_of_ours_passes(tmp_path: Path) -> None:
    pairs = wheels()
    # Two at a time, as the build does: they must not meet.
    with ThreadPoolExecutor(2) as pool:
        reports = list(
            pool.map(lambda pair: smoke(pair[0], pair[1], tmp_path / pair[1].tag), pairs)
        )
    assert [failure for report in reports for failure in report.failures] == []
    for report, (_, runtime) in zip(reports, pairs, strict=True):
        assert report.ok
        assert tuple(run.numpy for run in report.runs) == runtime.numpy.smoke_versions
        for run in report.runs:
            assert run.xnnpack["digits-float32"] == 1
            assert run.xnnpack["digits-int8"] > 0.8
            assert run.import_ms is not None
            assert run.import_ms > 0
            assert set(run.init_ms) == set(events.known_answers())
    assert descendants(str(tmp_path)) == []


def test_a_wheel_that_only_imports_fails(tmp_path: Path) -> None:
    wheel, runtime = published(), load_matrix().runtime("3.11")
    numpy = runtime.numpy.on_lambda
    python = environment(tmp_path / "env", runtime, numpy, wheel)
    subprocess.run([python, "-I", "-c", "import tflite_runtime.interpreter"], check=True)

    report = smoke(wheel, with_numpy(runtime, numpy), tmp_path)
    assert not report.ok
    failures = "\n".join(report.failures)
    for model in events.known_answers():
        assert f"{model}: image 0.png: expected an answer" in failures
    assert "probe: expected exit status 0" in failures
    assert "_ARRAY_API not found" in Path(report.log).read_text()


def test_a_wheel_without_xnnpack_on_int8_fails_by_that_alone(tmp_path: Path) -> None:
    # Its answers are right; only a look at the graph finds the fault.
    runtime = load_matrix().runtime("3.11")
    report = smoke(published(), with_numpy(runtime, runtime.numpy.floor), tmp_path)
    (run,) = report.runs
    assert [check.name for check in run.checks if not check.ok] == ["digits-int8: XNNPACK"]
    assert "CONV_2D" in report.failures[0]
    assert run.xnnpack["digits-float32"] == 1


def test_a_wheel_that_does_not_install_is_a_failed_check(tmp_path: Path) -> None:
    runtime = load_matrix().runtime("3.11")
    broken = tmp_path / PUBLISHED[2]
    broken.write_bytes(b"<!DOCTYPE html> as behind a /blob/ URL")
    report = smoke(broken, with_numpy(runtime, runtime.numpy.floor), tmp_path)
    (failure,) = report.failures
    assert "install: expected a wheel that installs" in failure


def test_no_emulator(tmp_path: Path) -> None:
    log = tmp_path / "log"
    nothing = tmp_path / "rie"
    with (
        pytest.raises(SmokeError, match="cannot run here"),
        running(
            "app.handler",
            python=Path("/bin/false"),
            task=tmp_path,
            home=tmp_path,
            rie=nothing,
            log=log,
            variables={},
        ),
    ):
        pytest.fail("it must not start")


def test_an_emulator_that_ends_at_once(tmp_path: Path) -> None:
    start = time.monotonic()
    with (
        pytest.raises(SmokeError, match="does not start"),
        running(
            "app.handler",
            python=Path("/bin/false"),
            task=tmp_path,
            home=tmp_path,
            rie=Path("/bin/false"),
            log=tmp_path / "log",
            variables={},
        ),
    ):
        pytest.fail("it must not start")
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("ignores", ["", "trap '' TERM; "])
def test_what_a_program_started_ends_with_it(tmp_path: Path, ignores: str) -> None:
    # `set -m` gives each a process group of its own, as the emulator does.
    marker = f"300.{os.getpid()}"
    script = ignores + SLEEPERS.replace("300", marker)
    command = ["bash", "-c", script]

    def run() -> None:
        with started(command, cwd=tmp_path, env={"PATH": "/usr/bin:/bin"}, log=tmp_path / "log"):
            deadline = time.monotonic() + 10
            while len(descendants(marker)) < 3 and time.monotonic() < deadline:
                time.sleep(0.02)
            assert len(descendants(marker)) == 3
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    assert descendants(marker) == []


def test_tensorflows_own_models(tmp_path: Path) -> None:
    # Chromium's trees are without the models of TensorFlow's tests.
    tree = tree_of(load_matrix().tensorflow("2.14.1"), tmp_path)
    models, expected = compat.models(tree), compat.expectations(RECOMMENDED.version)
    assert set(expected) <= {path.name for path in models}

    def run_all(wheel: Path, runtime: Runtime) -> list[compat.Result]:
        folder = tmp_path / runtime.tag
        python = environment(folder, runtime, runtime.numpy.on_lambda, wheel)
        results = compat.run_models(models, python=python, log=tmp_path / f"{runtime.tag}.log")
        shutil.rmtree(folder)
        return results

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for (wheel, _), results in zip(
            wheels(), pool.map(lambda pair: run_all(*pair), wheels()), strict=True
        ):
            faults = [r.fault(expected.get(r.model, compat.Expected())) for r in results]
            assert [fault for fault in faults if fault] == [], wheel.name
            assert len(results) == len(models)
