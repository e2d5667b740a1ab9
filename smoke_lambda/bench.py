"""Run the smoke test: send every event, judge every reply, and check what the delegate takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from builders.cache import sha256_of
from smoke_lambda import events
from smoke_lambda.inside.probing import share
from smoke_lambda.report import Check, SmokeReport, SmokeRun
from smoke_lambda.site import Function, FunctionPlace, Place, Site, Step, silent

FLOAT32, INT8 = "digits-float32", "digits-int8"

# The operators that XNNPACK may leave to the built-in kernels: its softmax supports
# float32 only. The share of a dynamic-range model is reported but not judged.
MAY_REMAIN = {FLOAT32: frozenset[str](), INT8: frozenset({"SOFTMAX"})}


def smoke(site: Site, *, on_step: Step = silent) -> SmokeReport:
    """Run a wheel as a Lambda function would, once per NumPy of its site.

    Returns:
        The report. If the wheel is bad, the report says so and no error is raised.

    Raises:
        SmokeError, EngineError, FetchError: the test cannot be run.
    """
    runs = []
    for numpy in site.numpys:
        with site.at(numpy) as here:
            runs.append(Bench(place=here, on_step=on_step).run(site.wheel.absolute()))
    return SmokeReport(
        wheel=site.wheel.name,
        sha256=sha256_of(site.wheel),
        python=site.runtime.python,
        place=site.name,
        runs=tuple(runs),
        log=str(site.log),
    )


def function_variables(model: str) -> dict[str, str]:
    """Return a function's environment variables. Only the float32 model may use private URLs."""
    return {
        "MAX_BYTES": str(events.MAX_BYTES),
        "URL_SECONDS": str(events.URL_SECONDS),
        "ALLOW_PRIVATE_URLS": "1" if model == FLOAT32 else "0",
    }


def invoke(
    place: FunctionPlace, model: str, known: events.Known, check: Callable[[str, str], None]
) -> float | None:
    """Send every event to the function of a model; return its init time in milliseconds.

    Args:
        check: is called with the name of each check and its fault, which is empty if it passes.
    """
    private = model == FLOAT32
    with place.function(model, function_variables(model)) as function:
        for case in events.cases(known, function.server, private=private):
            reply = _reply(function, case)
            check(f"{model}: {case.name}", events.judge(case, reply, model, known))
            # The handler never says errorType: it did not start, or it died. Every
            # further event would fail in the same way.
            if isinstance(reply, dict) and "errorType" in reply:
                break
        return function.init_ms()


@dataclass(kw_only=True)
class Bench:
    """A place and the checks that were made there."""

    place: Place
    on_step: Step
    checks: list[Check] = field(default_factory=list)

    def check(self, name: str, fault: str) -> None:
        """Record a check; it passes if `fault` is empty."""
        self.checks.append(Check(name=name, ok=not fault, detail=fault))

    def step(self, what: str) -> None:
        """Announce the step that begins now."""
        self.on_step(f"NumPy {self.place.numpy}: {what}")

    def run(self, wheel: Path) -> SmokeRun:
        """Install the wheel, invoke the function of each model, then probe the runtime."""
        self.step("environment")
        fault = self.place.install(wheel)
        self.check("install", fault)
        if fault:
            return SmokeRun(numpy=self.place.numpy, checks=tuple(self.checks))
        known = events.known_answers()
        init_ms = {model: self._invoke(model, known[model]) for model in known}
        probed = self._probe(list(known))
        self.step("measures")
        # Only a wheel that passes every check is measured.
        works = all(check.ok for check in self.checks)
        return SmokeRun(
            numpy=self.place.numpy,
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
        self.step(f"{model} under the emulator")
        return invoke(self.place, model, known, self.check)

    def _probe(self, models: list[str]) -> dict[str, Any]:
        self.step("XNNPACK and times")
        fault, found = self.place.probe(models)
        if fault:
            self.check("probe", fault)
            return {}
        wrong = "" if found["numpy"] == self.place.numpy else f"expected {self.place.numpy}, "
        self.check("NumPy", f"{wrong}found {found['numpy']}" if wrong else "")
        for model, may_remain in MAY_REMAIN.items():
            left = {name for name, taken in found["operators"][model] if not taken} - may_remain
            fault = f"expected XNNPACK to take all operators, found left: {', '.join(sorted(left))}"
            self.check(f"{model}: XNNPACK", fault if left else "")
        return found


def _reply(function: Function, case: events.Case) -> object:
    """Return the function's reply. An error becomes a reply, so that the judge can quote it."""
    try:
        reply = function.invoke(case.event)
    except (OSError, ValueError) as error:
        return {"errorType": type(error).__name__, "errorMessage": str(error)}
    if isinstance(reply, dict):
        reply.pop("stackTrace", None)  # the log has it
    return reply
