"""The smoke test itself: send every event, judge every answer, look at the delegate.

Where the wheel runs is a Place: this machine (native.py) or an image (docker.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from builders.cache import sha256_of
from builders.errors import SmokeError
from builders.matrix import Runtime
from smoke_lambda import events
from smoke_lambda.inside.probing import share
from smoke_lambda.report import Check, SmokeReport, SmokeRun

FLOAT32, INT8 = "digits-float32", "digits-int8"

# The operators that XNNPACK may leave to the built-in kernels: its softmax knows
# float32 only. A dynamic-range model's share is reported and not judged.
MAY_REMAIN = {FLOAT32: frozenset[str](), INT8: frozenset({"SOFTMAX"})}

Step = Callable[[str], None]


class Function(Protocol):
    """A running function."""

    @property
    def server(self) -> str:
        """URL of the image server (smoke_lambda/inside/server.py) as the function sees it."""

    def invoke(self, event: object) -> Any:  # noqa: ANN401 - whatever the handler answers
        """The reply to an event, decoded from JSON.

        Raises:
            OSError: the emulator does not answer, or not in time.
            ValueError: the reply is not JSON.
        """

    def init_ms(self) -> float | None:
        """How long its init took, in milliseconds, once it has been invoked."""


class Place(Protocol):
    """Somewhere with one Python and one NumPy."""

    def install(self, wheel: Path) -> str:
        """Install what is locked, then the wheel alone; gives what is wrong with the wheel.

        Raises:
            SmokeError, EngineError: all but the wheel cannot be installed.
        """

    def function(
        self, model: str, variables: Mapping[str, str]
    ) -> AbstractContextManager[Function]:
        """The handler of smoke_lambda/app.py with a model, running until the block ends.

        Args:
            variables: its environment variables, but for MODEL_PATH.
        """

    def probe(self, models: Sequence[str]) -> tuple[str, dict[str, Any]]:
        """What smoke_lambda.inside.probe finds in a fresh process, or what went wrong there."""

    def measures(self) -> dict[str, Any]:
        """What else this place can tell of the wheel, by name."""


def smoke(
    wheel: Path,
    *,
    runtime: Runtime,
    place: str,
    arch: str,
    numpys: Sequence[str],
    at: Callable[[str], AbstractContextManager[Place]],
    log: Path,
    on_step: Step,
) -> SmokeReport:
    """Run a wheel as a Lambda function would, once per NumPy.

    Args:
        wheel: the wheel under test.
        runtime: the matrix's row of its Python.
        place: what identifies where it runs, for the report.
        arch: what runs there.
        numpys: NumPy's versions, lowest first.
        at: gives the place with a NumPy of that version.
        log: file that everything's output is appended to.
        on_step: is told what happens now.

    Returns:
        The report; a wheel that is bad is not an error but a report that says so.

    Raises:
        SmokeError: the test cannot be run.
    """
    check_runs(wheel, runtime, arch)
    log.parent.mkdir(parents=True, exist_ok=True)
    runs = []
    for numpy in numpys:
        with at(numpy) as here:
            runs.append(Bench(numpy=numpy, place=here, on_step=on_step).run(wheel))
    return SmokeReport(
        wheel=wheel.name,
        sha256=sha256_of(wheel),
        python=runtime.python,
        place=place,
        runs=tuple(runs),
        log=str(log),
    )


def check_runs(wheel: Path, runtime: Runtime, arch: str) -> None:
    """Raise SmokeError unless the wheel is for that architecture and the runtime's Python."""
    if not wheel.is_file():
        raise SmokeError(f"there is no wheel {wheel}")
    try:
        tags = parse_wheel_filename(wheel.name)[3]
    except InvalidWheelFilename as error:
        raise SmokeError(str(error)) from error
    if not any(tag.platform == "any" or tag.platform.endswith(f"_{arch}") for tag in tags):
        raise SmokeError(
            f"{wheel.name} is for another machine than this one ({arch})",
            remedy="smoke-test it on such a machine, or in an emulated container",
        )
    if not any(tag.interpreter == runtime.tag for tag in tags):
        raise SmokeError(f"{wheel.name} is not for Python {runtime.python} ({runtime.tag})")


def function_variables(model: str) -> dict[str, str]:
    """The function's own environment variables; that of one model may use private URLs."""
    return {
        "MAX_BYTES": str(events.MAX_BYTES),
        "URL_SECONDS": str(events.URL_SECONDS),
        "ALLOW_PRIVATE_URLS": "1" if model == FLOAT32 else "0",
    }


@dataclass(kw_only=True)
class Bench:
    """One place and what is found there."""

    numpy: str
    place: Place
    on_step: Step
    checks: list[Check] = field(default_factory=list)

    def check(self, name: str, fault: str) -> None:
        """Note a check; it is right if there is no fault."""
        self.checks.append(Check(name=name, ok=not fault, detail=fault))

    def step(self, what: str) -> None:
        """Tell what happens now."""
        self.on_step(f"NumPy {self.numpy}: {what}")

    def run(self, wheel: Path) -> SmokeRun:
        """Install, invoke the function of each model, then look at the runtime from inside."""
        self.step("environment")
        fault = self.place.install(wheel)
        self.check("install", fault)
        if fault:
            return SmokeRun(numpy=self.numpy, checks=tuple(self.checks))
        known = events.known_answers()
        init_ms = {model: self._invoke(model, known[model]) for model in known}
        probed = self._probe(list(known))
        self.step("measures")
        # Of a wheel that does not work, there is nothing to measure.
        works = all(check.ok for check in self.checks)
        return SmokeRun(
            numpy=self.numpy,
            checks=tuple(self.checks),
            init_ms={model: init for model, init in init_ms.items() if init is not None},
            xnnpack={
                model: share(operators) for model, operators in probed.get("operators", {}).items()
            },
            import_ms=probed.get("import_ms"),
            first_inference_ms=probed.get("first_inference_ms"),
            measures=self.place.measures() if works else {},
        )

    def _invoke(self, model: str, known: events.Known) -> float | None:
        """Send every event to a function of that model; gives its init time in ms."""
        self.step(f"{model} under the emulator")
        private = model == FLOAT32
        with self.place.function(model, function_variables(model)) as function:
            for case in events.cases(known, function.server, private=private):
                reply = _reply(function, case)
                self.check(f"{model}: {case.name}", events.judge(case, reply, model, known))
                # Not the handler's words: it did not start, or it died. Every
                # further event would find the same.
                if isinstance(reply, dict) and "errorType" in reply:
                    break
            return function.init_ms()

    def _probe(self, models: list[str]) -> dict[str, Any]:
        self.step("XNNPACK and times")
        fault, found = self.place.probe(models)
        if fault:
            self.check("probe", fault)
            return {}
        wrong = "" if found["numpy"] == self.numpy else f"expected {self.numpy}, "
        self.check("NumPy", f"{wrong}found {found['numpy']}" if wrong else "")
        for model, may_remain in MAY_REMAIN.items():
            left = {name for name, taken in found["operators"][model] if not taken} - may_remain
            fault = f"expected XNNPACK to take all operators, found left: {', '.join(sorted(left))}"
            self.check(f"{model}: XNNPACK", fault if left else "")
        return found


def _reply(function: Function, case: events.Case) -> object:
    """What the function replies, or the error in its stead, for the judge to quote."""
    try:
        reply = function.invoke(case.event)
    except (OSError, ValueError) as error:
        return {"errorType": type(error).__name__, "errorMessage": str(error)}
    if isinstance(reply, dict):
        reply.pop("stackTrace", None)  # the log has it
    return reply
