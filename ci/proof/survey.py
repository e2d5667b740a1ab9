"""Try a wheel, ours or another, on every Lambda runtime, NumPy and model that run here."""

from __future__ import annotations

import dataclasses
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.version import Version

from builders.audit import PACKAGE, RuntimeVerdict, audit
from builders.audit.wheelfile import read_archive
from builders.audit.zip_layout import DamagedWheelError
from builders.cache import Cache
from builders.errors import SmokeError, UsageError
from builders.interpreters import find_interpreter
from builders.matrix import Matrix, Runtime
from builders.wheelname import name_of
from smoke_lambda.compat import OK, run_models
from smoke_lambda.events import MODELS, known_answers
from smoke_lambda.inside.probing import PROBE, judged, share
from smoke_lambda.native import Environment, environment
from smoke_lambda.site import Step, silent

RAN = "ran"
CANNOT_RUN = "cannot run here"
OTHER_PYTHON = "not for this Python"
NOT_INSTALLED = "does not install"
NOT_LOADED = "does not load"

_ERROR = re.compile(r"\w*(Error|Exception): ")
_MACHINE = f"_{platform.machine()}"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """The result of one model.

    Attributes:
        model: the model's name.
        outcome: one of the outcomes of smoke_lambda.compat.
        detail: how far the model came, and the first error in its log.
        xnnpack: the share of the model's operators that the default delegate took, from 0 to 1;
            None if the model failed.
    """

    model: str
    outcome: str
    detail: str
    xnnpack: float | None = None


@dataclass(frozen=True, kw_only=True)
class Row:
    """The results of one Lambda runtime with one NumPy version.

    Attributes:
        runtime: the name of the Lambda runtime.
        os: the runtime's own Linux, which is older than this machine's.
        lambda_ok: True if the wheel installs and loads on the runtime's own Linux, by the audit.
        lambda_reason: the audit's reason for `lambda_ok`.
        state: RAN, CANNOT_RUN, OTHER_PYTHON, NOT_INSTALLED or NOT_LOADED.
        detail: the reason for the state.
        numpy: the NumPy version; empty if nothing was tried.
        numpy_on_lambda: True if that NumPy installs on the runtime's own Linux.
        models: the result of each model.
    """

    runtime: str
    os: str
    lambda_ok: bool
    lambda_reason: str
    state: str
    detail: str = ""
    numpy: str = ""
    numpy_on_lambda: bool = False
    models: tuple[Cell, ...] = ()

    @property
    def works(self) -> bool:
        """True if every model was tried and worked, and the audit passes for the runtime."""
        ran = self.state == RAN and bool(self.models)
        return ran and self.lambda_ok and all(cell.outcome == OK for cell in self.models)

    @property
    def faults(self) -> tuple[str, ...]:
        """The faults, one line each. Something that was not tried is not a fault."""
        if self.state == OTHER_PYTHON:
            return ()
        where = f"{self.runtime}, NumPy {self.numpy}" if self.numpy else self.runtime
        found = [] if self.lambda_ok else [f"{self.runtime}: on {self.os}: {self.lambda_reason}"]
        if self.state in (NOT_INSTALLED, NOT_LOADED):
            found.append(f"{where}: {self.state}: {self.detail}")
        found += [
            f"{where}: {cell.model}: {cell.outcome}: {cell.detail}"
            for cell in self.models
            if cell.outcome != OK
        ]
        return tuple(found)


@dataclass(frozen=True, kw_only=True)
class Survey:
    """The results of one wheel."""

    wheel: str
    sha256: str
    rows: tuple[Row, ...]

    @property
    def faults(self) -> tuple[str, ...]:
        """The faults of all rows, each once."""
        return tuple(dict.fromkeys(fault for row in self.rows for fault in row.faults))

    @property
    def ok(self) -> bool:
        """True if at least one combination works and none fails."""
        return any(row.works for row in self.rows) and not self.faults

    def as_json(self) -> dict[str, Any]:
        """Return the survey, with its verdicts, as data for JSON."""
        data = dataclasses.asdict(self) | {"ok": self.ok, "faults": list(self.faults)}
        data["rows"] = [
            dict(d, works=r.works) for d, r in zip(data["rows"], self.rows, strict=True)
        ]
        return data


def own_models() -> dict[str, Path]:
    """Return the models of the smoke test, by name."""
    return {name: MODELS / f"{name}.tflite" for name in known_answers()}


def survey(
    wheel: Path,
    matrix: Matrix,
    models: Mapping[str, Path],
    cache: Cache,
    log: Path,
    on_step: Step = silent,
) -> Survey:
    """Try a wheel on everything that runs here.

    Args:
        models: the models to run, by name.
        log: the folder for the logs.
        on_step: a function to call with the name of each step.

    Raises:
        UsageError: the file is not a wheel of tflite_runtime.
        SmokeError: an environment cannot be made.
    """
    tags = wheel_tags(wheel)
    report = audit(wheel, matrix)
    rows: list[Row] = []
    for runtime, verdict in zip(matrix.runtimes, report.runtimes, strict=True):
        row = _untried(runtime, verdict)
        if not fits(tags, runtime):
            rows.append(replace(row, state=OTHER_PYTHON, detail=_listed(tags)))
        elif not any(tag.platform == "any" or tag.platform.endswith(_MACHINE) for tag in tags):
            rows.append(replace(row, detail=f"this machine is {platform.machine()}"))
        elif (interpreter := find_interpreter(runtime.python)) is None:
            rows.append(replace(row, detail=f"there is no Python {runtime.python}"))
        else:
            bench = _Bench(wheel.absolute(), interpreter.executable, models, cache, log, on_step)
            rows += [bench.row(row, runtime, numpy) for numpy in runtime.numpy.smoke_versions]
    return Survey(wheel=wheel.name, sha256=report.sha256, rows=tuple(rows))


def wheel_tags(wheel: Path) -> frozenset[Tag]:
    """Return the tags of a wheel's name.

    Raises:
        UsageError: the file does not exist, its name is no wheel's, it is a wheel of another
            package, or it is not a zip of limited size. The size matters because an installer
            would unpack the whole zip.
    """
    tags = name_of(wheel).tags
    try:
        archive = read_archive(wheel, with_faults=True)
    except DamagedWheelError as error:
        raise UsageError(
            f"{wheel.name} cannot be tried: {error}", remedy="name a whole wheel"
        ) from error
    if not any(name.startswith(f"{PACKAGE}/") for name in archive.contents):
        raise UsageError(f"{wheel.name} has no package {PACKAGE}: it cannot be tried")
    return tags


def fits(tags: frozenset[Tag], runtime: Runtime) -> bool:
    """True if a wheel with those tags installs on that Python; the platform is ignored."""
    version = tuple(map(int, runtime.python.split(".")))
    platforms = sorted({tag.platform for tag in tags})
    fitting = set(cpython_tags(version, [runtime.tag], platforms))
    return not tags.isdisjoint(fitting.union(compatible_tags(version, runtime.tag, platforms)))


def _listed(tags: frozenset[Tag]) -> str:
    return "for " + ", ".join(sorted({tag.interpreter for tag in tags}))


def _untried(runtime: Runtime, verdict: RuntimeVerdict) -> Row:
    return Row(
        runtime=runtime.name,
        os=runtime.os,
        lambda_ok=verdict.ok,
        lambda_reason=verdict.reason,
        state=CANNOT_RUN,
    )


@dataclass(frozen=True)
class _Bench:
    """Tries a wheel in the environments of one Python."""

    wheel: Path
    python: Path
    models: Mapping[str, Path]
    cache: Cache
    logs: Path
    on_step: Step

    def row(self, row: Row, runtime: Runtime, numpy: str) -> Row:
        """Return the row with the results of all models with one NumPy version."""
        self.on_step(f"{runtime.name}, NumPy {numpy}")
        row = replace(
            row,
            numpy=numpy,
            numpy_on_lambda=Version(numpy) <= Version(runtime.numpy.on_lambda),
        )
        key = f"compat-{runtime.tag}-numpy-{numpy}"
        with self.cache.lock(key):
            self.logs.mkdir(parents=True, exist_ok=True)
            log = self.logs / f"{self.wheel.stem}-{key}.log"
            log.unlink(missing_ok=True)
            work = self.cache.root / "work" / "compat"
            with environment(runtime, numpy, python=self.python, work=work, log=log) as made:
                if fault := made.install(self.wheel):
                    return replace(row, state=NOT_INSTALLED, detail=fault)
                return self._tried(row, made, log)

    def _tried(self, row: Row, made: Environment, log: Path) -> Row:
        cells = []
        for name, path in self.models.items():
            had = log.stat().st_size
            try:
                (result,) = run_models([path], python=made.python, log=log)
            except SmokeError:
                return replace(row, state=NOT_LOADED, detail=_reason(log, had))
            cell = Cell(model=name, outcome=result.outcome, detail=result.detail)
            if result.outcome == OK:
                cell = replace(cell, xnnpack=_share(made, path))
            elif why := _reason(log, had):
                cell = replace(cell, detail=f"{cell.detail}: {why}")
            cells.append(cell)
        return replace(row, state=RAN, models=tuple(cells))


def _share(made: Environment, model: Path) -> float:
    """Return the share of a model's operators that the default delegate took, from 0 to 1."""
    fault, found = judged(*made.look(PROBE, str(model)))
    if fault:
        raise SmokeError(fault)
    return share(found["operators"][str(model)])


def _reason(log: Path, since: int) -> str:
    """Return the first error in a log after its first `since` bytes.

    Later errors often follow from the first one. If there is no error, return the last line.
    """
    with log.open("rb") as file:
        file.seek(since)
        lines = file.read().decode(errors="replace").strip().splitlines()
    errors = [line for line in lines if _ERROR.match(line)]
    return (errors or lines[-1:] or [""])[0].strip()
