"""The smoke test on this machine: a fresh environment per NumPy, the emulator, every event."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from uv import find_uv_bin

from builders.cache import sha256_of
from builders.errors import SmokeError
from builders.matrix import Runtime
from builders.process import run
from smoke_lambda import events
from smoke_lambda.function import Function, running
from smoke_lambda.lock import lock_path
from smoke_lambda.report import Check, SmokeReport, SmokeRun
from smoke_lambda.server import serving
from smoke_lambda.session import started

HERE = Path(__file__).parent
PROBE = HERE / "probe.py"
PROBE_SECONDS = 60.0

FLOAT32, INT8 = "digits-float32", "digits-int8"

# The operators that XNNPACK may leave to the built-in kernels: its softmax knows
# float32 only. A dynamic-range model's share is reported and not judged.
MAY_REMAIN = {FLOAT32: frozenset[str](), INT8: frozenset({"SOFTMAX"})}

Step = Callable[[str], None]


def smoke(
    wheel: Path,
    *,
    runtime: Runtime,
    python: Path,
    work: Path,
    rie: Path,
    log: Path,
    on_step: Step = lambda _step: None,
) -> SmokeReport:
    """Run a wheel as a Lambda function would, once per NumPy of its runtime.

    Args:
        wheel: the wheel under test.
        runtime: the matrix's row of its Python.
        python: an interpreter of that Python.
        work: folder for the environments; what is in it is replaced, what is made
            there is removed.
        rie: the emulator's program (see smoke_lambda.rie).
        log: file that everything's output is appended to.
        on_step: is told what happens now.

    Returns:
        The report; a wheel that is bad is not an error but a report that says so.

    Raises:
        SmokeError: the test cannot be run: a wheel for another machine or Python, no
            environment, no emulator.
    """
    wheel = wheel.absolute()
    _check_runs_here(wheel, runtime)
    log.parent.mkdir(parents=True, exist_ok=True)
    runs = []
    for numpy in runtime.numpy.smoke_versions:
        with environment(runtime, numpy, python=python, work=work, log=log) as made:
            bench = _Bench(
                numpy=numpy, environment=made, rie=rie.absolute(), log=log, on_step=on_step
            )
            bench.install(wheel)
            runs.append(bench.run())
    return SmokeReport(
        wheel=wheel.name,
        sha256=sha256_of(wheel),
        python=runtime.python,
        runs=tuple(runs),
        log=str(log),
    )


@contextmanager
def environment(
    runtime: Runtime, numpy: str, *, python: Path, work: Path, log: Path
) -> Iterator[Environment]:
    """An environment with that NumPy, which goes when the block ends.

    Args:
        python: the interpreter to make it with.
        work: folder to make it in.
        log: file that all output is appended to.
    """
    folder = work.absolute() / f"{runtime.tag}-numpy-{numpy}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield Environment(
            interpreter=python, requirements=lock_path(runtime, numpy), folder=folder, log=log
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, kw_only=True)
class Environment:
    """A virtual environment to be made in a folder."""

    interpreter: Path
    requirements: Path
    folder: Path
    log: Path

    @property
    def python(self) -> Path:
        """The interpreter of the environment."""
        return self.folder / "environment" / "bin" / "python"

    def install(self, wheel: Path) -> str:
        """Make it: first what is locked, then the wheel alone.

        Returns:
            Why the wheel does not install; empty if it does.

        Raises:
            SmokeError: all but the wheel cannot be installed.
        """
        install = ("pip", "install", "--python", self.python)
        locked = ("--require-hashes", "--only-binary", ":all:", "-r", self.requirements)
        folder = self.folder / "environment"
        self._uv("making an environment", "venv", "--python", self.interpreter, folder)
        self._uv("installing the locked requirements", *install, *locked)
        try:
            self._uv("installing the wheel", *install, "--no-deps", wheel)
        except SmokeError as error:
            return f"expected a wheel that installs, found: {error.what.strip()}"
        return ""

    def _uv(self, what: str, *arguments: str | Path) -> None:
        command = [find_uv_bin(), *arguments]
        env = {"UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1"}
        run(command, log=self.log, failure=SmokeError, what=what, env=env)


def run_probe(
    python: Path, models: Mapping[str, Path], *, folder: Path, log: Path
) -> dict[str, Any]:
    """Have smoke_lambda/probe.py look at a runtime, in a fresh process.

    Args:
        python: interpreter of an environment that has the wheel and NumPy.
        models: by name; the first is the one that is timed.
        folder: to run in.
        log: file that the output is appended to.

    Returns:
        What probe.py wrote, "operators" by the models' names.

    Raises:
        SmokeError: the process failed; its last line is in the message.
    """
    result = folder / "probe.json"
    command: list[str | Path] = [python, "-I", PROBE, result, *models.values()]
    with started(command, cwd=folder, env={}, log=log) as process:
        try:
            status: int | str = process.wait(PROBE_SECONDS)
        except subprocess.TimeoutExpired:
            status = f"none after {PROBE_SECONDS:g} s"
    if status != 0:
        last = log.read_text(errors="replace").strip().splitlines()[-1:]
        raise SmokeError(f"expected exit status 0, found {status}: {''.join(last)}")
    found: dict[str, Any] = json.loads(result.read_text())
    found["operators"] = {name: found["operators"][str(path)] for name, path in models.items()}
    return found


def share(operators: Sequence[tuple[str, bool]]) -> float:
    """The share of a model's operators that a delegate took, 0 to 1."""
    return sum(taken for _, taken in operators) / len(operators)


def _check_runs_here(wheel: Path, runtime: Runtime) -> None:
    """Raise SmokeError unless the wheel is for this machine and the runtime's Python."""
    if not wheel.is_file():
        raise SmokeError(f"there is no wheel {wheel}")
    try:
        tags = parse_wheel_filename(wheel.name)[3]
    except InvalidWheelFilename as error:
        raise SmokeError(str(error)) from error
    here = platform.machine()
    if not any(tag.platform == "any" or tag.platform.endswith(f"_{here}") for tag in tags):
        raise SmokeError(
            f"{wheel.name} is for another machine than this one ({here})",
            remedy="smoke-test it on such a machine, or in an emulated container",
        )
    if not any(tag.interpreter == runtime.tag for tag in tags):
        raise SmokeError(f"{wheel.name} is not for Python {runtime.python} ({runtime.tag})")


@dataclass(kw_only=True)
class _Bench:
    """One environment and what is found in it."""

    numpy: str
    environment: Environment
    rie: Path
    log: Path
    on_step: Step
    checks: list[Check] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.environment.folder

    @property
    def python(self) -> Path:
        return self.environment.python

    def check(self, name: str, fault: str) -> None:
        """Note a check; it is right if there is no fault."""
        self.checks.append(Check(name=name, ok=not fault, detail=fault))

    def step(self, what: str) -> None:
        """Tell what happens now."""
        self.on_step(f"NumPy {self.numpy}: {what}")

    def install(self, wheel: Path) -> None:
        """Make the environment."""
        self.step("environment")
        self.check("install", self.environment.install(wheel))

    def run(self) -> SmokeRun:
        """Invoke the function of each model, then look at the runtime from inside."""
        if not all(check.ok for check in self.checks):
            return SmokeRun(numpy=self.numpy, checks=tuple(self.checks))
        known = events.known_answers()
        with serving() as server:
            init_ms = {model: self._invoke(model, known[model], server) for model in known}
        probed = self._probe(list(known))
        return SmokeRun(
            numpy=self.numpy,
            checks=tuple(self.checks),
            init_ms={model: init for model, init in init_ms.items() if init is not None},
            xnnpack={
                model: share(operators) for model, operators in probed.get("operators", {}).items()
            },
            import_ms=probed.get("import_ms"),
            first_inference_ms=probed.get("first_inference_ms"),
        )

    def _invoke(self, model: str, known: events.Known, server: str) -> float | None:
        """Send every event to a function of that model; gives its init time in ms."""
        self.step(f"{model} under the emulator")
        # A task folder as a user's: the handler and one model, where it looks for it.
        task, home = self.folder / model, self.folder / "tmp"
        task.mkdir()
        home.mkdir(exist_ok=True)
        shutil.copy2(HERE / "app.py", task)
        shutil.copy2(events.MODELS / f"{model}.tflite", task)
        private = model == FLOAT32
        variables = {
            "MODEL_PATH": f"{model}.tflite",
            "MAX_BYTES": str(events.MAX_BYTES),
            "URL_SECONDS": str(events.URL_SECONDS),
            "ALLOW_PRIVATE_URLS": "1" if private else "0",
        }
        output = self.folder / f"{model}.log"
        try:
            with running(
                "app.handler",
                python=self.python,
                task=task,
                home=home,
                rie=self.rie,
                log=output,
                variables=variables,
            ) as function:
                for case in events.cases(known, server, private=private):
                    reply = _reply(function, case)
                    self.check(f"{model}: {case.name}", events.judge(case, reply, model, known))
                    # Not the handler's words: it did not start, or it died. Every
                    # further event would find the same.
                    if isinstance(reply, dict) and "errorType" in reply:
                        break
                return function.init_ms()
        finally:
            self._keep(output)

    def _probe(self, models: list[str]) -> dict[str, Any]:
        """Look at the runtime from inside; gives what run_probe does."""
        self.step("XNNPACK and times")
        output = self.folder / "probe.log"
        paths = {model: events.MODELS / f"{model}.tflite" for model in models}
        try:
            found = run_probe(self.python, paths, folder=self.folder, log=output)
        except SmokeError as error:
            self.check("probe", error.what)
            return {}
        finally:
            self._keep(output)
        wrong = "" if found["numpy"] == self.numpy else f"expected {self.numpy}, "
        self.check("NumPy", f"{wrong}found {found['numpy']}" if wrong else "")
        for model, may_remain in MAY_REMAIN.items():
            left = {name for name, taken in found["operators"][model] if not taken} - may_remain
            fault = f"expected XNNPACK to take all operators, found left: {', '.join(sorted(left))}"
            self.check(f"{model}: XNNPACK", fault if left else "")
        return found

    def _keep(self, output: Path) -> None:
        """Append a program's output to the log."""
        if output.exists():
            with self.log.open("a") as log:
                log.write(f"--- {output.name}, NumPy {self.numpy}\n")
                log.write(output.read_text(errors="replace"))


def _reply(function: Function, case: events.Case) -> object:
    """What the function replies, or the error in its stead, for the judge to quote."""
    try:
        reply = function.invoke(case.event)
    except (OSError, ValueError) as error:
        return {"errorType": type(error).__name__, "errorMessage": str(error)}
    if isinstance(reply, dict):
        reply.pop("stackTrace", None)  # the log has it
    return reply
