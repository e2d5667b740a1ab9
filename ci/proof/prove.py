"""Prove wheels: audit each, and if it can run here, smoke-test it and compare it with TensorFlow.

The cache keeps a proof by everything that the proof depends on, so no proof is made twice.
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
from builders.errors import AuditError, ConformError, SmokeError, UserError
from builders.matrix import MATRIX_FILE, Matrix, Target
from builders.runner import Runner
from ci.proof.conformer import compare, corpus_of, parts_of, subject_of
from ci.proof.smoker import Smoker
from smoke_lambda.bench import FLOAT32, INT8, smoke
from smoke_lambda.conform.report import summed_up
from smoke_lambda.conform.settings import WHOLE
from smoke_lambda.site import Step, silent

BUILDERS = Path(builders.__path__[0])
AUDITED_BY = tuple(
    BUILDERS / name
    for name in (
        "architecture.py",
        "audit",
        "core_metadata.py",
        "errors.py",
        "matrix.py",
        "tables.py",
        "wheelname.py",
    )
)
"""The files that the audit depends on: its folder, and the modules that its checks import."""
SMOKE = Path(smoke_lambda.__path__[0])
OTHERS = ("__pycache__", "conform", "sam", "train")
SMOKED_BY = tuple(path for path in sorted(SMOKE.iterdir()) if path.name not in OTHERS)
"""The files that the smoke test depends on.

They are its modules, the modules that run inside the function, and the files that it sends and
installs.
"""
COMPARED_BY = (SMOKE / "conform",)
"""The other files that the comparison with TensorFlow depends on.

The modules that make the corpus are not among them.
"""


@dataclass(frozen=True, kw_only=True)
class Proof:
    """A wheel with the reports of its audit, its smoke test and its comparison with TensorFlow.

    Attributes:
        audit: the data of `AuditReport.as_dict()`.
        smoke: the data of `SmokeReport.as_json()`; None if the wheel cannot run here.
        conform: the data of `ConformReport.as_json()`; None if the wheel cannot run here.
    """

    COLUMNS: ClassVar = (
        "target",
        "size",
        "glibc",
        "NumPy",
        "audit",
        "smoke",
        "conform",
        "XNNPACK float32",
        "int8",
        "import + first inference",
    )

    target: Target
    wheel: Path
    audit: dict[str, Any]
    smoke: dict[str, Any] | None
    conform: dict[str, Any] | None

    @property
    def failure(self) -> UserError | None:
        """The error with the faults of the first report that has some; None if there are none."""
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
        if self.conform and not self.conform["ok"]:
            return ConformError(
                f"{self.wheel.name} does not compute what TensorFlow does: "
                f"{summed_up(self.conform['failures'])}"
            )
        return None

    def as_json(self) -> dict[str, Any]:
        """Return the wheel's record, which publishing needs."""
        return {
            "target": self.target.identifier,
            "wheel": self.wheel.name,
            "sha256": self.audit["sha256"],
            "size": self.audit["size"],
            "audit": self.audit,
            "smoke": self.smoke,
            "conform": self.conform,
        }

    def row(self) -> tuple[str, ...]:
        """Return the proof's row of the summary; its cells are those of COLUMNS."""
        numpy = self.target.runtime.numpy.requirement.removeprefix("numpy")
        audited = "passed" if all(c["ok"] for c in self.audit["checks"]) else "[red]FAILED[/]"
        row = (
            self.target.identifier,
            f"{self.audit['size'] / 1e6:.2f} MB",
            self.audit["glibc_floor"] or "?",
            numpy,
            audited,
        )
        if self.smoke is None or self.conform is None:
            return (*row, "cannot run here", "", "", "", "")
        runs = self.smoke["runs"]
        versions = ", ".join(run["numpy"] for run in runs)
        last = runs[-1]
        millis = [last["import_ms"], last["first_inference_ms"]]
        return (
            *row,
            f"passed: {versions}" if self.smoke["ok"] else "[red]FAILED[/]",
            f"passed: {self.conform['models']}" if self.conform["ok"] else "[red]FAILED[/]",
            *(f"{run_share(last, model):.0%}" for model in (FLOAT32, INT8)),
            " + ".join("?" if m is None else f"{m:.1f}" for m in millis) + " ms",
        )


def run_share(run: dict[str, Any], model: str) -> float:
    """Return the share of a model's operators that XNNPACK took, from 0 to 1."""
    share: float = run["xnnpack"].get(model, 0.0)
    return share


class Prover:
    """Audits a runner's wheels, smoke-tests them and compares them with TensorFlow.

    Args:
        targets: all targets to prove. On one Python of each core, the whole corpus runs.
    """

    def __init__(
        self, runner: Runner, smoker: Smoker, matrix: Matrix, targets: Sequence[Target]
    ) -> None:
        self.runner = runner
        self.smoker = smoker
        self.matrix = matrix
        self.parts = parts_of(targets, smoker.can_run)
        self.cache: Cache = runner.cache

    def prove(self, wheels: Sequence[tuple[Target, Path]], *, jobs: int) -> Iterator[Proof]:
        """Yield the proofs of wheels, in the order of the wheels.

        Raises:
            SmokeError, FetchError: a smoke test cannot run at all.
        """
        with ThreadPoolExecutor(jobs) as pool:
            yield from pool.map(lambda pair: self._prove(*pair), wheels)

    def is_cached(self, kind: str, target: Target) -> bool:
        """True if the cache already has the result of this kind of step for the target."""
        keys = {
            "audit": lambda wheel: self._audit_key(wheel),
            "smoke": lambda wheel: self._smoke_key(target, wheel),
            "conform": lambda wheel: self._conform_key(target, wheel),
        }
        if kind not in keys:
            return self.runner.is_cached(kind, target)
        if not self.runner.is_cached("wheel", target):
            return False
        return self.cache.has(kind, keys[kind](self.runner.wheel(target)))

    def _prove(self, target: Target, wheel: Path) -> Proof:
        keys = [("audit", self._audit_key(wheel))]
        can_run = self.smoker.can_run(target.runtime, target.arch)
        if can_run:
            keys.append(("smoke", self._smoke_key(target, wheel)))
            keys.append(("conform", self._conform_key(target, wheel)))
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
        on_step: Step = silent,
    ) -> Proof:
        on_step("audit")
        audited = self._kept(
            "audit", self._audit_key(wheel), lambda: audit(wheel, self.matrix).as_dict()
        )
        smoked = compared = None
        if can_run:
            smoked = self._kept(
                "smoke",
                self._smoke_key(target, wheel),
                lambda: self._smoke(target, wheel, on_step),
            )
            compared = self._kept(
                "conform",
                self._conform_key(target, wheel),
                lambda: self._conform(target, wheel, on_step),
            )
        return Proof(target=target, wheel=wheel, audit=audited, smoke=smoked, conform=compared)

    def _smoke(self, target: Target, wheel: Path, on_step: Step) -> dict[str, Any]:
        log = self.runner.log(f"smoke {target.identifier}")
        with self.smoker.site(wheel, target.runtime, log=log) as site:
            return smoke(site, on_step=on_step).as_json()

    def _conform(self, target: Target, wheel: Path, on_step: Step) -> dict[str, Any]:
        part = self.parts.get(target.identifier, WHOLE)
        corpus = corpus_of(subject_of(wheel), part, target.runtime, judge_delegation=True)
        log = self.runner.log(f"conform {target.identifier}")
        report, _ = compare(self.smoker, wheel, target.runtime, corpus, log=log, on_step=on_step)
        return report.as_json()

    def _kept(self, kind: str, key: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return a report from the cache; if there is none, make it, and keep it if it is good."""
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
        return key_of([wheel.name, sha256_of(wheel), recipe(*AUDITED_BY, MATRIX_FILE)])

    def _smoke_key(self, target: Target, wheel: Path) -> str:
        place = self.smoker.place(target.runtime, target.arch)
        return key_of([wheel.name, sha256_of(wheel), recipe(*SMOKED_BY, MATRIX_FILE), place])

    def _conform_key(self, target: Target, wheel: Path) -> str:
        place = self.smoker.place(target.runtime, target.arch)
        inputs = recipe(*SMOKED_BY, *COMPARED_BY, MATRIX_FILE)
        part = self.parts.get(target.identifier, WHOLE)
        return key_of([wheel.name, sha256_of(wheel), inputs, place, part])
