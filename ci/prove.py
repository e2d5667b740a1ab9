"""Prove wheels: audit each, and run it as a Lambda function where it runs here.

A proof is kept by everything that it depends on, so that it is not made twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import builders
import smoke_lambda
from builders.audit import audit
from builders.cache import Cache, key_of, recipe, sha256_of, write_atomically
from builders.errors import AuditError, SmokeError, UserError
from builders.matrix import MATRIX_FILE, Matrix, Target
from builders.runner import Runner
from ci.smoker import Smoker
from smoke_lambda.native import FLOAT32, INT8

AUDIT = Path(builders.__path__[0]) / "audit"
SMOKE = Path(smoke_lambda.__path__[0])


@dataclass(frozen=True, kw_only=True)
class Proof:
    """A wheel with what its audit and its smoke test found.

    Attributes:
        audit: `AuditReport.as_dict()`.
        smoke: `SmokeReport.as_json()`; None where the wheel cannot run here.
    """

    COLUMNS: ClassVar = (
        "target",
        "size",
        "glibc",
        "NumPy",
        "audit",
        "smoke",
        "XNNPACK float32",
        "int8",
        "import + first inference",
    )

    target: Target
    wheel: Path
    audit: dict[str, Any]
    smoke: dict[str, Any] | None

    @property
    def failure(self) -> UserError | None:
        """What is wrong with the wheel."""
        faults = [f"{c['name']}: {c['detail']}" for c in self.audit["checks"] if not c["ok"]]
        if faults:
            return AuditError(f"{self.wheel.name} failed its audit: {'; '.join(faults)}")
        faults = [
            f"NumPy {run['numpy']}: {check['name']}: {check['detail']}"
            for run in (self.smoke or {"runs": []})["runs"]
            for check in run["checks"]
            if not check["ok"]
        ]
        if faults:
            return SmokeError(f"{self.wheel.name} failed its smoke test: {'; '.join(faults)}")
        return None

    def as_json(self) -> dict[str, Any]:
        """The record that publishing asks for."""
        return {
            "target": self.target.identifier,
            "wheel": self.wheel.name,
            "sha256": self.audit["sha256"],
            "size": self.audit["size"],
            "audit": self.audit,
            "smoke": self.smoke,
        }

    def row(self) -> tuple[str, ...]:
        """A row of the summary, of COLUMNS."""
        numpy = self.target.runtime.numpy.requirement.removeprefix("numpy")
        audited = "passed" if all(c["ok"] for c in self.audit["checks"]) else "[red]FAILED[/]"
        row = (
            self.target.identifier,
            f"{self.audit['size'] / 1e6:.2f} MB",
            self.audit["glibc_floor"] or "?",
            numpy,
            audited,
        )
        if self.smoke is None:
            return (*row, "cannot run here", "", "", "")
        runs = self.smoke["runs"]
        versions = ", ".join(run["numpy"] for run in runs)
        last = runs[-1]
        millis = [last["import_ms"], last["first_inference_ms"]]
        return (
            *row,
            f"passed: {versions}" if self.smoke["ok"] else "[red]FAILED[/]",
            *(f"{run_share(last, model):.0%}" for model in (FLOAT32, INT8)),
            " + ".join("?" if m is None else f"{m:.1f}" for m in millis) + " ms",
        )


def run_share(run: dict[str, Any], model: str) -> float:
    """The share of a model's operators that XNNPACK took, 0 to 1."""
    share: float = run["xnnpack"].get(model, 0.0)
    return share


class Prover:
    """Audits and smoke-tests what a runner makes."""

    def __init__(self, runner: Runner, smoker: Smoker, matrix: Matrix) -> None:
        self.runner = runner
        self.smoker = smoker
        self.matrix = matrix
        self.cache: Cache = runner.cache

    def prove(self, wheels: Sequence[tuple[Target, Path]], *, jobs: int) -> Iterator[Proof]:
        """The proofs of wheels, in their order.

        Raises:
            SmokeError, FetchError: a smoke test could not be run at all.
        """
        with ThreadPoolExecutor(jobs) as pool:
            yield from pool.map(lambda pair: self._prove(*pair), wheels)

    def is_cached(self, kind: str, target: Target) -> bool:
        """Whether a step of a plan has nothing to do."""
        if kind not in ("audit", "smoke"):
            return self.runner.is_cached(kind, target)
        if not self.runner.is_cached("wheel", target):
            return False
        wheel = self.runner.wheel(target)
        key = self._audit_key(wheel) if kind == "audit" else self._smoke_key(target, wheel)
        return self.cache.has(kind, key)

    def _prove(self, target: Target, wheel: Path) -> Proof:
        keys = [("audit", self._audit_key(wheel))]
        can_run = self.smoker.can_run(target.runtime, target.arch)
        if can_run:
            keys.append(("smoke", self._smoke_key(target, wheel)))
        if all(self.cache.has(*key) for key in keys):
            return self._proof(target, wheel, can_run)
        with self.runner.reporter.step(f"prove {target.identifier}") as step:
            return self._proof(
                target, wheel, can_run, lambda what: self.runner.reporter.show(step, what)
            )

    def _proof(
        self,
        target: Target,
        wheel: Path,
        can_run: bool,
        on_step: Callable[[str], None] = lambda _what: None,
    ) -> Proof:
        on_step("audit")
        audited = self._kept(
            "audit", self._audit_key(wheel), lambda: audit(wheel, self.matrix).as_dict()
        )
        smoked = None
        if can_run:
            smoked = self._kept(
                "smoke",
                self._smoke_key(target, wheel),
                lambda: self._smoke(target, wheel, on_step),
            )
        return Proof(target=target, wheel=wheel, audit=audited, smoke=smoked)

    def _smoke(self, target: Target, wheel: Path, on_step: Callable[[str], None]) -> dict[str, Any]:
        log = self.runner.log(f"smoke {target.identifier}")
        return self.smoker.smoke(wheel, target.runtime, log=log, on_step=on_step)

    def _kept(self, kind: str, key: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """A report from the cache, else made; only a good one is kept."""
        with self.cache.lock(f"report-{key}"):
            path = self.cache.path(kind, key)
            if path.is_dir():
                kept: dict[str, Any] = json.loads((path / "report.json").read_text())
                return kept
            report = make()
            if report["ok"]:
                text = json.dumps(report).encode()
                self.cache.product(kind, key, lambda f: write_atomically(f / "report.json", text))
            return report

    def _audit_key(self, wheel: Path) -> str:
        return key_of([wheel.name, sha256_of(wheel), recipe(AUDIT, MATRIX_FILE)])

    def _smoke_key(self, target: Target, wheel: Path) -> str:
        place = self.smoker.place(target.runtime, target.arch)
        return key_of([wheel.name, sha256_of(wheel), recipe(SMOKE, MATRIX_FILE), place])
